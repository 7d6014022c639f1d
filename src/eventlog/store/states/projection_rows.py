"""
The rows of projections.

The rows of a projection's build are those of a state of its own, whose name no user can choose. Layout:
docs/reference/format.md.
"""

from __future__ import annotations

from uuid import UUID

from eventlog.backend.projections import Build, StoredProjection
from eventlog.interruptions import unless_interrupted
from eventlog.options import PROJECTION_PREFIX, check_projection_name, check_topic_name
from eventlog.store.rows.packing import LARGEST_ID, NOT_A_ROW, checked, damaged, fields_of, moment, packed, whole

_PROJECTION_VERSION = 1


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
            name=check_projection_name(bytes(name).decode()),
            uuid=UUID(bytes=checked(fields["uuid"], bytes)),
            active=_build(checked(fields["active"], dict)),
            rebuilding=None if rebuilding is None else _build(checked(rebuilding, dict)),
            doomed=tuple(whole(number, 1, LARGEST_ID) for number in checked(fields["doomed"], list)),
            created_ms=moment(fields["created_ms"]),
        )
    except unless_interrupted(*NOT_A_ROW) as error:
        raise damaged(what, error) from error


def _build_fields(build: Build) -> dict[str, object]:
    topics = None if build.topics is None else list(build.topics)
    return {
        "state": build.state_id,
        "position": build.log_position,
        "topics": topics,
        "deletions": build.deletions,
    }


def _build(fields: dict[str, object]) -> Build:
    names = fields["topics"]
    topics = None if names is None else tuple(check_topic_name(name) for name in checked(names, list))
    deletions = whole(fields.get("deletions", 0))
    return Build(whole(fields["state"], 1, LARGEST_ID), whole(fields["position"]), topics, deletions)
