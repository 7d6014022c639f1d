"""What a config is by Kafka's terms, of a topic or of a group, and the error for one that cannot be."""

from __future__ import annotations

from typing import Final

from eventlog.backend.kafka import KafkaRefusal
from eventlog.named_tuples import NamedTuple

BOOLEAN, STRING, INT, LONG, DOUBLE, LIST = 1, 2, 3, 5, 6, 7
"""Kafka's numbers for the types of configs."""
_MOST_LONG: Final = 2**63 - 1


class Config(NamedTuple):
    """One config: its type, its default, the least and the most of a number, and the words that there are."""

    type: int
    default: str
    least: float = -(2**63)
    most: float = _MOST_LONG
    words: tuple[str, ...] = ()


def refused(why: str, code: str = "INVALID_CONFIG") -> KafkaRefusal:
    """The error for a config that cannot be."""
    return KafkaRefusal(why, code=code, stored="Nothing was changed.", advice="")
