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
from eventlog.store.rows.packing import NOT_A_ROW, checked, damaged, fields_of, packed

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
            name=bytes(name).decode(),
            id=checked(fields["id"], int),
            uuid=UUID(bytes=checked(fields["uuid"], bytes)),
            key=checked(fields["key"], dict),
            value=checked(fields["value"], dict),
            created_ms=checked(fields["created_ms"], int),
        )
    except unless_interrupted(*NOT_A_ROW) as error:
        raise damaged(what) from error


unpack_state_again = lru_cache(maxsize=_KNOWN_COUNT)(unpack_state)
"""The same for bytes: every scan and every commit checks that its state is there, and mostly finds the same row."""
