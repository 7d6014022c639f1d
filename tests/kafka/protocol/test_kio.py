"""
Every message in every version, beside kio: an implementation of the protocol that shares no code with ours.

Ours encodes and kio decodes, kio encodes and ours decodes; bytes and fields are the same. kio is of Kafka 4.2: the few
messages that are newer go there and back alone.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import io
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from kio.index import UnknownAPIKey, UnknownEntity, load_payload_module
from kio.serial import entity_reader, entity_writer
from kio.static.constants import EntityType

from eventlog.kafka import protocol
from eventlog.kafka.protocol.codecs import Codec
from tests.kafka.protocol.messages import messages, parts_of, plain

NEWER = {
    "ApiVersions": {5},
    "DeleteGroups": {3},
    "StreamsGroupDescribe": {1},
    "StreamsGroupHeartbeat": {1},
    "StreamsGroupTopologyDescriptionUpdate": {0},
    "TxnOffsetCommit": {6},
    "UnregisterController": {0},
}
"""The versions that kio does not know."""

RENAMED = {
    "acceptable_recovery_lag_legacy": "acceptable_recovery_lag",
    "generation_id_or_member_epoch": "generation_id",
}
"""Fields that have other names in Kafka 4.4; the bytes are the same."""

APIS = [pytest.param(api, id=api.name) for api in protocol.APIS.values()]


@pytest.mark.parametrize("api", APIS)
def test_messages_are_those_of_kio(api: protocol.Api) -> None:
    """A few messages of each version, by chance."""
    _compare(api, examples=2)


@pytest.mark.long
@pytest.mark.parametrize("api", APIS)
def test_many_messages_are_those_of_kio(api: protocol.Api) -> None:
    """Many messages of each version, by chance."""
    _compare(api, examples=150)


def _compare(api: protocol.Api, *, examples: int) -> None:
    newer = set()
    for version in range(api.first, api.last + 1):
        for kind in (EntityType.request, EntityType.response):
            name = f"{api.name}{kind.name.capitalize()}"
            codec = protocol.codec(name, version)
            try:
                entity = getattr(load_payload_module(_key_of(api), version, kind), name)
            except (UnknownAPIKey, UnknownEntity):
                newer.add(version)
                check = _there_and_back(codec)
            else:
                check = _beside(codec, entity_reader(entity), entity_writer(entity))
            bounded = settings(
                max_examples=examples,
                database=None,
                deadline=None,
                derandomize=False,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.explicit, Phase.generate, Phase.shrink],
            )
            bounded(given(messages(name, version))(check))()
    assert newer == NEWER.get(api.name, set())


def _key_of(api: protocol.Api) -> int:
    return next(key for key, other in protocol.APIS.items() if other is api)


def _there_and_back(codec: Codec) -> Callable[[dict[str, Any]], None]:
    def check(message: dict[str, Any]) -> None:
        data = b"".join(codec.encode(message))
        decoded = plain(codec.decode(data))
        assert parts_of(decoded, message) == message
        assert b"".join(codec.encode(decoded)) == data

    return check


def _beside(codec: Codec, read: Callable[..., Any], write: Callable[..., Any]) -> Callable[[dict[str, Any]], None]:
    alone = _there_and_back(codec)

    def check(message: dict[str, Any]) -> None:
        alone(message)
        data = b"".join(codec.encode(message))
        entity, size = read(data, 0)
        assert size == len(data)
        assert _fields(entity) == _as_kio(message)
        buffer = io.BytesIO()
        write(buffer, entity)
        assert buffer.getvalue() == data

    return check


def _fields(value: Any) -> Any:
    """Return what kio has decoded, as numbers, lists and dicts."""
    match value:
        case tuple() | list():
            return [_fields(each) for each in value]
        case enum.Enum():
            return value.value
        case dt.timedelta():
            return value // dt.timedelta(milliseconds=1)
        case dt.datetime():
            return round(value.timestamp() * 1000)
    if dataclasses.is_dataclass(value):
        return {_short(field.name): _fields(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return value


def _as_kio(message: Any) -> Any:
    """Return a message under the names of kio."""
    if isinstance(message, dict):
        return {_short(name): _as_kio(value) for name, value in message.items()}
    if isinstance(message, list):
        return [_as_kio(value) for value in message]
    return message


def _short(name: str) -> str:
    """Drop what kio adds to names or takes from them: an underscore, and the unit of a time."""
    return RENAMED.get(name, name).rstrip("_").removesuffix("_ms")
