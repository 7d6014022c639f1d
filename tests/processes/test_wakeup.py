"""A reader that waits is woken by writers of other processes, and costs nobody anything meanwhile."""

from __future__ import annotations

import os
import signal
import statistics
import time
from pathlib import Path

import pytest

import eventlog
from eventlog.backend.waiting import RECHECK_SECONDS
from tests.processes.child import Child
from tests.processes.reader_scenes import say_each_record, wait_and_tell_the_cost


@pytest.fixture
def made(path: Path) -> Path:
    """A log with an empty topic, closed."""
    with eventlog.open(path) as log:
        log.topic("orders")
    return path


def _fifos(path: Path) -> list[Path]:
    return sorted((path / "waiters").glob("*.fifo"))


def _append_until_heard(topic: eventlog.Topic[bytes, bytes], child: Child, value: bytes) -> float:
    """Seconds from the append until the child says the value."""
    began_s = time.perf_counter()
    topic.append(value)
    child.hear(value.decode())
    return time.perf_counter() - began_s


def test_a_waiting_consumer_hears_of_another_process_at_once(made: Path) -> None:
    """Half of the records arrive far sooner than the reader would look by itself."""
    with eventlog.open(made) as log, Child(say_each_record, str(made)) as child:
        topic = log.topic("orders")
        child.hear("ready")
        _append_until_heard(topic, child, b"first")
        times_s = [_append_until_heard(topic, child, b"%d" % number) for number in range(21)]
    assert statistics.median(times_s) < RECHECK_SECONDS / 2


def test_the_bell_of_a_dead_reader_is_removed(made: Path) -> None:
    """A killed reader leaves its FIFO behind, and the next writer that rings takes it away."""
    with eventlog.open(made) as log:
        topic = log.topic("orders")
        with Child(say_each_record, str(made)) as child:
            child.hear("ready")
            _append_until_heard(topic, child, b"tea")
            while not _fifos(made):
                pass
            child.kill()
        assert _fifos(made)
        topic.append(b"milk")
        assert _fifos(made) == []


def test_a_stopped_reader_holds_up_no_writer(made: Path) -> None:
    """Writers ring until its FIFO is full and go on; woken, the reader has everything."""
    with eventlog.open(made) as log, Child(say_each_record, str(made)) as child:
        topic = log.topic("orders")
        child.hear("ready")
        _append_until_heard(topic, child, b"tea")
        while not _fifos(made):
            pass
        child.send(signal.SIGSTOP)
        [fifo] = _fifos(made)
        pipe = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        with pytest.raises(BlockingIOError):  # noqa: PT012
            while True:
                os.write(pipe, bytes(4096))
        os.close(pipe)
        for number in range(200):
            topic.append(b"%d" % number)
        child.send(signal.SIGCONT)
        for number in range(200):
            child.hear(str(number))


def test_waiting_costs_no_processor(made: Path) -> None:
    """A second of waiting takes less than 50 ms of processor."""
    with Child(wait_and_tell_the_cost, str(made), 1.0) as child:
        assert int(child.hear()) < 50
