"""
Waiting until somebody commits.

A reader subscribes to subjects: the ids of the topics that it reads, and the number of its group. A commit notifies
the readers subscribed to one of its subjects, in all processes. A notification may be lost, a record never: a wait
compares the commit number every 100 ms.
"""

from __future__ import annotations

import zlib
from collections.abc import Set as AbstractSet
from typing import Protocol

RECHECK_SECONDS = 0.1
"""A waiting reader compares the commit number this often: a notification may be lost."""
GLANCE_SECONDS = 1.0
"""So long a glance that tells that nothing has happened is enough for those who wait; then they look."""


SCHEDULES_SUBJECT = -(1 << 34)
"""The subject of schedules, below those of all commits of groups: whoever sends them learns of one that is earlier."""


def group_subject(group: str) -> int:
    """The subject of a group: below zero, where no topic has its id; two groups may share one."""
    return ~zlib.crc32(group.encode())


def commits_subject(group: str) -> int:
    """The subject of what a group commits, below those of groups: only its subscribers are notified of it."""
    return group_subject(group) - (1 << 32)


def is_quiet(subject: int) -> bool:
    """Whether a subject says nothing to a reader of everything: no record, no group and no topic has changed."""
    return subject < -(1 << 32)


class Listener(Protocol):
    """
    One reader's place to be notified; nothing of it blocks.

    `wake` may be called by any thread and by a signal handler; all else belongs to the reader's thread.
    """

    def subscribe(self, subjects: AbstractSet[int] | None = None) -> bool:
        """
        Be notified of these subjects from now on, of everything when they are None.

        True when that is new: then look at the log once more before waiting, because what was committed before does
        not notify us.
        """
        ...

    def watch(self, descriptors: AbstractSet[int]) -> None:
        """Let a wait end also when the other side of one of these pipes is gone."""
        ...

    def fileno(self) -> int | None:
        """
        A descriptor that is readable from a notification or a `wake()` on until `drain()`; None where there is none.

        It is readable at first. Subscribe before. `wait_until` leaves it readable from then on.
        """
        ...

    def drain(self) -> bool:
        """
        Take the notifications that have come; whether there were any.

        Never blocks. Look at the log after it, not before: what is committed later makes the descriptor readable again.
        """
        ...

    def wake(self) -> None:
        """End a wait that runs now, or else the next one."""
        ...

    def close(self) -> None:
        """Give the place up."""
        ...

    def forget(self) -> None:
        """Leave the parent's place alone, in a forked child."""
        ...


class Waiter(Listener, Protocol):
    """A place to be notified whose reader may block until then."""

    @property
    def is_notified(self) -> bool:
        """Whether notifications end a wait; where there are no FIFOs it only looks at the time."""
        ...

    def wait_until(self, until_s: float, seen: int | None) -> None:
        """
        Block until a notification, `wake()`, the end of a watched pipe, or a moment of the monotonic clock.

        If the newest commit is another than `seen`, it ends within 100 ms even if the notification was lost. Ctrl-C
        ends it.
        """
        ...

    def sleep(self, deadline_s: float | None, longest_s: float, seen: int) -> bool:
        """
        Block until a commit of anything, as `wait_until` does, for `longest_s` at most; False after the deadline.

        The first call subscribes to everything and returns at once: look at the log once more. Below zero, `seen` is
        not compared.
        """
        ...


class WaitingBackend(Protocol):
    """What a reader needs to wait for commits."""

    def waiter(self) -> Waiter:
        """A place to wait; nothing is notified before it subscribes."""
        ...
