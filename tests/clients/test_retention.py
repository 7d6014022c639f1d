"""What a topic keeps: by age, by bytes, until groups have read it; and how it is changed."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

import eventlog
from eventlog import testing
from eventlog.backend.maintenance import CleanReport
from tests.clients.helpers import PATIENCE_SECONDS, take, values


@pytest.fixture
def clock() -> testing.ManualClock:
    """A clock that the test moves."""
    return testing.ManualClock()


@pytest.fixture
def log(clock: testing.ManualClock) -> eventlog.EventLog:
    """A log in memory, which nobody cleans in the background."""
    with testing.open(clock=clock) as log:
        yield log


def fill(topic: eventlog.Topic, count: int) -> None:
    """Appends numbers, a batch each, to the partitions in turn."""
    for number in range(count):
        topic.append(str(number).encode(), partition=number % topic.partitions)


def test_records_go_by_age(log, clock):
    """What is older than the retention goes, batch by batch."""
    topic = log.topic("views", partitions=2, retention=3600)
    fill(topic, 10)
    clock.advance(1800)
    fill(topic, 6)
    clock.advance(1800)
    assert log.clean() == eventlog.CleanReport(0, 0, 0, (), is_finished=True)
    clock.advance(1)
    report = log.clean()
    assert (report.batch_count, report.record_count, report.is_finished) == (10, 10, True)
    assert topic.bounds() == {0: (5, 8), 1: (5, 8)}
    assert log.verify().is_sound


def test_a_batch_stays_until_its_newest_record_is_old_enough(log, clock):
    """And so does all that comes after it in its partition, whatever its timestamps say."""
    topic = log.topic("views", retention=60)
    now_ms = clock.now_ms()
    topic.append_many([b"a", b"b"], timestamps_ms=[0, now_ms])
    topic.append(b"c", timestamp_ms=0)
    log.clean()
    assert topic.bounds() == {0: (0, 3)}
    clock.advance(61)
    log.clean()
    assert topic.bounds() == {0: (3, 3)}


def test_the_bound_of_bytes_is_the_topics_and_the_oldest_go_first(log):
    """Over all partitions, in the order of the log."""
    topic = log.topic("views", partitions=3, retention_bytes=20_000)
    for number in range(60):
        topic.append(bytes(1000), partition=0 if number < 20 else number % 3)
    report = log.clean()
    positions = [log_position for log_position, _ in log.read_all()]
    assert positions == list(range(60 - len(positions), 60))
    assert 17 <= len(positions) <= 19
    assert log.verify().stored_bytes <= 20_000
    assert report.freed_bytes + log.verify().stored_bytes == pytest.approx(60 * 1070, rel=0.02)


@pytest.mark.parametrize("seed", range(20))
def test_sizes_are_right_after_appends_and_deletions_by_others(log, seed):
    """The size of a topic is kept up to date, so a bound is held whatever happened between two passes."""
    chance = random.Random(seed)
    topic = log.topic("views", partitions=3, retention_bytes=10_000)
    other = log.topic("others", retention_bytes=3_000)
    for _ in range(12):
        for _ in range(chance.randrange(20)):
            chance.choice([topic, other]).append(bytes(chance.randrange(1, 1500)))
        if chance.random() < 0.3:
            first, end = topic.bounds()[0]
            topic.delete_records({0: chance.randint(first, end)})
        before = {one.name: _stored_bytes(log, one) for one in (topic, other)}
        log.clean()
        for one, bound in ((topic, 10_000), (other, 3_000)):
            after = _stored_bytes(log, one)
            assert after <= bound
            assert after == before[one.name] or before[one.name] > bound
            assert after > bound - 1_600 or after == before[one.name]


def _stored_bytes(log: eventlog.EventLog, topic: eventlog.Topic) -> int:
    from eventlog.store.lmdb.environment import BATCHES

    environment = log._store.environment
    with environment.reading() as transaction, transaction.cursor(db=environment.table(BATCHES)) as cursor:
        prefix = topic._route.row.id.to_bytes(4, "big")
        return sum(len(data) for key, data in cursor.iternext() if bytes(key[:4]) == prefix)


def test_records_go_when_all_groups_have_read_them(log, clock):
    """Not before, and a group that has never committed has read nothing."""
    topic = log.topic("orders", value=int, until_read_by=["billing", "shipping"])
    for number in range(10):
        topic.append(number)
    with log.consumer("orders", group="billing") as billing:
        assert take(billing, 10) == list(range(10))
    log.clean()
    assert topic.bounds() == {0: (0, 10)}
    with log.consumer("orders", group="shipping") as shipping:
        records = shipping.poll()
        shipping.commit({("orders", 0): 4})
        assert values(records) == list(range(10))
        log.clean()
        assert topic.bounds() == {0: (4, 10)}


def test_a_reader_is_not_waited_for_longer_than_the_retention(log, clock):
    """A group that nobody runs any more cannot fill the disk."""
    topic = log.topic("orders", retention=60, until_read_by=["gone"])
    topic.append(b"a")
    clock.advance(61)
    log.clean()
    assert topic.bounds() == {0: (1, 1)}


def test_an_index_loses_what_the_topic_loses(log, clock):
    """Histories, versions and positions agree before and after."""
    topic = log.topic("carts", key=str, value=int, partitions=2, index="key", retention=60)
    for number in range(8):
        topic.append(number, key="ab"[number % 2])
    clock.advance(61)
    topic.append(8, key="a")
    log.clean()
    assert [(event.version, event.value) for event in topic.history("a")] == [(5, 8)]
    assert topic.version("b") == 4
    assert topic.append(9, key="b").version == 5
    assert [record.value for _, record in log.read_all()] == [8, 9]
    assert log.verify().is_sound


def test_a_damaged_batch_stops_its_topic_alone(path: Path, caplog):
    """It is told in the report and once in Python's log; the other topics are cleaned."""
    with eventlog.open(path, cleaner=False) as log:
        for name in ("a", "b"):
            topic = log.topic(name, index="key", key=str, retention=0)
            topic.append(b"1", key="k", timestamp_ms=0)
        _spoil_header(log, log.topic("a"))
        for _ in range(2):
            report = log.clean()
            assert (report.failed, report.record_count) in {(("a",), 1), (("a",), 0)}
        assert log.topic("b").bounds() == {0: (1, 1)}
    assert [record.event for record in caplog.records if record.name == "eventlog.cleaner"] == ["cleaning failed"]
    assert "The retention of topic 'a' fails" in caplog.text


