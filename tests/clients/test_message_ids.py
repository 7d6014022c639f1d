"""A record with a message id is stored once, however often and by whomever it is sent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

import eventlog
from eventlog.store.lmdb.environment import MESSAGE_TIMES, MESSAGES
from eventlog.store.records.message_ids import KEPT_RECORDS
from tests.clients.helpers import in_threads, values

Orders = eventlog.Topic[Any, Any]


@attrs.define
class ManualClock:
    """A clock that stands still until somebody sets it."""

    time_ms: int = 1_000_000

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return self.time_ms

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return self.time_ms / 1000


@pytest.fixture(params=["plain", "indexed"])
def orders(log: eventlog.EventLog, request: pytest.FixtureRequest) -> Orders:
    """A topic, with an index or without."""
    index: Any = "key" if request.param == "indexed" else None
    return log.topic("orders", partitions=2, index=index)


def stored(topic: Orders) -> list[tuple[Any, Any]]:
    """Keys and values of all records, in the order of their positions."""
    return [(record.key, record.value) for record in topic.read()]


def remembered(log: eventlog.EventLog) -> tuple[int, int]:
    """How many ids the log remembers, and how many stand in the order of time."""
    environment = log._store.environment
    with environment.reading() as transaction:
        counts = [transaction.stat(environment.table(table))["entries"] for table in (MESSAGES, MESSAGE_TIMES)]
    return counts[0], counts[1]


# --- one by one -------------------------------------------------------------------------------------------------------


def test_a_second_append_is_told_where_the_first_is(orders: Orders) -> None:
    """And stores nothing."""
    first = orders.append(b"tea", key=b"alice", message_id="m", timestamp_ms=5)
    orders.append(b"milk", key=b"alice")
    assert orders.append(b"tea", key=b"alice", message_id="m", timestamp_ms=9) == first
    assert orders.append(b"tea", key=b"alice", message_id=b"m") == first
    assert sorted(stored(orders)) == [(b"alice", b"milk"), (b"alice", b"tea")]
    assert first.version == (1 if orders.index else None)


def test_a_keyless_record_is_stored_once(orders: Orders) -> None:
    """Although it would go to another partition the second time."""
    first = orders.append(b"tea", message_id="m")
    for _ in range(3):
        assert orders.append(b"tea", message_id="m") == first
    assert orders.append(b"tea", partition=1 - first.partition, message_id="m") == first
    assert len(stored(orders)) == 1


def test_ids_of_other_topics_are_others(log: eventlog.EventLog) -> None:
    """Each topic remembers its own."""
    one, other = log.topic("one"), log.topic("other")
    assert one.append(b"1", message_id="m").log_position == 0
    assert other.append(b"2", message_id="m").log_position == 1


def test_ids_that_begin_each_other_are_others(orders: Orders) -> None:
    """Zero bytes included, and as long as may be."""
    ids = ["m", "m\0", "m\0\0", "ma", b"\0", b"\xff", "x" * 255, "\xe4"]
    metas = [orders.append(b"%d" % number, message_id=one) for number, one in enumerate(ids)]
    assert [orders.append(b"%d" % number, message_id=one) for number, one in enumerate(ids)] == metas
    assert len(stored(orders)) == len(ids)


@pytest.mark.parametrize("message_id", ["", b"", "x" * 256, "\xe4" * 128, 7, 1.5, ["m"]])
def test_what_is_no_id_is_refused(orders: Orders, message_id: Any) -> None:
    """At the call, and nothing is stored."""
    for append in (
        lambda: orders.append(b"v", message_id=message_id),
        lambda: orders.append_many([b"v", b"w"], message_ids=[None, message_id]),
    ):
        with pytest.raises((ValueError, TypeError), match="Nothing was stored"):
            append()
    assert stored(orders) == []


@pytest.mark.parametrize(
    "other",
    [
        {"value": b"milk"},
        {"value": None},
        {"key": b"bob"},
        {"key": None},
        {"headers": {"h": b"1"}},
    ],
)
def test_an_id_with_other_content_is_an_error(log: eventlog.EventLog, orders: Orders, other: dict[str, Any]) -> None:
    """Nothing is stored, and the first stays remembered."""
    record: dict[str, Any] = {"value": b"tea", "key": b"alice", "headers": {}}
    first = orders.append(**record, message_id="m")
    end = log.end_log_position()
    with pytest.raises(eventlog.MessageIdReused, match=r"b'm'.*Nothing was stored"):
        orders.append(**(record | other), message_id="m")
    with pytest.raises(eventlog.MessageIdReused):
        orders.append_many(
            [b"new", (record | other)["value"]],
            keys=[b"x", (record | other)["key"]],
            headers=[None, (record | other)["headers"]],
            message_ids=["n", "m"],
        )
    assert log.end_log_position() == end
    assert remembered(log) == (1, 1)
    assert orders.append(**record, message_id="m") == first
    assert log.verify().problems == ()


def test_a_record_that_came_before_is_not_judged_by_its_version(log: eventlog.EventLog) -> None:
    """Its version was right then; who sends it again need not know that."""
    topic = log.topic("accounts", key=str, index="key")
    first = topic.append(b"opened", key="a", expected_version=0, message_id="m")
    topic.append(b"paid", key="a", expected_version=1)
    assert topic.append(b"opened", key="a", expected_version=0, message_id="m") == first
    with pytest.raises(eventlog.WrongVersion):
        topic.append(b"opened", key="a", expected_version=0, message_id="n")
    [stored_at] = topic.append_many([b"1", b"2"], key="a", expected_version=2, message_ids=["x", "y"])
    assert topic.append_many([b"1", b"2"], key="a", expected_version=2, message_ids=["x", "y"]) == [stored_at]
    assert topic.version("a") == 4


# --- columns ----------------------------------------------------------------------------------------------------------


def test_columns_are_stored_but_for_what_is_there(log: eventlog.EventLog, orders: Orders) -> None:
    """The answer has a range for what lies together."""
    orders.append(b"1", partition=0, message_id="m1")
    orders.append(b"other", partition=0)
    ranges = orders.append_many([b"0", b"1", b"2", b"3"], partition=0, message_ids=["m0", "m1", None, "m3"])
    assert [(one.first, one.end, one.log_position) for one in ranges] == [(2, 3, 2), (0, 1, 0), (3, 5, 3)]
    assert values(orders.read()) == [b"1", b"other", b"0", b"2", b"3"]
    again = orders.append_many([b"0", b"1", b"2", b"3"], partition=0, message_ids=["m0", "m1", None, "m3"])
    assert [(one.first, one.end) for one in again] == [(2, 3), (0, 1), (5, 6), (4, 5)]
    assert values(orders.read()) == [b"1", b"other", b"0", b"2", b"3", b"2"]
    assert log.verify().problems == ()


def test_columns_that_are_all_there_store_nothing(log: eventlog.EventLog, orders: Orders) -> None:
    """In several partitions."""
    keys = [b"%d" % number for number in range(20)]
    ids = [f"m{number}" for number in range(20)]
    first = orders.append_many(keys, keys=keys, message_ids=ids)
    end = log.end_log_position()
    assert orders.append_many(keys, keys=keys, message_ids=ids) == first
    assert orders.append_many(keys, keys=keys, message_ids=iter(ids)) == first
    assert log.end_log_position() == end == 20


def test_an_id_may_come_twice_in_one_call(log: eventlog.EventLog, orders: Orders) -> None:
    """With the same content it is stored once; with other content nothing is stored."""
    ranges = orders.append_many(
        [b"a", b"b", b"a", b"a"], keys=[b"k"] * 4, partition=1, message_ids=["m", "n", "m", "m"]
    )
    assert [(one.first, one.end) for one in ranges] == [(0, 2), (0, 1), (0, 1)]
    assert values(orders.read()) == [b"a", b"b"]
    with pytest.raises(eventlog.MessageIdReused):
        orders.append_many([b"c", b"d"], message_ids=["x", "x"])
    assert log.end_log_position() == 2
    assert remembered(log) == (2, 2)
    if orders.index:
        assert orders.version(b"k") == 2


def test_ids_in_several_partitions_of_one_call(orders: Orders) -> None:
    """The first that was given is the one that is stored."""
    keys = [b"%d" % number for number in range(10)]
    ranges = orders.append_many([*keys, *keys], keys=[*keys, *keys], message_ids=[*keys, *keys])
    assert sorted(stored(orders)) == sorted(zip(keys, keys, strict=True))
    assert {(one.partition, offset) for one in ranges for offset in range(one.first, one.end)} == {
        (record.partition, record.offset) for record in orders.read()
    }


def test_ids_and_values_are_as_many(orders: Orders) -> None:
    """Else nothing is stored."""
    for ids in (["m"], ["m", "n", "o"], []):
        with pytest.raises(ValueError, match=r"message_ids has .* and values has 2.*Nothing was stored"):
            orders.append_many([b"1", b"2"], message_ids=ids)
    assert orders.append_many([], message_ids=[]) == []
    assert len(orders.append_many([b"1", b"2"], message_ids=[None, None])) == 1


# --- producers --------------------------------------------------------------------------------------------------------


def test_a_producer_stores_an_id_once(log: eventlog.EventLog, orders: Orders) -> None:
    """In one batch and over several, beside other records."""
    with log.producer() as producer:
        some = [producer.send(orders, b"%d" % (n % 5), key=b"k", message_id=f"m{n % 5}") for n in range(20)]
        others = [producer.send(orders, b"x", key=b"k") for _ in range(3)]
        producer.flush()
        again = [producer.send(orders, b"%d" % n, key=b"k", message_id=f"m{n}") for n in range(7)]
    assert [delivery.result() for delivery in some] == [some[n % 5].result() for n in range(20)]
    assert [delivery.result() for delivery in again[:5]] == [delivery.result() for delivery in some[:5]]
    assert len({delivery.result().offset for delivery in [*some, *others, *again]}) == 5 + 3 + 2
    assert sorted(record.value for record in orders.read()) == sorted([b"%d" % n for n in range(7)] + [b"x"] * 3)
    assert log.verify().problems == ()


def test_a_producer_and_append_know_of_each_other(log: eventlog.EventLog, orders: Orders) -> None:
    """The id counts, not who sends."""
    first = orders.append(b"tea", key=b"k", message_id="m")
    with log.producer() as producer:
        assert producer.send(orders, b"tea", key=b"k", message_id="m").result() == first
        second = producer.send(orders, b"milk", key=b"k", message_id="n").result()
    assert orders.append(b"milk", key=b"k", message_id="n") == second
    assert len(stored(orders)) == 2


def test_a_reused_id_fails_a_delivery(log: eventlog.EventLog, orders: Orders) -> None:
    """And leaves the log as it was."""
    orders.append(b"tea", key=b"k", message_id="m")
    end = log.end_log_position()
    with log.producer() as producer:
        delivery = producer.send(orders, b"milk", key=b"k", message_id="m")
        assert isinstance(delivery.exception(), eventlog.MessageIdReused)
    assert log.end_log_position() == end


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(log: eventlog.EventLog) -> ManualClock:
    """The clock of the log."""
    clock = ManualClock()
    log._store.clock = clock
    return clock


def test_an_id_is_remembered_for_the_window(log: eventlog.EventLog, clock: ManualClock) -> None:
    """To the millisecond, from when it was stored, whatever the record's timestamp says, if enough is newer."""
    topic = log.topic("orders", duplicate_window=60.0)
    others = log.topic("others")
    begin = clock.time_ms
    first = topic.append(b"tea", message_id="m", timestamp_ms=-5)
    for later in (1, 59_999, 60_000):
        clock.time_ms = begin + later
        assert topic.append(b"tea", message_id="m") == first
    others.append_many([b""] * KEPT_RECORDS)
    assert topic.append(b"tea", message_id="m") == first
    clock.time_ms = begin + 60_001
    second = topic.append(b"milk", message_id="m")
    assert second.offset == 1
    clock.time_ms += 60_000
    assert topic.append(b"milk", message_id="m") == second
    assert log.verify().problems == ()


