"""The open clients of a log, which are closed with it."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from eventlog import api
from eventlog.backend import Backend
from eventlog.clients.consumer.consumer import CLOSE_SECONDS, EmbeddedConsumer
from eventlog.clients.producer.producer import EmbeddedProducer
from eventlog.clients.producer.sender import end_abandoned
from eventlog.errors import ConcurrentUse, LogClosed
from eventlog.interruptions import unless_interrupted
from eventlog.uninterruptible import WeakMembers


class OpenClients:
    """The clients of one log that have a life of their own; one that nobody holds any more is forgotten."""

    def __init__(self, store: Backend) -> None:
        self._store = store
        self.producers: WeakMembers[EmbeddedProducer] = WeakMembers()
        self.consumers: WeakMembers[EmbeddedConsumer[Any, Any]] = WeakMembers()
        self.followers: WeakMembers[api.Follower] = WeakMembers()

    @property
    def are_interrupted(self) -> bool:
        """Whether a signal handler or a finalizer has interrupted a call of theirs that closing would wait for."""
        return any(one._is_interrupted for one in self.consumers) or any(one._is_interrupted for one in self.producers)

    def close_later(self, when_closed: Callable[[], object]) -> None:
        """Have each closed by the call that was interrupted; that of a consumer calls `when_closed` then."""
        for consumer in self.consumers:
            consumer._close_later(when_closed)
        for producer in self.producers:
            producer._close_later()

    def close(self) -> None:
        """Close all, also if one fails; raise the first error at the end."""
        failure: Exception | None = None
        for follower in list(self.followers):
            follower.stop()
        for producer in list(self.producers):
            try:
                producer.close()
            except unless_interrupted(Exception) as error:
                failure = failure or error
        try:
            end_abandoned(self._store)
        except unless_interrupted(Exception) as error:
            failure = failure or error
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
