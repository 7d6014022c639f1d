"""Compaction by key and repacking: what goes, what stays, and what readers see of it."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog import testing
from tests.clients.compaction import keys_of, newest, records, write

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture
def clock() -> testing.ManualClock:
    """A clock that the test moves."""
    return testing.ManualClock()


@pytest.fixture
def log(clock: testing.ManualClock) -> eventlog.EventLog:
    """A log in memory, which nobody cleans in the background."""
    with testing.open(clock=clock) as log:
        yield log


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("index", [None, "key"])
def test_the_newest_record_of_each_key_stays_as_it_was(log, seed, index):
    """Offset, position, timestamp and headers; the other topic loses nothing, and verify finds all in order."""
    chance = random.Random(seed)
    topic = log.topic("users", key=str, value=str, partitions=3, compaction="key", index=index)
    for _ in range(4):
        write(log, topic, 60, chance)
        before, others, end = records(log, "users"), records(log, "others"), log.end_log_position()
        versions = {key: topic.version(key) for key in keys_of(topic)} if index else {}
        bounds = topic.bounds()
        report = log.clean()
        after = records(log, "users")
        assert after == newest(before)
        assert report.record_count == len(before) - len(after)
        assert (report.is_finished, report.failed) == (True, ())
        assert (records(log, "others"), log.end_log_position(), topic.bounds()) == (others, end, bounds)
        assert [record for _, record in after] == sorted(topic.read(), key=lambda one: after_position(after, one))
        if index:
            assert {key: topic.version(key) for key in keys_of(topic)} == versions
            found = sorted((event.log_position, event) for key in keys_of(topic) for event in topic.history(key))
            assert [(position, event.offset, event.value) for position, event in found] == [
                (position, record.offset, record.value) for position, record in after
            ]
        assert log.verify().problems == ()


def after_position(found: list[tuple[int, Any]], wanted: Any) -> int:
    """The position of a record."""
    return next(position for position, record in found if record == wanted)


def test_reading_begins_at_the_next_record(log):
    """At an offset that is gone, by offset, by position, by time and by a consumer, which waits for nothing."""
    topic = log.topic("users", key=str, value=int, compaction="key")
    for number in range(100):
        topic.append(number, key="a" if number % 10 else f"k{number}", timestamp_ms=number)
    log.clean()
    left = [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99]
    for start in range(100):
        behind = [offset for offset in left if offset >= start]
        assert [record.offset for record in topic.read(start=start)] == behind
        assert [position for position, _ in log.read_all(start)] == behind
        with log.consumer("users", start=start) as consumer:
            assert [record.offset for record in consumer.poll(timeout=0)] == behind
            consumer.seek(("users", 0), start)
            assert [record.offset for record in consumer.poll(timeout=0)] == behind


def test_a_consumer_goes_on_where_nothing_is_left_of_a_fetch(log):
    """Batches whose records are all before it bring nothing, and must not end its search."""
    topic = log.topic("users", key=str, value=bytes, compaction="key")
    for number in range(40):
        topic.append(random.Random(number).randbytes(30_000), key="a" if number % 2 else f"k{number}")
    log.clean()
    with log.consumer("users", start=1, fetch_max_bytes=1024) as consumer:
        offsets = []
        while found := consumer.poll(timeout=0):
            offsets += [record.offset for record in found]
    assert offsets == [*range(2, 40, 2), 39]


def test_tombstones_leave_after_their_retention(log, clock):
    """Counted from the round that could drop them; those of deleted keys do not come back."""
    topic = log.topic("users", key=str, value=str, compaction="key", tombstone_retention=60, min_dirty_ratio=0)
    for value in ("1", "2", None):
        topic.append(value, key="a")
    topic.append("1", key="b")
    clock.advance(1000)
    log.clean()
    assert [(record.key, record.value) for record in topic.read()] == [("a", None), ("b", "1")]
    clock.advance(59)
    assert log.clean().record_count == 0
    clock.advance(1)
    assert log.clean().record_count == 1
    assert [(record.key, record.value) for record in topic.read()] == [("b", "1")]
    assert (topic.bounds(), log.verify().problems) == ({0: (0, 4)}, ())


def test_a_tombstone_in_a_batch_that_stays_whole_leaves_later(log, clock):
    """The round that passed it by has noted it, though it replaced only batches behind it."""
    topic = log.topic("users", key=str, value=str, compaction="key", tombstone_retention=60, min_dirty_ratio=0)
    topic.append(None, key="a")
    topic.append_many(["1", "2"], keys=["b", "b"])
    assert log.clean().record_count == 1
    clock.advance(60)
    assert log.clean().record_count == 1
    assert [(record.key, record.value) for record in topic.read()] == [("b", "2")]


def test_the_newest_record_stays_even_if_it_is_a_tombstone(log, clock):
    """Until there is another one."""
    topic = log.topic("users", key=str, value=str, compaction="key", tombstone_retention=0, min_dirty_ratio=0)
    topic.append("1", key="a")
    topic.append(None, key="a")
    for _ in range(3):
        log.clean()
        clock.advance(10)
    assert [record.offset for record in topic.read()] == [1]
    topic.append("1", key="b")
    assert log.clean().is_finished
    assert [record.offset for record in topic.read()] == [2]


def test_young_records_are_left_alone(log, clock):
    """From the first batch on that has one."""
    topic = log.topic("users", key=str, value=int, compaction="key", compaction_lag=60, min_dirty_ratio=0)
    for number in range(5):
        topic.append(number, key="a")
    clock.advance(61)
    for number in range(5):
        topic.append(number, key="a")
    log.clean()
    assert [record.offset for record in topic.read()] == [4, 5, 6, 7, 8, 9]
    clock.advance(61)
    log.clean()
    assert [record.offset for record in topic.read()] == [9]


def test_a_partition_is_compacted_when_enough_of_it_is_dirty(log):
    """The share of the bytes since the last round is measured."""
    topic = log.topic("users", key=str, value=bytes, compaction="key", min_dirty_ratio=0.5)
    for number in range(20):
        topic.append(bytes(100), key=f"k{number}")
    log.clean()
    topic.append(bytes(100), key="k0")
    assert log.clean().record_count == 0
    for number in range(20):
        topic.append(bytes(100), key=f"k{number}")
    assert log.clean().record_count == 21


def test_a_record_is_compacted_at_the_latest_after_the_longest_lag(log, clock):
    """However little of the partition is new."""
    topic = log.topic("users", key=str, value=bytes, compaction="key", min_dirty_ratio=1, max_compaction_lag=60)
    for number in range(20):
        topic.append(bytes(100), key=f"k{number}")
    topic.append(bytes(100), key="k0")
    clock.advance(60)
    assert log.clean().record_count == 1
    topic.append(bytes(100), key="k0")
    clock.advance(59)
    assert log.clean().record_count == 0
    topic.append(bytes(100), key="k1")
    clock.advance(1)
    assert log.clean().record_count == 2
    topic.append(bytes(100), key="k2")
    topic.alter(max_compaction_lag=None)
    clock.advance(1000)
    assert (topic.max_compaction_lag, log.clean().record_count) == (None, 0)


def test_the_background_lets_few_bytes_wait_and_then_compacts_them(log, clock):
    """A changelog of a few keys never has enough of them at once; one that has does not wait."""
    topic = log.topic("users", key=str, value=bytes, compaction="key")
    cleaner = log._store._made_cleaner()
    for _ in range(20):
        topic.append(bytes(100), key="a")
    clock.advance(14.9)
    assert cleaner.clean(None, in_background=True).record_count == 0
    clock.advance(0.2)
    assert cleaner.clean(None, in_background=True).record_count == 19
    clock.advance(60)
    assert cleaner.clean(None, in_background=True).record_count == 0
    topic.append(bytes(1 << 16), key="a")
    assert cleaner.clean(None, in_background=True).record_count == 1


def test_records_without_a_key_are_refused(log):
    """By every way of appending; what was stored before the topic was compacted stays."""
    topic = log.topic("users")
    topic.append_many([b"1", b"2"])
    topic.alter(compaction="key")
    for append in (lambda: topic.append(b"3"), lambda: topic.append_many([b"3"]), lambda: _send(log, b"3")):
        with pytest.raises(eventlog.KeyRequired, match="Nothing was stored"):
            append()
    with pytest.raises(eventlog.KeyRequired):
        topic.append_many([b"3", b"4"], keys=[b"k", None])
    with pytest.raises(eventlog.KeyRequired), log.transaction() as tx:
        tx.send("users", b"3")
    topic.append_many([b"3", b"4"], keys=[b"k", b"k"])
    log.clean()
    assert [record.value for record in topic.read()] == [b"1", b"2", b"4"]


def _send(log: eventlog.EventLog, value: bytes) -> None:
    with log.producer() as producer:
        producer.send("users", value)


def test_options_are_stored_and_altered(log):
    """And differ from what is stored only by `alter`."""
    topic = log.topic("users", compaction="key", compaction_lag=5, tombstone_retention=7, min_dirty_ratio=0.25)
    assert (topic.compaction, topic.compaction_lag, topic.tombstone_retention, topic.min_dirty_ratio) == (
        "key",
        5.0,
        7.0,
        0.25,
    )
    with pytest.raises(eventlog.TopicMismatch, match=r"alter\(compaction_lag=6\)"):
        log.topic("users", compaction_lag=6)
    with pytest.raises(eventlog.TopicMismatch, match=r"alter\(max_compaction_lag=9\)"):
        log.topic("users", max_compaction_lag=9)
    topic.alter(max_compaction_lag=9)
    assert log.topic("users", max_compaction_lag=9.0).max_compaction_lag == 9.0
    with pytest.raises(ValueError, match="at least compaction_lag, 10 s"):
        topic.alter(compaction_lag=10)
    topic.alter(compaction_lag=6, repack_after=60)
    assert log.topic("users", compaction="key", compaction_lag=6, repack_after=60).repack_after == 60
    topic.alter(compaction=None)
    assert (topic.compaction, topic.compaction_lag, topic.min_dirty_ratio, topic.repack_after) == (None, 0.0, 0.5, 60.0)
    assert topic.max_compaction_lag is None
    topic.append(b"without a key")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"compaction": "offset"}, ValueError),
        ({"compaction_lag": 5}, ValueError),
        ({"tombstone_retention": 5}, ValueError),
        ({"min_dirty_ratio": 0.5}, ValueError),
        ({"compaction": "key", "min_dirty_ratio": 1.5}, ValueError),
        ({"compaction": "key", "compaction_lag": -1}, ValueError),
        ({"max_compaction_lag": 5}, ValueError),
        ({"compaction": "key", "max_compaction_lag": 0}, ValueError),
        ({"compaction": "key", "compaction_lag": 6, "max_compaction_lag": 5}, ValueError),
        ({"compaction": "key", "tombstone_retention": "1 day"}, TypeError),
        ({"repack_after": -1}, ValueError),
    ],
)
def test_wrong_options_change_nothing(log, options, error):
    """They are refused before anything is made or altered."""
    with pytest.raises(error):
        log.topic("users", **options)
    assert log.topics() == []
    topic = log.topic("users")
    with pytest.raises(error):
        topic.alter(**options)
    assert topic.compaction is None


def test_an_older_format_has_to_be_upgraded(tmp_path):
    """Its batches cannot say what merged ones have to."""
    shutil.copytree(GOLDEN / "log-v3", tmp_path / "log")
    with eventlog.open(tmp_path / "log") as log:
        for use in (
            lambda: log.topic("users", compaction="key"),
            lambda: log.topic("users", repack_after=1),
            lambda: log.topic("plain").alter(compaction="key"),
        ):
            with pytest.raises(eventlog.FormatTooOld, match="eventlog upgrade"):
                use()
        assert "users" not in log.topics()
    with eventlog.open(tmp_path / "log", upgrade=True) as log:
        log.topic("users", compaction="key")


def test_histories_are_compacted_only_where_that_was_asked_for(log):
    """A topic that counts versions would lose what its users append by."""
    topic = log.topic("accounts", key=str, index="key")
    with pytest.raises(eventlog.TopicMismatch, match="histories"):
        topic.alter(compaction="key")
    assert topic.compaction is None
    topic.alter(repack_after=0)


def test_versions_go_on(log):
    """A compacted history has its newest event; the next one is appended at the version that comes next."""
    topic = log.topic("accounts", key=str, value=int, index="key", compaction="key", tombstone_retention=0)
    for version in range(300):
        topic.append(version, key="a", expected_version=version)
        topic.append(version, key=f"b{version % 7}")
    topic.save_snapshot("a", {"sum": 1}, version=300)
    log.clean()
    assert [(event.version, event.value) for event in topic.history("a")] == [(300, 299)]
    assert (topic.latest("a").version, topic.version("a"), topic.snapshot("a").version) == (300, 300, 300)
    topic.append(7, key="a", expected_version=300)
    with pytest.raises(eventlog.WrongVersion):
        topic.append(7, key="a", expected_version=300)
    topic.append(None, key="a", expected_version=301)
    topic.append(0, key="z")
    topic.alter(min_dirty_ratio=0)
    log.clean()
    assert list(topic.history("a")) == []
    assert (topic.latest("a"), topic.version("a")) == (None, 302)
    assert topic.append(8, key="a", expected_version=302).version == 303
    assert log.verify().problems == ()


def test_message_ids_are_remembered_for_longer_than_their_records(log):
    """A record that was sent again is not stored again because compaction has taken it."""
    topic = log.topic("users", key=str, value=int, compaction="key")
    first = topic.append(1, key="a", message_id="1")
    topic.append(2, key="a", message_id="2")
    log.clean()
    assert topic.append(1, key="a", message_id="1").offset == first.offset
    assert [record.value for record in topic.read()] == [2]
    assert log.verify().problems == ()


def test_groups_keep_their_offsets_and_read_what_is_left(log):
    """A lag counts offsets, also of records that are gone."""
    topic = log.topic("users", key=str, value=int, compaction="key")
    for number in range(50):
        topic.append(number, key=f"k{number % 5}")
    with log.consumer("users", group="g", max_poll_records=10, start="earliest") as consumer:
        consumer.poll(timeout=1)
        consumer.commit()
    log.clean()
    described = log.groups.describe("g").offsets[0]
    assert (described.committed, described.lag) == (10, 40)
    with log.consumer("users", group="g") as consumer:
        assert [record.offset for record in consumer.poll(timeout=1)] == [45, 46, 47, 48, 49]
        consumer.commit()
    assert log.groups.describe("g").offsets[0].lag == 0


def test_a_projection_behind_a_compaction_is_told_of_nothing(log):
    """It folds the newest record of each key: the others are not lost to it, they are old."""
    topic = log.topic("users", key=str, value=int, compaction="key")

    def fold(state: Any, record: Any) -> None:
        state[record.key] = record.value

    projection = log.projection("values", fold, key=str, value=int)
    for number in range(50):
        topic.append(number, key=f"k{number % 5}")
        if number == 20:
            projection.catch_up()
    log.clean()
    projection.catch_up()
    assert dict(projection.state.items()) == {f"k{number}": 45 + number for number in range(5)}


def test_a_copy_has_what_is_left(log):
    """And its offsets lead on."""
    topic = log.topic("users", key=str, value=int, compaction="key")
    for number in range(50):
        topic.append(number, key=f"k{number % 5}")
    log.clean()
    copy = log.copy_topic("users", to="copy")
    assert [record.value for record in copy.topic.read()] == [45, 46, 47, 48, 49]
    assert [copy.offset(0, offset) for offset in (0, 44, 45, 49, 50)] == [0, 0, 0, 4, 5]


def test_retention_and_compaction_go_together(log, clock):
    """As Kafka's policy compact,delete: both take what is theirs."""
    topic = log.topic("users", key=str, value=int, compaction="key", retention=60, min_dirty_ratio=0)
    for number in range(50):
        topic.append(number, key=f"k{number % 5}")
        clock.advance(1)
    log.clean()
    assert [record.offset for record in topic.read()] == [45, 46, 47, 48, 49]
    clock.advance(58)
    log.clean()
    clock.advance(58)
    log.clean()
    assert list(topic.read()) == []
    topic.append(1, key="k")
    topic.append(2, key="k")
    log.clean()
    assert [record.offset for record in topic.read()] == [51]
    assert log.verify().problems == ()


def test_records_are_deleted_in_the_middle_of_a_merged_batch(log):
    """The rest is read, and goes when it is its turn."""
    topic = log.topic("users", key=str, value=int, compaction="key", min_dirty_ratio=0)
    for number in range(50):
        topic.append(number, key=f"k{number % 5}")
    log.clean()
    topic.delete_records({0: 47})
    assert [record.offset for record in topic.read()] == [47, 48, 49]
    topic.append(1, key="k4")
    log.clean()
    assert [record.offset for record in topic.read()] == [47, 48, 50]
    log.delete_topic("users")
    assert log.verify().problems == ()
