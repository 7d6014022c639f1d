"""
The check of the small tables: the format, topics, the bounds of partitions, states, projections and producers.

Each is read completely; of the rows of states only ids and checksums are checked.
"""

from __future__ import annotations

from collections.abc import Callable

from eventlog.interruptions import unless_interrupted
from eventlog.store.kafka.sequences import KAFKA_PRODUCERS, KafkaProducerRow
from eventlog.store.lmdb.environment import (
    FORMAT,
    PARTITIONS,
    PRODUCERS,
    PROJECTIONS,
    SEQUENCES,
    STATE,
    STATES,
    TOPICS,
    Environment,
    Snapshot,
)
from eventlog.store.records.log_order import (
    DELETIONS_KEY,
    END_POSITION_KEY,
    OLD_POSITIONS_KEY,
    deletion_key,
    end_log_position,
    position_of,
    unpack_deletion,
)
from eventlog.store.records.producer_epochs import NEXT_PRODUCER_ID_KEY, ProducerRow, SequenceRow, split_sequence_key
from eventlog.store.rows.compaction import COMPACTION_KEY, CompactionRow, split_compaction_key
from eventlog.store.rows.tables import (
    FORMAT_KEY,
    KEYLESS_KEY,
    LEFT_ROWS,
    LOST_RECORDS_KEY,
    NEXT_TOPIC_ID_KEY,
    STATE_ROWS,
    TOPIC_ROWS,
    TOPICS_VERSION_KEY,
    FormatRow,
    PartitionRow,
    next_id,
    partition_key,
    split_left_rows_key,
    split_partition_key,
    unpack_count,
    unpack_topic,
    unpack_topics_version,
)
from eventlog.store.states.projection_rows import build_state_name, unpack_projection
from eventlog.store.states.rows import NEXT_STATE_ID_KEY, unpack_state
from eventlog.store.verify.walk import UNREADABLE, BatchCache, Problems, SnapshotReader, said, walk

_STATE_ID_BYTES = 4
_LAST_STATE_ID = 2**32 - 1
_COUNTERS: dict[bytes, Callable[[bytes | None], int]] = {
    NEXT_TOPIC_ID_KEY: lambda data: next_id(data, "topic", size_bytes=4),
    NEXT_STATE_ID_KEY: lambda data: next_id(data, "state", size_bytes=4),
    NEXT_PRODUCER_ID_KEY: lambda data: next_id(data, "producer", size_bytes=8),
    TOPICS_VERSION_KEY: unpack_topics_version,
    END_POSITION_KEY: position_of,
    OLD_POSITIONS_KEY: position_of,
}


