"""How a history with the offsets of Kafka is translated: what is explained by an open transaction, and what is not."""

from __future__ import annotations

from tests.history.checker import violations
from tests.history.kafka.raw import NO_POSITION, seen, translated
from tests.history.operations import FAILED, KAFKA, OK, ORDER, UNKNOWN, Operation, Read, Sent, Stored, Writes

PLACE, OTHER = "orders/0", "orders/1"
OPEN = "slot-0-p1.1"


def transaction(outcome: str = OK, ended: int = 50) -> Operation:
    """A transaction of a client with records at offsets 1 and 2 of one partition and 0 of another, from 10 to 50."""
    places = ((0, 1), (0, 2), (1, 0))
    sent = tuple(Sent("orders", partition, None, f"{OPEN}.{at}") for at, (partition, _) in enumerate(places))
    stored = tuple(Stored(partition, offset, NO_POSITION, None) for partition, offset in places)
    refused = (Writes(sent),) if outcome == FAILED else ()
    writes = Writes() if outcome == FAILED else Writes(sent)
    return Operation(OPEN, KAFKA, 10, ended, outcome, writes, stored=stored if outcome == OK else (), refused=refused)


def native(name: str, offset: int, position: int, began: int) -> Operation:
    """A record that a native program appends."""
    writes, stored = Writes((Sent("orders", 0, None, f"{name}.0"),)), (Stored(0, offset, position, None),)
    return Operation(name, "append", began, began + 1, OK, writes, stored=stored)


def read(name: str, began: int, *reads: Read) -> Operation:
    """A read of one moment."""
    return Operation(name, "read", began, began + 1, OK, reads=reads)


RAW = {PLACE: {1: f"{OPEN}.0", 2: f"{OPEN}.1"}, OTHER: {0: f"{OPEN}.2"}}
BEFORE, BEHIND = native("n.1", 0, 0, 0), native("n.2", 3, 4, 20)
"""What a native program appends before the transaction, and behind its records while it is open."""
COMMITTED = [(0, "n.1.0"), (1, f"{OPEN}.0"), (2, f"{OPEN}.1"), (3, "n.2.0")]
ALL = [*COMMITTED[:3], (3, f"{OPEN}.2"), (4, "n.2.0")]
END = [
    read("e.1", 100, seen(PLACE, 0, COMMITTED, end=5, is_end=True)),
    read("e.2", 102, seen(OTHER, 0, [(0, f"{OPEN}.2")], end=2, is_end=True)),
    read("e.3", 104, seen(ORDER, 0, ALL, end=7, is_end=True)),
]


def rules(*operations: Operation) -> set[str]:
    """The rules that are broken."""
    history = sorted(operations, key=lambda one: one.began)
    return {one.rule for one in violations(translated(history, RAW))}


def test_a_reader_that_ends_at_an_open_transaction_is_right() -> None:
    """It does not see what is committed behind it either."""
    reader = read("r.1", 30, seen(PLACE, 0, [(0, "n.1.0")], end=1, is_end=True))
    assert rules(BEFORE, transaction(), BEHIND, reader, *END) == set()


def test_a_reader_that_ends_there_when_it_is_over_is_wrong() -> None:
    """What was committed was to be seen by then, and what was appended behind it."""
    reader = read("r.1", 60, seen(PLACE, 0, [(0, "n.1.0")], end=1, is_end=True))
    assert "real time" in rules(BEFORE, transaction(), BEHIND, reader, *END)


def test_a_reader_that_ends_within_a_transaction_is_wrong() -> None:
    """A last stable offset that is one too high."""
    reader = read("r.1", 30, seen(PLACE, 0, COMMITTED[:2], end=2, is_end=True))
    assert "half" in rules(BEFORE, transaction(), BEHIND, reader, *END)


def test_a_reader_that_sees_what_was_aborted_is_wrong() -> None:
    """Nobody else sees it, and its writer gave it up."""
    end = read("e.1", 100, seen(PLACE, 0, [(0, "n.1.0"), (3, "n.2.0")], end=5, is_end=True))
    order = read("e.3", 104, seen(ORDER, 0, [(0, "n.1.0"), (4, "n.2.0")], end=7, is_end=True))
    assert rules(BEFORE, transaction(FAILED), BEHIND, end, order) == set()
    reader = read("r.1", 30, seen(PLACE, 0, COMMITTED[:2], end=2, is_end=False))
    assert {"refused", "agree"} <= rules(BEFORE, transaction(FAILED), BEHIND, reader, end, order)


def test_a_transaction_of_a_dead_client_is_over_when_the_next_one_has_begun() -> None:
    """So long it may be open, and an end at its first record is right."""
    init = Operation("slot-0-p2.1", "init", 70, 80, OK)
    dead = transaction(UNKNOWN, ended=1 << 62)
    for began, broken in ((75, set[str]()), (90, {"real time"})):
        reader = read("r.1", began, seen(PLACE, 0, [(0, "n.1.0")], end=1, is_end=True))
        assert rules(BEFORE, dead, BEHIND, init, reader, *END) == broken