def _spoil_header(log: eventlog.EventLog, topic: eventlog.Topic) -> None:
    from eventlog.store.lmdb.environment import BATCHES
    from eventlog.store.rows.tables import batch_key

    environment = log._store.environment
    transaction = environment.begin_writing()
    key = batch_key(topic._route.row.id, 0, 0)
    data = transaction.get(key, db=environment.table(BATCHES))
    transaction.put(key, b"\0" + data[1:], db=environment.table(BATCHES))
    environment.commit(transaction)


# -- options -------------------------------------------------------------------------------------------------


def test_options_are_stored_and_altered(path: Path):
    """Another process sees what one has altered; what is left out stays."""
    with eventlog.open(path, cleaner=False) as log, eventlog.open(path, cleaner=False) as other:
        topic = log.topic("views", retention=1.5, retention_bytes=10, until_read_by=["a", "b", "a"])
        assert (topic.retention, topic.retention_bytes, topic.until_read_by) == (1.5, 10, ("a", "b"))
        same = other.topic("views")
        same.alter(retention=None, until_read_by=["c"])
        assert (topic.retention, topic.retention_bytes, topic.until_read_by) == (None, 10, ("c",))
        topic.alter()
        topic.alter(retention_bytes=None, until_read_by=None)
        assert (same.retention, same.retention_bytes, same.until_read_by) == (None, None, ())
    with eventlog.open(path) as log:
        assert log.topic("views").retention is None


