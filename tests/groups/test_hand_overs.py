"""No record is handed out by two members after the lease of one has ended, wherever a process is stopped."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.groups.hand_overs import MANNERS, Tenure, Verdict, hand_overs, judge

QUICK = 4
LONG = 1_000
SLICES = 10


def must_be_right(tenures: list[Tenure], expected: int) -> Verdict:
    """Judges, and prints the figures."""
    verdict = judge(tenures)
    print(verdict)
    assert verdict.handed_out_late == 0, [one for one in tenures if one.count]
    assert verdict.gaps == 0
    assert verdict.hand_overs >= expected
    return verdict


@pytest.mark.parametrize("manner", MANNERS)
def test_an_owner_that_is_stopped_hands_out_nothing_when_it_goes_on(
    tmp_path: Path, rng: random.Random, manner: str
) -> None:
    """A few hand-overs, in each way of reading."""
    must_be_right(hand_overs(tmp_path / "log", rng, QUICK, manner=manner), QUICK)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(SLICES))
def test_a_thousand_hand_overs_hand_out_nothing_late(tmp_path: Path, rng: random.Random, part: int) -> None:
    """Half of them with a loop, which is the fastest to go on after a stop."""
    manner = "loop" if part % 2 else MANNERS[1 + part // 2 % 2]
    count = LONG // SLICES
    must_be_right(hand_overs(tmp_path / "log", rng, count, manner=manner), count)


def test_harness_finds_a_loop_that_does_not_ask_for_the_time(tmp_path: Path, rng: random.Random) -> None:
    """It goes on with its batch, as long as nothing tells it that its lease is over."""
    late = 0
    for attempt in range(10):
        tenures = hand_overs(tmp_path / str(attempt), rng, 3, manner="loop", flaw="no gate")
        late += judge(tenures).handed_out_late
        if late:
            return
    pytest.fail("ten times three hand-overs, and nothing was handed out late")


def test_the_judge_knows_late_from_in_hand() -> None:
    """A record that was asked for before the other had begun is in the hand of a stopped program."""
    one = Tenure("a", first_got_s=1.0, last_asked_s=2.0, last_got_s=5.0, first=0, end=10, count=10)
    other = Tenure("b", first_got_s=4.0, last_asked_s=6.0, last_got_s=6.1, first=9, end=20, count=11)
    assert judge([one, other]) == Verdict(1, 21, 0, 1, 0)
    one.last_asked_s = 4.5
    assert judge([one, other]) == Verdict(1, 21, 1, 0, 0)
    other.first = 11
    assert judge([one, other]).gaps == 1
