"""`log.queues`: list, describe, pause, purge, delete, and replay dead letters."""

from __future__ import annotations

import json
import os

import pytest

import eventlog
from eventlog import cli
from tests.clients.queues import accept_all, counts, values


@pytest.fixture
def log(log):
    """A log with ten numbers in a topic of two partitions."""
    log.topic("jobs", key=str, value=int, partitions=2).append_many(range(10), partition=0)
    return log


def test_a_queue_is_described(log):
    """What it has to do, its workers, and how far it has come."""
    with log.queue("jobs", group="g", attempts=3, per_key=None, timeout=9.0) as queue:
        jobs = queue.poll(max_records=4)
        jobs[0].accept()
        jobs[1].release(delay=100.0)
        queue.commit()
        found = log.queues.describe("g")
        assert (found.ready, found.leased, found.delayed, found.dead) == (6, 2, 1, 0)
        assert (found.attempts, found.dead_letters, found.backoff, found.timeout) == (3, "dlq.g", (1.0, 300.0), 9.0)
        (worker,) = found.workers
        assert (worker.state, worker.leased, worker.process_id) == ("alive", 2, os.getpid())
        assert worker.oldest_ms == jobs[2].first_delivered_ms
        assert [(one.partition, one.start, one.next, one.end) for one in found.partitions] == [
            (0, 1, 4, 10),
            (1, 0, 0, 0),
        ]
        queue._worker._lease.abandon()
        assert log.queues.describe("g").workers[0].state == "dead"
    assert log.queues.list() == ["g"]
    for call in (log.queues.describe, log.queues.pause, log.queues.purge, log.queues.delete):
        with pytest.raises(eventlog.UnknownGroup, match="there is no such queue"):
            call("missing")


def test_a_paused_queue_hands_nothing_out(log):
    """What is handed out may be acknowledged; `resume` goes on."""
    with log.queue("jobs", group="g") as queue:
        (job,) = queue.poll()
        log.queues.pause("g")
        job.accept()
        assert queue.poll() == []
        assert log.queues.describe("g").is_paused
        log.queues.resume("g")
        assert values(queue.poll()) == [1]


@pytest.mark.parametrize("per_key", [None, 1])
def test_a_purge_takes_for_done_what_no_worker_has(log, per_key):
    """Due, waiting, and never handed out."""
    log.topic("jobs").append_many([10, 11, 12, 13], keys=["a", "a", "b", "b"], partition=0)
    with log.queue("jobs", group="g", per_key=per_key) as queue:
        jobs = queue.poll(max_records=14)
        jobs[0].release(delay=100.0)
        for job in jobs[1:10]:
            job.accept()
        queue.commit()
        kept = len(jobs) - 10
        assert log.queues.purge("g") == 14 - 9 - kept
        assert counts(log, "g") == {"leased": kept}
        log.topic("jobs").append(14, key="c")
        assert accept_all(queue) == [14]
    assert sorted(counts(log, "g")) == ["ready"]


def test_a_deleted_queue_is_gone_for_its_workers(log):
    """And one of that name begins with the first record."""
    queue = log.queue("jobs", group="g")
    queue.poll()[0].accept()
    log.queues.delete("g")
    with pytest.raises(eventlog.UnknownGroup, match="there is no such queue"):
        queue.poll()
    queue.close()
    assert log.verify().problems == ()
    with log.queue("jobs", group="g") as again:
        assert values(again.poll()) == [0]


def test_dead_letters_are_replayed_once(log):
    """All or some, edited or not, without the headers of dead letters."""
    with log.queue("jobs", group="g") as queue:
        for job in queue.poll(max_records=10):
            job.reject("later")
    assert (
        log.queues.replay("dlq.g", where=lambda letter: letter.value % 2 == 0, edit=lambda letter: -letter.value) == 5
    )
    assert log.queues.replay(log.topic("dlq.g"), where=lambda letter: letter.value > 100) == 0
    assert log.queues.replay("dlq.g", rate=1e6) == 5
    assert log.queues.replay("dlq.g") == 0
    with log.queue("jobs", group="g") as queue:
        assert sorted(accept_all(queue)) == [-8, -6, -4, -2, 0, 1, 3, 5, 7, 9]
    assert {record.headers for record in log.topic("jobs").read()} == {()}
    with pytest.raises(ValueError, match="is no dead letter"):
        log.queues.replay("jobs")
    with pytest.raises(eventlog.UnknownTopic):
        log.queues.replay("missing")
    with pytest.raises(ValueError, match="rate must be a number of dead letters a second"):
        log.queues.replay("dlq.g", rate=0)


