"""Records that are scheduled: when, where and how often they are sent, moved and cancelled, and what bad input gets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog import testing
from eventlog.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """A clock that the test moves."""
    return ManualClock()


@pytest.fixture
def log(clock: ManualClock) -> Iterator[eventlog.EventLog]:
    """A log in memory that goes by that clock."""
    with testing.open(clock=clock) as opened:
        yield opened


def sent(log: eventlog.EventLog, *topics: str) -> list[Any]:
    """The values of all records, once everything that is due is sent, in the order of the log."""
    log.schedules.send_due()
    assert log.verify().problems == ()
    return [record.value for _, record in log.read_all(topics=topics or None)]


def waiting(log: eventlog.EventLog, *topic: str, **options: Any) -> list[Any]:
    """The values of what waits."""
    return [schedule.value for schedule in log.schedules.list(*topic, **options)]


def test_a_record_is_sent_at_its_time_and_not_before(log: eventlog.EventLog, clock: ManualClock) -> None:
    """It has key, headers and partition as given, and the time of its sending."""
    mails = log.topic("mails", key=str, value=str, partitions=4)
    schedule = mails.schedule("hello", delay=60.0, key="k", headers={"a": b"1"}, partition=2)
    assert (schedule.state, schedule.value, schedule.key, schedule.partition) == ("waiting", "hello", "k", 2)
    assert schedule.due == clock.now + timedelta(seconds=60)
    clock.advance(59.9)
    assert sent(log) == []
    clock.advance(0.1)
    assert sent(log) == ["hello"]
    [record] = mails.read()
    assert (record.key, record.headers, record.partition) == ("k", (("a", b"1"),), 2)
    assert record.timestamp_ms == schedule.due_ms
    assert log.schedules.get(schedule.id) is None
    assert log.schedules.describe() == eventlog.ScheduleTotals(0, 0, 0, None, None)


def test_somebody_who_waits_gets_it_at_its_time() -> None:
    """The thread of the log sends it, and wakes a consumer; nobody calls anything."""
    with eventlog.open(":memory:") as log:
        mails = log.topic("mails", value=str)
        with log.consumer(mails, group="g") as consumer, log.queue(mails, group="q") as queue:
            schedule = mails.schedule("hello", delay=0.05)
            [record] = consumer.poll(timeout=10.0)
            [job] = queue.poll(timeout=10.0)
            job.accept()
            assert (record.value, job.value) == ("hello", "hello")
            assert 0 <= record.timestamp_ms - schedule.due_ms < 5000


def test_what_is_overdue_is_sent_in_the_order_of_time(path: Path) -> None:
    """Of all topics together, by the next who opens the log; of one time, in the order in which it was scheduled."""
    with eventlog.open(path) as log:
        names = [f"t{number}" for number in range(3)]
        topics = [log.topic(name, value=int) for name in names]
        begin = datetime.now(UTC) + timedelta(hours=1)
        for number in range(60):
            topics[number % 3].schedule(number, at=begin + timedelta(seconds=(number * 7) % 20))
        expected = sorted(range(60), key=lambda number: ((number * 7) % 20, number))
        assert waiting(log) == expected
        assert waiting(log, "t1") == [number for number in expected if number % 3 == 1]
        assert waiting(log, start=begin + timedelta(seconds=5), end=begin + timedelta(seconds=7)) == [
            number for number in expected if 5 <= (number * 7) % 20 < 7
        ]
    with testing.open(path, clock=ManualClock(begin + timedelta(hours=1))) as log:
        for name in names:
            by_topic = [number for number in expected if number % 3 == int(name[1])]
            assert sent(log, name) == by_topic
        assert waiting(log) == []


def test_a_time_that_is_past_is_at_once(log: eventlog.EventLog, clock: ManualClock) -> None:
    """Also one before 1970; and a clock that is set back holds up what is not due by it."""
    topic = log.topic("t", value=int)
    topic.schedule(1, at=clock.now - timedelta(days=1))
    topic.schedule(2, at=-5.0)
    topic.schedule(3, delay=0)
    topic.schedule(4, delay=60)
    assert sorted(sent(log)) == [1, 2, 3]
    clock.set(clock.now - timedelta(hours=1))
    clock.advance(60)
    assert sorted(sent(log)) == [1, 2, 3]
    clock.set(clock.now + timedelta(hours=2))
    assert sorted(sent(log)) == [1, 2, 3, 4]
    clock.set(clock.now - timedelta(days=10))
    assert sorted(sent(log)) == [1, 2, 3, 4]


def test_a_schedule_is_cancelled_and_moved(log: eventlog.EventLog, clock: ManualClock) -> None:
    """Once it is sent or cancelled there is none."""
    topic = log.topic("t", value=int)
    first, second, third = (topic.schedule(number, delay=60.0) for number in range(3))
    assert log.schedules.cancel(first)
    assert not log.schedules.cancel(first.id)
    assert log.schedules.move(second, delay=30.0)
    assert log.schedules.move(third.id, at=clock.now.astimezone(timezone(timedelta(hours=2))) + timedelta(hours=1))
    assert not log.schedules.move(first, delay=1.0)
    assert log.schedules.get(first) is None
    moved = log.schedules.get(third.id)
    assert moved is not None
    assert moved.due == clock.now + timedelta(hours=1)
    clock.advance(30.0)
    assert sent(log) == [1]
    assert not log.schedules.cancel(second)
    clock.advance(3600.0)
    assert sent(log) == [1, 2]


def test_a_message_id_schedules_and_sends_once(log: eventlog.EventLog, clock: ManualClock) -> None:
    """However often it is scheduled, and whatever is appended under it meanwhile."""
    topic = log.topic("t", value=str)
    first = topic.schedule("a", delay=60.0, message_id="m")
    assert topic.schedule("a", delay=5.0, message_id=b"m") == first
    with pytest.raises(eventlog.MessageIdReused, match="under message id b'm'"):
        topic.schedule("b", delay=60.0, message_id="m")
    assert log.schedules.describe().waiting == 1
    log.schedules.cancel(first)
    again = topic.schedule("a", delay=60.0, message_id="m")
    assert (again.id, again.state) == (first.id, "waiting")
    clock.advance(60.0)
    assert sent(log) == ["a"]
    assert topic.append("a", message_id="m").offset == 0
    assert topic.schedule("a", delay=60.0, message_id="m").state == "sent"
    with pytest.raises(eventlog.MessageIdReused):
        topic.schedule("b", delay=60.0, message_id="m")
    topic.schedule("c", delay=60.0, message_id="n")
    topic.append("c", message_id="n")
    clock.advance(60.0)
    assert sent(log) == ["a", "c"]


def test_what_cannot_be_sent_fails_alone_and_is_shown(log: eventlog.EventLog, clock: ManualClock) -> None:
    """It waits until it is cancelled, or is moved and works then."""
    topic = log.topic("t", value=str, duplicate_window=100.0)
    topic.schedule("a", delay=60.0, message_id="m")
    topic.schedule("b", delay=60.0)
    topic.append("other", message_id="m")
    clock.advance(60.0)
    assert sent(log) == ["other", "b"]
    [failed] = log.schedules.list(failed=True)
    assert (failed.value, failed.state) == ("a", "failed")
    assert failed.error is not None
    assert "another record was appended under its message id" in failed.error
    assert waiting(log) == []
    assert (log.schedules.describe().waiting, log.schedules.describe().failed) == (0, 1)
    assert log.schedules.move(failed.id, delay=1.0)
    clock.advance(1.0)
    assert sent(log) == ["other", "b"]
    [failed] = log.schedules.list("t", failed=True)
    assert log.schedules.cancel(failed)
    assert log.schedules.describe().failed == 0


def test_a_transaction_schedules_if_it_is_stored(log: eventlog.EventLog, clock: ManualClock) -> None:
    """With its records, its states, and message ids that it may use in both ways."""
    topic = log.topic("t", value=str)
    with log.transaction() as tx:
        tx.schedule("t", "first", delay=10.0)
        assert log.schedules.describe().waiting == 0
        tx.abort()
    with log.transaction() as tx:
        tx.send(topic, "now", message_id="m")
        schedule = tx.schedule(topic, "later", delay=10.0, message_id="n")
        assert tx.schedule(topic, "later", delay=20.0, message_id="n").id == schedule.id
        tx.schedule(topic, "now", delay=10.0, message_id="m")
        tx.state("s", key=str, value=int)["count"] = 1
    assert log.schedules.get(schedule.id) == schedule
    assert waiting(log) == ["later"]
    tx = log.transaction()
    tx.schedule(topic, "another", delay=10.0, message_id="n")
    tx.send(topic, "never")
    with pytest.raises(eventlog.MessageIdReused):
        tx.commit()
    with pytest.raises(eventlog.TransactionEnded):
        tx.schedule(topic, "late", delay=1.0)
    with log.transaction(max_bytes=1000) as tx, pytest.raises(eventlog.TransactionTooLarge):
        tx.schedule(topic, "x" * 1000, delay=1.0)
    clock.advance(10.0)
    assert sent(log) == ["now", "later"]


def test_partitions_versions_and_order_are_as_of_appended_records(log: eventlog.EventLog, clock: ManualClock) -> None:
    """A key goes where it belongs among the partitions of then, and its records have the versions of an index."""
    topic = log.topic("t", key=str, value=int, partitions=2, index="key", compression="lz4")
    for number in range(40):
        topic.schedule(number, delay=10.0 + number % 4, key=f"k{number % 10}")
    topic.append(-1, key="k3")
    topic.create_partitions(7)
    clock.advance(20.0)
    expected = sorted(range(40), key=lambda number: (number % 4, number))
    assert sorted(sent(log)) == [-1, *range(40)]
    for key in range(10):
        [*events] = topic.history(f"k{key}")
        mine = [-1] * (key == 3) + [number for number in expected if number % 10 == key]
        assert [event.value for event in events] == mine
        assert [event.version for event in events] == list(range(1, len(mine) + 1))
        assert {event.partition for event in events if event.value >= 0} == {topic._route.partition_of(b"k%d" % key, 7)}  # type: ignore[attr-defined]


def test_a_topic_takes_its_schedules_along(log: eventlog.EventLog, clock: ManualClock) -> None:
    """Another of its name has none of them."""
    topic = log.topic("t", value=str)
    topic.schedule("gone", delay=10.0)
    log.topic("u", value=str).schedule("there", delay=10.0)
    log.delete_topic("t")
    assert waiting(log) == ["there"]
    assert log.schedules.describe().waiting == 1
    log.topic("t", value=str)
    with pytest.raises(eventlog.UnknownTopic):
        topic.schedule("late", delay=1.0)
    clock.advance(10.0)
    assert sent(log) == ["there"]


def test_a_full_disk_holds_up_what_is_due_and_is_shown(
    log: eventlog.EventLog, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It is sent as soon as there is room; a line of Python's log says so once."""
    topic = log.topic("t", value=str)
    topic.schedule("hello", delay=10.0)
    with testing.full_disk(log):
        clock.advance(10.0)
        with pytest.raises(eventlog.DiskFull):
            log.schedules.send_due()
        assert waiting(log) == ["hello"]
    assert sent(log) == ["hello"]
    assert log.schedules.describe().error is None


