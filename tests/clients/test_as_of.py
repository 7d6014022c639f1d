"""Reading as of then: up to a time, a version or a position of the log; and following the log as it grows."""

from __future__ import annotations

import os
import random
import threading
from datetime import UTC, datetime, timedelta

import pytest

import eventlog
from eventlog.clock import from_ms
from tests.clients.helpers import in_threads

_SEED = int(os.environ["EVENTLOG_SEED"])


@pytest.fixture
def accounts(event_log, event_log_clock):
    """Six amounts of two keys, one each second, positions 0 to 5."""
    topic = event_log.topic("accounts", key=str, value="json", index="key", partitions=2)
    for number in range(6):
        topic.append(number + 1, key="ab"[number % 2])
        event_log_clock.advance(1.0)
    return topic


def second(number):
    """The time of the record of that number."""
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=number)


def values(events):
    """The values of some events."""
    return [event.value for event in events]


def add(total, amount):
    """A fold."""
    return total + amount


def test_a_history_ends_at_a_time_a_version_or_a_position(accounts):
    """Exclusive, each of them; and what comes first ends it."""
    assert values(accounts.history("a")) == [1, 3, 5]
    assert values(accounts.history("a", end=3)) == [1, 3]
    assert values(accounts.history("a", end=second(4))) == [1, 3]
    assert values(accounts.history("a", end=second(3.5))) == [1, 3]
    assert values(accounts.history("a", end=second(100))) == [1, 3, 5]
    assert values(accounts.history("a", end=second(0))) == []
    assert values(accounts.history("a", end_log_position=4)) == [1, 3]
    assert values(accounts.history("a", end_log_position=5)) == [1, 3, 5]
    assert values(accounts.history("a", end=second(4), end_log_position=2)) == [1]
    assert values(accounts.history("a", end=2, end_log_position=5)) == [1]
    assert values(accounts.history("a", end=second(4), is_reversed=True)) == [3, 1]
    assert values(accounts.history("a", end=second(4), start=2, max_records=1)) == [3]
    assert values(accounts.history("nobody", end=second(4))) == []


def test_a_fold_is_that_of_then(accounts):
    """With the version of its last record; of a later end it is that of now."""
    assert accounts.fold("a", add, 0) == (9, 3)
    assert accounts.fold("a", add, 0, end=3) == (4, 2)
    assert accounts.fold("a", add, 0, end=second(4)) == (4, 2)
    assert accounts.fold("a", add, 0, end_log_position=1) == (1, 1)
    assert accounts.fold("a", add, 0, end=1) == (0, 0)
    assert accounts.fold("a", add, 0, end=second(0)) == (0, 0)
    assert accounts.fold("a", add, 0, end=100) == (9, 3)
    assert accounts.fold("a", add, 0, end=second(100)) == (9, 3)
    assert accounts.fold("nobody", add, 0, end=second(4)) == (0, 0)


def test_the_first_late_record_ends_it_whatever_comes_later(event_log):
    """Timestamps of callers need not rise: what is read is what was there at some moment."""
    topic = event_log.topic("accounts", key=str, value=int, index="key")
    for number, time_ms in enumerate([1000, 3000, 2000]):
        topic.append(number, key="a", timestamp_ms=time_ms)
    assert values(topic.history("a", end=from_ms(2500))) == [0]
    assert [record.value for _, record in event_log.read_all(end=from_ms(2500))] == [0]


def test_a_snapshot_of_later_is_not_used_for_then(accounts):
    """Nor is any, if that is said."""
    accounts.save_snapshot("a", 1000, version=2)
    assert accounts.fold("a", add, 0) == (1005, 3)
    assert accounts.fold("a", add, 0, end=3) == (1000, 2)
    assert accounts.fold("a", add, 0, end=2) == (1, 1)
    assert accounts.fold("a", add, 0, snapshot=False) == (9, 3)
    assert accounts.fold("a", add, 0, end=3, snapshot=False) == (4, 2)


