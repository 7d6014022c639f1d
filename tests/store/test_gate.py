"""The gate: who comes in while it is shut, and who waits."""

from __future__ import annotations

import threading

from eventlog.store.lmdb.gate import Gate
from tests.clients.helpers import PATIENCE_SECONDS


def test_a_thread_inside_may_come_in_again_while_another_shuts_the_gate() -> None:
    """A signal handler that reads must not wait for whoever waits for the thread that it interrupted."""
    gate = Gate()
    outer, inner = object(), object()
    gate.enter(outer)
    has_shut = threading.Event()

    def shut() -> None:
        gate.shut()
        has_shut.set()

    thread = threading.Thread(target=shut, daemon=True)
    thread.start()
    while not gate._is_shut:
        pass
    gate.enter(inner)
    gate.leave(inner, None)
    assert not has_shut.is_set()
    gate.leave(outer, None)
    assert has_shut.wait(PATIENCE_SECONDS)
    thread.join()
    gate.open()


def test_the_thread_that_shut_the_gate_may_come_in() -> None:
    """In a signal handler, which ends before the thread goes on."""
    gate = Gate()
    token = object()
    gate.shut()
    gate.enter(token)
    gate.leave(token, None)
    gate.open()

    def come_in() -> None:
        gate.enter(token)
        gate.leave(token, None)

    gate.alone(come_in)
