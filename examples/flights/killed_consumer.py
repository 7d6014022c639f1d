"""
Two processes of one group share a topic, one of them is killed with SIGKILL, and the other does the work of both.

Each process passes its records on, over a pipe, before it asks for more; so whatever its group commits was passed
on. The parent counts a record once, by its partition and offset, however often it came. One order on stdin is one
`poll()`: so the parent decides when the work begins, and a small file is not finished before the kill.

    LOOK    poll with everything paused: join, share, hand nothing out
    WORK    poll and hand out

The answer to an order is a time of the monotonic clock, a line for each record, and an empty line.

`python -m examples.flights.killed_consumer DIRECTORY TOPIC MOST` is one of the two; the parent asks `log.groups` which
partitions each of them has.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, TextIO

import attrs

import eventlog
from examples.flights.child import Child, ready, started
from examples.flights.data import CarrierTotal, Tally
from examples.flights.failure import Failure
from examples.flights.progress import Advance, progress

GROUP: Final = "team"
LOOK: Final = b"look\n"
WORK: Final = b"work\n"
_STALLED_S: Final = 10.0
_NOT_ENDING: Final = "a consumer process was to end, and did not"
_POLL_S: Final = 0.02
_COMMIT_S: Final = 0.01  # often: what a dead process had not committed comes again
_MOST_RECORDS: Final = 500
_MOST_LISTED: Final = 16
_POLL_COUNT: Final = 64  # at least so many polls for the whole topic
_LONGEST_WAIT_S: Final = 0.001  # from the victim's last order to the kill: about the time that one poll takes


class Ledger:
    """
    Count of the records, each counted once by the partition and the offset that stand before it.

    Belongs to one thread.
    """

    def __init__(self) -> None:
        self.tally = Tally()
        self.again_count = 0
        """How many records came that had been counted already."""
        self._places: set[bytes] = set()

    def add(self, lines: Iterable[bytes]) -> int:
        """Count the new ones, and return how many they were."""
        rows: list[bytes] = []
        places = self._places
        for line in lines:
            place, _, row = line.partition(b"\t")
            if place in places:
                self.again_count += 1
            else:
                places.add(place)
                rows.append(row)
        self.tally.add(rows)
        return len(rows)


@attrs.frozen
class Answer:
    """The records of one poll: when it returned, and a line for each record."""

    at_s: float
    lines: list[bytes]

    def is_of(self, partitions: set[int]) -> bool:
        """Whether one of the records is of these partitions."""
        return any(int(line.split(b" ", 1)[0]) in partitions for line in self.lines)


@attrs.define(eq=False)
class Member:
    """One of the two processes, as the parent sees it; it has at most one order to answer."""

    child: Child
    partitions: set[int] = attrs.Factory(set)
    record_count: int = 0
    _written: bytearray = attrs.Factory(bytearray)

    def order(self, word: bytes) -> None:
        """Tell it to poll once."""
        try:
            self.child.stdin.write(word)
        except BrokenPipeError:
            raise self._ended() from None

    def answer(self) -> Answer | None:
        """Its next answer; None while that is incomplete."""
        piece = self.child.read()
        if not piece:
            raise self._ended()
        self._written += piece
        if not self._written.endswith(b"\n\n"):
            return None
        time_s, *lines = bytes(self._written[:-2]).split(b"\n")
        self._written.clear()
        self.record_count += len(lines)
        return Answer(float(time_s), lines)

    def last_lines(self, deadline_s: float) -> list[bytes]:
        """The last lines of a process that is dead or was told to end; a record cut in two is left out."""
        while True:
            if not ready([self.child], deadline_s - time.monotonic()):
                raise _stalled(_NOT_ENDING)
            piece = self.child.read()
            if not piece:
                break
            self._written += piece
        lines = [line for line in bytes(self._written).split(b"\n")[1:-1] if line]
        self.record_count += len(lines)
        return lines

    def _ended(self) -> Failure:
        self.child.process.kill()
        return Failure(
            f"a consumer process ended by itself (exit code {self.child.process.wait()}) after it had handed on "
            f"{self.record_count:,} records; its own message stands above. The log is as it was; start the demo again"
        )


class Team:
    """
    The two processes, and the count of the records that they pass on.

    Args:
        log: has the topic; nothing is written to it but what the group keeps.
        record_count: of the topic.
        chance: when the kill comes.
        out: where progress is shown; `say` takes the lines of the report.
    """

    def __init__(
        self,
        log: eventlog.EventLog,
        topic: str,
        record_count: int,
        chance: random.Random,
        out: TextIO,
        say: Callable[[str], None],
    ) -> None:
        self._log = log
        self._topic = topic
        self._record_count = record_count
        self._chance = chance
        self._out = out
        self._say = say
        self._ledger = Ledger()
        self._group = "not there yet"
        self._deadline_s = time.monotonic() + _STALLED_S

    def run(self, before: Mapping[str, CarrierTotal]) -> list[str]:
        """
        Share the topic among two processes, kill one, and compare the records with the totals `before`.

        Blocks for about a second; when nothing new comes for 10 s, it gives up.

        Returns:
            The problems found, one line each. Both processes are gone in any case.

        Raises:
            Failure: nothing came any more, or a process ended by itself.
        """
        most = max(1, min(_MOST_RECORDS, self._record_count // _POLL_COUNT))
        command = ("examples.flights.killed_consumer", Path(self._log.path).absolute(), self._topic, most)
        with started(*command) as one, started(*command) as two:
            members = (Member(one), Member(two))
            self._settle(members)
            self._say("shares: partitions " + "; ".join(_listed(member.partitions) for member in members))
            self._work(members)
        return self._problems(before)

    def _settle(self, members: Sequence[Member]) -> None:
        """Let both poll until the group says that each has its share."""
        self._renew()
        while True:
            for member in members:
                member.order(LOOK)
            waiting = list(members)
            while waiting:
                member, _ = self._answer(waiting)
                waiting.remove(member)
            group = self._log.groups.describe(GROUP)
            self._group = f"{group.state} with {len(group.members)} members"
            shares = {one.process_id: {tp.partition for tp in one.partitions} for one in group.members}
            if group.state == "stable" and shares.keys() == {member.child.process.pid for member in members}:
                for member in members:
                    member.partitions = shares[member.child.process.pid]
                return

    def _work(self, members: Sequence[Member]) -> None:
        self._renew()
        started_s = time.monotonic()
        with progress("share", self._record_count, self._out) as advance:
            victim, killed_s = self._kill_one(members, advance)
            (survivor,) = (member for member in members if member is not victim)
            first_s = self._finish(survivor, victim.partitions, advance)
            seconds = time.monotonic() - started_s
            self._dismiss(survivor)
        first = "it had left nothing to do"
        if first_s is not None:
            first = f"the other had the first record of its partitions {(first_s - killed_s) * 1e3:.0f} ms later"
        self._say(f"killed one after {victim.record_count:,} records; {first}")
        self._say(
            f"{self._record_count:,} records in {seconds:.2f} s: {self._record_count / seconds:,.0f} records/s, "
            f"counted by partition and offset; {self._ledger.again_count:,} came again"
        )

    def _kill_one(self, members: Sequence[Member], advance: Advance) -> tuple[Member, float]:
        """Let both work until one has done its part, and kill it; which one it was, and when."""
        # At most a quarter of all: one of the two has half of the records, so it comes to that.
        goal = max(1, self._chance.randint(self._record_count // 8, self._record_count // 4))
        for member in members:
            member.order(WORK)
        while True:
            victim, answer = self._answer(members)
            victim.order(WORK)  # before we count: it need not wait for us
            if victim.record_count >= goal:
                break
            advance(self._count(answer.lines))
        time.sleep(self._chance.uniform(0.0, _LONGEST_WAIT_S))
        killed_s = time.monotonic()
        victim.child.process.kill()
        advance(self._count(answer.lines))
        advance(self._count(victim.last_lines(self._deadline_s)))
        return victim, killed_s

    def _finish(self, survivor: Member, inherited: set[int], advance: Advance) -> float | None:
        """Let the other do the rest; when the first record of the partitions it took over came, None if none came."""
        first_s: float | None = None
        while True:
            _, answer = self._answer([survivor])
            survivor.order(WORK)
            if first_s is None and answer.is_of(inherited):
                first_s = answer.at_s
            advance(self._count(answer.lines))
            is_all = self._ledger.tally.row_count >= self._record_count
            if (is_all or not answer.lines) and not self._lag():  # asked last, because it is not cheap
                return first_s

    def _answer(self, members: Sequence[Member]) -> tuple[Member, Answer]:
        """The next whole answer of one of them."""
        by_child = {member.child: member for member in members}
        while (left_s := self._deadline_s - time.monotonic()) > 0.0:
            for child in ready(by_child, left_s):
                answer = by_child[child].answer()
                if answer is not None:
                    return by_child[child], answer
        for child in by_child:
            child.show_stacks()
        raise _stalled(
            f"two consumer processes share topic {self._topic!r}; their group is {self._group}, they have handed on "
            f"{self._ledger.tally.row_count:,} of {self._record_count:,} records, and nothing new came (what they "
            "were doing stands above)"
        )

    def _count(self, lines: list[bytes]) -> int:
        new_count = self._ledger.add(lines)
        if new_count:
            self._renew()
        return new_count

    def _dismiss(self, survivor: Member) -> None:
        """End the process in the ordinary way: it commits everything and leaves the group."""
        self._renew()
        survivor.child.stdin.close()
        self._ledger.add(survivor.last_lines(self._deadline_s))
        try:
            exit_code = survivor.child.process.wait(_STALLED_S)
        except subprocess.TimeoutExpired:
            raise _stalled(_NOT_ENDING) from None
        if exit_code:
            raise Failure(f"a consumer process ended with exit code {exit_code}; its own message stands above")

    def _problems(self, before: Mapping[str, CarrierTotal]) -> list[str]:
        problems: list[str] = []
        if lag := self._lag():
            problems.append(f"group {GROUP!r} has handed on and committed all, and its lag is {lag:,}")
        if left_out := self._record_count - self._ledger.tally.row_count:
            problems.append(f"group {GROUP!r} has left out {left_out:,} of {self._record_count:,} records")
        elif self._ledger.tally.totals() != before:
            problems.append(f"group {GROUP!r}, each record counted once, gave other totals than the first reading")
        if not problems:
            self._say("OK: no flight is left out, and counted once each the totals are the same; lag 0")
        return problems

    def _lag(self) -> int:
        return self._log.groups.describe(GROUP).lag

    def _renew(self) -> None:
        self._deadline_s = time.monotonic() + _STALLED_S


def follow_orders(directory: Path, topic: str, most: int) -> None:
    """
    The child: answer each line of stdin with one poll, then commit everything and leave the group.

    Raises:
        BrokenPipeError: nobody reads the answers any more. The records passed on before are committed.
    """
    is_working = False

    def hold(partitions: list[eventlog.TopicPartition]) -> None:
        if not is_working:
            consumer.pause(*partitions)

    with (
        eventlog.open(directory, create=False) as log,
        log.consumer(
            topic, group=GROUP, max_poll_records=most, auto_commit_interval=_COMMIT_S, on_assigned=hold
        ) as consumer,
    ):
        for order in sys.stdin.buffer:
            if order == WORK and not is_working:
                is_working = True
                consumer.resume()
            records = consumer.poll(timeout=_POLL_S)
            lines = [b"%d %d\t%s\n" % (record.partition, record.offset, record.value) for record in records]
            _write(b"%r\n%s\n" % (time.monotonic(), b"".join(lines)))
        consumer.commit()


def _write(rest: bytes) -> None:
    while rest:
        rest = rest[os.write(1, rest) :]


def _listed(partitions: set[int]) -> str:
    more = len(partitions) - _MOST_LISTED
    names = " ".join(map(str, sorted(partitions)[:_MOST_LISTED])) or "none"
    return f"{names} and {more:,} more" if more > 0 else names


def _stalled(what: str) -> Failure:
    return Failure(
        f"{what}, for {_STALLED_S:.0f} s. Both processes were ended; the log is as it was. Start the demo again"
    )


if __name__ == "__main__":
    try:
        follow_orders(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    except BrokenPipeError:
        os._exit(1)  # the parent is gone; nothing is buffered, and the log is closed
