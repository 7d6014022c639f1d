"""Offsets that are not there, and records that cannot be read: where it was, and how a reader goes on."""

from __future__ import annotations

import logging
import pickle
from itertools import islice

import pytest

import eventlog
from eventlog.batches.format import BatchEncoder
from eventlog.batches.header import seal
from tests.clients.helpers import flip_last_bit, rewrite_batch, values

TP = eventlog.TopicPartition("orders", 1)


@pytest.fixture
def orders(log: eventlog.EventLog) -> eventlog.Topic[bytes, int]:
    """Ten numbers in each of three partitions; the group has done five of each, and eight are deleted in one."""
    topic = log.topic("orders", partitions=3, value=int)
    for partition in range(3):
        topic.append_many(range(10), partition=partition)
    with log.consumer("orders", group="g") as consumer:
        consumer.poll()
        consumer.commit({("orders", partition): 5 for partition in range(3)})
    topic.delete_records({1: 8})
    return topic


def read(consumer: eventlog.Consumer[bytes, int]) -> list[tuple[int, int]]:
    """The partitions and offsets of all that comes, in order."""
    found = []
    while records := consumer.poll():
        found += [(record.partition, record.offset) for record in records]
    return sorted(found)


def test_the_error_says_where_so_that_one_partition_is_moved(log, orders):
    """The others keep their positions, and nothing that was committed comes again."""
    found = []
    with log.consumer("orders", group="g") as consumer:
        for _ in range(20):
            try:
                found += [(record.partition, record.offset) for record in consumer.poll()]
            except eventlog.OffsetOutOfRange as error:
                consumer.seek((error.topic, error.partition), error.first)
    assert sorted(found) == [*((0, n) for n in range(5, 10)), (1, 8), (1, 9), *((2, n) for n in range(5, 10))]


@pytest.mark.parametrize("way", ["poll", "loop", "batches"])
@pytest.mark.parametrize(("option", "expected"), [("earliest", [(1, 8), (1, 9)]), ("latest", [])])
def test_a_consumer_may_go_on_by_itself(log, orders, caplog, way, option, expected):
    """At the first record or at the end; it says so in Python's log, once."""
    others = [(partition, offset) for partition in (0, 2) for offset in range(5, 10)]
    with (
        caplog.at_level(logging.WARNING, "eventlog"),
        log.consumer("orders", group="g", on_out_of_range=option) as consumer,
    ):
        if way == "poll":
            found = read(consumer)
        elif way == "loop":
            loop = islice(consumer, 10 + len(expected))
            found = [(record.partition, record.offset) for record in loop]
        else:
            found = []
            while batches := consumer.poll_batches():
                found += [(batch.partition, offset) for batch in batches for offset in batch.offsets]
        consumer.commit()
        assert consumer.committed(TP) == 10
    assert sorted(found) == sorted([*others, *expected])
    (line,) = caplog.messages
    assert "offset 5 of orders[1] is out of range" in line
    assert f"goes on at offset {8 if expected else 10}" in line


@pytest.mark.parametrize(("option", "expected"), [("earliest", [*range(3)]), ("latest", [])])
def test_a_position_beyond_the_end_goes_on_likewise(log, option, expected):
    """As after a restored copy; what comes later is read."""
    topic = log.topic("orders", value=int)
    topic.append_many(range(3))
    with log.consumer("orders", group="g", on_out_of_range=option) as consumer:
        consumer.seek(("orders", 0), 20)
        assert values(consumer.poll()) == expected
        topic.append(7)
        assert values(consumer.poll()) == [7]


def test_a_transaction_goes_back_to_where_it_went_on(log, orders):
    """And not to the offset that is not there."""
    with log.consumer("orders", group="g", on_out_of_range="earliest") as consumer:
        consumer.pause(("orders", 0), ("orders", 2))
        for _ in range(2):
            assert values(consumer.poll()) == [8, 9]
            log.transaction(consumer).abort()


@pytest.mark.parametrize("bad", ["first", None, 3, "Earliest"])
def test_an_unknown_way_is_refused(log, orders, bad):
    """Before anything is made."""
    with pytest.raises(ValueError, match="on_out_of_range is"):
        log.consumer("orders", group="g", on_out_of_range=bad)


# -- records that cannot be read -------------------------------------------------------------------------------------


def _with_a_bad_number(_: bytes) -> bytes:
    (batch,) = BatchEncoder().encode(
        [b"k"] * 3, [b"1", b"{", b"3"], timestamps_ms=7, headers=[(), (("trace", b"x"),), ()]
    )
    return seal(batch, largest_so_far_ms=0, log_position=0)


def test_a_record_that_cannot_be_decoded_comes_with_its_error(log):
    """With the bytes as they are stored, its time and its headers: it can be kept elsewhere, and passed by."""
    topic = log.topic("orders", key=str, value="json")
    topic.append_many([1, 2, 3], keys=["k"] * 3)
    rewrite_batch(topic, 2, _with_a_bad_number)
    kept = []
    with log.consumer("orders", group="g") as consumer:
        found = values(consumer.poll())
        try:
            consumer.poll()
        except eventlog.DecodeError as error:
            kept.append(error)
            consumer.seek((error.topic, error.partition), error.offset + 1)
        found += values(consumer.poll())
    (error,) = kept
    record = pickle.loads(pickle.dumps(error)).record
    assert found == [1, 3]
    assert (error.topic, error.partition, error.offset) == ("orders", 0, 1)
    assert (record.topic, record.partition, record.offset, record.timestamp_ms) == ("orders", 0, 1, 7)
    assert (record.key, record.value, record.headers) == (b"k", b"{", (("trace", b"x"),))
    with pytest.raises(eventlog.DecodeError, match="or start=") as raised:
        list(topic.read())
    assert raised.value.record == record


def test_folding_leaves_the_initial_state_as_it_was(log):
    """Though the function changes the state that it is given, and inside of it."""
    topic = log.topic("accounts", key=str, value=int, index="key")
    topic.append_many([1, 2], key="alice")
    initial: dict[str, list[int]] = {"seen": []}

    def note(state, value):
        state["seen"].append(value)
        return state

    for _ in range(2):
        assert topic.fold("alice", note, initial) == ({"seen": [1, 2]}, 2)
    assert initial == {"seen": []}


@pytest.mark.parametrize("what", ["record", "batch"])
def test_reading_the_whole_log_is_told_where_it_may_go_on(log, what):
    """By a log position, since it has no offset to seek to; a projection is told what it can do."""
    log.topic("others").append_many([b"x"] * 5)
    topic = log.topic("orders", key=str, value="json")
    topic.append_many([1, 2, 3], keys=["k"] * 3)
    rewrite_batch(topic, 2, _at_position_five if what == "record" else flip_last_bit)
    error_class = eventlog.DecodeError if what == "record" else eventlog.CorruptBatch
    behind = 7 if what == "record" else 8
    with pytest.raises(error_class, match=rf"start={behind} goes on behind it\.$") as raised:
        list(log.read_all())
    assert "seek" not in str(raised.value)
    assert [record.value for _, record in log.read_all(start=behind)] == ([3] if what == "record" else [])
    projection = log.projection("count", lambda state, record: state.put("last", record.offset))
    with pytest.raises(error_class, match=r"delete_records\(\)") as raised:
        projection.catch_up()
    assert "raised in projection 'count', whose checkpoint is" in raised.value.__notes__[0]


def _at_position_five(_: bytes) -> bytes:
    (batch,) = BatchEncoder().encode([b"k"] * 3, [b"1", b"{", b"3"], timestamps_ms=7)
    return seal(batch, largest_so_far_ms=0, log_position=5)
