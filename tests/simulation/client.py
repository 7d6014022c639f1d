"""
The actors of the simulation: members, and the heart of each process.

They are generators: at a `yield` time passes and others act; anything may happen to the actor there. What stands
between two of them happens at one moment, as a transaction or a look at the clock does.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

from eventlog.groups.assignors import GroupMember, sticky
from eventlog.groups.lease import Terms
from eventlog.groups.rules import Assign, Confirm, Join, Sweep, Verdict, next_steps
from eventlog.groups.state import Group, PartitionId, Subscription
from eventlog.records import TopicPartition
from tests.simulation.store import Seat, Store, want

Steps = Iterator[None]


def topic_name(topic: int) -> str:
    """The name of a topic."""
    return f"topic-{topic}"


def targets_of(group: Group, topics: Mapping[int, int]) -> dict[str, frozenset[PartitionId]]:
    """Who should own what, as the default assignor sees it."""
    places = {
        TopicPartition(topic_name(topic), number): (topic, number)
        for topic, count in sorted(topics.items())
        for number in range(count)
    }
    names = [topic_name(topic) for topic in sorted(topics)]
    members = [
        GroupMember(
            member.id,
            member.instance_id,
            tuple(name for name in names if member.subscription.covers(name)),
            tuple(sorted(TopicPartition(topic_name(topic), number) for topic, number in member.target)),
        )
        for member in group.in_join_order()
    ]
    shares = sticky(members, list(places))
    return {member_id: frozenset(places[tp] for tp in share) for member_id, share in shares.items()}


class Process:
    """A process: it dies as a whole, sleeps as a whole, and has one heart."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_alive = True
        self.paused_until_s = 0.0
        self.seats: list[Seat] = []


def heart(store: Store, process: Process) -> Steps:
    """Prolongs the leases of a process, as `groups/lease.py` tells it."""
    while True:
        for seat in list(process.seats):
            if seat.is_locked:
                continue
            seat.is_locked = True
            end_s = seat.lease.later_end_s(store.now_s)
            yield
            if end_s is not None:
                seat.end_s = end_s
                yield
                seat.lease.note_published(end_s, store.now_s)
            seat.is_locked = False
        yield


