"""
The rows of states.

The rows of all states stand in one table, by the state's id and the key. Layout: docs/reference/format.md.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from uuid import UUID

from eventlog.backend.states import StoredState
from eventlog.interruptions import unless_interrupted
from eventlog.store.rows.packing import (
    LARGEST_ID,
    NOT_A_ROW,
    checked,
    codec_fields,
    damaged,
    fields_of,
    moment,
    packed,
    whole,
)

NEXT_STATE_ID_KEY = b"next state id"
ID_BYTES = 4

_STATE_VERSION = 1
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
            name=_name_of_key(bytes(name)),
            id=whole(fields["id"], 1, LARGEST_ID),
            uuid=UUID(bytes=checked(fields["uuid"], bytes)),
            key=codec_fields(fields["key"]),
            value=codec_fields(fields["value"]),
            created_ms=moment(fields["created_ms"]),
        )
    except unless_interrupted(*NOT_A_ROW) as error:
        raise damaged(what, error) from error


def _name_of_key(key: bytes) -> str:
    """The name of a state; some have one that no user can choose."""
    name = key.decode()
    if not name.isprintable():
        raise ValueError("its name is not printable")
    return name


unpack_state_again = lru_cache(maxsize=_KNOWN_COUNT)(unpack_state)
"""The same for bytes: every scan and every commit checks that its state is there, and mostly finds the same row."""
