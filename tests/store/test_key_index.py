"""The rows of an index: their keys sort as the records' keys do, and a round keeps versions and positions in step."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import eventlog
from eventlog.backend.records import PartitionRecords, Rows
from eventlog.batches.format import BatchEncoder
from eventlog.store.lmdb.environment import BATCHES, INDEX
from eventlog.store.records.append import AppendColumns, AppendOne
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.key_rows import (
    LONGEST_KEY_BYTES,
    entity_prefix,
    escaped,
    unescaped,
    unpack_row,
    version_key,
)
from eventlog.store.rows.tables import batch_key

KEYS = st.binary(max_size=8) | st.lists(st.sampled_from([b"\0", b"\1", b"\xff", b"a"]), max_size=8).map(b"".join)


# --- keys -------------------------------------------------------------------------------------------------------------


@given(KEYS)
@example(b"")
@example(b"\0")
@example(b"\0\xff")
@example(b"\0\0")
def test_a_key_comes_back(key: bytes) -> None:
    """Whatever zero bytes it has, and wherever."""
    assert unescaped(escaped(key)) == key


@given(KEYS, KEYS)
@example(b"a", b"a\0")
@example(b"", b"\0")
@example(b"\0", b"\0\0")
@example(b"\0", b"\0\1")
@example(b"a\0b", b"a\1")
def test_escaped_keys_sort_as_the_keys_do(one: bytes, other: bytes) -> None:
    """So a walk over the table is one over the keys."""
    assert (escaped(one) < escaped(other)) == (one < other)
    assert (escaped(one) == escaped(other)) == (one == other)


@given(KEYS, KEYS)
@example(b"a", b"a\0\0")
@example(b"", b"\0\0")
def test_no_escaped_key_begins_another(one: bytes, other: bytes) -> None:
    """So the rows of one key are those whose keys begin with it."""
    if one != other:
        assert not escaped(one).startswith(escaped(other))


@given(KEYS, KEYS, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_rows_sort_by_key_and_then_by_version(one: bytes, other: bytes, first: int, second: int) -> None:
    """Version bytes never reach over into another key."""
    rows = entity_prefix(7, one) + version_key(first), entity_prefix(7, other) + version_key(second)
    assert (rows[0] < rows[1]) == ((one, first) < (other, second))


def test_the_longest_key_fits_a_key_of_lmdb() -> None:
    """With topic, end and version: at most 511 bytes."""
    assert len(entity_prefix(2**32 - 1, b"\0" * (LONGEST_KEY_BYTES // 2)) + version_key(1)) <= 511


# --- rounds -----------------------------------------------------------------------------------------------------------


def run_together(log: eventlog.EventLog, *works: CommitRequest) -> None:
    """Stores works in one round."""
    for work in works:
        log._store.committer.submit(work)
    log._store.committer.commit_queued()


def history(topic: eventlog.Topic[Any, Any], key: Any) -> list[tuple[int, int, int, Any]]:
    """Version, position, partition and value of a key's records."""
    return [(event.version, event.log_position, event.partition, event.value) for event in topic.history(key)]


def column(topic: eventlog.Topic[Any, Any], partition: int, key: bytes, values: list[bytes]) -> AppendColumns:
    """A work that appends some records of one key."""
    rows = Rows([key] * len(values), values, 1)
    batches = BatchEncoder().encode(rows.keys, rows.values, timestamps_ms=1)
    return AppendColumns([PartitionRecords(topic._route.row, partition, batches, rows)])


@pytest.mark.parametrize("places", [(0, 1, 0), (0, 0, 1), (1, 0, 1, 0)])
def test_records_of_one_key_in_several_partitions_are_stored_in_the_order_of_their_versions(
    log: eventlog.EventLog, places: tuple[int, ...]
) -> None:
    """Although a round puts records of one partition into one batch."""
    topic = log.topic("accounts", partitions=2, index="key")
    row = topic._route.row
    works = [AppendOne(row, place, b"k", b"%d" % number, (), 1) for number, place in enumerate(places)]
    run_together(log, *works)
    found = history(topic, b"k")
    assert [value for *_, value in found] == [b"%d" % number for number in range(len(places))]
    assert [(work.version, work.log_position) for work in works] == [(one[0], one[1]) for one in found]
    assert [one[1] for one in found] == sorted(one[1] for one in found)
    assert log.verify().problems == ()


def test_columns_come_behind_the_single_records_before_them(log: eventlog.EventLog) -> None:
    """Also where they go to another partition."""
    topic = log.topic("accounts", partitions=2, index="key")
    one = AppendOne(topic._route.row, 0, b"k", b"0", (), 1)
    some = column(topic, 1, b"k", [b"1", b"2"])
    last = AppendOne(topic._route.row, 1, b"k", b"3", (), 1)
    run_together(log, one, some, last)
    assert [value for *_, value in history(topic, b"k")] == [b"0", b"1", b"2", b"3"]
    assert (one.version, some.reply.stored[0].location(0).version, last.version) == (1, 2, 4)
    assert log.verify().problems == ()


def test_records_of_different_keys_share_a_batch(log: eventlog.EventLog) -> None:
    """Only a key that changes its partition within a round makes another."""
    topic = log.topic("accounts", partitions=2, index="key")
    row = topic._route.row
    run_together(log, *[AppendOne(row, number % 2, b"%d" % (number % 2), b"v", (), 1) for number in range(20)])
    assert log.verify().batch_count == 2


