"""
Hands a partition from one process to the other by stopping its owner, again and again.

Two members share one partition. The owner is stopped until about the end of its lease, or for longer, and goes on: at
any step of its loop, before or after the other has taken the partition over. Each writes down its *tenures*: the time
from the assignment of the partition to its loss, with the moments at which it asked for records and got them.

Nobody may ask for a record in an older tenure, after a younger one has begun to hand out, and get it. A record that was
asked for before, and arrives after a stop, is in the hand of a program that was stopped: no library can tell that.
"""

from __future__ import annotations

import itertools
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

import eventlog
from eventlog.clients.consumer.group import membership
from tests.processes.child import Child, hear, say

SESSION_S = 0.2
MANNERS = ("loop", "poll", "batches")
_WORK_S = 1e-4
_LOOK_S = 0.002
_PATIENCE_S = 20.0


@attrs.define
class Tenure:
    """One stretch of time in which a member owned the partition, as it saw it."""

    member: str
    first_got_s: float = 0.0
    last_asked_s: float = 0.0
    last_got_s: float = 0.0
    first: int = 0
    end: int = 0
    count: int = 0


class Member:
    """One consumer that writes down its tenures."""

    def __init__(self, path: str, name: str, manner: str) -> None:
        self.name = name
        self.is_ending = False
        self._manner = manner
        self._tenure = Tenure(name)
        self.tenures: list[Tenure] = []
        self._log = eventlog.open(path)
        self.consumer = self._log.consumer(
            "numbers",
            group="g",
            session_timeout=SESSION_S,
            auto_commit_interval=0.05,
            max_poll_records=50,
            fetch_max_bytes=20_000,
            on_assigned=lambda _: self._begin(),
            on_lost=lambda _: self._end(),
            on_revoked=lambda _: self._end(),
        )

    def _begin(self) -> None:
        self._tenure = Tenure(self.name)

    def _end(self) -> None:
        if self._tenure.count:
            self.tenures.append(self._tenure)
        self._tenure = Tenure(self.name)

    def run(self, tell: Callable[[], object]) -> None:
        """Reads until `wakeup()`."""
        for offsets, asked_s, got_s in self._handed_out():
            tenure = self._tenure
            if not tenure.count:
                tenure.first_got_s, tenure.first = got_s, offsets[0]
                tell()
            tenure.last_asked_s, tenure.last_got_s = asked_s, got_s
            tenure.end = offsets[-1] + 1
            tenure.count += len(offsets)
            until_s = time.monotonic() + _WORK_S * len(offsets)
            while time.monotonic() < until_s:
                pass
        self._end()

    def _handed_out(self) -> Iterator[tuple[list[int], float, float]]:
        """The offsets of what is handed out at once, when it was asked for, and when it came."""
        now_s = time.monotonic
        asked_s = now_s()
        if self._manner == "loop":
            for record in self.consumer:
                yield [record.offset], asked_s, now_s()
                asked_s = now_s()
            return
        while not self.is_ending:
            asked_s = now_s()
            if self._manner == "poll":
                offsets = [record.offset for record in self.consumer.poll(timeout=1e6)]
            else:
                offsets = [number for batch in self.consumer.poll_batches(timeout=1e6) for number in batch.offsets]
            if offsets:
                yield offsets, asked_s, now_s()


def consume(path: str, name: str, manner: str, flaw: str) -> None:
    """In a child: reads until it is told to end, and then says what it saw."""
    if flaw:
        ignored: Any = lambda records, permit, monotonic: records  # noqa: E731
        membership.gated = ignored
    member = Member(path, name, manner)

    def end() -> None:
        hear()
        member.is_ending = True
        member.consumer.wakeup()

    threading.Thread(target=end, daemon=True).start()
    say("joined")
    member.run(lambda: say(time.monotonic()))
    for tenure in member.tenures:
        say(*attrs.astuple(tenure))
    say("end")
    member.consumer.close()