def test_old_ids_are_forgotten_little_by_little(log: eventlog.EventLog, clock: ManualClock) -> None:
    """Each new one removes up to three, so that a burst is gone in the end."""
    topic = log.topic("orders", duplicate_window=1.0)
    topic.append_many([b"v"] * 100, message_ids=[f"m{number}" for number in range(100)])
    assert remembered(log) == (100, 100)
    clock.time_ms += 2000
    log.topic("others").append_many([b""] * KEPT_RECORDS)
    for number in range(20):
        topic.append(b"v", message_id=f"n{number}")
    assert remembered(log) == (60, 60)
    topic.append_many([b"v"] * 30, message_ids=[f"o{number}" for number in range(30)])
    assert remembered(log) == (50, 50)
    assert log.verify().problems == ()


def test_a_clock_that_is_ahead_for_a_while_forgets_nothing(log: eventlog.EventLog, clock: ManualClock) -> None:
    """Not for one append, and not for many; ids that were stored in the wrong future are remembered, too."""
    topic = log.topic("orders")
    ids = [f"m{number}" for number in range(100)]
    first = topic.append_many([b"v"] * 100, message_ids=ids)
    clock.time_ms += 90_000_000  # 25 hours
    assert topic.append(b"v", message_id="m7").offset == 7
    for number in range(20):
        topic.append(b"v", message_id=f"ahead{number}")
    clock.time_ms -= 90_000_000
    for number in range(20):
        topic.append(b"v", message_id=f"right{number}")
    assert topic.append_many([b"v"] * 100, message_ids=ids) == first
    assert topic.append(b"v", message_id="ahead3").offset == 103
    assert len(stored(topic)) == 140
    assert log.verify().problems == ()


