"""
Levels of priority of a queue: three topics, for priorities above, at and below 0.

A level goes first as long as it has tasks, except for one in about a thousand of the next: none waits forever.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from eventlog.options import check_topic_name

_LEVELS: Final = ("-high", "", "-low")
_WEIGHTS: Final = (1_000_000, 1_000, 1)


def topic_of(name: str, queue: str, priority: float) -> str:
    """The topic of tasks of one priority."""
    level = 0 if priority > 0 else 2 if priority < 0 else 1
    return f"{name}{_LEVELS[level]}.{queue}"


def topics_of(name: str, queues: Iterable[str]) -> list[str]:
    """
    The topics of some queues.

    Raises:
        ValueError: a queue has a name that no topic can have.
    """
    return [check_topic_name(f"{name}{level}.{queue}") for queue in queues for level in _LEVELS]


def weights_of(topics: list[str]) -> tuple[int, ...]:
    """The weights of these topics."""
    return _WEIGHTS * (len(topics) // len(_LEVELS))


def queues_of(name: str, topics: Iterable[str]) -> set[str]:
    """The queues that have one of these topics."""
    begins = tuple(f"{name}{level}." for level in _LEVELS)
    return {topic.removeprefix(begin) for topic in topics for begin in begins if topic.startswith(begin)}
