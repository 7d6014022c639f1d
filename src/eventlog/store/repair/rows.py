"""
What a row of each table must be, and which of two versions of a row is kept.

A page does not say of which table it is. All rows of a page are of one table, so a page belongs to the table of which
all of them can be rows.
"""

from __future__ import annotations

from collections.abc import Callable

from eventlog.errors import EventLogError
from eventlog.interruptions import unless_interrupted
from eventlog.store.groups.rows import split_member_key, unpack_group, unpack_member
from eventlog.store.kafka.sequences import KAFKA_PRODUCERS, KafkaProducerRow
from eventlog.store.lmdb.environment import (
    BATCHES,
    FORMAT,
    GROUPS,
    INDEX,
    MEMBERS,
    MESSAGE_TIMES,
    MESSAGES,
    OFFSETS,
    ORDER,
    PARTITIONS,
    PRODUCERS,
    PROJECTIONS,
    QUEUES,
    SCHEDULE,
    SEQUENCES,
    SNAPSHOTS,
    STATE,
    STATES,
    TOPICS,
)
from eventlog.store.records.key_rows import escaped, row_count, split_row_key, unescaped, unpack_row
from eventlog.store.records.log_order import (
    DELETIONS_KEY,
    END_POSITION_KEY,
    OLD_POSITIONS_KEY,
    deletion_key,
    position_of,
    unpack_deletion,
)
from eventlog.store.records.message_ids import StoredMessage, split_time_key
from eventlog.store.records.producer_epochs import (
    NEXT_PRODUCER_ID_KEY,
    ProducerRow,
    SequenceRow,
    split_sequence_key,
)
from eventlog.store.records.snapshots import unpack_snapshot
from eventlog.store.rows.compaction import COMPACTION_KEY, CompactionRow, split_compaction_key
from eventlog.store.rows.kafka_transactions import KAFKA_ROWS, check_kafka_row
from eventlog.store.rows.queues import check_queue_row
from eventlog.store.rows.schedules import check_schedule_row
from eventlog.store.rows.tables import (
    BRANCH_KEY,
    FORMAT_KEY,
    KEYLESS_KEY,
    LEFT_ROWS,
    LOST_RECORDS_KEY,
    NEXT_TOPIC_ID_KEY,
    TOPICS_VERSION_KEY,
    PartitionRow,
    group_of_key,
    next_id,
    split_batch_key,
    split_left_rows_key,
    split_offset_key,
    split_partition_key,
    unpack_commit,
    unpack_count,
    unpack_topic,
    unpack_topics_version,
)
from eventlog.store.states.projection_rows import unpack_projection
from eventlog.store.states.rows import ID_BYTES, NEXT_STATE_ID_KEY, unpack_state
from eventlog.store.verify.walk import UNREADABLE

_LEAST_SNAPSHOT_KEY_BYTES = 6
_BRANCH_BYTES = 16


def _check_format(key: bytes, data: bytes) -> None:
    if key == FORMAT_KEY:
        return  # it is read apart, before all others
    if key.startswith(KAFKA_ROWS):
        check_kafka_row(key, data)
    else:
        _check_note(key, data)


def _check_note(key: bytes, data: bytes) -> None:
    if key in (NEXT_TOPIC_ID_KEY, NEXT_STATE_ID_KEY):
        next_id(data, "thing", size_bytes=4)
    elif key == NEXT_PRODUCER_ID_KEY:
        next_id(data, "producer", size_bytes=8)
    elif key == TOPICS_VERSION_KEY:
        unpack_topics_version(data)
    elif key in (END_POSITION_KEY, OLD_POSITIONS_KEY):
        position_of(data)
    elif key.startswith(LEFT_ROWS):
        split_left_rows_key(key)
    elif key.startswith((KEYLESS_KEY, LOST_RECORDS_KEY)):
        unpack_count(data, "deleted records")
    elif key == BRANCH_KEY:
        if len(data) != _BRANCH_BYTES:
            raise ValueError("it is no branch")
    elif key == DELETIONS_KEY:
        unpack_deletion(data)
    elif key.startswith(deletion_key(b"")):
        split_partition_key(key.removeprefix(deletion_key(b"")))
        unpack_deletion(data)
    elif key.startswith(COMPACTION_KEY):
        split_compaction_key(key)
        CompactionRow.unpack(data)
    else:
        raise ValueError("it is no row of the format")