def test_what_contradicts_the_stored_options_says_how_to_alter_them(log):
    """As the other options of a topic do."""
    log.topic("views", retention=60)
    with pytest.raises(eventlog.TopicMismatch, match=r"retention=60\..*log.topic\('views'\).alter\(retention=5\)"):
        log.topic("views", retention=5)
    with pytest.raises(eventlog.TopicMismatch, match=r"alter\(until_read_by=\['g'\]\)"):
        log.topic("views", until_read_by=["g"])
    assert log.topic("views", retention=60).retention == 60


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"retention": -1}, ValueError),
        ({"retention": "1 day"}, TypeError),
        ({"retention": float("nan")}, ValueError),
        ({"retention_bytes": -1}, ValueError),
        ({"retention_bytes": 2**63}, ValueError),
        ({"retention_bytes": 1.5}, TypeError),
        ({"until_read_by": "billing"}, TypeError),
        ({"until_read_by": [7]}, TypeError),
        ({"until_read_by": [""]}, ValueError),
    ],
)
def test_wrong_options_change_nothing(log, options, error):
    """They are refused before anything is made or altered."""
    with pytest.raises(error):
        log.topic("views", **options)
    assert log.topics() == []
    topic = log.topic("views", retention=60)
    with pytest.raises(error):
        topic.alter(**options)
    assert topic.retention == 60


def test_a_deleted_topic_cannot_be_altered(log):
    """Also when another has its name."""
    topic = log.topic("views")
    log.delete_topic("views")
    log.topic("views")
    with pytest.raises(eventlog.UnknownTopic):
        topic.alter(retention=1)


def test_the_budget_is_the_time_that_it_may_take(log):
    """It ends after a slice, says that there is more, and goes on with the next call."""
    topic = log.topic("views", retention_bytes=0)
    fill(topic, 500)
    report = log.clean(budget=0)
    assert 0 < report.batch_count < 500
    assert not report.is_finished
    assert log.clean().is_finished
    assert topic.bounds() == {0: (500, 500)}


# -- the background ------------------------------------------------------------------------------------------


def test_a_log_with_a_retention_cleans_itself(path: Path):
    """In a thread that begins with the first topic that needs it, and ends with the log."""
    with eventlog.open(path) as log:
        log.topic("kept").append(b"x")
        assert "eventlog-cleaner" not in _threads()
        topic = log.topic("views", retention=0.05)
        topic.append(b"a")
        assert "eventlog-cleaner" in _threads()
        _wait_for(lambda: topic.bounds() == {0: (1, 1)})
        assert log.topic("kept").bounds() == {0: (0, 1)}
    assert "eventlog-cleaner" not in _threads()


def test_a_topic_that_is_altered_is_cleaned_from_then_on(path: Path):
    """Without opening anything again."""
    with eventlog.open(path) as log:
        topic = log.topic("views")
        topic.append(b"a", timestamp_ms=0)
        topic.alter(retention=1)
        _wait_for(lambda: topic.bounds() == {0: (1, 1)})


def test_a_cleaner_that_is_behind_makes_no_pause(path: Path, monkeypatch: pytest.MonkeyPatch):
    """Appends of many megabytes a second would fill the disk meanwhile; a pass that frees little is followed by one."""
    with eventlog.open(path, cleaner=False) as log:
        cleaner = log._store._made_cleaner()
        freed, told = [5 << 20, 1 << 20, 100, 1 << 20, 0], []

        def clean(*_: object, **__: object) -> CleanReport:
            told.append(freed.pop(0))
            cleaner._is_stopped = not freed
            return CleanReport(1, 1, told[-1], (), is_finished=True)

        class Wakeup:
            def acquire(self, *, timeout: float) -> None:
                told.append("pause" if timeout > 0 else "none")

            def release(self) -> None:
                pass

        monkeypatch.setattr(cleaner, "clean", clean)
        monkeypatch.setattr(cleaner, "_wakeup", Wakeup())
        cleaner._run()
        assert told == [5 << 20, 1 << 20, 100, "pause", 1 << 20, 0, "pause"]


def test_a_log_without_a_cleaner_keeps_all(path: Path):
    """Until somebody cleans it."""
    with eventlog.open(path, cleaner=False) as log:
        topic = log.topic("views", retention=0)
        topic.append(b"a", timestamp_ms=0)
        assert "eventlog-cleaner" not in _threads()
        assert topic.bounds() == {0: (0, 1)}


def _threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def _wait_for(condition) -> None:
    deadline_s = time.monotonic() + PATIENCE_SECONDS
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline_s
        pause.wait(0.02)
