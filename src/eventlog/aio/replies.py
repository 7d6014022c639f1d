"""
The requests of a loop's log: each task awaits its replies, and one task reads them while anybody does.

So a task that is cancelled takes nothing from the others. What a request is stands in `clients/requests/question.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from eventlog.aio.consumer import Callbacks, Consumer
from eventlog.aio.home import Home
from eventlog.aio.topic import Topic
from eventlog.aio.waking import Waker
from eventlog.clients.awaiting.loop import Future
from eventlog.clients.requests.calls import Call, Calls
from eventlog.clients.requests.headers import ReplyAddress
from eventlog.clients.requests.inbox import Inbox
from eventlog.clients.requests.question import Asked, Desk, Question, closed_meanwhile
from eventlog.clients.requests.reading import Reading, lost, open_reading
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.errors import LogClosed, UnknownTopic
from eventlog.interruptions import unless_interrupted
from eventlog.log.event_log import EmbeddedLog
from eventlog.records import Record

_LONGEST_SECONDS = 60.0


class ReplyReader:
    """
    The reader of one topic for replies, which all tasks of a log share.

    Belongs to the loop.
    """

    def __init__(self, home: Home, consumer: Consumer[Any, Any], address: ReplyAddress, inbox: Inbox | None) -> None:
        self.address = address
        self.calls = Calls()
        self.inbox = inbox
        self.is_lost = False
        """Whether its topic was deleted."""
        self._home = home
        self._consumer = consumer
        self._task: Future[None] | None = None
        """The task that reads; the loop itself keeps tasks by weak references alone."""

    async def wait(self, call: Call, future: Future[None], deadline_s: float) -> None:
        """Wait until a call is done, or for its deadline."""
        loop = self._home.loop
        timer = loop.call_later(max(deadline_s - self._home.backend.clock.monotonic(), 0.0), call.wake)
        try:
            if self._task is None and not call.is_done:
                self._task = loop.start(self._read_on())
            await future
        finally:
            timer.cancel()
        if call.error is not None:
            raise call.error

    def end(self, call: Call) -> None:
        """Wait for a call no longer; the task ends with the last."""
        self.calls.end(call)
        if self._task is not None and not self.calls.are_waiting:
            self._consumer.wakeup()

    async def _read_on(self) -> None:
        """Read for as long as anybody waits."""
        try:
            while self.calls.are_waiting:
                replies = await self._consumer.poll(_LONGEST_SECONDS)
                self.calls.give_out(replies)
                if self.inbox is not None and replies and self.inbox.is_due(replies[-1].offset + 1):
                    await self._home.call(partial(self.inbox.free, replies[-1].offset + 1), "the deletion")
        except unless_interrupted(UnknownTopic) as error:
            self.is_lost = True
            self.calls.fail(lost(error, self.address))
        except unless_interrupted(Exception) as error:
            self.calls.fail(error)
        finally:
            self._task = None


class Requester:
    """
    The requests of one open log of a loop.

    Belongs to the loop.

    Args:
        track: is told of each consumer, to close it with the log.
    """

    def __init__(
        self, home: Home, inner: EmbeddedLog, waker: Waker, track: Callable[[Consumer[Any, Any]], object]
    ) -> None:
        self._home = home
        self._inner = inner
        self._waker = waker
        self._track = track
        self._desk = Desk(home.backend, inner._known_topic)
        self._readers: dict[ReplyAddress | None, ReplyReader] = {}
        self._openings: dict[ReplyAddress | None, Future[ReplyReader]] = {}
        self._inboxes: list[Inbox] = []
        inner._clients.endings.append(self._close_inboxes)

    async def ask(
        self, topic: str | EmbeddedTopic[Any, Any], value: object, key: object, **options: Any
    ) -> list[Record[Any, Any]]:
        """Send a request and wait for its replies."""
        asked = Asked(topic, **options)
        home = self._home
        home.check()
        question = await self._question(asked)
        reader = await self._reader(question.address)
        future: Future[None] = home.loop.future()
        call = reader.calls.begin(question.expected, partial(_resolve, future))
        requests: Topic[Any, Any] = Topic(home, question.topic)
        try:
            headers = question.headers(call, reader.address, value)
            stored = await requests.append(value, key=key, headers=headers, partition=asked.partition)
            await reader.wait(call, future, question.deadline_s)
        except unless_interrupted(LogClosed) as error:
            raise closed_meanwhile(home.path) from error
        finally:
            reader.end(call)
        if call.is_done:
            return question.replies(call, stored)
        return await home.read(partial(question.replies, call, stored), "the look at the groups")

    async def _question(self, asked: Asked) -> Question:
        """A request whose arguments are checked; where all groups have to be looked at, in the thread for reads."""
        make = partial(Question, self._desk, asked)
        name = asked.topic if isinstance(asked.topic, str) else getattr(asked.topic, "name", "")
        is_quick = asked.expect is not None and self._desk.presence.knows(name, asked.group)
        return (
            make() if is_quick or not asked.needs_responder else await self._home.read(make, "the look at the groups")
        )

    async def _reader(self, address: ReplyAddress | None) -> ReplyReader:
        known = self._readers.get(address)
        if known is not None and not known.is_lost:
            return known
        opening = self._openings.get(address)
        if opening is None:
            opening = self._openings[address] = self._home.loop.start(self._open(address))
        cancelled = await self._home.loop.wait_to_the_end(opening)
        if cancelled is not None:
            raise cancelled
        return opening.result()

    async def _open(self, address: ReplyAddress | None) -> ReplyReader:
        try:
            ear = self._waker.ear()
            make = partial(open_reading, self._home.backend, self._desk, self._inner, address, ear)
            reading: Reading = await self._home.call(partial(self._made, make), "the opening of an inbox")
            consumer: Consumer[Any, Any] = Consumer(self._home, reading.consumer, ear, Callbacks(None))
            self._track(consumer)
            reader = self._readers[address] = ReplyReader(self._home, consumer, reading.address, reading.inbox)
            return reader
        finally:
            del self._openings[address]

    def _made(self, make: Callable[[], Reading]) -> Reading:
        """Make a reading, in the thread that commits, and have it closed with the log."""
        self._inner._check_open()
        reading = make()
        self._inner._clients.consumers.add(reading.consumer)
        if reading.inbox is not None:
            self._inboxes.append(reading.inbox)
        return reading

    def _close_inboxes(self) -> None:
        while self._inboxes:
            self._inboxes.pop().close()


def _resolve(future: Future[None]) -> None:
    if not future.done():
        future.set_result(None)
