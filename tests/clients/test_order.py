"""All records of a log stand in one order: dense, without a gap, and never changed by what comes or goes later."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog.backend.reading import Fetch
from eventlog.store.lmdb.environment import ORDER
from tests.clients.helpers import flip_last_bit, in_threads, rewrite_batch
from tests.sealing import sealed

Place = tuple[int, str, int, int]


@pytest.fixture
def mixed(log: eventlog.EventLog) -> eventlog.EventLog:
    """Two topics interleaved, in single records and in columns: positions 0 to 11."""
    orders = log.topic("orders", partitions=2, key=str)
    payments = log.topic("payments")
    orders.append(b"o0", partition=0)
    payments.append_many([b"p1", b"p2", b"p3"])
    orders.append_many([b"o4", b"o5"], partition=1)
    orders.append(b"o6", partition=0)
    payments.append_many([b"p7", b"p8"])
    orders.append_many([b"o9", b"o10", b"o11"], partition=1)
    return log


def found(pairs: Iterable[tuple[int, eventlog.Record[Any, Any]]]) -> list[tuple[int, bytes]]:
    """Positions and values."""
    return [(log_position, record.value) for log_position, record in pairs]


def all_of(*numbers: int) -> list[tuple[int, bytes]]:
    """The records of `mixed` at some positions."""
    return [(number, (b"p%d" if number in (1, 2, 3, 7, 8) else b"o%d") % number) for number in numbers]


# --- reading ----------------------------------------------------------------------------------------------------------


def test_the_log_is_read_as_it_was_written(mixed: eventlog.EventLog) -> None:
    """Topics and partitions interleaved."""
    assert found(mixed.read_all()) == all_of(*range(12))
    assert mixed.end_log_position() == 12


def test_every_writer_is_told_its_positions(log: eventlog.EventLog) -> None:
    """By append, append_many and the producer's deliveries."""
    topic = log.topic("orders", partitions=2)
    told: dict[Place, Any] = {}
    for number in range(4):
        meta = topic.append(b"%d" % number)
        told[meta.log_position, "orders", meta.partition, meta.offset] = b"%d" % number
        for one in topic.append_many([b"a", b"b", b"c"], keys=[b"1", b"2", b"3"]):
            for shift in range(one.end - one.first):
                told[one.log_position + shift, "orders", one.partition, one.first + shift] = None
        with log.producer() as producer:
            for delivery in [producer.send(topic, b"sent", key=b"%d" % key) for key in range(5)]:
                meta = delivery.result()
                told[meta.log_position, "orders", meta.partition, meta.offset] = b"sent"
    read = {(log_position, one.topic, one.partition, one.offset): one.value for log_position, one in log.read_all()}
    assert read.keys() == told.keys()
    assert all(value is None or read[place] == value for place, value in told.items())


@pytest.mark.parametrize("end", [None, 0, 1, 2, 5, 6, 11, 12])
def test_a_part_of_the_order_is_that_of_a_list(mixed: eventlog.EventLog, end: int | None) -> None:
    """It may begin and end in the middle of a batch, record by record and in columns."""
    for start, max_records in itertools.product(range(13), [None, 0, 1, 4, 100]):
        expected = all_of(*list(range(start, 12 if end is None else end))[:max_records])
        assert found(mixed.read_all(start, end=end, max_records=max_records)) == expected
        batches = list(mixed.read_all_batches(start, end=end, max_records=max_records))
        flat = [(first + place, value) for first, batch in batches for place, value in enumerate(batch.values)]
        assert flat == expected, (start, max_records)
        assert all(len(batch) for _, batch in batches)


def test_topics_are_chosen_by_name_or_as_they_are(mixed: eventlog.EventLog) -> None:
    """The others are passed by; positions stay what they are."""
    assert found(mixed.read_all(topics=["payments"])) == all_of(1, 2, 3, 7, 8)
    assert found(mixed.read_all(2, topics=[mixed.topic("payments")], end=8)) == all_of(2, 3, 7)
    assert found(mixed.read_all(topics=["payments", "orders"])) == all_of(*range(12))
    assert found(mixed.read_all(5, topics=["payments"], max_records=1)) == all_of(7)
    assert found(mixed.read_all(topics=[])) == []
    assert found(mixed.read_all(topics=["nothing"])) == []
    with pytest.raises(TypeError, match="list of names"):
        mixed.read_all(topics="orders")
    with pytest.raises(eventlog.InvalidTopicName):
        mixed.read_all(topics=["no/name"])


