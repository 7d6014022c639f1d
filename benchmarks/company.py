"""
The members of a group in processes of their own, and who of them has which partition, by their own reports.

A member is a process that sends `(partition, moment)` with the first record of every partition it is given. So a
company knows what a user of the group would: not who was assigned what, but who hands out records. It serves ours and
the peer alike. Knows nothing of logs.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable

import attrs

from benchmarks.crew import TIMEOUT_S, Crew, Task, Worker, hear_any
from benchmarks.group_tasks import BUSY

_MOST_DELAY_S = 0.02


@attrs.frozen
class Takeover:
    """How long after a kill the first, and the last, of the victim's partitions gave a record to its new owner."""

    first_ns: int
    last_ns: int


class Company:
    """
    Keeps a group at its size, and follows what its members report.

    Args:
        task: what a member does; it gets `arguments`.
    """

    def __init__(self, crew: Crew, task: Task, arguments: tuple[object, ...], *, members: int, partitions: int) -> None:
        self._crew = crew
        self._task = task
        self._arguments = arguments
        self._size = members
        self._partitions = partitions
        self._chance = random.Random(3)
        self.members: list[Worker] = []
        self.owners: dict[int, tuple[int, Worker]] = {}
        """Who handed out the first record of a partition last, and when."""
        self._reports: list[tuple[int, int]] = []
        self._busy: set[Worker] = set()

    def fill(self, *, seconds: float = TIMEOUT_S) -> None:
        """Starts the members that are missing, and waits until the partitions are shared evenly."""
        while len(self.members) < self._size:
            self.members.append(self._crew.start(self._task, *self._arguments))
        self.follow(self.is_even, "even shares", seconds=seconds)

    def is_even(self) -> bool:
        """Whether every partition gives records to a member, and no member has two partitions more than another."""
        shares = Counter(owner for _, owner in self.owners.values() if owner in self.members)
        counts = [shares[member] for member in self.members]
        return sum(counts) == self._partitions and max(counts) - min(counts) <= 1

    def take_over(self, *, is_busy: bool, seconds: float = TIMEOUT_S) -> Takeover:
        """Kills the oldest member, at some moment, and waits until all its partitions give records to others."""
        victim = self.members[0]
        if is_busy:
            victim.say(BUSY)
            self.follow(lambda: victim in self._busy, "a busy member", seconds=seconds)
        time.sleep(self._chance.uniform(0, _MOST_DELAY_S))
        self.follow(lambda: True, "what was said meanwhile")
        orphans = {partition for partition, (_, owner) in self.owners.items() if owner is victim}
        self._reports.clear()
        killed_ns = victim.kill()
        self.members.remove(victim)
        victim.end()
        firsts: dict[int, int] = {}

        def are_taken() -> bool:
            for partition, moment_ns in self._reports:
                if partition in orphans and moment_ns > killed_ns:
                    firsts.setdefault(partition, moment_ns)
            return firsts.keys() == orphans

        self.follow(are_taken, "new owners", seconds=seconds)
        if not firsts:
            raise RuntimeError("the killed member had no partition; the figure of this round is void")
        return Takeover(min(firsts.values()) - killed_ns, max(firsts.values()) - killed_ns)

    def follow(self, is_done: Callable[[], bool], what: str, *, seconds: float = TIMEOUT_S) -> None:
        """Takes in what the members report, until something is so; raises when it takes too long."""
        deadline_s = time.monotonic() + seconds
        self._hear(0.0)
        while not is_done():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise RuntimeError(f"no {what} within {seconds:g} s; the figure of this round is void")
            self._hear(left_s)

    def _hear(self, seconds: float) -> None:
        for worker, message in hear_any(self.members, seconds=seconds):
            if message == BUSY:
                self._busy.add(worker)
                continue
            partition, moment_ns = message
            self._reports.append((partition, moment_ns))
            if partition not in self.owners or self.owners[partition][0] < moment_ns:
                self.owners[partition] = (moment_ns, worker)

    def joins(self, task: Task, *arguments: object, seconds: float = TIMEOUT_S) -> int:
        """
        Has a new process join and leave, and waits until the members have all partitions again.

        How long its first record took, in ns, by its own clock.
        """
        joiner = self._crew.start(task, *arguments)
        if joiner.hear(seconds=seconds) != "ready":
            raise AssertionError("a joiner says first that it is ready")
        joined_ns = time.monotonic_ns()
        joiner.say("go")
        duration_ns: int = joiner.hear(seconds=seconds)
        joiner.end()
        self.follow(lambda: self._returned_since(joined_ns), "return of a partition", seconds=seconds)
        self.follow(self.is_even, "even shares", seconds=seconds)
        return duration_ns

    def _returned_since(self, moment_ns: int) -> bool:
        """Whether a member was given a partition since then."""
        return any(since_ns > moment_ns for since_ns, _ in self.owners.values())
