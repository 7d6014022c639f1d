"""
A group of real processes is killed, stopped and added to at random, and its history must be a right one.

Each process writes down what it does; `checker.py` says what has to be true of it, `test_checker.py` that it would
find the opposite. Shown is what a kill of processes can break, not what a power cut can.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.groups.chaos import Chaos, Faults
from tests.groups.checker import reliefs, violations
from tests.groups.history import Assigned, Event, Fenced, Handed, Lost, Revoked
from tests.groups.ownerships import Violation
from tests.groups.workers import MANNERS, TOPICS, Terms

_MEMBERS = 6
_SHOWN = 10
_MOST_STOPS = 10
_MOST_ATTEMPTS = 5
"""A member that is stopped with the write lock keeps all, because nobody else can write. Then it is stopped again."""


def _must_be_right(history: list[Event], chaos: Chaos, folder: Path, *, session_timeout: float) -> None:
    found = violations(history, session_timeout=session_timeout)
    relief_s = sorted(reliefs(history, session_timeout=session_timeout)) or [0.0]
    middle_s, longest_s = relief_s[len(relief_s) // 2], relief_s[-1]
    print(_summary(history, chaos))
    print(
        f"{len(relief_s)} partitions of the dead had a new owner after {middle_s:.2f} s (median) to {longest_s:.2f} s"
    )
    if found:
        rules = Counter(violation.rule for violation in found)
        shown = "\n".join(map(str, _one_of_each(found)))
        pytest.fail(f"{dict(rules)}; the history is in {folder}\n{shown}", pytrace=False)


def _one_of_each(found: list[Violation]) -> list[Violation]:
    """The first violations, and not ten of one rule when another one was broken too."""
    firsts = {violation.rule: violation for violation in reversed(found)}
    rest = [violation for violation in found if firsts[violation.rule] is not violation]
    return [*firsts.values(), *rest][:_SHOWN]


def _summary(history: list[Event], chaos: Chaos) -> str:
    kinds = Counter(type(event).__name__ for event in history)
    handed = [
        (*batch.place, offset)
        for event in history
        if isinstance(event, Handed)
        for batch in event.batches
        for offset in range(batch.first, batch.end)
    ]
    return (
        f"{dict(chaos.counts)}; {kinds[Assigned.__name__]} times assigned, {kinds[Revoked.__name__]} revoked, "
        f"{kinds[Lost.__name__]} lost, {kinds[Fenced.__name__]} commits fenced; {len(set(handed))} records, "
        f"handed out {len(handed)} times"
    )


def _run(tmp_path: Path, rng: random.Random, *, seconds: float, faults: Faults, assignor: str = "sticky") -> None:
    terms = Terms(session_timeout=1.5, assignor=assignor)
    folder = tmp_path / "history"
    with Chaos(tmp_path / "log", folder, rng, terms) as chaos:
        chaos.load(1_500.0)
        for manner in rng.sample(list(MANNERS), _MEMBERS):
            chaos.start(manner)
        chaos.disturb(seconds, faults)
        # `range` spreads topic by topic, so each may give a member one partition more.
        most_spread = len(TOPICS) if assignor == "range" else 1
        chaos.settle(calm_s=2.0 + terms.session_timeout, most_s=20.0, most_spread=most_spread)
        history = chaos.history()
    _must_be_right(history, chaos, folder, session_timeout=terms.session_timeout)


def test_a_group_survives_a_few_seconds_of_chaos(tmp_path: Path, rng: random.Random) -> None:
    """Six consumers are killed, stopped, closed and joined by others: nothing is lost, nothing is owned twice."""
    faults = Faults(mean_pause_s=0.25, weights=(3, 1, 4, 3, 2))
    _run(tmp_path, rng, seconds=2.0, faults=faults)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_group_survives_a_minute_of_chaos(tmp_path: Path, rng: random.Random) -> None:
    """The same for 70 s, with one assignor or another."""
    assignor = rng.choice(["sticky", "sticky", "range", "roundrobin"])
    print(assignor)
    _run(tmp_path, rng, seconds=70.0, faults=Faults(), assignor=assignor)


# --- the harness itself -----------------------------------------------------------------------------------------


def _rules_found(tmp_path: Path, rng: random.Random, flawed: str, *rules: str) -> list[Violation]:
    """What is found when a flawed member is stopped for longer than its session, and an honest one goes on."""
    tmp_path.mkdir()
    terms = Terms(session_timeout=0.6, slowness=3.0)
    with Chaos(tmp_path / "log", tmp_path / "history", rng, terms) as chaos:
        chaos.load(300.0)
        one, other = (chaos.start(manner) for manner in (flawed, "poll-by-hand"))
        for process in (one, other):
            chaos.wait_until(lambda history, name=process.members[0][0]: _count(history, Handed, name) > 3)
        for _ in range(_MOST_STOPS):
            before = _count(chaos.so_far(), Assigned, other.members[0][0])
            chaos.stop_for(one, 2.5 * terms.session_timeout)
            if _count(chaos.so_far(), Assigned, other.members[0][0]) > before:
                break
        chaos.wait_until(lambda history: _count(history, Lost, one.members[0][0]) > 0)
        so_far = _count(chaos.so_far(), Handed, other.members[0][0])
        chaos.wait_until(lambda history: _count(history, Handed, other.members[0][0]) > so_far + 3)
        history = chaos.history()
    return [one for one in violations(history, session_timeout=terms.session_timeout) if one.rule in rules]


def _is_found(tmp_path: Path, rng: random.Random, flawed: str, *rules: str) -> bool:
    """Whether some rule sees the flaw; on a busy machine it may take some attempts until it does harm."""
    return any(_rules_found(tmp_path / str(attempt), rng, flawed, *rules) for attempt in range(_MOST_ATTEMPTS))


def _count(history: list[Event], kind: type[Event], member: str) -> int:
    return sum(isinstance(event, kind) and getattr(event, "member", "") == member for event in history)


def test_harness_finds_a_member_that_goes_on_after_it_lost_its_partitions(tmp_path: Path, rng: random.Random) -> None:
    """A member that reads on when the library told it to stop is seen as a second owner."""
    assert _is_found(tmp_path, rng, "goes-on-after-the-loss", "exclusive")


def test_harness_finds_a_commit_around_the_fence(tmp_path: Path, rng: random.Random) -> None:
    """A fenced commit that is stored all the same is seen in the committed offsets."""
    assert _is_found(tmp_path, rng, "commits-around-the-fence", "unexplained", "back")
