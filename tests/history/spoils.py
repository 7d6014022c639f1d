"""
One change that makes a right history wrong, at a random place of it.

Each is made where the history is surely wrong with it: what nobody saw, or what may have been so, cannot be found.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import attrs

from tests.history.lists import book_of
from tests.history.operations import (
    FAILED,
    MESSAGE,
    OK,
    ORDER,
    SENDS,
    Advance,
    Operation,
    Put,
    Read,
    Sent,
    Stored,
    Writes,
    row_place,
)
from tests.history.stories import ROWS, TOPIC

Spoil = Callable[[list[Operation], random.Random], bool]
"""Changes a history in place; False when it has nothing to be spoiled in this way."""


def _pick(history: list[Operation], chance: random.Random, suits: Callable[[Operation], bool]) -> int | None:
    places = [place for place, one in enumerate(history) if suits(one)]
    return chance.choice(places) if places else None


def _end(history: list[Operation]) -> int:
    """Where the last looks begin."""
    return next(place for place, one in enumerate(history) if one.kind == "end")


def _is_written(one: Operation) -> bool:
    return bool(one.outcome == OK and one.writes.elements and one.kind != MESSAGE)


def _replace(history: list[Operation], place: int, **changes: Any) -> bool:
    history[place] = attrs.evolve(history[place], **changes)
    return True


def _change_read(one: Operation, number: int, **changes: Any) -> Operation:
    reads = list(one.reads)
    reads[number] = reads[number]._replace(**changes)
    return attrs.evolve(one, reads=tuple(reads))


# --- elements -------------------------------------------------------------------------------------------------------


def acknowledge_what_is_not_there(history: list[Operation], chance: random.Random) -> bool:
    """A record that nobody has read was acknowledged."""
    place = chance.randrange(_end(history))
    began = history[place].began
    writes = Writes((Sent(TOPIC, 0, None, "new"),))
    history.insert(place, Operation("9.1", "append", began, began + 1, OK, writes))
    return True


def refuse_what_is_there(history: list[Operation], chance: random.Random) -> bool:
    """What was stored was refused."""
    place = _pick(history, chance, _is_written)
    return place is not None and _replace(history, place, outcome=FAILED, stored=())


def forget_a_writer(history: list[Operation], chance: random.Random) -> bool:
    """Nobody wrote what is there."""
    place = _pick(history, chance, _is_written)
    if place is not None:
        del history[place]
    return place is not None


def store_a_refused_attempt(history: list[Operation], chance: random.Random) -> bool:
    """An attempt that was refused is the one that is there."""
    place = _pick(history, chance, lambda one: bool(one.refused and one.outcome == OK))
    if place is None:
        return False
    one = history[place]
    return _replace(history, place, writes=one.refused[-1], refused=(one.writes,), stored=())


def store_twice(history: list[Operation], chance: random.Random) -> bool:
    """A partition ends with an element that it has already."""
    place = _pick(
        history, chance, lambda one: one.kind == "end" and "/" in one.reads[0].place and ":" not in one.reads[0].place
    )
    if place is None:
        return False
    elements = history[place].reads[0].elements
    history[place] = _change_read(history[place], 0, elements=(*elements, chance.choice(elements)))
    return True


def tear(history: list[Operation], chance: random.Random) -> bool:
    """A commit had one part more, which is not there."""
    place = _pick(history, chance, lambda one: bool(one.writes.puts) and one.outcome == OK)
    if place is None:
        return False
    writes = history[place].writes
    return _replace(history, place, writes=attrs.evolve(writes, puts=(*writes.puts, Put(row_place(ROWS, "9"), "new"))))


def tear_an_unknown_one(history: list[Operation], chance: random.Random) -> bool:
    """The same of one that was killed, and is there."""
    there = {element for one in history for read in one.reads for element in read.elements}
    place = _pick(history, chance, lambda one: bool(one.outcome == "unknown" and there & set(one.writes.elements)))
    if place is None or history[place].kind in (SENDS, MESSAGE):
        return False
    writes = history[place].writes
    return _replace(history, place, writes=attrs.evolve(writes, puts=(Put(row_place(ROWS, "9"), "new"),)))


def swap_in_a_call(history: list[Operation], chance: random.Random) -> bool:
    """Two records of one partition were given in the other order."""

    def neighbours(one: Operation) -> list[tuple[int, int]]:
        records = one.writes.records
        return [
            (first, second)
            for first in range(len(records))
            for second in range(first + 1, len(records))
            if (records[first].partition, records[first].key) == (records[second].partition, records[second].key)
        ]

    place = _pick(history, chance, lambda one: bool(_is_written(one) and neighbours(one)))
    if place is None:
        return False
    records = list(history[place].writes.records)
    first, second = chance.choice(neighbours(history[place]))
    records[first], records[second] = records[second], records[first]
    return _replace(history, place, writes=attrs.evolve(history[place].writes, records=tuple(records)), stored=())


def swap_for_one_reader(history: list[Operation], chance: random.Random) -> bool:
    """Two elements stand in another order for one reader."""
    place = _pick(history, chance, lambda one: any(len(read.elements) > 1 for read in one.reads))
    if place is None:
        return False
    number = next(number for number, read in enumerate(history[place].reads) if len(read.elements) > 1)
    elements = list(history[place].reads[number].elements)
    elements[0], elements[1] = elements[1], elements[0]
    if sum(elements[0] in read.elements for one in history for read in one.reads) < 2:
        return False
    history[place] = _change_read(history[place], number, elements=tuple(elements))
    return True


def acknowledge_elsewhere(history: list[Operation], chance: random.Random) -> bool:
    """A record was said to be one further."""
    place = _pick(history, chance, lambda one: bool(one.stored))
    if place is None:
        return False
    first, *rest = history[place].stored
    moved = Stored(
        first.partition, first.offset, first.log_position + (1 if first.log_position == 0 else -1), first.version
    )
    return _replace(history, place, stored=(moved, *rest))


def send_to_another_partition(history: list[Operation], chance: random.Random) -> bool:
    """A record is not in the partition that was chosen."""
    place = _pick(history, chance, lambda one: any(sent.partition is not None for sent in one.writes.records))
    if place is None or not _is_written(history[place]):
        return False
    records = [sent if sent.partition is None else sent._replace(partition=7) for sent in history[place].writes.records]
    return _replace(history, place, writes=attrs.evolve(history[place].writes, records=tuple(records)), stored=())


def skip_an_index(history: list[Operation], chance: random.Random) -> bool:
    """An offset, a version or a position is missing."""
    place = _pick(history, chance, lambda one: one.kind == "end" and bool(one.reads[0].elements))
    if place is None:
        return False
    name = history[place].reads[0].place
    at = chance.randrange(len(history[place].reads[0].elements))
    for number, one in enumerate(history):
        for which, read in enumerate(one.reads):
            if read.place == name and read.total > at:
                history[number] = one = _moved(one, which, at)
    return True


def _moved(one: Operation, which: int, at: int) -> Operation:
    """The read with all from an index on moved by one."""
    read = one.reads[which]
    if read.first >= at:
        return _change_read(one, which, first=read.first + 1)
    kept, moved = read.elements[: at - read.first], read.elements[at - read.first :]
    reads = list(one.reads)
    reads[which : which + 1] = [Read(read.place, read.first, kept, False), Read(read.place, at + 1, moved, read.is_end)]
    return attrs.evolve(one, reads=tuple(reads))


# --- time -----------------------------------------------------------------------------------------------------------


def see_less(history: list[Operation], chance: random.Random) -> bool:
    """A reader does not see the last element, though it was acknowledged before."""
    ended = {element: one.ended for one in history if one.outcome == OK for element in one.writes.elements}

    def suits(one: Operation) -> bool:
        return bool(
            one.outcome == OK
            and one.reads
            and one.reads[0].is_end
            and one.reads[0].elements
            and ended.get(one.reads[0].elements[-1], one.began) < one.began
        )

    place = _pick(history, chance, suits)
    if place is None:
        return False
    history[place] = _change_read(history[place], 0, elements=history[place].reads[0].elements[:-1])
    return True


def write_later(history: list[Operation], chance: random.Random) -> bool:
    """What somebody had read was written after that."""
    read_by: dict[str, int] = {}
    for one in history:
        if one.outcome == OK and one.kind != "end":
            for read in one.reads:
                for element in read.elements:
                    read_by[element] = min(read_by.get(element, one.ended), one.ended)
    place = _pick(history, chance, lambda one: _is_written(one) and one.writes.elements[0] in read_by)
    if place is None:
        return False
    began = read_by[history[place].writes.elements[0]] + 1
    return _replace(history, place, began=began, ended=began + 1)


def swap_positions(history: list[Operation], chance: random.Random) -> bool:
    """Of two that came one after the other, the later one has the lower position."""
    name = next(one.name for one in history if one.kind == "end" and one.reads[0].place == ORDER)
    elements = next(one.reads[0].elements for one in history if one.name == name)
    first, last = elements[0], elements[-1]
    for number, one in enumerate(history):
        for which, read in enumerate(one.reads):
            if read.place == ORDER and {first, last} & set(read.elements):
                swapped = tuple(last if each == first else first if each == last else each for each in read.elements)
                history[number] = one = _change_read(one, which, elements=swapped)
    return True


def see_the_middle_of_a_commit(history: list[Operation], chance: random.Random) -> bool:
    """A reader sees a partition end between two records of one call."""
    for one in chance.sample(history, len(history)):
        spots = {(sent.partition, stored.offset) for sent, stored in zip(one.writes.records, one.stored, strict=False)}
        for partition, offset in spots:
            if one.kind != SENDS and partition is not None and (partition, offset + 1) in spots:
                read = Read(f"{TOPIC}/{partition}", offset + 1, (), True)
                history.append(Operation("9.1", "bounds", one.began, one.ended + 1, OK, reads=(read,)))
                return True
    return False


def go_back(history: list[Operation], chance: random.Random) -> bool:
    """A reader gets again what it had."""
    place = _pick(history, chance, lambda one: bool(one.session and one.reads[0].first > 0))
    if place is None:
        return False
    sessions = [one for one in history[:place] if one.session == history[place].session]
    history[place] = _change_read(history[place], 0, first=0, elements=("0",), is_end=False)
    return bool(sessions)


# --- transactions ---------------------------------------------------------------------------------------------------


def lose_an_update(history: list[Operation], chance: random.Random) -> bool:
    """A transaction appends to a row of which it has not seen the last element."""

    def suits(one: Operation) -> bool:
        return bool(one.outcome == OK and one.writes.puts and one.reads and one.reads[0].elements)

    place = _pick(history, chance, suits)
    if place is None or history[place].reads[0].place != history[place].writes.puts[0].place:
        return False
    history[place] = _change_read(history[place], 0, elements=history[place].reads[0].elements[:-1])
    return True


def skew(history: list[Operation], chance: random.Random) -> bool:
    """Two transactions read two empty rows, and each appends to one of them."""
    one, other = row_place(ROWS, "one"), row_place(ROWS, "other")
    began = history[0].began
    both = (Read(one, 0, (), True), Read(other, 0, (), True))
    for number, place in enumerate((one, other)):
        writes = Writes(puts=(Put(place, f"9.{number}"),))
        history.insert(0, Operation(f"9.{number}", "skew", began, began + 9, OK, writes, both))
        end = history[-1].ended
        history.append(
            Operation(f"end.{place}", "end", end, end + 1, OK, reads=(Read(place, 0, (f"9.{number}",), True),))
        )
    return True


def read_apart(history: list[Operation], chance: random.Random) -> bool:
    """A look shows the one row of a transaction before, and another one after it."""
    writers = [one for one in history if one.outcome == OK and one.writes.puts and one.reads]
    if not writers:
        return False
    one = chance.choice(writers)
    book = book_of(history)
    put, record = one.writes.puts[0], one.writes.records[0]
    before = book.spot(put.element, "row")
    after = book.spot(record.element, "partition")
    if before is None or after is None:
        return False
    reads = (Read(before.place, before.index, (), True), Read(after.place, after.index, (record.element,), False))
    history.append(Operation("9.1", "look", one.began, history[-1].ended, OK, reads=reads))
    return True


def finish_twice(history: list[Operation], chance: random.Random) -> bool:
    """An offset is moved from where it is no more."""
    place = _pick(history, chance, lambda one: one.outcome == OK and any(move.first for move in one.writes.advances))
    if place is None:
        return False
    writes = history[place].writes
    moved = tuple(Advance(move.place, move.first - 1, move.end) for move in writes.advances)
    return _replace(history, place, writes=attrs.evolve(writes, advances=moved))


def put_offsets_back(history: list[Operation], chance: random.Random) -> bool:
    """At last an offset is less than what was stored."""
    place = _pick(
        history, chance, lambda one: one.kind == "end" and ":" in one.reads[0].place and one.reads[0].first > 0
    )
    if place is None:
        return False
    history[place] = _change_read(history[place], 0, first=history[place].reads[0].first - 1)
    return True


def meet_an_error(history: list[Operation], chance: random.Random) -> bool:
    """A call raises what it should not."""
    return _replace(history, chance.randrange(_end(history)), outcome="wrong", note="OSError")


SPOILS: list[Spoil] = [
    acknowledge_what_is_not_there,
    refuse_what_is_there,
    forget_a_writer,
    store_a_refused_attempt,
    store_twice,
    tear,
    tear_an_unknown_one,
    swap_in_a_call,
    swap_for_one_reader,
    acknowledge_elsewhere,
    send_to_another_partition,
    skip_an_index,
    see_less,
    write_later,
    swap_positions,
    see_the_middle_of_a_commit,
    go_back,
    lose_an_update,
    skew,
    read_apart,
    finish_twice,
    put_offsets_back,
    meet_an_error,
]
