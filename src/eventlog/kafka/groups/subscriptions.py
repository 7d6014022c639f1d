"""
What consumers say inside of their groups: the topics that they want, the partitions that their leader gives them.

To the classic protocol both are bytes that only clients read. We read them for administration alone, and what cannot
be read is no error.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from eventlog.backend import Backend
from eventlog.groups.state import PartitionId
from eventlog.interruptions import unless_interrupted
from eventlog.kafka import protocol
from eventlog.kafka.groups.classic.group import ClassicGroup

CONSUMER: Final = "consumer"
_NEWEST: Final = 3
_VERSION_BYTES: Final = 2


def subscribed_topics(protocol_type: str, protocols: Iterable[tuple[str, bytes]]) -> frozenset[str] | None:
    """The topics that a consumer wants; None if that cannot be known."""
    if protocol_type != CONSUMER:
        return None
    found: set[str] = set()
    for _, metadata in protocols:
        message = _read("ConsumerProtocolSubscription", metadata)
        if message is None:
            return None
        found.update(message["topics"])
    return frozenset(found)


def assigned_partitions(backend: Backend, group: ClassicGroup) -> frozenset[PartitionId]:
    """The partitions that the members of a group of consumers have, as far as their topics are there."""
    found: set[PartitionId] = set()
    if group.protocol_type != CONSUMER:
        return frozenset()
    for member in group.members:
        message = _read("ConsumerProtocolAssignment", member.assignment)
        for assigned in message["assigned_partitions"] if message is not None else ():
            topic = backend.topic(assigned["topic"])
            if topic is not None:
                found.update((topic.id, number) for number in assigned["partitions"] if number < topic.partitions)
    return frozenset(found)


def _read(name: str, data: bytes) -> dict[str, Any] | None:
    """A message behind its version; one of a later version begins like the newest that we know."""
    if len(data) < _VERSION_BYTES:
        return None
    version = min(int.from_bytes(data[:_VERSION_BYTES], "big"), _NEWEST)
    try:
        return protocol.codec(name, version).decode(data, _VERSION_BYTES, is_exact=False)
    except unless_interrupted(protocol.MalformedMessage):
        return None
