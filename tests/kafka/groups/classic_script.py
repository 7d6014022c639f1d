"""A classic group with a clock, and requests that wait under a number: tests of its rules tell stories with it."""

from __future__ import annotations

import itertools
from typing import Any

from eventlog.kafka.groups.classic.group import ClassicGroup
from eventlog.kafka.groups.classic.values import (
    JoinAnswer,
    JoinRequest,
    Limits,
    Replies,
    SyncAnswer,
    SyncRequest,
)
from eventlog.kafka.protocol.errors import ErrorCode

RANGE = (("range", b"v1"), ("roundrobin", b"v1"))


class Script:
    """
    A group, its clock, and the answers that have come, by waiter.

    Waiters are numbers, given in the order of the requests.
    """

    def __init__(self, limits: Limits = Limits()) -> None:  # noqa: B008 - a constant
        numbers = itertools.count(1)
        self.group = ClassicGroup("billing", limits, lambda kind: f"{kind}-{next(numbers)}")
        self.now_s = 1_000.0
        self.answers: dict[int, JoinAnswer | SyncAnswer] = {}
        self.waiting: dict[int, str] = {}
        self.last = 0

    # -- requests --------------------------------------------------------------------------------------------

    def join(self, member_id: str = "", **fields: Any) -> int:
        """Ask to join; the number of the request."""
        request = JoinRequest(
            member_id,
            fields.pop("instance_id", None),
            fields.pop("client_id", "app"),
            "/127.0.0.1",
            fields.pop("protocol_type", "consumer"),
            tuple(fields.pop("protocols", RANGE)),
            frozenset(fields.pop("topics", ("orders",))),
            fields.pop("session_timeout_s", 10.0),
            fields.pop("rebalance_timeout_s", 60.0),
            **fields,
        )
        waiter = self._new_waiter(member_id)
        self.take(self.group.join(request, waiter, self.now_s))
        return waiter

    def sync(self, member_id: str, generation: int | None = None, **fields: Any) -> int:
        """Ask for an assignment, of the present generation by default; the number of the request."""
        assignments = fields.pop("assignments", {})
        request = SyncRequest(
            member_id,
            fields.pop("instance_id", None),
            self.group.generation if generation is None else generation,
            fields.pop("protocol_type", "consumer"),
            fields.pop("protocol_name", None),
            tuple(assignments.items()),
        )
        waiter = self._new_waiter(member_id)
        self.take(self.group.sync(request, waiter, self.now_s))
        return waiter

    def heartbeat(self, member_id: str, generation: int | None = None, instance_id: str | None = None) -> ErrorCode:
        """Give a sign of life."""
        generation = self.group.generation if generation is None else generation
        return self.group.heartbeat(member_id, instance_id, generation, self.now_s)

    def leave(self, *identities: tuple[str, str | None]) -> list[ErrorCode]:
        """Leave, one member or several."""
        results, replies = self.group.leave(identities, self.now_s)
        self.take(replies)
        return results

    def disconnect(self, waiter: int) -> None:
        """End the connection of a request that waits."""
        del self.waiting[waiter]
        self.take(self.group.disconnect(waiter, self.now_s))

    def wait(self, seconds: float) -> None:
        """Let time pass, and have everything done at the time at which it is due."""
        end_s = self.now_s + seconds
        while (deadline_s := self.group.deadline_s()) is not None and deadline_s <= end_s:
            self.now_s = max(self.now_s, deadline_s)
            self.take(self.group.expire(self.now_s))
        self.now_s = end_s

    # -- answers ---------------------------------------------------------------------------------------------

    def take(self, replies: Replies) -> None:
        """Note the answers; none may come twice, or for a request that does not wait."""
        for waiter, answer in replies:
            assert isinstance(waiter, int)
            assert waiter in self.waiting, f"{answer} is for {waiter}, which does not wait"
            del self.waiting[waiter]
            self.answers[waiter] = answer

    def joined(self, waiter: int) -> JoinAnswer:
        """The answer to a join."""
        answer = self.answers[waiter]
        assert isinstance(answer, JoinAnswer)
        return answer

    def synced(self, waiter: int) -> SyncAnswer:
        """The answer to a sync."""
        answer = self.answers[waiter]
        assert isinstance(answer, SyncAnswer)
        return answer

    def error(self, waiter: int) -> ErrorCode:
        """The error of an answer."""
        return self.answers[waiter].error

    def _new_waiter(self, member_id: str) -> int:
        self.last += 1
        self.waiting[self.last] = member_id
        return self.last

    # -- stories ---------------------------------------------------------------------------------------------

    def new_member(self, **fields: Any) -> str:
        """Join with an id that the group has given, as clients do; the id. The join may still wait."""
        member_id = self.joined(self.join(**fields)).member_id
        self.join(member_id, **fields)
        return member_id

    def divide_again(self, **fields: Any) -> None:
        """Have all members of a stable group join again, so that the leader is about to assign."""
        leader = self.group.members.leader
        for member in sorted(self.group.members, key=lambda one: one.id != leader):
            self.join(member.id, **fields)
        assert self.group.state.value == "CompletingRebalance"

    def stable(self, count: int, **fields: Any) -> list[str]:
        """Have some members join, and sync; their ids, of which the first leads."""
        members = [self.new_member(**fields) for _ in range(count)]
        for member in members[:-1]:
            if not any(waiting == member for waiting in self.waiting.values()):
                self.join(member, **fields)
        leader = self.group.members.leader
        assert leader is not None
        for member in sorted(members, key=lambda one: one == leader):
            self.sync(member, assignments={one: one.encode() for one in members})
        assert self.group.state.value == "Stable"
        return sorted(members, key=lambda one: one != leader)
