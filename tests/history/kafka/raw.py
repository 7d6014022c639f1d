"""
A history with offsets as Kafka has them, put into the words of the checker of native histories (`tests.history`).

The checker knows lists without holes. A partition with transactions of Kafka's clients has holes for its readers:
control batches, and what was aborted. So every read writes down the offset of each record that it saw, and where it
ended; here all of them become indexes among the records that anybody saw. A record that one reader saw and another one
did not is a contradiction then, and one of an aborted transaction is there although its writer was refused.

Readers of committed records end at the first open transaction, whatever was committed behind it. An end that is the
first record of a transaction that may have been open then says nothing of what comes behind; every other end is exact.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence

import attrs

from tests.history.lists import kind_of
from tests.history.operations import KAFKA, OK, ORDER, UNKNOWN, Operation, Read, Stored, partition_place

INIT = "init"
"""The kind of InitProducerId: what its id had open is over when it returns."""
NO_POSITION = -1
"""The position of a record of which the call did not tell it."""
Raw = dict[str, dict[int, str]]
"""What is stored at each offset of each partition, the aborted records too."""


def seen(place: str, first: int, found: Iterable[tuple[int, str]], *, end: int | None, is_end: bool) -> Read:
    """
    What was seen of a place from an offset on.

    Args:
        end: every record before this offset was seen; None if that is not known.
        is_end: there were no others at that moment.
    """
    marks = () if end is None else (f"{end}:",)
    return Read(place, first, (*(f"{offset}:{element}" for offset, element in found), *marks), is_end)


def owner_of(element: str) -> str:
    """The operation that wrote an element."""
    return element.rpartition(".")[0]


def id_of(name: str) -> str:
    """The transactional id of an operation: the names of its recorders begin with it."""
    return name.rpartition("-p")[0]


def translated(operations: Sequence[Operation], raw: Raw) -> list[Operation]:
    """The operations with indexes, for the checker."""
    operations = _ended(operations)
    offsets: defaultdict[str, set[int]] = defaultdict(set)
    for one in operations:
        for read in (*one.reads, *one.glimpses):
            if _has_offsets(read.place):
                offsets[read.place].update(offset for offset, element in _parts(read) if element)
        if one.outcome == OK:
            for sent, stored in zip(one.writes.records, one.stored, strict=False):
                offsets[partition_place(sent.topic, stored.partition)].add(stored.offset)
                if stored.log_position != NO_POSITION:
                    offsets[ORDER].add(stored.log_position)
    book = _Book({place: sorted(found) for place, found in offsets.items()}, _opens(operations, raw))
    return [book.translated(one) for one in operations]


def _ended(operations: Sequence[Operation]) -> list[Operation]:
    """Have transactions of which nobody knows the end be over when the next producer of their id has begun."""
    inits: defaultdict[str, list[Operation]] = defaultdict(list)
    for one in operations:
        if one.kind == INIT and one.outcome == OK:
            inits[id_of(one.name)].append(one)
    ended = []
    for one in operations:
        if one.kind == KAFKA and one.outcome == UNKNOWN:
            later = [init.ended for init in inits[id_of(one.name)] if init.began >= one.began]
            one = attrs.evolve(one, ended=min(later, default=one.ended))
        ended.append(one)
    return ended


def _opens(operations: Sequence[Operation], raw: Raw) -> dict[tuple[str, int], Operation]:
    """The transactions of Kafka's clients by the places of their first records."""
    transactions = {one.name: one for one in operations if one.kind == KAFKA}
    found: dict[tuple[str, int], Operation] = {}
    for place, elements in raw.items():
        known = set()
        for offset in sorted(elements):
            owner = owner_of(elements[offset])
            if owner in transactions and owner not in known:
                known.add(owner)
                found[place, offset] = transactions[owner]
    return found


def _has_offsets(place: str) -> bool:
    """Whether it is a partition, or the whole log; not a row, nor the offset of a group."""
    return kind_of(place) in {"partition", ORDER}


def _parts(read: Read) -> list[tuple[int, str]]:
    """The offsets and the elements; an empty element marks the end."""
    parts = [one.split(":", 1) for one in read.elements]
    return [(int(offset), element) for offset, element in parts]


@attrs.frozen
class _Book:
    offsets: dict[str, list[int]]
    opens: dict[tuple[str, int], Operation]

    def translated(self, one: Operation) -> Operation:
        return attrs.evolve(
            one,
            reads=tuple(self._read(one, read) for read in one.reads),
            glimpses=tuple(self._read(one, read) for read in one.glimpses),
            stored=tuple(
                self._stored(sent.topic, stored) for sent, stored in zip(one.writes.records, one.stored, strict=False)
            ),
        )

    def _index(self, place: str, offset: int) -> int:
        return bisect_left(self.offsets.get(place, ()), offset)

    def _stored(self, topic: str, stored: Stored) -> Stored:
        index = self._index(partition_place(topic, stored.partition), stored.offset)
        known = stored.log_position != NO_POSITION
        return Stored(
            stored.partition, index, self._index(ORDER, stored.log_position) if known else NO_POSITION, stored.version
        )

    def _read(self, one: Operation, read: Read) -> Read:
        if not _has_offsets(read.place):
            return read
        parts = _parts(read)
        marks = [offset for offset, element in parts if not element]
        found = [(offset, element) for offset, element in parts if element]
        first = self._index(read.place, read.first)
        # An index that the reader has passed by makes the next element contradict what others saw there.
        elements = [element for _, element in found]
        if marks:
            missing = self._index(read.place, marks[0]) - first - len(elements)
            elements += [f"nothing before {marks[0]} of {read.place}"] * min(1, max(0, missing))
        return Read(read.place, first, tuple(elements), read.is_end and not self._is_explained(one, read, marks))

    def _is_explained(self, one: Operation, read: Read, marks: Sequence[int]) -> bool:
        """Whether a transaction that may have been open then begins where a read ended."""
        if read.place == ORDER:  # nobody reads the positions of what was aborted
            return any(open_.began <= one.ended and one.began <= open_.ended for open_ in self.opens.values())
        open_ = self.opens.get((read.place, marks[0])) if marks else None
        return open_ is not None and open_.began <= one.ended and one.began <= open_.ended
