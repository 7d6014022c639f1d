"""
How cost grows, as Markdown for docs/benchmarks.md and as tables for a terminal.

Made from the JSON of a run alone, so it cannot say anything else. Knows nothing of how figures are taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TITLES = {
    "records": "How cost grows with the records",
    "partitions": "How cost grows with the partitions",
    "groups": "How cost grows with the groups",
}
_TEXTS = {
    "records": """\
Values of 100 bytes in one partition of one log.
Each figure is that of the next call in a log which holds so many records; reads are at random places, of a file that
is in the system's cache as far as it fits.
An entity of the indexed topic has 10 events; that log is on a file system in memory.""",
    "partitions": """\
The same records with random keys, in a topic of so many partitions, each topic in a log of its own.
What is done for each partition grows with them: making a consumer, handing partitions over, committing all of them.
What happens in one of them, or elsewhere in the log, does not.
More partitions also mean smaller batches, and a batch costs more than a record.""",
    "groups": """\
Groups of one topic with 4 partitions.
At first they have committed offsets and no members; then a member of each waits, in a thread of another process.
Whoever appends wakes all that wait, so an append grows with those; groups that do not wait cost nothing.
With some hundred threads in one process most of it is the interpreter: a thread that waits for its lock asks for it
every 5 ms.""",
}
_IMAGES = "images"


def sections(document: Mapping[str, Any], *, images: str = _IMAGES) -> str:
    """The sections of a run: for each thing that grows a few words, the plot and the table."""
    return "\n\n".join(_section(one, images) for one in document["growths"]) + "\n"


def _section(growth: Mapping[str, Any], images: str) -> str:
    name = growth["name"]
    plot = f"![{_TITLES[name]}]({images}/growth-{name}.svg)"
    parts = [f"## {_TITLES[name]}", _TEXTS[name], plot, markdown_table(growth)]
    if lines := _left_out(growth):
        parts.append("\n".join(["Left out:", "", *lines]))
    return "\n\n".join(parts)


def markdown_table(growth: Mapping[str, Any]) -> str:
    """The figures of one growth, a row for each series, the last column comparing the last size with the first."""
    head, *rows = _cells(growth)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def text_table(growth: Mapping[str, Any]) -> str:
    """The same for a terminal."""
    rows = _cells(growth)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    return "\n".join([*lines, *_left_out(growth)])


def _cells(growth: Mapping[str, Any]) -> list[list[str]]:
    head = [growth["axis"], "unit", *(size_text(size) for size in growth["sizes"]), "times"]
    return [head, *([one["label"], one["unit"], *_figures(one), _times(one)] for one in growth["series"])]


def _figures(series: Mapping[str, Any]) -> list[str]:
    return [figure_text(figure) for figure in series["figures"]]


def _times(series: Mapping[str, Any]) -> str:
    there = [figure for figure in series["figures"] if figure is not None]
    return "-" if len(there) < 2 or there[0] <= 0 else figure_text(there[-1] / there[0])


def _left_out(growth: Mapping[str, Any]) -> list[str]:
    """Why some figures are missing, one line for each reason and size."""
    found: dict[tuple[int, str], list[str]] = {}
    for series in growth["series"]:
        for size, reason in zip(growth["sizes"], series["absent"], strict=True):
            if reason is not None:
                found.setdefault((size, reason), []).append(series["label"])
    total = len(growth["series"])
    return [
        f"* {size_text(size)}: {'all' if len(labels) == total else ', '.join(labels)}: {reason}."
        for (size, reason), labels in found.items()
    ]


def size_text(size: int) -> str:
    """
    A size in few letters.

    Example:
        >>> size_text(100), size_text(10_000), size_text(100_000_000)
        ('100', '10 k', '100 M')
    """
    for bound, letter in ((1_000_000, " M"), (10_000, " k")):
        if size >= bound:
            return f"{size / (1_000 if letter == ' k' else bound):g}{letter}"
    return f"{size:,}"


def figure_text(figure: float | None) -> str:
    """
    A figure with three digits, "-" for one that is missing.

    Example:
        >>> figure_text(123.4), figure_text(12.34), figure_text(0.01234), figure_text(12_345.6), figure_text(None)
        ('123', '12.3', '0.0123', '12,346', '-')
    """
    if figure is None:
        return "-"
    if figure >= 100:
        return f"{figure:,.0f}"
    return f"{figure:.1f}" if figure >= 10 else f"{figure:.3g}"