def test_a_clock_that_was_far_behind_forgets_nothing(log: eventlog.EventLog, clock: ManualClock) -> None:
    """A machine without a battery begins in 1970: what was stored then is not old when the time is right."""
    topic = log.topic("orders")
    clock.time_ms = 5000
    first = topic.append(b"tea", message_id="m")
    clock.time_ms = 1_800_000_000_000
    for number in range(10):
        topic.append(b"v", message_id=f"n{number}")
    assert topic.append(b"tea", message_id="m") == first
    assert log.verify().problems == ()


def test_a_clock_that_is_set_back_forgets_nothing_too_early(log: eventlog.EventLog, clock: ManualClock) -> None:
    """What was stored in the future of now is remembered."""
    topic = log.topic("orders", duplicate_window=60.0)
    first = topic.append(b"tea", message_id="m")
    clock.time_ms -= 600_000
    assert topic.append(b"tea", message_id="m") == first
    clock.time_ms = -600_000
    second = topic.append(b"tea", message_id="n")
    assert topic.append(b"tea", message_id="n") == second
    assert log.verify().problems == ()


# --- deletion, processes, threads -------------------------------------------------------------------------------------


def test_the_id_of_a_deleted_record_is_remembered(log: eventlog.EventLog, orders: Orders) -> None:
    """Deleting is no reason to store it again."""
    first = orders.append(b"tea", key=b"k", message_id="m")
    orders.delete_records({first.partition: first.offset + 1})
    assert orders.append(b"tea", key=b"k", message_id="m") == first
    assert stored(orders) == []
    assert log.verify().problems == ()


