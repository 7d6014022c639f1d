"""
Writers are killed with SIGKILL at random moments, and the log must hold all they acknowledged.

This shows atomicity and the recovery of locks. It does not show what a power cut does: a kill leaves the page
cache of the operating system alone, so it passes without any sync at all.
"""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import lmdb
import pytest

import eventlog
from tests.crash.checks import file_problems, problems_of
from tests.crash.nursery import Nursery
from tests.crash.records import PARTITIONS, TOPIC, Acknowledgement, Stamp, acknowledgements, value_of

_KILLS_A_DIRECTORY = 9
_LONGEST_LIFE_SECONDS = 0.02
_LEAST_LIFE_BYTES = 32 * 5
_WAYS = ("append_one_by_one", "append_columns", "send", "mix")
_PARENT = 999_999
_numbers = itertools.count(1)


class _Rounds:
    """Kills writers of one log, again and again, and looks at it after each time."""

    def __init__(self, nursery: Nursery, path: Path, rng: random.Random) -> None:
        self._nursery = nursery
        self._path = path
        self._rng = rng
        self._acknowledged: list[Acknowledgement] = []
        self.kill_count = 0

    def kill(self, *ways: str) -> list[str]:
        """Starts writers, kills all of them at random moments; what is wrong then."""
        rng = self._rng
        victims = [self._nursery.start(way, self._path, writer=next(_numbers), seed=str(rng.random())) for way in ways]
        # Every other time the writer has to be at work already; else the kill may meet it while it opens the log.
        least = _LEAST_LIFE_BYTES if rng.random() < 0.5 else 0
        for victim in victims:
            victim.watch(rng.uniform(0.0, _LONGEST_LIFE_SECONDS), least_bytes=least)
            self._acknowledged += acknowledgements(victim.kill())
            self.kill_count += 1
        return self.look()

    def look(self) -> list[str]:
        """What is wrong with the log; the next writer is this process."""
        with eventlog.open(self._path) as log:
            problems = problems_of(log, self._acknowledged)
            stamp = Stamp(_PARENT, self.kill_count, 0, 1)
            stored = log.topic(TOPIC).append(value_of(stamp), partition=0)
            if [record.value for record in log.topic(TOPIC).read(0, start=stored.offset)] != [value_of(stamp)]:
                problems.append("what was appended after the kill cannot be read")
        self._acknowledged.append(Acknowledgement(_PARENT, self.kill_count, 0, stored.offset, stored.offset + 1))
        return problems


@pytest.mark.parametrize("way", _WAYS)
def test_a_killed_writer_loses_nothing_it_acknowledged(
    nursery: Nursery, place: Path, rng: random.Random, way: str
) -> None:
    """After each of many kills all acknowledged records are there, no call is torn, and the next writer goes on."""
    rounds = _Rounds(nursery, place, rng)
    while rounds.kill_count < _KILLS_A_DIRECTORY:
        assert rounds.kill(way) == []
    assert file_problems(place) == []


@pytest.mark.parametrize("way", _WAYS)
def test_killed_writers_of_one_log_lose_nothing_they_acknowledged(
    nursery: Nursery, place: Path, rng: random.Random, way: str
) -> None:
    """Three processes write one log and are killed one by one, while the others go on."""
    rounds = _Rounds(nursery, place, rng)
    while rounds.kill_count < 2 * _KILLS_A_DIRECTORY:
        assert rounds.kill(way, rng.choice(_WAYS), rng.choice(_WAYS)) == []
    assert file_problems(place) == []


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_thousand_kills_lose_nothing(nursery: Nursery, tmp_path: Path, rng: random.Random) -> None:
    """One to five writers at once, in all ways: enough to meet what happens once in a thousand kills."""
    kill_count = 0
    while kill_count < 1_000:
        rounds = _Rounds(nursery, tmp_path / str(kill_count), rng)
        while rounds.kill_count < 20:
            assert rounds.kill(*(rng.choice(_WAYS) for _ in range(rng.choice((1, 1, 3, 5))))) == []
        assert file_problems(tmp_path / str(kill_count)) == []
        kill_count += rounds.kill_count


# --- the check itself -------------------------------------------------------------------------------------------


def test_the_check_finds_a_writer_that_acknowledges_too_early(
    nursery: Nursery, tmp_path: Path, rng: random.Random
) -> None:
    """An acknowledged record that was never stored is reported."""
    rounds = _Rounds(nursery, tmp_path / "log", rng)
    victim = nursery.start("acknowledge_too_early", tmp_path / "log", writer=next(_numbers), seed="")
    victim.watch(0.0, least_bytes=1)
    said = acknowledgements(victim.kill())
    rounds._acknowledged += said
    assert rounds.look() == ["partition 0, offset 0: acknowledged, and not there"]


def _written(path: Path) -> list[Acknowledgement]:
    """A log of two calls, of which the second fills two batches of partition 0; what was acknowledged."""
    acknowledged: list[Acknowledgement] = []
    with eventlog.open(path) as log:
        topic = log.topic(TOPIC, partitions=PARTITIONS)
        for call, count in ((0, 5), (1, 300)):
            values = [value_of(Stamp(1, call, index, count)) for index in range(count)]
            stored = topic.append_many(values, partition=0)[0]
            acknowledged.append(Acknowledgement(1, call, 0, stored.first, stored.end))
        assert problems_of(log, acknowledged) == []
    return acknowledged


def _change(path: Path, row: int, change: str) -> None:
    """Does to the `row`th batch of the file what no eventlog would do."""
    with lmdb.open(str(path), max_dbs=64, map_size=1 << 30, lib_version=0) as environment:
        batches = environment.open_db(b"batches")
        with environment.begin(db=batches, write=True) as transaction:
            key, value = list(transaction.cursor())[row]
            if change == "remove":
                transaction.delete(key)
            else:
                transaction.put(key[:-8] + (309).to_bytes(8, "big"), value)


@pytest.mark.parametrize(
    ("row", "change", "complaint"),
    [
        (-1, "remove", "acknowledged, and not there"),
        (-1, "remove", "records are there of 300"),
        (0, "remove", "no batch has them"),
        (0, "repeat", "it says that it is of topic id 1[0] up to offset 4"),
    ],
)
def test_the_check_finds_a_changed_file(path: Path, row: int, change: str, complaint: str) -> None:
    """A log from which a batch was removed, or in which one was repeated, is reported."""
    acknowledged = _written(path)
    _change(path, row, change)
    with eventlog.open(path) as log:
        assert any(complaint in problem for problem in problems_of(log, acknowledged))


def test_the_check_finds_a_record_that_is_there_twice(path: Path) -> None:
    """A record that was stored again is reported, although the log itself is sound."""
    acknowledged = _written(path)
    with eventlog.open(path) as log:
        log.topic(TOPIC).append(value_of(Stamp(1, 0, 0, 5)), partition=0)
        assert any("of the same writer" in problem for problem in problems_of(log, acknowledged))


def test_the_check_finds_a_record_with_other_bytes(path: Path) -> None:
    """A record that no writer wrote is reported, although the log itself is sound."""
    with eventlog.open(path) as log:
        log.topic(TOPIC, partitions=PARTITIONS).append(value_of(Stamp(1, 0, 0, 1))[:-1] + b"?", partition=0)
        assert any("other bytes" in problem for problem in problems_of(log, []))
