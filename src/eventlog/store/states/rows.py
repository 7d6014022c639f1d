"""
The rows of states and projections.

The rows of all states stand in one table, by the state's id and the key. The rows of a projection's build are those of
a state of its own, whose name no user can choose. Layout: docs/reference/format.md.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from uuid import UUID

from eventlog.backend.projections import Build, StoredProjection
from eventlog.backend.states import StoredState
from eventlog.options import PROJECTION_PREFIX
from eventlog.store.rows.packing import NOT_A_ROW, checked, damaged, fields_of, packed

NEXT_STATE_ID_KEY = b"next state id"
ID_BYTES = 4

_STATE_VERSION = 1
_PROJECTION_VERSION = 1
_KNOWN_COUNT = 64

state_prefix = struct.Struct(">I").pack
"""The bytes that the keys of all rows of a state begin with, by its id."""


def state_end(state_id: int) -> bytes:
    """The key behind all rows of a state."""
    return (state_id + 1).to_bytes(ID_BYTES, "big")


def pack_state(state: StoredState) -> bytes:
    """The bytes of a state's row; the name is the row's key."""
    return packed(
        {
            "version": _STATE_VERSION,
            "id": state.id,
            "uuid": state.uuid.bytes,
            "key": state.key,
            "value": state.value,
            "created_ms": state.created_ms,
        }
    )


def unpack_state(name: bytes | memoryview, data: bytes | memoryview) -> StoredState:
    """The state of a row; fields that we do not know are left out, not refused."""
    what = f"state {bytes(name)!r}"
    try:
        fields = fields_of(data, what, _STATE_VERSION)
        return StoredState(
            name=bytes(name).decode(),
            id=checked(fields["id"], int),
            uuid=UUID(bytes=checked(fields["uuid"], bytes)),
            key=checked(fields["key"], dict),
            value=checked(fields["value"], dict),
            created_ms=checked(fields["created_ms"], int),
        )
    except NOT_A_ROW as error:
        raise damaged(what) from error


unpack_state_again = lru_cache(maxsize=_KNOWN_COUNT)(unpack_state)
"""The same for bytes: every scan and every commit checks that its state is there, and mostly finds the same row."""


def build_state_name(projection: str, state_id: int) -> str:
    """The name of the state of a projection's build."""
    return f"{PROJECTION_PREFIX}{projection}:{state_id}"


def pack_projection(projection: StoredProjection) -> bytes:
    """The bytes of a projection's row; the name is the row's key."""
    rebuilding = projection.rebuilding
    return packed(
        {
            "version": _PROJECTION_VERSION,
            "uuid": projection.uuid.bytes,
            "active": _build_fields(projection.active),
            "rebuilding": None if rebuilding is None else _build_fields(rebuilding),
            "doomed": list(projection.doomed),
            "created_ms": projection.created_ms,
        }
    )


def unpack_projection(name: bytes | memoryview, data: bytes | memoryview) -> StoredProjection:
    """The projection of a row; fields that we do not know are left out, not refused."""
    what = f"projection {bytes(name)!r}"
    try:
        fields = fields_of(data, what, _PROJECTION_VERSION)
        rebuilding = fields["rebuilding"]
        return StoredProjection(
            name=bytes(name).decode(),
            uuid=UUID(bytes=checked(fields["uuid"], bytes)),
            active=_build(checked(fields["active"], dict)),
            rebuilding=None if rebuilding is None else _build(checked(rebuilding, dict)),
            doomed=tuple(checked(number, int) for number in checked(fields["doomed"], list)),
            created_ms=checked(fields["created_ms"], int),
        )
    except NOT_A_ROW as error:
        raise damaged(what) from error


def _build_fields(build: Build) -> dict[str, object]:
    topics = None if build.topics is None else list(build.topics)
    return {"state": build.state_id, "position": build.log_position, "topics": topics}


def _build(fields: dict[str, object]) -> Build:
    names = fields["topics"]
    topics = None if names is None else tuple(checked(name, str) for name in checked(names, list))
    return Build(checked(fields["state"], int), checked(fields["position"], int), topics)
