"""
What the workers did, as values: operations with the time at which each began and ended.

A worker appends one line before the call and one after it, each by one `write` without a buffer, so a `kill -9` can
tear the last line and lose nothing else. An operation without its last line may have been done or not. The time is
CLOCK_MONOTONIC, which is one for all processes.

All that a log holds is seen as lists that only grow: the records of a partition, those of a key, all records in the
order of the log, a row of a state (whose value is a list), the offset of a group. Every element is unique and tells
by its name who wrote it. A *place* names such a list. Knows nothing of what a good history is.
"""

from __future__ import annotations

import json
import os
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, Self

import attrs

ENDLESS = 1 << 62
"""When an operation ended of which nobody knows the end."""

ORDER = "order"
"""The place of all records of the log."""

_LONGEST_LINE = 400


def partition_place(topic: str, partition: int) -> str:
    """The place of the records of a partition, by offset."""
    return f"{topic}/{partition}"


def key_place(topic: str, key: str) -> str:
    """The place of the records of a key, by version; the first one has index 0."""
    return f"{topic}@{key}"


def row_place(state: str, key: str) -> str:
    """The place of a row, whose value is the list."""
    return f"{state}[{key}]"


def offset_place(group: str, topic: str, partition: int) -> str:
    """The place of the offset of a group: it has as many elements as there are finished records."""
    return f"{group}:{topic}/{partition}"


class Sent(NamedTuple):
    """A record that is to be stored: in this partition, or in any; `key` counts where the topic has an index."""

    topic: str
    partition: int | None
    key: str | None
    element: str


class Put(NamedTuple):
    """An element that is to be appended to a row."""

    place: str
    element: str


class Advance(NamedTuple):
    """An offset that is to be stored, and the one before it."""

    place: str
    first: int
    end: int


class Stored(NamedTuple):
    """Says where a record is, as the call told; `version` is None where the topic has no index."""

    partition: int
    offset: int
    log_position: int
    version: int | None


class Read(NamedTuple):
    """
    A read of a place: the elements from index `first` on.

    If `is_end`, there were no others at that moment; else there may have been.
    """

    place: str
    first: int
    elements: tuple[str, ...]
    is_end: bool

    @property
    def total(self) -> int:
        """How many elements the place had at least."""
        return self.first + len(self.elements)

    def __str__(self) -> str:
        seen = ", ".join(self.elements if len(self.elements) < 4 else ("...", *self.elements[-3:]))
        return f"{self.place} from {self.first}: [{seen}{']' if self.is_end else ', ...'}"


@attrs.frozen
class Writes:
    """All that an operation is to write, in order; all of it, or nothing, unless the kind says otherwise."""

    records: tuple[Sent, ...] = ()
    puts: tuple[Put, ...] = ()
    advances: tuple[Advance, ...] = ()

    @property
    def elements(self) -> list[str]:
        """The names of all that is new."""
        return [one.element for one in self.records] + [one.element for one in self.puts]

    def __bool__(self) -> bool:
        return bool(self.records or self.puts or self.advances)

    def __str__(self) -> str:
        parts = [f"{one.topic}/{'?' if one.partition is None else one.partition} {one.element}" for one in self.records]
        parts += [f"{one.place} {one.element}" for one in self.puts]
        parts += [f"{one.place} {one.first} to {one.end}" for one in self.advances]
        return ", ".join(parts)

    def to_json(self) -> list[Any]:
        """Lists of lists."""
        return [self.records, self.puts, self.advances]

    @classmethod
    def of_json(cls, lists: Sequence[Any]) -> Writes:
        """The writes of what `to_json` made."""
        records, puts, advances = lists
        return cls(
            tuple(Sent(*one) for one in records),
            tuple(Put(*one) for one in puts),
            tuple(Advance(*one) for one in advances),
        )


NOTHING = Writes()

OK, FAILED, UNKNOWN, WRONG = "ok", "failed", "unknown", "wrong"
"""Outcomes: done; surely not done; nobody knows; and nobody knows, by an error that should not be."""

MESSAGE = "message"
"""The kind of a record with a message id: several operations may try to store the same element."""
SENDS = "sends"
"""The kind of records given to a producer: what is there of them is a beginning, in each partition."""
KAFKA = "kafka"
"""The kind of a transaction of a client of Kafka's: its records have their places before it takes effect."""


@attrs.frozen
class Operation:
    """
    One call, or one transaction with all of its reads.

    All reads with `is_end` are of one moment between `began` and `ended`, together with the writes; the others are of
    that moment or earlier. `refused` are attempts of a transaction that were surely not stored, and `glimpses` what
    these read. `session` names a reader that goes on where its last call ended.
    """

    name: str
    kind: str
    began: int
    ended: int
    outcome: str
    writes: Writes = NOTHING
    reads: tuple[Read, ...] = ()
    stored: tuple[Stored, ...] = ()
    refused: tuple[Writes, ...] = ()
    glimpses: tuple[Read, ...] = ()
    session: str = ""
    note: str = ""

    def __str__(self) -> str:
        end = "..." if self.ended == ENDLESS else f"{self.ended / 1e6:.3f}"
        line = f"{self.began / 1e6:.3f} to {end} ms  {self.name} {self.kind} {self.outcome}"
        if self.writes:
            line += f"; writes {self.writes}"
        if self.reads:
            line += f"; reads {'; '.join(map(str, self.reads))}"
        if self.stored:
            line += f"; stored at {', '.join(f'{one.partition}/{one.offset}' for one in self.stored)}"
        line += f"; {self.note}" if self.note else ""
        return line if len(line) <= _LONGEST_LINE else line[:_LONGEST_LINE] + " ..."


def now_ns() -> int:
    """The time of a line."""
    return time.monotonic_ns()


