"""Jobs that fail, and whose a job is: attempts, delays, dead letters, workers that die or hang, and limits."""

from __future__ import annotations

import logging
import time

import pytest

import eventlog
from eventlog import testing
from tests.clients.helpers import PATIENCE_SECONDS
from tests.clients.queues import accept_all, counts, dead_letters, open_again, values


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


# --- failures --------------------------------------------------------------------------------------------------------


def test_an_error_releases_a_job_for_later_and_buries_it_at_last(log, clock, caplog):
    """Each attempt doubles the pause; the dead letter has Kafka's headers and the traceback."""
    with log.queue("jobs", group="g", attempts=3, backoff=(1.0, 300.0)) as queue:
        for attempt, pause in ((1, 1.0), (2, 2.0), (3, None)):
            jobs = [job for job in queue.poll(max_records=10) if job.value != 0 or job.delivery_count == attempt]
            for job in jobs:
                with job:
                    assert job.value != 0, "no zeros"
            assert [job.state for job in jobs if job.value == 0] == ["released" if pause else "rejected"]
            if pause is not None:
                queue.commit()
                clock.advance(pause - 0.1)
                assert queue.poll() == []
                clock.advance(0.1)
    ((value, headers),) = dead_letters(log, "dlq.g")
    assert value == 0
    assert headers.pop("message").startswith("AssertionError: no zeros")
    assert headers == {
        "topic": "jobs",
        "partition": "0",
        "offset": "0",
        "group": "g",
        "delivery.count": "3",
    }
    assert b"no zeros" in dict(next(log.topic("dlq.g").read()).headers)["eventlog.traceback"]
    assert counts(log, "g") == {"dead": 1}
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "job jobs-0-0 of queue 'g' failed, attempt 1 of 3, and is handed out again in 1 s",
        "job jobs-0-0 of queue 'g' failed, attempt 2 of 3, and is handed out again in 2 s",
        "job jobs-0-0 of queue 'g' failed 3 times, and becomes a dead letter",
    ]


def test_ctrl_c_gives_a_job_back_without_blame(log):
    """And goes on."""
    with log.queue("jobs", group="g") as queue:
        with pytest.raises(KeyboardInterrupt), queue.poll()[0]:
            raise KeyboardInterrupt
        (job,) = queue.poll()
        assert (job.value, job.delivery_count) == (0, 1)


def test_a_rejected_job_is_buried_at_once(log):
    """With the reason, and what else the record had."""
    log.topic("jobs").append(77, key="k", headers={"trace": b"1"})
    with log.queue("jobs", group="g") as queue:
        for job in queue.poll(max_records=11):
            job.reject("bad number") if job.value == 77 else job.accept()
    ((value, headers),) = dead_letters(log, "dlq.g")
    assert (value, headers["message"], headers["offset"]) == (77, "bad number", "10")
    (record,) = log.topic("dlq.g").read()
    assert (record.key, record.headers[0]) == ("k", ("trace", b"1"))


def test_no_dead_letters_are_kept_where_none_are_wanted(log):
    """Then what is rejected is done."""
    with log.queue("jobs", group="g", dead_letters=False) as queue:
        queue.poll()[0].reject()
    assert log.topics() == ["jobs"]
    assert counts(log, "g") == {"ready": 9, "dead": 1}


@pytest.mark.parametrize("what", ["accept", "release", "reject", "renew"])
def test_an_acknowledgement_after_the_topic_was_deleted_is_too_late(log, what):
    """With the topic its jobs are gone, and nothing is stored: no other error, and no dead letter."""
    with log.queue("jobs", group="g", timeout=9.0) as queue:
        [job] = queue.poll()
        log.delete_topic("jobs")
        log.clean()

        def acknowledge():
            getattr(job, what)()
            queue.commit()

        with pytest.raises(eventlog.LeaseLost) as caught:
            acknowledge()
        assert caught.value.lost == (job,)
        assert queue.poll() == []
    assert counts(log, "g") == {}


def test_dead_letters_are_kept_when_their_topic_was_deleted(log):
    """It is made again, of bytes."""
    with log.queue("jobs", group="g") as queue:
        log.delete_topic("dlq.g")
        queue.poll()[0].reject()
        queue.commit()
        assert [record.value for record in log.topic("dlq.g").read()] == [b"\x00" * 8]


def test_a_delayed_job_holds_nothing_up(log, clock):
    """It comes at its time, before what was never handed out."""
    with log.queue("jobs", group="g") as queue:
        queue.poll()[0].release(delay=60.0)
        assert values(queue.poll()) == [1]
        assert counts(log, "g") == {"ready": 8, "leased": 1, "delayed": 1}
        clock.advance(60.0)
        (job,) = queue.poll()
        assert (job.value, job.delivery_count) == (0, 2)


def test_a_release_after_the_last_attempt_buries_the_job(log):
    """As Kafka does it."""
    with log.queue("jobs", group="g", attempts=1) as queue:
        queue.poll()[0].release()
        queue.commit()
        assert dead_letters(log, "dlq.g")[0][1]["message"] == "Offset delivery count exceeded the threshold."


def test_a_record_that_cannot_be_read_is_buried(log):
    """The others are handed out."""
    text = log.topic("text", value="json")
    text.append(1)
    log._store.append_record(text._route.row, 0, None, b"{", (), 0, is_placed=False, expected_version=None)
    text.append(3)
    with log.queue("text", group="t", dead_letters=log.topic("bad", value=bytes)) as queue:
        assert accept_all(queue) == [1, 3]
    ((value, headers),) = dead_letters(log, "bad")
    assert (value, headers["offset"]) == (b"{", "1")
    assert headers["message"].startswith("cannot read offset 1 of text[0]")


