"""
One line of the table: two workloads side by side, a bar, and what came of measuring them.

A bar is either a ratio to the peer of the same run or a figure of our own. Knows no workload.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Literal

import attrs

from benchmarks.measure import Absent, Round, Summary, Unit, interleave, is_higher_better, ratio
from benchmarks.setting import Setting

Workload = Callable[[Setting], AbstractContextManager[Round]]


@attrs.frozen
class Side:
    """A workload and what the table calls it."""

    label: str
    workload: Workload


@attrs.frozen
class Bar:
    """What a row must reach: a ratio, or a figure of our own that is at least (rates) or at most (times, sizes)."""

    kind: Literal["ratio", "figure"]
    value: float


@attrs.frozen
class Row:
    """
    One line of the table.

    Args:
        rounds: overrides the rounds of the run, where one is enough or five are too few.
    """

    group: str
    name: str
    unit: Unit
    ours: Side
    peer: Side | None = None
    bar: Bar | None = None
    rounds: int | None = None


@attrs.frozen
class Result:
    """A measured row; the ratios are above 1.0 where ours is better."""

    row: Row
    ours: Summary | Absent
    peer: Summary | Absent | None

    @property
    def ratio_of_medians(self) -> float | None:
        """How many times better our median is; None without two sides."""
        if isinstance(self.ours, Summary) and isinstance(self.peer, Summary):
            return ratio(self.ours.median, self.peer.median, self.row.unit)
        return None

    @property
    def ratio_of_bests(self) -> float | None:
        """How many times better our best round is; None without two sides."""
        if isinstance(self.ours, Summary) and isinstance(self.peer, Summary):
            return ratio(self.ours.best, self.peer.best, self.row.unit)
        return None

    @property
    def is_held(self) -> bool | None:
        """Whether the medians reach the bar; None without a bar or without figures."""
        bar = self.row.bar
        if bar is None or not isinstance(self.ours, Summary):
            return None
        if bar.kind == "ratio":
            return None if self.ratio_of_medians is None else self.ratio_of_medians >= bar.value
        if is_higher_better(self.row.unit):
            return self.ours.median >= bar.value
        return self.ours.median <= bar.value


def measure_row(row: Row, setting: Setting, *, rounds: int) -> Result:
    """Runs both sides of a row in turn."""
    sides = [row.ours] if row.peer is None else [row.ours, row.peer]
    summaries = interleave(
        [partial(side.workload, setting) for side in sides], rounds=row.rounds or rounds, unit=row.unit
    )
    return Result(row, summaries[0], summaries[1] if row.peer else None)