def test_records_come_with_the_codecs_of_their_topics(log: eventlog.EventLog) -> None:
    """As `read` gives them."""
    log.topic("a", key=str, value="json").append({"n": 1}, key="k", headers={"h": b"1"}, timestamp_ms=5)
    log.topic("b", key=int, value=str).append("text", key=-7)
    log.topic("c").append(None)
    [(_, one), (_, two), (_, three)] = log.read_all()
    assert one == next(log.topic("a").read())
    assert (one.key, one.value, one.headers, one.timestamp_ms) == ("k", {"n": 1}, (("h", b"1"),), 5)
    assert (two.key, two.value, three.key, three.value) == (-7, "text", None, None)


@pytest.mark.parametrize("options", [{"start": -1}, {"start": "0"}, {"end": -1}, {"max_records": -1}, {"end": 1.5}])
def test_what_is_no_position_is_refused(log: eventlog.EventLog, options: dict[str, Any]) -> None:
    """At the call."""
    for read in (log.read_all, log.read_all_batches):
        with pytest.raises((ValueError, TypeError)):
            read(**options)


def test_an_empty_log_has_an_empty_order(log: eventlog.EventLog) -> None:
    """It can be read from its beginning, which is its end."""
    assert log.end_log_position() == 0
    assert list(log.read_all()) == []


def test_a_reader_that_is_ahead_of_the_log_is_told(mixed: eventlog.EventLog) -> None:
    """Else it would read nothing, and miss what comes until the log has caught up."""
    end = mixed.end_log_position()
    for read in (mixed.read_all, mixed.read_all_batches):
        assert list(read(end)) == []
        with pytest.raises(eventlog.OffsetOutOfRange, match=f"log position {end + 1} is out of range") as raised:
            read(end + 1)
        assert (raised.value.first, raised.value.end) == (0, end)
        with pytest.raises(eventlog.OffsetOutOfRange):
            read(end + 1000, end=end + 2000, topics=["nothing"])
        with pytest.raises(eventlog.OffsetOutOfRange, match="Read up to"):
            read(end - 1, end=end + 1)
    mixed.topic("orders").delete_records({0: mixed.topic("orders").bounds()[0][1]})
    assert list(mixed.read_all(end)) == [], "positions are not used again"


def test_what_is_appended_while_the_order_is_read_is_not_read(mixed: eventlog.EventLog) -> None:
    """Reading ends where the log ended at the call."""
    reading = mixed.read_all()
    first = next(reading)
    mixed.topic("orders").append(b"later", partition=0)
    assert found([first, *reading]) == all_of(*range(12))


def test_a_long_order_is_read_whole(log: eventlog.EventLog) -> None:
    """Many megabytes, a part at a time, with records larger than a part among them."""
    orders, payments = log.topic("orders", max_record_bytes=4 << 20), log.topic("payments")
    for number in range(30):
        orders.append_many([b"x" * 1000] * 100)
        payments.append(b"%d" % number)
        if number % 10 == 0:
            orders.append(b"y" * (3 << 20))
    positions = [log_position for log_position, _ in log.read_all()]
    assert positions == list(range(log.end_log_position()))
    assert [record.value for _, record in log.read_all(topics=["payments"])] == [b"%d" % n for n in range(30)]
    large = [log_position for log_position, record in log.read_all() if len(record.value) > 2000]
    assert [log_position for log_position, record in log.read_all(large[1]) if len(record.value) > 2000] == large[1:]


# --- deletions --------------------------------------------------------------------------------------------------------


def test_deleted_records_are_passed_by(mixed: eventlog.EventLog) -> None:
    """Also those within a batch; the others keep their positions."""
    mixed.topic("payments").delete_records({0: 1})
    assert found(mixed.read_all()) == all_of(0, *range(2, 12))
    mixed.topic("payments").delete_records({0: 4})
    mixed.topic("orders").delete_records({1: 2})
    assert found(mixed.read_all()) == all_of(0, 6, 8, 9, 10, 11)
    for start in range(13):
        assert found(mixed.read_all(start)) == [one for one in all_of(0, 6, 8, 9, 10, 11) if one[0] >= start]
    assert found(mixed.read_all(1, max_records=2)) == all_of(6, 8)
    assert found(mixed.read_all(1, end=9)) == all_of(6, 8)
    assert mixed.end_log_position() == 12
    assert mixed.verify().problems == ()


