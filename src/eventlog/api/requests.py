"""The part of a log that asks and answers: requests whose replies are waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypedDict, TypeVar, Unpack, overload

from eventlog import api
from eventlog.api.features import FrontDoor
from eventlog.api.topic import Topic
from eventlog.api.transaction import Transaction
from eventlog.codecs.base import ValueCodec
from eventlog.options import (
    DEFAULT_MAX_RECORDS,
    DEFAULT_MAX_RETRY_PAUSE,
    DEFAULT_RETRY_JITTER,
    DEFAULT_RETRY_PAUSE,
    MAX_TRANSACTION_BYTES,
    HeadersInput,
    Start,
)
from eventlog.records import Record, TopicPartition

K = TypeVar("K")
V = TypeVar("V")
R = TypeVar("R")
ReplyTo: TypeAlias = str | Topic[Any, Any] | TopicPartition | tuple[str, int] | None
"""Where replies go: a topic, one of its partitions, or None for the inbox of this process."""


class Asking(TypedDict, total=False):
    """The options of a request that have no part in its types."""

    headers: HeadersInput | None
    partition: int | None
    timeout: float
    message_id: str | bytes | None
    reply_to: ReplyTo
    group: str | None
    needs_responder: bool


class Gathering(Asking, total=False):
    """The options of a request to several groups."""

    expect: int | None
    partial: bool


class Responding(TypedDict, total=False):
    """The options of a responder that have no part in its types."""

    start: Start
    max_records: int
    attempts: int
    retry_pause: float
    max_retry_pause: float
    retry_jitter: float
    duplicate_window: float
    max_bytes: int
    assignor: str | api.Assignor
    instance_id: str | None
    session_timeout: float
    max_poll_interval: float


class Requesting(FrontDoor):
    """The methods of `EventLog` for requests and replies."""

    __slots__ = ()

    @overload
    def request(
        self,
        topic: str | Topic[K, V],
        value: V | None = None,
        *,
        key: K | None = None,
        reply: type[R] | ValueCodec[R],
        **options: Unpack[Asking],
    ) -> Record[Any, R]: ...
    @overload
    def request(
        self,
        topic: Topic[K, V],
        value: V | None = None,
        *,
        key: K | None = None,
        reply: None = None,
        **options: Unpack[Asking],
    ) -> Record[Any, V]: ...
    @overload
    def request(
        self,
        topic: str | Topic[Any, Any],
        value: Any = None,
        *,
        key: Any = None,
        reply: object = None,
        **options: Unpack[Asking],
    ) -> Record[Any, Any]: ...
    def request(
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
        """
        Append a request to a topic, and wait for its reply: the first that comes.

        Whoever reads the topic may answer: a responder of any process, or a client of Kafka. A request is a record with
        the headers of Spring's `ReplyingKafkaTemplate`, and its reply has the same correlation id. Any number of
        threads may ask at once.

        Args:
            topic: the topic for requests, or its name; it has to be there.
            value, key, headers, partition: as for `Topic.append`.
            timeout: seconds to wait for the reply (default 5.0). They go along with the request: a responder that comes
                to it later passes it by.
            message_id: the name of this request, 1 to 255 bytes. Sent again under the same name it is done once: a
                responder answers it as it did the first time. None (default) does it as often as it is sent.
            reply: the codec of the reply's value, as for `log.topic`. None (default) is that of the request's values,
                or of the topic `reply_to` if that has one.
            reply_to: a topic for the reply, or one partition of it, where replies stay and can be read later; those of
                other requests there are passed by. None (default) is a topic of this process, which is deleted with
                what was read; if the process is killed, another one deletes it.
            group: the group that is to be there to answer; None (default) is any group.
            needs_responder: whether to send nothing when no live member of a group reads the topic (default). False has
                the request wait, also for readers that are in no group.

        Returns:
            The reply.

        Raises:
            NoResponders: nobody is there to answer. Nothing was stored.
            RequestTimeout: no reply came in time; a `TimeoutError`. The request is stored.
            RemoteError: the responder's function raised an exception.
            ReplyTooLarge: the reply has more bytes than the topic for replies takes: 16 MiB without `reply_to`.
            DecodeError: the reply's value is none of its codec.
            UnknownTopic: there is no such topic; or the one for replies was deleted meanwhile.
            NestedCall: a signal handler interrupted a request of the same thread. Nothing was stored.
            ValueError, TypeError, UnknownPartition, RecordTooLarge: an argument is wrong. Nothing was stored.
            StorageError, LogClosed: as for `Topic.append`.

        Example:
            >>> with eventlog.open(":memory:") as log:
            ...     cups = log.topic("cups", value=int)
            ...     try:
            ...         log.request(cups, 2)
            ...     except eventlog.NoResponders as error:
            ...         print(error.what)
            cannot send a request to topic 'cups': no live member of a group reads it.
        """
        raise self._lacks("request()", "requests")

    @overload
    def gather(
        self,
        topic: str | Topic[K, V],
        value: V | None = None,
        *,
        key: K | None = None,
        reply: type[R] | ValueCodec[R],
        **options: Unpack[Gathering],
    ) -> list[Record[Any, R]]: ...
    @overload
    def gather(
        self,
        topic: Topic[K, V],
        value: V | None = None,
        *,
        key: K | None = None,
        reply: None = None,
        **options: Unpack[Gathering],
    ) -> list[Record[Any, V]]: ...
    @overload
    def gather(
        self,
        topic: str | Topic[Any, Any],
        value: Any = None,
        *,
        key: Any = None,
        reply: object = None,
        **options: Unpack[Gathering],
    ) -> list[Record[Any, Any]]: ...
    def gather(
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
        """
        Append one request to a topic, and wait for the replies of several groups.

        Every group of responders gets the request, and one member of each answers; a group that answers twice counts
        once. The options are those of `request`, and these two:

        Args:
            expect: the number of replies to wait for. None (default) is the number of groups with a live member that
                reads the topic, at the call.
            partial: whether to return what has come when the time is over, without the replies that are errors. False
                (default) raises.

        Returns:
            The replies, in the order in which they came.

        Raises:
            RequestTimeout: fewer came in time; `replies` has them.
            RemoteError: one of them is an error; `replies` has those before it.
            Exception: as for `request`.
        """
        raise self._lacks("gather()", "requests")

    @overload
    def responder(
        self,
        topic: Topic[K, V],
        *,
        function: Callable[[Transaction, Record[K, V]], object],
        group: str,
        reply: object = None,
        **options: Unpack[Responding],
    ) -> api.Responder: ...
    @overload
    def responder(
        self,
        topic: str,
        *,
        function: Callable[[Transaction, Record[Any, Any]], object],
        group: str,
        reply: object = None,
        **options: Unpack[Responding],
    ) -> api.Responder: ...
    def responder(
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
        """
        Make a responder, which answers the requests of a topic by what a function returns.

        Its promises are described at `Responder`.

        Args:
            topic: the topic for requests, or its name.
            function: called with a transaction and the request's record, as the function of a processor; its result is
                the value of the reply. It may be called again for the same request, when it was not stored.
            group: the group that shares the requests. Members of one group divide them; every group gets them all.
            reply: the codec of the replies' values, as for `log.topic`. None (default) is that of the request's values.
                A topic that the requester chose for the reply and that has a codec other than `bytes` has its way.
            attempts: the number of attempts before an exception is the reply (default 1).
            duplicate_window: the seconds for which the answer to a request with a message id is kept at least (default
                86,400: a day), as a row of the log.
            start, max_records, retry_pause, max_retry_pause, retry_jitter, max_bytes, assignor, instance_id,
                session_timeout, max_poll_interval: as for `processor()`.

        Raises:
            UnknownTopic, InstanceInUse, GroupMismatch, OffsetOutOfRange: as for `consumer()`. Nothing was made.
            ValueError, TypeError: an option is out of its bounds. Nothing was made.
        """
        raise self._lacks("responder()", "requests")
