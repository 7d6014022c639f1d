"""Messages of Kafka's protocol by chance, made of its definitions."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from eventlog.kafka import protocol
from eventlog.kafka.protocol.schema import Field, Message, holds, load

NUMBERS = {"int8": (8, True), "int16": (16, True), "uint16": (16, False), "int32": (32, True), "int64": (64, True)}
STRINGS = st.text(max_size=3) | st.sampled_from(["a" * 126, "b" * 127, "\u00e9" * 64, "c" * 300])
BYTES = st.binary(max_size=5) | st.sampled_from([b"d" * 126, b"e" * 127, b"f" * 20_000])


def every_codec() -> list[tuple[str, int]]:
    """Return every request and response of every version, by name."""
    return [
        (f"{api.name}{kind}", version)
        for api in protocol.APIS.values()
        for version in range(api.first, api.last + 1)
        for kind in ("Request", "Response")
    ]


OTHERS = (
    "ConsumerProtocolSubscription",
    "ConsumerProtocolAssignment",
    "EndTxnMarker",
    "ResponseHeader",
    "RequestHeader",
)
"""Messages that are no request and no response."""


def messages(name: str, version: int) -> st.SearchStrategy[dict[str, Any]]:
    """Return messages of a kind and a version: each field that it has, and no other."""
    message = load(name)
    return _structs(message, message.fields, version)


def _structs(message: Message, fields: tuple[Field, ...], version: int) -> st.SearchStrategy[dict[str, Any]]:
    there = {
        field.name: _values(message, field, version)
        for field in fields
        if holds(field.versions, version) or holds(field.tagged, version)
    }
    return st.fixed_dictionaries(there)


def _values(message: Message, field: Field, version: int) -> st.SearchStrategy[Any]:
    values: st.SearchStrategy[Any]
    if field.fields is not None:
        values = _structs(message, field.fields, version)
    elif field.type in NUMBERS:
        values = _numbers(field, *NUMBERS[field.type])
    else:
        values = {
            "bool": st.booleans(),
            "float64": st.floats(allow_nan=False),
            "uuid": st.uuids(),
            "string": STRINGS,
            "bytes": BYTES,
            "records": BYTES,
        }[field.type]
    if field.is_array:
        values = st.lists(values, max_size=2)
    if holds(field.nullable, version):
        values = st.none() | values
    return values


def _numbers(field: Field, bits: int, is_signed: bool) -> st.SearchStrategy[int]:
    if field.name.endswith("error_code"):
        return st.sampled_from([0, 3, 35, 119])  # kio knows no others
    if field.name.endswith(("timestamp_ms", "append_time_ms", "start_time_ms")):
        return st.integers(0, 1 << 41)  # as datetimes have it
    if bits == 64 and field.name.endswith("_ms"):
        return st.integers(-(1 << 51), 1 << 51)  # kio has timedeltas, and counts their milliseconds in a float
    least, end = (-(1 << bits - 1), 1 << bits - 1) if is_signed else (0, 1 << bits)
    return st.integers(least, end - 1)


def plain(message: Any) -> Any:
    """Return a decoded message with bytes for the views in it."""
    if isinstance(message, dict):
        return {name: plain(value) for name, value in message.items()}
    if isinstance(message, list):
        return [plain(value) for value in message]
    return bytes(message) if isinstance(message, memoryview) else message


def parts_of(message: Any, whole: Any) -> Any:
    """Return those fields of a message that another one has."""
    if isinstance(whole, dict):
        return {name: parts_of(message[name], value) for name, value in whole.items()}
    if isinstance(whole, list):
        assert len(message) == len(whole)
        return [parts_of(one, other) for one, other in zip(message, whole, strict=True)]
    return message