def test_deleted_topics_are_passed_by(mixed: eventlog.EventLog) -> None:
    """And one made anew begins where the log ends."""
    mixed.delete_topic("orders")
    assert found(mixed.read_all()) == all_of(1, 2, 3, 7, 8)
    assert mixed.end_log_position() == 12
    assert mixed.topic("orders", partitions=2).append(b"new").log_position == 12
    assert found(mixed.read_all(7)) == [*all_of(7, 8), (12, b"new")]
    assert found(mixed.read_all(topics=["orders"])) == [(12, b"new")]
    assert mixed.verify().problems == ()


def test_a_topic_that_is_deleted_while_the_order_is_read_is_passed_by(log: eventlog.EventLog) -> None:
    """What was handed out before was there then."""
    orders, payments = log.topic("orders"), log.topic("payments")
    for number in range(300):
        orders.append_many([b"x" * 1000] * 20)
        payments.append(b"%d" % number)
    reading = log.read_all()
    assert next(reading)[0] == 0
    log.delete_topic("orders")
    rest = [(log_position, record) for log_position, record in reading]
    assert [record.value for _, record in rest if record.topic == "payments"] == [b"%d" % n for n in range(300)]
    assert sum(record.topic == "orders" for _, record in rest) < 3000


@pytest.mark.parametrize("is_reopened", [False, True])
@pytest.mark.parametrize("how", ["records", "topic"])
def test_positions_are_not_used_again_when_the_newest_are_deleted(path: Path, how: str, is_reopened: bool) -> None:
    """Again and again, and by another opening."""
    log = eventlog.open(path)
    expected = 0
    for _ in range(4):
        topic = log.topic("orders")
        [stored] = topic.append_many([b"1", b"2", b"3"])
        assert stored.log_position == expected
        expected += 3
        if how == "records":
            topic.delete_records({0: stored.end})
        else:
            log.delete_topic("orders")
        if is_reopened:
            log.close()
            log = eventlog.open(path)
        assert log.end_log_position() == expected
        assert list(log.read_all()) == []
        assert log.verify().problems == ()
    log.close()


def test_deleting_in_the_round_of_an_append_keeps_order_and_batches_in_step(log: eventlog.EventLog) -> None:
    """Threads that append, delete records and delete topics at once."""
    orders = log.topic("orders", partitions=2)

    def append() -> None:
        for number in range(60):
            orders.append(b"%d" % number)
            orders.append_many([b"x"] * 5)

    def delete() -> None:
        for _ in range(40):
            bounds = orders.bounds()
            orders.delete_records({partition: end for partition, (_, end) in bounds.items()})

    def remake() -> None:
        for _ in range(40):
            log.topic("short").append_many([b"1", b"2"])
            log.delete_topic("short")

    in_threads(append, append, delete, remake)
    assert log.verify().problems == ()
    assert log.end_log_position() == 2 * 60 * 6 + 40 * 2
    positions = [log_position for log_position, _ in log.read_all()]
    assert positions == sorted(set(positions))


# --- many writers -----------------------------------------------------------------------------------------------------


def check_dense(log: eventlog.EventLog) -> list[Place]:
    """All places; positions are dense, and those of a partition grow with its offsets."""
    places = [(log_position, one.topic, one.partition, one.offset) for log_position, one in log.read_all()]
    assert [place[0] for place in places] == list(range(log.end_log_position()))
    ends: dict[tuple[str, int], int] = {}
    for _, topic, partition, offset in places:
        assert offset == ends.get((topic, partition), 0)
        ends[topic, partition] = offset + 1
    assert log.verify().problems == ()
    return places


