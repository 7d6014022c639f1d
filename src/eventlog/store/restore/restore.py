"""
Making a log of a backup, as it was at a log position.

The new log is made beside its place, verified, and gets its name at the end; so there is a whole one or none. The
backup is only read. Which records and which rows come back: docs/decisions/0051-backup.md.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from uuid import uuid4

import msgpack

from eventlog.backend.backup import BackupContents, RestoreReport
from eventlog.batches.format import decode
from eventlog.batches.header import read_header
from eventlog.batches.kafka_marks import is_placeholder, kafka_marks
from eventlog.clock import SystemClock
from eventlog.interruptions import is_interruption, suppress
from eventlog.store.backup.files import BATCHES as BATCH_FILES
from eventlog.store.backup.files import VERSIONS, read_entries
from eventlog.store.backup.manifest import Manifest, Moment, require_manifest
from eventlog.store.folder import check_outside, has_name, is_directory
from eventlog.store.kafka.rebuilding import rebuild
from eventlog.store.lmdb.data_file import sync_entries
from eventlog.store.lmdb.environment import BATCHES, FORMAT, ORDER
from eventlog.store.lmdb.errors import kind_of
from eventlog.store.records.log_order import position_of
from eventlog.store.registry import abandon, open_store
from eventlog.store.repair.target import Target
from eventlog.store.restore.batches import Place, Placed
from eventlog.store.restore.indexes import Indexes
from eventlog.store.restore.rows import Restoring, TableFiles, Topics
from eventlog.store.rows.tables import BRANCH_KEY, LOST_RECORDS_KEY, split_batch_key, unpack_count
from eventlog.store.store import Store
from eventlog.store.verify.verify import verify

_KEY_BYTES, _BEHIND_BYTES = 16, 24
_TICK_BYTES = 1 << 22
_MOST_MARKERS = 1 << 17
"""The most control batches of one transaction, which has one in each of its partitions."""


def restore(
    source: str,
    new: str,
    *,
    position: int | None,
    time_ms: int | None,
    progress: Callable[[int, int], object] | None,
) -> RestoreReport:
    """
    Make a new log of a backup.

    Args:
        position: the log position before which it ends; None takes all.
        time_ms: it ends before the first record of this time or a later one.
        progress: called with the bytes of the backup that were read, and all that there are to read.
    """
    folder, new = os.path.abspath(source), os.path.abspath(new)
    manifest = require_manifest(folder)
    if position is not None and position > manifest.end:
        raise ValueError(
            f"cannot restore {folder} to log position {position}: the backup ends at {manifest.end}. Nothing was made. "
            "Choose an earlier one."
        )
    check_outside(new, folder, verb="restore")
    _check_new(new)
    made = os.path.join(os.path.dirname(new), f".{os.path.basename(new)}.restore-{os.getpid()}")
    user = object()
    try:
        with suppress(FileNotFoundError):
            shutil.rmtree(made)  # of a process that died, and had our number
        end = manifest.end if position is None else position
        if time_ms is not None:
            end = min(end, _position_of_time(folder, manifest, time_ms))
        os.makedirs(os.path.dirname(new), exist_ok=True)
        store = open_store(
            made, durability="ordered", mode=0o600, create=True, map_bytes=None, clock=SystemClock(), user=user
        )
        try:
            report = _Restore(folder, manifest, store, end, time_ms, progress).run()
            store.sync()
        finally:
            store.release(user)
        os.rename(made, new)
        sync_entries(os.path.dirname(new))
    except BaseException as error:
        abandon(user)
        with suppress(OSError):
            shutil.rmtree(made)
        if isinstance(error, OSError) and not is_interruption(error):
            raise kind_of(error)(
                f"cannot restore {folder} into {new}: {error}.",
                stored="The backup is unchanged, and no log was made.",
                advice="Choose a directory that can be created, on a volume with room.",
            ) from error
        raise
    return report


def check(source: str, progress: Callable[[int, int], object] | None = None) -> BackupContents:
    """Read all files of a backup, and check every entry."""
    folder = os.path.abspath(source)
    manifest = require_manifest(folder)
    tick = Ticks(sum(file.size for _, file in manifest.files()), progress)
    batch_count = stored_bytes = file_count = 0
    for moment, file in manifest.files():
        file_count += 1
        for entry in read_entries(folder, file, sound_end=manifest.sound_end(moment)):
            tick.add(len(entry))
            if file.kind == BATCH_FILES:
                batch_count += 1
                stored_bytes += len(entry) - _BEHIND_BYTES
    moments = tuple((moment.end, moment.taken_ms) for moment in manifest.moments)
    return BackupContents(manifest.uuid, manifest.end, moments, file_count, batch_count, stored_bytes)


class Ticks:
    """A count of the bytes that were read, told now and then."""

    def __init__(self, total: int, progress: Callable[[int, int], object] | None) -> None:
        self._total = total
        self._progress = progress
        self._done = self._told = 0

    def add(self, size: int) -> None:
        """Count some bytes."""
        self._done += size
        if self._progress is not None and self._done - self._told >= _TICK_BYTES:
            self._told = self._done
            self._progress(min(self._done, self._total), self._total)


def _check_new(new: str) -> None:
    if has_name(new) and (not is_directory(new) or os.listdir(new)):
        raise ValueError(
            f"cannot restore into {new}: it exists and is not empty. It was left as it was. Choose a new directory."
        )


def _batches(folder: str, manifest: Manifest, end: int) -> Iterator[tuple[Moment | None, bytes, int, bytes]]:
    """
    The batches of a backup up to a log position: whose, key, the position behind the first run, bytes.

    Nobody's are those of a backup that was pruned.
    """
    for moment, file in manifest.files():
        if file.kind != BATCH_FILES or file.first >= end:
            continue
        for entry in read_entries(folder, file, sound_end=max(manifest.sound_end(moment), file.first)):
            owner = moment if moment.is_own(file) else None
            yield owner, entry[:_KEY_BYTES], position_of(entry[_KEY_BYTES:_BEHIND_BYTES]), entry[_BEHIND_BYTES:]


def _whole_end(folder: str, manifest: Manifest, end: int) -> int:
    """
    A log position that does not part the control batches by which one commit has ended a transaction.

    Where it does, it is that of the first of them: in what is restored the transaction is open, in all its partitions.
    """
    before: tuple[tuple[int, int], int] | None = None
    for moment, file in manifest.files():
        if file.kind != BATCH_FILES or not (file.end >= end - _MOST_MARKERS and file.first <= end < manifest.end):
            continue
        if file.first == end and before is None:
            break
        for entry in read_entries(folder, file, sound_end=max(manifest.sound_end(moment), file.first)):
            behind, marks = position_of(entry[_KEY_BYTES:_BEHIND_BYTES]), kafka_marks(entry[_BEHIND_BYTES:])
            producer = marks.producer_id, marks.producer_epoch
            if is_placeholder(marks):
                pass  # maybe of such a batch: compaction takes them away, partition by partition
            elif not marks.is_control:
                before = None
            elif before is None or before[0] != producer:
                before = producer, behind - 1
            if behind > end:
                return end if before is None else min(before[1], end)
    return end


def _position_of_time(folder: str, manifest: Manifest, time_ms: int) -> int:
    """The log position of the first record of a time or a later one; the end if there is none."""
    found = manifest.end
    for _, key, behind, data in _batches(folder, manifest, manifest.end):
        header = read_header(data, "a batch of a backup")
        if header.log_position >= found:
            break
        if header.largest_ms < time_ms:
            continue
        last = split_batch_key(key)[2]
        columns = decode(data, "a batch of a backup")
        positions = (
            [behind - columns.span + offset - (last - columns.span + 1) for offset in columns.offsets(last)]
            if columns.log_position < 0
            else columns.log_positions(last)
        )
        late = (position for position, time in zip(positions, columns.timestamps_ms, strict=True) if time >= time_ms)
        found = min(found, next(late, found))
    return found


class _Restore:
    """One restore into an open, new log."""

    def __init__(
        self,
        folder: str,
        manifest: Manifest,
        store: Store,
        end: int,
        time_ms: int | None,
        progress: Callable[[int, int], object] | None,
    ) -> None:
        self._folder = folder
        self._manifest = manifest
        self._environment = store.environment
        self._environment.identity = None  # it gets that of the log that was backed up
        self._target = Target(store.environment)
        self._end = end = _whole_end(folder, manifest, end)
        earlier = [one for one in manifest.moments if one.end <= end and (time_ms is None or one.taken_ms <= time_ms)]
        later = [one for one in manifest.moments if one.number > (earlier[-1].number if earlier else 0)]
        is_exact = bool(earlier) and earlier[-1].end == end
        self._files = TableFiles(
            folder,
            manifest,
            earlier[-1] if earlier else None,
            None if is_exact or not later else later[0],
        )
        self._tick = Ticks(sum(file.size for _, file in manifest.files() if file.first <= end), progress)

    def run(self) -> RestoreReport:
        """Write and check everything."""
        files, target = self._files, self._target
        topics = Topics(files)
        placed = Placed(target, self._end, files.firsts(files.base), topics.indexed())
        of: Moment | None = None
        for moment, key, behind, data in _batches(self._folder, self._manifest, self._end):
            if moment is not of and moment is not None:
                of, placed.deleted = moment, files.firsts(moment)
            placed.place(key, behind, data)
            self._tick.add(len(data))
        placed.leave_out_last()
        target.flush()
        topics.choose({topic_id for topic_id, _ in placed.ends})
        rows = Restoring(target, files, topics, placed, self._end)
        rows.bounds()
        missing = self._go_through_order(topics, rows.firsts)
        rows.write(lambda: self._tick.add(0))
        self._explain(missing)
        rows.check_snapshots()
        target.flush()
        rebuild(target, topics.by_id)
        target.put(FORMAT, BRANCH_KEY, uuid4().bytes)
        target.flush()
        report = verify(self._environment, lambda _: self._tick.add(0))
        return RestoreReport(
            self._end,
            min(files.base.end, self._end) if files.is_cut else files.base.end,
            files.base.taken_ms,
            report.record_count,
            rows.cut_offsets,
            tuple(rows.left_out),
            tuple(self._notes()),
            report.problems,
        )

    def _notes(self) -> Iterator[str]:
        files = self._files
        if files.is_cut and files.base.end > self._end:
            yield (
                f"no backup was taken at log position {self._end} or before: offsets of groups are those of the backup "
                f"at {files.base.end}, at most the ends of their partitions; what producers with a name had stored is "
                "not known."
            )
        elif files.base.end < self._end:
            yield (
                f"offsets of groups, states and projections are those of the backup at log position {files.base.end}: "
                f"what was stored from there to {self._end} comes to them again."
            )

    def _go_through_order(self, topics: Topics, firsts: dict[Place, int]) -> dict[int, int]:
        """
        Remove what is of no topic or was deleted, and make the indexes.

        Return how many versions are missing in topics whose bounds do not explain that.
        """
        target = self._target
        versions, keys = self._versions()
        indexed = {topic.id: topic for topic in topics.by_id.values() if topic.index is not None}
        indexes = Indexes(target, indexed, firsts, versions)
        dropped: list[tuple[bytes, bytes]] = []
        for position, key in target.items(ORDER):
            topic_id, partition, last = split_batch_key(key)
            topic = topics.by_id.get(topic_id)
            if topic is not None:
                indexes.add_row(position, key)
            if topic is None or partition >= topic.partitions or last < firsts.get((topic_id, partition), 0):
                dropped.append((position, key))
            self._tick.add(0)
        for position, key in dropped:
            target.delete(BATCHES, key)
            target.delete(ORDER, position)
        target.flush()
        indexes.flush()
        indexes.end_keys(keys, lambda: self._tick.add(0))
        return {
            topic_id: count
            for topic_id, count in indexes.missing.items()
            if count > sum(first for place, first in firsts.items() if place[0] == topic_id)
        }

    def _explain(self, missing: dict[int, int]) -> None:
        """Note how many records came and went between two backups: `verify` wants to know where versions are."""
        for topic_id, count in missing.items():
            key = LOST_RECORDS_KEY + topic_id.to_bytes(4, "big")
            known = unpack_count(self._target.get(FORMAT, key), "lost records")
            self._target.put(FORMAT, key, max(count, known).to_bytes(8, "big"))

    def _versions(self) -> tuple[dict[int, int], list[tuple[bytes, int, bool]]]:
        """What the backups say of the indexes; of keys that lost their last records, what the tables' one does."""
        records: dict[int, int] = {}
        keys: list[tuple[bytes, int, bool]] = []
        for moment, file in self._manifest.files():
            is_of_base = moment is self._files.base and file is moment.file(VERSIONS)
            if file.kind != VERSIONS or file.first > self._end or (file.first >= self._end and not is_of_base):
                continue
            for entry in read_entries(self._folder, file, sound_end=self._manifest.sound_end(moment)):
                found_records, found_keys = msgpack.unpackb(entry)
                records.update(found_records)
                if is_of_base:
                    for prefix, version, has_records in found_keys:
                        if not (self._files.is_cut and has_records):
                            keys.append((prefix, min(version, self._end), has_records))  # each has a position
        return records, keys