async def awaited(*_):
    """What nobody awaits."""


@pytest.mark.parametrize("function", [awaited, 7])
def test_a_coroutine_function_is_refused(log, function):
    """A queue would accept jobs that nobody has done, and a replay take every letter for wanted."""
    with log.queue("jobs", group="g") as queue:
        for call in (
            lambda: queue.run(function),
            lambda: log.queues.replay("dlq.g", where=function),
            lambda: log.queues.replay("dlq.g", edit=function),
        ):
            with pytest.raises(TypeError, match=r"function.* Nothing was"):
                call()
    assert (counts(log, "g"), log.queues.list()) == ({"ready": 10}, ["g"])


def test_what_nobody_has_taken_yet_is_counted_and_purged(log):
    """From the moment on at which a worker has come for it."""
    log.topic("more", value=int).append(1)
    with log.queue("jobs", group="g"):
        assert counts(log, "g") == {"ready": 10}
    with log.queue("jobs", "more", group="g") as queue:
        assert counts(log, "g") == {"ready": 11}
        assert log.queues.purge("g") == 11
        assert accept_all(queue) == []


@pytest.fixture
def run(path, capsys):
    """Runs `eventlog queues ACTION PATH ...` on a log with a queue: gives exit code, stdout and stderr."""
    with eventlog.open(path) as log:
        log.topic("jobs", value=int).append_many(range(4))
        with log.queue("jobs", group="g", per_key=2, timeout=60.0) as queue:
            queue.poll()[0].reject("bad")

    def call(action, *arguments):
        code = cli.main(["queues", action, str(path), *arguments])
        return code, *capsys.readouterr()

    return call


def test_the_command_shows_queues(run):
    """As tables, and as JSON."""
    code, out, _ = run("list")
    assert (code, [line.split() for line in out.splitlines()][-1]) == (0, ["g", "3", "0", "0", "0", "1", "0"])
    code, out, _ = run("describe", "g")
    assert out.splitlines()[:2] == [
        "g: 3 ready, 0 leased, 0 delayed, 0 waiting, 1 dead, 0 expired",
        "5 attempts, dead letters to dlq.g, 2 at a time of each key, 60 s for each job",
    ]
    found = json.loads(run("describe", "g", "--json")[1])
    assert (found["ready"], found["per_key"], found["partitions"][0]["end"]) == (3, 2, 4)
    assert json.loads(run("list", "--json")[1])["name"] == "g"
    for action in ("describe", "pause"):
        code, _, err = run(action, "missing")
        assert (code, err.splitlines()[-1]) == (4, "  next: `eventlog queues list` names those that are there.")
    code, _, err = run("replay", "jobs")
    assert code == 2
    assert "\n  stored: It was left out, and those before it were replayed.\n" in err
    assert "where=" not in err


def test_the_command_changes_queues(run, path):
    """Pause, resume, replay; purge and delete want a yes."""
    assert run("pause", "g")[0] == 0
    assert "g: paused, 3 ready" in run("describe", "g")[1]
    assert json.loads(run("resume", "g", "--json")[1]) == {"queue": "g", "is_paused": False}
    assert run("replay", "dlq.g", "--rate", "1000")[1] == "1 dead letter of dlq.g appended again\n"
    code, _, err = run("purge", "g")
    assert (code, err.splitlines()[-1]) == (2, "  next: Pass --yes.")
    assert run("purge", "g", "--yes")[1] == "4 jobs of g taken for done\n"
    assert run("delete", "g")[0] == 2
    assert run("delete", "g", "--yes")[0] == 0
    with eventlog.open(path) as log:
        assert log.queues.list() == ["replay.dlq.g"]
        assert log.verify().problems == ()
