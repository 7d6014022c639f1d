"""
The thread that stores what a producer left waiting for longer than its linger.

A producer that sends fast commits by itself, each time a megabyte is full; this thread is for the rest. It is a
daemon and owns no record: a program that ends without `close()` is flushed by the interpreter's exit, from the
main thread. Knows nothing of records.
"""

from __future__ import annotations

import threading

from eventlog.clients.accumulator import Accumulator
from eventlog.clock import Clock
from eventlog.store.committer import Committer


class Sender:
    """Waits for open batches to grow old, and has them stored."""

    def __init__(self, accumulator: Accumulator, committer: Committer, clock: Clock) -> None:
        self._accumulator = accumulator
        accumulator.on_open = self.arm
        self._committer = committer
        self._clock = clock
        self._armed = threading.Event()
        self._is_stopping = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def arm(self) -> None:
        """
        Says that a batch was opened.

        Starts the thread at the first call.
        """
        if not self._armed.is_set():
            self._armed.set()
            if self._thread is None:
                self._start()

    def stop(self) -> None:
        """Ends the thread and waits for it, unless it is the caller."""
        self._is_stopping.set()
        self._armed.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def forget(self) -> None:
        """Says that there is no thread: the state of a child after a fork."""
        self._thread = None
        self._armed = threading.Event()
        self._starting = threading.Lock()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._is_stopping.is_set():
                self._thread = threading.Thread(target=self._run, name="eventlog-sender", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        accumulator = self._accumulator
        while True:
            self._armed.wait()
            if self._is_stopping.is_set():
                return
            deadline_s = accumulator.next_deadline()
            if deadline_s is None:
                self._armed.clear()
                if accumulator.next_deadline() is not None:
                    self._armed.set()
                continue
            now_s = self._clock.monotonic()
            if now_s < deadline_s:
                self._is_stopping.wait(deadline_s - now_s)
                continue  # by now the producer may have stored it by itself
            accumulator.seal_all(older_than_s=now_s - accumulator.linger)
            self._committer.commit_queued()
