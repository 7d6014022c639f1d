"""Records say where they were stored, and columns say the same as records one by one."""

from __future__ import annotations

import datetime as dt
import pickle
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.records import Event, PartitionRange, Record, RecordBatch, RecordMetadata, Snapshot, TopicPartition


def batch_of(count: int, first: int = 0) -> RecordBatch[bytes | None, bytes]:
    """Consecutive records with different contents."""
    numbers = range(first, first + count)
    return RecordBatch(
        "orders",
        3,
        numbers,
        [1000 + number for number in numbers],
        [b"k%d" % number if number % 2 else None for number in numbers],
        [b"v%d" % number for number in numbers],
        [(("n", b"%d" % number),) if number % 3 else () for number in numbers],
    )


def test_partition_is_equal_to_a_plain_pair() -> None:
    """Whoever has a pair need not import a name."""
    assert TopicPartition("orders", 3) == ("orders", 3)
    assert {TopicPartition("orders", 3): 1}["orders", 3] == 1


def test_record_knows_its_time() -> None:
    """The timestamp is also a moment in UTC."""
    record = Record("orders", 0, 7, 1_783_000_000_123, None, b"tea")
    assert record.time == dt.datetime(2026, 7, 2, 13, 46, 40, 123_000, dt.UTC)
    assert record.headers == ()


def test_records_are_equal_by_content() -> None:
    """Two reads of one record give equal records, which survive a pickle."""
    one, other = batch_of(1).records()[0], batch_of(1).records()[0]
    assert one == other
    assert pickle.loads(pickle.dumps(one)) == one
    assert one != attrs.evolve(other, value=b"other")


def test_record_has_no_room_for_more() -> None:
    """A mistyped attribute is an error, not a new one."""
    record = batch_of(1).records()[0]
    with pytest.raises(AttributeError):
        record.vlaue = b""  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "value", [RecordMetadata("orders", 3, 7, 5, 90), PartitionRange("orders", 3, 7, 9, 90), Snapshot(7, 2, 5)]
)
def test_answers_are_values(value: Any) -> None:
    """What an append returns, or a snapshot, can be compared and kept in sets."""
    assert value == attrs.evolve(value)
    assert len({value, attrs.evolve(value)}) == 1


@pytest.mark.parametrize("value", [PartitionRange("orders", 3, 7, 9, 90), Snapshot(7, 2, 5)])
def test_answers_that_are_few_can_not_be_changed(value: Any) -> None:
    """Metadata are made for each append; freezing them would cost more than storing."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(value, attrs.fields(type(value))[0].name, 4)


def test_a_record_without_an_index_has_no_version() -> None:
    """None, and not 0, which is the version of a key without records."""
    assert RecordMetadata("orders", 3, 7, 5, 90).version is None


def test_event_is_a_record_with_a_version_and_a_position() -> None:
    """Code that takes records takes events; two of different versions are not equal."""
    event = Event("orders", 0, 7, 5, b"k", b"v", (), 2, 90)
    assert isinstance(event, Record)
    assert (event.version, event.log_position, event.headers) == (2, 90, ())
    assert event != attrs.evolve(event, version=3)
    assert pickle.loads(pickle.dumps(event)) == event


def test_columns_and_records_say_the_same() -> None:
    """A record is one entry of each column."""
    batch = batch_of(5, first=10)
    records = batch.records()
    assert len(batch) == len(records) == 5
    assert [(record.topic, record.partition) for record in records] == [("orders", 3)] * 5
    assert [record.offset for record in records] == list(batch.offsets)
    assert [record.timestamp_ms for record in records] == list(batch.timestamps_ms)
    assert [record.key for record in records] == list(batch.keys)
    assert [record.value for record in records] == list(batch.values)
    assert [record.headers for record in records] == list(batch.headers)


@given(st.integers(0, 6), st.integers(0, 8), st.integers(0, 8))
def test_slice_has_the_same_records(count: int, start: int, stop: int) -> None:
    """A part of the columns is that part of the records, as with a list."""
    batch = batch_of(count)
    part = batch.slice(start, stop)
    assert part.records() == batch.records()[start:stop]
    assert len(part) == len(batch.records()[start:stop])


def test_whole_slice_copies_nothing() -> None:
    """Cutting at the ends gives the batch itself."""
    batch = batch_of(3)
    assert batch.slice(0, 3) is batch
    assert batch.slice(0, 100) is batch