def test_the_ids_of_a_deleted_topic_are_forgotten(log: eventlog.EventLog) -> None:
    """One made anew has none."""
    log.topic("orders").append(b"tea", message_id="m")
    log.delete_topic("orders")
    assert remembered(log) == (0, 0)
    assert log.topic("orders").append(b"milk", message_id="m").offset == 0


def test_ids_are_remembered_when_the_log_opens_again(path: Path) -> None:
    """They are in the log."""
    metas = []
    for _ in range(3):
        with eventlog.open(path) as log:
            topic = log.topic("orders")
            metas.append(topic.append(b"tea", message_id="m"))
            metas += [topic.append_many([b"tea"], message_ids=["m"])[0]]  # type: ignore[list-item]
            topic.append(b"other")
    assert {meta.log_position for meta in metas} == {0}


_CHILD = """
import sys
import eventlog

with eventlog.open(sys.argv[1]) as log:
    topic = log.topic("orders", partitions=2)
    ids = [f"m{number}" for number in range(40)]
    print(*[topic.append(one.encode(), message_id=one).log_position for one in ids])
"""


def test_processes_store_an_id_once(path: Path) -> None:
    """Those that send the same at once, too."""
    with eventlog.open(path) as log:
        topic = log.topic("orders", partitions=2)
        children = [
            subprocess.Popen([sys.executable, "-c", _CHILD, str(path)], stdout=subprocess.PIPE, text=True)
            for _ in range(3)
        ]
        ours = [topic.append(f"m{number}".encode(), message_id=f"m{number}").log_position for number in range(40)]
        for child in children:
            out, _ = child.communicate(timeout=60)
            assert child.returncode == 0
            assert [int(word) for word in out.split()] == ours
        assert sorted(ours) == list(range(40))
        assert sorted(values(topic.read())) == sorted(f"m{number}".encode() for number in range(40))
        assert log.verify().problems == ()


