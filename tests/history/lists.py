"""
The lists that a log holds, put together from all that was ever read of them, and what contradicts itself in that.

Every read, and every acknowledgement, says of some indexes of a list which elements are there. All of them have to
agree, because lists only grow. What is in no list was read by nobody, the last reader included, who reads all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import attrs

from tests.history.operations import (
    FAILED,
    MESSAGE,
    NOTHING,
    OK,
    ORDER,
    SENDS,
    WRONG,
    Operation,
    Read,
    Sent,
    Stored,
    key_place,
    partition_place,
)


@attrs.frozen
class Violation:
    """One rule broken: its short name, a sentence, and the operations that show it."""

    rule: str
    sentence: str
    operations: tuple[Operation, ...] = ()

    def __str__(self) -> str:
        unique = sorted(dict.fromkeys(self.operations), key=lambda one: one.began)
        return "\n    ".join([f"{self.rule}: {self.sentence}", *map(str, unique)])


@attrs.frozen
class Spot:
    """An index of a list."""

    place: str
    index: int

    def __str__(self) -> str:
        return f"{self.place} {self.index}"


@attrs.define(eq=False)
class Book:
    """
    A history, and what follows from it: the lists as they were read, and who wrote what.

    `writers` holds, for each element, the operation that wrote it or may have written it, and `refused` those of
    which that is surely not so.
    """

    operations: Sequence[Operation]
    lists: dict[str, dict[int, str]] = attrs.field(factory=lambda: defaultdict(dict))
    witnesses: dict[str, dict[int, Operation]] = attrs.field(factory=lambda: defaultdict(dict))
    spots: dict[str, list[Spot]] = attrs.field(factory=lambda: defaultdict(list))
    writers: dict[str, Operation] = attrs.field(factory=dict)
    refused: dict[str, Operation] = attrs.field(factory=dict)
    contradictions: list[Violation] = attrs.field(factory=list)

    def witness(self, spot: Spot) -> Operation:
        """Who read first what is there."""
        return self.witnesses[spot.place][spot.index]

    def is_there(self, element: str) -> bool:
        """Whether anybody has read it."""
        return element in self.spots

    def spot(self, element: str, kind: str) -> Spot | None:
        """Where it is in the list of a kind."""
        return next((spot for spot in self.spots.get(element, ()) if kind_of(spot.place) == kind), None)


def book_of(operations: Sequence[Operation]) -> Book:
    """The book of a history."""
    book = Book(merged(operations))
    for one in book.operations:
        if one.outcome == FAILED:
            book.refused.update(dict.fromkeys(one.writes.elements, one))
        else:
            book.writers.update(dict.fromkeys(one.writes.elements, one))
        for writes in one.refused:
            book.refused.update(dict.fromkeys(writes.elements, one))
        for read in (*one.reads, *one.glimpses):
            _note(book, one, read)
    for place, elements in book.lists.items():
        for index, element in elements.items():
            book.spots[element].append(Spot(place, index))
    for one in book.operations:
        for record, stored in zip(one.writes.records, one.stored, strict=False):
            book.contradictions += _contradicted(book, one, record, stored)
    return book


def _note(book: Book, one: Operation, read: Read) -> None:
    elements, witnesses = book.lists[read.place], book.witnesses[read.place]
    for index, element in enumerate(read.elements, read.first):
        known = elements.setdefault(index, element)
        witness = witnesses.setdefault(index, one)
        if known != element:
            sentence = f"index {index} of {read.place} is {known} for one, and {element} for the other"
            book.contradictions.append(Violation("agree", sentence, (witness, one)))
            return


def _contradicted(book: Book, one: Operation, record: Sent, stored: Stored) -> Iterator[Violation]:
    """What others read where a record was said to be; what nobody read there is a matter of another rule."""
    said = [Spot(partition_place(record.topic, stored.partition), stored.offset), Spot(ORDER, stored.log_position)]
    if stored.version is not None and record.key is not None:
        said.append(Spot(key_place(record.topic, record.key), stored.version - 1))
    for spot in said:
        there = book.lists[spot.place].get(spot.index)
        if there is not None and there != record.element:
            sentence = f"{record.element} was acknowledged at {spot}, where {there} is"
            yield Violation("agree", sentence, (one, book.witness(spot)))


def merged(operations: Sequence[Operation]) -> list[Operation]:
    """
    The operations, with all that try to store one message as a single one.

    It was stored between the first begin and the first acknowledgement; who was acknowledged saw it.
    """
    attempts: defaultdict[str, list[Operation]] = defaultdict(list)
    others: list[Operation] = []
    for one in operations:
        if one.kind == MESSAGE and one.outcome != FAILED:
            attempts[one.writes.records[0].element].append(one)
        else:
            others.append(one)
    for same in attempts.values():
        done = [one for one in same if one.outcome == OK]
        ended = min((one.ended for one in done), default=max(one.ended for one in same))
        first = min(done, key=lambda one: one.ended, default=same[0])
        others.append(attrs.evolve(first, began=min(one.began for one in same), ended=ended))
        others += [_as_reader(one) for one in done if one is not first]
        others += [attrs.evolve(one, writes=NOTHING) for one in same if one.outcome == WRONG and one is not first]
    return sorted(others, key=lambda one: one.began)


def _as_reader(one: Operation) -> Operation:
    """What a repeated message shows: that the record is there."""
    record, stored = one.writes.records[0], one.stored[0]
    read = Read(partition_place(record.topic, stored.partition), stored.offset, (record.element,), False)
    also = Read(ORDER, stored.log_position, (record.element,), False)
    return attrs.evolve(one, writes=NOTHING, reads=(read, also), stored=())


def kind_of(place: str) -> str:
    """What a place is a list of: "order", "key", "row", "offset" or "partition"."""
    if place == ORDER:
        return ORDER
    if place.endswith("]"):
        return "row"
    return "key" if "@" in place else "offset" if ":" in place else "partition"


# --- rules about elements -----------------------------------------------------------------------------------------


def no_phantoms(book: Book) -> Iterator[Violation]:
    """What is there was written by somebody who was not refused."""
    for element, spots in book.spots.items():
        if element in book.writers:
            continue
        seen = book.witness(spots[0])
        if element in book.refused:
            sentence = f"{element} is at {spots[0]}, and its writer was refused, or never came to commit"
            yield Violation("refused", sentence, (book.refused[element], seen))
        else:
            yield Violation("phantom", f"{element} is at {spots[0]}, and nobody wrote it there", (seen,))


def in_its_place(book: Book) -> Iterator[Violation]:
    """A record is where it was sent to, and the records of a key are in one partition, unless one was chosen."""
    homes: dict[tuple[str, str], tuple[str, Operation]] = {}
    for one in book.operations:
        for record in one.writes.records:
            spots = {kind_of(spot.place): spot for spot in book.spots.get(record.element, ())}
            found = spots.get("partition")
            if found is None:
                continue
            if record.partition is None:
                is_right = found.place.startswith(f"{record.topic}/")
            else:
                is_right = found.place == partition_place(record.topic, record.partition)
            of_key = spots.get("key")
            if of_key is not None and of_key.place != key_place(record.topic, record.key or ""):
                is_right = False
            if not is_right:
                yield Violation("place", f"{record.element} is at {' and '.join(map(str, spots.values()))}", (one,))
            if record.key is not None and record.partition is None:
                place, other = homes.setdefault((record.topic, record.key), (found.place, one))
                if place != found.place:
                    sentence = f"records of key {record.key} are in {place} and in {found.place}"
                    yield Violation("place", sentence, (other, one))


def once(book: Book) -> Iterator[Violation]:
    """An element is at one index of one list of a kind."""
    for element, spots in book.spots.items():
        kinds = defaultdict(list)
        for spot in spots:
            kinds[kind_of(spot.place)].append(spot)
        for same in kinds.values():
            if len(same) > 1:
                writer = book.writers.get(element)
                shown = (*((writer,) if writer else ()), *(book.witness(spot) for spot in same[:3]))
                yield Violation("once", f"{element} is at {' and at '.join(map(str, same[:3]))}", shown)


def nothing_lost(book: Book) -> Iterator[Violation]:
    """What was acknowledged was read by somebody, in the end at the latest."""
    for one in book.operations:
        if one.outcome == OK:
            missing = [element for element in one.writes.elements if not book.is_there(element)]
            if len(missing) == 1 or (missing and len(missing) == len(one.writes.elements)):
                yield Violation("lost", f"{missing[0]} was acknowledged, and is nowhere", (one,))
            elif missing:
                sentence = f"{len(missing)} of {len(one.writes.elements)} were acknowledged and are nowhere: {missing}"
                yield Violation("lost", sentence, (one,))


def in_the_index(book: Book) -> Iterator[Violation]:
    """In a topic with an index, every record is among those of its key."""
    sent = [
        (one, record, one.stored[at : at + 1])
        for one in book.operations
        for at, record in enumerate(one.writes.records)
    ]
    indexed = {place.partition("@")[0] for place in book.lists if kind_of(place) == "key"}
    indexed |= {record.topic for _, record, stored in sent if stored and stored[0].version is not None}
    for one, record, _ in sent:
        if record.topic in indexed and book.is_there(record.element) and book.spot(record.element, "key") is None:
            place = key_place(record.topic, record.key or "")
            yield Violation("index", f"{record.element} is in {record.topic}, and not in {place}", (one,))


def all_or_nothing(book: Book) -> Iterator[Violation]:
    """What an operation writes is there as a whole, or not at all; of records given to a producer, a beginning."""
    for one in book.operations:
        elements = one.writes.elements
        are_there = [book.is_there(element) for element in elements]
        if all(are_there) or not any(are_there):
            continue
        if one.kind != SENDS:
            missing = [element for element, is_there in zip(elements, are_there, strict=True) if not is_there]
            shown = next(element for element, is_there in zip(elements, are_there, strict=True) if is_there)
            yield Violation("torn", f"{shown} is there, and {', '.join(missing)} of the same commit is not", (one,))


def in_the_order_of_the_calls(book: Book) -> Iterator[Violation]:
    """The records of an operation have the order of their calls in each partition; of sends, no earlier is missing."""
    for one in book.operations:
        if len(one.writes.records) < 2 and len(one.writes.puts) < 2:
            continue
        last: dict[str, tuple[int, str]] = {}
        for element in one.writes.elements:
            for spot in book.spots.get(element, ()):
                if spot.place == ORDER:
                    continue
                index, before = last.get(spot.place, (-1, ""))
                if index > spot.index:
                    sentence = f"{element} is at {spot}, before {before} at {index}, which was written earlier"
                    yield Violation("sequence", sentence, (one,))
                last[spot.place] = (spot.index, element)
        if one.kind == SENDS:
            yield from _holes(book, one)


def _holes(book: Book, one: Operation) -> Iterator[Violation]:
    missing: dict[str, str] = {}
    for record in one.writes.records:
        if record.partition is None:
            continue
        place = partition_place(record.topic, record.partition)
        if not book.is_there(record.element):
            missing.setdefault(place, record.element)
        elif place in missing:
            sentence = f"{record.element} is there, and {missing[place]}, sent before it, is not"
            yield Violation("sequence", sentence, (one,))
