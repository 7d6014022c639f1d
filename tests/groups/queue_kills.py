"""
A worker that holds jobs until it is killed, for `test_queue_kills.py`: it says when it has all of them.

Each worker waits for the jobs of the one before it, so there is one start of a process for each kill.
"""

from __future__ import annotations

import itertools
import math
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import attrs

import eventlog
from tests.processes.child import Child, hear, say

JOB_COUNT = 100
_LONGEST_S = 60.0


def hold(path: str) -> None:
    """Takes all jobs, says when it has them, and keeps them."""
    with (
        eventlog.open(path) as log,
        log.queue("jobs", group="g", attempts=10_000, backoff=(0.0, 0.0)) as queue,
    ):
        held = queue.poll(max_records=JOB_COUNT)
        say("ready")
        while len(held) < JOB_COUNT:
            held += queue.poll(timeout=_LONGEST_S, max_records=JOB_COUNT)
        have_s = time.monotonic()
        assert sorted(job.offset for job in held) == list(range(JOB_COUNT))
        say(have_s)
        hear()


@attrs.frozen
class Waits:
    """How long jobs were nobody's, in seconds and sorted."""

    sorted_s: Sequence[float]

    def share(self, share: float) -> float:
        """The wait that so many are no longer than: 0.5 is the one in the middle."""
        return self.sorted_s[math.ceil(share * len(self.sorted_s)) - 1]

    def __str__(self) -> str:
        shares = {"p50": self.share(0.5), "p99": self.share(0.99), "max": self.share(1.0)}
        words = ", ".join(f"{name} {seconds * 1000:.1f} ms" for name, seconds in shares.items())
        return f"{len(self.sorted_s)} kills of a worker with {JOB_COUNT} jobs: all at another after {words}"


def waits(path: Path, kills: int) -> Waits:
    """Kills the holder so many times; from each signal until the next worker has read all jobs."""
    with eventlog.open(path) as log:
        log.topic("jobs", value=int).append_many(range(JOB_COUNT))
    found_s = []
    holder = Child(hold, str(path))
    try:
        holder.hear("ready")
        holder.hear()
        for _ in itertools.repeat(None, kills):
            other = Child(hold, str(path))
            try:
                other.hear("ready")
                killed_s = time.monotonic()
                holder.send(signal.SIGKILL)
                found_s.append(float(other.hear()) - killed_s)
            finally:
                holder.__exit__(None, None, None)
                holder = other
    finally:
        holder.__exit__(None, None, None)
    return Waits(sorted(found_s))
