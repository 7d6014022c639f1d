"""The plot of a run of `python -m benchmarks.retention`: the size of the file, window by window, with and without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.compare.plots_style import COLOURS, INK, OURS, figure, save

_COLUMNS = 2
_TOP_FACTOR = 1.6
"""How far above the bound the axis ends: without the cleaner a file leaves the plot."""


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """One pair of axes for each shape, with the bound as a dashed line."""
    lines = -(-len(rows) // _COLUMNS)
    drawing, axes = figure(lines, _COLUMNS, height=2.4 * lines)
    for place, row in zip(axes, rows, strict=False):
        bound_mb = row["bound_bytes"] / 1e6
        for name, colour, label in (("without", COLOURS[0], "nothing deleted"), ("with", OURS, "with retention")):
            windows, sizes = zip(*row[name]["growth"], strict=True)
            place.plot(windows, sizes, color=colour, label=label)
        place.axhline(bound_mb, color=INK, linestyle="--", linewidth=1.0, label="1.2 times what is kept + 64 MB")
        place.set_ylim(0, _TOP_FACTOR * bound_mb)
        place.set_title(row["shape"]["name"])
        place.set_xlabel("windows of retention")
        place.set_ylabel("file, MB")
    axes[0].legend(loc="upper left", frameon=False, fontsize=8)
    for place in axes[len(rows) :]:
        place.set_visible(False)
    return save(drawing, path)
