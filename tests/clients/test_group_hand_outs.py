"""
A member hands out no record after the end of its lease, whatever it was busy with when its process was stopped.

The clock stands still here and jumps where a process may be stopped; real stops are in `tests/groups/`.
"""

from __future__ import annotations

import pytest

from eventlog.clients.consumer.fetcher import Fetcher
from tests.clients.helpers import values
from tests.clients.members import QUIET, hold_time, owned, settle


@pytest.fixture
def topic(log):
    """A hundred numbers in one partition."""
    topic = log.topic("orders", value=int)
    topic.append_many(range(100))
    return topic


@pytest.fixture
def time(monkeypatch):
    """A clock that moves when it is told to."""
    return hold_time(monkeypatch)


SHORT = QUIET | {"session_timeout": 1.0}
LONG = QUIET | {"session_timeout": 100.0}


def take_over(log, time):
    """Another member, which has everything after the lease of the first has ended."""
    time.now_s += 2.0
    other = log.consumer("orders", **LONG)
    records = settle(other)
    assert owned(other) == [0]
    return other, records


@pytest.mark.parametrize("in_hand", [1, 2, 16, 17, 50])
def test_a_loop_asks_for_the_time_before_each_record(log, topic, time, in_hand):
    """No thread has to notice first that the lease is over: the heartbeat may come later than the loop."""
    with log.consumer("orders", **SHORT) as one:
        records = iter(one)
        before = [next(records).value for _ in range(in_hand)]
        assert before == list(range(in_hand))
        other, again = take_over(log, time)
        with other:
            assert again, "the other has what was not finished"
            topic.append(100)
            one.wakeup()
            assert list(records) == []
            assert values(other.poll()) == [100]


def test_a_loop_goes_on_with_the_same_record_if_nobody_took_it(log, topic, time):
    """The member asks whether it is one still, and none is skipped or comes twice."""
    with log.consumer("orders", **SHORT) as one:
        records = iter(one)
        found = []
        for _ in range(100):
            found.append(next(records).value)
            if len(found) % 7 == 0:
                time.now_s += 2.0
        assert found == list(range(100))
        assert one.position(("orders", 0)) == 100


@pytest.mark.parametrize("how", ["poll", "poll_batches"])
def test_a_poll_asks_for_the_time_when_all_is_ready(log, topic, time, how, monkeypatch):
    """Between its look at the lease and its return it reads and decodes."""
    take = Fetcher.take
    others = []

    def stopped(self, *arguments, **options):
        batches = take(self, *arguments, **options)
        if batches and not others:
            others.append(None)
            others[0], records = take_over(log, time)
            assert sorted(values(records)) == list(range(100))
        return batches

    with log.consumer("orders", **SHORT) as one:
        monkeypatch.setattr(Fetcher, "take", stopped)
        assert list(getattr(one, how)()) == []
        with others[0] as other:
            topic.append(100)
            assert values(other.poll()) == [100]


def test_a_poll_whose_lease_nobody_took_returns_what_it_has_read(log, topic, time, monkeypatch):
    """It confirms, and reads again."""
    take = Fetcher.take
    stops = []

    def stopped(self, *arguments, **options):
        batches = take(self, *arguments, **options)
        if batches and len(stops) < 3:
            stops.append(None)
            time.now_s += 2.0
        return batches

    monkeypatch.setattr(Fetcher, "take", stopped)
    with log.consumer("orders", **SHORT) as one:
        assert values(one.poll()) == list(range(100))
        assert len(stops) == 3


def test_a_commit_that_was_refused_ends_a_loops_batch(log, topic, time):
    """Also if the lease of the member that comes back runs: the batch is of the partition as it was."""
    with log.consumer("orders", **SHORT) as one:
        records = iter(one)
        assert next(records).value == 0
        one._core.membership.invalidate()
        one._core.membership._lease.beat()
        assert next(records.__iter__()).value == 1, "after another look at the group"
        assert one._core.membership._view is not None


@pytest.mark.parametrize("max_records", [100, 10])
def test_a_processor_calls_its_function_with_nothing_late(log, topic, time, max_records):
    """Its process is stopped in the middle of a transaction: the rest of the poll is not its own any more."""
    called = []
    others = []

    def work(tx, record):
        called.append(record.value)
        if record.value == 3:
            others.append(take_over(log, time)[0])

    with log.processor("orders", function=work, group="g", max_records=max_records, session_timeout=1.0) as processor:
        while not others:
            processor._worker.process(0.0)
        (other,) = others
        with other:
            processor._worker.process(0.0)
            assert called == [0, 1, 2, 3], "and the transaction is not stored"
            assert other.committed(("orders", 0)) in {None, 0, 1, 2, 3}
