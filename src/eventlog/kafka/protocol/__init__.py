"""
Kafka's protocol: messages as bytes, and as dicts.

`decode_request`, `encode_response` and their counterparts take the key of an API and a version; `codec` takes messages
that are stored or stand inside others. The codecs are made of Apache Kafka's own message definitions on first use:
docs/decisions/0055-kafka-protocol.md.

Knows nothing of sockets, of logs or of what a broker does.
"""

from __future__ import annotations

from typing import Any

from eventlog.interruptions import unless_interrupted
from eventlog.kafka.protocol.api_keys import APIS, Api, ApiKey
from eventlog.kafka.protocol.codecs import Codec
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.protocol.headers import (
    RequestHeader,
    decode_request_header,
    decode_response_header,
    encode_request_header,
    encode_response_header,
    is_flexible,
)
from eventlog.kafka.protocol.malformed import MalformedMessage
from eventlog.kafka.protocol.primitives import NO_UUID, Buffer

__all__ = [
    "APIS",
    "NO_UUID",
    "Api",
    "ApiKey",
    "Buffer",
    "Codec",
    "ErrorCode",
    "MalformedMessage",
    "RequestHeader",
    "codec",
    "decode_request",
    "decode_request_header",
    "decode_response",
    "decode_response_header",
    "encode_request",
    "encode_request_header",
    "encode_response",
    "encode_response_header",
    "is_flexible",
]

_requests: dict[tuple[int, int], Codec] = {}
_responses: dict[tuple[int, int], Codec] = {}
_others: dict[tuple[str, int], Codec] = {}


def decode_request(api_key: int, version: int, data: Buffer, at: int = 0) -> dict[str, Any]:
    """
    Decode the body of a request, which begins at `at`.

    Bytes after its end are passed over, as a broker does: librdkafka sends some behind Metadata of version 12.

    Raises:
        MalformedMessage: the bytes are no such request.
        ValueError: there is no such API, or it has no such version.
    """
    made = _requests.get((api_key, version)) or _request(api_key, version)
    return made.decode(data, at, is_exact=False)


def encode_request(api_key: int, version: int, message: dict[str, Any]) -> list[Buffer]:
    """Encode the body of a request."""
    made = _requests.get((api_key, version)) or _request(api_key, version)
    return made.encode(message)


def decode_response(api_key: int, version: int, data: Buffer, at: int = 0) -> dict[str, Any]:
    """
    Decode the body of a response, which begins at `at`.

    Raises:
        MalformedMessage: the bytes are no such response.
        ValueError: there is no such API, or it has no such version.
    """
    made = _responses.get((api_key, version)) or _response(api_key, version)
    return made.decode(data, at)


def encode_response(api_key: int, version: int, message: dict[str, Any]) -> list[Buffer]:
    """
    Encode the body of a response, as buffers that follow each other.

    Long bytes and records are not copied: they are buffers of the list. Records may be a list of buffers themselves.

    Raises:
        ValueError: a value that its field cannot hold; or there is no such API, or it has no such version.
    """
    made = _responses.get((api_key, version)) or _response(api_key, version)
    return made.encode(message)


def codec(name: str, version: int) -> Codec:
    """
    Return the codec of a message that is no request: of what is stored, or stands inside another message.

    Args:
        name: by Kafka's name, "ConsumerProtocolSubscription".
        version: a version that Kafka's definition has.

    Raises:
        ValueError: there is no such message, or it has no such version.
    """
    made = _others.get((name, version))
    if made is None:
        made = _others.setdefault((name, version), Codec(name, version))
    return made


def _request(api_key: int, version: int) -> Codec:
    made = Codec(f"{_api(api_key).name}Request", version)
    return _requests.setdefault((int(api_key), version), made)


def _response(api_key: int, version: int) -> Codec:
    made = Codec(f"{_api(api_key).name}Response", version)
    return _responses.setdefault((int(api_key), version), made)


def _api(api_key: int) -> Api:
    try:
        return APIS[ApiKey(api_key)]
    except unless_interrupted(ValueError):
        raise ValueError(f"there is no API with the key {api_key} in Kafka's protocol") from None
