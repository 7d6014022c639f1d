"""
Workers do to one log all that it offers, while they are killed, stopped, started and forked; their history is right.

Each writes down what it does; `checker.py` says what has to be true of that, `test_checker.py` and
`test_checker_spoiled.py` that it would find the opposite, and so do the planted mistakes here. Shown is what a kill of
processes can break, not what a power cut can.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.history.checker import violations
from tests.history.flaws import FLAWS, RULES
from tests.history.nemesis import Harm, Nemesis
from tests.history.trial import run

_MOST_ATTEMPTS = 12
_QUICK_FLAWS = ["append twice", "drop offsets", "compare only what is written"]
_LONG_RUNS = 6


def test_a_few_seconds_of_kills_leave_a_right_history(tmp_path: Path, rng: random.Random) -> None:
    """Appends, reads, transactions and offsets of several processes are explained by one order."""
    counts = run(rng.randrange(2**32), tmp_path, seconds=3.0, harm=Harm(mean_pause_s=0.15))
    print(dict(counts))
    assert counts["acknowledged"]


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("number", range(_LONG_RUNS))
def test_a_long_history_is_right(tmp_path: Path, rng: random.Random, number: int) -> None:
    """The same for longer, with other seeds."""
    seed = 4 * rng.randrange(2**30) + number % 4
    counts = run(seed, tmp_path, seconds=15.0, harm=Harm(mean_pause_s=0.3, most=6))
    print(seed, dict(counts))


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_history_of_more_than_a_minute_is_right(tmp_path: Path, rng: random.Random) -> None:
    """The same for 70 s in one log."""
    seed = rng.randrange(2**32)
    counts = run(seed, tmp_path, seconds=70.0, harm=Harm(mean_pause_s=0.4, most=5))
    print(seed, dict(counts))


# --- the harness itself -----------------------------------------------------------------------------------------


def _rules_found(directory: Path, seed: str, flaw: str) -> set[str]:
    """What is found of a flaw in a second or two."""
    with Nemesis(directory, seed, flaw=flaw) as nemesis:
        nemesis.disturb(1.0, Harm(mean_pause_s=0.5))
        return {violation.rule for violation in violations(nemesis.history())}


def _must_be_found(tmp_path: Path, rng: random.Random, flaw: str) -> None:
    """On a busy machine it may take some attempts until it does harm."""
    found: set[str] = set()
    for attempt in range(_MOST_ATTEMPTS):
        found |= _rules_found(tmp_path / str(attempt), str(rng.random()), flaw)
        if found & RULES[flaw]:
            return
    pytest.fail(f"{flaw} is not found by any of {RULES[flaw]}, but by {found}", pytrace=False)


@pytest.mark.parametrize("flaw", _QUICK_FLAWS)
def test_harness_finds_a_planted_mistake(tmp_path: Path, rng: random.Random, flaw: str) -> None:
    """A worker that does something wrong in secret is found by what it and others write down."""
    _must_be_found(tmp_path, rng, flaw)


@pytest.mark.long
@pytest.mark.parametrize("flaw", [flaw for flaw in FLAWS if flaw not in _QUICK_FLAWS])
def test_harness_finds_the_other_planted_mistakes(tmp_path: Path, rng: random.Random, flaw: str) -> None:
    """The same for all other mistakes that can be planted."""
    _must_be_found(tmp_path, rng, flaw)