class Client:
    """A consumer of a group, and the program around it: it polls for ever."""

    def __init__(
        self,
        store: Store,
        rng: random.Random,
        process: Process,
        name: str,
        instance_id: str | None,
        subscription: Subscription,
        terms: Terms,
    ) -> None:
        self.store = store
        self.rng = rng
        self.process = process
        self.name = name
        self.instance_id = instance_id
        self.subscription = subscription
        self.terms = terms
        self.is_closing = False
        self.is_closed = False
        self.is_member = False
        self.seat: Seat
        self.held: dict[PartitionId, int] = {}
        """What it may use, and the epoch of each grant."""
        self.position: dict[PartitionId, int] = {}
        self.finished: dict[PartitionId, int] = {}
        self.committed: dict[PartitionId, int] = {}
        """The committed offsets as it knows them: taken over, or its own."""
        self._id_count = 0
        self.seen: tuple[Group, int] | None = None

    def steps(self) -> Steps:
        """Joins, polls, and joins again when it was removed."""
        while not self.is_closed:
            yield from self._poll() if self.is_member else self._join()

    # -- in and out ---------------------------------------------------------------------------------------------

    def _join(self) -> Steps:
        store = self.store
        self._id_count += 1
        lease = store.product.lease(self.terms, store.now_s)
        self.seat = seat = Seat(f"{self.name}{self._id_count}", self.process, lease)
        store.seats[seat.id] = seat
        self.process.seats.append(seat)
        yield
        request = Join(seat.id, self.instance_id, self.subscription, "sticky", 1)
        if store.transact(request) is Verdict.ACCEPTED:
            self.is_member = True
            yield
        else:
            self._lose()
            self.is_closed = self.is_closing
            yield

    def _lose(self) -> None:
        """Does what a member does that is none any more: nothing is committed."""
        self.process.seats.remove(self.seat)
        if self.seat.is_held:
            self.store.seats.pop(self.seat.id, None)
        self.is_member = False
        self.seen = None
        self.held.clear()

    # -- a poll -------------------------------------------------------------------------------------------------

    def _poll(self) -> Steps:
        store = self.store
        self.seat.lease.polled_s = store.now_s
        self.finished.update(self.position)  # who asks for more has finished
        yield
        group = store.group
        if self.seat.id not in group.members:
            self._lose()
            return
        if self.seen != (group, store.topics_version):
            yield from self._adapt(group, store.topics_version, dict(store.topics), dict(store.committed))
        elif store.looks_dead(group):
            yield
            self._sweep()
        yield
        if self.is_member and not self.is_usable():
            yield from self._confirm()
        if not self.is_member:
            return
        self._hand_out()
        yield
        if self.is_closing:
            self._leave()
        elif self.rng.random() < 0.6 and not store.commit(self, {place: self.finished[place] for place in self.held}):
            self._lose()

    def is_usable(self) -> bool:
        """Whether it may use its partitions without asking."""
        return self.seat.lease.is_usable(self.store.now_s)

    def _confirm(self) -> Steps:
        """Asks whether it is still a member, and publishes a new end in that transaction."""
        store, seat = self.store, self.seat
        while seat.is_locked:
            yield
        seat.is_locked = True
        yield
        end_s = seat.lease.confirmed_end_s(store.now_s)
        if self._ask():
            seat.end_s = end_s
            yield
            seat.lease.note_confirmed(end_s, store.now_s)
        else:
            self._lose()
        seat.is_locked = False

    def _ask(self) -> bool:
        return self.store.transact(Confirm(self.seat.id)) is Verdict.ACCEPTED

    def _sweep(self) -> None:
        self.store.transact(Sweep())

    def _adapt(self, group: Group, version: int, topics: dict[int, int], committed: Mapping[PartitionId, int]) -> Steps:
        """Does what has changed: gives up, takes, proposes. Its arguments were read in one transaction."""
        yield
        me = group.members[self.seat.id]
        steps = next_steps(me, self.held)
        want(not steps.gone, "taken from a member that is there", self.seat.id, steps.gone)
        for partition in steps.fresh:
            self.held[partition] = me.owned[partition]
            offset = committed[partition]
            self.position[partition] = self.finished[partition] = self.committed[partition] = offset
        if steps.surplus:
            yield from self._release(steps.surplus)
        if self.is_member and group.needs_targets(version):
            targets = targets_of(group, topics)
            yield
            self.store.transact(Assign(group.epoch, version, targets))
        self.seen = group, version

    def _release(self, gone: frozenset[PartitionId]) -> Steps:
        """Gives partitions up; from here on none of them is used."""
        yield
        offsets = {partition: self.finished[partition] for partition in gone if partition in self.held}
        if not self.store.release(self, gone, offsets):
            self._lose()
        self._drop(gone)

    def _drop(self, gone: frozenset[PartitionId]) -> None:
        for partition in gone:
            self.held.pop(partition, None)
            self.position.pop(partition, None)

    def _hand_out(self) -> None:
        if not self.is_usable():
            return
        limit = self.rng.choice((1, 3, 1000))
        for partition in self.held:
            first = self.position[partition]
            end = min(self.store.end(partition), first + limit)
            if first < end:
                self.store.check_use(self, partition, first, end)
                self.position[partition] = end

    def _leave(self) -> None:
        """Closes: a static member keeps its place for a while."""
        self.finished.update(self.position)
        offsets = {partition: self.finished[partition] for partition in self.held}
        if self.instance_id is None:
            self.store.leave(self, offsets)
        else:
            self.store.commit(self, offsets)
            self.seat.end_s = self.store.now_s + self.terms.session_timeout
            self.seat.is_held = False
        self._lose()
        self.is_closed = True