class SmallTables:
    """Checks the tables that do not hold records."""

    def __init__(self, environment: Environment, problems: Problems) -> None:
        self._environment = environment
        self._problems = problems
        self._cache = BatchCache()
        self._state_ids: set[int] = set()
        self._producer_ids: set[int] = set()
        self._kafka_ids: set[int] = set()
        self._topic_ids: set[int] = set()
        self.topic_count = 0

    def check(self) -> None:
        """Check the topics, the bounds of partitions, and the format."""
        self._walk(TOPICS, self._check_topic)
        self._walk(PARTITIONS, self._check_partition)
        self._walk(FORMAT, self._check_format)
        with self._environment.reading() as transaction:
            snapshot = SnapshotReader(self._environment, transaction, self._cache)
            self._check_next_id(snapshot, "topic", self._topic_ids, NEXT_TOPIC_ID_KEY)

    def check_states(self) -> None:
        """Check states, projections and producers, and the owners of their rows, in one snapshot."""
        with self._environment.reading() as transaction:
            snapshot = SnapshotReader(self._environment, transaction, self._cache)
            for table, check_row in (
                (STATES, self._check_state),
                (PROJECTIONS, self._check_projection),
                (PRODUCERS, self._check_producer),
                (SEQUENCES, self._check_sequences),
            ):
                rows = _Rows(table, check_row, self._problems)
                with transaction.cursor(db=self._environment.table(table)) as cursor:
                    for key, data in cursor.iternext():
                        try:
                            rows.row(snapshot, bytes(key), bytes(self._environment.value(table, key, data)))
                        except unless_interrupted(*UNREADABLE) as error:
                            rows.unreadable(bytes(key), error)
            self._check_rows_of_states(snapshot, transaction)
            self._check_next_id(snapshot, "state", self._state_ids, NEXT_STATE_ID_KEY)
            producer_ids = self._producer_ids | self._kafka_ids
            self._check_next_id(snapshot, "producer", producer_ids, NEXT_PRODUCER_ID_KEY)
        if self._environment.unseal is not None:
            self._walk(STATE, _check_nothing_more)

    def _walk(self, table: bytes, check_row: Callable[[SnapshotReader, bytes, bytes], None]) -> None:
        walk(self._environment, table, _Rows(table, check_row, self._problems), cache=self._cache)

    def _check_topic(self, _: SnapshotReader, key: bytes, data: bytes) -> None:
        self.topic_count += 1
        self._note_id("topic", unpack_topic(key, data).id, self._topic_ids)

    def _check_partition(self, snapshot: SnapshotReader, key: bytes, data: bytes) -> None:
        topic_id, partition = int.from_bytes(key[:4], "big"), int.from_bytes(key[4:], "big")
        topic = snapshot.topic(topic_id)
        name = f"{topic.name if topic else f'topic id {topic_id}'}[{partition}]"
        try:
            PartitionRow.unpack(data)
        except unless_interrupted(*UNREADABLE) as error:
            self._problems.add(f"{name}: {said(error)}")
        if topic is None or key != partition_key(topic_id, partition % 2**32) or partition >= topic.partitions:
            self._problems.add(f"{name}: it has bounds, but there is no such partition.")

    def _check_format(self, snapshot: SnapshotReader, key: bytes, data: bytes) -> None:
        if key == FORMAT_KEY:
            FormatRow.unpack(data, "the log")
        elif key in _COUNTERS:
            _COUNTERS[key](data)
        elif key.startswith(LEFT_ROWS):
            split_left_rows_key(key)
        elif key.startswith(DELETIONS_KEY):
            unpack_deletion(data)
            if key.startswith(prefix := deletion_key(b"")):
                split_partition_key(key[len(prefix) :])

        elif key.startswith(KEYLESS_KEY):
            unpack_count(data, "deleted records without a key")
        elif key.startswith(LOST_RECORDS_KEY):
            unpack_count(data, "lost records")
        elif key.startswith(COMPACTION_KEY):
            self._check_compaction(snapshot, key, data)

    def _check_compaction(self, snapshot: SnapshotReader, key: bytes, data: bytes) -> None:
        """Check the row of a compacted partition: it is clean up to its end at most, and has lost no more than that."""
        topic_id, partition = split_compaction_key(key)
        topic, row = snapshot.topic(topic_id), CompactionRow.unpack(data)
        if snapshot.has_left(TOPIC_ROWS, topic_id):
            return
        name = f"{topic.name if topic else f'topic id {topic_id}'}[{partition}]"
        if topic is None or partition >= topic.partitions:
            self._problems.add(f"{name}: it has a row of its compaction, but there is no such partition.")
        elif max(row.clean_end, row.dropped_count, *(one.end for one in row.rounds), 0) > (
            end := snapshot.bounds(topic_id, partition)[1]
        ):
            self._problems.add(f"{name}: the row of its compaction is of more than its {end} offsets.")

    def _note_id(self, what: str, number: int, ids: set[int]) -> None:
        if number in ids:
            self._problems.add(f"{what} id {number}: two of them have it.")
        ids.add(number)

    def _check_next_id(self, snapshot: SnapshotReader, what: str, ids: set[int], counter: bytes) -> None:
        """Report an id that the next thing would get although another has it."""
        largest = max(ids, default=0)
        try:
            number = _COUNTERS[counter](snapshot.get(FORMAT, counter))
        except unless_interrupted(*UNREADABLE):
            return  # reported by the check of the format
        if number <= largest:
            self._problems.add(f"{what} id {largest}: it would be given to another {what} too.")

    def _check_state(self, _: SnapshotReader, key: bytes, data: bytes) -> None:
        self._note_id("state", unpack_state(key, data).id, self._state_ids)

    def _check_projection(self, snapshot: SnapshotReader, key: bytes, data: bytes) -> None:
        row = unpack_projection(key, data)
        builds = [row.active, *([row.rebuilding] if row.rebuilding else [])]
        self._state_ids.update(row.doomed)
        for build in builds:
            state = snapshot.get(STATES, build_state_name(row.name, build.state_id).encode())
            if state is None or build.state_id not in self._state_ids:
                self._problems.add(f"projection {row.name!r}: its state does not exist.")
            elif build.log_position > end_log_position(self._environment, snapshot.transaction):
                self._problems.add(
                    f"projection {row.name!r}: it has read up to {build.log_position}, beyond the end of the log."
                )

    def _check_producer(self, _: SnapshotReader, key: bytes, data: bytes) -> None:
        self._note_id("producer", ProducerRow.unpack(key.decode(), data).id, self._producer_ids)

    def _check_sequences(self, snapshot: SnapshotReader, key: bytes, data: bytes) -> None:
        producer_id, topic_id, partition = split_sequence_key(key)
        is_kafka = producer_id >= KAFKA_PRODUCERS
        if is_kafka:
            KafkaProducerRow.unpack(data)
            self._kafka_ids.add(producer_id - KAFKA_PRODUCERS)
        else:
            SequenceRow.unpack(data)
        topic = snapshot.topic(topic_id)
        if snapshot.has_left(TOPIC_ROWS, topic_id):
            return
        if not is_kafka and producer_id not in self._producer_ids:
            self._problems.add(f"table 'sequences': it has a row of producer id {producer_id}, which does not exist.")
        elif topic is None or partition >= topic.partitions:
            self._problems.add(
                f"table 'sequences': it has a row of topic id {topic_id}[{partition}], which does not exist."
            )

    def _check_rows_of_states(self, snapshot: SnapshotReader, transaction: Snapshot) -> None:
        """Check one row of each state, not every row."""
        with transaction.cursor(db=self._environment.table(STATE)) as cursor:
            is_found = cursor.first()
            while is_found:
                key = bytes(cursor.key())
                if len(key) < _STATE_ID_BYTES:
                    self._problems.add(f"table 'state', row {key.hex()}: its key has no state id.")
                    is_found = cursor.next()
                    continue
                state_id = int.from_bytes(key[:_STATE_ID_BYTES], "big")
                if state_id not in self._state_ids and not snapshot.has_left(STATE_ROWS, state_id):
                    self._problems.add(f"table 'state': it has rows of state id {state_id}, which does not exist.")
                if state_id == _LAST_STATE_ID:
                    return
                is_found = cursor.set_range((state_id + 1).to_bytes(_STATE_ID_BYTES, "big"))


def _check_nothing_more(_: SnapshotReader, key: bytes, data: bytes) -> None:
    """Check a row that is any bytes: its checksum has told."""


class _Rows:
    def __init__(
        self, table: bytes, check_row: Callable[[SnapshotReader, bytes, bytes], None], problems: Problems
    ) -> None:
        self._table = table
        self.row = check_row
        self._problems = problems

    def unreadable(self, key: bytes, error: BaseException) -> None:
        """Report a row that cannot be read."""
        self._problems.add(f"table {self._table.decode()!r}, row {key!r}: {said(error)}")
