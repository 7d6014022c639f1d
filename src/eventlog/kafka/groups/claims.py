"""
Claims: which listener coordinates a group of the classic protocol.

A listener that has members of a group is itself the one member of the group that the log knows, with an assignor of
its own name. So the rules of native groups (`eventlog.groups.rules`) keep all others out, in any process: whoever
names another assignor is refused while it lives, and takes over when its process has died. Its row also says to other
listeners where the coordinator is. See docs/decisions/0059-kafka-groups.md.
"""

from __future__ import annotations

import os
import re
from typing import Final
from uuid import uuid4

from eventlog.backend import Backend
from eventlog.backend.groups import MemberLease
from eventlog.errors import EventLogError
from eventlog.groups.lease import Terms
from eventlog.groups.rules import Assign, Confirm, Join, Leave, Release, Subscribe, Verdict
from eventlog.groups.state import KAFKA_ASSIGNOR, Group, Life, PartitionId, Subscription
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.named_tuples import NamedTuple
from eventlog.options import check_topic_name

_TERMS: Final = Terms(session_timeout=30.0, max_poll_interval=10.0**9)
"""A process that is stopped for that long loses its groups; one that dies loses them at once."""
_EVERYTHING: Final = Subscription(patterns=((".*", re.DOTALL),))
_ASSIGNOR: Final = re.compile(re.escape(KAFKA_ASSIGNOR) + r"(\d+) at (.+):(\d+)")


class Node(NamedTuple):
    """A listener, as clients know it."""

    node_id: int
    host: str
    port: int

    @property
    def assignor(self) -> str:
        """The name under which it claims groups."""
        return f"{KAFKA_ASSIGNOR}{self.node_id} at {self.host}:{self.port}"


class ClaimRefused(Exception):
    """Raised when a group is somebody else's; `code` is the answer for clients."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code.name)
        self.code = code


class Claim:
    """
    The claim of this listener to one group.

    `is_held` never blocks; the rest may wait for a commit.
    """

    def __init__(self, backend: Backend, group: str, lease: MemberLease) -> None:
        self._backend = backend
        self._group = group
        self._lease = lease
        self.id = lease.id

    def is_held(self) -> bool:
        """Whether the group is still ours, as far as can be seen without asking the coordinator of native groups."""
        is_usable = self._lease.is_usable(self._backend.clock.monotonic())
        return is_usable and self._backend.member_view(self._group, self.id).member is not None

    def confirm(self) -> bool:
        """Make sure that the group is ours, after a silence in which the lease may have ended; whether it is."""
        reply = self._backend.request_group(self._group, Confirm(self.id), confirms=self._lease)
        return reply.verdict is Verdict.ACCEPTED

    def show(self, topics: frozenset[str] | None, partitions: frozenset[PartitionId]) -> None:
        """
        Let others see what the members subscribe to, and which partitions they have, as if the listener owned them.

        Without topics, which only clients can read then, they are taken to want everything.
        """
        backend, name = self._backend, self._group
        wanted = _EVERYTHING if topics is None else Subscription(tuple(sorted(filter(_is_name, topics))))
        group = backend.request_group(name, Subscribe(self.id, wanted)).group
        member = group.members.get(self.id)
        if member is None:
            return
        targets = {one: group.members[one].target for one in group.members} | {self.id: partitions}
        request = Assign(group.epoch, backend.topics_version(), targets)
        surplus = frozenset(member.owned) - partitions
        if surplus:
            backend.request_group(name, Release(self.id, surplus), then=request)
        else:
            backend.request_group(name, request)

    def give_up(self) -> None:
        """Give the group up: anybody may have it now."""
        try:
            self._backend.request_group(self._group, Leave(self.id))
        finally:
            self._lease.leave()

    def drop(self) -> None:
        """Give it up without a commit: others see at once that the claim is dead."""
        self._lease.leave()


def take(backend: Backend, group: str, node: Node) -> Claim:
    """
    Claim a group for this listener; blocks for a commit.

    Raises:
        ClaimRefused: if it has native members, or another listener has it.
    """
    lease = backend.begin_lease(uuid4().hex, _TERMS)
    try:
        request = Join(lease.id, None, _EVERYTHING, node.assignor, os.getpid())
        reply = backend.request_group(group, request, suspects=None)
        if reply.verdict is not Verdict.ACCEPTED:
            is_kafka = node_of(reply.group) is not None
            raise ClaimRefused(ErrorCode.NOT_COORDINATOR if is_kafka else ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    except BaseException:
        lease.leave()
        raise
    return Claim(backend, group, lease)


def _is_name(topic: str) -> bool:
    """Whether a topic can have that name; a client may want others, which no row could hold."""
    try:
        check_topic_name(topic)
    except unless_interrupted(ValueError):
        return False
    return True


def node_of(group: Group) -> Node | None:
    """The listener that claims, or claimed, a group; None for native groups."""
    found = _ASSIGNOR.fullmatch(group.assignor)
    return None if found is None else Node(int(found[1]), found[2], int(found[3]))


def coordinator_of(backend: Backend, group: str) -> Node | None:
    """The live listener that has a group now; None if no listener has it."""
    node = node_of(backend.member_view(group, "").group)
    if node is None:
        return None
    lives = backend.look_at_members(backend.member_ids(group))
    return node if Life.ALIVE in lives.values() else None


def has_members(backend: Backend, group: str) -> bool:
    """Whether a group has live members of any kind, claims included."""
    return Life.ALIVE in backend.look_at_members(backend.member_ids(group)).values()


def is_known(backend: Backend, group: str) -> bool:
    """Whether the log knows a group: it has members or offsets."""
    try:
        backend.group_details(group)
    except unless_interrupted(EventLogError):
        return False
    return True
