"""Appending: one record or columns of them, durable on return, all or nothing."""

from __future__ import annotations

import array
import time
from collections import deque

import pytest

import eventlog
from eventlog import PartitionRange
from eventlog.clock import SystemClock
from tests.clients.helpers import in_threads, round_count, values


def test_append_says_where_the_record_is(log):
    """Topic, partition, offset and time."""
    topic = log.topic("orders", partitions=2)
    meta = topic.append(b"tea", partition=1, timestamp_ms=5)
    assert meta == eventlog.RecordMetadata("orders", 1, 0, 5, log_position=0)


def test_append_stamps_the_time_of_the_call(log):
    """Milliseconds since 1970 UTC, of this machine."""
    before_ms = SystemClock().now_ms()
    topic = log.topic("orders")
    stamped_ms = [topic.append(b"x").timestamp_ms]
    topic.append_many([b"x"] * 2)
    stamped_ms += [record.timestamp_ms for record in topic.read()]
    assert all(before_ms <= stamp <= time.time() * 1000 for stamp in stamped_ms)


def test_a_record_without_a_key_takes_turns(log):
    """One after the other, each partition gets its share."""
    topic = log.topic("orders", partitions=4)
    assert sorted(topic.append(b"x").partition for _ in range(8)) == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("codec", "given", "read"),
    [
        (bytes, "t\xe9", b"t\xc3\xa9"),
        (bytes, bytearray(b"tea"), b"tea"),
        (bytes, memoryview(b"tea"), b"tea"),
        (bytes, b"", b""),
        (str, "t\xe9", "t\xe9"),
        (int, -(2**63), -(2**63)),
        ("json", {"a": [1, 2.5, None, "x"]}, {"a": [1, 2.5, None, "x"]}),
        ("json", None, None),
        ("msgpack", {"a": b"\x00", 1: [True]}, {"a": b"\x00", 1: [True]}),
    ],
)
def test_a_value_comes_back_as_its_codec_says(log, codec, given, read):
    """By append, append_many and send; as a key and as a value."""
    topic = log.topic("orders", key=codec, value=codec)
    topic.append(given, key=given)
    topic.append_many([given] * 2, keys=[given] * 2)
    with log.producer() as producer:
        producer.send("orders", given, key=given)
    for record in topic.read():
        assert (record.key, record.value, type(record.value)) == (read, read, type(read))


@pytest.mark.parametrize(
    "given",
    [
        {"a": b"1", "b": "two", "c": None, "d": bytearray(b"4")},
        [("a", b"1"), ("b", "two"), ("c", None), ("d", memoryview(b"4"))],
        iter([("a", b"1"), ("b", "two"), ("c", None), ("d", b"4")]),
    ],
)
def test_headers_are_a_mapping_or_pairs(log, given):
    """They come back as a tuple of (str, bytes or None), in order."""
    topic = log.topic("orders")
    topic.append(b"x", headers=given)
    (record,) = topic.read()
    assert record.headers == (("a", b"1"), ("b", b"two"), ("c", None), ("d", b"4"))


def test_columns_go_to_the_partitions_of_their_keys(log):
    """The ranges are in the order of the partitions, and end is exclusive."""
    topic = log.topic("orders", partitions=3, key=int, value=int)
    keys = [number % 5 for number in range(1000)]
    ranges = topic.append_many(
        list(range(1000)), keys=keys, headers=[{"n": str(n)} for n in range(1000)], timestamps_ms=range(1000)
    )
    assert [one.partition for one in ranges] == sorted(one.partition for one in ranges)
    assert topic.bounds() == {one.partition: (one.first, one.end) for one in ranges} | {
        number: (0, 0) for number in range(3) if number not in {one.partition for one in ranges}
    }
    for record in topic.read():
        n = record.value
        assert (record.key, record.timestamp_ms, record.headers) == (n % 5, n, (("n", str(n).encode()),))


def test_columns_without_keys_stay_together(log):
    """They go to one partition, another at each call."""
    topic = log.topic("orders", partitions=3)
    chosen = [topic.append_many([b"x"] * 10) for _ in range(3)]
    assert sorted(ranges[0].partition for ranges in chosen) == [0, 1, 2]
    assert all(len(ranges) == 1 for ranges in chosen)


def test_columns_go_where_they_are_told(log):
    """`partition` overrides the partitioner."""
    topic = log.topic("orders", partitions=3)
    assert topic.append_many([b"x", b"y"], keys=[b"a", b"b"], partition=2) == [
        PartitionRange("orders", 2, 0, 2, log_position=0)
    ]


def test_columns_of_nothing_store_nothing(log):
    """No range, no transaction."""
    topic = log.topic("orders")
    before = round_count(log)
    assert topic.append_many([]) == []
    assert topic.append_many([], keys=[], headers=[], timestamps_ms=[]) == []
    assert round_count(log) == before


def test_one_timestamp_may_stand_for_all(log):
    """Or one for each; before 1970 too."""
    topic = log.topic("orders")
    topic.append_many([b"x", b"y"], timestamps_ms=-5)
    topic.append_many([b"x", b"y"], timestamps_ms=[7, -9])
    assert [record.timestamp_ms for record in topic.read()] == [-5, -5, 7, -9]


def test_many_columns_of_several_sizes_come_back(log, rng):
    """Whatever batches they make: empty, small and larger than any batch."""
    topic = log.topic("orders", max_record_bytes=1 << 20)
    column = [rng.randbytes(rng.choice([0, 1, 100, 3000, 70_000])) for _ in range(500)]
    topic.append_many(column)
    assert values(topic.read()) == column
    assert [offset for batch in topic.read_batches() for offset in batch.offsets] == list(range(500))


