"""The pytest plugin, in runs of its own: alone, in parallel, killed, and in a run that does not use it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import eventlog

USES_ALL = '''
def test_one(event_log, event_log_factory, event_log_clock):
    """Each fixture once."""
    assert event_log.topic("orders").append(b"tea").timestamp_ms == event_log_clock.now_ms()
    other = event_log_factory(on_disk=True)
    assert other.path != event_log.path and other.topics() == []

def test_two(event_log):
    """A log of its own."""
    assert event_log.topics() == []
'''
IS_KILLED = '''
import os, signal

def test_one(event_log, event_log_factory):
    """Leaves two directories behind."""
    print(event_log.path, event_log_factory(on_disk=True).path, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
'''
USES_NOTHING = '''
import sys

def test_one():
    """Whoever does not use it does not pay for it."""
    assert "pytest_eventlog" in sys.modules
    assert not [name for name in sys.modules if name.split(".")[0] in ("eventlog", "lmdb", "attr")]
'''
USES_A_LOOP = '''
import pytest

LEFT = []

@pytest.fixture
def anyio_backend():
    return "BACKEND"

@pytest.mark.MARK
async def test_one(aio_event_log, event_log):
    """In a block."""
    async with aio_event_log as log:
        orders = await log.topic("orders", value=str)
        await orders.append("tea")
        assert [record.value async for record in orders.read()] == ["tea"]
        assert event_log.topics() == ["orders"]

@pytest.mark.MARK
async def test_two(aio_event_log):
    """Left open."""
    log = await aio_event_log
    assert await log.topics() == []
    LEFT.append(await log.consumer(await log.topic("orders"), group="g"))

def test_three():
    """What the test before has left open was closed."""
    import threading
    assert LEFT[0].is_closed
    assert [t.name for t in threading.enumerate() if "eventlog" in t.name] == []
'''


def _pytest(directory: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A run of pytest in a process and a directory of its own; logs in memory are in that directory, too."""
    (directory / "temporary").mkdir(exist_ok=True)
    (directory / "test_service.py").write_text(text)
    environment = {**os.environ, "TMPDIR": str(directory / "temporary")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *options]
    return subprocess.run(
        [*command, "test_service.py"], cwd=directory, env=environment, capture_output=True, text=True, timeout=100
    )


def _left(directory: Path) -> list[str]:
    return [path.name for path in (directory / "temporary").iterdir() if path.name.startswith("eventlog")]


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_each_test_has_logs_of_its_own(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Whatever runs beside it, and nothing is left when it is over."""
    done = _pytest(tmp_path, USES_ALL, *options)
    assert "2 passed" in done.stdout, done.stdout
    assert _left(tmp_path) == []


@pytest.mark.parametrize(("mark", "backend"), [("asyncio", "asyncio"), ("anyio", "asyncio"), ("anyio", "trio")])
def test_async_tests_have_a_log_whichever_plugin_runs_them(tmp_path: Path, mark: str, backend: str) -> None:
    """pytest-asyncio or anyio's: each without the other; a log that was left open leaves no thread behind."""
    others = {"asyncio": ("-p", "no:anyio"), "anyio": ("-p", "no:asyncio")}
    done = _pytest(
        tmp_path,
        USES_A_LOOP.replace("MARK", mark).replace("BACKEND", backend),
        "-W",
        "error::ResourceWarning",
        *others[mark],
    )
    assert "3 passed" in done.stdout, done.stdout
    assert _left(tmp_path) == []


def test_what_a_killed_run_leaves_behind_is_removed_by_the_next(tmp_path: Path) -> None:
    """In memory and on disk; what a living process has is left alone."""
    done = _pytest(tmp_path, IS_KILLED, "-s")
    assert done.returncode == -signal.SIGKILL
    assert len(_left(tmp_path)) == 2
    assert "2 passed" in _pytest(tmp_path, USES_ALL).stdout
    assert _left(tmp_path) == []


def test_a_run_that_does_not_use_it_imports_nothing_for_it(tmp_path: Path) -> None:
    """Not even the library."""
    others = ["no:_hypothesis_pytestplugin", "no:asyncio", "no:anyio"]  # plugins that import such things themselves
    done = _pytest(tmp_path, USES_NOTHING, *[text for name in others for text in ("-p", name)])
    assert "1 passed" in done.stdout, done.stdout


def test_a_living_log_is_no_leftover(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its process holds the lock."""
    program = "import eventlog; eventlog.open(':memory:').topic('orders'); print('done')"
    with eventlog.open(":memory:") as log:
        environment: Any = {**os.environ, "TMPDIR": str(log.path.parent.parent)}
        subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True)
        assert log.path.exists()
        log.topic("orders").append(b"tea")
    assert not log.path.parent.exists()
