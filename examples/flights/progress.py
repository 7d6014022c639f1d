"""
A progress bar, or lines of text where a bar makes no sense.

The bar needs a terminal and the package `rich`. A pipe, a file or a terminal without `rich` gets plain lines, at most
one a second.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO

Advance = Callable[[int], None]
"""Called with the number of records done since the last call."""

STEP: Final = 8_192
"""Records between two calls of `Advance` that suit a loop over single records: too few to stall, too many to cost."""

_LINE_INTERVAL_S: Final = 1.0


@contextmanager
def progress(label: str, total: int, out: TextIO) -> Iterator[Advance]:
    """
    Show the progress from 0 to `total` records while the block runs.

    Example:
        >>> import io
        >>> with progress("count", 2, io.StringIO()) as advance:
        ...     advance(2)
    """
    show = _bar if _can_draw(out) else plain_lines
    with show(label, total, out) as advance:
        yield advance


@contextmanager
def plain_lines(
    label: str, total: int, out: TextIO, *, clock_s: Callable[[], float] = time.monotonic
) -> Iterator[Advance]:
    """Write a line when at least a second has passed since the last one; a short block writes none."""
    done = 0
    next_line_s = clock_s() + _LINE_INTERVAL_S

    def advance(count: int) -> None:
        nonlocal done, next_line_s
        done += count
        now_s = clock_s()
        if now_s >= next_line_s:
            next_line_s = now_s + _LINE_INTERVAL_S
            out.write(f"   {label}: {done:,} of {total:,} records\n")
            out.flush()

    yield advance


@contextmanager
def _bar(label: str, total: int, out: TextIO) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
    )

    columns = (
        TextColumn("   {task.description}"),
        BarColumn(bar_width=40),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    started_s = time.monotonic()
    with Progress(*columns, console=Console(file=out)) as bar:
        task = bar.add_task(label, total=total, rate="")

        def advance(count: int) -> None:
            done = bar.tasks[0].completed + count
            rate = done / max(time.monotonic() - started_s, 1e-6)
            bar.update(task, advance=count, rate=f"{rate:,.0f} records/s")

        yield advance


def _can_draw(out: TextIO) -> bool:
    if not out.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return False
    return importlib.util.find_spec("rich") is not None
