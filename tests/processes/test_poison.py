"""Records that end the process of a processor, without an exception, under a supervisor that starts it again."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import eventlog
from tests.processes import poison_scenes
from tests.processes.child import Child

_MOST_STARTS = 60


def _supervise(path: Path, *arguments: object) -> list[int]:
    """Starts the program until it ends in peace; the records of which it died, in order."""
    died_of: list[int] = []
    for _ in range(_MOST_STARTS):
        with Child(poison_scenes.work, str(path), *arguments) as child:
            line = child.hear()
            while line.startswith("at "):
                died_of.append(int(line.split()[1]))
                if child.end() != 0:
                    break
            if line == "done":
                assert child.end() == 0
                return died_of
    raise AssertionError(f"it does not end: {died_of}")


@pytest.mark.parametrize("death", poison_scenes.DEATHS)
def test_a_record_that_ends_its_process_is_given_up(path: Path, death: str) -> None:
    """After its attempts; everything else is done once, in the other partitions too."""
    with eventlog.open(path) as log:
        orders = log.topic("orders", partitions=2, value=int)
        out, dead = log.topic("out", value=int), log.topic("dead", value=int)
        orders.append_many(range(10), partition=0)
        orders.append_many(range(100, 110), partition=1)
        died_of = _supervise(path, [7], death, 2)
        assert sorted(record.value for record in out.read()) == [*range(7), 8, 9, *range(100, 110)]
        (letter,) = dead.read()
        assert (letter.value, dict(letter.headers)["error"]) == (7, b"ProcessDied")
        assert log.groups.describe("g").lag == 0
        assert 2 <= len(died_of) <= 4, "tries of its own, and at most two as one of several"


def test_records_that_end_their_processes_anywhere(path: Path, rng: random.Random) -> None:
    """Several in a row, at the beginning, the end, and far into a partition: each is found by halving."""
    with eventlog.open(path) as log:
        orders = log.topic("orders", partitions=3, value=int)
        out, dead = log.topic("out", value=int), log.topic("dead", value=int)
        for partition in range(3):
            orders.append_many(range(1000 * partition, 1000 * partition + 300), partition=partition)
        poison = [0, 1, 1299, rng.randrange(2000, 2300)]
        died_of = _supervise(path, poison, "exit", 2)
        numbers = [1000 * partition + number for partition in range(3) for number in range(300)]
        assert sorted(record.value for record in out.read()) == [number for number in numbers if number not in poison]
        assert sorted(record.value for record in dead.read()) == sorted(poison)
        assert log.groups.describe("g").lag == 0
        assert len(died_of) <= 2 * len(poison) + 12
        assert log.verify().is_sound


def test_one_kill_by_chance_gives_no_record_up(path: Path) -> None:
    """Whoever asks for one attempt means the function; a kill in the first record of a partition says nothing of it."""
    with eventlog.open(path) as log:
        out, dead = log.topic("out", value=int), log.topic("dead", value=int)
        log.topic("orders", value=int).append_many(range(3))
        for poison in ([0], []):
            with Child(poison_scenes.work, str(path), poison, "kill", 1) as child:
                child.end()
        assert ([record.value for record in out.read()], list(dead.read())) == ([0, 1, 2], [])


def test_a_projection_says_in_which_record_its_process_died(path: Path) -> None:
    """After a few starts the checkpoint is in front of it, and the warning names it; then all is folded."""
    with eventlog.open(path) as log:
        orders, others = log.topic("orders", value=int), log.topic("others", value=int)
        for number in range(0, 3000, 100):
            orders.append_many(range(number, number + 100))
            others.append_many(range(100))
        told: list[str] = []
        while not told or "the record of log position" not in told[-1]:
            assert len(told) < 8, told
            with Child(poison_scenes.fold, str(path), 1234) as child:
                assert child.end() == 139
                told += child.errors().splitlines() or ["nothing yet"]
        projection = log.projection("count")
        position = 12 * 200 + 34
        assert f"'count' last ended in the record of log position {position}: offset 1234 of orders[0]." in told[-1]
        assert (projection.log_position, projection.state["count"]) == (position, 1234)
        with Child(poison_scenes.fold, str(path), -1) as child:
            child.hear("done")
            assert child.end() == 0
        with Child(poison_scenes.fold, str(path), -1) as child:
            child.hear("done")
            assert child.end() == 0
            assert child.errors() == "", "an orderly end leaves no word"
        assert projection.state["count"] == 3000
