"""
The headers of requests and responses.

They are written by hand, as every message has one: the generated codecs of Kafka's `RequestHeader` and
`ResponseHeader` are what they are tested against.
"""

from __future__ import annotations

from struct import Struct

from eventlog.interruptions import unless_interrupted
from eventlog.kafka.protocol.api_keys import APIS, NEVER, ApiKey
from eventlog.kafka.protocol.malformed import MalformedMessage
from eventlog.kafka.protocol.primitives import Buffer, Refused, skip_tagged
from eventlog.named_tuples import NamedTuple

_REQUEST = Struct(">hhih")
_CORRELATION = Struct(">i")


class RequestHeader(NamedTuple):
    """
    The header of a request, and where its body begins.

    The API may be unknown, and its version too high: then the body cannot be read.
    """

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None
    body_at: int


def is_flexible(api_key: int, version: int) -> bool:
    """Tell whether a version of an API has compact lengths and tagged fields."""
    api = APIS.get(api_key)  # type: ignore[call-overload]
    return version >= (NEVER if api is None else api.flexible)


def decode_request_header(data: Buffer, at: int = 0) -> RequestHeader:
    """
    Decode the header of a request.

    Raises:
        MalformedMessage: the bytes are no header.
    """
    end = len(data)
    if end - at < _REQUEST.size:
        raise _malformed(f"{end - at} bytes, and its fixed part has {_REQUEST.size}", "", at)
    api_key, version, correlation_id, length = _REQUEST.unpack_from(data, at)
    at += _REQUEST.size
    client_id = None
    if length != -1:
        if not 0 <= length <= end - at:
            raise _malformed(f"a length of {length} bytes, and {end - at} are left", "client_id", at)
        try:
            client_id = str(data[at : at + length], "utf-8")
        except unless_interrupted(UnicodeDecodeError) as error:
            raise _malformed(f"no UTF-8: {error.reason}", "client_id", at) from None
        at += length
    if is_flexible(api_key, version):
        try:
            count = data[at]
            at += 1
            if count:
                at = skip_tagged(data, at, count, end)
        except unless_interrupted(Refused, IndexError) as error:
            raise _malformed(str(error), "tagged fields", at) from None
    return RequestHeader(api_key, version, correlation_id, client_id, at)


def encode_request_header(api_key: int, version: int, correlation_id: int, client_id: str | None) -> bytes:
    """Encode the header of a request."""
    name = b"" if client_id is None else client_id.encode()
    length = -1 if client_id is None else len(name)
    header = _REQUEST.pack(api_key, version, correlation_id, length) + name
    return header + b"\0" if is_flexible(api_key, version) else header


def encode_response_header(api_key: int, version: int, correlation_id: int) -> bytes:
    """
    Encode the header of the response to a request of this version.

    That of ApiVersions never has tagged fields: a client reads it before it knows what the broker can do.
    """
    header = _CORRELATION.pack(correlation_id)
    return header + b"\0" if api_key != ApiKey.API_VERSIONS and is_flexible(api_key, version) else header


def decode_response_header(api_key: int, version: int, data: Buffer, at: int = 0) -> tuple[int, int]:
    """
    Decode the header of a response: its correlation id, and where the body begins.

    Raises:
        MalformedMessage: the bytes are no header.
    """
    try:
        (correlation_id,) = _CORRELATION.unpack_from(data, at)
        at += _CORRELATION.size
        if api_key != ApiKey.API_VERSIONS and is_flexible(api_key, version):
            count = data[at]
            at += 1
            if count:
                at = skip_tagged(data, at, count, len(data))
    except unless_interrupted(Refused, IndexError, ValueError) as error:
        raise MalformedMessage(str(error), message="ResponseHeader", field="", place=at) from None
    return correlation_id, at


def _malformed(reason: str, field: str, at: int) -> MalformedMessage:
    return MalformedMessage(reason, message="RequestHeader", field=field, place=at)
