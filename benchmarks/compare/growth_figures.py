"""
What a growth run leaves: figures by size, in series that know their units.

A figure that was taken several times is the median of them. What was not taken says why. Knows nothing of logs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

SCHEMA_VERSION = 1

Document = dict[str, Any]


@attrs.frozen
class Series:
    """One line of a growth: what is measured, and in which unit."""

    name: str
    label: str
    unit: str


@attrs.define(eq=False)
class Growth:
    """
    The figures of one thing that grows.

    Args:
        name: "records", "partitions" or "groups".
        axis: what the sizes count, in words.
        sizes: how much there is of it, rising.
    """

    name: str
    axis: str
    sizes: Sequence[int]
    series: Sequence[Series]
    _figures: dict[tuple[str, int], list[float]] = attrs.field(factory=dict, init=False)
    _absent: dict[tuple[str, int], str] = attrs.field(factory=dict, init=False)
    failures: list[str] = attrs.field(factory=list, init=False)

    def note(self, name: str, size: int, figure: float) -> None:
        """Keeps a figure, beside those that were taken of it before."""
        if name not in {one.name for one in self.series}:
            raise ValueError(f"{name!r} is no series of {self.name}; nothing was kept; add it to its series")
        self._figures.setdefault((name, size), []).append(figure)

    def leave_out(self, size: int, reason: str, *, names: Sequence[str] = ()) -> None:
        """Says why there are no figures of a size, in some series or in all that have none yet."""
        for name in names or [one.name for one in self.series]:
            self._absent.setdefault((name, size), reason)

    def fail(self, size: int, error: BaseException, *, names: Sequence[str] = ()) -> None:
        """Notes what went wrong at a size; the figures of others stay."""
        reason = f"{type(error).__name__}: {error}"
        self.failures.append(f"{self.name} at {size:,}: {reason}")
        self.leave_out(size, reason, names=names)

    def document(self) -> Document:
        """The whole of it as plain JSON types."""
        return {
            "name": self.name,
            "axis": self.axis,
            "sizes": list(self.sizes),
            "series": [self._series_document(one) for one in self.series],
            "failures": list(self.failures),
        }

    def _series_document(self, series: Series) -> Document:
        figures = [self._figures.get((series.name, size)) for size in self.sizes]
        return {
            "name": series.name,
            "label": series.label,
            "unit": series.unit,
            "figures": [None if found is None else statistics.median(found) for found in figures],
            "absent": [
                self._absent.get((series.name, size)) if found is None else None
                for size, found in zip(self.sizes, figures, strict=True)
            ],
        }


@attrs.define(eq=False)
class Budget:
    """The time that a growth may take; what would not fit is left out before it begins."""

    seconds: float
    _began_s: float = attrs.field(factory=time.monotonic, init=False)

    @property
    def left_s(self) -> float:
        """What is left of it, below zero when it is over."""
        return self.seconds - (time.monotonic() - self._began_s)


def elapsed_s(call: Callable[[], object]) -> float:
    """How long a call takes."""
    began_ns = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - began_ns) / 1e9


def median_us(call: Callable[[], object], count: int) -> float:
    """The median of so many calls."""
    return statistics.median(elapsed_s(call) for _ in range(count)) * 1e6


def process_memory_mb(status: str | None = None) -> float | None:
    """The memory of this process without the pages of files that it has mapped; None where nobody tells."""
    if status is None:
        try:
            status = Path("/proc/self/status").read_text(encoding="ascii")
        except OSError:
            return None
    for line in status.splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return None
