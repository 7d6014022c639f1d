"""
The repair of a log: a new one is made of all that can be read of a damaged one.

The damaged file is opened for reading, and LMDB never sees it. The new log is made beside its place, is verified, and
gets its name at the end; so there is a whole one or none. Layout and rules: docs/decisions/0048-repair.md.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from uuid import uuid4

from eventlog.backend.repair import PartitionRepair, RepairReport, TableRepair
from eventlog.clock import SystemClock
from eventlog.errors import NotALog, ReadOnlyLog
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.store.folder import check_outside, has_name, is_directory
from eventlog.store.lmdb.data_file import DATA_FILE, sync_entries
from eventlog.store.lmdb.environment import ALL_TABLES, BATCHES, FORMAT, ORDER, PARTITIONS, Environment
from eventlog.store.lmdb.errors import kind_of
from eventlog.store.lmdb.pages import PageFile
from eventlog.store.records.log_order import put_into_order
from eventlog.store.registry import abandon, open_store
from eventlog.store.repair.collect import Search
from eventlog.store.repair.finish import Finish
from eventlog.store.repair.partitions import Partitions
from eventlog.store.repair.target import Target
from eventlog.store.rows.tables import BRANCH_KEY, FORMAT_KEY, UNSEALED_VERSION, FormatRow
from eventlog.store.store import Store
from eventlog.store.verify.verify import verify


def repair(path: str, new: str, *, unknown_topics: bool, progress: Callable[[int], object] | None) -> RepairReport:
    """
    Make a new log of all that can be read of a damaged one.

    Args:
        unknown_topics: makes topics for batches of which only the topic's id is known.
        progress: called from time to time with the bytes of the file that were searched.
    """
    data, new = os.path.join(os.path.abspath(path), DATA_FILE), os.path.abspath(new)
    check_outside(new, os.path.dirname(data), verb="repair")
    _check_new(new)
    file = _opened(path, data)
    made = partial_path(new, os.getpid())
    user = object()
    try:
        with suppress(FileNotFoundError):
            shutil.rmtree(made)  # of a process that died, and had our number
        store = open_store(
            made,
            durability="ordered",
            mode=file.mode | 0o600,
            create=True,
            map_bytes=None,
            clock=SystemClock(),
            user=user,
        )
        try:
            report = _Repair(file, store, progress or bool).run(unknown_topics=unknown_topics)
            store.sync()
        finally:
            store.release(user)
        if not report.partitions and not report.unknown_topics and report.is_damaged:
            raise NotALog(
                f"cannot repair {path}: nothing of a log was found in it.",
                stored="It was left as it was, and nothing was made.",
                advice="Restore a backup.",
            )
        os.rename(made, new)
        sync_entries(os.path.dirname(new))
    except BaseException as error:
        abandon(user)
        with suppress(OSError):
            shutil.rmtree(made)
        if isinstance(error, OSError):
            raise kind_of(error)(
                f"cannot repair {path} into {new}: {error}.",
                stored="The damaged log is unchanged, and no new one was made.",
                advice="Choose a directory that can be created, on a volume with room.",
            ) from error
        raise
    finally:
        file.close()
    return report


def partial_path(new: str, process_id: int) -> str:
    """Where the new log stands while a process makes it."""
    return os.path.join(os.path.dirname(os.path.abspath(new)), f".{os.path.basename(new)}.repair-{process_id}")


def _check_new(new: str) -> None:
    if has_name(new) and (not is_directory(new) or os.listdir(new)):
        raise ValueError(
            f"cannot repair into {new}: it exists and is not empty. It was left as it was. Choose a new directory."
        )
    os.makedirs(os.path.dirname(new), exist_ok=True)


def _opened(path: str, data: str) -> PageFile:
    try:
        return PageFile(data)
    except unless_interrupted(FileNotFoundError, NotADirectoryError) as error:
        raise NotALog(
            f"cannot repair {path}: it has no {DATA_FILE}.", stored="Nothing was made.", advice="Check the path."
        ) from error
    except unless_interrupted(PermissionError) as error:
        raise ReadOnlyLog(
            f"cannot repair {path}: this user cannot read {DATA_FILE}.",
            stored="Nothing was made.",
            advice="Let this user read it.",
        ) from error


class _Repair:
    """One repair: what is found in a file goes into an open, new log."""

    def __init__(self, file: PageFile, store: Store, tick: Callable[[int], object]) -> None:
        self._environment: Environment = store.environment
        self._target = Target(store.environment)
        self._environment.identity = None  # it gets that of the damaged log
        self._search = Search(file, self._target, tick)
        self._tick = tick

    def run(self, *, unknown_topics: bool) -> RepairReport:
        """Find, place and check everything."""
        search, target = self._search, self._target
        self._set_format()
        search.collect()
        target.flush()
        self._order_old()
        tables = self._count_tables()
        missing = {table.table.encode() for table in tables if table.lost_count != 0}
        if PARTITIONS in missing:
            search.notes.append(
                "rows that say where partitions begin are lost: deleted records are back if later ones share a batch "
                "with them."
            )
        partitions = Partitions(target, search, unknown_topics=unknown_topics)
        partitions.go(self._tick)
        target.flush()
        finish = Finish(search, target, partitions, missing)
        finish.go(self._tick)
        target.put(FORMAT, BRANCH_KEY, uuid4().bytes)
        target.flush()
        problems = verify(self._environment, self._tick).problems
        if any("index" in line or "message id" in line for line in problems):
            finish.rebuild_indexes(self._tick)
            problems = verify(self._environment, self._tick).problems
        return RepairReport(
            partitions=_partition_reports(partitions),
            tables=tuple(table for table in tables if table.table != BATCHES.decode()),
            unknown_topics=tuple((one, *counts) for one, counts in sorted(partitions.unknown.items())),
            unplaced_batch_count=search.batches.unplaced_count,
            is_damaged=search.is_damaged,
            notes=(*search.notes, *partitions.notes, *finish.notes),
            problems=problems,
        )

    def _set_format(self) -> None:
        """Let the new log have the format of the damaged one; rows of formats 1 to 3 have no checksums."""
        search, environment = self._search, self._environment
        row = search.format
        if not search.is_sealed:
            environment.seal = environment.unseal = None
            row = row or FormatRow(uuid4(), SystemClock().now_ms())
            row = row._replace(version=UNSEALED_VERSION)
        if row is not None:
            self._target.put(FORMAT, FORMAT_KEY, row.pack())

    def _order_old(self) -> None:
        """Give positions to the batches of a log of format 1 or 2."""
        row, count = self._search.format, self._search.stored_count(ORDER)
        is_old = row.version < UNSEALED_VERSION if row is not None else count is None and not self._search.is_sealed
        if not is_old or self._target.last_number(ORDER) >= 0:
            return
        transaction = self._environment.begin_writing()
        try:
            put_into_order(self._environment, transaction)
            self._environment.commit(transaction)
        except BaseException:
            self._environment.abort(transaction)
            raise

    def _count_tables(self) -> list[TableRepair]:
        environment, counts = self._environment, []
        with environment.reading() as transaction:
            for name in [name for name in ALL_TABLES if name in environment.tables]:
                found = int(transaction.stat(environment.table(name))["entries"])
                stored = self._search.stored_count(name)
                if stored is None and not self._search.is_damaged:
                    stored = found  # a log of an earlier format has not all tables
                counts.append(TableRepair(name.decode(), found, None if stored is None else max(stored - found, 0)))
        return counts


def _partition_reports(partitions: Partitions) -> tuple[PartitionRepair, ...]:
    reports = []
    for topic in sorted(partitions.topics.values(), key=lambda one: one.name):
        for number in range(topic.partitions):
            found = partitions.partitions.get((topic.id, number))
            if found is not None:
                recovered, lost = tuple(found.recovered), tuple(found.lost)
                reports.append(PartitionRepair(topic.name, number, found.record_count, recovered, lost, found.end))
            else:
                reports.append(PartitionRepair(topic.name, number, 0, (), (), 0))
    return tuple(reports)
