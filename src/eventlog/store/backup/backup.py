"""
Taking a backup: the small tables in one snapshot, then the batches up to its end, a part at a time.

    1  one read transaction: the small tables, the versions of indexes, and the end of the log
    2  short ones: the batches from the end of the backup before to that end, in the order of the log
    3  the manifest

Writers go on all the time. Step 1 comes first: every record that the tables lead to is then read in step 2, or was
deleted in between, which a restore notices by the gap. A backup that ends before step 3 has added nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import attrs
import google_crc32c
import msgpack

from eventlog.backend.backup import BackupReport
from eventlog.batches.format import decode
from eventlog.batches.header import is_intact, read_header
from eventlog.batches.kafka_marks import kafka_marks
from eventlog.clock import Clock
from eventlog.errors import BackupMismatch, CorruptBackup, CorruptBatch, LogInUse
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.store.backup.files import BATCHES, SEGMENT_BYTES, TABLES, VERSIONS, EntryWriter, FileEntry, damaged
from eventlog.store.backup.manifest import Manifest, Moment, is_ours, read_manifest, remove_left_over, write_manifest
from eventlog.store.backup.tables import copied_rows, stored_topics, versions_since
from eventlog.store.folder import has_name, is_directory, make_directory
from eventlog.store.lmdb import environment as tables
from eventlog.store.lmdb.environment import LATER_TABLES, Environment, Snapshot
from eventlog.store.lmdb.errors import kind_of
from eventlog.store.lmdb.file_lock import directory_lock
from eventlog.store.records.log_order import end_log_position, order_key, position_of, scan_order
from eventlog.store.rows.tables import BRANCH_KEY, FORMAT_KEY, FormatRow, batch_key, split_batch_key

_PART_BYTES = 1 << 20
_REDACTED = -1
T = TypeVar("T")


def back_up(
    environment: Environment,
    target: str,
    *,
    is_incremental: bool,
    clock: Clock,
    progress: Callable[[int, int], object] | None,
    segment_bytes: int = SEGMENT_BYTES,
) -> BackupReport:
    """
    Write a backup into a directory, or add to those that are there.

    Args:
        progress: called with the log positions done, and all that there are to do.
    """
    path = os.path.abspath(target)
    try:
        is_made = _prepare(path, is_incremental=is_incremental)
        lock = directory_lock(path)
        try:
            if not lock.try_acquire():
                raise LogInUse(
                    f"cannot back up into {path}: another backup is being written there.",
                    stored="Nothing was changed.",
                    advice="Wait until it is done.",
                )
            return _Backup(environment, path, clock, segment_bytes).run(progress or _nothing)
        finally:
            lock.close()
            if is_made:
                with suppress(OSError):  # something was written there
                    os.rmdir(path)
    except unless_interrupted(OSError) as error:
        raise kind_of(error)(
            f"cannot back up into {path}: {error}.",
            stored="The log and the backups before are unchanged.",
            advice="Choose a directory that can be written, on a volume with room.",
        ) from error


def _nothing(_done: int, _total: int) -> None:
    """Tell nobody."""


def _prepare(path: str, *, is_incremental: bool) -> bool:
    """Make the directory, and return whether it was made; refuse one that holds something else."""
    is_made = not has_name(path)
    if not is_made:
        names = os.listdir(path) if is_directory(path) else ["a file"]
        others = [name for name in names if not is_ours(name)]
        if others:
            raise ValueError(
                f"cannot back up into {path}: it holds something else ({others[0]}). It was left as it was. Choose a "
                "new directory."
            )
        if not is_incremental and read_manifest(path) is not None:
            raise ValueError(
                f"cannot back up into {path}: it holds a backup. It was left as it was. Choose a new directory, or add "
                "to it with incremental=True."
            )
    os.makedirs(os.path.dirname(path), exist_ok=True)
    make_directory(path, 0o600)
    return is_made


class _Backup:
    """One run into a directory that nobody else writes to."""

    def __init__(self, environment: Environment, path: str, clock: Clock, segment_bytes: int) -> None:
        self._environment = environment
        for table in LATER_TABLES:
            environment.has_later(table)
        self._path = path
        self._clock = clock
        self._segment_bytes = segment_bytes
        self._manifest = read_manifest(path)
        self._files: list[FileEntry] = []
        self._number = 1 if self._manifest is None else self._manifest.moments[-1].number + 1
        self._before = 0 if self._manifest is None else self._manifest.checksum
        self._header: dict[str, Any] = {"backup": self._number}

    def run(self, progress: Callable[[int, int], object]) -> BackupReport:
        """Write the files, and the manifest."""
        environment, since = self._environment, 0 if self._manifest is None else self._manifest.end
        environment.check_identity()
        if self._manifest is not None:
            self._check_sizes(self._manifest)
        remove_left_over(self._path, self._manifest)
        try:
            with environment.reading() as transaction:
                manifest = self._of_same_log(transaction)
                end = end_log_position(environment, transaction)
                taken_ms = self._clock.now_ms()
                self._write_tables(transaction, end)
                self._write_versions(transaction, since, end)
                last = last_record(environment, transaction, end)
            counts = self._write_batches(since, end, progress)
            environment.check_identity()
            moment = Moment(self._number, end, taken_ms, last, tuple(self._files))
            write_manifest(self._path, attrs.evolve(manifest, moments=(*manifest.moments, moment)))
        except BaseException:
            with suppress(OSError, CorruptBackup):
                remove_left_over(self._path, read_manifest(self._path))
            raise
        return BackupReport(self._number, since, end, taken_ms, *counts)

    def _check_sizes(self, manifest: Manifest) -> None:
        """Raise an error if files are missing: what is added would be of no use."""
        for moment, file in manifest.files():
            try:
                size = os.stat(os.path.join(self._path, file.name)).st_size
            except unless_interrupted(FileNotFoundError):
                size = -1
            if size != file.size:
                what = "it is missing" if size < 0 else f"it has {size} bytes, and was written with {file.size}"
                damaged(self._path, file.name, what, manifest.sound_end(moment))

    def _of_same_log(self, transaction: Snapshot) -> Manifest:
        """The manifest, of this log; raises if the backups there are of another one."""
        environment = self._environment
        row = FormatRow.unpack(transaction.get(FORMAT_KEY, db=environment.table(tables.FORMAT)), environment.path)
        branch = bytes(environment.row(transaction, tables.FORMAT, BRANCH_KEY) or b"").hex()
        manifest = self._manifest
        if manifest is None:
            return Manifest(row.uuid.hex, branch)
        if manifest.uuid != row.uuid.hex:
            raise self._mismatch(f"it is of the log {manifest.uuid}, and this one is {row.uuid.hex}")
        if manifest.branch != branch:
            raise self._mismatch("this log was restored or repaired since, and went its own way")
        end = end_log_position(environment, transaction)
        if end < manifest.end:
            raise self._mismatch(f"it reaches log position {manifest.end}, and this log ends at {end}")
        known = manifest.moments[-1].last
        found = last_record(environment, transaction, manifest.end)
        if known is not None and found is not None and not _is_same(known, found):
            raise self._mismatch(f"the record before log position {manifest.end} is another one here")
        return manifest

    def _mismatch(self, why: str) -> BackupMismatch:
        return BackupMismatch(
            f"cannot add to the backup in {self._path}: {why}.",
            stored="The backup was left as it was.",
            advice="Back up into a new directory.",
        )

    def _writer(self, kind: str) -> EntryWriter:
        number = sum(file.kind == kind for file in self._files) + 1
        name = f"{self._number:06}-{number:04}.{kind}"
        return EntryWriter(os.path.join(self._path, name), kind, before=self._before, header=self._header)

    def _add(self, file: FileEntry) -> None:
        self._files.append(file)
        self._before = file.checksum

    def _write_tables(self, transaction: Snapshot, end: int) -> None:
        with self._writer(TABLES) as writer:
            for table, rows in copied_rows(self._environment, transaction):
                packed: bytes = msgpack.packb((table, rows))
                writer.write(packed)
            self._add(writer.finish(end, end))

    def _write_versions(self, transaction: Snapshot, since: int, end: int) -> None:
        topics = stored_topics(self._environment, transaction)
        with self._writer(VERSIONS) as writer:
            for versions in versions_since(self._environment, transaction, topics, since):
                packed: bytes = msgpack.packb(versions)
                writer.write(packed)
            self._add(writer.finish(since, end))

    def _write_batches(self, since: int, end: int, progress: Callable[[int, int], object]) -> tuple[int, int]:
        """Copy the batches of the positions from `since` to `end`; return how many, and their bytes."""
        position, batch_count, stored_bytes = since, 0, 0
        seen: set[bytes] = set()
        while position < end:
            first = position
            with self._writer(BATCHES) as writer:
                while position < end and writer.size < self._segment_bytes:
                    scanned = scan_order(self._environment, position, _PART_BYTES, is_raw=True)
                    for batch in scanned.batches:
                        key = batch_key(batch.topic_id, batch.partition, batch.last)
                        if batch.log_position >= end or key in seen:
                            continue
                        if read_header(batch.data, "a batch").runs_at is not None:
                            seen.add(key)  # it comes once for each of its runs, and is copied once
                        if not is_intact(batch.data):
                            raise _damaged(key, batch.data)
                        behind = batch.log_position + batch.end - (batch.last - batch.span + 1)
                        writer.write(key + order_key(behind) + batch.data)
                        batch_count += 1
                        stored_bytes += len(batch.data)
                    position = end if scanned.end <= position else scanned.end
                    progress(min(position, end) - since, end - since)
                self._add(writer.finish(first, min(position, end)))
        return batch_count, stored_bytes


def _is_same(known: tuple[int, ...], found: tuple[int, ...]) -> bool:
    """Whether a record is the one of a backup; its content may have been redacted since."""
    return known[:4] == found[:4] and (known[4] == found[4] or _REDACTED in (known[4], found[4]))


def last_record(environment: Environment, transaction: Snapshot, end: int) -> tuple[int, ...] | None:
    """
    The record before a log position: topic id, partition, offset, timestamp and a checksum of key and value.

    The last one is -1 for a record without a value. None if it was deleted or cannot be read, or is of a control batch,
    in whose place compaction may put another.
    """
    if end == 0:
        return None
    with transaction.cursor(db=environment.table(tables.ORDER)) as cursor:
        if not cursor.set_range(order_key(end - 1)):
            return None
        behind = position_of(cursor.key()) + 1
        key = bytes(environment.value(tables.ORDER, cursor.key(), cursor.value()))
    data = transaction.get(key, db=environment.table(tables.BATCHES))
    if data is None or kafka_marks(bytes(data)).is_control:
        return None
    topic_id, partition, last = split_batch_key(key)
    try:
        columns = decode(bytes(data), "a batch")
    except unless_interrupted(Exception):
        return None
    positions = (
        [behind - columns.span + number for number in range(columns.span)]
        if columns.log_position < 0
        else columns.log_positions(last)
    )
    for number, position in enumerate(positions):
        if position == end - 1 and number < columns.count:
            key_bytes, value = columns.keys[number] or b"", columns.values[number]
            checksum = _REDACTED if value is None else google_crc32c.value(key_bytes + value)
            offset = columns.offsets(last)[number]
            return topic_id, partition, offset, columns.timestamps_ms[number], checksum
    return None


def _damaged(key: bytes, data: bytes) -> CorruptBatch:
    topic_id, partition, last = split_batch_key(key)
    place = f"the batch of topic id {topic_id}, partition {partition}, up to offset {last}"
    try:
        decode(data, place)
    except unless_interrupted(CorruptBatch) as error:
        return error
    return CorruptBatch(f"{place} is damaged.", stored="Nothing was changed.", advice="Run `eventlog verify`.")
