"""
The comparison as bars: what each peer reaches in the same work, ours in another colour.

Knows nothing of how figures are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.compare.plots_style import INK, OURS, figure

_BYTES = 100
_RATES = (
    ("produce_single", "One call a record: records a second"),
    ("produce_batch", "Columns, or the fastest way: records a second"),
    ("durable_single", "Durable, one after the other: records a second"),
    ("durable_threads", "Durable, 64 threads: records a second"),
    ("consume_objects", "Reading objects: records a second"),
    ("consume_columns", "Reading columns: records a second"),
)
_LATENCIES = (
    ("latency_threads", "One record between threads: median"),
    ("latency_processes", "One record between processes: median"),
)


def bars_of(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The plots for which a run has figures, by name."""
    for name, workloads in (("rates", _RATES), ("latency", _LATENCIES)):
        panels = [(title, _figures(document, workload)) for workload, title in workloads]
        panels = [(title, figures) for title, figures in panels if figures]
        if panels:
            yield name, _plot(panels, ours=document["peers"][0]["name"], is_up=name == "rates")


def _figures(document: Mapping[str, Any], workload: str) -> list[tuple[str, float]]:
    return [
        (cell["peer"], cell["median"])
        for cell in document["cells"]
        if cell["workload"] == workload and cell["value_bytes"] == _BYTES and cell.get("median")
    ]


def _plot(panels: Sequence[tuple[str, list[tuple[str, float]]]], *, ours: str, is_up: bool) -> Any:
    rows = -(-len(panels) // 2)
    longest = max(len(figures) for _, figures in panels)
    drawing, axes = figure(rows, 2, height=rows * (0.7 + 0.21 * longest))
    for place, (title, figures) in zip(axes, panels, strict=False):
        ranked = sorted(figures, key=lambda pair: pair[1], reverse=is_up)
        _bars(place, title, ranked, ours, longest, short if is_up else duration)
    for place in axes[len(panels) :]:
        place.set_visible(False)
    return drawing


def _bars(
    axes: Any,
    title: str,
    figures: Sequence[tuple[str, float]],
    ours: str,
    longest: int,
    text: Callable[[float], str],
) -> None:
    """From zero, the best first; each panel has room for as many as the longest has."""
    names = [name for name, _ in figures]
    values = [value for _, value in figures]
    bars = axes.barh(range(len(names)), values, color=[OURS if name == ours else INK for name in names], height=0.65)
    axes.bar_label(bars, [text(value) for value in values], padding=3)
    axes.set_xlim(0, max(values) * 1.18)
    axes.set_ylim(longest - 0.4, -0.6)
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_title(title)


def short(figure: float) -> str:
    """
    A figure in few letters.

    Example:
        >>> short(2_345_678.0), short(4_400.0), short(98.2), short(3.21)
        ('2.3 M', '4.4 k', '98', '3.2')
    """
    for bound, letter in ((1e6, " M"), (1e3, " k")):
        if figure >= bound:
            scaled = figure / bound
            return f"{scaled:.1f}{letter}" if scaled < 10 else f"{scaled:.0f}{letter}"
    return f"{figure:.0f}" if figure >= 10 else f"{figure:.1f}"


def duration(figure_us: float) -> str:
    """
    A time in few letters.

    Example:
        >>> duration(98.2), duration(1_234.0), duration(19_400.0)
        ('98 us', '1.2 ms', '19 ms')
    """
    if figure_us < 1_000:
        return f"{figure_us:.0f} us"
    return f"{figure_us / 1e3:.1f} ms" if figure_us < 10_000 else f"{figure_us / 1e3:,.0f} ms"
