"""Queues under kill -9 and SIGSTOP: no job is lost, done twice, out of order by key, or at two live workers."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import eventlog
from tests.groups.queue_chaos import Chaos


def go(
    place: Path, rng: random.Random, *, total: int, seconds: float, flaw: str | None = None
) -> tuple[Chaos, list[str]]:
    """Three workers for some jobs of a few keys, killed and stopped for some seconds; and what does not hold."""
    with eventlog.open(place / "log", durability="ordered") as log:
        keys = [rng.choice("abcdef") for _ in range(total)]
        log.topic("jobs", key=str, value=int).append_many(range(total), keys=keys)
        log.topic("done", key=str, value=int)
        chaos = Chaos(place, rng, workers=3, flaw=flaw)
        try:
            chaos.run(log, total, seconds)
            chaos.finish(log, total, 60.0 if flaw is None else 4.0)
        finally:
            chaos.close()
        return chaos, chaos.problems(log, total)


def test_nothing_is_lost_or_shared_under_kills_and_stops(tmp_path: Path, rng: random.Random) -> None:
    """Whatever happens to its workers."""
    chaos, problems = go(tmp_path, rng, total=300, seconds=2.5)
    assert problems == []
    assert chaos.kill_count + chaos.stop_count > 0


@pytest.mark.long
@pytest.mark.parametrize("number", range(10))
def test_the_same_for_longer(tmp_path: Path, rng: random.Random, number: int) -> None:
    """With other seeds."""
    assert go(tmp_path, rng, total=3000, seconds=30.0)[1] == [], number


@pytest.mark.long
@pytest.mark.parametrize(
    ("flaw", "words"),
    [("late", "done twice"), ("living", "shared"), ("keys", "order"), ("cursor", "lost")],
)
def test_a_planted_bug_is_found(tmp_path: Path, rng: random.Random, flaw: str, words: str) -> None:
    """By the check that is about it; one of three runs has to meet it."""
    for attempt in range(3):
        place = tmp_path / str(attempt)
        place.mkdir()
        if any(words in problem for problem in go(place, rng, total=250, seconds=4.0, flaw=flaw)[1]):
            return
    pytest.fail(f"nobody has found the bug {flaw!r}")
