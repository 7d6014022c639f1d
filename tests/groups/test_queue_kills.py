"""How soon the jobs of a killed worker are at another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.groups.queue_kills import Waits, waits

QUICK = 5
LONG = 100
_GENEROUS_S = 1.0
"""For a machine that does other things, too: without the kernel's word it would be the session's time-out."""


def must_be_soon(found: Waits) -> None:
    """Judges, and prints the figures."""
    print(found)
    assert found.share(0.99) < _GENEROUS_S, found


def test_jobs_of_a_killed_worker_are_at_another_at_once(path: Path) -> None:
    """A hundred jobs, a few times; the session's time-out is ten seconds."""
    must_be_soon(waits(path, QUICK))


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_same_a_hundred_times(path: Path) -> None:
    """Enough for a p99."""
    must_be_soon(waits(path, LONG))


def test_the_share_is_a_wait_that_was_measured() -> None:
    """The p99 of a hundred is the last but one, and of five the last."""
    hundred = Waits([float(number) for number in range(1, 101)])
    assert (hundred.share(0.5), hundred.share(0.99), hundred.share(1.0)) == (50.0, 99.0, 100.0)
    assert Waits([1.0, 2.0, 3.0, 4.0, 5.0]).share(0.99) == 5.0
