"""The open clients of a log, which are closed with it."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from eventlog import api
from eventlog.backend import Backend
from eventlog.clients.consumer.consumer import CLOSE_SECONDS, EmbeddedConsumer
from eventlog.clients.producer.producer import EmbeddedProducer
from eventlog.clients.producer.sender import end_abandoned
from eventlog.errors import ConcurrentUse, LogClosed
from eventlog.interruptions import unless_interrupted
from eventlog.uninterruptible import WeakMembers

if TYPE_CHECKING:  # few programs ask
    from eventlog.clients.requests.requester import Asker, Requester


class OpenClients:
    """The clients of one log that have a life of their own; one that nobody holds any more is forgotten."""

    def __init__(self, store: Backend) -> None:
        self._store = store
        self.producers: WeakMembers[EmbeddedProducer] = WeakMembers()
        self.consumers: WeakMembers[EmbeddedConsumer[Any, Any]] = WeakMembers()
        self.followers: WeakMembers[api.Follower] = WeakMembers()
        self.queues: WeakMembers[api.EmbeddedQueue[Any, Any]] = WeakMembers()
        self._requesters: list[Requester] = []
        """What sends our requests is the first."""
        self.endings: list[Callable[[], object]] = []
        """What is left to do when all are closed."""

    def requester(self, log: Asker) -> Requester:
        """What sends our requests, made with the first of them."""
        if not self._requesters:
            from eventlog.clients.requests.requester import open_requester

            made = open_requester(self._store, log, self.consumers.add)
            self.endings.append(made.close)
            self._requesters.append(made)  # another thread may do it at the same time: they use the first of both
        return self._requesters[0]

    @property
    def are_interrupted(self) -> bool:
        """Whether a signal handler or a finalizer has interrupted a call of theirs that closing would wait for."""
        return any(one._is_interrupted for one in (*self.consumers, *self.producers, *self.queues))

    def close_later(self, when_closed: Callable[[], object]) -> None:
        """Have each closed by the call that was interrupted; that of a consumer calls `when_closed` then."""
        for consumer in self.consumers:
            consumer._close_later(when_closed)
        for producer in self.producers:
            producer._close_later()
        for queue in self.queues:
            queue.close()

    def close(self) -> None:
        """Close all, also if one fails; raise the first error at the end."""
        failure: Exception | None = None
        for follower in list(self.followers):
            follower.stop()
        steps: list[Callable[[], object]] = [client.close for client in (*self.queues, *self.producers)]
        steps += [lambda: end_abandoned(self._store), self._close_consumers]
        steps += self.endings
        for step in steps:
            try:
                step()
            except unless_interrupted(Exception) as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def _close_consumers(self) -> None:
        failure: Exception | None = None
        deadline_s, consumers = monotonic() + CLOSE_SECONDS, list(self.consumers)
        for consumer in consumers:
            consumer._prepare_to_close()
        for consumer in consumers:
            try:
                consumer._close_by(deadline_s)
            except unless_interrupted(ConcurrentUse):
                consumer.wakeup()  # its thread will find the log closed
            except unless_interrupted(LogClosed):
                continue  # an interrupted close() has let go of the log, and of the member with it
            except unless_interrupted(Exception) as error:
                failure = failure or error
        if failure is not None:
            raise failure