def test_a_bounded_log_keeps_what_it_cannot_send(path: Path) -> None:
    """Cancelling needs no room."""
    with eventlog.open(path, max_bytes=1 << 20) as log:
        topic = log.topic("t", value=bytes)
        schedules: list[eventlog.Schedule[Any, Any]] = []

        def fill() -> None:
            while True:
                schedules.append(topic.schedule(bytes(20_000), delay=3600.0))

        with pytest.raises(eventlog.LogFull):
            fill()
        assert len(schedules) > 10
        assert all(log.schedules.cancel(schedule) for schedule in schedules)
        topic.schedule(bytes(20_000), delay=3600.0)
        assert log.verify().problems == ()


def test_a_reader_sees_schedules_and_sends_none(path: Path) -> None:
    """To change them is refused; who opens with `schedules=False` leaves them to others."""
    with testing.open(path, clock=ManualClock(datetime(2020, 1, 1, tzinfo=UTC))) as log:
        schedule = log.topic("t", value=str).schedule("hello", delay=60.0)
    with eventlog.open(path, read_only=True) as log:
        assert log.schedules.get(schedule.id) == schedule
        assert waiting(log, "t") == ["hello"]
        for call in (
            lambda: log.schedules.cancel(schedule),
            lambda: log.schedules.move(schedule, delay=1.0),
            log.schedules.send_due,
            log.schedules.run,
            lambda: log.topic("t").schedule("more", delay=1.0),
        ):
            with pytest.raises(eventlog.ReadOnlyLog):
                call()
    with eventlog.open(path, schedules=False) as log:
        with log.consumer("t") as consumer:
            assert consumer.poll(timeout=0.3) == []
        assert waiting(log) == ["hello"]
    with eventlog.open(path) as log, log.consumer("t") as consumer:
        assert [record.value for record in consumer.poll(timeout=10.0)] == ["hello"]


