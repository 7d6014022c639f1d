"""
The values that go into a classic group, and those that come out of it.

A *waiter* stands for a request that has not been answered; the group only hands it back. Times are seconds.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.named_tuples import NamedTuple

NO_GENERATION = -1


class State(Enum):
    """The states of a classic group, by the names that Kafka shows."""

    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"


class Limits(NamedTuple):
    """
    The limits of a group.

    `initial_delay_s` is how long the first members of an empty group wait for more, and `most_members` counts those
    that join and those that were only given an id.
    """

    initial_delay_s: float = 0.0
    most_members: int = 10_000


class JoinRequest(NamedTuple):
    """
    A request to become a member, or to take part in the next generation.

    Args:
        member_id: "" for a new member.
        protocols: names and metadata, by preference.
        topics: the topics that it subscribes to, as its metadata says; None if they cannot be read.
        asks_for_id: whether a new dynamic member is only given an id at first, with which it joins (KIP-394).
        skips_assignment: whether a leader that comes back may be told to assign nothing (KIP-814).
    """

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    protocol_type: str
    protocols: tuple[tuple[str, bytes], ...]
    topics: frozenset[str] | None
    session_timeout_s: float
    rebalance_timeout_s: float
    asks_for_id: bool = True
    skips_assignment: bool = True


class SyncRequest(NamedTuple):
    """A request for a member's assignment; the leader's brings those of all members."""

    member_id: str
    instance_id: str | None
    generation: int
    protocol_type: str | None
    protocol_name: str | None
    assignments: tuple[tuple[str, bytes], ...]


class JoinAnswer(NamedTuple):
    """The answer to a `JoinRequest`; `members` are ids, instance ids and metadata, for the leader alone."""

    error: ErrorCode
    member_id: str
    generation: int = NO_GENERATION
    protocol_type: str | None = None
    protocol_name: str | None = None
    leader: str = ""
    members: tuple[tuple[str, str | None, bytes], ...] = ()
    skip_assignment: bool = False


class SyncAnswer(NamedTuple):
    """The answer to a `SyncRequest`."""

    error: ErrorCode
    protocol_type: str | None = None
    protocol_name: str | None = None
    assignment: bytes = b""


class Reply(NamedTuple):
    """An answer, and the request that it is for."""

    waiter: object
    answer: JoinAnswer | SyncAnswer


Replies: TypeAlias = list[Reply]
