"""Queues: jobs that are handed out one by one, and acknowledged each; keys, weights, transactions and options."""

from __future__ import annotations

import copy
import threading
from itertools import islice

import pytest

import eventlog
from eventlog import testing
from tests.clients.helpers import PATIENCE_SECONDS, in_threads
from tests.clients.queues import accept_all, counts, open_again, starts, values


@pytest.fixture
def clock():
    """A clock that a test moves."""
    return testing.ManualClock()


@pytest.fixture
def log(clock):
    """A log in memory by that clock, with ten numbers in a topic of one partition."""
    with testing.open(clock=clock) as log:
        log.topic("jobs", key=str, value=int).append_many(range(10))
        yield log


# --- taking and accepting ------------------------------------------------------------------------------------------


def test_each_job_is_done_once_whoever_takes_it(log):
    """Two workers of one partition share its jobs; the loop accepts what its block has done."""
    with log.queue("jobs", group="g") as one, log.queue("jobs", group="g") as other:
        first = one.poll()
        done = []
        for job in islice(other, 9):
            with job:
                done.append(job.value)
        assert values(first) == [0]
        assert done == list(range(1, 10))
        first[0].accept()
        assert accept_all(one) == accept_all(other) == []
    assert counts(log, "g") == {}
    assert starts(log, "g") == [(10, 10)]


def test_a_job_says_what_it_is(log, clock):
    """It is the record, with how often and since when it was handed out."""
    with log.queue("jobs", group="g") as queue:
        (job,) = queue.poll()
        assert isinstance(job, eventlog.Record)
        assert (job.topic, job.partition, job.offset, job.id) == ("jobs", 0, 0, "jobs-0-0")
        assert (job.delivery_count, job.first_delivered_ms, job.state) == (1, clock.now_ms(), "open")
        assert job.remaining == float("inf")
        with pytest.raises(TypeError, match="cannot copy or pickle this Job"):
            copy.copy(job)


def test_what_was_handed_out_is_not_done_before_it_is_accepted(log):
    """The start of a partition moves as all before it is done, in whatever order that is."""
    with log.queue("jobs", group="g") as queue:
        jobs = queue.poll(max_records=4)
        assert starts(log, "g") == [(0, 4)]
        for job, start in zip([jobs[1], jobs[0], jobs[3], jobs[2]], [0, 2, 2, 4], strict=True):
            job.accept()
            queue.commit()
            assert starts(log, "g") == [(start, 4)]
        assert counts(log, "g") == {"ready": 6}


def test_a_job_is_acknowledged_once(log):
    """The second time is an error, and changes nothing."""
    with log.queue("jobs", group="g") as queue:
        (job,) = queue.poll()
        job.accept()
        for again in (job.accept, job.release, job.reject, job.renew):
            with pytest.raises(ValueError, match="it was accepted before"):
                again()
        with job:
            pass
    with pytest.raises(eventlog.LogClosed, match="the queue is closed"):
        queue.poll()


def test_a_poll_wakes_up_for_a_new_record(disk_log):
    """It sleeps until somebody appends."""
    topic = disk_log.topic("jobs", value=int)
    with disk_log.queue(topic, group="g") as queue:
        assert queue.poll(timeout=0.0) == []
        jobs, _ = in_threads(lambda: queue.poll(timeout=PATIENCE_SECONDS), lambda: topic.append(7))
        assert values(jobs) == [7]


def test_wakeup_and_close_end_a_wait(disk_log):
    """Of a poll, and of a loop."""
    topic = disk_log.topic("jobs", value=int)
    queue = disk_log.queue(topic, group="g")
    assert in_threads(lambda: queue.poll(timeout=PATIENCE_SECONDS), queue.wakeup)[0] == []
    assert in_threads(lambda: list(queue), queue.wakeup)[0] == []
    assert in_threads(lambda: list(queue), queue.close)[0] == []
    assert queue.is_closed


def test_a_new_queue_begins_where_it_is_told(log):
    """At the end, or at an offset."""
    with log.queue("jobs", group="late", start="latest") as late, log.queue("jobs", group="mid", start=8) as mid:
        log.topic("jobs").append(10)
        assert accept_all(late) == [10]
        assert accept_all(mid) == [8, 9, 10]


def test_workers_share_what_little_there_is(log):
    """Where there are fewer jobs than all of them want, each gets a share."""
    with log.queue("jobs", group="g") as one, log.queue("jobs", group="g") as other:
        assert values(one.poll(max_records=10)) == [0, 1, 2, 3, 4]
        assert values(other.poll(max_records=10)) == [5, 6, 7]


