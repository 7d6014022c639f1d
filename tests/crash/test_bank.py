"""
The bank: four processes transfer money, are killed at random moments, and begin again.

No kill may change the sum of all balances, lose a transfer that was acknowledged, or have one applied twice.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import attrs
import pytest

import eventlog
from tests.crash import bank
from tests.crash.checks import file_problems
from tests.crash.nursery import Nursery, Victim

_CLIENTS = 4
_AUDITOR = 0
_LONGEST_LIFE_SECONDS = 0.4


@attrs.define(eq=False)
class _Bank:
    """Keeps four clients and an auditor alive, kills them one by one, and notes what they said."""

    nursery: Nursery
    path: Path
    rng: random.Random
    account_count: int = 100
    way: str = "transfer_money"
    known: dict[int, int] = attrs.Factory(dict)
    victims: dict[int, Victim] = attrs.Factory(dict)
    sums: list[int] = attrs.Factory(list)
    kill_count: int = 0
    watched_s: float = 0.0
    seed: str = ""

    def open(self) -> None:
        """Founds the bank, and starts all."""
        self.seed = str(self.rng.random())
        bank.found(self.path, self.account_count)
        self.known = dict.fromkeys(range(1, _CLIENTS + 1), 0)
        for number in range(_CLIENTS + 1):
            self._start(number)

    def _start(self, number: int) -> None:
        if number == _AUDITOR:
            self.victims[number] = self.nursery.start("audit", self.path, writer=number, seed="")
            return
        # The one after the last that is known may be stored. Now and then some that are known come again, too.
        first = max(0, self.known[number] - self.rng.choice((0, 0, 1, 5)))
        plan = bank.Plan(self.seed, first, self.account_count, is_by_version=number % 2 == 0)
        seed = json.dumps(attrs.asdict(plan))
        self.victims[number] = self.nursery.start(self.way, self.path, writer=number, seed=seed)

    def _kill(self, number: int) -> None:
        said = bank.numbers(self.victims.pop(number).kill())
        if number == _AUDITOR:
            self.sums += said
        elif said:
            assert said == list(range(said[0], said[-1] + 1)), "a client said something else than its transfers"
            self.known[number] = max(self.known[number], said[-1] + 1)
        self.kill_count += 1

    def kill_and_restart(self) -> None:
        """Kills one of them after a while; every other time it has to be at work already."""
        number = self.rng.randrange(_CLIENTS + 1)
        seconds = self.rng.uniform(0.0, _LONGEST_LIFE_SECONDS)
        least_bytes = self.rng.choice((0, bank.FRAME_BYTES))
        self.victims[number].watch(seconds, least_bytes=least_bytes)
        self.watched_s += seconds
        for other in self.victims.values():
            other.watch(0.001)  # else its pipe is full some time
        self._kill(number)
        self._start(number)

    def end(self) -> list[str]:
        """Kills all; what is wrong with the bank."""
        for number in list(self.victims):
            if self.way == "transfer_money":
                self.victims[number].watch(0.0, least_bytes=bank.FRAME_BYTES)
            self._kill(number)
        total = self.account_count * bank.START_BALANCE
        problems = [f"an auditor saw {one}, not {total}" for one in self.sums if one != total][:3]
        with eventlog.open(self.path) as log:
            problems += bank.problems_of(log, self.account_count, self.known)
        return problems + file_problems(self.path)

    def story(self) -> str:
        """What happened, in numbers."""
        transfers = sum(self.known.values())
        return (
            f"{transfers} transfers, {transfers / max(self.watched_s, 0.1):.0f}/s, {self.kill_count} kills, "
            f"{len(self.sums)} audits in {self.watched_s:.1f} s"
        )


def _open(nursery: Nursery, path: Path, rng: random.Random, **options: object) -> _Bank:
    opened = _Bank(nursery, path, rng, **options)  # type: ignore[arg-type]
    opened.open()
    return opened


def test_no_kill_changes_the_sum(nursery: Nursery, place: Path, rng: random.Random) -> None:
    """A dozen kills: every audit and the end are right, and each transfer was applied once."""
    it = _open(nursery, place, rng)
    while it.kill_count < 12:
        it.kill_and_restart()
    assert it.end() == []
    assert it.sums
    assert all(it.known.values())


@pytest.mark.long
@pytest.mark.timeout(600)
def test_no_kill_changes_the_sum_for_a_minute(nursery: Nursery, place: Path, rng: random.Random) -> None:
    """Over sixty seconds of transfers and kills."""
    it = _open(nursery, place, rng)
    while it.watched_s < 65.0:
        it.kill_and_restart()
    assert it.end() == []
    print(it.story())


# --- the harness itself -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "complaint"),
    [
        ("transfer_money_unchecked", "are not the sum of their transfers"),
        ("transfer_money_twice", "are not the sum of their transfers"),
    ],
)
def test_the_bank_finds_a_planted_bug(
    nursery: Nursery, tmp_path: Path, rng: random.Random, way: str, complaint: str
) -> None:
    """Clients that lose updates, or repeat a transfer that was stored, are found; five attempts to do harm."""
    for attempt in range(5):
        it = _open(nursery, tmp_path / str(attempt), rng, account_count=4, way=way)
        for _ in range(6):
            it.kill_and_restart()
        if any(complaint in problem for problem in it.end()):
            return
    pytest.fail("the planted bug was not found")
