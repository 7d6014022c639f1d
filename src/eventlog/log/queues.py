"""The part of the embedded log that has queues; `EmbeddedLog` has these methods."""

from __future__ import annotations

from typing import Any, Literal, Never

from eventlog import api
from eventlog.api.log_queues import LogQueues
from eventlog.api.overriding import override
from eventlog.api.topic import Topic
from eventlog.backend import Backend
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.clients.transaction.transaction import EmbeddedTransaction
from eventlog.log.clients import OpenClients
from eventlog.options import Start, refuse_options


class LogOfQueues(LogQueues):
    """Queues of an embedded log."""

    _store: Backend
    _clients: OpenClients

    def _check_open(self) -> None:
        raise NotImplementedError

    def _known_topic(self, name: str) -> EmbeddedTopic[Any, Any]:
        raise NotImplementedError

    def transaction(self) -> EmbeddedTransaction:
        """Begin a transaction."""
        raise NotImplementedError

    @property
    @override
    def queues(self) -> api.EmbeddedQueues:
        from eventlog.clients.admin.queues import EmbeddedQueues

        return EmbeddedQueues(self._store, self._check_open, self._known_topic, self.transaction)

    @override
    def queue(  # pyright: ignore[reportIncompatibleMethodOverride] - its options are a TypedDict there
        self,
        *topics: str | Topic[Any, Any],
        group: str,
        start: Start = "earliest",
        attempts: int | None = None,
        dead_letters: str | Topic[Any, Any] | Literal[False] | None = None,
        backoff: tuple[float, float] | None = None,
        per_key: int | None = None,
        timeout: float | None = None,
        weights: tuple[int, ...] | None = None,
        max_poll_records: int = 1,
        session_timeout: float = 10.0,
        **others: Never,
    ) -> api.EmbeddedQueue[Any, Any]:
        if others:
            refuse_options("EventLog.queue", others)
        self._check_open()
        from eventlog.clients.queue.opening import open_queue

        queue = open_queue(
            self._store,
            self._known_topic,
            topics,
            group=group,
            start=start,
            attempts=attempts,
            dead_letters=dead_letters,
            backoff=backoff,
            per_key=per_key,
            timeout=timeout,
            weights=weights,
            max_poll_records=max_poll_records,
            session_timeout=session_timeout,
        )
        self._clients.queues.add(queue)
        return queue