# --- whose a job is --------------------------------------------------------------------------------------------------


def test_close_gives_back_without_blame(log):
    """What was not done comes to others, as if it had not been handed out."""
    with log.queue("jobs", group="g") as queue:
        queue.poll(max_records=3)[1].accept()
    with log.queue("jobs", group="g") as other:
        jobs = other.poll(max_records=3)
        assert [(job.value, job.delivery_count) for job in jobs] == [(0, 1), (2, 1), (3, 1)]
    with pytest.raises(eventlog.LogClosed):
        jobs[0].accept()


def test_the_jobs_of_a_dead_worker_are_anothers_at_once(log):
    """They count as attempts; what it had accepted before is done."""
    one = log.queue("jobs", group="g")
    jobs = one.poll(max_records=3)
    jobs[0].accept()
    one.commit()
    other = log.queue("jobs", group="g")
    one._worker.drop()
    with other:
        assert [(job.value, job.delivery_count) for job in other.poll(max_records=3)] == [(1, 2), (2, 2), (3, 1)]
        jobs[1].accept()
        with pytest.raises(eventlog.LeaseLost, match="job jobs-0-1 of queue 'g'") as raised:
            one.commit()
        assert raised.value.lost == (jobs[1],)
        assert counts(log, "g") == {"ready": 6, "leased": 3}


def test_a_job_that_kills_its_workers_is_buried(log):
    """It is handed out as often as it may be, and then no more."""
    for attempt in (1, 2):
        queue = log.queue("jobs", group="g", attempts=2)
        (job,) = queue.poll()
        assert (job.value, job.delivery_count) == (0, attempt)
        queue._worker.drop()
    with log.queue("jobs", group="g") as queue:
        assert values(queue.poll()) == [1]
    ((value, headers),) = dead_letters(log, "dlq.g")
    assert (value, headers["delivery.count"]) == (0, "2")
    assert headers["message"] == "Offset delivery count exceeded the threshold."


def test_a_worker_that_hangs_loses_its_jobs(log, clock):
    """After the session timeout; its acknowledgement then comes too late, and the loop says so in the log."""
    one = log.queue("jobs", group="g", session_timeout=5.0)
    (job,) = one.poll()
    one._worker._lease.stop_beating()  # it is stopped, as by SIGSTOP
    with one, log.queue("jobs", group="g", session_timeout=100.0) as other:
        clock.advance(6.0)
        assert values(other.poll()) == [0]
        job.accept()
        with pytest.raises(eventlog.LeaseLost):
            one.poll()
        assert values(one.poll()) == [1]


def test_a_worker_that_waits_takes_the_jobs_of_one_that_hangs_when_its_lease_is_over(disk_log):
    """Not at its next look at all of them, two seconds later; and it sleeps until then."""
    topic = disk_log.topic("jobs", value=int)
    topic.append(7)
    with disk_log.queue(topic, group="g", session_timeout=0.3) as one, disk_log.queue(topic, group="g") as other:
        one.poll()
        one._worker._lease.stop_beating()
        began_s, began_cpu_s = time.monotonic(), time.thread_time()
        assert values(other.poll(timeout=PATIENCE_SECONDS)) == [7]
        assert time.monotonic() - began_s < 1.9
        assert time.thread_time() - began_cpu_s < 0.2


def test_a_job_may_take_a_hundred_times_the_session_timeout(log, clock):
    """It is handed out once, as long as its process lives."""
    with log.queue("jobs", group="g", session_timeout=0.5) as one, log.queue("jobs", group="g") as other:
        (job,) = one.poll()
        for _ in range(100):
            clock.advance(0.4)
            one._worker._lease.beat()
            assert 0 not in values(other.poll())
        job.accept()
        one.commit()


def test_a_limit_hands_a_job_to_another(log, clock):
    """Unless it is renewed in time."""
    with log.queue("jobs", group="g", timeout=30.0) as one, log.queue("jobs", group="g", session_timeout=1e6) as other:
        kept, lost = one.poll()[0], one.poll()[0]
        assert 29.0 < kept.remaining <= 30.0
        clock.advance(1.0)
        kept.renew()
        kept.renew(60.0)
        clock.advance(29.0)
        one._worker._lease.confirm()
        assert values(other.poll(max_records=1)) == [lost.value]
        kept.accept()
        lost.accept()
        with pytest.raises(eventlog.LeaseLost) as raised:
            one.commit()
        assert raised.value.lost == (lost,)
        with pytest.raises(eventlog.LeaseLost):
            open_again(lost).renew()


def test_a_late_acknowledgement_counts_until_somebody_looks(log, clock):
    """Else a job would be done twice that nobody else has; `poll()` and `commit()` of any worker look."""
    with log.queue("jobs", group="g", timeout=30.0) as queue:
        first, second, third = (queue.poll()[0] for _ in range(3))
        clock.advance(31.0)
        assert first.remaining == 0.0
        with log.transaction() as tx:
            tx.accept(first)
        second.accept()
        queue.commit()
        third.accept()
        with pytest.raises(eventlog.LeaseLost) as raised:
            queue.commit()
        assert raised.value.lost == (third,)
