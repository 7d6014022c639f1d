"""
Redaction: the records of one key lose their values and headers, in the batches and in the index at once.

What is scheduled for the key goes first (`schedule_redaction.py`). Then it walks over what is stored in short
snapshots, makes the new batches outside of all locks, and replaces a few of them in each commit, together with their
entries in the index. A batch that somebody has changed meanwhile is read again. If the process dies, the batches of
whole commits are done, and the next call does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from time import perf_counter

import attrs

from eventlog.backend.maintenance import RedactReport
from eventlog.backend.topics import StoredTopic
from eventlog.batches.header import COMPRESSION_MASK, KAFKA, NO_LOG_POSITION, read_header
from eventlog.batches.redaction import Redacted, redact
from eventlog.store.lmdb.environment import BATCHES, FORMAT, INDEX, SNAPSHOTS, Environment, Snapshot
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.emptying import empty
from eventlog.store.records.key_rows import entity_prefix, pack_entry, pack_row, repacked, unpack_row
from eventlog.store.records.log_order import OLD_POSITIONS_KEY, position_of, runs_of_batch
from eventlog.store.records.schedule_redaction import redact_schedules
from eventlog.store.records.snapshots import DeleteSnapshot
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.tables import batch_key, partition_key, split_batch_key

_READ_BYTES = 2 << 20
_READ_ROWS = 32
_SLICE_SECONDS = 0.005
_FIRST_SLICE = 4
_MOST_SLICE = 256


@attrs.frozen
class _Change:
    """A batch as it was read and as it is to be; `row` is the first row of the index that may lead to its records."""

    key: bytes
    old: bytes
    new: Redacted
    row: bytes | None


class RedactBatches(CommitRequest):
    """
    The replacement of some batches, and of the entries that the index has of their redacted records.

    `stale_count` says how many were left as they are, because somebody had changed them.
    """

    __slots__ = ("_changes", "_topic", "batch_count", "record_count", "seconds", "stale_count")
    bound_share = 1.0

    def __init__(self, topic: StoredTopic, changes: Sequence[_Change]) -> None:
        super().__init__()
        self._topic = topic
        self._changes = changes
        self.batch_count = self.record_count = self.stale_count = 0
        self.seconds = 0.0
        """How long it took in the write transaction."""

    def apply(self, writing: WriteTransaction) -> None:
        """Compare, then write."""
        began_s = perf_counter()
        self.batch_count = self.record_count = self.stale_count = 0
        writing.check_topic(self._topic)
        writing.forget_learned()  # the index keeps the last rows of keys
        batches = writing.table(BATCHES)
        for change in self._changes:
            if writing.transaction.get(change.key, db=batches) != change.old:
                self.stale_count += 1
                continue
            if change.new.live_count:
                writing.put(BATCHES, change.key, change.new.data)
                self.batch_count += 1
                self.record_count += change.new.live_count
            if change.row is not None:
                _redact_entries(writing, change.row, split_batch_key(change.key)[1], change.new.offsets)
        self.seconds = perf_counter() - began_s


def _redact_entries(writing: WriteTransaction, row: bytes, partition: int, offsets: Collection[int]) -> None:
    """Take the content out of the entries of some records, from a row of their key on."""
    prefix, left, end = row[:-8], set(offsets), max(offsets, default=0)
    changed = []
    with writing.transaction.cursor(db=writing.table(INDEX)) as cursor:
        is_found = bool(left) and cursor.set_range(row)
        while is_found and cursor.key()[:-8] == prefix:
            entries = unpack_row(cursor.value(), "a row of the index")
            packed, is_changed = [], False
            for entry in entries:
                if entry is not None and entry[0] == partition:
                    if entry[1] in left:
                        left.discard(entry[1])
                        is_changed = True
                        packed.append(pack_entry(*entry[:4], None, ()))
                        continue
                    if entry[1] > end:
                        left.clear()
                packed.append(repacked(entry))
            if is_changed:
                changed.append((cursor.key(), pack_row(len(packed), b"".join(packed))))
            is_found = bool(left) and cursor.next()
    for key, data in changed:
        writing.put(INDEX, key, data)


class Redaction:
    """
    The redaction of one key of a topic, by one thread.

    Args:
        run: stores a request.
    """

    def __init__(
        self, environment: Environment, run: Callable[[CommitRequest], object], topic: StoredTopic, key: bytes
    ) -> None:
        self._environment = environment
        self._run_request = run
        self._topic = topic
        self._key = key
        self._slice = _FIRST_SLICE

    def run(self, *, dry_run: bool) -> RedactReport:
        """
        Redact what is stored now, or count it.

        What a deletion has left is removed first: its rows in the index are those of records that are not there.

        Raises:
            CorruptBatch, FormatTooNew, MissingLibrary: a schedule, a batch or a row of the index cannot be read. What
                came before it is redacted.
        """
        record_count = batch_count = 0
        schedule_count = redact_schedules(
            self._environment, self._run_request, self._topic, self._key, dry_run=dry_run
        )  # first: what is sent meanwhile is found below
        if not dry_run:
            empty(self._environment, self._run_request)
        places = self._by_index() if self._topic.index is not None else self._by_walking()
        for changes in places:
            if dry_run:
                record_count += sum(change.new.live_count for change in changes)
                batch_count += sum(change.new.live_count > 0 for change in changes)
                continue
            done = self._store(changes)
            record_count += done[0]
            batch_count += done[1]
        return RedactReport(record_count, batch_count, self._end_snapshot(dry_run=dry_run), schedule_count)

    def _store(self, changes: list[_Change]) -> tuple[int, int]:
        record_count = batch_count = 0
        while changes:
            part, changes = changes[: self._slice], changes[self._slice :]
            command = RedactBatches(self._topic, part)
            self._run_request(command)
            record_count += command.record_count
            batch_count += command.batch_count
            if command.stale_count:
                changes += self._read_again(part)
            if command.seconds > _SLICE_SECONDS:
                self._slice = max(1, self._slice // 2)
            elif command.seconds < _SLICE_SECONDS / 2 and len(part) == self._slice:
                self._slice = min(2 * self._slice, _MOST_SLICE)
        return record_count, batch_count

    def _read_again(self, changes: Sequence[_Change]) -> list[_Change]:
        """Batches that were changed, or are others now; those that are done are read as done."""
        again: dict[bytes, _Change] = {}
        with self._environment.reading() as transaction:
            for change in changes:
                _, partition, last = split_batch_key(change.key)
                for offset in sorted(change.new.offsets) or [last]:
                    found = self._row_at(transaction, partition, offset)
                    if found is not None and found[0] not in again:
                        again[found[0]] = self._change(transaction, *found, change.row)
        return [change for change in again.values() if change.new.live_count]

    def _end_snapshot(self, *, dry_run: bool) -> bool:
        """Remove the snapshot of the key, which was made of what is redacted; whether there was one."""
        prefix = entity_prefix(self._topic.id, self._key)
        with self._environment.reading() as transaction:
            has_one = transaction.get(prefix, db=self._environment.table(SNAPSHOTS)) is not None
        if has_one and not dry_run:
            self._run_request(DeleteSnapshot(self._topic, prefix))
        return has_one

    # -- finding the batches -----------------------------------------------------------------------------------

    def _by_index(self) -> Iterator[list[_Change]]:
        """The batches of the records that the index has of the key."""
        prefix = entity_prefix(self._topic.id, self._key)
        start: bytes | None = prefix + bytes(8)
        known: set[bytes] = set()
        while start is not None:
            changes: list[_Change] = []
            size, seen = 0, 0
            with (
                self._environment.reading() as transaction,
                transaction.cursor(db=self._environment.table(INDEX)) as cursor,
            ):
                is_found, row = cursor.set_range(start), None
                start = None
                while is_found and (row := bytes(cursor.key()))[:-8] == prefix:
                    if size > _READ_BYTES or seen >= _READ_ROWS:
                        start = row
                        break
                    seen += 1
                    for entry in unpack_row(bytes(cursor.value()), "a row of the index"):
                        if entry is None or (entry[4] is None and entry[5] == ()):
                            continue  # deleted, or without content
                        place = self._row_at(transaction, entry[0], entry[1])
                        if place is not None and place[0] not in known:
                            known.add(place[0])
                            changes.append(self._change(transaction, *place, row))
                            size += len(place[1])
                    is_found = cursor.next()
            yield changes

    def _by_walking(self) -> Iterator[list[_Change]]:
        """The batches of all partitions that may have a record of the key."""
        for partition in range(self._topic.partitions):
            place, start = self._place(partition), 0
            is_more = True
            while is_more:
                changes, size = [], 0
                with (
                    self._environment.reading() as transaction,
                    transaction.cursor(db=self._environment.table(BATCHES)) as cursor,
                ):
                    is_more = cursor.set_range(batch_key(self._topic.id, partition, start))
                    while is_more and size < _READ_BYTES:
                        row = bytes(cursor.key())
                        if row[:8] != place:
                            is_more = False
                            break
                        data = bytes(cursor.value())
                        size += len(data)
                        start = split_batch_key(row)[2] + 1
                        if self._may_have(data, row):
                            change = self._change(transaction, row, data, None)
                            changes += [change] if change.new.live_count else []
                        is_more = cursor.next()
                yield changes

    def _may_have(self, data: bytes, row: bytes) -> bool:
        """Whether a batch may have a record of the key: bytes that are neither compressed nor Kafka's show it."""
        header = read_header(data, self._name(row))
        return bool(header.flags & COMPRESSION_MASK) or header.kind == KAFKA or self._key in data

    def _row_at(self, transaction: Snapshot, partition: int, offset: int) -> tuple[bytes, bytes] | None:
        """The row of the batch that has an offset, or of the first one behind it."""
        with transaction.cursor(db=self._environment.table(BATCHES)) as cursor:
            if not cursor.set_range(batch_key(self._topic.id, partition, offset)):
                return None
            key, data = bytes(cursor.key()), bytes(cursor.value())
        return (key, data) if key[:8] == self._place(partition) else None

    def _change(self, transaction: Snapshot, key: bytes, data: bytes, row: bytes | None) -> _Change:
        name, log_position = self._name(key), NO_LOG_POSITION
        if read_header(data, name).log_position == NO_LOG_POSITION:
            environment = self._environment
            old_end = position_of(environment.row(transaction, FORMAT, OLD_POSITIONS_KEY))
            log_position = runs_of_batch(environment, transaction, old_end, key, data)[0].log_position
        is_sealed = self._environment.seal is not None
        return _Change(
            key, data, redact(data, key, self._key, name, log_position=log_position, is_sealed=is_sealed), row
        )

    def _place(self, partition: int) -> bytes:
        return partition_key(self._topic.id, partition)

    def _name(self, key: bytes) -> str:
        _, partition, last = split_batch_key(key)
        return f"the batch of {self._topic.name}[{partition}] up to offset {last}"
