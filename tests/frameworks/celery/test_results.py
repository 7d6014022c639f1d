"""The result backend on a log: rows that end, counters, and waits that end with the result."""

from __future__ import annotations

import threading
import time

import celery
import pytest
from celery.app.task import Context
from celery.exceptions import TimeoutError as CeleryTimeout
from celery.result import AsyncResult, GroupResult

import eventlog
from eventlog.frameworks.celery.results import ResultBackend
from tests.clients.helpers import last_transaction
from tests.frameworks.celery.helpers import PATIENCE_SECONDS, url_of


@pytest.fixture
def path(tmp_path):
    """Where a log is to be."""
    return tmp_path / "log"


@pytest.fixture
def app(path):
    """An application whose results are in it."""
    app = celery.Celery("results", broker=url_of(path), backend=url_of(path), set_as_current=False)
    yield app
    app.close()


@pytest.fixture
def backend(app):
    """Its result backend."""
    return app.backend


def test_the_scheme_names_the_backend(backend):
    """It is found by an entry point: nobody imports it."""
    assert type(backend) is ResultBackend


def test_a_result_is_stored_and_read_by_others(app, backend, path):
    """Values, and errors with their classes; forgotten ones are pending again."""
    backend.store_result("one", {"a": [1, 2]}, "SUCCESS")
    backend.store_result("two", ValueError("no"), "FAILURE")
    other = celery.Celery("other", backend=url_of(path), set_as_current=False).backend
    assert other.get_result("one") == {"a": [1, 2]}
    assert isinstance(other.get_result("two"), ValueError)
    assert other.get_state("three") == "PENDING"
    backend.forget("one")
    assert backend.get_state("one") == other.get_state("one") == "PENDING"


def test_a_wait_ends_with_the_result(app, backend, path):
    """A result that another thread stores is there at once, and one that was there before too."""
    backend.store_result("before", 1, "SUCCESS")
    assert AsyncResult("before", app=app).get(timeout=PATIENCE_SECONDS) == 1
    other = celery.Celery("other", backend=url_of(path), set_as_current=False)
    thread = threading.Timer(0.05, lambda: other.backend.store_result("after", 2, "SUCCESS"))
    thread.start()
    begin = time.monotonic()
    assert AsyncResult("after", app=app).get(timeout=PATIENCE_SECONDS) == 2
    assert time.monotonic() - begin < 1.0, "Celery itself looks once a second"
    thread.join()


def test_a_wait_for_nothing_ends_in_time(app):
    """The error is Celery's."""
    with pytest.raises(CeleryTimeout):
        AsyncResult("never", app=app).get(timeout=0.05)


def test_what_is_over_is_gone(app, backend, path):
    """It is not read any more, and the daily cleanup deletes it; what has no end stays."""
    app.conf.result_expires = 0.001
    short = ResultBackend(app, url=url_of(path))
    short.store_result("short", 1, "SUCCESS")
    backend.store_result("long", 2, "SUCCESS")
    backend.set(b"forever", b"3")
    backend.expire(b"forever", 0)
    while short.get_state("short") != "PENDING":
        pass
    with eventlog.open(path) as log:
        rows = log.state("celery.results")
        assert len(list(rows)) == 3
        short.cleanup()
        assert sorted(rows) == [b"celery-task-meta-long", b"forever"]


def test_counters_add_up_whoever_counts(backend, path):
    """Threads that end the parts of a chord at the same time."""

    def count():
        own = celery.Celery("other", backend=url_of(path), set_as_current=False).backend
        for _ in range(20):
            own.incr(b"chord")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert backend.incr(b"chord") == 81
    backend.delete(b"chord")
    assert backend.incr(b"chord") == 1


def test_groups_are_saved_and_restored(app, backend):
    """With the results of their members, of one moment."""
    for name, value in (("a", 1), ("b", 2)):
        backend.store_result(name, value, "SUCCESS")
    group = GroupResult("both", [AsyncResult("a", app=app), AsyncResult("b", app=app)], app=app)
    group.save(backend=backend)
    restored = GroupResult.restore("both", backend=backend, app=app)
    assert restored.join_native(timeout=PATIENCE_SECONDS) == [1, 2]
    restored.delete(backend=backend)
    assert GroupResult.restore("both", backend=backend, app=app) is None


def test_a_worker_keeps_nothing_of_the_parts_of_a_chord(app, backend):
    """Found with Celery's own tests: a header of a thousand tasks took gigabytes, since Celery restored it for each."""
    names = [f"part-{number}" for number in range(20)]
    GroupResult("header", [AsyncResult(name, app=app) for name in names], app=app).save(backend=backend)
    before = len(backend._pending_results.concrete)
    body = app.signature("body")
    with app.connection_for_read() as connection, connection.SimpleQueue("celery") as queue:
        for number, name in enumerate(names):
            assert len(backend._pending_results.concrete) == before
            if number == len(names) - 1:
                backend.set_chord_size("header", len(names))  # just before the last task is sent
            backend.store_result(name, number, "SUCCESS")
            part = Context(id=name, group="header", chord=dict(body))
            backend.on_chord_part_return(part, "SUCCESS", number)
        message = queue.get(timeout=PATIENCE_SECONDS)
        message.ack()
        assert message.payload[0] == [list(range(20))]
        with pytest.raises(queue.Empty):
            queue.get(timeout=0.1)
    assert backend._pending_results.concrete == {}
    assert backend.get(backend.get_key_for_group("header", b".parts")) is None


def test_an_end_that_is_near_enough_costs_no_commit(backend):
    """The header of a chord has its ends set again with each of its tasks."""
    backend.set(b"row", b"1")
    before = last_transaction(backend.log)
    backend.expire(b"row", backend.expires)
    assert last_transaction(backend.log) == before
    backend.expire(b"row", 2 * backend.expires)
    assert last_transaction(backend.log) == before + 1
