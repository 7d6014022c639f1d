"""Reading without a group: from anywhere, up to anywhere, of one moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import attrs
import pytest

import eventlog
from tests.clients.helpers import flip_last_bit, in_threads, rewrite_batch, values

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def topic(log):
    """Ten numbers in batches of one, three and six, a second apart from noon on."""
    topic = log.topic("orders", value=int)
    stamps = [int((NOON + timedelta(seconds=n)).timestamp() * 1000) for n in range(10)]
    for first, end in ((0, 1), (1, 4), (4, 10)):
        topic.append_many(list(range(first, end)), timestamps_ms=stamps[first:end])
    return topic


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({}, range(10)),
        ({"start": "earliest"}, range(10)),
        ({"start": "latest"}, range(0)),
        ({"start": 0}, range(10)),
        ({"start": 3}, range(3, 10)),
        ({"start": 10}, range(0)),
        ({"end": 0}, range(0)),
        ({"end": 5}, range(5)),
        ({"end": "latest"}, range(10)),
        ({"end": "earliest"}, range(0)),
        ({"start": 2, "end": 3}, range(2, 3)),
        ({"start": 5, "end": 3}, range(0)),
        ({"start": NOON + timedelta(seconds=3)}, range(3, 10)),
        ({"start": NOON + timedelta(seconds=2, milliseconds=1)}, range(3, 10)),
        ({"start": NOON - timedelta(days=1)}, range(10)),
        ({"start": NOON + timedelta(days=1)}, range(0)),
        ({"end": NOON + timedelta(seconds=3)}, range(3)),
        ({"start": (NOON + timedelta(seconds=1)).astimezone(timezone(timedelta(hours=5)))}, range(1, 10)),
        ({"max_records": 0}, range(0)),
        ({"max_records": 2}, range(2)),
        ({"start": 3, "max_records": 2}, range(3, 5)),
        ({"max_records": 99}, range(10)),
        ({"partition": 0, "start": 9}, range(9, 10)),
    ],
)
def test_reading_keeps_to_its_bounds(topic, bounds, expected):
    """As records and as batches."""
    assert values(topic.read(**bounds)) == list(expected)
    batches = list(topic.read_batches(**bounds))
    assert [value for batch in batches for value in batch.values] == list(expected)
    assert [offset for batch in batches for offset in batch.offsets] == list(expected)
    assert all(len(batch) == len(batch.keys) == len(batch.timestamps_ms) == len(batch.headers) for batch in batches)


@pytest.mark.parametrize(
    ("bounds", "error", "words"),
    [
        ({"start": 11}, eventlog.OffsetOutOfRange, "offset 11 .* holds offsets 0 to 10"),
        ({"end": 11}, eventlog.OffsetOutOfRange, "offset 11"),
        ({"start": 2**70}, eventlog.OffsetOutOfRange, "out of range"),
        ({"start": -1}, ValueError, "at least 0, not -1"),
        ({"start": True}, TypeError, "int"),
        ({"start": 1.0}, TypeError, "int"),
        ({"start": "first"}, ValueError, "earliest"),
        ({"start": datetime(2024, 6, 1)}, ValueError, "no time zone"),  # noqa: DTZ001
        ({"max_records": -1}, ValueError, "max_records"),
        ({"partition": 1}, eventlog.UnknownPartition, "no partition 1: it has 1"),
        ({"partition": -1}, ValueError, "partition"),
    ],
)
def test_bounds_that_can_not_be_fail_at_the_call(topic, bounds, error, words):
    """Not at the first record, which may be far from it."""
    with pytest.raises(error, match=words):
        topic.read(**bounds)
    with pytest.raises(error, match=words):
        topic.read_batches(**bounds)


def test_all_partitions_are_read_one_after_the_other(log):
    """Each in its order."""
    topic = log.topic("orders", partitions=3, value=int)
    for number in range(9):
        topic.append(number, partition=2 - number % 3)
    assert values(topic.read()) == [2, 5, 8, 1, 4, 7, 0, 3, 6]
    assert values(topic.read(max_records=4)) == [2, 5, 8, 1]
    assert values(topic.read(1)) == [1, 4, 7]


def test_an_offset_must_be_in_every_partition_that_is_read(log):
    """Where all are read from one offset."""
    topic = log.topic("orders", partitions=2)
    topic.append_many([b"x"] * 3, partition=0)
    with pytest.raises(eventlog.OffsetOutOfRange, match=r"orders\[1\]"):
        topic.read(start=2)
    assert len(list(topic.read(0, start=2))) == 1


def test_reading_is_of_the_moment_of_the_call(topic):
    """Though nothing is read before the first record is asked for."""
    reading = topic.read()
    topic.append(10)
    assert values(reading) == list(range(10))


def test_records_deleted_while_reading_are_missed_with_an_error(log):
    """A reader is told that something is gone; it does not skip it."""
    topic = log.topic("orders", max_record_bytes=1 << 20)
    topic.append_many([bytes(500_000)] * 10)
    reading = topic.read()
    next(reading)
    topic.delete_records({0: 9})
    with pytest.raises(eventlog.OffsetOutOfRange):
        list(reading)


def test_reading_holds_nothing_open_between_records(topic):
    """A reader that stops half way keeps no snapshot, so the space behind it can be used again."""
    reading = topic.read()
    next(reading)
    assert "no active readers" in topic._store.environment._usable_handle().readers()
    reading.close()


def test_readers_beside_a_writer_see_a_prefix(log):
    """Never a gap, whatever the moment."""
    topic = log.topic("orders", value=int)

    def write():
        for first in range(0, 3000, 30):
            topic.append_many(list(range(first, first + 30)))

    def read():
        seen = 0
        while seen < 3000:
            read = values(topic.read())
            assert read == list(range(len(read)))
            assert len(read) >= seen
            seen = len(read)

    in_threads(write, read)


def test_a_time_is_found_though_the_latest_record_was_deleted(log):
    """A late record that is gone does not stand for those behind it."""
    topic = log.topic("orders", value=int)
    for number, timestamp_ms in enumerate((100, 10, 50, 70)):
        topic.append(number, timestamp_ms=timestamp_ms)
    topic.delete_records({0: 1})
    moment = datetime.fromtimestamp(0.06, tz=UTC)
    assert values(topic.read(start=moment)) == [3]
    assert values(topic.read(start=moment + timedelta(seconds=1))) == []


def test_a_time_is_found_among_times_in_any_order(log, rng):
    """The first record of the time or later, as a walk over all of them would find it."""
    topic = log.topic("orders")
    stamps = [rng.randrange(1000) for _ in range(300)]
    for first in range(0, 300, 7):
        topic.append_many([b"x"] * len(stamps[first : first + 7]), timestamps_ms=stamps[first : first + 7])
    topic.delete_records({0: 40})
    with log.consumer("orders") as consumer:
        for wanted in range(-1, 1002, 13):
            consumer.seek_to_time(wanted)
            expected = next((n for n in range(40, 300) if stamps[n] >= wanted), 300)
            assert consumer.position(("orders", 0)) == expected


def test_a_damaged_batch_comes_after_the_records_before_it(topic):
    """CorruptBatch names what cannot be read."""
    rewrite_batch(topic, 3, flip_last_bit)
    seen = []
    with pytest.raises(eventlog.CorruptBatch, match=r"orders\[0\] up to offset 3") as caught:
        seen.extend(record.value for record in topic.read())
    assert seen in ([], [0])
    assert "eventlog verify" in str(caught.value)
    assert values(topic.read(end=1)) == [0]
    assert values(topic.read(start=4)) == [4, 5, 6, 7, 8, 9]


@attrs.define
class Order:
    """An order as it was."""

    count: int


OldOrder = Order


@attrs.define
class Order:  # type: ignore[no-redef]
    """An order by the rules of today."""

    count: int = attrs.field(validator=attrs.validators.lt(5))


@pytest.mark.parametrize("role", ["key", "value"])
def test_a_record_that_the_codec_can_not_read_is_not_skipped(path, role):
    """Those before it come, then DecodeError, and never those behind it."""
    with eventlog.open(path) as log:
        topic = log.topic("orders", **{role: OldOrder})
        for counts in ((1, 2, 9, 3), (4, 4)):
            column = [OldOrder(count) for count in counts]
            other = [b"x"] * len(counts)
            topic.append_many(column if role == "value" else other, keys=column if role == "key" else other)
    with eventlog.open(path) as log:
        topic = log.topic("orders", **{role: Order})
        seen = []
        with pytest.raises(eventlog.DecodeError, match=r"offset 2 of orders\[0\].*intact on disk.*go on at 3"):
            seen.extend(record.offset for record in topic.read())
        assert seen == [0, 1]
        assert [record.offset for record in topic.read(start=3)] == [3, 4, 5]
