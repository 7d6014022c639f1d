"""The figures as tables: a line for each queue, a column for each figure, and how many times as fast ours is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from benchmarks.queues.catalogue import OURS


@attrs.frozen
class Cell:
    """A figure of one queue: jobs a second and the CPU of each, or why there is none."""

    figure: str
    peer: str
    rate: float | None = None
    cpu_us: float | None = None
    rates: tuple[float, ...] = ()
    reason: str = ""
    is_failure: bool = False

    def as_json(self) -> dict[str, Any]:
        """What the document has of it."""
        return attrs.asdict(self)


def tables(cells: Sequence[Cell]) -> str:
    """The rates, then the CPU, each with how many times better ours is, and below them why figures are missing."""
    missing = dict.fromkeys(
        f"* {one.peer}: {one.figure if one.is_failure else 'some figures are missing'}: {one.reason}."
        for one in cells
        if one.rate is None
    )
    return "\n".join(
        [
            "Jobs a second, and in brackets how many times as many ours does:",
            "",
            *_table(cells, "rate"),
            "",
            "Microseconds of CPU for a job, of all processes and the server, and how many times as many as ours:",
            "",
            *_table(cells, "cpu_us"),
            "",
            *missing,
        ]
    ).rstrip()


def _table(cells: Sequence[Cell], field: str) -> list[str]:
    figures = list(dict.fromkeys(cell.figure for cell in cells))
    peers = list(dict.fromkeys(cell.peer for cell in cells))
    at = {(cell.figure, cell.peer): cell for cell in cells}
    lines = [f"| | {' | '.join(figures)} |", f"| --- |{' ---: |' * len(figures)}"]
    for peer in peers:
        texts = [_text(at.get((figure, peer)), at.get((figure, OURS)), field) for figure in figures]
        lines.append(f"| {peer} | {' | '.join(texts)} |")
    return lines


def _text(cell: Cell | None, ours: Cell | None, field: str) -> str:
    value = None if cell is None else getattr(cell, field)
    if cell is None or value is None:
        return "-"
    own = None if ours is None or ours is cell else getattr(ours, field)
    text = f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
    if own is None:
        return text
    times = own / value if field == "rate" else value / own
    return f"{text} ({times:.1f}x)"
