"""
The plots of docs/benchmarks.md: `python -m benchmarks.compare.plots --growth FILE --comparison FILE`.

Made from the JSON of runs alone, as SVG, and the same bytes each time. Text stays text, and colours are those that can
be read on white and on black. Knows nothing of how figures are taken.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.compare.growth_page import size_text
from benchmarks.compare.plots_bars import bars_of
from benchmarks.compare.plots_style import COLOURS, figure, save

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"


class Panel(NamedTuple):
    """One pair of axes: what it shows, in which unit, and which series."""

    title: str
    unit: str
    lines: Sequence[tuple[str, str]]
    """Names of series, and what they are called in the plot."""


PLOTS: dict[str, tuple[Panel, Panel]] = {
    "records": (
        Panel(
            "Storing costs the same",
            "us a record",
            (
                ("append", "append(), durable"),
                ("indexed_append", "append(expected_version=), no disk"),
                ("append_in_memory", "append(), no disk"),
                ("send", "send()"),
                ("append_many", "append_many()"),
            ),
        ),
        Panel(
            "So does finding",
            "us",
            (
                ("open", "open()"),
                ("read_one", "one record, any offset"),
                ("read_time", "first record of a time"),
                ("history", "history() of a key"),
                ("version", "version() of a key"),
            ),
        ),
    ),
    "partitions": (
        Panel(
            "A record: batches get small",
            "us a record",
            (
                ("append", "append() of one"),
                ("append_many", "append_many()"),
                ("send", "send()"),
                ("consume", "reading all"),
            ),
        ),
        Panel(
            "A consumer: what is done for each partition",
            "ms",
            (
                ("second_join", "a second member has its half"),
                ("join", "joining a group"),
                ("commit", "commit() of all"),
                ("one_record", "append() and poll() of one record"),
                ("woken_poll", "poll() after a commit elsewhere"),
                ("open", "open()"),
            ),
        ),
    ),
    "groups": (
        Panel(
            "Groups that are stored cost nothing",
            "us",
            (
                ("join", "joining"),
                ("commit", "commit()"),
                ("append", "append(), durable"),
                ("describe", "describe()"),
                ("list", "list()"),
                ("poll", "poll() of one record"),
            ),
        ),
        Panel(
            "Members that wait are woken",
            "us",
            (
                ("last_waiting", "until the last has the record"),
                ("join_waiting", "one more joins"),
                ("append_waiting", "append(), no disk"),
            ),
        ),
    ),
}
_TO_US = {"ns a record": 1e-3, "us": 1.0, "ms": 1e3}
_IN_US = {"us a record": 1.0, "us": 1.0, "ms": 1e3}
_LEAST_APART = 0.065
"""Labels keep this distance, as a share of the height of the axes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes what the given runs have figures for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare.plots", description="The plots of the docs.")
    add = parser.add_argument
    add("--growth", type=Path, metavar="FILE", help="the JSON of `benchmarks.compare.growth`")
    add("--comparison", type=Path, metavar="FILE", help="the JSON of `benchmarks.compare`")
    add("--images", type=Path, default=IMAGES, metavar="DIRECTORY", help="where the SVGs go (default: docs/images)")
    options = parser.parse_args(arguments)
    options.images.mkdir(parents=True, exist_ok=True)
    written = plots_of(_loaded(options.growth), _loaded(options.comparison), options.images)
    for path in written:
        print(path)
    return 0 if written else 1


def _loaded(path: Path | None) -> Mapping[str, Any] | None:
    return None if path is None else json.loads(path.read_text())


def plots_of(growth: Mapping[str, Any] | None, comparison: Mapping[str, Any] | None, images: Path) -> list[Path]:
    """Writes the plots of two runs, either of which may be missing; the files."""
    plots = {} if growth is None else {f"growth-{one['name']}": growth_plot(one) for one in growth["growths"]}
    if comparison is not None:
        plots |= {f"compare-{name}": bars for name, bars in bars_of(comparison)}
    return [save(plot, images / f"{name}.svg") for name, plot in plots.items()]


def growth_plot(growth: Mapping[str, Any]) -> Any:
    """The two panels of one thing that grows."""
    series = {one["name"]: one for one in growth["series"]}
    drawing, axes = figure(1, 2, height=3.6)
    for place, panel in zip(axes, PLOTS[growth["name"]], strict=True):
        _draw(place, panel, series, growth["sizes"], growth["axis"])
    return drawing


def _draw(axes: Any, panel: Panel, series: Mapping[str, Any], sizes: Sequence[int], axis: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title(panel.title)
    axes.set_xlabel(axis)
    axes.set_ylabel(panel.unit)
    ends = []
    for colour, (name, label) in zip(COLOURS, panel.lines, strict=False):
        points = _points(series[name], sizes, panel.unit)
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, marker="o")
            ends.append((points[-1], label, colour))
    axes.set_xticks(sizes, [size_text(size).replace(" ", "\N{NO-BREAK SPACE}") for size in sizes])
    axes.minorticks_off()
    axes.set_xlim(sizes[0] / 1.5, sizes[-1] * 1.5)
    _widen(axes)
    _label(axes, ends)


def _points(series: Mapping[str, Any], sizes: Sequence[int], unit: str) -> list[tuple[int, float]]:
    factor = _TO_US[series["unit"]] / _IN_US[unit]
    return [(size, figure * factor) for size, figure in zip(sizes, series["figures"], strict=True) if figure]


def _widen(axes: Any) -> None:
    """Whole powers of ten, so that lines which rise a little do not look steep."""
    low, high = axes.get_ylim()
    least, most = 1e-12, 1e12
    for power in range(-12, 13):
        if 10.0**power <= low:
            least = 10.0**power
        if 10.0**power >= high:
            most = 10.0**power
            break
    axes.set_ylim(least, most)
    axes.yaxis.set_major_formatter(lambda figure, _: f"{figure:,.0f}" if figure >= 1 else f"{figure:g}")


def _label(axes: Any, ends: Sequence[tuple[tuple[int, float], str, str]]) -> None:
    """Names each line at its end, moved up or down where names would touch."""
    low, high = map(math.log10, axes.get_ylim())
    wanted = sorted(((math.log10(point[1]) - low) / (high - low), label, colour) for point, label, colour in ends)
    heights = spread([height for height, _, _ in wanted], _LEAST_APART)
    for (_, label, colour), height in zip(wanted, heights, strict=True):
        axes.annotate(label, (1.02, height), xycoords="axes fraction", color=colour, va="center", annotation_clip=False)


def spread(heights: Sequence[float], least: float) -> list[float]:
    """
    Rising heights moved as little as need be to be `least` apart.

    Example:
        >>> [round(height, 3) for height in spread([0.1, 0.5, 0.51], 0.1)]
        [0.1, 0.455, 0.555]
    """
    clusters: list[tuple[float, int]] = []
    for height in heights:
        clusters.append((height, 1))
        while len(clusters) > 1:
            (below, below_count), (above, above_count) = clusters[-2:]
            if above - below >= least * (below_count + above_count) / 2 - 1e-9:
                break
            count = below_count + above_count
            clusters[-2:] = [((below * below_count + above * above_count) / count, count)]
    return [middle + least * (place - (count - 1) / 2) for middle, count in clusters for place in range(count)]


if __name__ == "__main__":
    sys.exit(main())