def test_a_snapshot_can_be_deleted(accounts):
    """Then the fold begins with the first record; again it changes nothing."""
    accounts.save_snapshot("a", 1000, version=3)
    accounts.save_snapshot("b", 7, version=1)
    for _ in range(2):
        accounts.delete_snapshot("a")
        assert accounts.snapshot("a") is None
    assert accounts.fold("a", add, 0) == (9, 3)
    assert accounts.snapshot("b").state == 7
    with pytest.raises(ValueError, match="None is no key"):
        accounts.delete_snapshot(None)


def test_a_snapshot_of_a_deleted_topic_cannot_be_deleted(event_log, accounts):
    """It is gone with the topic."""
    event_log.delete_topic("accounts")
    with pytest.raises(eventlog.UnknownTopic):
        accounts.delete_snapshot("a")


def test_a_tombstone_is_a_record_of_a_fold_and_of_a_projection(event_log):
    """The function is given None, and says what that means; nothing is deleted by itself."""
    topic = event_log.topic("users", key=str, value=str, index="key")
    for value in ("alice", None, "alicia"):
        topic.append(value, key="1")
    assert topic.fold("1", lambda names, name: [*names, name], []) == (["alice", None, "alicia"], 3)
    assert topic.fold("1", lambda _, name: name, "", end=3) == (None, 2)
    topic.append(None, key="1")

    def project(state, record):
        if record.value is None:
            state.delete(record.key)
        else:
            state[record.key] = record.value

    seen = []
    projection = event_log.projection("names", project)
    other = event_log.projection("all", lambda state, record: seen.append(record.value))
    projection.catch_up()
    other.catch_up()
    assert dict(projection.state.items()) == {}
    assert seen == ["alice", None, "alicia", None]


def test_the_whole_log_is_read_up_to_a_time(event_log, accounts):
    """Records and columns; from a start, of some topics, and cut in the middle of a batch."""
    event_log.topic("others").append_many([b"x"] * 4, timestamps_ms=[10**13 + number for number in range(4)])
    assert [record.value for _, record in event_log.read_all(end=second(2))] == [1, 2]
    assert [position for position, _ in event_log.read_all(2, end=second(4))] == [2, 3]
    assert len(list(event_log.read_all(end=from_ms(10**13 + 2)))) == 8
    assert [len(batch) for _, batch in event_log.read_all_batches(6, end=from_ms(10**13 + 2))] == [2]
    assert len(list(event_log.read_all(topics=["others"], end=from_ms(10**13 + 1)))) == 1
    assert len(list(event_log.read_all(end=second(100), topics=["accounts"]))) == 6


def test_a_time_has_a_time_zone(event_log, accounts):
    """Else it would mean another moment on another machine."""
    for call in (
        lambda: accounts.history("a", end=datetime(2024, 1, 1)),  # noqa: DTZ001
        lambda: accounts.fold("a", add, 0, end=datetime(2024, 1, 1)),  # noqa: DTZ001
        lambda: event_log.read_all(end=datetime(2024, 1, 1)),  # noqa: DTZ001
    ):
        with pytest.raises(ValueError, match="no time zone"):
            call()
    with pytest.raises(TypeError, match="end must be an int"):
        accounts.history("a", end="2024")
    with pytest.raises(ValueError, match="end_log_position"):
        accounts.fold("a", add, 0, end_log_position=-1)


# -- following -----------------------------------------------------------------------------------------------------


def test_it_follows_the_log_across_topics(log):
    """It reads the stored records, then new ones, in the order of the commits, also of topics that are made later."""
    log.topic("orders", value=str).append("tea")
    told = threading.Event()
    found = []

    def follow():
        for position, record in log.follow(timeout=20.0):
            found.append((position, record.topic, record.value))
            told.set()
            if len(found) == 3:
                return

    def write():
        assert told.wait(10.0)
        log.topic("payments", value=str).append("cash")
        log.topic("orders", value=str).append("milk")

    in_threads(follow, write)
    assert found == [(0, "orders", "tea"), (1, "payments", "cash"), (2, "orders", "milk")]


