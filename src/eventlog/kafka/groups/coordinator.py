"""
The coordinator of a listener: its groups, their claims and their timers.

Everything happens in the loop's thread, and a group changes in one step between two awaits. What waits are requests,
each a future: an answer settles it, and a connection that ends cancels it.

A group is claimed before its first member joins, and given up when the last has left (`claims.py`). Requests that come
while that is under way wait for it.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from eventlog.groups.state import PartitionId
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.groups.claims import Claim, ClaimRefused, Node, coordinator_of, take
from eventlog.kafka.groups.classic.group import ClassicGroup
from eventlog.kafka.groups.classic.values import JoinAnswer, JoinRequest, Limits, Replies, SyncAnswer, SyncRequest
from eventlog.kafka.groups.subscriptions import assigned_partitions
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.options import check_group_name

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker

_MOST_EMPTY: Final = 1_000
"""How many groups without members are remembered: of what kind they were, and their last generation."""


class Entry:
    """A group of this listener, its claim, and its timer."""

    def __init__(self, group: ClassicGroup) -> None:
        self.group = group
        self.claim: Claim | None = None
        self.turn: asyncio.Future[None] | None = None
        """A change of the claim that is under way."""
        self.timer: asyncio.TimerHandle | None = None
        self.shown: tuple[frozenset[str] | None, frozenset[PartitionId]] | None = None


class GroupCoordinator:
    """
    The groups of one listener.

    Belongs to the loop.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._entries: dict[str, Entry] = {}
        self._limits = Limits(initial_delay_s=broker.options.rebalance_delay)
        self._turns: set[asyncio.Future[None]] = set()
        """The loop itself keeps tasks by weak references alone."""
        broker.when_stopping.append(self.stop)

    @property
    def node(self) -> Node:
        """The listener, as clients know it."""
        return Node(self._broker.node_id, *self._broker.address)

    # -- groups ----------------------------------------------------------------------------------------------

    def find(self, name: str) -> ClassicGroup | None:
        """A group that this listener has, or had last as far as it remembers."""
        entry = self._entries.get(name)
        return None if entry is None else entry.group

    def claim_of(self, name: str) -> Claim | None:
        """The claim to a group that has members here."""
        entry = self._entries.get(name)
        return None if entry is None else entry.claim

    def names(self) -> list[str]:
        """The groups that have members here."""
        return [name for name, entry in self._entries.items() if entry.claim is not None]

    @property
    def claim_count(self) -> int:
        """How many groups are claimed, or about to be."""
        return sum(1 for entry in self._entries.values() if entry.claim is not None or entry.turn is not None)

    def forget(self, name: str) -> bool:
        """Forget a group without members; whether there was one."""
        entry = self._entries.get(name)
        if entry is None or entry.claim is not None or entry.turn is not None:
            return False
        del self._entries[name]
        return True

    def _made(self, name: str) -> Entry:
        entry = self._entries.get(name)
        if entry is None:
            empty = [known for known, one in self._entries.items() if one.claim is None and one.turn is None]
            for known in empty[: max(len(empty) - _MOST_EMPTY + 1, 0)]:
                del self._entries[known]
            entry = self._entries[name] = Entry(ClassicGroup(name, self._limits, _new_id))
        return entry

    def elsewhere(self, name: str) -> Node | None:
        """The other listener that has a group now; None if it is ours, or nobody's."""
        entry = self._entries.get(name)
        if entry is not None and entry.claim is not None:
            return None
        return coordinator_of(self._broker.backend, name)

    # -- requests --------------------------------------------------------------------------------------------

    async def join(self, name: str, request: JoinRequest) -> JoinAnswer:
        """Have a member join; the answer comes when all have, or the time is up."""
        code = check_group(name)
        if code is ErrorCode.NONE and self._broker.is_stopping:
            code = ErrorCode.NOT_COORDINATOR
        if code is ErrorCode.NONE and request.member_id:
            _, code = await self._found(name)  # an id that we gave: nothing is claimed for one of another time
        if code is not ErrorCode.NONE:
            return JoinAnswer(code, request.member_id)
        entry = self._made(name)
        try:
            await self._hold(entry)
        except unless_interrupted(ClaimRefused) as refused:
            return JoinAnswer(refused.code, request.member_id)
        waiter = self._waiter(entry)
        self._settle(entry, entry.group.join(request, waiter, self._now_s()))
        answer: JoinAnswer = await waiter
        return answer

    async def sync(self, name: str, request: SyncRequest) -> SyncAnswer:
        """Have a member sync; the answer comes when the leader has."""
        entry, code = await self._found(name)
        if entry is None:
            return SyncAnswer(code)
        waiter = self._waiter(entry)
        self._settle(entry, entry.group.sync(request, waiter, self._now_s()))
        answer: SyncAnswer = await waiter
        if answer.error is ErrorCode.NONE and request.member_id == entry.group.members.leader:
            self._show(entry)
        return answer

    async def heartbeat(self, name: str, member_id: str, instance_id: str | None, generation: int) -> ErrorCode:
        """Take a sign of life."""
        entry, code = await self._found(name)
        if entry is None:
            return code
        return entry.group.heartbeat(member_id, instance_id, generation, self._now_s())

    async def leave(self, name: str, identities: list[tuple[str, str | None]]) -> tuple[ErrorCode, list[ErrorCode]]:
        """Remove members; an error of all of them, and of each."""
        entry, code = await self._found(name)
        if entry is None:
            if code is ErrorCode.UNKNOWN_MEMBER_ID:
                return ErrorCode.NONE, [code] * len(identities)
            return code, []
        results, replies = entry.group.leave(identities, self._now_s())
        self._settle(entry, replies)
        return ErrorCode.NONE, results

    async def check_commit(
        self, name: str, member_id: str, instance_id: str | None, generation: int, *, in_transaction: bool = False
    ) -> ErrorCode:
        """
        Judge whether offsets may be committed, and renew the session of the member that commits them.

        A group that there is nothing of is GROUP_ID_NOT_FOUND, which clients knew as ILLEGAL_GENERATION once. Without a
        generation anybody commits to a group that has no members.
        """
        consumer = None if self._broker.consumers is None else self._broker.consumers.get(name, member_id)
        if consumer is not None:  # a member of the new protocol
            stale = ErrorCode.ILLEGAL_GENERATION if in_transaction else ErrorCode.STALE_MEMBER_EPOCH
            return ErrorCode.NONE if generation == consumer.epoch else stale
        entry, code = await self._found(name)
        if entry is not None:
            return entry.group.check_commit(
                member_id, instance_id, generation, self._now_s(), in_transaction=in_transaction
            )
        if generation < 0 and code is not ErrorCode.INVALID_GROUP_ID:
            return ErrorCode.NONE  # the store refuses it where somebody else has members
        is_unheard_of = code is ErrorCode.UNKNOWN_MEMBER_ID and name not in self._entries
        is_unheard_of = is_unheard_of and name not in self._broker.backend.group_names()
        if is_unheard_of:
            return ErrorCode.ILLEGAL_GENERATION if in_transaction else ErrorCode.GROUP_ID_NOT_FOUND
        return code

    def lost(self, name: str) -> None:
        """Note that the store refused a commit by our claim: the group was taken by force."""
        entry = self._entries.get(name)
        if entry is not None and entry.claim is not None and not entry.claim.is_held():
            self._lose(entry)

    # -- claims ----------------------------------------------------------------------------------------------

    async def _found(self, name: str) -> tuple[Entry | None, ErrorCode]:
        """A group that has members here; None and the answer if it has none."""
        code = check_group(name)
        if code is not ErrorCode.NONE:
            return None, code
        entry = self._entries.get(name)
        if entry is None or (entry.claim is None and entry.turn is None):
            is_elsewhere = self.elsewhere(name) is not None
            return None, ErrorCode.NOT_COORDINATOR if is_elsewhere else ErrorCode.UNKNOWN_MEMBER_ID
        while entry.turn is not None:
            await _ended(entry.turn)
        if entry.claim is not None and not entry.claim.is_held():
            await self._confirm(entry)
        return (entry, ErrorCode.NONE) if entry.claim is not None else (None, ErrorCode.UNKNOWN_MEMBER_ID)

    async def _hold(self, entry: Entry) -> None:
        """Have a claim to a group before anything is done with it."""
        while entry.turn is not None:
            await _ended(entry.turn)
        if entry.claim is not None and not entry.claim.is_held():
            await self._confirm(entry)
        while entry.claim is None:
            if entry.turn is None:
                if self._broker.room.is_full():
                    raise ClaimRefused(ErrorCode.COORDINATOR_NOT_AVAILABLE)
                self._begin_turn(entry, self._take(entry))
            turn = entry.turn
            assert turn is not None
            await asyncio.shield(turn)  # the connection of one of the waiting requests may end

    def _begin_turn(self, entry: Entry, change: Any) -> None:
        turn = entry.turn = asyncio.ensure_future(change)
        self._turns.add(turn)

        def end(turn: asyncio.Future[None]) -> None:
            self._turns.discard(turn)
            entry.turn = None
            if not turn.cancelled():
                turn.exception()  # all who wait for it have been told

        turn.add_done_callback(end)

    async def _take(self, entry: Entry) -> None:
        claim = await self._broker.call(partial(take, self._broker.backend, entry.group.name, self.node))
        if self._broker.is_stopping:  # `stop` has not seen it
            await self._broker.call(claim.give_up)
            raise ClaimRefused(ErrorCode.NOT_COORDINATOR)
        entry.claim, entry.shown = claim, None

    async def _confirm(self, entry: Entry) -> None:
        """Ask whether a group is still ours, and have its members join again if it is not."""
        claim = entry.claim
        if claim is not None and not await self._broker.call(claim.confirm) and entry.claim is claim:
            self._lose(entry)

    def _lose(self, entry: Entry) -> None:
        claim, entry.claim = entry.claim, None
        if claim is not None:
            claim.drop()
        self._settle(entry, entry.group.dissolve(ErrorCode.UNKNOWN_MEMBER_ID))

    def _give_up_if_empty(self, entry: Entry) -> None:
        if entry.claim is not None and entry.turn is None and entry.group.is_forgettable:
            claim, entry.claim = entry.claim, None
            self._begin_turn(entry, self._give_up(claim))

    async def _give_up(self, claim: Claim) -> None:
        await self._broker.call(claim.give_up)

    def _show(self, entry: Entry) -> None:
        """Let native programs see what the members subscribe to and have."""
        claim, group = entry.claim, entry.group
        if claim is None:
            return
        shown = (group.members.topics, assigned_partitions(self._broker.backend, group))
        if shown != entry.shown:
            entry.shown = shown
            told = self._broker.call(partial(claim.show, *shown))
            told.add_done_callback(_forget_outcome)

    # -- answers and time ------------------------------------------------------------------------------------

    def _now_s(self) -> float:
        return self._broker.loop.time()

    def _waiter(self, entry: Entry) -> asyncio.Future[Any]:
        """The future of a request; a connection that ends cancels it."""
        waiter: asyncio.Future[Any] = self._broker.loop.create_future()
        waiter.add_done_callback(partial(self._disconnected, entry))
        return waiter

    def _disconnected(self, entry: Entry, waiter: asyncio.Future[Any]) -> None:
        if waiter.cancelled():
            self._settle(entry, entry.group.disconnect(waiter, self._now_s()))

    def _settle(self, entry: Entry, replies: Replies) -> None:
        """Give the answers out, and see to the timer and the claim."""
        for waiter, answer in replies:
            assert isinstance(waiter, asyncio.Future)
            if not waiter.done():
                waiter.set_result(answer)
        self._set_timer(entry)
        self._give_up_if_empty(entry)

    def _set_timer(self, entry: Entry) -> None:
        deadline_s = entry.group.deadline_s()
        timer = entry.timer
        if timer is not None and (deadline_s is None or timer.when() > deadline_s):
            timer.cancel()
            timer = entry.timer = None
        if timer is None and deadline_s is not None:
            entry.timer = self._broker.loop.call_at(deadline_s, self._expire, entry)

    def _expire(self, entry: Entry) -> None:
        """Do what is due; heartbeats since have perhaps put it off."""
        entry.timer = None
        self._settle(entry, entry.group.expire(self._now_s()))

    def stop(self) -> None:
        """Have all members look for another coordinator: the listener stops."""
        for entry in self._entries.values():
            if entry.timer is not None:
                entry.timer.cancel()
            claim, entry.claim = entry.claim, None
            replies = entry.group.dissolve(ErrorCode.NOT_COORDINATOR)
            for waiter, answer in replies:
                assert isinstance(waiter, asyncio.Future)
                if not waiter.done():
                    waiter.set_result(answer)
            if claim is not None:
                left = self._broker.call(claim.give_up)
                left.add_done_callback(_forget_outcome)
        self._entries.clear()


def coordinator(broker: Broker) -> GroupCoordinator:
    """The coordinator of a listener, made with the first request for it."""
    if broker.groups is None:
        broker.groups = GroupCoordinator(broker)
    found: GroupCoordinator = broker.groups
    return found


def check_group(name: str) -> ErrorCode:
    """Judge the name of a group: those that the log can store are good."""
    try:
        check_group_name(name)
    except unless_interrupted(ValueError, TypeError):
        return ErrorCode.INVALID_GROUP_ID
    return ErrorCode.NONE


def _new_id(kind: str) -> str:
    return f"{kind}-{uuid4()}"


async def _ended(turn: asyncio.Future[None]) -> None:
    """Wait for the end of a change, whatever became of it."""
    await asyncio.wait([turn])


def _forget_outcome(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
