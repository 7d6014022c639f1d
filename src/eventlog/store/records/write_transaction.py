"""
The write transaction of one round, and the operations in it.

Offsets are assigned here and nowhere else: `WriteTransaction` knows the end of each partition inside the write
transaction. It keeps two more rules:

* Single records of a round that go to one partition share a batch. They wait in memory until a request asks for
  something that they change (an end, a batch, a row of the index), or until the commit.
* Records of one key are stored in the order of their versions, across partitions and batches.

The committer (`store/committer.py`) begins rounds and wakes the waiting threads.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import islice, takewhile
from operator import methodcaller

from eventlog.accelerators import compiled
from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import BatchEncoder, Compressors, decode
from eventlog.batches.header import NO_PRODUCER, EncodedBatch, read_header, seal, seal_version_2
from eventlog.errors import EventLogError, UnknownTopic
from eventlog.interruptions import unless_interrupted
from eventlog.store.lmdb.environment import (
    BATCHES,
    FORMAT,
    INDEX,
    ORDER,
    OWN_CHECKSUMS,
    PARTITIONS,
    TOPICS,
    Environment,
    Transaction,
)
from eventlog.store.lmdb.lifecycle import Table
from eventlog.store.records.commit_request import SingleRecord
from eventlog.store.records.key_rows import entity_prefix, pack_entry
from eventlog.store.records.key_writer import KeyIndex
from eventlog.store.records.least_ends import note_ends
from eventlog.store.records.log_order import (
    DELETIONS_KEY,
    END_POSITION_KEY,
    OLD_POSITIONS_KEY,
    checked_end,
    deletion_key,
    order_key,
    pack_deletion,
    position_of,
    runs_of_batch,
    seal_batch,
    seal_record,
    unpack_deletion,
)
from eventlog.store.records.reader import bounds_within, last_batch, offset_of_time_within
from eventlog.store.rows.tables import (
    FORMAT_KEY,
    PartitionRow,
    batch_key,
    partition_key,
    split_batch_key,
    unpack_topic_again,
)

_ALL = 2**62
_BEHIND = b"\xff" * 8


class WriteTransaction:
    """
    The write transaction of one round, and what it has learned of the partitions.

    What is learned stays true until another process commits; `begin` notices that by the transaction's number.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self.encoder = BatchEncoder()
        self._number = -1
        self._has_put = self._is_alone = False
        self._topics: dict[int, StoredTopic] = {}
        self._ends: dict[tuple[int, int], list[int]] = {}
        self.least_ends: dict[tuple[int, int], int] = {}
        self._position = -1
        self._singles: dict[tuple[int, int], list[SingleRecord]] = {}
        self._single_keys: dict[bytes, int] = {}
        self.compressors = Compressors()
        self.index = KeyIndex(environment)
        self.transaction: Transaction

    def begin(self, *, is_alone: bool = False) -> None:
        """
        Begin the transaction of one request, or of several; forget what another process may have changed.

        LMDB gives no number to a transaction that wrote nothing: the next writer takes it, of whatever process. To
        count it as ours would be to miss that commit, and to write over its records.
        """
        self.transaction = self._environment.begin_writing()
        number = self._environment.writing_number
        if number != self._number + self._has_put:
            note_ends(self.least_ends, self._ends)
            self.forget()
            if not self._environment.is_memory:
                self._environment.look_at_reserve()
        if self.index.is_grown:
            self.index.trim()
        self._number = number
        self._is_alone = is_alone
        self._has_put = False

    def forget(self) -> None:
        """Forget all that was learned: after a failure, and when others have written."""
        self._singles.clear()
        self._single_keys.clear()
        self.forget_learned()
        self._number = -1

    def commit(self, before_sync: Callable[[], None] | None) -> None:
        """
        Commit; call `before_sync` when everything is written and only the sync is left.

        Raises:
            StorageError: if the disk failed. The log refuses writes from now on.
            MapFull: if the map is too small. Nothing was stored.

        Whatever it raises, `abort()` must follow.
        """
        if self._singles:
            for topic_id, partition in list(self._singles):
                self._flush_partition(topic_id, partition)
            self._single_keys.clear()
        if before_sync is not None:
            before_sync()
        self._environment.commit(self.transaction)
        if self._has_put:
            self._environment.stored_number = self._number

    def check_room(self) -> None:
        """Raise `DiskFull` if this transaction takes room that is kept for deletions."""
        self._flush()
        self._environment.check_room(self.transaction)

    def abort(self) -> None:
        """Take everything back, and forget what was learned."""
        self._environment.abort()
        self.forget()

    def check_topic(self, topic: StoredTopic) -> StoredTopic:
        """The topic as it is stored now; `UnknownTopic` when it was deleted since it was opened."""
        known = self._topics.get(topic.id)
        if known is not None:
            return known
        stored = self.topic_named(topic.name)
        if stored is None or stored.id != topic.id:
            raise UnknownTopic(
                f"cannot write to topic {topic.name!r}: it was deleted.",
                stored="Nothing was stored.",
                advice="Open it again with log.topic() to create another one of that name.",
                topic=topic.name,
            )
        self._topics[topic.id] = stored
        return stored

    def topic_named(self, name: str) -> StoredTopic | None:
        """The topic that has a name now."""
        key = name.encode()
        data = self.get(TOPICS, key)
        return None if data is None else unpack_topic_again(key, data)

    def append(self, topic: StoredTopic, partition: int, batches: list[EncodedBatch]) -> tuple[int, int]:
        """
        Put batches at the end of a partition, and of the log's order.

        The offset and the log position of the first record; those of the others follow.
        """
        if self._singles:
            if topic.index is not None:  # their keys may be those of the batches, and come first
                self._flush(topic.id)
            else:
                self._flush_partition(topic.id, partition)
        return self._put_batches(topic.id, partition, batches)

    def _put_batches(self, topic_id: int, partition: int, batches: list[EncodedBatch]) -> tuple[int, int]:
        end = self._ends.get((topic_id, partition)) or self._end(topic_id, partition)
        base, log_position = end[0], self._position
        if log_position < 0:
            log_position = self.end_log_position()
        put, tables, seal_row = self.transaction.put, self._environment.tables, self._environment.seal
        table, order = tables[BATCHES], tables[ORDER]
        is_sealed, next_position = seal_row is not None and compiled is not None, log_position
        for batch in batches:
            span = batch.span
            end[0] = behind = end[0] + span
            if batch.largest_ms > end[1]:
                end[1] = batch.largest_ms
            rows = None
            if is_sealed and batch.producer is NO_PRODUCER and not (batch.compression or batch.kind):
                rows = seal_batch(
                    topic_id,
                    partition,
                    behind - 1,
                    next_position,
                    end[1],
                    batch.count,
                    span,
                    batch.first_ms,
                    batch.largest_ms,
                    batch.body,
                )
            if rows is not None:
                key, data, step, place = rows
            else:
                key = batch_key(topic_id, partition, behind - 1)
                step = order_key(next_position + span - 1)
                if seal_row is None:
                    data, place = seal_version_2(batch, largest_so_far_ms=end[1], log_position=next_position), key
                else:
                    data = seal(batch, largest_so_far_ms=end[1], log_position=next_position, key=key)
                    place = seal_row(step, key)
            self._has_put = True
            put(key, data, db=table)
            put(step, place, db=order, append=True)
            self._position = next_position = next_position + span
        return base, log_position

    def _put_record(self, topic_id: int, partition: int, record: SingleRecord) -> bool:
        """Put a record as a batch at the end of its partition, as `_put_batches` would, if it is a plain one."""
        environment = self._environment
        end = self._ends.get((topic_id, partition)) or self._end(topic_id, partition)
        offset, log_position, time_ms = end[0], self._position, record.timestamp_ms
        if log_position < 0:
            log_position = self.end_log_position()
        largest_ms = max(end[1], time_ms)
        rows = None
        if environment.seal is not None:
            rows = seal_record(topic_id, partition, offset, log_position, time_ms, largest_ms, record.key, record.value)
        if rows is None:
            return False
        put, tables = self.transaction.put, environment.tables
        key, batch, step, place = rows
        end[:] = offset + 1, largest_ms
        self._has_put = True
        put(key, batch, db=tables[BATCHES])
        put(step, place, db=tables[ORDER], append=True)
        self._position = log_position + 1
        record.offset, record.log_position = offset, log_position
        return True

    def end_log_position(self) -> int:
        """The position that the next record gets, with all that this round has written."""
        if self._position < 0:
            self._position = checked_end(self._environment, self.transaction)
        return self._position

    def append_record(self, record: SingleRecord) -> None:
        """
        Put one record beside others of this round that go to the same partition: they share a batch.

        It has its version at once, so that the next record of its key gets the next; its offset and log position are
        set when the batch is written. That of a request that is alone is written now.
        """
        place = record.topic.id, record.partition
        if place not in self._ends:
            self.check_partition(*place)  # a damaged end fails here, and fails nobody else
        prefix = record.prefix
        if self._is_alone:
            if prefix is not None:
                record.version = self.index.take_version(self.transaction, prefix)
            self._put_single(*place, record)
            return
        if prefix is not None:
            before = self._single_keys.get(prefix, record.partition)
            if before != record.partition:
                self._flush_partition(record.topic.id, before)
            self._single_keys[prefix] = record.partition
            record.version = self.index.take_version(self.transaction, prefix)
        self._singles.setdefault(place, []).append(record)

    def _flush(self, topic_id: int | None = None) -> None:
        """Write the batches that `append_record` collected, all of them or those of one topic."""
        for single_id, partition in list(self._singles):
            if topic_id is None or single_id == topic_id:
                self._flush_partition(single_id, partition)
        if not self._singles:
            self._single_keys.clear()

    def _flush_partition(self, topic_id: int, partition: int) -> None:
        records = self._singles.pop((topic_id, partition), None)
        if records is None:
            return
        if len(records) == 1:
            self._put_single(topic_id, partition, records[0])
            return
        headers = [record.headers for record in records]
        batches = self.encoder.encode(
            [record.key for record in records],
            [record.value for record in records],
            timestamps_ms=[record.timestamp_ms for record in records],
            headers=headers if any(headers) else None,
            compressor=records[-1].compressor,
        )
        base, log_position = self._put_batches(topic_id, partition, batches)
        for index, record in enumerate(records):
            record.offset = base + index
            record.log_position = log_position + index
        if records[0].topic.index is not None:
            self._index_singles(records)

    def _put_single(self, topic_id: int, partition: int, record: SingleRecord) -> None:
        """Put a record in a batch of its own, and into the index."""
        if (
            compiled is None
            or record.headers
            or record.compressor is not None
            or not self._put_record(topic_id, partition, record)
        ):
            batch = self.encoder.encode_one(
                record.key, record.value, timestamp_ms=record.timestamp_ms, headers=record.headers
            )
            if record.compressor is not None:
                record.compressor.compress(batch)
            record.offset, record.log_position = self._put_batches(topic_id, partition, [batch])
        if record.prefix is not None:
            self.index.add_one(self.transaction, record.prefix, _entry_of(record))

    def _index_singles(self, records: list[SingleRecord]) -> None:
        entries: dict[bytes, list[bytes]] = {}
        for record in records:
            if record.prefix is not None:
                entries.setdefault(record.prefix, []).append(_entry_of(record))
        if entries:
            self.index.add(self.transaction, entries)

    def _flush_for(self, table: bytes) -> None:
        """Write the single records that wait, if that changes a table."""
        if self._singles and table in _TABLES_OF_RECORDS:
            self._flush()

    @property
    def environment(self) -> Environment:
        """The environment, for what reads rows by a cursor."""
        return self._environment

    def table(self, name: bytes) -> Table:
        """The handle of a table, for the transaction's cursors."""
        return self._environment.tables[name]

    def get(self, table: bytes, key: bytes) -> bytes | None:
        """The value of a row, None when there is none; single records that wait have none yet."""
        return self._environment.row(self.transaction, table, key)

    def items(self, table: bytes, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The rows whose keys begin with `prefix`, in key order."""
        self._flush_for(table)
        with self.transaction.cursor(db=self._environment.tables[table]) as cursor:
            if cursor.set_range(prefix):
                value = self._environment.value
                for key, data in cursor.iternext():
                    if not key.startswith(prefix):
                        return
                    yield key, value(table, key, data)

    def keys(self, table: bytes, prefix: bytes) -> Iterator[bytes]:
        """The keys of these rows, unchecked: for rows that are to be removed."""
        self._flush_for(table)
        with self.transaction.cursor(db=self._environment.tables[table]) as cursor:
            if cursor.set_range(prefix):
                yield from takewhile(methodcaller("startswith", prefix), cursor.iternext(values=False))

    def items_reversed(self, table: bytes, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The same rows in the opposite order; 8 bytes at most follow the prefix."""
        self._flush_for(table)
        with self.transaction.cursor(db=self._environment.tables[table]) as cursor:
            is_behind = cursor.set_range(prefix + _BEHIND)
            is_found = cursor.prev() if is_behind else cursor.last()
            while is_found and (key := cursor.key()).startswith(prefix):
                yield key, self._environment.value(table, key, cursor.value())
                is_found = cursor.prev()

    def put(self, table: bytes, key: bytes, value: bytes) -> None:
        """Write a row."""
        self._has_put = True
        seal_row = self._environment.seal
        if seal_row is not None and table not in OWN_CHECKSUMS:
            value = seal_row(key, value)
        self.transaction.put(key, value, db=self._environment.tables[table])

    def touch(self) -> None:
        """Write a row as it is."""
        self._has_put, table = True, self.table(FORMAT)
        self.transaction.put(FORMAT_KEY, self.transaction.get(FORMAT_KEY, db=table) or b"", db=table)

    def put_sorted(self, table: bytes, keys: list[bytes], values: list[bytes]) -> None:
        """Write rows in the order of their keys; there is at least one."""
        if len(keys) == 1:
            self.put(table, keys[0], values[0])
            return
        self._has_put = True
        seal_row = self._environment.seal
        rows = values if seal_row is None or table in OWN_CHECKSUMS else map(seal_row, keys, values)
        with self.transaction.cursor(db=self._environment.tables[table]) as cursor:
            # Four times as fast as one by one. Columns, since a tuple for each row keeps the garbage collector busy.
            cursor.putmulti(zip(keys, rows, strict=True))

    def delete(self, table: bytes, key: bytes) -> bool:
        """Remove a row; whether there was one."""
        removed: bool = self.transaction.delete(key, db=self._environment.tables[table])
        return removed

    def delete_prefix(self, table: bytes, prefix: bytes, *, most: int = _ALL) -> int:
        """Remove the rows whose keys begin with `prefix`, `most` at most; return their number."""
        self._flush_for(table)
        count = 0
        with self.transaction.cursor(db=self._environment.tables[table]) as cursor:
            is_found = most > 0 and cursor.set_range(prefix)
            while is_found and count < most and cursor.key().startswith(prefix):
                is_found = cursor.delete() and bool(cursor.key())
                count += 1
        return count

    def delete_batches(self, prefix: bytes, *, below: bytes | None = None, most: int = _ALL) -> int:
        """
        Remove the batches whose keys begin with `prefix`, or those of them below a key, with their rows in the order.

        Removes `most` at most; returns their number.
        """
        self._flush_for(BATCHES)
        count = 0
        environment = self._environment
        order = environment.table(ORDER)
        self.put(FORMAT, END_POSITION_KEY, order_key(self.end_log_position()))
        old_end = position_of(self.get(FORMAT, OLD_POSITIONS_KEY))
        with self.transaction.cursor(db=environment.table(BATCHES)) as cursor:
            is_found = cursor.set_range(prefix)
            while is_found and count < most:
                key = cursor.key()
                if not key.startswith(prefix) or (below is not None and key >= below):
                    break
                for run in runs_of_batch(environment, self.transaction, old_end, key, cursor.value()):
                    self.transaction.delete(order_key(run.end_position - 1), db=order)
                is_found = cursor.delete() and bool(cursor.key())
                count += 1
        return count

    def note_deletion(self, topic_id: int, partition: int, before: int) -> None:
        """
        Note that the records of a partition before an offset are deleted in this transaction, before they are.

        Whoever follows the order of the log finds out that records are gone that it has not seen.
        """
        self._flush_for(BATCHES)
        place = partition_key(topic_id, partition)
        old_end = position_of(self.get(FORMAT, OLD_POSITIONS_KEY))
        with self.transaction.cursor(db=self._environment.tables[BATCHES]) as cursor:
            if not cursor.set_range(batch_key(topic_id, partition, before - 1)):
                return
            key, data = cursor.item()
        if not key.startswith(place):
            return
        runs = runs_of_batch(self._environment, self.transaction, old_end, key, data)
        run = next((one for one in runs if before <= one.end), None)
        if run is None:
            return  # the order of the log is damaged, which `verify` tells
        behind = run.log_position + before - run.first
        largest, number = unpack_deletion(self.get(FORMAT, DELETIONS_KEY))
        self.put(FORMAT, DELETIONS_KEY, pack_deletion(max(largest, behind), number + 1))
        self.put(FORMAT, deletion_key(place), pack_deletion(behind, number + 1))

    def deletions_number(self) -> int:
        """The number of the last deletion of records."""
        return unpack_deletion(self.get(FORMAT, DELETIONS_KEY))[1]

    def keys_before(self, topic_id: int, partition: int, first: int, offset: int) -> tuple[set[bytes], int] | None:
        """
        The keys of the records of a partition that lie before an offset, and how many from `first` on have none.

        None when one cannot be read.
        """
        self._flush_for(BATCHES)
        keys: set[bytes] = set()
        keyless_count = 0
        prefix = partition_key(topic_id, partition)
        with self.transaction.cursor(db=self._environment.tables[BATCHES]) as cursor:
            is_found = cursor.set_range(prefix)
            while is_found and (key := cursor.key()).startswith(prefix):
                last = split_batch_key(key)[2]
                try:
                    columns = decode(cursor.value(), f"the batch of partition {partition} up to offset {last}")
                except unless_interrupted(EventLogError):
                    return None
                offsets = columns.offsets(last)
                count = bisect_left(offsets, offset)
                keys.update(one for one in columns.keys[:count] if one is not None)
                keyless_count += columns.keys[bisect_left(offsets, first) : count].count(None)
                is_found = last < offset and cursor.next()
        return keys, keyless_count

    def delete_index_before(self, topic_id: int, partition: int, first: int, new_first: int) -> int | None:
        """
        Remove the records of a partition that lie before an offset from the index of their keys.

        Return how many from `first` on have no key, None if that cannot be read.
        """
        found = self.keys_before(topic_id, partition, first, new_first)
        if found is None:
            self.index.delete_all_before(self.transaction, topic_id, partition, new_first)
            return None
        for key in found[0]:
            self.index.delete_before(self.transaction, entity_prefix(topic_id, key), partition, new_first)
        return found[1]

    def delete_where(self, table: bytes, is_doomed: Callable[[bytes], bool], *, most: int = _ALL) -> int:
        """Remove the rows of a small table whose keys a function chooses, `most` at most; return their number."""
        with self.transaction.cursor(db=self._environment.tables[table]) as cursor:
            doomed = list(islice((key for key in cursor.iternext(values=False) if is_doomed(key)), max(most, 0)))
        for key in doomed:
            self.delete(table, key)
        return len(doomed)

    def forget_topics(self) -> None:
        """Forget the topics, because this very transaction changes one."""
        self._topics.clear()

    def forget_learned(self) -> None:
        """Forget topics, ends and versions, because this very transaction changes them."""
        if self._singles:
            self._flush()
        self._topics.clear()
        self._ends.clear()
        self._position = -1
        self.index.forget()

    def partition_end(self, topic_id: int, partition: int) -> tuple[int, int]:
        """The end offset of a partition and its largest timestamp so far, with all that this round appends."""
        if self._singles:
            self._flush_partition(topic_id, partition)
        end, largest_ms = self._end(topic_id, partition)
        return end, largest_ms

    def is_beyond_end(self, topic_id: int, partition: int, offset: int) -> bool:
        """
        Whether an offset is beyond the end of a partition, without the single records that wait.

        Only keys are read, so it can be said of a damaged partition too.
        """
        known = self._ends.get((topic_id, partition))
        if known is not None or offset == 0:
            return known is not None and offset > known[0]
        with self.transaction.cursor(db=self._environment.tables[BATCHES]) as cursor:
            is_found = cursor.set_range(batch_key(topic_id, partition, offset - 1))
            if is_found and cursor.key().startswith(partition_key(topic_id, partition)):
                return False
        return offset > PartitionRow.unpack(self.get(PARTITIONS, partition_key(topic_id, partition))).end

    def bounds(self, topic_id: int, partition: int) -> tuple[int, int]:
        """The first and the end offset of a partition, without the single records that wait."""
        return bounds_within(self._environment, self.transaction, [(topic_id, partition)])[0]

    def check_partition(self, topic_id: int, partition: int) -> None:
        """Raise `CorruptBatch` when records cannot be put at the end of a partition or of the log: it is damaged."""
        if (topic_id, partition) not in self._ends:
            self._end(topic_id, partition)
        if self._position < 0:
            self.end_log_position()

    def partition_first(self, topic_id: int, partition: int) -> int:
        """The first offset of a partition that may be read."""
        return PartitionRow.unpack(self.get(PARTITIONS, partition_key(topic_id, partition))).first

    def offset_of_time(self, topic_id: int, partition: int, timestamp_ms: int) -> int:
        """The first offset of this time or later, with all that this round appends."""
        if self._singles:
            self._flush_partition(topic_id, partition)
        return offset_of_time_within(self._environment, self.transaction, topic_id, partition, timestamp_ms)

    def _end(self, topic_id: int, partition: int) -> list[int]:
        end = self._ends.get((topic_id, partition))
        if end is None:
            end = self._ends[topic_id, partition] = self._stored_end(topic_id, partition)
        return end

    def _stored_end(self, topic_id: int, partition: int) -> list[int]:
        with self.transaction.cursor(db=self._environment.tables[BATCHES]) as cursor:
            found = last_batch(self._environment, self.transaction, cursor, topic_id, partition)
        if found is not None:
            return [found.last + 1, read_header(found.data, "the last batch of a partition").largest_so_far_ms]
        row = PartitionRow.unpack(self.get(PARTITIONS, partition_key(topic_id, partition)))
        return [row.end, row.largest_ms]


_TABLES_OF_RECORDS = frozenset({BATCHES, INDEX, ORDER})
"""What single records change when they are written."""


def _entry_of(record: SingleRecord) -> bytes:
    return pack_entry(
        record.partition, record.offset, record.timestamp_ms, record.log_position, record.value, record.headers
    )