def _check_order(key: bytes, data: bytes) -> None:
    position_of(key)
    split_batch_key(data)


def _check_partition(key: bytes, data: bytes) -> None:
    split_partition_key(key)
    PartitionRow.unpack(data)


def _check_offset(key: bytes, data: bytes) -> None:
    split_offset_key(key)
    unpack_commit(data)


def _check_index(key: bytes, data: bytes) -> None:
    split_row_key(key)
    unpack_row(data, "a row")


def _check_snapshot(key: bytes, data: bytes) -> None:
    if len(key) < _LEAST_SNAPSHOT_KEY_BYTES or escaped(unescaped(key[4:])) != key[4:]:
        raise ValueError("it is no key of a snapshot")
    unpack_snapshot(data)


def _check_message(key: bytes, data: bytes) -> None:
    if len(key) <= ID_BYTES:
        raise ValueError("it is no message id")
    StoredMessage.unpack(data)


def _check_message_time(key: bytes, data: bytes) -> None:
    split_time_key(key)
    if data:
        raise ValueError("it is not empty")


def _check_member(key: bytes, data: bytes) -> None:
    unpack_member(split_member_key(key)[1], data)


def _check_sequences(key: bytes, data: bytes) -> None:
    if split_sequence_key(key)[0] >= KAFKA_PRODUCERS:
        KafkaProducerRow.unpack(data)
    else:
        SequenceRow.unpack(data)


def _check_state_row(key: bytes, _: bytes) -> None:
    if len(key) < ID_BYTES:
        raise ValueError("it has no state id")


CHECKS: dict[bytes, Callable[[bytes, bytes], object]] = {
    FORMAT: _check_format,
    ORDER: _check_order,
    PARTITIONS: _check_partition,
    SEQUENCES: _check_sequences,
    QUEUES: check_queue_row,
    SCHEDULE: check_schedule_row,
    INDEX: _check_index,
    MESSAGES: _check_message,
    MESSAGE_TIMES: _check_message_time,
    OFFSETS: _check_offset,
    MEMBERS: _check_member,
    TOPICS: unpack_topic,
    GROUPS: lambda key, data: unpack_group(group_of_key(key), data),
    STATES: unpack_state,
    PROJECTIONS: unpack_projection,
    PRODUCERS: lambda key, data: ProducerRow.unpack(key.decode(), data),
    SNAPSHOTS: _check_snapshot,
    STATE: _check_state_row,
}
"""The checks of a row by table, all but the batches; the strictest first."""
assert BATCHES not in CHECKS


def is_row(table: bytes, key: bytes, data: bytes) -> bool:
    """Whether this can be a row of a table; `data` is without the checksum of the row."""
    try:
        CHECKS[table](key, data)
    except unless_interrupted(*UNREADABLE):
        return False
    return True


def is_kept(table: bytes, old: bytes, new: bytes) -> bool:
    """Whether the version of a row that came first is kept, of two sound ones."""
    try:
        if table == INDEX:
            return row_count(old) >= row_count(new)
        if table == OFFSETS:
            return unpack_commit(old).committed_ms >= unpack_commit(new).committed_ms
        if table == PARTITIONS:
            return PartitionRow.unpack(old).first >= PartitionRow.unpack(new).first
        if table == PRODUCERS:
            return ProducerRow.unpack("", old).epoch >= ProducerRow.unpack("", new).epoch
        if table == GROUPS:
            return unpack_group("", old).epoch >= unpack_group("", new).epoch
    except unless_interrupted(EventLogError):
        return True
    return True