# --- writing down -------------------------------------------------------------------------------------------------


class Recorder:
    """
    Appends the lines of one thread to a file of its own.

    `name` is unique: the elements that the thread writes begin with it.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._number = 0
        self._file = os.open(folder / f"{name}.operations", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._write("process", os.getpid())

    def begin(self, kind: str, writes: Writes = NOTHING, *, session: str = "") -> str:
        """Says what is going to be called; the name of the operation."""
        self._number += 1
        name = f"{self.name}.{self._number}"
        self._write("begin", name, now_ns(), kind, writes.to_json(), session)
        return name

    def next_name(self) -> str:
        """The name that `begin` will give."""
        return f"{self.name}.{self._number + 1}"

    def attempt(self, name: str, writes: Writes, reads: Sequence[Read] = ()) -> None:
        """Says, before a commit, what it is to store and what was read for it; the attempts before were refused."""
        self._write("attempt", name, now_ns(), writes.to_json(), reads)

    def end(
        self, name: str, outcome: str, reads: Sequence[Read] = (), stored: Sequence[Stored] = (), note: str = ""
    ) -> None:
        """Says what the call returned."""
        self._write("end", name, now_ns(), outcome, reads, stored, note)

    def note(self, kind: str, began: int, reads: Sequence[Read], *, session: str = "") -> None:
        """Says that something was read between a time and now."""
        self._number += 1
        name = f"{self.name}.{self._number}"
        self._write("begin", name, began, kind, NOTHING.to_json(), session)
        self.end(name, OK, reads)

    def _write(self, *fields: object) -> None:
        os.write(self._file, json.dumps(fields, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Obituary:
    """Notes which processes are dead, and since when; they do nothing after that."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "dead"

    def note(self, process_id: int) -> None:
        """Is called when nothing is left of the process."""
        with self._path.open("a", encoding="ascii") as file:
            file.write(f"{process_id} {now_ns()}\n")

    @staticmethod
    def read(folder: Path) -> dict[int, int]:
        """When each process was known to be dead."""
        path = folder / "dead"
        lines = path.read_text("ascii").splitlines() if path.exists() else []
        return {int(process_id): int(at) for process_id, at in (line.split() for line in lines)}


# --- reading back -------------------------------------------------------------------------------------------------


def read_operations(folder: Path) -> list[Operation]:
    """All operations by the time at which they began; times are counted from the first."""
    dead = Obituary.read(folder)
    operations: list[Operation] = []
    for path in sorted(folder.glob("*.operations")):
        operations += _operations_of(path, dead)
    operations = _settled(operations)
    start = min((one.began for one in operations), default=0)
    return [_shifted(one, start) for one in sorted(operations, key=lambda one: one.began)]


def _settled(operations: list[Operation]) -> list[Operation]:
    """
    Has what was unknown end with the first commit that began after its process was dead.

    LMDB writes the root of a commit, and then its number into the memory that processes share, which is where readers
    look. Who is killed between the two has committed what is seen only when another one takes the write lock.
    """
    writes = sorted((one.began, one.ended) for one in operations if one.outcome == OK and one.writes)
    begins = [began for began, _ in writes]
    ends = list(accumulate(reversed([ended for _, ended in writes]), min))[::-1]
    settled = []
    for one in operations:
        if one.outcome == UNKNOWN and one.ended != ENDLESS:
            at = bisect_right(begins, one.ended)
            one = attrs.evolve(one, ended=ends[at] if at < len(ends) else ENDLESS)
        settled.append(one)
    return settled


def _shifted(one: Operation, start: int) -> Operation:
    ended = one.ended if one.ended == ENDLESS else one.ended - start
    return attrs.evolve(one, began=one.began - start, ended=ended)


def lines_of(path: Path) -> Iterator[list[Any]]:
    """The lines of one file; a torn last one is left out."""
    *whole, _ = path.read_bytes().split(b"\n")
    return map(json.loads, whole)


def _operations_of(path: Path, dead: dict[int, int]) -> list[Operation]:
    found: dict[str, Operation] = {}
    attempts: dict[str, list[tuple[Writes, tuple[Read, ...]]]] = {}
    died = ENDLESS
    for what, *fields in lines_of(path):
        if what == "process":
            died = dead.get(fields[0], ENDLESS)
        elif what == "begin":
            name, at, kind, writes, session = fields
            found[name] = Operation(name, kind, at, ENDLESS, UNKNOWN, Writes.of_json(writes), session=session)
        elif what == "attempt":
            name, _, writes, reads = fields
            attempts.setdefault(name, []).append((Writes.of_json(writes), _reads(reads)))
        else:
            name, at, outcome, reads, stored, note = fields
            found[name] = attrs.evolve(
                found[name],
                ended=at,
                outcome=outcome,
                reads=_reads(reads),
                stored=tuple(Stored(*one) for one in stored),
                note=note,
            )
    whole = [_with_attempts(one, attempts.get(name, [])) for name, one in found.items()]
    return [attrs.evolve(one, ended=died) if one.outcome == UNKNOWN else one for one in whole]


def _with_attempts(one: Operation, attempts: list[tuple[Writes, tuple[Read, ...]]]) -> Operation:
    if not attempts:
        return one
    refused = attempts if one.outcome == FAILED else attempts[:-1]
    writes, reads = (NOTHING, ()) if one.outcome == FAILED else attempts[-1]
    return attrs.evolve(
        one,
        writes=writes,
        reads=(*reads, *one.reads),
        refused=tuple(wanted for wanted, _ in refused),
        glimpses=tuple(read for _, seen in refused for read in seen),
    )


def _reads(values: Sequence[Any]) -> tuple[Read, ...]:
    return tuple(Read(place, first, tuple(elements), is_end) for place, first, elements, is_end in values)
