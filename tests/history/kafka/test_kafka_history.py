"""
Transactions of Kafka's clients, beside those of native programs, are judged by the checker of native histories.

Clients consume, transform and produce through a listener, abort, forget to end, and are fenced; they, the listener and
a native program are killed. What each of them saw has to be explained by one order of all transactions; `raw.py` says
what is translated for that.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from tests.history.checker import violations
from tests.history.kafka.flaws import FLAWS, RULES
from tests.history.kafka.stage import NATIVE, SERVER, Stage
from tests.history.operations import KAFKA, OK
from tests.history.trial import story, summary
from tests.power.court import scratch

_QUICK_FLAW = "show aborted"
_MOST_ATTEMPTS = 8


def run(directory: Path, rng: random.Random, seconds: float, server: str = SERVER, native: str = NATIVE) -> set[str]:
    """The rules that a run of so many seconds broke; on a failure its history is kept in the directory."""
    with scratch() as place:
        with Stage(place, rng, server=server, native=native) as stage:
            stage.disturb(seconds)
            history = stage.history()
        found = violations(history)
        committed = sum(one.kind == KAFKA and one.outcome == OK for one in history)
        print(dict(stage.counts + summary(history)), committed, "transactions of clients committed")
        if found:
            shutil.copytree(stage.folder, directory, dirs_exist_ok=True)
            print(f"{story(found)}\nthe history is in {directory}")
    assert committed
    return {one.rule for one in found}


def test_a_history_of_transactions_under_kills_is_right(tmp_path: Path, rng: random.Random) -> None:
    """For a few seconds: of clients, of the listener, and of a native program."""
    assert run(tmp_path, rng, 2.0) == set()


@pytest.mark.long
@pytest.mark.timeout(200)
@pytest.mark.parametrize("number", range(4))
def test_a_long_history_of_transactions_is_right(tmp_path: Path, rng: random.Random, number: int) -> None:
    """The same for longer, with other seeds."""
    assert run(tmp_path, rng, 20.0) == set()


# --- the harness itself ---------------------------------------------------------------------------------------------


def _must_be_found(tmp_path: Path, rng: random.Random, flaw: str) -> None:
    """On a busy machine it may take some attempts until it does harm."""
    found: set[str] = set()
    for _ in range(_MOST_ATTEMPTS):
        found |= run(tmp_path, rng, 1.0, *FLAWS[flaw])
        if found & RULES[flaw]:
            return
    pytest.fail(f"{flaw} is not found by any of {RULES[flaw]}, but by {found}", pytrace=False)


def test_harness_finds_an_aborted_batch_that_is_shown(tmp_path: Path, rng: random.Random) -> None:
    """The listener writes the end of an aborted transaction as that of a committed one."""
    _must_be_found(tmp_path, rng, _QUICK_FLAW)


@pytest.mark.long
@pytest.mark.parametrize("flaw", [flaw for flaw in FLAWS if flaw != _QUICK_FLAW])
def test_harness_finds_the_other_planted_bugs(tmp_path: Path, rng: random.Random, flaw: str) -> None:
    """Offsets of what was aborted, a last stable offset that is too high, no fencing, readers of what is open."""
    _must_be_found(tmp_path, rng, flaw)
