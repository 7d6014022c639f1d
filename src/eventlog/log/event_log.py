"""
The embedded log: the front door over a store in this process.

It puts the pieces together; arguments are checked by the clients it makes. The promises are in `api/event_log.py`.
"""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar, Unpack, cast
from uuid import UUID

from eventlog import api
from eventlog.api.consumer import Consumer, Consuming
from eventlog.api.event_log import EventLog
from eventlog.api.features import FEATURES
from eventlog.api.log_queues import Queueing
from eventlog.api.overriding import override
from eventlog.api.producer import Producing
from eventlog.api.requests import Asking, Gathering, Responding
from eventlog.api.topic import Topic, TopicOptions
from eventlog.api.transaction import Function, Processing, Transaction
from eventlog.backend import Backend
from eventlog.clients.consumer.consumer import EmbeddedConsumer
from eventlog.clients.consumer.opening import open_consumer
from eventlog.clients.producer.producer import EmbeddedProducer
from eventlog.clients.reading.log_reader import LogReader, open_reader, read_log, records_of
from eventlog.clients.topic.registry import Topics
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.clients.transaction.transaction import EmbeddedTransaction
from eventlog.errors import LogClosed
from eventlog.interruptions import is_interruption, suppress
from eventlog.log.clients import OpenClients
from eventlog.options import (
    DEFAULT_COPIED_RECORDS,
    MAX_FOLDED_BYTES,
    MAX_FOLDED_RECORDS,
    MAX_TRANSACTION_BYTES,
    OWN_STATES,
    check_options,
    check_path,
    check_projection_name,
    check_seconds,
    check_state_name,
    check_topic_name,
)
from eventlog.records import Record, RecordBatch

T = TypeVar("T")
_Progress: TypeAlias = Callable[[int, int], object] | None


