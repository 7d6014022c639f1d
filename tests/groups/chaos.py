"""
Brings up a group of real processes, and then kills, stops, continues, adds and closes them at random.

A stopped process may hold LMDB's write lock, and then nobody can commit until it goes on: that is a limit with a
name, and no fault of the others. So every stop has an end, and all of them are over before the group is judged.
Knows nothing of what a good history is.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs

import eventlog
from tests.groups.history import (
    NOT_COMMITTED,
    Continued,
    Ended,
    Event,
    Judged,
    Killed,
    Observed,
    Offset,
    Place,
    Quiet,
    Scribe,
    Stopped,
    now_ns,
    read_history,
)
from tests.groups.workers import GROUP, MANNERS, TOPICS, Terms, consume, produce
from tests.processes.child import LONGEST_SECONDS, Child

_LOOK_S = 0.05


class Process:
    """One process with members in it."""

    def __init__(self, child: Child, members: Sequence[tuple[str, str]], instance_id: str | None) -> None:
        self.child = child
        self.members = members
        self.instance_id = instance_id
        self.is_stopped = False

    @property
    def id(self) -> int:
        """The number that signals go to."""
        return self.child.process_id


class Onlooker:
    """Reads the committed offsets of the group again and again, in a thread, and is no member."""

    def __init__(self, log: eventlog.EventLog, scribe: Scribe) -> None:
        self._consumer = log.consumer(group=GROUP)
        self._places = [(topic, number) for topic, count in TOPICS.items() for number in range(count)]
        self._scribe = scribe
        self._changed = threading.Condition()
        self._is_over = threading.Event()
        self._latest: dict[Place, int] = {}
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over.wait(_LOOK_S):
            self._look()
        self._look()

    def _look(self) -> None:
        began = now_ns()
        read = [self._consumer.committed(place) for place in self._places]
        found = [NOT_COMMITTED if offset is None else offset for offset in read]
        self._scribe.write(
            Observed(now_ns(), began, [Offset(*place, one) for place, one in zip(self._places, found, strict=True)])
        )
        with self._changed:
            self._latest = dict(zip(self._places, found, strict=True))
            self._changed.notify_all()

    def wait_for(self, offsets: dict[Place, int], seconds: float) -> bool:
        """Waits until these are committed; False when the time is over."""
        with self._changed:
            return self._changed.wait_for(
                lambda: all(max(self._latest.get(place, 0), 0) == offset for place, offset in offsets.items()), seconds
            )

    def close(self) -> None:
        """Looks once more, and ends."""
        self._is_over.set()
        self._thread.join()
        self._consumer.close()


@attrs.frozen
class Faults:
    """Says how often and what: `weights` of kill, short stop, long stop, join, close."""

    mean_pause_s: float = 0.4
    weights: tuple[int, int, int, int, int] = (4, 3, 2, 3, 2)
    fewest: int = 3
    most: int = 8


class Chaos:
    """The parent of all processes of one run. Leaving its `with` ends all of them."""

    def __init__(self, path: Path, folder: Path, rng: random.Random, terms: Terms) -> None:
        self._path = path
        self._folder = folder
        self._rng = rng
        self._terms = terms
        folder.mkdir()
        self._numbers = itertools.count(1)
        self._pause = threading.Event()
        self._due: list[tuple[float, int, Process]] = []
        self._closing: list[Process] = []
        self.running: list[Process] = []
        self.counts: Counter[str] = Counter()
        self._resources = contextlib.ExitStack()
        self._scribe = self._resources.enter_context(Scribe(folder / "chaos.events"))
        self._log = self._resources.enter_context(eventlog.open(path))
        for name, count in TOPICS.items():
            self._log.topic(name, partitions=count, key=str, value=int)
        self._onlooker = Onlooker(self._log, self._resources.enter_context(Scribe(folder / "onlooker.events")))
        self._load: Child | None = None

    # -- processes -------------------------------------------------------------------------------------------

    def load(self, records_per_second: float) -> None:
        """Starts the producer."""
        arguments = (str(self._path), str(self._folder), str(self._rng.random()), records_per_second)
        self._load = self._resources.enter_context(Child(produce, *arguments))
        self._load.hear("sending")

    def start(self, *manners: str, instance_id: str | None = None) -> Process:
        """Starts a process with members of some manners, and does not wait for it; of a random one without any."""
        if not manners:
            manners = tuple(self._rng.choices(list(MANNERS), k=self._rng.choice((1, 1, 1, 2))))
            if len(manners) == 1 and self._rng.random() < 0.4:
                instance_id = f"instance-{next(self._numbers)}"
        members = [(f"{next(self._numbers)}-{manner}", manner) for manner in manners]
        child = Child(consume, str(self._path), str(self._folder), members, attrs.asdict(self._terms), instance_id)
        process = Process(self._resources.enter_context(child), members, instance_id)
        self.running.append(process)
        self.counts["start"] += 1
        return process

    def kill(self, process: Process) -> None:
        """Sends SIGKILL, also to a stopped process."""
        self.running.remove(process)
        self._scribe.write(Killed(now_ns(), process.id))
        process.child.kill()
        self.counts["kill"] += 1

    def stop(self, process: Process) -> None:
        """Sends SIGSTOP."""
        self._scribe.write(Stopped(now_ns(), process.id))
        process.child.send(signal.SIGSTOP)
        process.is_stopped = True
        self.counts["stop"] += 1

    def go_on(self, process: Process) -> None:
        """Sends SIGCONT, if it is stopped and alive."""
        if process in self.running and process.is_stopped:
            process.is_stopped = False
            process.child.send(signal.SIGCONT)
            self._scribe.write(Continued(now_ns(), process.id))

    def stop_for(self, process: Process, seconds: float) -> None:
        """Stops it, and lets it go on after so long."""
        self.stop(process)
        self._pause.wait(seconds)
        self.go_on(process)

    def close(self, process: Process) -> None:
        """Asks it to leave; it may take its time."""
        self.running.remove(process)
        self._closing.append(process)
        process.child.say("close")
        self.counts["close"] += 1

    # -- chaos -----------------------------------------------------------------------------------------------

    def disturb(self, seconds: float, faults: Faults) -> None:
        """Does harm for so long; nobody is stopped afterwards."""
        now_s = time.monotonic()
        end_s, next_s = now_s + seconds, now_s
        while now_s < end_s:
            while self._due and self._due[0][0] <= now_s:
                self.go_on(heapq.heappop(self._due)[2])
            if next_s <= now_s:
                self._harm(faults)
                next_s = time.monotonic() + self._rng.expovariate(1 / faults.mean_pause_s)
            nearest_s = min([end_s, next_s, *(due_s for due_s, _, _ in self._due[:1])])
            self._pause.wait(max(0.0, nearest_s - time.monotonic()))
            now_s = time.monotonic()
        for process in self.running:
            self.go_on(process)
        self._due.clear()

    def _harm(self, faults: Faults) -> None:
        if len(self.running) < faults.fewest:
            self.start()
            return
        victim = self._rng.choice([process for process in self.running if not process.is_stopped] or self.running)
        match self._rng.choices(["kill", "short", "long", "join", "close"], faults.weights)[0]:
            case "kill":
                self.kill(self._rng.choice(self.running))
                if victim not in self.running and victim.instance_id is not None and self._rng.random() < 0.7:
                    self.start(victim.members[0][1], instance_id=victim.instance_id)
                    self.counts["same instance"] += 1
            case "short" if not victim.is_stopped:
                self._stop_a_while(victim, self._rng.uniform(0.05, 0.8))
            case "long" if not victim.is_stopped:
                self._stop_a_while(victim, self._rng.uniform(1.0, 2.0))
            case "close" if not victim.is_stopped:
                self.close(victim)
            case _ if len(self.running) < faults.most:
                self.start()

    def _stop_a_while(self, process: Process, sessions: float) -> None:
        self.stop(process)
        end_s = time.monotonic() + sessions * self._terms.session_timeout
        heapq.heappush(self._due, (end_s, process.id, process))

    # -- the end ---------------------------------------------------------------------------------------------

    def settle(self, *, calm_s: float, most_s: float, most_spread: int = 1) -> None:
        """Lets the load end and the group settle, writes down when it is to be judged, and closes all."""
        self._scribe.write(Quiet(now_ns()))
        self._pause.wait(calm_s / 2)
        ends = self._ends()
        self._scribe.write(Ended(now_ns(), [Offset(*place, end) for place, end in ends.items()]))
        self._onlooker.wait_for(ends, most_s)
        self._pause.wait(calm_s / 2)
        self._scribe.write(Judged(now_ns(), most_spread))
        for process in list(self.running):
            self.close(process)
        for process in self._closing:
            process.child.end()

    def _ends(self) -> dict[Place, int]:
        if self._load is not None:
            self._load.say("close")
            self._load.hear("sent", seconds=LONGEST_SECONDS)
            self._load.end()
        return {
            (name, partition): end for name in TOPICS for partition, (_, end) in self._log.topic(name).bounds().items()
        }

    def wait_until(self, is_so: Callable[[list[Event]], bool], *, seconds: float = LONGEST_SECONDS) -> None:
        """Waits until the history says something."""
        deadline_s = time.monotonic() + seconds
        while not is_so(self.so_far()):
            if time.monotonic() > deadline_s:
                raise TimeoutError("the history does not say what was waited for")
            self._pause.wait(_LOOK_S)

    def so_far(self) -> list[Event]:
        """What was written down until now."""
        return read_history(self._folder)

    def history(self) -> list[Event]:
        """All that was written down, after a last look at the offsets."""
        self._onlooker.close()
        return self.so_far()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._onlooker.close()
        self._resources.close()
