"""
Judges a history: a pure function from operations to what is wrong with them.

First the lists are put together from all reads, and every element must be where it belongs (`lists.py`). Then every
operation that took effect is a node of a graph, and the graph must have no circle (`graph.py`): no order of the
operations, each between its call and its return, would explain what they saw.

What it cannot see: a time shorter than a call; what nobody has read, in the end neither; what an operation of which
nobody knows the outcome did not do.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from tests.history import lists
from tests.history.graph import Node, circles
from tests.history.lists import Book, Spot, Violation, book_of, kind_of
from tests.history.operations import FAILED, KAFKA, OK, ORDER, SENDS, WRONG, Operation, Read

_MOST_OF_A_RULE = 5


def violations(operations: Iterable[Operation]) -> list[Violation]:
    """
    All that is wrong, in the order of the rules, a few of each; empty is good.

    * error: nobody meets an error that should not be.
    * agree: all who read an index of a list, and who was acknowledged there, agree on what is there.
    * refused: nothing is there that was refused; phantom: nor what nobody wrote.
    * place: a record is in its topic, its partition, and under its key.
    * once: each element is there once, a message stored by several too.
    * lost: what was acknowledged is there; index: and is found by its key.
    * torn: what an operation writes is there as a whole or not at all; half: nobody has seen a part of it.
    * sequence: the records of one call have the order of the call, and no earlier one of a producer is missing.
    * dense: no index of a list is missing; order: the order of the log is that of each partition and of each key.
    * gap: a reader goes on where it was.
    * offsets: the offset of a group goes on from where it was: each record is finished once.
    * G0, G1c, G-single, G2: transactions are serializable; real time: and what had returned is seen and kept.
    """
    book = book_of(list(operations))
    found: list[Violation] = []
    for rule in _RULES:
        found += _some(rule(book))
    return found


def _some(found: Iterable[Violation]) -> list[Violation]:
    return [violation for violation, _ in zip(found, range(_MOST_OF_A_RULE), strict=False)]


def _no_errors(book: Book) -> Iterator[Violation]:
    for one in book.operations:
        if one.outcome == WRONG:
            yield Violation("error", one.note, (one,))


def _agreed(book: Book) -> Iterator[Violation]:
    yield from book.contradictions


# --- lists ----------------------------------------------------------------------------------------------------------


def _dense(book: Book) -> Iterator[Violation]:
    """No index of a list is missing below the last one that was read."""
    for place, elements in book.lists.items():
        if len(elements) != max(elements, default=-1) + 1:
            missing = next(index for index in range(len(elements) + 1) if index not in elements)
            behind = min(index for index in elements if index > missing)
            shown = book.witness(Spot(place, behind))
            yield Violation("dense", f"{place} has nothing at {missing}, and {elements[behind]} at {behind}", (shown,))


def _one_order(book: Book) -> Iterator[Violation]:
    """Every record has a position, and those of one partition, or of one key, have rising ones."""
    positions = {element: index for index, element in book.lists[ORDER].items()}
    for place, elements in book.lists.items():
        kind = kind_of(place)
        if kind not in {"partition", "key"}:
            continue
        before, last = "", -1
        for index in sorted(elements):
            element = elements[index]
            position = positions.get(element, -1)
            shown = (book.witness(Spot(place, index)),)
            if position < 0:
                yield Violation("order", f"{element} is at {place} {index}, and has no place in the log", shown)
            elif position < last:
                sentence = f"{place} has {before} before {element}, and the log has them at {last} and at {position}"
                yield Violation("order", sentence, shown)
            before, last = element, max(last, position)
    in_partitions = {
        element for element, spots in book.spots.items() if any(kind_of(spot.place) == "partition" for spot in spots)
    }
    for element, position in positions.items():
        if element not in in_partitions:
            shown = (book.witness(Spot(ORDER, position)),)
            yield Violation("order", f"{element} has position {position}, and is in no partition", shown)


def _no_halves(book: Book) -> Iterator[Violation]:
    """Who sees the end of a list does not see it between two elements of one commit."""
    spans: dict[str, list[tuple[int, int, Operation]]] = defaultdict(list)
    for one in book.operations:
        if one.kind == SENDS or one.outcome == FAILED:
            continue
        indexes: dict[str, list[int]] = defaultdict(list)
        for element in one.writes.elements:
            for spot in book.spots.get(element, ()):
                indexes[spot.place].append(spot.index)
        for place, spread in indexes.items():
            spans[place].append((min(spread), max(spread), one))
    furthest: dict[str, tuple[list[int], list[tuple[int, int, Operation]]]] = {}
    for place, entries in spans.items():
        entries.sort(key=lambda entry: entry[:2])
        up_to = list(accumulate(entries, _longer))
        furthest[place] = [entry[0] for entry in entries], up_to
    for one in book.operations:
        for read in one.reads:
            if not read.is_end or read.place not in furthest:
                continue
            firsts, up_to = furthest[read.place]
            at = bisect_left(firsts, read.total) - 1  # the last commit that begins before the end that was seen
            if at >= 0 and up_to[at][1] >= read.total and up_to[at][2] is not one:
                first, _, writer = up_to[at]
                sentence = f"{one.name} saw {read.place} end at {read.total}, within a commit that begins at {first}"
                yield Violation("half", sentence, (writer, one))


def _longer(one: tuple[int, int, Operation], other: tuple[int, int, Operation]) -> tuple[int, int, Operation]:
    return max(one, other, key=lambda span: span[1])


def _positions_in_time(book: Book) -> Iterator[Violation]:
    """What was stored before another call began has the lower positions."""
    ranges: list[tuple[Operation, int, int]] = []
    for one in book.operations:
        spread = [spot.index for element in one.writes.elements if (spot := book.spot(element, ORDER)) is not None]
        if spread and one.outcome != FAILED:
            ranges.append((one, min(spread), max(spread)))
    ended = sorted(ranges, key=lambda entry: entry[0].ended)
    at, highest, holder = 0, -1, None
    for one, lowest, _ in ranges:  # by the time at which they began
        while at < len(ended) and ended[at][0].ended < one.began:
            if ended[at][2] > highest:
                holder, _, highest = ended[at]
            at += 1
        if holder is not None and lowest < highest:
            sentence = (
                f"{holder.name} had returned, with position {highest}, before {one.name} began, which has {lowest}"
            )
            yield Violation("real time", sentence, (holder, one))


def _no_gaps(book: Book) -> Iterator[Violation]:
    """A reader that goes on begins where its last call ended."""
    ends: dict[tuple[str, str], tuple[int, Operation]] = {}
    for one in book.operations:
        if not one.session or one.outcome != OK:
            continue
        for read in one.reads:
            at, before = ends.get((one.session, read.place), (read.first, one))
            if read.first != at:
                sentence = f"{one.session} read {read.place} from {read.first} on, and was at {at}"
                yield Violation("gap", sentence, (before, one))
            ends[one.session, read.place] = (read.total, one)


# --- offsets --------------------------------------------------------------------------------------------------------


def _offsets_go_on(book: Book) -> Iterator[Violation]:
    """Each stored offset goes on from the one before it, so that every record is finished once."""
    chains: dict[str, list[tuple[int, int, Operation]]] = defaultdict(list)
    for one in _stored(book):
        for advance in one.writes.advances:
            chains[advance.place].append((advance.end, advance.first, one))
    for place, chain in chains.items():
        chain.sort(key=lambda link: link[:2])
        at, before = 0, chain[0][2]
        for end, first, one in chain:
            if first != at:
                sentence = f"{one.name} moved {place} from {first} to {end}, and it was at {at}"
                yield Violation("offsets", sentence, (before, one))
            at, before = end, one
    for one in book.operations:
        for read in one.reads:
            if kind_of(read.place) == "offset" and read.total:
                if read.total not in {end for end, _, _ in chains.get(read.place, ())}:
                    yield Violation("offsets", f"{read.place} was at {read.total}, where nobody put it", (one,))


def _stored(book: Book) -> list[Operation]:
    """The operations that wrote something and were stored: acknowledged, or seen."""
    stored = []
    seen = {(read.place, read.total) for one in book.operations for read in one.reads}
    seen |= {(advance.place, advance.first) for one in book.operations for advance in one.writes.advances}
    known = {
        (advance.place, advance.end) for one in book.operations if one.outcome == OK for advance in one.writes.advances
    }
    for one in book.operations:
        if one.outcome == FAILED or not one.writes:
            continue
        elements = one.writes.elements
        if one.outcome == OK or any(book.is_there(element) for element in elements):
            stored.append(one)
        elif not elements:
            ends = {(advance.place, advance.end) for advance in one.writes.advances}
            if ends <= seen and not ends & known:
                known |= ends
                stored.append(one)
    return stored


# --- the graph ------------------------------------------------------------------------------------------------------


def _no_circles(book: Book) -> Iterator[Violation]:
    """The operations have the effect of one after the other, each between its call and its return."""
    by_name = {one.name: one for one in book.operations}
    for circle in circles(nodes_of(book)):
        shown = tuple(by_name[node.name.partition("#")[0]] for node in circle.nodes)
        yield Violation(circle.rule, f"{circle.meaning}: {circle}", shown)


def nodes_of(book: Book) -> list[Node]:
    """What took effect."""
    is_stored = {one.name for one in _stored(book)}
    nodes: list[Node] = []
    spread = _positions_by_partition(book)
    for one in book.operations:
        if one.kind == SENDS:
            nodes += _sends(book, one)
        elif one.name in is_stored or (one.outcome in {OK, FAILED} and one.reads):
            installs = _installs(book, one) if one.name in is_stored else []
            reads = [part for read in one.reads for part in _by_partition(read, spread)]
            nodes.append(_node(one, one.name, installs, reads))
    return nodes


def _sends(book: Book, one: Operation) -> Iterator[Node]:
    """Each record of a producer is a commit of its own, as far as its caller knows."""
    for number, record in enumerate(one.writes.records):
        if book.is_there(record.element):
            yield _node(one, f"{one.name}#{number}", _spots(book, [record.element]), ())


def _node(one: Operation, name: str, installs: list[tuple[str, int]], reads: Sequence[Read]) -> Node:
    at_least = tuple((read.place, read.total) for read in reads if not read.is_end)
    exactly = tuple((read.place, read.total) for read in reads if read.is_end)
    placed = [spot for spot in installs if one.kind == KAFKA and kind_of(spot[0]) == "partition"]
    installed = [spot for spot in installs if spot not in placed]
    return Node(name, one.began, one.ended, tuple(installed), at_least, exactly, tuple(placed))


def _positions_by_partition(book: Book) -> dict[str, list[int]]:
    """The positions of the records of each partition, in their order."""
    spread: dict[str, list[int]] = defaultdict(list)
    for position, element in sorted(book.lists[ORDER].items()):
        spot = book.spot(element, "partition")
        if spot is not None:
            spread[spot.place].append(position)
    return spread


def _by_partition(read: Read, spread: dict[str, list[int]]) -> Iterable[Read]:
    """
    What a read of the whole log says of each partition.

    Calls that share a commit may have their records in turns in the order of the log, since it is that of the batches.
    So the order does not tell which of them came first; that all before its end, and nothing else, was seen it does.
    """
    if read.place != ORDER:
        return [read]
    return [Read(place, bisect_left(positions, read.total), (), read.is_end) for place, positions in spread.items()]


def _spots(book: Book, elements: Iterable[str]) -> list[tuple[str, int]]:
    spots = [spot for element in elements for spot in book.spots.get(element, ())]
    return [(spot.place, spot.index + 1) for spot in spots if spot.place != ORDER]


def _installs(book: Book, one: Operation) -> list[tuple[str, int]]:
    return _spots(book, one.writes.elements) + [(advance.place, advance.end) for advance in one.writes.advances]


_RULES: list[Callable[[Book], Iterable[Violation]]] = [
    _no_errors,
    _agreed,
    lists.no_phantoms,
    lists.in_its_place,
    lists.once,
    lists.nothing_lost,
    lists.in_the_index,
    lists.all_or_nothing,
    _no_halves,
    lists.in_the_order_of_the_calls,
    _dense,
    _one_order,
    _positions_in_time,
    _no_gaps,
    _offsets_go_on,
    _no_circles,
]
