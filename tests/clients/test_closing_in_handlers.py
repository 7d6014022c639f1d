"""`close()` in a signal handler waits for nothing: the interrupted call closes, and ends."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import eventlog
from eventlog.clients.consumer.group.membership import Membership
from eventlog.store.wakeup.waiter import Waiter

_SOON_SECONDS = 1.0


@pytest.fixture
def interrupts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], object]], list[float]]]:
    """Has a signal handler call something in the first wait; its seconds are noted in the list."""
    before = signal.getsignal(signal.SIGTERM)
    wait_until = Waiter.wait_until

    def set_up(action: Callable[[], object]) -> list[float]:
        seconds: list[float] = []

        def handle(number: int, frame: FrameType | None) -> None:
            began = time.monotonic()
            action()
            seconds.append(time.monotonic() - began)

        def interrupted(self: Waiter, until_s: float, seen: int | None) -> None:
            if not seconds:
                signal.raise_signal(signal.SIGTERM)
            wait_until(self, until_s, seen)

        signal.signal(signal.SIGTERM, handle)
        monkeypatch.setattr(Waiter, "wait_until", interrupted)
        return seconds

    yield set_up
    signal.signal(signal.SIGTERM, before)


def _loop(consumer: eventlog.Consumer[Any, Any]) -> Callable[[], object]:
    return lambda: [record.value for record in consumer]


_MAKERS: dict[str, Callable[[eventlog.EventLog], tuple[Any, Callable[[], object]]]] = {
    "member": lambda log: (one := log.consumer("orders", group="g"), _loop(one)),
    "reader": lambda log: (one := log.consumer("orders"), _loop(one)),
    "poll": lambda log: (one := log.consumer("orders", group="g"), lambda: [one.poll(), one.poll(timeout=30.0)][1]),
    "processor": lambda log: (one := log.processor("orders", function=lambda *_: None, group="g"), one.run),
}


@pytest.mark.parametrize("is_log", [False, True], ids=["itself", "log"])
@pytest.mark.parametrize("what", _MAKERS)
def test_the_interrupted_call_closes_and_ends(
    path: Path, interrupts: Callable[[Callable[[], object]], list[float]], what: str, is_log: bool
) -> None:
    """What it finished is committed, and the group has no member any more."""
    log = eventlog.open(path)
    log.topic("orders").append(b"tea")
    one, call = _MAKERS[what](log)
    seconds = interrupts(log.close if is_log else one.close)
    began = time.monotonic()
    assert call() in ([b"tea"], [], 1)
    assert max(seconds) < _SOON_SECONDS
    assert time.monotonic() - began < 5.0
    assert log.is_closed == is_log
    one.close()
    with eventlog.open(path) as other:
        if what != "reader":
            described = other.groups.describe("g")
            assert described.members == ()
            assert described.lag == 0
    log.close()


def test_a_projection_ends(log: eventlog.EventLog, interrupts: Callable[[Callable[[], object]], list[float]]) -> None:
    """It has folded what is there."""
    log.topic("orders").append(b"tea")
    projection = log.projection("all", lambda state, record: None, topics=["orders"], key=str, value=int)
    seconds = interrupts(projection.close)
    assert projection.run() == 1
    assert max(seconds) < _SOON_SECONDS


def test_a_consumer_says_that_its_own_thread_uses_it(
    log: eventlog.EventLog, interrupts: Callable[[Callable[[], object]], list[float]]
) -> None:
    """It never speaks of another thread, nor does a processor."""
    log.topic("orders")
    consumer = log.consumer("orders")
    processor = log.processor("orders", function=lambda *_: None, group="g")

    def call_again() -> None:
        for call in (consumer.poll, consumer.lag, consumer.assignment):
            with pytest.raises(eventlog.ConcurrentUse, match="same thread") as raised:
                call()
            assert "another thread" not in str(raised.value)
        consumer.wakeup()

    interrupts(call_again)
    assert consumer.poll(timeout=30.0) == []

    def run_again() -> None:
        with pytest.raises(eventlog.ConcurrentUse, match="same thread"):
            processor.run()
        processor.stop()

    interrupts(run_again)
    assert processor.run() == 0


def test_a_log_that_is_closed_while_a_consumer_joins_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler comes between two steps of a join; the call ends with the error that names the reason."""
    log = eventlog.open(tmp_path / "log")
    log.topic("orders")
    monkeypatch.setattr(Membership, "_tidy", lambda _self: log.close())
    with pytest.raises(eventlog.LogClosed):
        log.consumer("orders", group="g")
    monkeypatch.undo()
    with eventlog.open(tmp_path / "log") as again:
        assert not again.groups.list()
