"""
Writers are killed with SIGKILL in the middle of transactions: each is there in all its topics and states, or nowhere.

What this shows and what not is told in `test_kill.py`.
"""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

import eventlog
from tests.crash import transactors
from tests.crash.checks import file_problems
from tests.crash.nursery import Nursery
from tests.crash.records import Acknowledgement, acknowledgements

_LONGEST_LIFE_SECONDS = 0.05
_FRAME_BYTES = 32
_numbers = itertools.count(1)


def _kill(
    nursery: Nursery, path: Path, rng: random.Random, count: int, acknowledged: list[Acknowledgement]
) -> list[str]:
    """Starts so many writers, kills all of them at random moments; what is wrong then."""
    victims = [nursery.start("transact", path, writer=next(_numbers), seed=str(rng.random())) for _ in range(count)]
    least = _FRAME_BYTES * 3 if rng.random() < 0.5 else 0
    for victim in victims:
        victim.watch(rng.uniform(0.0, _LONGEST_LIFE_SECONDS), least_bytes=least)
        acknowledged += acknowledgements(victim.kill())
    with eventlog.open(path) as log:
        return transactors.problems_of(log, acknowledged)


@pytest.mark.parametrize("count", [1, 3])
def test_killed_transactions_are_there_wholly_or_not_at_all(
    nursery: Nursery, place: Path, rng: random.Random, count: int
) -> None:
    """After each kill both topics, the index and the state agree, and all that was acknowledged is there."""
    acknowledged: list[Acknowledgement] = []
    for _ in range(6):
        assert _kill(nursery, place, rng, count, acknowledged) == []
    assert acknowledged
    assert file_problems(place) == []


@pytest.mark.long
@pytest.mark.timeout(600)
def test_five_hundred_killed_transactions(nursery: Nursery, tmp_path: Path, rng: random.Random) -> None:
    """Enough to meet what happens once in some hundred kills."""
    for number in range(25):
        acknowledged: list[Acknowledgement] = []
        for _ in range(5):
            assert _kill(nursery, tmp_path / str(number), rng, 4, acknowledged) == []
        assert file_problems(tmp_path / str(number)) == []


# --- the check itself -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("left", "in one topic alone"),
        ("right", "in one topic alone"),
        ("part", "records of 2"),
        ("state", "the state at"),
        ("lost", "acknowledged, and not there"),
        ("twice", "there twice"),
    ],
)
def test_the_check_finds_what_is_not_whole(log: eventlog.EventLog, change: str, complaint: str) -> None:
    """A log to which somebody has added a part of a transaction is reported."""
    transactors.open_topics(log)
    left, right = log.topic(transactors.LEFT), log.topic(transactors.RIGHT)
    acknowledged = [Acknowledgement(7, 0, 0, 0, 1)] if change == "lost" else []
    with log.transaction() as tx:
        if change in ("part", "twice"):
            for index in range(2 if change == "twice" else 1):
                tx.send(left, [7, 0, index, 2], key=1)
            for _ in range(2 if change == "twice" else 1):
                tx.send(right, [7, 0, 0, 2], key=7)
            tx.state(transactors.LAST)[7] = [0, 2, ""]
        elif change == "state":
            tx.state(transactors.LAST)[7] = [0, 1, ""]
        elif change != "lost":
            tx.send(left if change == "left" else right, [7, 0, 0, 1], key=7)
    assert any(complaint in problem for problem in transactors.problems_of(log, acknowledged))
