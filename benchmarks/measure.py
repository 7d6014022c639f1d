"""
How a row is measured: rounds, taken in turn, and what is made of them.

Two sides of a row run A B A B, so that a machine that slows down slows both. Of the rounds we keep the median and
the best; ratios are given of both, because a shared machine has bad seconds.
Knows nothing of logs, peers or tables.
"""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Literal

import attrs

Unit = Literal["records/s", "us", "ms", "bytes/byte", "%"]

_LEAST_FOR_P99_9 = 1_000


class Skipped(Exception):
    """Raised by a side that cannot run here; the message says what is missing and how to get it."""


@attrs.frozen
class Sample:
    """
    One round of one side.

    Args:
        figure: what the row compares, in the row's unit.
        details: further figures of the round, each named with its unit.
        durations_ns: single durations, where the row has them; they are pooled over all rounds for percentiles.
    """

    figure: float
    details: dict[str, float] = attrs.field(factory=dict)
    durations_ns: Sequence[int] = attrs.field(default=(), repr=False)


Round = Callable[[], Sample]
OpenSide = Callable[[], AbstractContextManager[Round]]


@attrs.frozen
class Summary:
    """All rounds of one side."""

    median: float
    best: float
    figures: list[float]
    details: dict[str, float]


@attrs.frozen
class Absent:
    """A side without figures: skipped on purpose, or failed."""

    reason: str
    is_failure: bool


def is_higher_better(unit: Unit) -> bool:
    """Only rates grow when things get better; times, sizes and shares of a core shrink."""
    return unit == "records/s"


def percentile(durations: Sequence[int], percent: float) -> int:
    """
    The smallest duration that at least `percent` of all do not exceed (nearest rank).

    Example:
        >>> percentile([10, 20, 30, 40], 50)
        20
    """
    if not durations:
        raise ValueError("cannot take a percentile of no durations; nothing was measured; measure at least one")
    rank = math.ceil(len(durations) * percent / 100)
    return sorted(durations)[max(rank, 1) - 1]


def summarise(samples: Sequence[Sample], unit: Unit) -> Summary:
    """
    The median, the best and the pooled percentiles of the rounds of one side.

    Percentiles are in ms where the row is, else in us; a p99.9 needs a thousand durations.
    """
    figures = [sample.figure for sample in samples]
    names = {name: None for sample in samples for name in sample.details}
    details = {
        name: statistics.median(sample.details[name] for sample in samples if name in sample.details) for name in names
    }
    durations = [duration for sample in samples for duration in sample.durations_ns]
    if durations:
        name, ns = ("ms", 1e6) if unit == "ms" else ("us", 1e3)
        details[f"p50_{name}"] = percentile(durations, 50) / ns
        details[f"p99_{name}"] = percentile(durations, 99) / ns
        if len(durations) >= _LEAST_FOR_P99_9:
            details[f"p99_9_{name}"] = percentile(durations, 99.9) / ns
    best = max(figures) if is_higher_better(unit) else min(figures)
    return Summary(median=statistics.median(figures), best=best, figures=figures, details=details)


def ratio(ours: float, peer: float, unit: Unit) -> float:
    """
    How many times better ours is; below 1.0 the peer is better.

    Example:
        >>> ratio(20.0, 10.0, "records/s"), ratio(20.0, 10.0, "us")
        (2.0, 0.5)
    """
    return ours / peer if is_higher_better(unit) else peer / ours


def interleave(sides: Sequence[OpenSide], *, rounds: int, unit: Unit) -> list[Summary | Absent]:
    """
    Opens all sides, runs them in turn `rounds` times, closes them, and sums up each.

    A side that is skipped or fails does not stop the others: it is `Absent`, with the reason. The collector is
    left as users have it; before each round it runs once, so that no side pays for the garbage of the other.
    """
    samples: list[list[Sample]] = [[] for _ in sides]
    absent: dict[int, Absent] = {}
    with ExitStack() as stack:
        opened: dict[int, Round] = {}
        for index, side in enumerate(sides):
            with _recorded(absent, index):
                opened[index] = stack.enter_context(side())
        for _ in range(rounds):
            for index, run in opened.items():
                if index in absent:
                    continue
                with _recorded(absent, index):
                    gc.collect()
                    samples[index].append(run())
    return [absent.get(index) or summarise(samples[index], unit) for index in range(len(sides))]


@contextmanager
def _recorded(absent: dict[int, Absent], index: int) -> Iterator[None]:
    """Turns what a side raises into its reason for being absent."""
    try:
        yield
    except Skipped as reason:
        absent[index] = Absent(reason=str(reason), is_failure=False)
    except Exception as error:  # noqa: BLE001 - a row that fails must not lose the rows measured so far
        absent[index] = Absent(reason=f"{type(error).__name__}: {error}", is_failure=True)
