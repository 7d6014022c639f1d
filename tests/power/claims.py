"""
What the workload claims: "this is stored now", in the journal, in its order among the writes and syncs.

A claim is made after the call that stored the thing has returned. Each is a kind and some plain values, which
`checks.py` compares with what an image holds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import eventlog
from tests.power.journal import ACKNOWLEDGED, append_frame

Kind = Literal[
    "range",  # topic, partition, first, end, writer, call: records of a call
    "message",  # topic, key, id, partition, offset, writer, call: a record with a message id
    "version",  # topic, key, version
    "snapshot",  # topic, key, version
    "offset",  # group, topic, partition, offset: a group stands there, or further
    "state",  # name, key, number: a row holds this number, or a larger one
    "topic",  # name, partitions
    "deleting",  # name: a topic is about to be deleted
    "gone",  # name: a topic was deleted
    "trimming",  # topic, partition, offset: what comes before is about to be deleted
    "first",  # topic, partition, offset: it was deleted
    "projection",  # name, position
    "deleting group",  # name
    "no group",  # name: a group was deleted
    "syncing",  # number: a call of sync() begins
    "sync",  # number: it has returned
]


INTENTS: frozenset[Kind] = frozenset(("deleting", "trimming", "deleting group"))
"""Claims that are made before the call: from then on the thing may be gone."""
MARKS: frozenset[Kind] = frozenset(("syncing", "sync"))
"""Claims about all that were claimed before."""


_GROWING: frozenset[Kind] = frozenset(
    ("version", "snapshot", "offset", "state", "topic", "trimming", "first", "projection")
)
"""Claims whose last field only grows: the largest says it all."""


class Claim(NamedTuple):
    """One claim."""

    kind: Kind
    fields: tuple[Any, ...]

    @classmethod
    def parse(cls, data: bytes) -> Claim:
        """From the bytes in the journal."""
        kind, *fields = json.loads(data)
        return cls(kind, tuple(fields))

    @property
    def data(self) -> bytes:
        """The bytes in the journal."""
        return json.dumps([self.kind, *self.fields]).encode()


def telling(claims: Iterable[Claim]) -> list[Claim]:
    """The claims without those that a later one repeats with a larger number."""
    others: list[Claim] = []
    largest: dict[tuple[Any, ...], Any] = {}
    for kind, fields in claims:
        if kind in _GROWING:
            thing = (kind, *fields[:-1])
            largest[thing] = max(fields[-1], largest.get(thing, fields[-1]))
        else:
            others.append(Claim(kind, fields))
    return others + [Claim(thing[0], (*thing[1:], number)) for thing, number in largest.items()]


class Claims:
    """Writes claims to the journal. Any thread may call anything."""

    def __init__(self, journal: Path) -> None:
        self._descriptor = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def close(self) -> None:
        """Closes the journal."""
        os.close(self._descriptor)

    def claim(self, kind: Kind, *fields: object) -> None:
        """Writes one."""
        append_frame(self._descriptor, ACKNOWLEDGED, Claim(kind, fields).data)

    def record(self, stored: eventlog.RecordMetadata, writer: int, call: int) -> None:
        """Claims one record."""
        self.claim("range", stored.topic, stored.partition, stored.offset, stored.offset + 1, writer, call)

    def ranges(self, ranges: Iterable[eventlog.PartitionRange], writer: int, call: int) -> None:
        """Claims the records of one call of `append_many`."""
        for stored in ranges:
            self.claim("range", stored.topic, stored.partition, stored.first, stored.end, writer, call)
