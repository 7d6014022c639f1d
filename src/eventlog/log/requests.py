"""The part of the embedded log that asks and answers."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from eventlog import api
from eventlog.api.consumer import Callback
from eventlog.api.event_log import EventLog
from eventlog.api.overriding import override
from eventlog.api.requests import ReplyTo
from eventlog.api.topic import Topic
from eventlog.api.transaction import Transaction
from eventlog.backend import Backend
from eventlog.clients.consumer.consumer import EmbeddedConsumer
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.clients.transaction.transaction import EmbeddedLentTransaction
from eventlog.log.clients import OpenClients
from eventlog.options import (
    DEFAULT_MAX_RECORDS,
    DEFAULT_MAX_RETRY_PAUSE,
    DEFAULT_RETRY_JITTER,
    DEFAULT_RETRY_PAUSE,
    MAX_TRANSACTION_BYTES,
    HeadersInput,
    Start,
)
from eventlog.records import Record

if TYPE_CHECKING:  # few programs ask
    from eventlog.clients.requests.requester import Requester


class EmbeddedLogRequests(EventLog):
    """The methods of the embedded log for requests and replies."""

    _store: Backend
    _clients: OpenClients

    def _known_topic(self, name: str) -> EmbeddedTopic[Any, Any]:
        raise NotImplementedError

    def _check_open(self) -> None:
        raise NotImplementedError

    @override
    def request(  # pyright: ignore[reportIncompatibleMethodOverride] - its options are a TypedDict there
        self,
        topic: str | Topic[Any, Any],
        value: Any = None,
        *,
        key: Any = None,
        headers: HeadersInput | None = None,
        partition: int | None = None,
        timeout: float = 5.0,
        message_id: str | bytes | None = None,
        reply: Any = None,
        reply_to: ReplyTo = None,
        group: str | None = None,
        needs_responder: bool = True,
    ) -> Record[Any, Any]:
        from eventlog.clients.requests.question import Asked

        asked = Asked(topic, headers, timeout, message_id, reply, reply_to, group, needs_responder)
        return self._asking().ask(value, asked, key, partition)[0]

    @override
    def gather(  # pyright: ignore[reportIncompatibleMethodOverride] - its options are a TypedDict there
        self,
        topic: str | Topic[Any, Any],
        value: Any = None,
        *,
        expect: int | None = None,
        partial: bool = False,
        key: Any = None,
        headers: HeadersInput | None = None,
        partition: int | None = None,
        timeout: float = 5.0,
        message_id: str | bytes | None = None,
        reply: Any = None,
        reply_to: ReplyTo = None,
        group: str | None = None,
        needs_responder: bool = True,
    ) -> list[Record[Any, Any]]:
        from eventlog.clients.requests.question import Asked

        asked = Asked(topic, headers, timeout, message_id, reply, reply_to, group, needs_responder, expect, partial)
        return self._asking().ask(value, asked, key, partition)

    @override
    def responder(  # pyright: ignore[reportIncompatibleMethodOverride] - its options are a TypedDict there
        self,
        topic: str | Topic[Any, Any],
        *,
        function: Callable[[Transaction, Record[Any, Any]], object],
        group: str,
        reply: Any = None,
        start: Start = "earliest",
        max_records: int = DEFAULT_MAX_RECORDS,
        attempts: int = 1,
        retry_pause: float = DEFAULT_RETRY_PAUSE,
        max_retry_pause: float = DEFAULT_MAX_RETRY_PAUSE,
        retry_jitter: float = DEFAULT_RETRY_JITTER,
        duplicate_window: float = 86_400.0,
        max_bytes: int = MAX_TRANSACTION_BYTES,
        assignor: str | api.Assignor = "sticky",
        instance_id: str | None = None,
        session_timeout: float = 10.0,
        max_poll_interval: float = 300.0,
    ) -> api.Responder:
        self._check_open()
        from eventlog.clients.requests.question import opened
        from eventlog.clients.requests.responder import open_responder

        asked = opened(self._store, self._known_topic, topic)

        def member(on_assigned: Callback) -> EmbeddedConsumer[Any, Any]:
            made = self.consumer(
                asked,
                group=group,
                start=start,
                auto_commit=False,
                assignor=assignor,
                instance_id=instance_id,
                session_timeout=session_timeout,
                max_poll_interval=max_poll_interval,
                on_assigned=on_assigned,
            )
            assert isinstance(made, EmbeddedConsumer)
            return made

        return open_responder(
            self._store,
            self._known_topic,
            self,
            asked,
            function,
            member,
            lambda: EmbeddedLentTransaction(self._store, self._known_topic, max_bytes=max_bytes),
            reply=reply,
            group=group,
            duplicate_window=duplicate_window,
            max_records=max_records,
            attempts=attempts,
            retry_pause=retry_pause,
            max_retry_pause=max_retry_pause,
            retry_jitter=retry_jitter,
            max_bytes=max_bytes,
            max_poll_interval=max_poll_interval,
        )

    def _asking(self) -> Requester:
        """What sends our requests."""
        self._check_open()
        return self._clients.requester(self._make_requester)

    def _make_requester(self) -> Requester:
        from eventlog.clients.requests.requester import Requester

        us = weakref.proxy(self)  # a circle would keep a dropped log open until the collector comes by

        def known(name: str) -> EmbeddedTopic[Any, Any]:
            found: EmbeddedTopic[Any, Any] = us._known_topic(name)
            return found

        return Requester(self._store, known, us, self._clients.consumers.add)