def test_run_works_in_threads(log):
    """Each job once, by some of the threads; it ends when the queue is closed."""
    done, lock = [], threading.Lock()
    queue = log.queue("jobs", group="g")

    def work(job):
        with lock:
            done.append(job.value)
            if len(done) == 10:
                queue.wakeup()

    queue.run(work, threads=3)
    queue.close()
    assert sorted(done) == list(range(10))
    assert counts(log, "g") == {}


def test_a_job_whose_coroutine_nobody_awaits_is_not_done(log):
    """A lambda that calls a coroutine function is a plain function, and what it returns would be dropped."""

    async def send(job):
        """What is never begun."""

    def work(job):
        queue.wakeup()
        return send(job)

    with log.queue("jobs", group="g") as queue:
        queue.run(work)
    assert counts(log, "g") == {"ready": 9, "delayed": 1}


# --- keys, topics and weights ----------------------------------------------------------------------------------------


def test_jobs_of_one_key_come_one_after_the_other(log, clock):
    """With per_key=1, whoever takes them, and also while one of them waits for its next attempt."""
    topic = log.topic("keyed", key=str, value=int)
    topic.append_many(range(6), keys=["a", "a", "b", "a", "b", "c"])
    patient = {"group": "k", "session_timeout": 1000.0}
    with log.queue("keyed", per_key=1, **patient) as one, log.queue("keyed", **patient) as other:
        first = one.poll(max_records=10)
        assert values(first) == [0, 2, 5]
        assert other.poll() == []
        assert counts(log, "k") == {"leased": 3, "waiting": 3}
        first[0].release(delay=10.0)
        first[1].accept()
        one.commit()
        assert values(other.poll(max_records=10)) == [4]
        clock.advance(10.0)
        (again,) = one.poll(max_records=10)
        assert again.value == 0
        again.accept()
        assert values(one.poll(max_records=10)) == [1]
        assert counts(log, "k") == {"leased": 3, "waiting": 1}
        topic.append(6, key="a")
        assert one.poll() == []
    with log.queue("keyed", group="k") as queue:
        assert accept_all(queue) == [1, 4, 5, 3, 6]
    assert counts(log, "k") == {}


def test_no_tenant_takes_all(log):
    """per_key=2: two jobs of a key at a time; records without a key are never held up."""
    log.topic("keyed", key=str, value=int).append_many(range(7), keys=["a", "a", "a", None, None, None, "b"])
    with log.queue("keyed", group="k", per_key=2) as queue:
        assert values(queue.poll(max_records=10)) == [0, 1, 3, 4, 5, 6]
        assert counts(log, "k") == {"leased": 6, "waiting": 1}


def test_topics_are_taken_by_their_weights(log):
    """And what one has too little of is taken from the others."""
    log.topic("urgent", value=int).append_many(range(100, 120))
    with log.queue("urgent", "jobs", group="g", weights=(3, 1)) as queue:
        taken = [queue.poll()[0].topic for _ in range(16)]
        assert taken.count("urgent") == 12
        assert "jobs" in taken[:4]
        assert [job.topic for job in queue.poll(max_records=14)] == ["urgent"] * 8 + ["jobs"] * 6


def test_the_partitions_of_a_topic_take_turns(log):
    """None of them waits forever."""
    topic = log.topic("wide", value=int, partitions=3)
    for partition in range(3):
        topic.append_many([partition] * 50, partition=partition)
    with log.queue("wide", group="g") as queue:
        assert set(values(job for _ in range(3) for job in queue.poll())) == {0, 1, 2}


# --- transactions ----------------------------------------------------------------------------------------------------


def test_a_job_is_done_exactly_with_what_it_has_done(log):
    """Stored with the records of its transaction, or as it was."""
    log.topic("done", value=int)
    with log.queue("jobs", group="g") as queue:
        (job,) = queue.poll()
        tx = log.transaction()
        tx.send("done", job.value)
        tx.accept(job)
        assert job.state == "accepted"
        tx.abort()
        assert (job.state, counts(log, "g")) == ("open", {"ready": 9, "leased": 1})
        with job, log.transaction() as tx:
            tx.send("done", job.value)
            tx.accept(job)
            with pytest.raises(ValueError, match="it was accepted before"):
                tx.accept(job)
        assert (job.state, counts(log, "g")) == ("accepted", {"ready": 9})
    assert values(log.topic("done").read()) == [0]


def test_a_transaction_with_a_job_of_another_by_now_stores_nothing(log):
    """`LeaseLost`."""
    one = log.queue("jobs", group="g")
    jobs = one.poll(max_records=2)
    one._worker.drop()
    with log.queue("jobs", group="g"):
        tx = log.transaction()
        tx.send("jobs", 99)
        for job in jobs:
            tx.accept(job)
        with pytest.raises(eventlog.LeaseLost, match="offset 0 of partition 0 and 1 more"):
            tx.commit()
        assert 99 not in values(log.topic("jobs").read())
    with eventlog.open(":memory:") as another, pytest.raises(ValueError, match="of another log"):
        another.transaction().accept(open_again(jobs[0]))


