"""Celery's worker on a log, as a process of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from celery import chord, group
from celery.exceptions import TaskRevokedError

import eventlog
from tests.frameworks.celery.helpers import PATIENCE_SECONDS, url_of, worker

PROJECTS = Path(__file__).parent / "projects"
SHOP = "tests.frameworks.celery.shop"
POOLS = {"prefork": ("-P", "prefork", "-c", "2"), "threads": ("-P", "threads", "-c", "2"), "solo": ("-P", "solo")}


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """The application of the tests, with a log of this test."""
    monkeypatch.setenv("LOG_URL", url_of(tmp_path / "log"))
    monkeypatch.delitem(sys.modules, SHOP, raising=False)
    __import__(SHOP)
    shop = sys.modules[SHOP]
    yield shop
    shop.app.close()


class Started:
    """Who has begun the tasks that hang, as they write it into the log, and what lets them go on."""

    def __init__(self, log):
        self.names = []
        self._gate = log.topic("gate")
        self._consumer = log.consumer(log.topic("started", value=str))

    def wait_for(self, count):
        """Wait until so many tasks have begun; their workers."""
        while len(self.names) < count:
            records = self._consumer.poll(PATIENCE_SECONDS)
            assert records, f"{count} tasks were to begin, and {len(self.names)} have"
            self.names += [record.value.partition("@")[0] for record in records]
        return self.names

    def let_go(self):
        """Let all of them end."""
        self._gate.append(b"go on")


@pytest.fixture
def log(tmp_path):
    """The log of this test."""
    with eventlog.open(tmp_path / "log") as log:
        yield log


def lines(path):
    """The lines of a file, if it is there."""
    return path.read_text().splitlines() if path.exists() else []


def work_of_all_kinds(shop):
    """What the canvas of Celery can do."""
    assert shop.add.delay(1, 2).get(timeout=PATIENCE_SECONDS) == 3
    assert (shop.add.s(1, 2) | shop.add.s(3)).delay().get(timeout=PATIENCE_SECONDS) == 6
    parts = [shop.add.s(number, number) for number in range(4)]
    assert group(parts).delay().get(timeout=PATIENCE_SECONDS) == [0, 2, 4, 6]
    assert chord(parts, shop.total.s()).delay().get(timeout=PATIENCE_SECONDS) == 12
    inner = shop.add.si(1, 2) | group(shop.add.si(3, 4), shop.add.si(5, 6))
    assert chord([shop.add.si(0, 1), inner], shop.count.s()).delay().get(timeout=PATIENCE_SECONDS) == 2
    assert shop.stubborn.delay().get(timeout=PATIENCE_SECONDS) == 2
    with pytest.raises(ValueError, match="as told"):
        shop.fail.delay("as told").get(timeout=PATIENCE_SECONDS)


@pytest.mark.proof
def test_a_worker_does_all_kinds_of_work_and_answers(shop, tmp_path):
    """The quick look: chains, groups, chords, retries, errors; `ping`, `revoke`, and a warm end."""
    with worker(SHOP, tmp_path, *POOLS["solo"]) as process:
        work_of_all_kinds(shop)
        (name,) = shop.app.control.inspect(timeout=PATIENCE_SECONDS, limit=1).ping()
        late = shop.add.apply_async((1, 1), countdown=1.0, expires=60)
        shop.app.control.revoke(late.id)
        with pytest.raises(TaskRevokedError):
            late.get(timeout=PATIENCE_SECONDS)
        assert process.stop() == 0
    assert name.startswith("one@")


@pytest.mark.long
@pytest.mark.parametrize("pool", POOLS)
def test_each_pool_works(shop, tmp_path, pool):
    """Processes that are forked, threads, and none; whoever waits gives back what it has not begun."""
    with worker(SHOP, tmp_path, *POOLS[pool]) as process:
        work_of_all_kinds(shop)
        found = shop.app.control.inspect(timeout=PATIENCE_SECONDS, limit=1)
        assert [queue["name"] for queues in found.active_queues().values() for queue in queues] == ["celery"]
        results = [shop.add.delay(number, 1) for number in range(200)]
        assert sum(result.get(timeout=60.0) for result in results) == 20_100
        assert process.stop() == 0
    with eventlog.open(tmp_path / "log") as log:
        queue = log.queues.describe("kombu.queue.celery")
        assert (queue.ready, queue.leased, queue.dead, queue.workers) == (0, 0, 0, ())
        assert log.verify().problems == ()


@pytest.mark.proof
def test_the_tasks_of_a_killed_worker_are_anothers_at_once(shop, log, tmp_path):
    """Acknowledged late: what it had begun is done again elsewhere, and what it had not is done once."""
    started = Started(log)
    with worker(SHOP, tmp_path, *POOLS["prefork"], name="one") as one:
        results = [shop.hang.delay() for _ in range(4)]
        assert started.wait_for(2) == ["one", "one"]
        with worker(SHOP, tmp_path, *POOLS["prefork"], name="two"):
            one.kill()
            begin = time.monotonic()
            assert started.wait_for(4)[2:] == ["two", "two"]
            took_s = time.monotonic() - begin
            started.let_go()
            found = [result.get(timeout=PATIENCE_SECONDS) for result in results]
    assert {name.partition("@")[0] for name, _ in found} == {"two"}
    assert any(is_redelivered for _, is_redelivered in found)
    assert took_s < 5.0, "there is no visibility timeout: Celery's on Redis is an hour"


@pytest.mark.long
def test_a_warm_end_gives_back_what_was_not_begun(shop, log, tmp_path):
    """A worker that stops finishes what it does; the next gets the others, which count as not handed out."""
    started = Started(log)
    with worker(SHOP, tmp_path, *POOLS["prefork"], name="one") as one:
        results = [shop.hang.delay() for _ in range(5)]
        started.wait_for(2)
        one.process.terminate()
        started.let_go()
        assert one.process.wait(PATIENCE_SECONDS) == 0
    with worker(SHOP, tmp_path, *POOLS["prefork"], name="two"):
        found = [result.get(timeout=PATIENCE_SECONDS) for result in results]
    assert not any(is_redelivered for _, is_redelivered in found)
    assert len(started.wait_for(5)) == 5


@pytest.mark.long
def test_a_countdown_waits_in_the_log_and_a_priority_overtakes(shop, tmp_path):
    """A task of tomorrow is nobody's: the worker is free, and its queue says how many are delayed."""
    path = tmp_path / "notes"
    shop.note.apply_async((str(path), "tomorrow"), countdown=86_400)
    for text, priority in (("low", 0), ("high", 9), ("middle", 5)):
        shop.note.apply_async((str(path), text), priority=priority)
    soon = datetime.now(UTC) + timedelta(seconds=2)
    result = shop.note.apply_async((str(path), "soon"), eta=soon)
    with worker(SHOP, tmp_path, *POOLS["solo"], environment={"PREFETCH": "1"}):
        assert result.get(timeout=PATIENCE_SECONDS) == "soon"
        assert datetime.now(UTC) >= soon
        assert lines(path) == ["high", "middle", "low", "soon"]
        with eventlog.open(tmp_path / "log") as log:
            assert log.queues.describe("kombu.queue.celery").delayed == 1
        assert not shop.app.control.inspect(timeout=PATIENCE_SECONDS, limit=1).scheduled().popitem()[1]