@pytest.mark.parametrize("is_on_disk", [False, True])
def test_eight_threads_that_send_the_same_store_it_once(path: Path, is_on_disk: bool) -> None:
    """By every way of sending."""
    with eventlog.open(path if is_on_disk else ":memory:") as log:
        topic = log.topic("orders", partitions=2, index="key")

        def sender(thread: int) -> Callable[[], list[int]]:
            def run() -> list[int]:
                positions = []
                with log.producer() as producer:
                    for number in range(15):
                        value, key, one = b"v%d" % number, b"k%d" % (number % 3), f"m{number}"
                        if thread % 3 == 0:
                            positions.append(topic.append(value, key=key, message_id=one).log_position)
                        elif thread % 3 == 1:
                            [stored_at] = topic.append_many([value], keys=[key], message_ids=[one])
                            positions.append(stored_at.log_position)
                        else:
                            delivery = producer.send(topic, value, key=key, message_id=one)
                            positions.append(delivery.result().log_position)
                return positions

            return run

        found = in_threads(*[sender(thread) for thread in range(8)])
        assert all(positions == found[0] for positions in found)
        assert sorted(found[0]) == list(range(15))
        assert log.end_log_position() == 15
        assert sorted(values(topic.read())) == sorted(b"v%d" % number for number in range(15))
        assert [topic.version(b"k%d" % key) for key in range(3)] == [5, 5, 5]
        assert log.verify().problems == ()


def test_a_reused_id_in_a_producer_refuses_its_own_record_alone(log: eventlog.EventLog) -> None:
    """The others of its batch are stored, flush() says that one was not, and its delivery says why."""
    topic = log.topic("orders", key=str)
    topic.append(b"first", key="a", message_id="m")
    producer = log.producer(linger=10.0)
    before = producer.send(topic, b"before", key="a")
    refused = producer.send(topic, b"other", key="a", message_id="m")
    again = producer.send(topic, b"first", key="a", message_id="m")
    after = producer.send(topic, b"after", key="a", message_id="n")
    with pytest.raises(eventlog.DeliveryError, match="1 sent records were not stored") as raised:
        producer.flush()
    assert (raised.value.count, type(raised.value.__cause__)) == (1, eventlog.MessageIdReused)
    assert isinstance(refused.exception(), eventlog.MessageIdReused)
    assert [delivery.result().offset for delivery in (before, again, after)] == [1, 0, 2]
    assert [record.value for record in topic.read()] == [b"first", b"before", b"after"]
    producer.close()


def test_a_refused_record_that_was_looked_at_is_not_told_again(log: eventlog.EventLog) -> None:
    """Who has asked the delivery knows; flush() and close() are silent then."""
    topic = log.topic("orders")
    topic.append(b"first", message_id="m")
    with log.producer() as producer:
        refused = producer.send(topic, b"other", message_id="m")
        with pytest.raises(eventlog.MessageIdReused):
            refused.result()
        producer.flush()