# --- names, options, and what records do -----------------------------------------------------------------------------


def test_options_are_stored_with_a_queue(log):
    """One that differs is an error."""
    with log.queue("jobs", group="g", attempts=3, backoff=(0.5, 2.0), per_key=2, timeout=9.0, dead_letters="d"):
        pass
    log.queue("jobs", group="g", attempts=3, backoff=(0.5, 2.0)).close()
    for options in (
        {"attempts": 4},
        {"backoff": (1.0, 2.0)},
        {"per_key": 1},
        {"timeout": 1.0},
        {"dead_letters": False},
    ):
        with pytest.raises(eventlog.QueueMismatch, match=next(iter(options))):
            log.queue("jobs", group="g", **options)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"attempts": 0}, ValueError),
        ({"backoff": (2.0, 1.0)}, ValueError),
        ({"backoff": 1.0}, TypeError),
        ({"per_key": 0}, ValueError),
        ({"weights": (1, 2)}, ValueError),
        ({"weights": (0,)}, ValueError),
        ({"max_poll_records": 0}, ValueError),
        ({"session_timeout": 0.0}, ValueError),
        ({"timeout": 0.0}, ValueError),
        ({"dead_letters": "jobs"}, ValueError),
        ({"start": "middle"}, ValueError),
        ({"grup": "g"}, TypeError),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_options_make_nothing(log, options, error):
    """Neither a queue nor a topic."""
    with pytest.raises(error):
        log.queue("jobs", **{"group": "g"} | options)
    with pytest.raises(ValueError, match="a queue needs a topic"):
        log.queue(group="g")
    with pytest.raises(eventlog.UnknownTopic):
        log.queue("missing", group="g")
    assert (log.topics(), log._store.queues().queue_names()) == (["jobs"], [])


def test_a_name_is_a_group_or_a_queue(log):
    """Of a consumer group no queue is made, and of a queue no group."""
    with log.consumer("jobs", group="readers") as consumer:
        consumer.poll()
        with pytest.raises(eventlog.GroupMismatch, match="it is a consumer group"):
            log.queue("jobs", group="readers")
    with log.queue("jobs", group="workers"):
        with pytest.raises(eventlog.GroupMismatch, match="it is a queue"):
            log.consumer("jobs", group="workers")
        with log.consumer(group="workers", auto_commit=False) as consumer:
            consumer.assign([("jobs", 0)])
            consumer.poll()
            with pytest.raises(eventlog.GroupMismatch, match="it is a queue"):
                consumer.commit()


def test_records_that_are_gone_are_done(log, clock):
    """Deleted before they were handed out, or while they were due."""
    with log.queue("jobs", group="g") as queue:
        for job in queue.poll(max_records=2):
            job.release(delay=1.0)
        queue.commit()
        log.topic("jobs").delete_records({0: 4})
        clock.advance(1.0)
        assert accept_all(queue) == [4, 5, 6, 7, 8, 9]
    assert counts(log, "g") == {"expired": 2}


def test_a_deleted_topic_takes_its_jobs_with_it(log, clock):
    """Leased, due and waiting ones; a topic of that name made again is worked on."""
    keyed = log.topic("keyed", key=str, value=int)
    keyed.append_many(range(4), keys=["a", "a", "b", "b"])
    with log.queue("keyed", "jobs", group="g", per_key=1) as queue:
        jobs = queue.poll(max_records=3)
        jobs[0].release(delay=100.0)
        queue.commit()
        log.delete_topic("keyed")
        assert counts(log, "g") == {"ready": 9, "leased": 1}
        log.topic("keyed", key=str, value=int).append(5, key="a")
        assert 5 in values(queue.poll(max_records=20))


def test_retention_waits_for_a_queue(log):
    """`until_read_by` names it, and keeps what is not done."""
    topic = log.topic("kept", value=int, until_read_by=["g"])
    for number in range(5):
        topic.append(number)
    with log.queue(topic, group="g") as queue:
        jobs = queue.poll(max_records=4)
        for job in jobs[:2]:
            job.accept()
        queue.commit()
        log.clean()
        assert topic.bounds() == {0: (2, 5)}


def test_two_threads_do_not_use_one_worker(log):
    """The second gets an error."""
    with log.queue("jobs", group="g") as queue, queue._in_use:
        assert isinstance(raised_in_a_thread(queue.poll), eventlog.ConcurrentUse)
        with pytest.raises(eventlog.ConcurrentUse):
            queue.poll()


def raised_in_a_thread(function):
    """The error of a call in another thread."""

    def call():
        try:
            return function()
        except eventlog.EventLogError as error:
            return error

    return in_threads(call)[0]
