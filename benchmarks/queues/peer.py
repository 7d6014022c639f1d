"""
What a queue is to the comparison: a way to open it, and three verbs.

Jobs are numbered, so that a run can tell whether one was done twice. A peer works as its own documents say that it
should: what it acknowledges with what it takes, in how many commits, is its own affair. Knows no peer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal, Protocol

import attrs

from benchmarks.compare.peer import Place, Serve, in_process

Kind = Literal["embedded", "server"]

JOB_BYTES = 100
HOUR_S = 3600.0


Begin = Callable[[], float]


def job_of(number: int) -> bytes:
    """The value of a job: its number, made as long as the others."""
    return b"%0*d" % (JOB_BYTES, number)


class Jobs(Protocol):
    """One open queue; all of it belongs to one thread."""

    def add(self, numbers: Sequence[int], at_once: int) -> None:
        """Add jobs, `at_once` of them in a commit."""
        ...

    def work(self, begin: Begin, at_once: int) -> list[int]:
        """
        Take jobs, `at_once` of them, and acknowledge each, until the time is over or none is left.

        Returns the numbers of those that were done. `begin()` is called when the worker is ready; it waits for the
        others, and returns until when to work, on the monotonic clock.
        """
        ...

    def delay(self, numbers: Sequence[int]) -> None:
        """Add jobs that are due in an hour; it need not be durable."""
        ...


Open = Callable[[Place], AbstractContextManager[Any]]


@attrs.frozen(eq=False)
class QueuePeer:
    """
    One column of the tables.

    Args:
        notes: how it is set up, in sentences.
        is_durable: whether a job that was acknowledged stays so in a power cut.
        filled: how many jobs a second it does at most, one by one and 100 at a time: as many are there to be done.
        most_pending: with how many jobs pending it is measured at most; 0 leaves that out.
        lacks: what it cannot do, by words of a figure, each with the reason.
    """

    name: str
    notes: str
    kind: Kind
    is_durable: bool
    open: Open
    serve: Serve = in_process
    packages: Mapping[str, str] = attrs.field(factory=dict)
    programs: Mapping[str, str] = attrs.field(factory=dict)
    filled: tuple[int, int] = (20_000, 400_000)
    most_pending: int = 0
    lacks: Mapping[str, str] = attrs.field(factory=dict)

    def lack(self, figure: str) -> str | None:
        """Why it has no such figure; None if it has."""
        return next((reason for words, reason in self.lacks.items() if words in figure), None)


def parts(numbers: Sequence[int], at_once: int) -> Iterator[Sequence[int]]:
    """The numbers in parts of a size."""
    for start in range(0, len(numbers), at_once):
        yield numbers[start : start + at_once]


@contextmanager
def closing_all(*closes: Callable[[], object]) -> Iterator[None]:
    """Call each at the end of a block."""
    try:
        yield
    finally:
        for close in closes:
            close()