def run_project(name, directory, changes, program, app):
    """Copy a project, change one line, start a worker, and run a program of the project."""
    shutil.copytree(PROJECTS / name, directory)
    (file, before, after) = changes
    text = (directory / file).read_text()
    assert text.count(before) == 1
    assert "\n" not in before + after
    (directory / file).write_text(text.replace(before, after))
    ready = directory / "sitecustomize.py"  # the project knows nothing of tests
    ready.write_text(
        "from celery.signals import worker_ready\n"
        "from tests.frameworks.celery.helpers import tell_when_ready\n"
        "worker_ready.connect(tell_when_ready, weak=False)\n"
    )
    with worker(app, directory, *POOLS["prefork"]):
        done = subprocess.run(
            [sys.executable, program], cwd=directory, capture_output=True, text=True, timeout=60, check=False
        )
    assert (done.stdout, done.returncode) == ("all is well\n", 0), done.stderr


@pytest.mark.long
def test_the_first_steps_with_celery_need_one_changed_line(tmp_path):
    """The program of every tutorial."""
    url = url_of(tmp_path / "log")
    line = 'app = Celery("tasks", broker="redis://localhost", backend="redis://localhost")'
    changes = ("tasks.py", line, f'app = Celery("tasks", broker="{url}", backend="{url}")')
    run_project("first_steps", tmp_path / "project", changes, "tasks.py", "tasks")


@pytest.mark.long
def test_a_project_of_django_needs_one_changed_line(tmp_path):
    """An order is stored, and a task confirms it after the commit."""
    line = 'CELERY_BROKER_URL = CELERY_RESULT_BACKEND = "redis://localhost:6379/0"'
    changes = ("shop/settings.py", line, line.replace("redis://localhost:6379/0", url_of(tmp_path / "log")))
    run_project("django_shop", tmp_path / "project", changes, "buy.py", "shop")