@pytest.mark.parametrize(
    "column",
    [
        (b"a", b"b"),
        deque([b"a", b"b"]),
        (item for item in (b"a", b"b")),
        {b"a": 1, b"b": 2}.keys(),
        map(bytes, [b"a", b"b"]),
    ],
    ids=["tuple", "deque", "generator", "keys", "iterator"],
)
def test_any_iterable_is_a_column(log, column):
    """It is read once."""
    topic = log.topic("orders")
    topic.append_many(column)
    assert values(topic.read()) == [b"a", b"b"]


@pytest.mark.parametrize("column", ["ab", b"ab", bytearray(b"ab"), {"a": 1}, 5])
@pytest.mark.parametrize("name", ["values", "keys"])
def test_a_single_value_is_no_column(log, column, name):
    """Text and bytes are not taken apart."""
    topic = log.topic("orders", key="msgpack", value="msgpack")
    columns = {"values": ["x", "y"]} | {name: column}
    with pytest.raises(TypeError, match=f"{name} must be a column.*Nothing was stored"):
        topic.append_many(**columns)
    assert topic.bounds() == {0: (0, 0)}


@pytest.mark.parametrize("columns", [{"keys": [b"k"]}, {"headers": [None] * 3}, {"timestamps_ms": []}, {"keys": []}])
def test_columns_of_different_lengths_store_nothing(log, columns):
    """The message names the column and both lengths."""
    topic = log.topic("orders")
    with pytest.raises(ValueError, match=rf"{next(iter(columns))} has \d entries and values has 2. Nothing was stored"):
        topic.append_many([b"x", b"y"], **columns)
    assert topic.bounds() == {0: (0, 0)}


def test_one_bad_record_in_a_column_stores_none(log):
    """In any column, in any place."""
    topic = log.topic("orders", partitions=2, key=str, value=int)
    good = {"values": [1, 2, 3], "keys": ["a", "b", "c"], "headers": [None] * 3, "timestamps_ms": [1, 2, 3]}
    for bad in (
        {"values": [1, 2, "x"]},
        {"keys": ["a", "b", b"c"]},
        {"headers": [None, None, {"h": 5}]},
        {"timestamps_ms": [1, 2, 3.5]},
        {"timestamps_ms": [1, 2, 2**63]},
    ):
        with pytest.raises((TypeError, ValueError), match=r"Nothing was (stored|changed)"):
            topic.append_many(**(good | bad))
    assert topic.bounds() == {0: (0, 0), 1: (0, 0)}


def test_threads_that_append_get_each_its_own_offset(log):
    """Every offset is given once, and holds what its thread wrote."""
    topic = log.topic("orders", value=str)

    def writer(name):
        return lambda: [(f"{name}-{n}", topic.append(f"{name}-{n}").offset) for n in range(50)]

    placed = [pair for pairs in in_threads(*(writer(name) for name in range(8))) for pair in pairs]
    assert sorted(offset for _, offset in placed) == list(range(400))
    stored = values(topic.read())
    assert all(stored[offset] == value for value, offset in placed)


def test_deleting_records_in_the_middle_of_a_batch_hides_them(log):
    """First goes up, the rest of the batch is still read, and the next append goes on at the end."""
    topic = log.topic("orders", value=int)
    topic.append_many(list(range(10)))
    topic.delete_records({0: 4})
    assert topic.bounds() == {0: (4, 10)}
    assert values(topic.read()) == [4, 5, 6, 7, 8, 9]
    topic.delete_records({0: 2})
    assert topic.bounds() == {0: (4, 10)}, "first never goes back"
    topic.delete_records({0: 10})
    assert (topic.bounds(), values(topic.read())) == ({0: (10, 10)}, [])
    assert topic.append(99).offset == 10


def test_deleting_records_beyond_the_end_deletes_none(log):
    """Of no partition, even of those that could be."""
    topic = log.topic("orders", partitions=2)
    topic.append(b"x", partition=0)
    topic.append(b"x", partition=1)
    with pytest.raises(eventlog.OffsetOutOfRange, match="Nothing was deleted") as caught:
        topic.delete_records({0: 1, 1: 2})
    assert (caught.value.first, caught.value.end) == (0, 1)
    with pytest.raises(eventlog.UnknownPartition):
        topic.delete_records({0: 1, 2: 0})
    assert topic.bounds() == {0: (0, 1), 1: (0, 1)}


def test_deleted_records_stay_deleted_when_the_log_is_opened_again(path):
    """And the end is remembered where no record is left."""
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        topic.append_many([b"x"] * 5)
        topic.delete_records({0: 5})
    with eventlog.open(path) as log:
        assert log.topic("orders").bounds() == {0: (5, 5)}
        assert log.topic("orders").append(b"y").offset == 5


def test_a_column_with_a_buffer_that_is_not_bytes_is_refused_in_the_codecs_words(log):
    """What joins like bytes may still be something else."""
    topic = log.topic("orders")
    with pytest.raises(TypeError, match=r"array does not fit the codec 'bytes'. Nothing was stored"):
        topic.append_many([b"tea", array.array("i", [1])])
    assert topic.bounds() == {0: (0, 0)}


def test_a_column_may_mix_all_that_bytes_takes(log):
    """Each comes back as bytes."""
    topic = log.topic("orders")
    topic.append_many([b"a", memoryview(b"abcd")[::2], bytearray(b"x"), "s", None])
    assert [record.value for record in topic.read()] == [b"a", b"ac", b"x", b"s", None]


def test_values_that_are_only_equal_are_stored_as_they_are(log):
    """1, True and 1.0 are equal in Python, and are three values."""
    topic = log.topic("numbers", value="json")
    topic.append_many([1, True, 1.0, 1])
    assert [repr(record.value) for record in topic.read()] == ["1", "True", "1.0", "1"]