def test_it_begins_where_it_is_told(log):
    """At a position, or at the end; beyond the end there is nothing."""
    orders = log.topic("orders", value=int)
    orders.append_many([0, 1, 2])
    assert [record.value for _, record in log.follow(1, timeout=0.0)] == [1, 2]
    latest = log.follow("latest", timeout=0.0)
    assert list(latest) == []
    orders.append(3)
    assert [record.value for _, record in latest] == [3]
    assert latest.log_position == 4
    with pytest.raises(eventlog.OffsetOutOfRange):
        log.follow(9)
    with pytest.raises(TypeError, match="topics is a list"):
        log.follow(topics="orders")
    with pytest.raises(ValueError, match="timeout"):
        log.follow(timeout=-1.0)


def test_it_begins_at_a_time():
    """At the first record in the order of the log that has this time or a later one, as a look at all of them finds."""
    with eventlog.open(":memory:", cleaner=False) as log:
        rng = random.Random(_SEED)
        names = ["one", "two", "three"]
        topics = [log.topic(name, value=int, partitions=2, repack_after=0.0) for name in names]
        for number in range(240):
            times_ms = [
                1_000 * (number // 12) + rng.randrange(-5_000, 9_000) + 20_000 for _ in range(rng.randint(1, 3))
            ]
            rng.choice(topics).append_many([number] * len(times_ms), timestamps_ms=times_ms, partition=rng.randrange(2))
        topics[0].delete_records({0: topics[0].bounds()[0][0] + 3})
        for is_merged in (False, True):
            if is_merged:
                before = sum(topic.batch_count for topic in log.stats().topics)
                assert log.clean().is_finished
                assert sum(topic.batch_count for topic in log.stats().topics) < before / 2
            stored = [(position, record.topic, record.timestamp_ms) for position, record in log.read_all()]
            for _ in range(20):
                moment_ms = rng.randrange(10_000, 60_000)
                chosen = rng.sample(names, rng.randint(1, 3))
                among = [(position, ms) for position, name, ms in stored if name in chosen]
                first = next((position for position, ms in among if ms >= moment_ms), log.end_log_position())
                with log.follow(from_ms(moment_ms), topics=chosen, timeout=0.0) as follower:
                    assert [position for position, _ in follower] == [
                        position for position, _ in among if position >= first
                    ]


def test_a_time_that_is_yet_to_come_is_the_end(log):
    """What comes then is read whatever its time is; a time without a zone is refused."""
    orders = log.topic("orders", value=int)
    orders.append(1, timestamp_ms=1_000)
    with log.follow(from_ms(2_000), timeout=0.0) as follower:
        assert follower.log_position == 1
        orders.append(2, timestamp_ms=500)
        assert [record.value for _, record in follower] == [2]
    with pytest.raises(ValueError, match="no time zone"):
        log.follow(datetime(2024, 1, 1))  # noqa: DTZ001
    with pytest.raises(TypeError, match="start must be a log position"):
        log.follow("2024")


def test_it_follows_some_topics(log):
    """By name, before they are there."""
    follower = log.follow(topics=["orders"], timeout=0.0)
    log.topic("payments").append(b"cash")
    log.topic("orders").append(b"tea")
    assert [(position, record.value) for position, record in follower] == [(1, b"tea")]
    assert follower.log_position == 2


def test_another_thread_stops_it(log):
    """And so does the end of the log."""
    for end in (lambda follower: follower.stop(), lambda follower: log.close()):
        follower = log.follow()
        waiting = threading.Thread(target=list, args=[follower])
        waiting.start()
        while not any(".fifo" in file.name for file in (log.path / "waiters").iterdir()):
            pass
        end(follower)
        waiting.join(10.0)
        assert not waiting.is_alive()
        follower.close()


def test_deleted_records_are_passed_by(log):
    """They have positions all the same."""
    orders = log.topic("orders", value=int)
    orders.append_many(range(5))
    orders.delete_records({0: 3})
    follower = log.follow(timeout=0.0)
    assert [position for position, _ in follower] == [3, 4]
    with follower:
        assert follower.log_position == 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_it_belongs_to_its_process(disk_log):
    """A child makes its own."""
    disk_log.topic("orders").append(b"tea")
    follower = disk_log.follow(timeout=0.0)
    child = os.fork()
    if child == 0:
        try:
            next(follower)
        except eventlog.UsedAfterFork:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert len(list(follower)) == 1