# --- damage -----------------------------------------------------------------------------------------------------------


def spoil(log: eventlog.EventLog, table: bytes, key: bytes, change: Callable[[bytes], bytes]) -> None:
    """Changes the bytes of a row, and has the log forget what it knows of it."""
    environment = log._store.environment
    transaction = environment.begin_writing()
    data = transaction.get(key, db=environment.table(table))
    assert data is not None, "there is no such row"
    transaction.put(key, change(data), db=environment.table(table))
    environment.commit(transaction)
    log._store.committer._writing.forget()


def flipped(data: bytes) -> bytes:
    """The bytes with one other bit in the middle."""
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def shortened(data: bytes) -> bytes:
    """What is no row at all."""
    return data[:3]


@pytest.fixture
def topic(disk_log: eventlog.EventLog) -> eventlog.Topic[Any, Any]:
    """A topic with records of two keys."""
    topic: eventlog.Topic[Any, Any] = disk_log.topic("accounts", index="key")
    topic.append_many([b"1", b"2", b"3", b"4"], keys=[b"a", b"b", b"a", b"b"])
    return topic


@pytest.mark.parametrize("change", [flipped, shortened])
def test_appending_behind_a_damaged_row_stores_nothing(
    disk_log: eventlog.EventLog, topic: eventlog.Topic[Any, Any], change: Callable[[bytes], bytes]
) -> None:
    """A new checksum would hide the damage; other keys, also those of the same round, are unaffected."""
    spoil(disk_log, INDEX, entity_prefix(1, b"a") + version_key(1), change)
    bounds = topic.bounds()
    for append in (
        lambda: topic.append(b"5", key=b"a"),
        lambda: topic.append_many([b"5", b"6"], keys=[b"b", b"a"]),
        lambda: topic.append(b"5", key=b"a", expected_version=2),
        lambda: topic.append(b"5", key=b"a", message_id="m"),
    ):
        with pytest.raises(eventlog.CorruptBatch, match=r"row in the index|key b'a'"):
            append()
    assert topic.bounds() == bounds
    row = topic._route.row
    bad, good = AppendOne(row, 0, b"a", b"5", (), 1), AppendOne(row, 0, b"b", b"6", (), 1)
    run_together(disk_log, bad, column(topic, 0, b"a", [b"5"]), good)
    assert isinstance(bad.error, eventlog.CorruptBatch)
    assert (good.error, good.version) == (None, 3)
    assert topic.bounds() == {0: (0, bounds[0][1] + 1)}


def test_deleting_records_of_a_damaged_row_takes_the_records(
    disk_log: eventlog.EventLog, topic: eventlog.Topic[Any, Any]
) -> None:
    """The row stays as it is, to be found; the other rows follow the records."""
    key = entity_prefix(1, b"a") + version_key(1)
    spoil(disk_log, INDEX, key, flipped)
    topic.delete_records({0: 4})
    assert topic.bounds() == {0: (4, 4)}
    assert list(topic.history(b"b")) == []
    assert topic.version(b"b") == 2
    [problem] = disk_log.verify().problems
    assert "b'a'" in problem


def test_deleting_records_of_a_damaged_batch_takes_their_rows_of_the_index(
    disk_log: eventlog.EventLog, topic: eventlog.Topic[Any, Any]
) -> None:
    """Its keys cannot be read, so all are looked at."""
    topic.append(b"5", key=b"a")
    topic.append(b"6", key=b"c")
    spoil(disk_log, BATCHES, batch_key(1, 0, 3), flipped)
    topic.delete_records({0: 4})
    assert [(event.version, event.value) for event in topic.history(b"a")] == [(3, b"5")]
    assert list(topic.history(b"b")) == []
    assert (topic.version(b"b"), topic.version(b"c")) == (2, 1)
    assert disk_log.verify().problems == ()


def test_a_topic_with_a_damaged_batch_is_deleted_wholly(disk_log: eventlog.EventLog, path: Path) -> None:
    """With what the order has of it."""
    topic = disk_log.topic("orders")
    topic.append_many([b"1", b"2"])
    topic.append(b"3")
    spoil(disk_log, BATCHES, batch_key(1, 0, 1), lambda data: bytes(len(data)))
    disk_log.delete_topic("orders")
    assert disk_log.topics() == []
    assert disk_log.verify().problems == ()
    assert disk_log.end_log_position() == 3
    assert disk_log.topic("orders").append(b"4").log_position == 3


def test_a_row_has_as_many_records_as_there_is_room_for(log: eventlog.EventLog) -> None:
    """A long history is many rows, none of them larger than half a page; one large value is in the batch alone."""
    topic = log.topic("accounts", index="key")
    for number in range(40):
        topic.append(bytes([number]) * (200 if number != 20 else 5000), key=b"k")
    environment = log._store.environment
    with environment.reading() as transaction, transaction.cursor(db=environment.table(INDEX)) as cursor:
        rows = [(bytes(key), bytes(data)) for key, data in cursor.iternext()]
    assert len(rows) > 3
    assert all(len(key) + len(data) <= 1980 for key, data in rows)
    firsts = [struct.unpack(">Q", key[-8:])[0] for key, _ in rows]
    counts = [len(unpack_row(data, "a row")) for _, data in rows]
    assert firsts == [1 + sum(counts[:place]) for place in range(len(rows))]
    assert sum(counts) == 40
    assert [event.value for event in topic.history(b"k")] == [
        bytes([number]) * (200 if number != 20 else 5000) for number in range(40)
    ]