class Pair:
    """The two members, and which of them began to hand out last, as far as they have said so."""

    def __init__(self, *members: Child) -> None:
        self.members = members
        self._began: dict[Child, float] = {}
        self._pause = threading.Event()
        for member in members:
            member.hear("joined")
        self.listen(_PATIENCE_S)

    @property
    def owner(self) -> Child:
        """The one that began last."""
        return max(self._began, key=self._began.__getitem__)

    def listen(self, seconds: float) -> bool:
        """Whether the owner is another one within so long."""
        before = self.owner if self._began else None
        until_s = time.monotonic() + seconds
        while True:
            for member in self.members:
                while not member.is_silent(0.0):
                    self._began[member] = float(member.hear())
            if self._began and self.owner is not before:
                return True
            if time.monotonic() > until_s:
                return False
            self._pause.wait(_LOOK_S)

    def hand_over(self, rng: random.Random) -> None:
        """
        Stop the owner until about the end of its lease, or until the other has begun, and let it go on.

        Awake before the other has looked, it confirms, and stays the owner: then it is stopped again.
        """
        until_s = time.monotonic() + _PATIENCE_S
        is_over = False
        while not is_over:
            assert time.monotonic() < until_s, "nobody takes the partition over"
            owner = self.owner
            is_over = self.listen(rng.uniform(0.0, 0.03))
            owner.send(signal.SIGSTOP)
            is_over |= self.listen(rng.choice((rng.uniform(0.7, 2.5), 10.0)) * SESSION_S)
            self._pause.wait(rng.choice((0.0, rng.uniform(0.0, 0.05))))
            owner.send(signal.SIGCONT)
            is_over |= self.listen(_LOOK_S)

    def tenures(self) -> list[Tenure]:
        """End both; what they have written down, in the order in which they began to hand out."""
        self.listen(0.0)
        found: list[Tenure] = []
        for member in self.members:
            member.say("end")
        for member in self.members:
            while (line := member.hear(seconds=_PATIENCE_S)) != "end":
                name, *numbers = line.split()
                if numbers:
                    moments = [float(one) for one in numbers[:3]]
                    found.append(Tenure(name, *moments, *map(int, numbers[3:])))
        return sorted(found, key=lambda tenure: tenure.first_got_s)


def hand_overs(path: Path, rng: random.Random, count: int, *, manner: str, flaw: str = "") -> list[Tenure]:
    """
    Have the partition change hands so often.

    Returns:
        The tenures of both members, in the order in which they began to hand out.
    """
    with eventlog.open(path) as log:
        numbers = log.topic("numbers", value=int)
        for first in range(0, 200_000 + 8_000 * count, 100_000):
            numbers.append_many(range(first, first + 100_000))
    arguments = (manner, flaw)
    with Child(consume, str(path), "a", *arguments) as one, Child(consume, str(path), "b", *arguments) as other:
        pair = Pair(one, other)
        for _ in range(count):
            pair.hand_over(rng)
        return pair.tenures()


@attrs.frozen
class Verdict:
    """What is to be said of some hand-overs."""

    hand_overs: int
    records: int
    handed_out_late: int
    """Tenures in which a record was asked for after a younger one of the other had begun, and handed out."""
    in_hand: int
    """Tenures whose last record arrived after that, and was asked for before: the process was stopped in between."""
    gaps: int
    """Hand-overs at which records were skipped."""


def judge(tenures: list[Tenure]) -> Verdict:
    """Compare each tenure with the ones that began after it."""
    late = in_hand = gaps = 0
    for older, younger in itertools.pairwise(tenures):
        gaps += younger.first > older.end
    for place, older in enumerate(tenures):
        begins_s = min((one.first_got_s for one in tenures[place + 1 :]), default=float("inf"))
        late += older.last_asked_s > begins_s
        in_hand += older.last_asked_s <= begins_s < older.last_got_s
    changes = sum(older.member != younger.member for older, younger in itertools.pairwise(tenures))
    return Verdict(changes, sum(one.count for one in tenures), late, in_hand, gaps)
