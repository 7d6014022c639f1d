"""
The rules of a classic group.

A group goes from one generation to the next in two steps: all members join, then the leader says who gets what.

    state        a member joins                     all have joined, or the time is up     the leader syncs
    ----------   --------------------------------   ------------------------------------   ----------------
    EMPTY        PREPARING, or COMPLETING at once   -                                      -
    PREPARING    waits for the others               COMPLETING; joins are answered         -
    COMPLETING   PREPARING; syncs are refused       -                                      STABLE; syncs are answered
    STABLE       PREPARING                          -                                      STABLE

What a member may ask, and when a join does not begin a new generation:

    request     when                                            answer
    ---------   ---------------------------------------------   ----------------------------------------------------
    join        its protocols do not go with the others'        INCONSISTENT_GROUP_PROTOCOL
                a new member, which can be given its id first   MEMBER_ID_REQUIRED
                a static member with another's id               FENCED_INSTANCE_ID
                an id that is not a member's                    UNKNOWN_MEMBER_ID
                COMPLETING, and nothing has changed             the join of this generation once more
                STABLE, a follower, nothing has changed         the same
                STABLE, a static member comes back with the     the same under its new id; what had the old id
                same topics and protocol                        is fenced
    sync        PREPARING                                       REBALANCE_IN_PROGRESS
                COMPLETING, a follower                          waits for the leader
                STABLE                                          its assignment
    heartbeat   PREPARING                                       REBALANCE_IN_PROGRESS: it has to join again
    sync, heartbeat, commit of another generation               ILLEGAL_GENERATION

And what ends a wait:

    a join     when all have joined, or at the longest rebalance timeout: who has not joined is no longer a member,
               static members aside, which have their session
    a sync     when the leader syncs, or at the same timeout after the joins: who has not synced is no longer a member
    a session  when the member asks nothing for that long, and no request of it waits: it is removed

A request whose connection ended no longer waits: its member has joined only once it asks again. A new member that does
not know its id yet is forgotten, since nobody could ever use that id.

Each method returns the answers that are due, each for one waiter and once. Knows nothing of sockets, threads, clocks
or of what an assignment says. The protocol is KIP-62, KIP-345, KIP-394, KIP-814
(https://cwiki.apache.org/confluence/display/KAFKA); where we differ from Kafka is in decision 0059.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from eventlog.kafka.groups.classic.members import Member, Roster
from eventlog.kafka.groups.classic.values import (
    JoinAnswer,
    JoinRequest,
    Limits,
    Replies,
    Reply,
    State,
    SyncAnswer,
    SyncRequest,
)
from eventlog.kafka.protocol.errors import ErrorCode


class ClassicGroup:
    """
    One group of the classic protocol.

    Args:
        new_id: makes a member id that was never used, of a client id or an instance id.
    """

    def __init__(self, name: str, limits: Limits, new_id: Callable[[str], str]) -> None:
        self.name = name
        self.state = State.EMPTY
        self.generation = 0
        self.protocol_name: str | None = None
        self.members = Roster()
        self._limits = limits
        self._new_id = new_id
        self._given_ids: dict[str, float] = {}
        """Ids that were given to members that have not joined yet, and when each is forgotten."""
        self._unsynced: set[str] = set()
        self._join_until_s: float | None = None
        self._sync_until_s: float | None = None
        self._delay_until_s: float | None = None
        """When an initial delay ends at the latest; None when there is none."""
        self._has_grown = False

    # -- what others want to know ----------------------------------------------------------------------------

    @property
    def protocol_type(self) -> str | None:
        """What kind of group this is: "consumer" for consumers; None if nobody has joined."""
        return self.members.protocol_type

    @property
    def is_forgettable(self) -> bool:
        """Whether nothing would be lost with it: it has no member, and nobody was given an id."""
        return self.state is State.EMPTY and not self._given_ids

    def deadline_s(self) -> float | None:
        """The time at which `expire` has something to do, or a time before that; None if there is none."""
        sessions = [member.expires_s for member in self.members if not member.is_waiting]
        others = [at_s for at_s in (self._join_until_s, self._sync_until_s) if at_s is not None]
        return min([*sessions, *others, *self._given_ids.values()], default=None)

    # -- joining ---------------------------------------------------------------------------------------------

    def join(self, request: JoinRequest, waiter: object, now_s: float) -> Replies:
        """Take a request to join; its answer is among the replies, or waits."""
        if not self.members.accepts(request.protocol_type, request.protocols):
            return [_refused(request, waiter, ErrorCode.INCONSISTENT_GROUP_PROTOCOL)]
        if self._is_full(request.member_id):
            return [_refused(request, waiter, ErrorCode.GROUP_MAX_SIZE_REACHED)]
        if request.member_id:
            return self._join_known(request, waiter, now_s)
        if request.instance_id is not None:
            before = self.members.by_instance(request.instance_id)
            if before is not None:
                return self._come_back(before, request, waiter, now_s)
            return self._join_new(self._new_id(request.instance_id), request, waiter, now_s)
        member_id = self._new_id(request.client_id)
        if request.asks_for_id:
            self._given_ids[member_id] = now_s + request.session_timeout_s
            return [Reply(waiter, JoinAnswer(ErrorCode.MEMBER_ID_REQUIRED, member_id))]
        return self._join_new(member_id, request, waiter, now_s)

    def _is_full(self, member_id: str) -> bool:
        is_known = member_id in self.members or member_id in self._given_ids
        return not is_known and len(self.members) + len(self._given_ids) >= self._limits.most_members

    def _join_known(self, request: JoinRequest, waiter: object, now_s: float) -> Replies:
        if self._given_ids.pop(request.member_id, None) is not None:
            return self._join_new(request.member_id, request, waiter, now_s)
        member, error = self._find(request.member_id, request.instance_id)
        if member is None:
            return [_refused(request, waiter, error)]
        is_same = member.supports(request.protocols)
        if is_same and (
            self.state is State.COMPLETING or (self.state is State.STABLE and member.id != self.members.leader)
        ):
            member.renew(now_s)
            return [Reply(waiter, self._joined(member))]
        return [*self._rejoin(member, request, waiter, now_s), *self._go_on(now_s)]

    def _join_new(self, member_id: str, request: JoinRequest, waiter: object, now_s: float) -> Replies:
        member = Member(
            member_id,
            request.instance_id,
            request.client_id,
            request.client_host,
            request.protocol_type,
            dict(request.protocols),
            request.topics,
            request.session_timeout_s,
            request.rebalance_timeout_s,
            now_s + request.session_timeout_s,
            knows_its_id=bool(request.member_id) or request.instance_id is not None,
            is_joined=True,
            join_waiter=waiter,
        )
        self.members.add(member)
        self._has_grown = True
        return self._go_on(now_s)

    def _rejoin(self, member: Member, request: JoinRequest, waiter: object, now_s: float) -> Replies:
        """Have a member take part in the next generation; a request that it has made before is answered."""
        replies = self._answer_all(member, ErrorCode.REBALANCE_IN_PROGRESS)
        member.protocols, member.topics = dict(request.protocols), request.topics
        member.session_timeout_s, member.rebalance_timeout_s = request.session_timeout_s, request.rebalance_timeout_s
        member.client_id, member.client_host = request.client_id, request.client_host
        member.is_joined, member.join_waiter = True, waiter
        member.renew(now_s)
        return replies

    def _come_back(self, member: Member, request: JoinRequest, waiter: object, now_s: float) -> Replies:
        """Give a static member's place to one that has come back under its name: the old one is fenced."""
        replies = self._answer_all(member, ErrorCode.FENCED_INSTANCE_ID)
        old_leader, was_joined, old_topics = self.members.leader, member.is_joined, member.topics
        old_id = member.id
        self.members.rename(member, self._new_id(request.instance_id or ""))
        if old_id in self._unsynced:
            self._unsynced.remove(old_id)
            self._unsynced.add(member.id)
        replies += self._rejoin(member, request, waiter, now_s)
        has_same_part = member.topics == old_topics and self.members.select_protocol() == self.protocol_name
        if self.state is State.STABLE and has_same_part:
            member.is_joined, member.join_waiter = was_joined, None
            answer = self._joined(member)
            if member.id == self.members.leader and not request.skips_assignment:
                # It would assign again, as leaders do: so it is told that its former self leads, which never will.
                answer = answer._replace(leader=old_leader or "", members=())
            elif member.id == self.members.leader:
                answer = answer._replace(skip_assignment=True)
            return [*replies, Reply(waiter, answer)]
        return [*replies, *self._go_on(now_s)]

    # -- from one generation to the next ---------------------------------------------------------------------

    def _go_on(self, now_s: float) -> Replies:
        """Begin to prepare a generation, or see whether the one that is being prepared is complete."""
        if self.state is not State.PREPARING:
            return self._prepare(now_s)
        return self._complete(now_s) if self._is_complete() else []

    def _is_complete(self) -> bool:
        is_early = self._delay_until_s is not None
        return not is_early and not self._given_ids and all(member.is_joined for member in self.members)

    def _prepare(self, now_s: float) -> Replies:
        """Have all members join again."""
        replies: Replies = []
        for member in self.members:
            member.assignment = b""
            replies += self._answer_sync(member, SyncAnswer(ErrorCode.REBALANCE_IN_PROGRESS), now_s)
        was_empty, self.state = self.state is State.EMPTY, State.PREPARING
        self._sync_until_s = None
        self._unsynced.clear()
        delay_s, timeout_s = self._limits.initial_delay_s, self.members.rebalance_timeout_s
        if was_empty and delay_s > 0 and self.members:
            self._has_grown = False
            self._delay_until_s = now_s + max(delay_s, timeout_s)
            self._join_until_s = now_s + delay_s
            return replies
        if was_empty or self._is_complete():
            return [*replies, *self._complete(now_s)]
        self._join_until_s = now_s + timeout_s
        return replies

    def _join_time_is_up(self, now_s: float) -> Replies:
        if self._delay_until_s is not None and self._has_grown and now_s < self._delay_until_s:
            self._has_grown = False
            self._join_until_s = min(now_s + self._limits.initial_delay_s, self._delay_until_s)
            return []
        return self._complete(now_s)

    def _complete(self, now_s: float) -> Replies:
        """Begin a generation of those that have joined."""
        self._join_until_s = self._delay_until_s = None
        replies: Replies = []
        for member in self.members:
            if not member.is_joined and member.instance_id is None:
                replies += self._remove(member)
        if self.members and not self.members.elect():
            self._join_until_s = now_s + self.members.rebalance_timeout_s  # static members, which may all come back
            return replies
        self.generation += 1
        if not self.members:
            self.state, self.protocol_name = State.EMPTY, None
            return replies
        self.state, self.protocol_name = State.COMPLETING, self.members.select_protocol()
        self._sync_until_s = now_s + self.members.rebalance_timeout_s
        self._unsynced = {member.id for member in self.members}
        for member in self.members:
            if member.is_joined:
                member.is_joined = False
                member.knows_its_id = True
                member.renew(now_s)
                replies.append(Reply(member.join_waiter, self._joined(member)))
                member.join_waiter = None
        return replies

    def _joined(self, member: Member) -> JoinAnswer:
        """The answer to a join of the current generation."""
        name = self.protocol_name or ""
        is_leader = member.id == self.members.leader
        return JoinAnswer(
            ErrorCode.NONE,
            member.id,
            self.generation,
            self.protocol_type,
            name,
            self.members.leader or "",
            tuple((one.id, one.instance_id, one.protocols[name]) for one in self.members) if is_leader else (),
        )

    # -- syncing ---------------------------------------------------------------------------------------------

    def sync(self, request: SyncRequest, waiter: object, now_s: float) -> Replies:
        """Take a request for an assignment; its answer is among the replies, or waits."""
        member, error = self._find(request.member_id, request.instance_id)
        if member is not None and request.generation != self.generation:
            error = ErrorCode.ILLEGAL_GENERATION
        elif member is not None and self._has_other_protocol(request):
            error = ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        elif member is not None and self.state is State.PREPARING:
            error = ErrorCode.REBALANCE_IN_PROGRESS
        if member is None or error is not ErrorCode.NONE:
            return [Reply(waiter, SyncAnswer(error))]
        self._unsynced.discard(member.id)
        member.renew(now_s)
        if self.state is State.STABLE:
            return [Reply(waiter, self._synced(member))]
        replies = self._answer_all(member, ErrorCode.REBALANCE_IN_PROGRESS)
        member.sync_waiter = waiter
        if member.id != self.members.leader:
            return replies
        assignments = dict(request.assignments)
        self.state = State.STABLE
        for one in self.members:
            one.assignment = assignments.get(one.id, b"")
        for one in self.members:
            replies += self._answer_sync(one, self._synced(one), now_s)
        return replies

    def _has_other_protocol(self, request: SyncRequest) -> bool:
        return (request.protocol_type is not None and request.protocol_type != self.protocol_type) or (
            request.protocol_name is not None and request.protocol_name != self.protocol_name
        )

    def _synced(self, member: Member) -> SyncAnswer:
        return SyncAnswer(ErrorCode.NONE, self.protocol_type, self.protocol_name, member.assignment)

    # -- staying and leaving ---------------------------------------------------------------------------------

    def heartbeat(self, member_id: str, instance_id: str | None, generation: int, now_s: float) -> ErrorCode:
        """Take a sign of life."""
        member, error = self._find(member_id, instance_id)
        if member is None:
            return error
        if generation != self.generation:
            return ErrorCode.ILLEGAL_GENERATION
        member.renew(now_s)
        return ErrorCode.REBALANCE_IN_PROGRESS if self.state is State.PREPARING else ErrorCode.NONE

    def leave(self, identities: Iterable[tuple[str, str | None]], now_s: float) -> tuple[list[ErrorCode], Replies]:
        """Remove members, each by its id and its instance id, a static one by the latter alone if the id is ""."""
        results: list[ErrorCode] = []
        replies: Replies = []
        has_left = False
        for member_id, instance_id in identities:
            if not member_id and instance_id is not None:
                member = self.members.by_instance(instance_id)
                error = ErrorCode.NONE if member is not None else ErrorCode.UNKNOWN_MEMBER_ID
            elif self._given_ids.pop(member_id, None) is not None:
                member, error = None, ErrorCode.NONE
            else:
                member, error = self._find(member_id, instance_id)
            if member is not None:
                replies += self._remove(member)
                has_left = True
            results.append(error)
        return results, [*replies, *self._after_removal(now_s, has_left=has_left)]

    def check_commit(
        self, member_id: str, instance_id: str | None, generation: int, now_s: float, *, in_transaction: bool = False
    ) -> ErrorCode:
        """Judge whether offsets may be committed by this member in this generation; a commit is a sign of life."""
        is_simple = generation < 0 and not member_id and instance_id is None
        if is_simple:
            is_free = in_transaction or not self.members
            return ErrorCode.NONE if is_free else ErrorCode.UNKNOWN_MEMBER_ID
        if generation < 0 and not self.members:
            return ErrorCode.NONE
        member, error = self._find(member_id, instance_id)
        if member is None:
            return error
        if generation != self.generation:
            return ErrorCode.ILLEGAL_GENERATION
        if self.state is State.COMPLETING and not in_transaction:
            return ErrorCode.REBALANCE_IN_PROGRESS
        member.renew(now_s)
        return ErrorCode.NONE

    def disconnect(self, waiter: object, now_s: float) -> Replies:
        """Note that the connection of a waiting request ended: it is not answered."""
        for member in self.members:
            if member.join_waiter == waiter:
                member.join_waiter, member.is_joined = None, False
                member.renew(now_s)
                if not member.knows_its_id:
                    return [*self._remove(member), *self._after_removal(now_s, has_left=True)]
            if member.sync_waiter == waiter:
                member.sync_waiter = None
                member.renew(now_s)
        return []

    def expire(self, now_s: float) -> Replies:
        """Do what is due at this time."""
        replies: Replies = []
        silent = [member for member in self.members if not member.is_waiting and member.expires_s <= now_s]
        late = [member_id for member_id, until_s in self._given_ids.items() if until_s <= now_s]
        for member_id in late:
            del self._given_ids[member_id]
        for member in silent:
            replies += self._remove(member)
        if silent or late:
            replies += self._after_removal(now_s, has_left=bool(silent))
        if self._sync_until_s is not None and self._sync_until_s <= now_s:
            self._sync_until_s = None
            unsynced = [member for member in self.members if member.id in self._unsynced]
            for member in unsynced:
                replies += self._remove(member)
            replies += self._after_removal(now_s, has_left=bool(unsynced))
        if self._join_until_s is not None and self._join_until_s <= now_s:
            replies += self._join_time_is_up(now_s)
        return replies

    def dissolve(self, error: ErrorCode) -> Replies:
        """Remove all members, because the group is somebody else's now; they are told by this error."""
        replies: Replies = []
        for member in self.members:
            replies += self._answer_all(member, error)
            self.members.remove(member)
        self._given_ids.clear()
        self._unsynced.clear()
        self._join_until_s = self._sync_until_s = self._delay_until_s = None
        self.state, self.protocol_name, self.generation = State.EMPTY, None, self.generation + 1
        return replies

    # -- helpers ---------------------------------------------------------------------------------------------

    def _find(self, member_id: str, instance_id: str | None) -> tuple[Member | None, ErrorCode]:
        """The member that asks, or why it is none."""
        if instance_id is not None:
            member = self.members.by_instance(instance_id)
            if member is not None and member.id != member_id:
                return None, ErrorCode.FENCED_INSTANCE_ID
        else:
            member = self.members.get(member_id)
        return member, ErrorCode.NONE if member is not None else ErrorCode.UNKNOWN_MEMBER_ID

    def _remove(self, member: Member) -> Replies:
        replies = self._answer_all(member, ErrorCode.UNKNOWN_MEMBER_ID)
        self.members.remove(member)
        self._unsynced.discard(member.id)
        return replies

    def _after_removal(self, now_s: float, *, has_left: bool) -> Replies:
        """Have the others divide what a removed member had, or wait no longer for one that was given an id."""
        if self.state is State.EMPTY or not (has_left or self.state is State.PREPARING):
            return []
        return self._go_on(now_s)

    def _answer_all(self, member: Member, error: ErrorCode) -> Replies:
        """Answer the requests of a member that wait, with an error."""
        replies: Replies = []
        if member.join_waiter is not None:
            replies.append(Reply(member.join_waiter, JoinAnswer(error, member.id)))
        if member.sync_waiter is not None:
            replies.append(Reply(member.sync_waiter, SyncAnswer(error)))
        member.join_waiter = member.sync_waiter = None
        member.is_joined = False
        return replies

    def _answer_sync(self, member: Member, answer: SyncAnswer, now_s: float) -> Replies:
        if member.sync_waiter is None:
            return []
        replies = [Reply(member.sync_waiter, answer)]
        member.sync_waiter = None
        member.renew(now_s)
        return replies


def _refused(request: JoinRequest, waiter: object, error: ErrorCode) -> Reply:
    return Reply(waiter, JoinAnswer(error, request.member_id))
