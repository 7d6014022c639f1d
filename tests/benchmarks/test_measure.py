"""
Rounds, statistics and ratios of `benchmarks.measure`.

No test judges a time: figures come in as arguments.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from benchmarks.measure import Absent, OpenSide, Sample, Skipped, Summary, interleave, percentile, ratio, summarise


def side(name: str, figures: list[float], journal: list[str]) -> OpenSide:
    """A side that notes in the journal when it is opened, run and closed."""

    @contextmanager
    def opened() -> Iterator:
        left = iter(figures)
        journal.append(f"open {name}")

        def run() -> Sample:
            journal.append(name)
            return Sample(next(left))

        yield run
        journal.append(f"close {name}")

    return opened


def test_sides_take_turns_and_are_closed() -> None:
    """A run is A B A B, and the side opened last is closed first."""
    journal: list[str] = []
    summaries = interleave([side("a", [1, 3], journal), side("b", [5, 4], journal)], rounds=2, unit="records/s")
    assert journal == ["open a", "open b", "a", "b", "a", "b", "close b", "close a"]
    assert [summary.best for summary in summaries if isinstance(summary, Summary)] == [3, 5]


def test_a_skipped_side_says_why_and_leaves_the_other_alone() -> None:
    """A peer that is not installed is absent with its reason, and no failure."""

    def missing() -> AbstractContextManager:
        raise Skipped("not installed")

    ours, peer = interleave([side("a", [1, 2], []), missing], rounds=2, unit="records/s")
    assert isinstance(ours, Summary)
    assert ours.figures == [1, 2]
    assert peer == Absent("not installed", is_failure=False)


def test_a_side_that_fails_in_a_round_is_absent_and_runs_no_more() -> None:
    """Half of the rounds would be a figure of something else."""
    journal: list[str] = []
    failing, other = interleave([side("a", [1], journal), side("b", [1, 2, 3], journal)], rounds=3, unit="us")
    assert isinstance(failing, Absent)
    assert failing.is_failure
    assert isinstance(other, Summary)
    assert journal.count("a") == 2


@pytest.mark.parametrize(("percent", "wanted"), [(1, 1), (50, 50), (99, 99), (99.9, 100), (100, 100)])
def test_percentile_is_the_nearest_rank(percent: float, wanted: int) -> None:
    """A percentile is one of the durations, never between two."""
    assert percentile(range(100, 0, -1), percent) == wanted


def test_percentile_of_nothing_is_refused() -> None:
    """No durations have no middle."""
    with pytest.raises(ValueError, match="nothing was measured"):
        percentile([], 50)


def test_best_is_the_highest_rate_and_the_lowest_time() -> None:
    """What is best depends on the unit."""
    samples = [Sample(3.0), Sample(1.0), Sample(2.0)]
    assert (summarise(samples, "records/s").best, summarise(samples, "us").best) == (3.0, 1.0)
    assert summarise(samples, "us").median == 2.0


def test_durations_of_all_rounds_are_pooled() -> None:
    """A p99.9 needs more durations than one round has."""
    samples = [Sample(1.0, durations_ns=[1000] * 999), Sample(1.0, durations_ns=[5000])]
    details = summarise(samples, "us").details
    assert (details["p50_us"], details["p99_9_us"]) == (1.0, 1.0)
    assert summarise([*samples, Sample(1.0, durations_ns=[5000] * 9)], "us").details["p99_9_us"] == 5.0


def test_percentiles_have_the_unit_of_the_row_and_enough_durations() -> None:
    """A row of ms says ms; a p99.9 of a hundred would be the slowest under a finer name."""
    details = summarise([Sample(1.0, durations_ns=[2_000_000] * 100)], "ms").details
    assert details == {"p50_ms": 2.0, "p99_ms": 2.0}


def test_details_are_medians_of_the_rounds_that_have_them() -> None:
    """A detail that one round lacks is no reason to lose it."""
    samples = [Sample(1.0, {"loop": 1.0}), Sample(1.0, {"loop": 3.0}), Sample(1.0)]
    assert summarise(samples, "us").details == {"loop": 2.0}


def test_a_ratio_above_one_always_means_that_ours_is_better() -> None:
    """A reader must not have to think of the unit."""
    assert ratio(2.0, 1.0, "records/s") == ratio(1.0, 2.0, "us") == ratio(1.0, 2.0, "bytes/byte") == 2.0
