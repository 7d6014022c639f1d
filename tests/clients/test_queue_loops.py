"""A queue in an event loop of the program: a descriptor to watch, and how long to wait without it."""

from __future__ import annotations

import select
import selectors

import pytest

import eventlog
from eventlog import testing
from tests.clients.helpers import PATIENCE_SECONDS
from tests.clients.queues import values


def is_readable(queue, seconds=0.0):
    """Whether the queue's descriptor is readable, within some seconds."""
    return bool(select.select([queue], [], [], seconds)[0])


def drained(queue):
    """Take what there is, as a loop does; the values."""
    found = []
    while jobs := queue.poll(0):
        found += values(jobs)
    return found


@pytest.fixture
def clock():
    """A clock that a test moves."""
    return testing.ManualClock()


@pytest.fixture
def log(clock):
    """A log in memory by that clock, with a topic."""
    with testing.open(clock=clock) as log:
        log.topic("jobs", key=str, value=int)
        yield log


def test_the_descriptor_is_readable_until_nothing_is_found(log):
    """What was there before is found, and so is what is stored later; then the loop may sleep."""
    jobs = log.topic("jobs")
    jobs.append_many(range(3))
    with log.queue("jobs", group="g") as queue:
        assert queue.fileno() == queue.fileno()
        assert is_readable(queue)
        assert values(queue.poll(0)) == [0]
        assert is_readable(queue), "there are two more"
        assert drained(queue) == [1, 2]
        assert not is_readable(queue)
        jobs.append(3)
        assert is_readable(queue, PATIENCE_SECONDS)
        assert drained(queue) == [3]
        assert not is_readable(queue)


def test_what_another_gives_back_makes_it_readable(log):
    """A job that is given back is for others, though no record was stored."""
    log.topic("jobs").append(1)
    with log.queue("jobs", group="g") as one, log.queue("jobs", group="g") as other:
        (job,) = one.poll()
        other.fileno()
        assert drained(other) == []
        job.release()
        one.commit()
        assert is_readable(other, PATIENCE_SECONDS)
        assert drained(other) == [1]


def test_wakeup_makes_it_readable_once(log):
    """Any thread may have the loop come, which finds nothing and sleeps again."""
    with log.queue("jobs", group="g") as queue:
        queue.fileno()
        assert drained(queue) == []
        queue.wakeup()
        assert is_readable(queue)
        assert drained(queue) == []
        assert not is_readable(queue)


def test_max_wait_knows_when_a_delayed_job_is_due(log, clock):
    """A job becomes due with time, of which no descriptor tells."""
    log.topic("jobs").append(1)
    with log.queue("jobs", group="g") as queue:
        (job,) = queue.poll()
        job.release(delay=0.06)
        assert queue.poll(0) == []
        assert queue.poll(0) == []
        assert 0.05 < queue.max_wait() <= 0.06
        clock.advance(0.05)
        assert queue.max_wait() == pytest.approx(0.01, abs=0.002)
        clock.advance(0.02)
        assert queue.max_wait() == 0.0
        assert values(queue.poll(0)) == [1]
        assert 0.0 < queue.max_wait() <= 0.1, "a commit is new: the loop looks once more"


def test_a_loop_of_selectors_gets_what_another_thread_stores(log):
    """The loop of the documentation, over a queue and with a real wait."""
    with selectors.DefaultSelector() as selector, log.queue("jobs", group="g") as queue:
        selector.register(queue, selectors.EVENT_READ)
        found = []
        log.topic("jobs").append_many([5, 6])
        while len(found) < 2:
            assert selector.select(PATIENCE_SECONDS)
            found += drained(queue)
        assert found == [5, 6]


def test_a_backend_without_descriptors_says_what_to_do(log):
    """The default of the front door names the feature."""
    with log.queue("jobs", group="g") as queue, pytest.raises(eventlog.NotSupported, match="fileno"):
        eventlog.Queue.fileno(queue)