def test_a_thread_is_there_while_anything_waits() -> None:
    """And not before, and it ends."""
    before = set(threading.enumerate())

    def servers() -> list[threading.Thread]:
        return [one for one in threading.enumerate() if one.name == "eventlog-schedules" and one not in before]

    with eventlog.open(":memory:") as log:
        topic = log.topic("t", value=str)
        assert servers() == []
        schedule = topic.schedule("hello", delay=3600.0)
        [thread] = servers()
        assert log.schedules.cancel(schedule)
        thread.join(30.0)
        assert servers() == []
        topic.schedule("hello", delay=3600.0)
        [thread] = servers()
        log.schedules.run(timeout=0.0)
        assert servers() == [thread]
    thread.join(30.0)
    assert servers() == []


def test_a_log_that_is_closed_ends_its_server() -> None:
    """`run` ends without an error, and everything else says that the log is closed."""
    log = eventlog.open(":memory:")
    server = threading.Thread(target=log.schedules.run)
    server.start()
    log.close()
    server.join(10.0)
    assert not server.is_alive()
    with pytest.raises(eventlog.LogClosed):
        log.schedules.describe()


NAIVE = datetime(2030, 1, 1)  # noqa: DTZ001 - what it is about


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda topic: topic.schedule("x"), ValueError, "either at= or delay=, not none of them"),
        (lambda topic: topic.schedule("x", at=1.0, delay=1.0), ValueError, "not both"),
        (lambda topic: topic.schedule("x", at=NAIVE), ValueError, "has no time zone"),
        (lambda topic: topic.schedule("x", at=float("nan")), ValueError, "finite number of seconds"),
        (lambda topic: topic.schedule("x", delay=float("inf")), ValueError, "finite number of seconds"),
        (lambda topic: topic.schedule("x", delay=-1.0), ValueError, "0 or more"),
        (lambda topic: topic.schedule("x", delay=True), TypeError, "delay must be a number"),
        (lambda topic: topic.schedule("x", at="tomorrow"), TypeError, "at must be a datetime"),
        (lambda topic: topic.schedule("x", delay=10**400), ValueError, "beyond the year 9999"),
        (lambda topic: topic.schedule("x", at=1e300), ValueError, "beyond the year 9999"),
        (lambda topic: topic.schedule("x", at=1_700_000_000_000), ValueError, "not in milliseconds"),
        (lambda topic: topic.schedule(7, delay=1.0), TypeError, "str"),
        (lambda topic: topic.schedule("x", delay=1.0, partition=3), eventlog.UnknownPartition, "no partition 3"),
        (lambda topic: topic.schedule("x" * 2000, delay=1.0), eventlog.RecordTooLarge, "bound is 1000"),
        (lambda topic: topic.schedule("x", delay=1.0, message_id=""), ValueError, "message_id"),
    ],
)
def test_what_cannot_be_scheduled_is_refused(
    log: eventlog.EventLog, call: Callable[[Any], object], error: type[Exception], words: str
) -> None:
    """Before anything is stored."""
    topic = log.topic("t", value=str, max_record_bytes=1000)
    with pytest.raises(error, match=words):
        call(topic)
    assert log.schedules.describe().waiting == 0


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda one: one.get("x"), ValueError, "32 hexadecimal digits"),
        (lambda one: one.cancel(7), TypeError, "its id or a Schedule"),
        (lambda one: one.move("0" * 32), ValueError, "either at= or delay="),
        (lambda one: one.list("nothing"), eventlog.UnknownTopic, "nothing"),
        (lambda one: one.list(7), TypeError, "its name or a Topic"),
        (lambda one: one.list(key=b"k"), ValueError, "goes with a topic"),
        (lambda one: one.list(start=NAIVE), ValueError, "has no time zone"),
        (lambda one: one.list(failed=1), TypeError, "failed"),
        (lambda one: one.run(timeout=-1), ValueError, "timeout"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    log: eventlog.EventLog, call: Callable[[Any], object], error: type[Exception], words: str
) -> None:
    """With the reason; an id of nothing is no error."""
    with pytest.raises(error, match=words):
        call(log.schedules)
    assert log.schedules.get("0" * 32) is None
    assert not log.schedules.cancel("0" * 32)
    assert not log.schedules.move("0" * 32, delay=1.0)
    assert list(log.schedules.list()) == []
    assert log.schedules.send_due() == 0


def test_a_key_of_a_topic_is_listed(log: eventlog.EventLog) -> None:
    """Among all that waits."""
    topic = log.topic("t", key=int, value=int)
    for number in range(700):
        topic.schedule(number, delay=60.0, key=number % 3)
    assert waiting(log, "t", key=1) == list(range(1, 700, 3))