def test_many_threads_make_one_order(disk_log: eventlog.EventLog) -> None:
    """By every way of writing; each is told positions that grow."""
    topics = [disk_log.topic(name, partitions=3) for name in ("a", "b")]

    def writer(number: int) -> Callable[[], list[int]]:
        def write() -> list[int]:
            told = []
            with disk_log.producer() as producer:
                for step in range(25):
                    topic = topics[(number + step) % 2]
                    if number % 3 == 0:
                        told.append(topic.append(b"v").log_position)
                    elif number % 3 == 1:
                        told.append(topic.append_many([b"v"] * 4)[0].log_position)
                    else:
                        told.append(producer.send(topic, b"v").result().log_position)
            return told

        return write

    told = in_threads(*[writer(number) for number in range(6)])
    assert all(one < other for positions in told for one, other in itertools.pairwise(positions))
    places = check_dense(disk_log)
    assert len(places) == 2 * 25 + 2 * 25 * 4 + 2 * 25
    assert {log_position for positions in told for log_position in positions} <= {place[0] for place in places}


_CHILD = """
import sys
import eventlog

with eventlog.open(sys.argv[1]) as log:
    one, other = log.topic("one", partitions=2), log.topic("other")
    for number in range(60):
        print(one.append(b"v").log_position, other.append_many([b"v"] * 3)[0].log_position)
"""


def test_several_processes_make_one_order(path: Path) -> None:
    """Dense and without a gap, whoever commits in between."""
    with eventlog.open(path) as log:
        topic = log.topic("one", partitions=2)
        command = [sys.executable, "-c", _CHILD, str(path)]
        children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        told = [[topic.append(b"v").log_position for _ in range(100)]]
        for child in children:
            out, _ = child.communicate(timeout=60)
            assert child.returncode == 0
            told.append([int(word) for word in out.split()])
        assert all(one < other for positions in told for one, other in itertools.pairwise(positions))
        assert len(check_dense(log)) == 100 + 2 * 60 * 4
        assert len({log_position for positions in told for log_position in positions}) == 100 + 2 * 60 * 2


# --- damage -----------------------------------------------------------------------------------------------------------


def test_what_comes_before_a_damaged_batch_is_read_first(mixed: eventlog.EventLog) -> None:
    """And what comes behind it, from there on."""
    rewrite_batch(mixed.topic("payments"), 4, flip_last_bit)
    reading = mixed.read_all()
    assert found(next(reading) for _ in range(7)) == all_of(*range(7))
    with pytest.raises(eventlog.CorruptBatch, match="payments"):
        next(reading)
    assert found(mixed.read_all(9)) == all_of(9, 10, 11)
    assert found(mixed.read_all(topics=["orders"])) == all_of(0, 4, 5, 6, 9, 10, 11)


def test_a_damaged_header_is_as_a_damaged_batch(mixed: eventlog.EventLog) -> None:
    """Although it does not even say how many positions it has."""
    rewrite_batch(mixed.topic("payments"), 4, lambda data: b"\0" * len(data))
    reading = mixed.read_all()
    assert found(next(reading) for _ in range(7)) == all_of(*range(7))
    with pytest.raises(eventlog.CorruptBatch, match=r"topic id 2, partition 0, up to offset 4"):
        next(reading)
    assert found(mixed.read_all(9)) == all_of(9, 10, 11)


def test_a_record_that_no_codec_can_read_is_an_error_at_its_place(log: eventlog.EventLog) -> None:
    """Those before it come first; reading goes on behind it."""
    topic = log.topic("orders")
    topic.append_many([b"1", b"2", b"\xff", b"4"])
    with eventlog.open(":memory:") as other:
        words = other.topic("orders", value=str)
        words.append_many(["1", "2", "3", "4"])
        rewrite_batch(words, 3, lambda _: _batch_of(log))
        reading = other.read_all()
        assert found([next(reading), next(reading)]) == [(0, "1"), (1, "2")]
        with pytest.raises(eventlog.DecodeError, match="offset 2"):
            next(reading)
        assert found(other.read_all(3)) == [(3, "4")]


def _batch_of(log: eventlog.EventLog) -> bytes:
    """The only batch of a log."""
    topic = log.topic("orders")._route.row
    [fetched], _ = log._store.fetch([Fetch(topic.id, 0, 0)], 1 << 20)
    return fetched.batches[0].data


def test_a_damaged_row_of_the_order_is_an_error(mixed: eventlog.EventLog) -> None:
    """One of ours."""
    environment = mixed._store.environment
    transaction = environment.begin_writing()
    key = (6).to_bytes(8, "big")
    transaction.put(key, sealed(ORDER, key, b"short"), db=environment.table(ORDER))
    environment.commit(transaction)
    with pytest.raises(eventlog.CorruptBatch, match="the key 73686f7274 of a batch"):
        list(mixed.read_all())
