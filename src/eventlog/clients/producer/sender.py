"""
The thread that stores what a producer left waiting for longer than its linger, and how a producer ends.

A producer that sends fast stands aside for this thread each time a megabyte is full (`clients/producer/handoff.py`). It
is a daemon: a program that ends without `close()` is flushed at the interpreter's exit, from the main thread.
"""

from __future__ import annotations

import atexit
import threading
from functools import partial

from eventlog.backend import Backend
from eventlog.clients.producer.accumulator import Accumulator
from eventlog.clients.producer.handoff import Handoff
from eventlog.interruptions import is_interruption, unless_interrupted
from eventlog.uninterruptible import WeakMembers, start_thread


class Sender:
    """
    The thread that waits for open batches to grow old, and has them stored.

    Holds the log open until everything is stored, even when the log and the producer are gone before.
    """

    def __init__(self, backend: Backend, accumulator: Accumulator, handoff: Handoff) -> None:
        from eventlog.notices import NOT_STORED, prepare, tell

        prepare()  # once a callback has failed, there may be no file left to open
        self.tell_unstored = partial(tell, NOT_STORED, exc_info=True)
        self._accumulator = accumulator
        self._handoff = handoff
        self._clock = backend.clock
        self._held = [backend]
        self._user = object()
        """For whom the backend stays open."""
        accumulator.start_sender = self.start
        self._thread: threading.Thread | None = None
        self._is_stopping = False
        self._is_orphan = False
        backend.hold(self._user)
        backend.on_fork(self)
        _UNENDED.add(self)

    def start(self) -> None:
        """Start the thread, if it does not run yet; belongs to the thread that holds the accumulator's lock."""
        if self._thread is None or not self._thread.is_alive():  # Ctrl-C may have come before it ran
            thread = threading.Thread(target=self._run, name="eventlog-sender", daemon=True)
            try:
                self._thread = self._handoff.thread = thread
                start_thread(thread)
            except unless_interrupted(Exception):
                self._thread = self._handoff.thread = None
                raise

    def end(self, timeout: float | None) -> None:
        """
        Store what waits, stop the thread, and let go of the log.

        Waits for at most twice the `timeout`; raises what `Accumulator.flush` raises, and has ended all the same. After
        an interruption the thread stores what waits, and whoever calls it again waits for that.
        """
        self._accumulator.refuse_closed()
        is_interrupted = False
        try:
            self._accumulator.flush(timeout)
        except BaseException as error:
            is_interrupted = is_interruption(error)
            raise
        finally:
            if is_interrupted:
                self.abandon_later()
            else:
                self._stop(timeout)

    def _stop(self, timeout: float | None) -> None:
        self._is_stopping = True
        try:
            self._handoff.wake()
            thread = self._thread
            if thread is not None and thread.is_alive() and thread is not threading.current_thread():
                thread.join(timeout)
        finally:
            self._let_go()

    def abandon(self) -> None:
        """
        Have the thread end by itself, because the producer was forgotten.

        The garbage collector calls this, from whatever a thread is doing, maybe a commit: so it waits for nothing.
        """
        self.abandon_later()
        if self._thread is None:
            self._let_go()  # nothing was ever sent

    def abandon_later(self) -> None:
        """The same for a producer that somebody may still close; without a thread it waits for that."""
        self._is_orphan = True
        self._handoff.wake()

    def _after_fork(self) -> None:
        """Leave the records to the parent's thread; the child has none."""
        self._thread = None
        self._handoff.reset()
        self._accumulator.refuse_forked()
        self._let_go()

    def is_abandoned_in(self, backend: object) -> bool:
        """Whether this stores what a forgotten producer left for a log."""
        return self._is_orphan and backend in self._held

    def _let_go(self) -> None:
        for backend in self._held:
            backend.release(self._user)
        self._held = []
        _UNENDED.discard(self)

    @property
    def has_ended(self) -> bool:
        """Whether it has let go of the log; a signal handler may have interrupted `end()` before."""
        return not self._held

    def _run(self) -> None:
        try:
            self._store_until_the_end()
        finally:
            self._handoff.wake()  # a second thread of ours: Ctrl-C in `start` may have left one that it did not note

    def _store_until_the_end(self) -> None:
        accumulator, handoff = self._accumulator, self._handoff
        while not self._is_stopping:
            if self._is_orphan:
                _end_quietly(self)
                return
            if handoff.is_wanted:
                self._store()
                continue
            deadline_s = accumulator.next_deadline()
            if deadline_s is None:
                handoff.is_idle = True
                if accumulator.next_deadline() is None:  # a thread that opens a batch from here on wakes us
                    handoff.sleep()
                handoff.is_idle = False
                continue
            left_s = deadline_s - self._clock.monotonic()
            if left_s > 0:
                handoff.sleep(left_s)
                continue  # by now the producer may have stored it by itself
            accumulator.seal_all(older_than_s=deadline_s - accumulator.linger)
            self._store()

    def _store(self) -> None:
        self._handoff.begin()
        try:
            if self._handoff.is_sealing_wanted:
                self._handoff.is_sealing_wanted = False
                self._accumulator.seal_all()
            self._accumulator.commit_oldest(None, before_sync=self._handoff.let_go)
        finally:
            self._handoff.let_go()


_UNENDED: WeakMembers[Sender] = WeakMembers()


def end_abandoned(backend: object) -> None:
    """Store what forgotten producers left for a log; raises as `Sender.end`."""
    for sender in list(_UNENDED):
        if sender.is_abandoned_in(backend):
            sender.end(None)


def _end_quietly(sender: Sender) -> None:
    try:
        sender.end(None)
    except unless_interrupted(Exception):
        sender.tell_unstored()


@atexit.register
def _end_all() -> None:
    for sender in list(_UNENDED):
        _end_quietly(sender)
