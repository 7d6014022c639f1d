"""
Workers of a queue in processes that are killed and stopped, and what must hold whatever happens to them.

A job is stored as done exactly once; no two processes have it while both live; jobs of a key are done in their order.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from itertools import count, pairwise
from pathlib import Path

import eventlog
from tests.groups.queue_worker import SESSION_SECONDS

_ROOT = Path(__file__).parent.parent.parent
_PATIENCE_SECONDS = 60.0


class Chaos:
    """Some workers of one queue, and what is done to them."""

    def __init__(self, place: Path, rng: random.Random, *, workers: int, flaw: str | None) -> None:
        self._place = place
        self._rng = rng
        self._flaw = flaw
        self._numbers = count()
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._ends: dict[int, list[int]] = {}
        """By worker, when it was killed or stopped."""
        self._pause = threading.Event()
        self.kill_count = self.stop_count = 0
        for _ in range(workers):
            self._start()

    def _start(self) -> None:
        number = next(self._numbers)
        command = [
            sys.executable,
            "-m",
            "tests.groups.queue_worker",
            str(self._place / "log"),
            str(self._notes(number)),
        ]
        command += [str(self._rng.random()), *([self._flaw] if self._flaw else [])]
        self._running[number] = subprocess.Popen(command, cwd=_ROOT, env={**os.environ, "PYTHONPATH": str(_ROOT)})
        self._ends[number] = []

    def _notes(self, number: int) -> Path:
        return self._place / f"worker-{number}"

    def _wait_until_ready(self) -> None:
        deadline_s = time.monotonic() + _PATIENCE_SECONDS
        while not all(self._notes(number).exists() and self._notes(number).stat().st_size for number in self._running):
            assert time.monotonic() < deadline_s, "a worker did not begin"
            assert all(process.poll() is None for process in self._running.values()), "a worker has ended"
            os.sched_yield()

    def run(self, log: eventlog.EventLog, total: int, seconds: float) -> None:
        """Kill and stop workers for some time, and then let them finish."""
        self._wait_until_ready()
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s and len(list(log.topic("done").read())) < total:
            number = self._rng.choice(list(self._running))
            process = self._running[number]
            if self._rng.random() < 0.5:
                self._ends[number].append(time.monotonic_ns())
                process.kill()
                process.wait()
                del self._running[number]
                self._start()
                self._wait_until_ready()
                self.kill_count += 1
            else:
                self._ends[number].append(time.monotonic_ns())
                process.send_signal(signal.SIGSTOP)
                self._pause.wait(SESSION_SECONDS * self._rng.choice([0.2, 1.6]))
                process.send_signal(signal.SIGCONT)
                self.stop_count += 1

    def finish(self, log: eventlog.EventLog, total: int, seconds: float) -> None:
        """Let the workers do what is left, for some time, and kill them."""
        deadline_s = time.monotonic() + seconds
        while log.topic("done").bounds()[0][1] < total and time.monotonic() < deadline_s:
            self._pause.wait(0.02)
        self.close()

    def close(self) -> None:
        """Kill all that run."""
        for number, process in self._running.items():
            self._ends[number].append(time.monotonic_ns())
            process.kill()
            process.wait()
        self._running.clear()

    def problems(self, log: eventlog.EventLog, total: int) -> list[str]:
        """What does not hold."""
        found = list(log.verify().problems)
        done = [(record.key, record.value) for record in log.topic("done").read()]
        offsets = sorted(offset for _, offset in done)
        if missing := set(range(total)) - set(offsets):
            found.append(f"lost: {sorted(missing)}")
        if twice := {one for one, other in pairwise(offsets) if one == other}:
            found.append(f"done twice: {sorted(twice)}")
        last: dict[str, int] = {}
        for key, offset in done:
            if last.get(key, -1) > offset:
                found.append(f"order: {offset} of key {key} was done behind {last[key]}")
            last[key] = offset
        return found + self._shared()

    def _shared(self) -> list[str]:
        """Jobs that two workers had at one time while both lived, and neither had been stopped since it took them."""
        held: dict[int, list[tuple[int, int, int]]] = {}
        for number, ends in self._ends.items():
            taken: dict[int, int] = {}
            for line in self._notes(number).read_text().splitlines():
                words = line.split()
                if words[0] == "take":
                    taken[int(words[2])] = int(words[1])
                elif words[0] == "end" and (began := taken.pop(int(words[2]), None)) is not None:
                    held.setdefault(int(words[2]), []).append(
                        (began, min(int(words[1]), *self._after(ends, began)), number)
                    )
            for offset, began in taken.items():
                held.setdefault(offset, []).append((began, min(self._after(ends, began)), number))
        return [
            f"shared: workers {first[2]} and {second[2]} both had job {offset}"
            for offset, spans in held.items()
            for first, second in pairwise(sorted(spans))
            if second[0] < first[1]
        ]

    @staticmethod
    def _after(ends: list[int], began: int) -> list[int]:
        return [end for end in ends if end >= began] or [2**63]
