"""The progress of long work: a bar on stderr where that is a terminal, and nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Self


class Progress:
    """
    A bar that is there for the length of a `with` block; rich is imported only where it is shown.

    Args:
        label: what is going on, in a word or two.
        total: what there is to do; None: nobody knows.
        in_bytes: whether that is a number of bytes.
        look: called by the bar itself for what is done, for work that does not tell; in a thread of rich.
    """

    def __init__(
        self, label: str, total: int | None, *, in_bytes: bool = False, look: Callable[[], int] | None = None
    ) -> None:
        self._label = label
        self._total = total
        self._in_bytes = in_bytes
        self._look = look
        self._bar: Any = None
        self._task: Any = None

    @property
    def is_shown(self) -> bool:
        """Whether there is a terminal to show it on."""
        return sys.stderr.isatty()

    def done(self, amount: int) -> None:
        """Show how much is done in all."""
        if self._bar is not None:
            self._bar.update(self._task, completed=amount)

    def done_of(self, amount: int, total: int) -> None:
        """Show how much is done, and how much there is to do."""
        if self._bar is not None:
            self._bar.update(self._task, completed=amount, total=total)

    def __enter__(self) -> Self:
        if self.is_shown:
            self._bar = _bar(self._in_bytes, self._look)
            self._bar.start()
            self._task = self._bar.add_task(self._label, total=self._total)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _bar(in_bytes: bool, look: Callable[[], int] | None) -> Any:  # noqa: FBT001
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    class Bar(Progress):
        def get_renderables(self) -> Any:
            if look is not None:
                for task in self.tasks:
                    task.completed = look()
            return super().get_renderables()

    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn() if in_bytes else MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
