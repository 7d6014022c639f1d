"""
What the soak runs: the harnesses by name, each as a command for one seed.

A harness is a module with a function `trial(seed, directory)`, or some tests that take their randomness from
`EVENTLOG_SEED`. Either runs in a process of its own, because a broken log may take its process along.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple


class Command(NamedTuple):
    """What one trial starts, and what a reader types to start it again."""

    arguments: list[str]
    environment: dict[str, str]
    again: str


class Trial(NamedTuple):
    """A harness of its own: the module has `trial(seed, directory)`."""

    module: str
    says: str

    def command(self, seed: int, directory: Path) -> Command:
        """Runs `tests.soak.trial`, which prints the counts as JSON."""
        arguments = [sys.executable, "-m", "tests.soak.trial", self.module, str(seed), str(directory)]
        return Command(arguments, dict(os.environ), f"python -m tests.soak.trial {self.module} {seed} /tmp/trial")


class Tests(NamedTuple):
    """Tests of the proof, repeated with new seeds."""

    nodes: tuple[str, ...]
    says: str

    def command(self, seed: int, directory: Path) -> Command:
        """Runs pytest on them."""
        pytest = ["-m", "pytest", "-q", "-m", "", "--no-header", "-o", "faulthandler_timeout=0"]
        places = [f"--basetemp={directory}", "-p", "no:cacheprovider"]
        environment = {**os.environ, "EVENTLOG_SEED": str(seed), "HYPOTHESIS_PROFILE": "ci"}
        again = f"EVENTLOG_SEED={seed} HYPOTHESIS_PROFILE=ci python -m pytest -m '' {' '.join(self.nodes)}"
        return Command([sys.executable, *pytest, *places, *self.nodes], environment, again)


HARNESSES: dict[str, Trial | Tests] = {
    "power": Trial("tests.power.trial", "power cuts: images of the disk as a crash may leave it"),
    "faults": Trial("tests.faults.trial", "writes, syncs and openings that fail"),
    "history": Trial("tests.history.trial", "concurrent operations under kills and pauses, checked afterwards"),
    "groups": Tests(
        ("tests/groups/test_chaos.py::test_a_group_survives_a_few_seconds_of_chaos",),
        "consumer groups of processes that are killed and stopped",
    ),
    "kills": Tests(
        (
            "tests/crash/test_kill.py::test_a_killed_writer_loses_nothing_it_acknowledged",
            "tests/crash/test_kill.py::test_killed_writers_of_one_log_lose_nothing_they_acknowledged",
            "tests/crash/test_transactions.py::test_killed_transactions_are_there_wholly_or_not_at_all",
        ),
        "writers killed at any moment",
    ),
    "bank": Tests(
        ("tests/crash/test_bank.py::test_no_kill_changes_the_sum",),
        "transfers between accounts, under kills",
    ),
    "models": Tests(
        (
            "tests/model/test_log_machine.py::test_log_does_what_the_model_does",
            "tests/model/test_events_machine.py::test_log_does_what_the_model_does",
        ),
        "random histories beside a model of dicts",
    ),
    "simulation": Tests(
        ("tests/simulation/test_group_simulation.py::test_group_is_safe_and_settles_in_new_histories",),
        "the rules of groups in simulated time",
    ),
    "interrupts": Tests(
        (
            "tests/processes/test_interrupts.py",
            "tests/processes/test_transactions.py::test_an_interruption_at_any_place_stores_all_or_nothing",
        ),
        "Ctrl-C at any place",
    ),
}
