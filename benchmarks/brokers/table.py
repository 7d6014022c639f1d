"""The figures as a table: a line for each figure, a column for each broker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs


@attrs.frozen
class Cell:
    """One figure of one broker, or why there is none."""

    figure: str
    broker: str
    value: float | None
    reason: str = ""
    is_failure: bool = False

    def as_json(self) -> dict[str, Any]:
        """What the document has of it."""
        return attrs.asdict(self)


def table(cells: Sequence[Cell]) -> str:
    """The table in Markdown, and below it why figures are missing."""
    figures = list(dict.fromkeys(cell.figure for cell in cells))
    brokers = list(dict.fromkeys(cell.broker for cell in cells))
    at = {(cell.figure, cell.broker): cell for cell in cells}
    lines = [f"| | {' | '.join(brokers)} |", f"| --- |{' ---: |' * len(brokers)}"]
    for figure in figures:
        texts = [_text(at.get((figure, broker))) for broker in brokers]
        lines.append(f"| {figure} | {' | '.join(texts)} |")
    missing = [f"* {cell.broker}: {cell.figure}: {cell.reason}." for cell in cells if cell.value is None]
    return "\n".join([*lines, *([""] if missing else []), *missing])


def _text(cell: Cell | None) -> str:
    if cell is None or cell.value is None:
        return "" if cell is None else "-"
    return (
        f"{cell.value:,.0f}" if cell.value >= 100 else f"{cell.value:.2g}" if cell.value < 10 else f"{cell.value:.1f}"
    )
