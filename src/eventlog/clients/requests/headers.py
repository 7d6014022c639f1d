"""
The headers of requests and replies.

The first three are those of Spring's `ReplyingKafkaTemplate`, so any client of Kafka can ask or answer: the correlation
id is any bytes, the partition four bytes, the most significant first. Others write that number as text, which is read
too. The rest are ours, all of them text, and may be missing. Pure.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Final

from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.options import HeadersInput, check_headers
from eventlog.records import Headers

CORRELATION_ID: Final = "kafka_correlationId"
REPLY_TOPIC: Final = "kafka_replyTopic"
REPLY_PARTITION: Final = "kafka_replyPartition"
DEADLINE: Final = "eventlog_deadlineMs"
MESSAGE_ID: Final = "eventlog_messageId"
CHECKSUM: Final = "eventlog_valueCrc32"
GROUP: Final = "eventlog_group"
ERROR_TYPE: Final = "eventlog_errorType"
ERROR_MESSAGE: Final = "eventlog_errorMessage"
ERROR_TRACEBACK: Final = "eventlog_errorTraceback"

_OF_REQUESTS: Final = frozenset({CORRELATION_ID, REPLY_TOPIC, REPLY_PARTITION, DEADLINE, MESSAGE_ID, CHECKSUM})
_PARTITION_BYTES: Final = 4
_MOST_MESSAGE = 4096
_MOST_TRACEBACK = 16_384


class ReplyAddress(NamedTuple):
    """Where a reply goes: a topic, and one of its partitions or None for any."""

    topic: str
    partition: int | None = None


class RequestHeaders(NamedTuple):
    """What the headers of a request say; None for what is missing or makes no sense."""

    correlation_id: bytes | None = None
    address: ReplyAddress | None = None
    deadline_ms: int | None = None
    message_id: bytes | None = None
    checksum: int | None = None

    def is_late(self, now_ms: int) -> bool:
        """Whether the requester waits no longer."""
        return self.deadline_ms is not None and now_ms >= self.deadline_ms


class ErrorFields(NamedTuple):
    """An exception as it travels: the name of its class, its text, and where it was raised."""

    type: str
    message: str
    traceback: str


def own_headers(headers: HeadersInput | None) -> Headers:
    """
    The headers that a user gives to a request.

    Raises:
        ValueError: for a name that `request()` sets by itself.
    """
    pairs = check_headers(headers)
    for name, _ in pairs:
        if name in _OF_REQUESTS:
            raise ValueError(
                f"header {name!r} is one that a request sets by itself. Nothing was stored. Leave it out, and pass "
                "reply_to=, timeout= or message_id=."
            )
    return pairs


def request_headers(
    correlation_id: bytes, address: ReplyAddress, deadline_ms: int, message_id: bytes | None, checksum: int
) -> list[tuple[str, bytes]]:
    """The headers of a request."""
    headers = [(CORRELATION_ID, correlation_id), (REPLY_TOPIC, address.topic.encode())]
    if address.partition is not None:
        headers.append((REPLY_PARTITION, address.partition.to_bytes(_PARTITION_BYTES, "big")))
    headers.append((DEADLINE, b"%d" % deadline_ms))
    if message_id is not None:
        headers += [(MESSAGE_ID, message_id), (CHECKSUM, b"%d" % checksum)]
    return headers


def read_request(headers: Headers) -> RequestHeaders:
    """What the headers of a record say about its reply."""
    found = dict(headers)
    topic = _text(found, REPLY_TOPIC)
    address = None if not topic else ReplyAddress(topic, _partition(found.get(REPLY_PARTITION)))
    return RequestHeaders(
        found.get(CORRELATION_ID),
        address,
        _number(found.get(DEADLINE)),
        found.get(MESSAGE_ID) or None,
        _number(found.get(CHECKSUM)),
    )


def reply_headers(request: RequestHeaders, group: str) -> list[tuple[str, bytes]]:
    """The headers of a reply."""
    headers = [] if request.correlation_id is None else [(CORRELATION_ID, request.correlation_id)]
    return [*headers, (GROUP, group.encode())]


def error_headers(error: BaseException) -> list[tuple[str, bytes]]:
    """The headers that make a reply an error; long texts are cut."""
    kind = type(error)
    module = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
    lines = "".join(traceback.format_exception(error))
    return [
        (ERROR_TYPE, _encoded(f"{module}{kind.__qualname__}")),
        (ERROR_MESSAGE, _encoded(_text_of(error)[:_MOST_MESSAGE])),
        (ERROR_TRACEBACK, _encoded(lines[-_MOST_TRACEBACK:])),
    ]


def read_error(headers: Headers) -> ErrorFields | None:
    """The error that a reply is; None for an ordinary one."""
    found = dict(headers)
    if ERROR_TYPE not in found:
        return None
    return ErrorFields(_text(found, ERROR_TYPE), _text(found, ERROR_MESSAGE), _text(found, ERROR_TRACEBACK))


def correlation_of(headers: Headers) -> bytes | None:
    """The correlation id of a reply."""
    for name, value in headers:
        if name == CORRELATION_ID:
            return value
    return None


def group_of(headers: Headers) -> str | None:
    """The group that has answered, if the reply says so."""
    return _text(dict(headers), GROUP) or None


def _text(headers: Mapping[str, bytes | None], name: str) -> str:
    return (headers.get(name) or b"").decode("utf-8", "replace")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except unless_interrupted(Exception):  # the `__str__` of somebody's class
        return "(its text cannot be had)"


def _number(data: bytes | None) -> int | None:
    return int(data) if data is not None and data.isdigit() and len(data) < 20 else None


def _partition(data: bytes | None) -> int | None:
    """A number as text, or four bytes that are none: digits alone would be a partition beyond 800 million."""
    number = _number(data)
    if number is None and data is not None and len(data) == _PARTITION_BYTES:
        return int.from_bytes(data, "big", signed=True)
    return number
