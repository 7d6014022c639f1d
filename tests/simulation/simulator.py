"""
The scheduler of the simulation: one thread, a virtual clock, and faults at every step.

One seed is one history. Actors (`client.py`) are woken in the order of their moments; each step takes a random time,
so every order of steps of different actors occurs. For a while faults happen behind random steps: processes die,
sleep, wake up; programs hang; members come and go; topics grow; the time of day jumps. Then they stop, everybody
who sleeps wakes up, and the group has to become quiet:

    each partition that somebody wants is owned by one live member; what each owns is its target and what it holds;
    no member could have something of another that owns two partitions more; all records were handed out and
    committed; no lease ends within the next `watch_s`; each member has done what the group as it is asks for

within `quiet_bound_s`, and the group stays as it is for `watch_s`. The last two belong to it because a fault outlives
itself: a poll that slept began long ago, so its member may be removed after all faults, and rightly so; and a member
that has decided to release a partition does so although its target has changed back meanwhile.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from eventlog.groups.lease import Terms
from eventlog.groups.state import Subscription
from tests.simulation.client import Client, Process, Steps, heart, topic_name
from tests.simulation.store import Product, Store, want

STEP_S = 0.3
"""The longest time between two steps."""
FAULT_RATE = 0.05
"""How often a fault happens behind a step."""
PRODUCT = Product()

_NAMES = "abcdefghijklmnopqrstuvwxyz"
_EVERYTHING = Subscription(patterns=((".*", 0),))
_TOPIC_IDS = (1, 2)


class Actor:
    """A client or a heart: its steps, and until when it hangs alone."""

    __slots__ = ("client", "name", "paused_until_s", "process", "steps")

    def __init__(self, name: str, process: Process, steps: Steps, client: Client | None = None) -> None:
        self.name = name
        self.process = process
        self.steps = steps
        self.client = client
        self.paused_until_s = 0.0


class Simulation:
    """One history."""

    def __init__(self, seed: int, product: Product = PRODUCT, *, day_jumps: bool = True) -> None:
        self.rng = rng = random.Random(seed)
        self.store = Store(product, rng)
        day = random.Random(-seed - 1)
        if day_jumps:
            self.store.day_ms = lambda: day.randrange(2_000_000_000_000)
        self.session_timeout_s = rng.choice((4.0, 7.0))
        self.quiet_bound_s = self.session_timeout_s + 60 * STEP_S
        self.quiet_s = 0.0
        self.watch_s = self.session_timeout_s / 4
        self._client_of = product.client or Client
        self._agenda: list[tuple[float, int, Actor]] = []
        self._turn_count = 0
        self._clients: list[Client] = []
        self._processes: list[Process] = []
        self._name_count = 0
        for topic in _TOPIC_IDS[: rng.randrange(1, 3)]:
            self._grow(topic, rng.randrange(1, 4))
        for _ in range(rng.randrange(1, 4)):
            self._start(None)
        self._faults: tuple[tuple[float, Callable[[Actor], object]], ...] = (
            (0.30, self._pause_process),
            (0.42, self._pause_actor),
            (0.54, self._crash),
            (0.78, lambda _: self._start(None)),
            (0.90, self._close),
            (1.00, lambda _: self._grow(rng.choice(_TOPIC_IDS), rng.randrange(1, 3))),
        )

    # -- the clock ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Lets faults happen for a while, then waits until it is quiet."""
        store, rng = self.store, self.rng
        draw = rng.random
        end_s = store.now_s + rng.uniform(3.0, 9.0) * self.session_timeout_s
        while store.now_s < end_s:
            actor = self._step(draw)
            if actor is not None and draw() < FAULT_RATE:
                self._fault(actor)
        self._stop_faults()
        self._become_quiet(draw)
        group = store.group
        end_s = store.now_s + self.watch_s
        while store.now_s < end_s:
            self._step(draw)
        want(store.group == group, "it was quiet, and changed without a reason", group, store.group)

    def _step(self, draw: Callable[[], float]) -> Actor | None:
        """Lets the actor whose turn it is do one step."""
        if not self._agenda:  # nobody is left
            self.store.now_s += STEP_S
            return None
        moment, _, actor = heappop(self._agenda)
        process = actor.process
        if not process.is_alive:
            return None
        until_s = max(process.paused_until_s, actor.paused_until_s)
        if until_s > moment:
            self._push(until_s + draw() * STEP_S, actor)
            return None
        self.store.now_s = moment
        for _ in actor.steps:
            self._push(moment + draw() * STEP_S, actor)
            return actor
        return None

    def _push(self, moment: float, actor: Actor) -> None:
        self._turn_count += 1
        heappush(self._agenda, (moment, self._turn_count, actor))

    # -- faults -------------------------------------------------------------------------------------------------

    def _fault(self, actor: Actor) -> None:
        # A heart is busy for a short time, and that is when it is most fragile.
        draw = self.rng.random() * (1.0 if actor.client is not None else self._faults[1][0])
        for bound, fault in self._faults:
            if draw < bound:
                if self.store.trace is not None:
                    self.store.trace.append((self.store.now_s, "fault behind a step of", actor.name))
                fault(actor)
                return

    def _pause_s(self, process: Process) -> float:
        """How long somebody sleeps: a moment, too long, or until about the end of one of its leases."""
        rng, seats = self.rng, process.seats
        kind = rng.random()
        if kind < 0.2:
            return rng.uniform(0.0, 2.0)
        if kind < 0.4 or not seats:
            return rng.uniform(0.8, 2.0) * self.session_timeout_s
        seat = rng.choice(seats)
        end_s = rng.choice((seat.end_s, seat.lease.end_s))
        return max(end_s - self.store.now_s + rng.uniform(-0.6, 1.2), 0.0)

    def _pause_process(self, actor: Actor) -> None:
        actor.process.paused_until_s = self.store.now_s + self._pause_s(actor.process)
        self._note(actor.process.name, "sleeps until", actor.process.paused_until_s)

    def _pause_actor(self, actor: Actor) -> None:
        actor.paused_until_s = self.store.now_s + self._pause_s(actor.process)
        self._note(actor.name, "hangs until", actor.paused_until_s)

    def _crash(self, actor: Actor) -> None:
        actor.process.is_alive = False
        self._note(actor.process.name, "dies")

    def _close(self, actor: Actor) -> None:
        if actor.client is not None:
            actor.client.is_closing = True
            self._note(actor.name, "closes soon")

    def _grow(self, topic: int, more: int) -> None:
        store, rng = self.store, self.rng
        count = store.topics.get(topic, 0) + more
        if count <= 4:
            store.grow(topic, count, rng.choice((0.0, 0.3, 2.0)))
            self._note(topic_name(topic), "has", count, "partitions")

    def _start(self, subscription: Subscription | None) -> None:
        """A member comes: in a process that is there, or in another; static perhaps, perhaps after a restart."""
        rng, store = self.rng, self.store
        alive = [client for client in self._clients if client.process.is_alive and not client.is_closed]
        if len(alive) >= 4:
            return
        processes = [process for process in self._processes if process.is_alive]
        if processes and rng.random() < 0.4:
            process = rng.choice(processes)
        else:
            process = Process(f"process {len(self._processes)}")
            self._processes.append(process)
            beat = Actor(f"the heart of {process.name}", process, heart(store, process))
            self._push(store.now_s + rng.random(), beat)
        if subscription is None:
            subscription = (
                _EVERYTHING if rng.random() < 0.7 else Subscription(topics=(topic_name(rng.choice(_TOPIC_IDS)),))
            )
        instance_id = rng.choice((None, None, "s", "t"))
        terms = Terms(self.session_timeout_s, rng.choice((3.5, 6.0, 1000.0)))  # a poll takes 3 s at most
        name = _NAMES[self._name_count % len(_NAMES)]
        self._name_count += 1
        client = self._client_of(store, rng, process, name, instance_id, subscription, terms)
        self._clients.append(client)
        self._push(store.now_s + rng.random() * STEP_S, Actor(f"client {name}", process, client.steps(), client))
        self._note("client", name, "in", process.name, instance_id, subscription, terms)

    # -- quiet --------------------------------------------------------------------------------------------------

    def _stop_faults(self) -> None:
        """Wakes everybody up; of two that want to be the same static member one goes."""
        store = self.store
        store.appends_end_s = store.now_s
        for process in self._processes:
            process.paused_until_s = 0.0
        agenda, self._agenda = self._agenda, []
        for moment, _, actor in sorted(agenda):
            actor.paused_until_s = 0.0
            self._push(min(moment, store.now_s + STEP_S), actor)
        self._start(_EVERYTHING)
        instances: set[str] = set()
        for client in self._clients:
            if client.process.is_alive and not client.is_closing and client.instance_id is not None:
                client.is_closing = client.instance_id in instances
                instances.add(client.instance_id)
        self._note("no faults from here on")

    def _become_quiet(self, draw: Callable[[], float]) -> None:
        store = self.store
        begin_s = store.now_s
        complaint = "it did not begin"
        while store.now_s < begin_s + self.quiet_bound_s:
            for _ in range(8):
                self._step(draw)
            complaint = self._complaint()
            if not complaint:
                self.quiet_s = store.now_s - begin_s
                return
        want(False, f"not quiet after {self.quiet_bound_s} s", complaint, store.group)

    def _complaint(self) -> str:
        """Why it is not quiet yet."""
        store = self.store
        clients = [client for client in self._clients if client.process.is_alive and not client.is_closed]
        members = store.group.members
        if any(client.is_closing or not client.is_member for client in clients):
            return "somebody is on the way in or out"
        if {client.seat.id for client in clients} != members.keys():
            return f"the members are not the live ones: {sorted(client.seat.id for client in clients)}"
        if echo := self._echo(clients):
            return echo
        if store.group.needs_targets(store.topics_version):
            return "the targets are old"
        for client in clients:
            owned = members[client.seat.id].owned
            if owned.keys() != members[client.seat.id].target or owned != client.held:
                return f"{client.seat.id} is not settled: it holds {client.held}"
        owners = [member for member in members.values() for _ in member.owned]
        wanted = [
            (topic, number)
            for topic, count in store.topics.items()
            for number in range(count)
            if any(client.subscription.covers(topic_name(topic)) for client in clients)
        ]
        if len(wanted) != len(owners):
            return f"{wanted} are wanted"
        for more in members.values():
            for less in members.values():
                could_take = any(less.subscription.covers(topic_name(topic)) for topic, _ in more.owned)
                if len(more.owned) > len(less.owned) + 1 and could_take:
                    return f"{less.id} could have something of {more.id}"
        behind = [place for place in wanted if not store.end(place) == store.handed[place] == store.committed[place]]
        return f"records are left in {behind}" if behind else ""

    def _echo(self, clients: list[Client]) -> str:
        """What may still happen because of something that is over."""
        store = self.store
        if not all(client.is_usable() for client in clients):
            return "a lease is over"
        if any(client.seat.end_s <= store.now_s + self.watch_s for client in clients):
            return "a lease ends soon"
        if any(client.seen != (store.group, store.topics_version) for client in clients):
            return "somebody still does what an earlier group asked for"
        return ""

    # -- failures -----------------------------------------------------------------------------------------------

    def _note(self, *words: object) -> None:
        if self.store.trace is not None:
            self.store.trace.append((self.store.now_s, *words))


def simulate(seed: int, product: Product = PRODUCT) -> Simulation:
    """Runs one history; raises `Violation` if something in it is not as it must be."""
    simulation = Simulation(seed, product)
    simulation.run()
    return simulation


def traced(seed: int, product: Product = PRODUCT, *, day_jumps: bool = True) -> tuple[list[Any], Exception | None]:
    """Runs one history; what happened in it, and what is wrong with it."""
    simulation = Simulation(seed, product, day_jumps=day_jumps)
    trace: list[Any] = []
    simulation.store.trace = trace
    try:
        simulation.run()
    except Exception as error:
        return trace, error
    return trace, None


def report(seed: int, product: Product = PRODUCT, *, last: int = 60) -> str:
    """A failing seed as a test to paste, with what happened before the failure."""
    trace, error = traced(seed, product)
    steps = "\n".join(f"    {moment:9.3f}  {' '.join(map(str, words))}" for moment, *words in deque(trace, maxlen=last))
    return f"""seed {seed}: {type(error).__name__}: {error}

The last steps:
{steps}

The seed as a test (the names come from tests.simulation.simulator):

def test_seed_{seed}() -> None:
    \"\"\"A history that went wrong once.\"\"\"
    simulate({seed})
"""
