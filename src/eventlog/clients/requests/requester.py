"""
The requester of an open log, for threads: it sends requests, and the thread that waits reads the replies.

No thread is started for it. Of those that wait one reads, and gives the others what is theirs; when it has its own, it
wakes another to read on:

    thread A                            thread B
    1  is the reader, polls             a  waits for its event
    2  gives B its reply, wakes it      b  returns with it
    3  gets its own, stops reading,     c  another that waits becomes the reader
       wakes one that waits

Invariant: while somebody waits, somebody reads or has been woken to read.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from eventlog.api.topic import Topic
from eventlog.backend import Backend
from eventlog.clients.consumer.consumer import EmbeddedConsumer
from eventlog.clients.requests.calls import Call, Calls
from eventlog.clients.requests.headers import ReplyAddress
from eventlog.clients.requests.inbox import Inbox
from eventlog.clients.requests.question import Asked, Desk, Question, closed_meanwhile
from eventlog.clients.requests.reading import lost, open_reading
from eventlog.clients.topic.topic import EmbeddedTopic, Owner
from eventlog.errors import LogClosed, NestedCall, UnknownTopic
from eventlog.interruptions import unless_interrupted
from eventlog.records import Record
from eventlog.uninterruptible import HeldLock

_LONGEST_SECONDS = 60.0


class _ReadByAnother(Exception):
    """Another thread reads."""


def _must_be_ours(is_ours: bool) -> None:  # noqa: FBT001
    if not is_ours:
        raise _ReadByAnother


class ReplyReader:
    """
    The reader of one topic for replies, which all threads of a log share.

    Any thread may use it.
    """

    def __init__(self, consumer: EmbeddedConsumer[Any, Any], address: ReplyAddress, inbox: Inbox | None) -> None:
        self.address = address
        self.calls = Calls()
        self.inbox = inbox
        self.is_lost = False
        """Whether its topic was deleted."""
        self._consumer = consumer
        consumer._be_patient()
        self._reading = threading.RLock()
        """Held by the thread that reads."""
        self._is_read = False

    def check(self) -> None:
        """Raise an error in a signal handler that has interrupted the thread that reads: nobody would read on."""
        if self._reading._is_owned():  # type: ignore[attr-defined]
            raise NestedCall(
                "cannot send a request while another one of the same thread waits: a signal handler or a finalizer "
                "called us.",
                stored="Nothing was stored.",
                advice="Send it outside, or in another thread.",
            )

    def wait(self, call: Call, event: threading.Event, deadline_s: float, now: Callable[[], float]) -> None:
        """
        Wait until a call is done, or for its deadline.

        Raises:
            UnknownTopic: the topic for replies was deleted.
            LogClosed: the log was closed.
        """
        call.is_waiting = True  # before we ask who reads: else whoever stops reading now would not wake us
        while not call.is_done and (left_s := deadline_s - now()) > 0:
            try:
                with HeldLock(self._reading, 0.0, _must_be_ours):
                    self._is_read = True
                    try:
                        if not call.is_done:  # else the reader before us had it
                            self._read(min(left_s, _LONGEST_SECONDS))
                    finally:
                        self._is_read = False
            except unless_interrupted(_ReadByAnother):
                event.wait(min(left_s, _LONGEST_SECONDS))
                event.clear()

    def end(self, call: Call) -> None:
        """Wait for a call no longer, and have another read on."""
        self.calls.end(call)
        if not self._is_read:
            self.calls.wake_one()

    def _read(self, timeout: float) -> None:
        try:
            replies = self._consumer.poll(timeout)
        except unless_interrupted(UnknownTopic) as error:
            self.is_lost = True
            raise lost(error, self.address)  # noqa: B904 - it is the same error
        self.calls.give_out(replies)
        if self.inbox is not None and replies:
            self.inbox.free(replies[-1].offset + 1)


class Asker(Owner, Protocol):
    """The log whose requests are sent."""

    def _known_topic(self, name: str) -> EmbeddedTopic[Any, Any]:
        """Find a topic of the log by its name."""
        ...


class Requester:
    """
    The requests of one open log.

    Any thread may use it.

    Args:
        track: is told of each consumer, to close it with the log.
    """

    def __init__(
        self,
        backend: Backend,
        known: Callable[[str], EmbeddedTopic[Any, Any]],
        owner: Owner,
        track: Callable[[EmbeddedConsumer[Any, Any]], object],
    ) -> None:
        self._backend = backend
        self._desk = Desk(backend, known)
        self._owner = owner
        self._track = track
        self._readers: dict[ReplyAddress | None, ReplyReader] = {}
        self._opening = threading.RLock()
        """Held by the thread that makes a reader."""
        backend.on_fork(self)

    def ask(self, topic: str | Topic[Any, Any], value: object, key: object, **options: Any) -> list[Record[Any, Any]]:
        """Send a request and wait for its replies; as `EventLog.request` and `EventLog.gather`."""
        asked = Asked(topic, **options)
        question = Question(self._desk, asked)
        reader = self._reader(question.address)
        reader.check()
        event = threading.Event()
        call = reader.calls.begin(question.expected, event.set)
        try:
            headers = question.headers(call, reader.address, value)
            stored = question.topic.append(value, key=key, headers=headers, partition=asked.partition)
            reader.wait(call, event, question.deadline_s, self._backend.clock.monotonic)
        except unless_interrupted(LogClosed) as error:
            raise closed_meanwhile(self._backend.path) from error
        finally:
            reader.end(call)
        return question.replies(call, stored)

    def _reader(self, address: ReplyAddress | None) -> ReplyReader:
        known = self._readers.get(address)
        if known is not None and not known.is_lost:
            return known
        if self._opening._is_owned():  # type: ignore[attr-defined]
            raise NestedCall(
                "cannot send the first request of a log while another one is being sent: a signal handler or a "
                "finalizer called us.",
                stored="Nothing was stored.",
                advice="Send it outside.",
            )
        with self._opening:
            known = self._readers.get(address)
            if known is None or known.is_lost:
                known = self._readers[address] = self._opened(address)
        return known

    def _opened(self, address: ReplyAddress | None) -> ReplyReader:
        reading = open_reading(self._backend, self._desk, self._owner, address)
        self._track(reading.consumer)
        return ReplyReader(*reading)

    def close(self) -> None:
        """Delete the inbox; the consumers are closed by the log."""
        for reader in list(self._readers.values()):
            if reader.inbox is not None:
                reader.inbox.close()
        self._readers.clear()

    def _after_fork(self) -> None:
        """Leave the parent's inbox alone: the child makes its own."""
        self._readers = {}
        self._opening = threading.RLock()


def open_requester(backend: Backend, log: Asker, track: Callable[[EmbeddedConsumer[Any, Any]], object]) -> Requester:
    """A requester that does not hold its log, which holds it: a dropped log would wait for the garbage collector."""
    us = weakref.proxy(log)

    def known(name: str) -> EmbeddedTopic[Any, Any]:
        found: EmbeddedTopic[Any, Any] = us._known_topic(name)
        return found

    return Requester(backend, known, us, track)
