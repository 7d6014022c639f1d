"""
Random histories of a classic group, and what must be true after every step of them.

Clients join, sync, give signs of life, leave, lose connections, retry, come back as static members, and time passes in
between. Assignments name the generation and the member that they are for, so that a wrong one is seen.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from eventlog.kafka.groups.classic.group import ClassicGroup
from eventlog.kafka.groups.classic.values import JoinAnswer, Limits, Replies, State, SyncAnswer
from eventlog.kafka.protocol.errors import ErrorCode
from tests.kafka.groups.classic_script import Script

TIMEOUT_S = 30.0
SESSION_S = 10.0
DELAY_S = 3.0


class Client:
    """One program: the id and the generation that it was told, and the request of it that waits."""

    def __init__(self, number: int, *, instance_id: str | None, is_old: bool) -> None:
        self.number = number
        self.instance_id = instance_id
        self.is_old = is_old
        self.member_id = ""
        self.generation = -1
        self.is_leader = False
        self.seen: tuple[str, ...] = ()
        self.version = 0


class WatchedScript(Script):
    """A script that has every answer judged as it comes."""

    def __init__(self, limits: Limits, machine: ClassicGroupMachine) -> None:
        super().__init__(limits)
        self.group = machine.new_group(limits)
        self._machine = machine

    def take(self, replies: Replies) -> None:
        """Judge the answers."""
        super().take(replies)
        for waiter, answer in replies:
            self._machine.judge(waiter, answer)


class ClassicGroupMachine(RuleBasedStateMachine):
    """Some clients and their group."""

    GROUP: type[ClassicGroup] = ClassicGroup

    def __init__(self) -> None:
        super().__init__()
        self.clients: list[Client] = []
        self.sent: dict[Any, tuple[Client, float, int]] = {}
        """Who sent the requests that wait, when, and in which generation of the client."""
        self.generations: dict[int, tuple[str, str]] = {}
        """Of each generation the leader and the protocol that its members were told."""
        self.fenced: set[str] = set()
        self.numbers = 0

    def new_group(self, limits: Limits) -> ClassicGroup:
        """An empty group."""

        def new_id(kind: str) -> str:
            self.numbers += 1
            return f"{kind}-{self.numbers}"

        return self.GROUP("billing", limits, new_id)

    # -- what clients do -------------------------------------------------------------------------------------

    @initialize(is_delayed=st.booleans())
    def begin(self, is_delayed: bool) -> None:
        """Make the group."""
        self.script = WatchedScript(Limits(initial_delay_s=DELAY_S if is_delayed else 0.0), self)

    @rule(instance=st.sampled_from([None, None, "a", "b"]), is_old=st.booleans())
    @precondition(lambda self: len(self.clients) < 6)
    def come(self, instance: str | None, is_old: bool) -> None:
        """A program starts, and joins without an id."""
        client = Client(len(self.clients), instance_id=instance, is_old=is_old)
        self.clients.append(client)
        self._join(client)

    @rule(pick=st.integers(0, 5), is_changed=st.booleans())
    def join_again(self, pick: int, is_changed: bool) -> None:
        """A client joins with what it has been told, perhaps with other metadata, and perhaps over a new connection."""
        if (client := self._picked(pick)) is not None:
            client.version += is_changed
            self._join(client)

    @rule(pick=st.integers(0, 5), lateness=st.sampled_from([0, 1]))
    def sync(self, pick: int, lateness: int) -> None:
        """A client syncs; a leader assigns to the members that it was told."""
        client = self._picked(pick)
        if client is None or client.generation < 0:
            return
        generation = client.generation - lateness
        told = dict.fromkeys(client.seen) if client.is_leader else {}
        assignments = {member: f"{generation}/{member}".encode() for member in told}
        self._send(
            client,
            lambda: self.script.sync(
                client.member_id, generation, instance_id=client.instance_id, assignments=assignments
            ),
        )

    @rule(with_leader=st.booleans())
    def keep_step(self, with_leader: bool) -> None:
        """Every client whose requests are answered does what clients do next; the leader perhaps takes its time."""
        busy = {id(client) for client, _, _ in self.sent.values()}
        for client in self.clients:
            if id(client) in busy:
                continue
            if not client.member_id:
                self._join(client)
                continue
            error = self.script.heartbeat(client.member_id, client.generation, client.instance_id)
            if error is not ErrorCode.NONE:
                self._join(client)
            elif with_leader or not client.is_leader:
                self.sync(self.clients.index(client), 0)

    @rule(pick=st.integers(0, 5))
    def heartbeat(self, pick: int) -> None:
        """A client gives a sign of life."""
        client = self._picked(pick)
        if client is not None and client.member_id:
            error = self.script.heartbeat(client.member_id, client.generation, client.instance_id)
            if client.member_id in self.fenced:
                assert error in (ErrorCode.FENCED_INSTANCE_ID, ErrorCode.UNKNOWN_MEMBER_ID)

    @rule(pick=st.integers(0, 5))
    def leave(self, pick: int) -> None:
        """A client leaves, and may come back as a new one."""
        client = self._picked(pick)
        if client is not None and client.member_id:
            self.script.leave((client.member_id, client.instance_id))
            client.member_id, client.generation = "", -1

    @rule(pick=st.integers(0, 5))
    def lose_connection(self, pick: int) -> None:
        """The connection of a request that waits ends."""
        if waiting := sorted(self.script.waiting):
            waiter = waiting[pick % len(waiting)]
            del self.sent[waiter]
            self.script.disconnect(waiter)

    @rule(seconds=st.sampled_from([0.1, 3.0, 9.9, 10.0, 31.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.script.wait(seconds)

    # -- helpers ---------------------------------------------------------------------------------------------

    def _picked(self, pick: int) -> Client | None:
        return self.clients[pick % len(self.clients)] if self.clients else None

    def _join(self, client: Client) -> None:
        fields: dict[str, Any] = {} if not client.is_old else {"asks_for_id": False, "skips_assignment": False}
        if client.instance_id is not None and not client.member_id:
            before = self.script.group.members.by_instance(client.instance_id)
            if before is not None:
                self.fenced.add(before.id)
        self._send(
            client,
            lambda: self.script.join(
                client.member_id,
                instance_id=client.instance_id,
                protocols=[("range", b"%d" % client.version)],
                session_timeout_s=SESSION_S,
                rebalance_timeout_s=TIMEOUT_S,
                **fields,
            ),
        )

    def _send(self, client: Client, send: Any) -> None:
        self.sent[self.script.last + 1] = (client, self.script.now_s, client.generation)
        send()

    # -- what must be true -----------------------------------------------------------------------------------

    def judge(self, waiter: object, answer: JoinAnswer | SyncAnswer) -> None:
        """Check an answer against what others were told, and have its client note it."""
        client, sent_s, generation = self.sent.pop(waiter)
        assert self.script.now_s - sent_s <= TIMEOUT_S, "answered too late"
        if isinstance(answer, SyncAnswer):
            if answer.error is ErrorCode.NONE and answer.assignment:
                assert answer.assignment.startswith(b"%d/" % generation), "an assignment of another generation"
            return
        if answer.error is ErrorCode.MEMBER_ID_REQUIRED:
            client.member_id = answer.member_id
        elif answer.error is ErrorCode.NONE:
            told = (answer.leader, answer.protocol_name or "")
            known = self.generations.setdefault(answer.generation, told)
            has_come_back = client.instance_id is not None
            assert known[1] == told[1], "two protocols in one generation"
            assert known[0] == told[0] or has_come_back or known[0] in self.fenced, "two leaders of one generation"
            client.member_id, client.generation = answer.member_id, answer.generation
            client.is_leader = answer.leader == answer.member_id
            client.seen = tuple(member for member, _, _ in answer.members)
            assert bool(answer.members) == client.is_leader
            assert not client.is_leader or client.member_id in client.seen
        elif answer.error in (ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_INSTANCE_ID):
            client.member_id, client.generation = "", -1

    @invariant()
    def state_is_sound(self) -> None:
        """Waiting requests belong to the state that answers them, and the leader is one of the members."""
        group = getattr(self, "script", None) and self.script.group
        if group is None:
            return
        members = list(group.members)
        joins = [member for member in members if member.join_waiter is not None]
        syncs = [member for member in members if member.sync_waiter is not None]
        assert {member.join_waiter for member in joins} | {member.sync_waiter for member in syncs} == {
            *self.script.waiting
        }, "a request is lost"
        assert (group.members.leader is None) == (not members)
        assert group.members.leader is None or group.members.leader in group.members
        assert not joins or group.state is State.PREPARING
        assert not syncs or group.state is State.COMPLETING
        assert all(member.is_joined for member in joins)
        assert group.state is not State.EMPTY or not members
        assert not self.script.waiting or group.deadline_s() is not None, "nothing ever ends this wait"
        instances = [member.instance_id for member in members if member.instance_id is not None]
        assert len(instances) == len(set(instances))

    def teardown(self) -> None:
        """Everybody is killed: in the end the group is empty, and nothing waits."""
        if hasattr(self, "script"):
            for waiter in sorted(self.script.waiting):
                if waiter in self.script.waiting:
                    del self.sent[waiter]
                    self.script.disconnect(waiter)
            self.script.wait(3 * TIMEOUT_S + 2 * SESSION_S)
            assert self.script.group.is_forgettable
            assert not self.script.waiting
