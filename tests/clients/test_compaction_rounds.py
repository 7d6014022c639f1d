"""Rounds of compaction and repacking: their bounds, what they merge, and what happens beside them."""

from __future__ import annotations

import random
from pathlib import Path

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


# -- rounds --------------------------------------------------------------------------------------------------


def test_a_round_goes_on_where_a_budget_ended_it(log):
    """However short the budgets are, it comes to its end."""
    topic = log.topic("users", key=str, value=bytes, compaction="key")
    chance = random.Random(1)
    for number in range(300):
        topic.append(chance.randbytes(20_000), key=f"k{chance.randrange(3)}-{number % 100}")
    before = records(log, "users")
    reports = []
    while not (report := log.clean(budget=0)).is_finished:
        reports.append(report)
        assert log.verify().problems == ()
    assert len(reports) > 5
    assert records(log, "users") == newest(before)


def test_few_records_of_a_topic_with_an_index_go_in_one_slice(log, monkeypatch):
    """However many of a batch, or of two, are to go: each slice holds up writers for a short time."""
    from eventlog.store.cleaning.compaction import Pace

    monkeypatch.setattr(Pace, "learn", lambda *_: None)
    topic = log.topic("users", key=str, value=int, index="key", compaction="key")
    for many in (256, 256, 300, 1, 700, 255):
        topic.append_many(list(range(many)), keys=[f"k{number % 3}" for number in range(many)])
    before = records(log, "users")
    counts = []
    while not (report := log.clean(budget=0)).is_finished:
        counts.append(report.record_count)
    assert max(counts) == 256
    assert sum(counts) + report.record_count == len(before) - 3
    assert records(log, "users") == newest(before)
    assert log.verify().problems == ()


def test_a_round_is_bounded_in_memory(log, monkeypatch):
    """What does not fit into its map is left to the next round."""
    from eventlog.store.cleaning import compaction
    from eventlog.store.cleaning import newest as rules

    monkeypatch.setattr(compaction, "NewestOffsets", lambda: rules.NewestOffsets(2000))
    topic = log.topic("users", key=str, value=str, compaction="key", min_dirty_ratio=0)
    write(log, topic, 100, random.Random(2), keys=30)
    before = records(log, "users")
    assert log.clean().is_finished
    assert records(log, "users") == newest(before)


def test_a_damaged_topic_is_named_and_the_others_are_compacted(log, caplog):
    """It is told to Python's log once, and nothing is raised."""
    from eventlog.store.lmdb.environment import BATCHES
    from eventlog.store.rows.tables import batch_key
    from tests.store.test_verification import change

    damaged = log.topic("damaged", key=str, value=int, compaction="key")
    sound = log.topic("sound", key=str, value=int, compaction="key")
    for topic in (damaged, sound):
        for number in range(10):
            topic.append(number, key="a")
    key = batch_key(log._store.topic("damaged").id, 0, 4)
    change(log, BATCHES, key, lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    for _ in range(2):
        assert log.clean().failed == ("damaged",)
    assert [record.offset for record in sound.read()] == [9]
    assert log.stats().uncleaned == ("damaged",)
    assert ["The compaction of topic 'damaged' fails" in record.message for record in caplog.records] == [True]


# -- repacking -----------------------------------------------------------------------------------------------


def test_small_batches_become_full_ones_and_nothing_changes(log, clock):
    """For every reader; those that are too young stay as they are."""
    topic = log.topic("events", key=str, value=str, partitions=2, index="key", repack_after=60)
    write(log, topic, 400, random.Random(3))
    topic.append("last", key="k1", message_id="m")
    before, versions = list(log.read_all()), {key: topic.version(key) for key in keys_of(topic)}
    assert log.clean().batch_count == 0
    clock.advance(61)
    count = log.verify().batch_count
    report = log.clean()
    assert report.record_count == 0
    assert log.verify().batch_count == count - report.batch_count
    [stats] = [one for one in log.stats().topics if one.topic == "events"]
    assert stats.batch_count < 30
    assert list(log.read_all()) == before
    assert {key: topic.version(key) for key in keys_of(topic)} == versions
    assert topic.append("last", key="k1", message_id="m").offset == before[-1][1].offset
    assert log.verify().problems == ()
    assert log.clean().batch_count == 0


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_what_is_merged_is_compressed_as_its_topic_says(log, compression):
    """Also what was stored before; a batch then has more records than fit into one that is not compressed."""
    topic = log.topic("events", key=str, value=str, compaction="key", repack_after=0)
    for number in range(3000):
        topic.append(
            f'{{"number": {number}, "name": "a name that comes again and again"}}' * 3, key=f"k{number % 2000}"
        )
    before = records(log, "events")
    topic.alter(compression=compression)
    log.clean()
    assert records(log, "events") == newest(before)
    stats = log.stats()
    assert stats.topics[0].batch_count <= 3
    assert stats.stored_bytes < 2000 * 200 / 3
    assert stats.record_count == 2000
    assert log.verify().problems == ()


def test_large_batches_are_not_repacked(log):
    """They are as full as they can be."""
    topic = log.topic("events", repack_after=0)
    for _ in range(10):
        topic.append(bytes(50_000))
    assert log.clean().batch_count == 0
    for _ in range(20):
        topic.append(b"x")
    assert log.clean().batch_count == 19


def test_a_processor_beside_compaction_ends_with_the_newest_of_each_key(log, rng):
    """It goes on behind what is gone, and meets the records of a key in their order."""
    users = log.topic("users", key=str, value=int, partitions=2, compaction="key", compaction_lag=0)
    newest_values: dict[str, int] = {}

    def fold(tx, record):
        state = tx.state("newest", key=str, value=int)
        if record.value is None and record.key in state:
            del state[record.key]
        elif record.value is not None:
            assert state.get(record.key, -1) < record.value
            state[record.key] = record.value

    for step in range(20):
        for number in range(rng.randrange(40)):
            key, value = f"k{rng.randrange(8)}", None if rng.random() < 0.1 else step * 100 + number
            users.append(value, key=key)
            newest_values[key] = value
        if rng.random() < 0.5:
            log.clean(budget=rng.choice([0, 1]))
        if rng.random() < 0.7 or step == 19:
            with log.processor("users", function=fold, group="fold") as processor:
                processor.run_to_end()
    stored = dict(log.state("newest", key=str, value=int).items())
    assert stored == {key: value for key, value in newest_values.items() if value is not None}
