"""
The members of a classic group, and the protocol that all of them support.

Always true: the leader is a member, or there is none; no two members have one instance id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import attrs


@attrs.define(eq=False)
class Member:
    """
    One member of a classic group.

    `is_joined` says that it takes part in the generation that is being prepared. `join_waiter` and `sync_waiter` are
    requests of it that wait; while one does, `expires_s`, the end of its session, does not count.
    """

    id: str
    instance_id: str | None
    client_id: str
    client_host: str
    protocol_type: str
    protocols: dict[str, bytes]
    topics: frozenset[str] | None
    session_timeout_s: float
    rebalance_timeout_s: float
    expires_s: float
    knows_its_id: bool
    is_joined: bool = False
    join_waiter: object = None
    sync_waiter: object = None
    assignment: bytes = b""

    @property
    def is_waiting(self) -> bool:
        """Whether one of its requests waits for an answer."""
        return self.join_waiter is not None or self.sync_waiter is not None

    def renew(self, now_s: float) -> None:
        """Begin its session again."""
        self.expires_s = now_s + self.session_timeout_s

    def supports(self, protocols: tuple[tuple[str, bytes], ...]) -> bool:
        """Whether these are the protocols and the metadata that it joined with, in their order."""
        return tuple(self.protocols.items()) == protocols


class Roster:
    """The members of one group, in the order in which they came."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        self._instances: dict[str, str] = {}
        self.leader: str | None = None
        self.protocol_type: str | None = None

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self._members.values()))

    def __contains__(self, member_id: object) -> bool:
        return member_id in self._members

    def get(self, member_id: str) -> Member | None:
        """A member, or None."""
        return self._members.get(member_id)

    def by_instance(self, instance_id: str | None) -> Member | None:
        """The static member of that name, or None."""
        return self._members.get(self._instances.get(instance_id or "", ""))

    def add(self, member: Member) -> None:
        """Take a member in; the first says what kind of group this is, and leads it."""
        if not self._members:
            self.protocol_type = member.protocol_type
        self._members[member.id] = member
        if member.instance_id is not None:
            self._instances[member.instance_id] = member.id
        if self.leader is None:
            self.leader = member.id

    def remove(self, member: Member) -> None:
        """Remove a member; another leads if it led."""
        del self._members[member.id]
        if member.instance_id is not None and self._instances.get(member.instance_id) == member.id:
            del self._instances[member.instance_id]
        if self.leader == member.id:
            self.leader = next(iter(self._members), None)

    def rename(self, member: Member, member_id: str) -> None:
        """Give a static member another id, and the place that it has."""
        was_leader = self.leader == member.id
        self._members = {
            member_id if one is member else known_id: one for known_id, one in self._members.items()
        }  # in its old place
        member.id = member_id
        assert member.instance_id is not None
        self._instances[member.instance_id] = member_id
        if was_leader:
            self.leader = member_id

    def elect(self) -> bool:
        """Have a member lead that has joined, the old leader if it can be; whether there is one."""
        leader = None if self.leader is None else self._members[self.leader]
        if leader is None or not leader.is_joined:
            leader = next((member for member in self._members.values() if member.is_joined), None)
            if leader is None:
                return False
            self.leader = leader.id
        return True

    @property
    def rebalance_timeout_s(self) -> float:
        """The longest time that a member asks for to join again."""
        return max((member.rebalance_timeout_s for member in self._members.values()), default=0.0)

    @property
    def candidates(self) -> frozenset[str]:
        """The protocols that all members support."""
        sets = [member.protocols.keys() for member in self._members.values()]
        return frozenset(sets[0]).intersection(*sets[1:]) if sets else frozenset()

    def accepts(self, protocol_type: str, protocols: tuple[tuple[str, bytes], ...]) -> bool:
        """Whether one of these protocols is supported by all members."""
        if not protocol_type or not protocols:
            return False
        if not self._members:
            return True
        return protocol_type == self.protocol_type and not self.candidates.isdisjoint(name for name, _ in protocols)

    def select_protocol(self) -> str:
        """The protocol that most members prefer among those that all support; of equals the first member's."""
        candidates = self.candidates
        votes = Counter(
            next(name for name in member.protocols if name in candidates) for member in self._members.values()
        )
        return max(votes, key=votes.__getitem__)  # the first of equals, and votes are in the order of the members

    @property
    def topics(self) -> frozenset[str] | None:
        """The topics that somebody subscribes to; None if it cannot be known."""
        found: set[str] = set()
        for member in self._members.values():
            if member.topics is None:
                return None
            found |= member.topics
        return frozenset(found)
