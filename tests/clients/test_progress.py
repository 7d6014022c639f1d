"""No partition holds up another: not by a backlog, not by being first each time, not by ceaseless arrivals."""

from __future__ import annotations

import itertools
import re
from collections import Counter

import pytest

import eventlog
from tests.clients.helpers import flip_last_bit, rewrite_batch
from tests.clients.members import hold_time

LARGE = b"x" * 1000
BACKLOG = 4000
"""Records, of a kilobyte each: four fetches."""


@pytest.fixture
def time(monkeypatch):
    """A clock that moves when it is told to."""
    return hold_time(monkeypatch)


@pytest.fixture
def bulk(log):
    """A partition with a backlog."""
    topic = log.topic("bulk")
    for _ in range(BACKLOG // 100):
        topic.append_many([LARGE] * 100)
    return topic


MANNERS = [{"group": "g", "session_timeout": 1e6}, {"group": "g", "auto_commit": False, "session_timeout": 1e6}, {}]


# --- arrivals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", MANNERS)
def test_an_arrival_in_another_topic_does_not_wait_for_the_whole_fetch(log, bulk, time, options):
    """A loop has it after a few more records, with nothing lost and the order of each partition kept."""
    control = log.topic("control")
    offsets = []
    with log.consumer(bulk, control, **options) as consumer:
        for number, record in enumerate(consumer):
            if record.topic == "control":
                break
            offsets.append(record.offset)
            time.now_s += 0.001
            if number == 300:
                control.append(b"stop")
        assert len(offsets) < 300 + 100, "as much as the work of a tenth of a second"
        while len(offsets) < BACKLOG:
            offsets.append(next(iter(consumer)).offset)
        assert offsets == list(range(BACKLOG))


def test_slow_work_does_not_keep_an_arrival_waiting(log, bulk, time):
    """A loop asks after each record, if each takes long."""
    control = log.topic("control")
    with log.consumer(bulk, control) as consumer:
        for number, record in enumerate(consumer):
            time.now_s += 1.0
            if number == 30:
                control.append(b"stop")
            if record.topic == "control":
                break
        assert number <= 32


def test_a_poll_hands_out_an_arrival_first(log, bulk, time):
    """What was fetched of the others is kept, and goes on where it was."""
    control = log.topic("control")
    with log.consumer(bulk, control) as consumer:
        assert {record.topic for record in consumer.poll()} == {"bulk"}
        control.append_many([b"1", b"2"])
        time.now_s += 1.0
        records = consumer.poll(max_records=3)
        assert [(record.topic, record.offset) for record in records] == [("control", 0), ("control", 1), ("bulk", 500)]
        control.append(b"3")
        time.now_s += 1.0
        assert [batch.topic for batch in consumer.poll_batches()][:2] == ["control", "bulk"]


def test_one_of_many_partitions_is_found(log, bulk, time):
    """The order of the log tells which of them have more."""
    many = log.topic("many", partitions=100)
    with log.consumer(bulk, many) as consumer:
        consumer.poll(max_records=1)
        many.append(b"1", partition=77)
        time.now_s += 1.0
        assert [(record.topic, record.partition) for record in consumer.poll(max_records=1)] == [("many", 77)]
        many.append_many([b"2"], partition=3)
        many.append_many([b"2"], partition=4)
        time.now_s += 1.0
        assert {record.partition for record in consumer.poll(max_records=2)} == {3, 4}


def test_a_partition_that_appears_is_found_before_the_backlog_is_done(log, bulk, time):
    """Without a group too, where nobody assigns it."""
    with log.consumer(re.compile("bulk|control")) as consumer:
        consumer.poll(max_records=1)
        log.topic("control").append(b"1")
        time.now_s += 1.0
        assert [record.topic for record in consumer.poll(max_records=1)] == ["control"]


def test_paused_partitions_and_those_that_cannot_be_read_are_left_out(log, bulk, time):
    """The error comes when it is their turn, and not at each poll."""
    control, broken = log.topic("control"), log.topic("broken")
    with log.consumer(bulk, control, broken) as consumer:
        consumer.pause(("control", 0))
        consumer.poll(max_records=1)
        control.append(b"1")
        broken.append(b"1")
        rewrite_batch(broken, 0, flip_last_bit)
        for _ in range(5):
            time.now_s += 1.0
            assert [record.topic for record in consumer.poll(max_records=1)] == ["bulk"]
        consumer.resume(("control", 0))
        found = set()
        for _ in range(3):
            time.now_s += 1.0
            found.update(record.topic for record in consumer.poll(max_records=1))
        assert found == {"bulk", "control"}
        with pytest.raises(eventlog.CorruptBatch):
            any(not consumer.poll() for _ in range(BACKLOG))


@pytest.mark.parametrize("manner", ["loop", "poll", "batches"])
def test_ceaseless_arrivals_do_not_hold_up_a_backlog(log, bulk, time, manner):
    """What comes first is not always what came last: each gets its share."""
    control = log.topic("control", partitions=3)
    counts: Counter[str] = Counter()
    with log.consumer(bulk, control) as consumer:
        records = iter(consumer)
        while counts["bulk"] < BACKLOG:
            if manner == "loop":
                batch = list(itertools.islice(records, 20))
            elif manner == "poll":
                batch = consumer.poll(max_records=100)
            else:
                batch = [record for batch in consumer.poll_batches() for record in batch.records()]
            counts.update(record.topic for record in batch)
            for partition in range(3):
                control.append_many([LARGE] * 200, partition=partition)
            time.now_s += 0.01
            assert counts.total() < 30 * BACKLOG, counts
        assert counts["control"] > 0


# --- beginnings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["member", "static", "chosen", "loop"])
def test_short_jobs_serve_all_partitions(log, how):
    """Each job of a group begins with another partition; so each partition gets its share."""
    numbers = log.topic("numbers", partitions=4)
    for partition in range(4):
        numbers.append_many([b"1"] * 1000, partition=partition)
    for _ in range(100):
        options = {"instance_id": "one"} if how == "static" else {}
        with log.consumer(*([] if how == "chosen" else [numbers]), group="jobs", **options) as consumer:
            if how == "chosen":
                consumer.assign([("numbers", partition) for partition in range(4)])
            if how == "loop":
                list(itertools.islice(consumer, 10))
            else:
                consumer.poll(max_records=10)
            consumer.commit()
    committed = [one.committed for one in log.groups.describe("jobs").offsets]
    assert len(committed) == 4
    assert sum(committed) == 1000
    assert min(committed) >= 150, committed


def test_one_partition_that_stops_every_job_does_not_stop_the_others(log):
    """As a record that no codec can read, or that kills its process."""
    numbers = log.topic("numbers", partitions=4)
    for partition in range(4):
        numbers.append_many([b"1"] * 1000, partition=partition)
    for _ in range(100):
        with log.consumer(numbers, group="jobs") as consumer:
            records = consumer.poll(max_records=10)
            if records[0].partition != 2:
                consumer.commit()
    committed = {one.partition: one.committed for one in log.groups.describe("jobs").offsets}
    assert committed[2] == 0
    assert min(committed[partition] for partition in (0, 1, 3)) >= 150, committed