class EmbeddedLog(EventLog):
    """The embedded log: see `eventlog.EventLog`."""

    _backend_name: ClassVar[str] = "embedded"
    _features = frozenset(FEATURES)

    def __init__(self, store: Backend, user: object, *, cleans: bool = False) -> None:
        self._store = store
        self._user = user
        """For whom the store stays open."""
        us = weakref.ref(self)  # a circle would keep a dropped log open until the collector comes by
        self._topics = Topics(store, lambda: cast("EmbeddedLog", us()), cleans=cleans)
        self._clients = OpenClients(store)
        self._is_closed = False
        self._is_closing = False
        self._has_ended = False
        """Whether `close()` has come to its end; a signal handler may have interrupted it before."""
        self._is_refusing = False
        """Whether calls are refused: it is closed, or a signal handler has asked for that."""
        self._finalizer = weakref.finalize(self, store.abandon, user)
        # At the interpreter's exit only a log in memory has something to remove; threads may still read the others.
        self._finalizer.atexit = store.durability == "memory"

    @property
    @override
    def path(self) -> api.Path:
        from pathlib import Path  # which a log itself does not need: `eventlog.open()` is fast

        return Path(self._store.path)

    @property
    @override
    def durability(self) -> str:
        return self._store.durability

    @property
    @override
    def uuid(self) -> UUID:
        return self._store.uuid

    @property
    @override
    def is_closed(self) -> bool:
        return self._is_refusing

    # -- topics ----------------------------------------------------------------------------------------------

    @override
    def topic(
        self, name: str, *, key: Any = None, value: Any = None, **options: Unpack[TopicOptions]
    ) -> Topic[Any, Any]:
        check_options("EventLog.topic", options, TopicOptions)
        self._check_open()
        return self._topics.open(name, key=key, value=value, **options)

    @override
    def topics(self) -> list[str]:
        self._check_open()
        return [row.name for row in self._store.topics()]

    @override
    def delete_topic(self, name: str) -> None:
        self._check_open()
        self._topics.forget(name)
        self._store.delete_topic(check_topic_name(name))

    def _known_topic(self, name: str) -> EmbeddedTopic[Any, Any]:
        """The topic of that name, with the codecs that this log was told of."""
        if self._is_closed:  # not sooner: a consumer that closes may still ask
            self._check_open()
        return self._topics.known(name)

    # -- clients ---------------------------------------------------------------------------------------------

    @override
    def producer(self, **options: Unpack[Producing]) -> EmbeddedProducer:
        check_options("EventLog.producer", options, Producing)
        self._check_open()
        producer = EmbeddedProducer(self._store, self._known_topic, **options)
        self._clients.producers.add(producer)
        return producer

    @override
    def consumer(
        self, *topics: str | Topic[Any, Any] | re.Pattern[str], **options: Unpack[Consuming]
    ) -> EmbeddedConsumer[Any, Any]:
        check_options("EventLog.consumer", options, Consuming)
        self._check_open()
        consumer = open_consumer(self._store, self._known_topic, topics, **options)
        self._clients.consumers.add(consumer)
        consumer._begin()
        return consumer

    @override
    def queue(
        self, *topics: str | Topic[Any, Any], group: str, **options: Unpack[Queueing]
    ) -> api.EmbeddedQueue[Any, Any]:
        check_options("EventLog.queue", options, Queueing)
        self._check_open()
        from eventlog.clients.queue.opening import open_queue

        queue = open_queue(self._store, self._known_topic, topics, group=group, **options)
        self._clients.queues.add(queue)
        return queue

    @property
    @override
    def queues(self) -> api.EmbeddedQueues:
        from eventlog.clients.admin.queues import EmbeddedQueues

        return EmbeddedQueues(self._store, self._check_open, self._known_topic, self.transaction)

    @property
    @override
    def groups(self) -> api.EmbeddedGroups:
        from eventlog.clients.admin.groups import EmbeddedGroups

        return EmbeddedGroups(self._store, self._check_open)

    @property
    @override
    def schedules(self) -> api.EmbeddedSchedules:
        from eventlog.clients.admin.schedules import EmbeddedSchedules

        return EmbeddedSchedules(self._store, self._check_open, self._known_topic)

    @override
    def transaction(
        self, consumer: Consumer[Any, Any] | None = None, *, max_bytes: int = MAX_TRANSACTION_BYTES
    ) -> EmbeddedTransaction:
        self._check_open()
        return EmbeddedTransaction(self._store, self._known_topic, max_bytes=max_bytes, consumer=consumer)

    @override
    def transact(
        self,
        function: Callable[[Transaction], T],
        *,
        consumer: Consumer[Any, Any] | None = None,
        attempts: int = 10,
        max_bytes: int = MAX_TRANSACTION_BYTES,
    ) -> T:
        from eventlog.clients.transaction.attempts import transact

        return transact(lambda: self.transaction(consumer, max_bytes=max_bytes), function, attempts)

    @override
    def processor(
        self,
        *topics: str | Topic[Any, Any] | re.Pattern[str],
        function: Function,
        group: str,
        **options: Unpack[Processing],
    ) -> api.Processor:
        check_options("EventLog.processor", options, Processing)
        self._check_open()
        from eventlog.clients.transaction.processor import open_processor

        return open_processor(self._store, self._known_topic, self.consumer, topics, function, group, options)

    # -- requests and replies --------------------------------------------------------------------------------

    @override
    def request(
        self,
        topic: str | Topic[Any, Any],
        value: Any = None,
        *,
        key: Any = None,
        reply: Any = None,
        **options: Unpack[Asking],
    ) -> Record[Any, Any]:
        check_options("EventLog.request", options, Asking)
        return self._requester().ask(topic, value, key, reply=reply, expect=1, **options)[0]

    @override
    def gather(
        self,
        topic: str | Topic[Any, Any],
        value: Any = None,
        *,
        key: Any = None,
        reply: Any = None,
        **options: Unpack[Gathering],
    ) -> list[Record[Any, Any]]:
        check_options("EventLog.gather", options, Gathering)
        return self._requester().ask(topic, value, key, reply=reply, **options)

    @override
    def responder(
        self,
        topic: str | Topic[Any, Any],
        *,
        function: Function,
        group: str,
        reply: Any = None,
        **options: Unpack[Responding],
    ) -> api.Responder:
        check_options("EventLog.responder", options, Responding)
        self._check_open()
        from eventlog.clients.requests.responder import open_responder

        return open_responder(
            self, self._store, self._known_topic, self.consumer, topic, function, group, reply, options
        )

    def _requester(self) -> api.Requester:
        """What sends our requests, made with the first of them."""
        self._check_open()
        return self._clients.requester(self)

    # -- states and projections ------------------------------------------------------------------------------

    @override
    def state(self, name: str, *, key: Any = None, value: Any = None) -> api.StateView[Any, Any]:
        self._check_open()
        from eventlog.clients.state.view import view

        return view(self._store, name, key, value, check=self._check_open)

    @override
    def states(self) -> list[str]:
        self._check_open()
        names = [row.name for row in self._store.states()]
        return [name for name in names if not name.startswith(OWN_STATES)]

    @override
    def delete_state(self, name: str) -> None:
        self._check_open()
        self._store.delete_state(check_state_name(name))

    @override
    def projection(
        self,
        name: str,
        function: object = None,
        *,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        key: Any = None,
        value: Any = None,
        max_records: int = MAX_FOLDED_RECORDS,
        max_bytes: int = MAX_FOLDED_BYTES,
        on_out_of_range: Literal["raise", "earliest"] = "raise",
    ) -> api.Projection[Any, Any]:
        self._check_open()
        from eventlog.clients.projection.opening import declare_projection

        return declare_projection(
            self._store,
            self._topics.by_id,
            name,
            function,
            topics=topics,
            key=key,
            value=value,
            max_records=max_records,
            max_bytes=max_bytes,
            on_out_of_range=on_out_of_range,
            check=self._check_open,
        )

    @override
    def projections(self) -> list[str]:
        self._check_open()
        return [row.name for row in self._store.projections()]

    @override
    def delete_projection(self, name: str) -> None:
        self._check_open()
        self._store.delete_projection(check_projection_name(name))

    @override
    def copy_topic(
        self,
        source: str | Topic[Any, Any],
        *,
        to: str | Topic[Any, Any],
        key: Any = None,
        value: Any = None,
        convert: Callable[[Any], Any] | None = None,
        progress: Callable[[int, int], object] | None = None,
        max_records: int = DEFAULT_COPIED_RECORDS,
    ) -> api.TopicCopy[Any, Any]:
        self._check_open()
        from eventlog.clients.copying.topic_copy import copy_topic

        return copy_topic(
            self, source, to=to, key=key, value=value, convert=convert, progress=progress, max_records=max_records
        )

    # -- the order of the whole log --------------------------------------------------------------------------

    @override
    def end_log_position(self) -> int:
        self._check_open()
        return self._store.end_log_position()

    @override
    def read_all(
        self,
        start: int = 0,
        *,
        end: int | datetime | None = None,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        max_records: int | None = None,
    ) -> Iterator[tuple[int, Record[Any, Any]]]:
        return records_of(self.read_all_batches(start, end=end, topics=topics, max_records=max_records))

    @override
    def read_all_batches(
        self,
        start: int = 0,
        *,
        end: int | datetime | None = None,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        max_records: int | None = None,
    ) -> Iterator[tuple[int, RecordBatch[Any, Any]]]:
        self._check_open()
        return read_log(self._store, self._topics.by_id, start, end=end, topics=topics, max_records=max_records)

    @override
    def follow(
        self,
        start: int | datetime | Literal["latest"] = 0,
        *,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        timeout: float | None = None,
    ) -> api.Follower:
        from eventlog.clients.reading.follower import Follower

        reader = self._follow_from(start, topics)
        reader.begin()
        limit = None if timeout is None else check_seconds("timeout", timeout)
        follower = Follower(self._store, reader, limit, self._check_open)
        self._clients.followers.add(follower)
        return follower

    def _follow_from(
        self, start: int | datetime | Literal["latest"], topics: Iterable[str | Topic[Any, Any]] | None
    ) -> LogReader:
        """A reader of the whole log, to be asked again and again."""
        self._check_open()
        return open_reader(self._store, self._topics.by_id, start, topics)

    # -- care ------------------------------------------------------------------------------------------------

    @override
    def sync(self) -> None:
        self._check_open()
        self._store.sync()

    @override
    def verify(self, *, progress: Callable[[int], object] | None = None) -> api.VerifyReport:
        self._check_open()
        return self._store.verify(progress)

    @override
    def clean(self, budget: float | None = None) -> api.CleanReport:
        self._check_open()
        return self._store.clean(None if budget is None else check_seconds("budget", budget))

    @override
    def stats(self) -> api.LogStats:
        self._check_open()
        return self._store.stats()

    @override
    def compact(self, destination: str | os.PathLike[str]) -> int:
        self._check_open()
        return self._store.compact(check_path("compact into", destination))

    @override
    def backup(
        self, target: str | os.PathLike[str], *, incremental: bool = False, progress: _Progress = None
    ) -> api.BackupReport:
        self._check_open()
        return self._store.backup(check_path("back up into", target), is_incremental=incremental, progress=progress)

    # -- life ------------------------------------------------------------------------------------------------

    @override
    def close(self) -> None:
        if self._is_closing or self._has_ended:
            return
        if self._store.is_interrupted or self._clients.are_interrupted:
            self._close_later()
            return
        self._is_closing = True
        try:
            self._clients.close()  # until they are closed they may ask for topics
        except BaseException as error:
            self._release(has_ended=not is_interruption(error))
            raise
        else:
            self._release(has_ended=True)
        finally:
            self._is_closing = False

    def _release(self, *, has_ended: bool) -> None:
        """Let go of the store; after an interruption `close()` may come again, and closes what is left."""
        try:
            self._is_closed = self._is_refusing = True
            self._store.release(self._user)
        finally:
            self._store.release(self._user)
            self._finalizer.detach()
            self._has_ended = has_ended

    def _close_later(self) -> None:
        """
        Refuse new calls from now on, and close when the interrupted call is over.

        A consumer's call closes it, and then us. Else the next call of whatever we made does, or the next `close()`.
        """
        self._is_refusing = True
        self._clients.close_later(self.close)

    def _crash(self) -> None:
        """End as the death of the process would; our clients find the log closed."""
        self._is_closing = True
        self._finalizer.detach()
        self._store.crash()
        with suppress(Exception):  # they have unsent records, uncommitted offsets: that is what a crash loses
            self._clients.close()
        self._is_closed = self._is_refusing = self._has_ended = True

    def _check_open(self) -> None:
        if self._is_refusing:
            self.close()
            raise LogClosed(
                f"the log at {self.path} is closed.",
                stored="Nothing was changed.",
                advice="Call eventlog.open() again.",
            )

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else self.durability
        return f"<EventLog {str(self.path)!r}: {state}>"
