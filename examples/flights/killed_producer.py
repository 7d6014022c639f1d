"""
A producer is killed with SIGKILL at an arbitrary moment, and the log must hold all it acknowledged.

The child sends flight `n`, counted round and round, to partition `n % PARTITIONS`. So the parent knows from
partition and offset alone which bytes must be there, for records that were acknowledged and for those that were
not. The child reports every acknowledgement on a pipe before it sends on.

What this shows is atomicity and the lock's recovery. It does not show what a power cut does; `kill -9` leaves the
page cache of the operating system alone.

`python -m examples.flights.killed_producer DIRECTORY DATA` is the child.
"""

from __future__ import annotations

import itertools
import os
import random
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

import eventlog
from examples.flights.child import ready, started
from examples.flights.data import Flights, read_flights
from examples.flights.failure import Failure

TOPIC: Final = "crash"
PARTITIONS: Final = 4
_ACKNOWLEDGEMENTS: Final = (3_000, 20_000)  # the kill comes after some number between these
_LONGEST_WAIT_S: Final = 0.004  # some commits; a full pipe, where the child would stand still, takes longer
_IN_FLIGHT: Final = 1_024  # little, so that there are many commits and the kill may hit any part of one
_BURST: Final = 64
_STALLED_S: Final = 10.0


@attrs.frozen
class Aftermath:
    """The state of the reopened log."""

    stored: int
    """Records in the topic."""
    problems: list[str]
    """One line for each; empty is good."""


def crash_a_producer(
    directory: Path, flights: Flights, data: Path, chance: random.Random, say: Callable[[str], None]
) -> list[str]:
    """
    Start a writing process, kill it, reopen the log and check it.

    Blocks for about a second.

    Returns:
        The problems found, one line each. The child is gone in any case.
    """
    acknowledged = kill_after(
        chance.randrange(*_ACKNOWLEDGEMENTS), chance.uniform(0.0, _LONGEST_WAIT_S), directory, data
    )
    say(f"killed in mid-flight, after it had reported {len(acknowledged):,} acknowledged records")
    started_s = time.perf_counter()
    with eventlog.open(directory, create=False) as log:
        say(f"reopened in {(time.perf_counter() - started_s) * 1e3:.1f} ms")
        aftermath = examine(log, flights, acknowledged)
    if not aftermath.problems:
        say(
            f"OK: all {len(acknowledged):,} acknowledged records are there, byte for byte, no gap in "
            f"{PARTITIONS} partitions"
        )
        more = aftermath.stored - len(acknowledged)
        verdict = "; they are whole, too" if more else ""
        say(f"    {more:,} more were stored and not yet reported as acknowledged{verdict}")
    return aftermath.problems


def kill_after(goal: int, wait_s: float, directory: Path, data: Path) -> set[tuple[int, int]]:
    """
    Run the writer until it has acknowledged `goal` records, and kill it `wait_s` seconds later.

    Without the wait the kill would always follow an acknowledgement, and never meet a commit.

    Returns:
        (partition, offset) of all records that it reported, up to its end.

    Raises:
        Failure: the writer ended by itself, or acknowledged nothing for 10 s. It is gone.
    """
    with started("examples.flights.killed_producer", directory.absolute(), data.absolute()) as child:
        reported = bytearray()
        while (count := reported.count(b"\n")) < goal:
            if not ready([child], _STALLED_S):
                raise Failure(
                    f"the writing process acknowledged nothing more for {_STALLED_S:.0f} s, after {count:,} of "
                    f"{goal:,} records. It was ended; the log has what it acknowledged. Start the demo again"
                )
            piece = child.read()
            if not piece:
                raise Failure(
                    f"the writing process ended by itself (exit code {child.process.wait()}) after {count:,} of "
                    f"{goal:,} acknowledgements; its own message stands above"
                )
            reported += piece
        time.sleep(wait_s)
        child.process.kill()
        reported += child.stdout.read()
    whole_lines = bytes(reported).split(b"\n")[:-1]
    return {(int(partition), int(offset)) for partition, offset in map(bytes.split, whole_lines)}


def examine(log: eventlog.EventLog, flights: Flights, acknowledged: set[tuple[int, int]]) -> Aftermath:
    """Read the topic from the start, and compare every record with the flight that belongs there."""
    missing = set(acknowledged)
    problems: list[str] = []
    stored = 0
    topic = log.topic(TOPIC)
    for partition in range(PARTITIONS):
        expected = 0
        for record in topic.read(partition):
            row = (record.offset * PARTITIONS + partition) % len(flights)
            where = f"{TOPIC}[{partition}]: offset {record.offset}"
            if record.offset != expected:
                problems.append(f"{where} stands where {expected} should, a gap")
            if record.value != flights.values[row] or record.key != flights.keys[row]:
                problems.append(f"{where} holds other bytes than were sent")
            expected = record.offset + 1
            stored += 1
            missing.discard((partition, record.offset))
    for partition, offset in sorted(missing)[:10]:
        problems.append(f"{TOPIC}[{partition}]: offset {offset} was acknowledged and is not there")
    return Aftermath(stored=stored, problems=problems)


def write_until_killed(directory: Path, data: Path) -> None:
    """
    The child: send flights round and round, and write each acknowledgement to stdout.

    Raises:
        BrokenPipeError: nobody reads the acknowledgements any more. All sent records are stored.
    """
    flights = read_flights(data)
    waiting: deque[eventlog.Delivery] = deque()
    with eventlog.open(directory, create=False) as log:
        log.topic(TOPIC, partitions=PARTITIONS)
        with log.producer(linger=0.001) as producer:
            for number in itertools.count():
                row = number % len(flights)
                partition = number % PARTITIONS
                key, value = flights.keys[row], flights.values[row]
                waiting.append(producer.send(TOPIC, value, key=key, partition=partition))
                if number % _BURST == 0:
                    _report(waiting)


def _report(waiting: deque[eventlog.Delivery]) -> None:
    lines = []
    while waiting and (waiting[0].done() or len(waiting) > _IN_FLIGHT):
        metadata = waiting.popleft().result()
        lines.append(f"{metadata.partition} {metadata.offset}\n")
    rest = "".join(lines).encode()
    while rest:
        rest = rest[os.write(1, rest) :]


if __name__ == "__main__":
    try:
        write_until_killed(Path(sys.argv[1]), Path(sys.argv[2]))
    except BrokenPipeError:
        os._exit(1)  # the parent is gone; nothing is buffered, and the log is closed
