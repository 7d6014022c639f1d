"""
How a plot looks, and how it is written: the same bytes for the same figures.

Colours have enough contrast on white and on nearly black, and the background is that of the page. Knows nothing of
what is plotted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

INK = "#808890"
COLOURS = ("#d1495b", "#2f8fd8", "#2e9e6b", "#c98512", "#9067d0", "#3aa0a8")
OURS = "#2f8fd8"
_STYLE = {
    "svg.hashsalt": "eventlog",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.minor.visible": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.0,
    "savefig.transparent": True,
}


def figure(rows: int, columns: int, *, height: float) -> tuple[Any, Any]:
    """A figure as wide as the text of a page, and its axes in a flat list."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update(_STYLE)
    drawing = Figure(figsize=(10.4, height), layout="constrained")
    axes = drawing.subplots(rows, columns, squeeze=False)
    return drawing, list(axes.flat)


def save(drawing: Any, path: Path) -> Path:
    """Writes the SVG, without the moment and the maker."""
    drawing.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line.rstrip() for line in lines) + "\n")
    return path
