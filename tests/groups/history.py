"""
The history of a group: what its members, its killer and its onlookers did, as values with the time of each.

A process appends one line for each event to a file of its own, by one `write` without a buffer, so a `kill -9` can
tear the last line and lose nothing else. The time is CLOCK_MONOTONIC, which is one for all processes. An event
that says something before it is done ("I ask for more") is on its way before the call it speaks of; one that says
something afterwards ("I was handed this") is not. Knows nothing of what a good history is.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import attrs

Place = tuple[str, int]
"""A topic's name and the number of a partition."""

NOT_COMMITTED = -1


class Offset(NamedTuple):
    """An offset of one partition."""

    topic: str
    partition: int
    offset: int

    @property
    def place(self) -> Place:
        """The partition."""
        return self.topic, self.partition


class Batch(NamedTuple):
    """A run of records of one partition from offset `first` on: the key of each, and its number within the key."""

    topic: str
    partition: int
    first: int
    keys: tuple[str, ...]
    sequences: tuple[int, ...]

    @property
    def place(self) -> Place:
        """The partition."""
        return self.topic, self.partition

    @property
    def end(self) -> int:
        """The offset after the last record."""
        return self.first + len(self.keys)


def _offsets(values: Iterable[Sequence[Any]]) -> tuple[Offset, ...]:
    return tuple(Offset(*value) for value in values)


def _places(values: Iterable[Sequence[Any]]) -> tuple[Place, ...]:
    return tuple((topic, partition) for topic, partition in values)


def _batches(values: Iterable[Sequence[Any]]) -> tuple[Batch, ...]:
    return tuple(Batch(topic, number, first, tuple(keys), tuple(rest)) for topic, number, first, keys, rest in values)


@attrs.frozen
class Event:
    """Something that happened: `at` is the time in ns, taken just before the line was written."""

    kinds: ClassVar[dict[str, type[Event]]] = {}

    at: int

    def __init_subclass__(cls) -> None:
        cls.kinds[cls.__name__] = cls

    def __str__(self) -> str:
        fields = attrs.fields(type(self))[1:]
        rest = ", ".join(f"{field.name}={_short(getattr(self, field.name))}" for field in fields)
        return f"{self.at / 1e9:.6f} {type(self).__name__}({rest})"


def _short(value: object) -> str:
    if isinstance(value, Batch):
        return f"{value.topic}[{value.partition}] {value.first}..{value.end - 1}"
    if isinstance(value, Offset):
        return f"{value.topic}[{value.partition}] {value.offset}"
    if isinstance(value, tuple) and value and isinstance(value[0], tuple):
        return "(" + ", ".join(map(_short, value)) + ")"
    return repr(value)


@attrs.frozen
class ByMember(Event):
    """An event that a member wrote; the events of one member are in the order in which it wrote them."""

    member: str


@attrs.frozen
class Joining(ByMember):
    """
    Says who the member is.

    `calls_per_look` is for how many calls the library need not have looked at the group: 1 for `poll`, which looks
    each time, and the longest chunk for a loop, whose records were handed out in one look.
    """

    process_id: int
    calls_per_look: int
    is_automatic: bool
    """Whether the library commits by itself."""
    instance_id: str | None = None


@attrs.frozen
class Asking(ByMember):
    """Precedes a call for more records, which says that all records handed out before are finished."""


@attrs.frozen
class Assigned(ByMember):
    """A call of `on_assigned`, with the position in each partition."""

    starts: tuple[Offset, ...] = attrs.field(converter=_offsets)


@attrs.frozen
class Revoked(ByMember):
    """The last deed of `on_revoked`."""

    places: tuple[Place, ...] = attrs.field(converter=_places)


@attrs.frozen
class Lost(ByMember):
    """A call of `on_lost`."""

    places: tuple[Place, ...] = attrs.field(converter=_places)


@attrs.frozen
class Handed(ByMember):
    """Says what a call for more returned."""

    batches: tuple[Batch, ...] = attrs.field(converter=_batches)


@attrs.frozen
class Committing(ByMember):
    """Precedes `commit()`, with all offsets that it is to store."""

    offsets: tuple[Offset, ...] = attrs.field(converter=_offsets)


@attrs.frozen
class Committed(ByMember):
    """Says that the `commit()` before returned."""


@attrs.frozen
class Fenced(ByMember):
    """Says that the `commit()` before raised `MemberFenced`."""


@attrs.frozen
class Closing(ByMember):
    """Precedes `close()`."""


@attrs.frozen
class Closed(ByMember):
    """Says that `close()` returned."""


@attrs.frozen
class Failed(ByMember):
    """An error that no member should meet."""

    error: str


@attrs.frozen
class Stalled(Event):
    """Says that a process did not run from `began` to now, as a thread of its own noticed."""

    process_id: int
    began: int


@attrs.frozen
class Stopped(Event):
    """Precedes SIGSTOP."""

    process_id: int


@attrs.frozen
class Continued(Event):
    """Follows SIGCONT."""

    process_id: int


@attrs.frozen
class Killed(Event):
    """Precedes SIGKILL."""

    process_id: int


@attrs.frozen
class Stored(Event):
    """Says that records were acknowledged to a producer."""

    batches: tuple[Batch, ...] = attrs.field(converter=_batches)


@attrs.frozen
class Observed(Event):
    """Holds the committed offsets, or NOT_COMMITTED, as they were read between `began` and now."""

    began: int
    offsets: tuple[Offset, ...] = attrs.field(converter=_offsets)


@attrs.frozen
class Quiet(Event):
    """Says that the last fault is over."""


@attrs.frozen
class Ended(Event):
    """Holds the end of each partition, after the last record was stored."""

    offsets: tuple[Offset, ...] = attrs.field(converter=_offsets)


@attrs.frozen
class Judged(Event):
    """The time at which all must have settled; `most_spread` is by how many partitions two members may differ."""

    most_spread: int


def now_ns() -> int:
    """The time of an event."""
    return time.monotonic_ns()


class Scribe:
    """Appends events to a file; any thread may."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, event: Event) -> None:
        """Appends one line."""
        os.write(self._file, line_of(event))

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def line_of(event: Event) -> bytes:
    """The line of an event."""
    fields = [getattr(event, field.name) for field in attrs.fields(type(event))]
    return json.dumps([type(event).__name__, *fields], separators=(",", ":")).encode() + b"\n"


def event_of(line: bytes) -> Event:
    """The event of a line."""
    kind, *fields = json.loads(line)
    return Event.kinds[kind](*fields)


def read_history(folder: Path) -> list[Event]:
    """All events in the order of time, those of one file in the order of the file; a torn last line is left out."""
    events = []
    for path in sorted(folder.glob("*.events")):
        *whole, _ = path.read_bytes().split(b"\n")
        events += [event_of(line) for line in whole]
    return sorted(events, key=lambda event: event.at)
