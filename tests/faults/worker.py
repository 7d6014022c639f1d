"""
The process in which calls fail: one run for each line that it is told.

It is started with the library of `failing.c`, by `campaign.py`. Requests and answers are lines of JSON. Knows nothing
of what is tried in which order.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from tests.faults import judge, planted
from tests.faults.judge import FailingCall
from tests.faults.plans import Plan
from tests.faults.story import Picture
from tests.faults.witness import Witness


class Worker:
    """Answers requests, and remembers the runs without a fault."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._pictures: dict[tuple[int, str], list[Picture]] = {}
        self._number = 0
        self._witness: Witness | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """What is said to one request."""
        action: Callable[..., dict[str, Any]] = getattr(self, request.pop("do"))
        return action(**request)

    def count(self, seed: int, durability: str, is_watched: bool, suffix: str) -> dict[str, Any]:
        """How many calls of each kind a run without a fault makes."""
        return judge.calls_of(self._new_place(), seed, suffix, durability=durability)

    def fail(self, seed: int, durability: str, is_watched: bool, plan: list[Any]) -> dict[str, Any]:
        """What became of a run in which a call fails."""
        if (seed, durability) not in self._pictures:
            self._pictures[seed, durability] = judge.clean_run(self._new_place(), seed, durability=durability)
        pictures, place = self._pictures[seed, durability], self._new_place()
        if is_watched and self._witness is None:
            self._witness = Witness()
        fault, witness = FailingCall(Plan(*plan), place), self._witness if is_watched else None
        verdict = judge.trial_of(fault, pictures, place, seed, durability=durability, witness=witness)
        return attrs.asdict(verdict)

    def _new_place(self) -> Path:
        self._number += 1
        return self._directory / str(self._number)


def main() -> None:
    """Answers until there are no more requests; a bug may be planted first."""
    directory, bug = sys.argv[1:]
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    logging.disable()  # what a failed callback says is no news here
    planted.plant(bug)
    worker = Worker(Path(directory))
    for line in sys.stdin:
        try:
            answer = worker.answer(json.loads(line))
        except Exception:
            answer = {"broken": traceback.format_exc()}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
