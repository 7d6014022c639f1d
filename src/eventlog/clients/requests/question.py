"""
One request, from its arguments to its reply or its error.

What blocks (`requester.py`) and what is awaited (`aio/requests.py`) share it: only sending and waiting differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zlib import crc32

from eventlog.api.topic import Topic
from eventlog.backend import Backend, refusal
from eventlog.clients.consumer.positions import pair_of
from eventlog.clients.requests.calls import Call, Reply
from eventlog.clients.requests.headers import ErrorFields, ReplyAddress, own_headers, read_error, request_headers
from eventlog.clients.requests.presence import Presence
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.codecs import Codec, codec_for
from eventlog.errors import DecodeError, LogClosed, RemoteError, ReplyTooLarge, RequestTimeout
from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.options import HeadersInput, check_bool, check_group_name, check_int, check_message_id, check_seconds
from eventlog.records import Headers, Record, RecordMetadata, TopicPartition

_LEAST_SECONDS = 0.001
_TOO_LARGE = f"{ReplyTooLarge.__module__}.{ReplyTooLarge.__qualname__}"


class Asked(NamedTuple):
    """What a request was told, as the caller passed it."""

    topic: str | Topic[Any, Any]
    headers: HeadersInput | None = None
    partition: int | None = None
    timeout: float = 5.0
    message_id: str | bytes | None = None
    reply: Any = None
    reply_to: str | Topic[Any, Any] | TopicPartition | tuple[str, int] | None = None
    group: str | None = None
    needs_responder: bool = True
    expect: int | None = None
    partial: bool = False


class Desk:
    """
    What the requests of one open log share.

    Args:
        known: finds a topic of the log by its name.
    """

    def __init__(self, backend: Backend, known: Callable[[str], EmbeddedTopic[Any, Any]]) -> None:
        self.backend = backend
        self.known = known
        self.presence = Presence(backend)

    def topic(self, topic: str | Topic[Any, Any]) -> EmbeddedTopic[Any, Any]:
        """
        The topic that a caller means.

        Raises:
            UnknownTopic: there is none of that name.
        """
        return opened(self.backend, self.known, topic)


def opened(
    backend: Backend, known: Callable[[str], EmbeddedTopic[Any, Any]], topic: str | Topic[Any, Any]
) -> EmbeddedTopic[Any, Any]:
    """The topic of that name, or the one that is given, if it is of this log."""
    if isinstance(topic, str):
        return known(topic)
    if not isinstance(topic, EmbeddedTopic):
        raise TypeError(f"a topic is its name or a Topic, not {type(topic).__name__}. Nothing was stored.")
    topic._check_store(backend)
    return topic


def closed_meanwhile(path: str) -> LogClosed:
    """The error for a request that waits while its log is closed."""
    return LogClosed(
        f"the log at {path} is closed, and a request of it has no reply yet.",
        stored="The request may be stored, and answered.",
        advice="Call eventlog.open() again, and ask again.",
    )


class Question:
    """
    A request with its arguments checked, and somebody there to answer it.

    Raises:
        NoResponders: nobody is. Nothing was stored.
        UnknownTopic, UnknownPartition, ValueError, TypeError: an argument is wrong. Nothing was stored.
    """

    def __init__(self, desk: Desk, asked: Asked) -> None:
        if desk.backend.is_read_only:
            raise refusal("send a request", desk.backend)
        self._desk = desk
        self.topic = desk.topic(asked.topic)
        self._timeout = check_seconds("timeout", asked.timeout, least=_LEAST_SECONDS)
        self.deadline_s = desk.backend.clock.monotonic() + self._timeout
        self._deadline_ms = desk.backend.clock.now_ms() + round(self._timeout * 1000)
        self._message_id = None if asked.message_id is None else check_message_id(asked.message_id)
        self._own = own_headers(asked.headers)
        self._group = None if asked.group is None else check_group_name(asked.group)
        self._is_partial = check_bool("partial", asked.partial)
        self.address, self._codec = self._reply_address(asked)
        needs_responder = check_bool("needs_responder", asked.needs_responder)
        expect = None if asked.expect is None else check_int("expect", asked.expect, least=1)
        name = self.topic.name
        if expect is None:
            self.expected = desk.presence.count(name, self._group)
        else:
            self.expected = expect
            if needs_responder:
                desk.presence.check(name, self._group)

    def _reply_address(self, asked: Asked) -> tuple[ReplyAddress | None, Codec[Any]]:
        """Where the reply is to go, None for our inbox, and the codec of its value."""
        codec: Codec[Any] = self.topic._route.value_codec
        address = None
        if asked.reply_to is not None:
            partition = None
            if isinstance(asked.reply_to, tuple):
                where, partition = pair_of(asked.reply_to)
                topic = self._desk.topic(where)
                topic._route.check_partition(partition)
            else:
                topic = self._desk.topic(asked.reply_to)
            address = ReplyAddress(topic.name, partition)
            if topic.value != "bytes":
                codec = topic._route.value_codec
        if asked.reply is not None:
            codec = codec_for(asked.reply, topic=self.topic.name, role="value")
        return address, codec

    def headers(self, call: Call, address: ReplyAddress, value: object) -> Headers:
        """The headers of the request."""
        checksum = 0
        if self._message_id is not None:
            checksum = crc32(self.topic._route.value_codec.encode(value) or b"")
        return (*self._own, *request_headers(call.id, address, self._deadline_ms, self._message_id, checksum))

    def replies(self, call: Call, stored: RecordMetadata) -> list[Record[Any, Any]]:
        """
        The replies, decoded.

        Raises:
            RemoteError: one of them is an error, and not partial.
            RequestTimeout: there are fewer than expected, and not partial.
            DecodeError: a value is none of the codec's.
        """
        replies: list[Record[Any, Any]] = []
        for reply in call.replies:
            fields = read_error(reply.headers)
            if fields is None:
                replies.append(self._decoded(reply))
            elif not self._is_partial:
                raise self._remote_error(fields, stored, tuple(replies))
        if not call.is_done and not self._is_partial:
            raise self._timeout_error(call, stored, tuple(replies))
        return replies

    def _decoded(self, reply: Reply) -> Record[Any, Any]:
        try:
            value = self._codec.decode(reply.value)
        except unless_interrupted(ValueError) as error:
            raise DecodeError(
                f"cannot decode the reply to a request to topic {self.topic.name!r}: {error}",
                stored="The request was answered.",
                advice="Pass reply= as the responder does.",
                record=reply,
                topic=reply.topic,
                partition=reply.partition,
                offset=reply.offset,
            ) from error
        return Record(reply.topic, reply.partition, reply.offset, reply.timestamp_ms, reply.key, value, reply.headers)

    def _remote_error(
        self, fields: ErrorFields, stored: RecordMetadata, replies: tuple[Record[Any, Any], ...]
    ) -> RemoteError:
        kind = ReplyTooLarge if fields.type == _TOO_LARGE else RemoteError
        return kind(
            f"the request at offset {stored.offset} of {stored.topic}[{stored.partition}] was answered by "
            f"{fields.type}: {fields.message}",
            stored="Nothing that the responder did for it is stored, and it is done with it.",
            advice="Mend the cause, and ask again.",
            type=fields.type,
            message=fields.message,
            traceback=fields.traceback,
            replies=replies,
            topic=stored.topic,
            partition=stored.partition,
            offset=stored.offset,
            group=self._group,
        )

    def _timeout_error(
        self, call: Call, stored: RecordMetadata, replies: tuple[Record[Any, Any], ...]
    ) -> RequestTimeout:
        groups = self._desk.presence.groups(self.topic.name, self._group)
        who = f"live members of {', '.join(map(repr, groups))} read" if groups else "no live member of a group reads"
        count = f"{len(call.replies)} of {self.expected} replies" if self.expected > 1 else "no reply"
        advice = "Ask again, for longer"
        if self._message_id is None:
            advice += "; with message_id= a responder does it once, however often it is asked"
        return RequestTimeout(
            f"{count} came in {self._timeout} s to the request at offset {stored.offset} of "
            f"{stored.topic}[{stored.partition}]; {who} the topic now.",
            stored="The request is stored; a responder that comes to it later passes it by, unless it has begun.",
            advice=f"{advice}.",
            replies=replies,
            topic=stored.topic,
            partition=stored.partition,
            offset=stored.offset,
            group=self._group,
        )
