"""The checker finds what is wrong with a history, and says it so that it can be understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.history.checker import violations
from tests.history.graph import Circle, Node, circles
from tests.history.lists import Violation
from tests.history.operations import (
    ENDLESS,
    FAILED,
    MESSAGE,
    OK,
    ORDER,
    SENDS,
    UNKNOWN,
    Obituary,
    Operation,
    Put,
    Read,
    Recorder,
    Sent,
    Stored,
    Writes,
    read_operations,
)
from tests.history.trial import story


def _append(element: str, began: int, ended: int, outcome: str = OK, *, partition: int = 0) -> Operation:
    writes = Writes((Sent("t", partition, None, element),))
    return Operation(f"op-{element}", "append", began, ended, outcome, writes)


def _read(began: int, place: str, *elements: str, first: int = 0, is_end: bool = True) -> Operation:
    reads = (Read(place, first, elements, is_end),)
    return Operation(f"read-{place}-{began}", "read", began, began + 1, OK, reads=reads)


def _rules(*operations: Operation) -> set[str]:
    return {violation.rule for violation in violations(sorted(operations, key=lambda one: one.began))}


def _at_the_end(*elements: str) -> list[Operation]:
    """All of partition 0, read when all is over."""
    return [_read(900, "t/0", *elements), _read(910, ORDER, *elements)]


# --- elements -------------------------------------------------------------------------------------------------------


def test_what_was_acknowledged_and_read_is_right() -> None:
    """Two records, one after the other."""
    assert not _rules(_append("a", 1, 2), _append("b", 3, 4), *_at_the_end("a", "b"))


def test_an_acknowledged_record_that_nobody_reads_is_lost() -> None:
    """The last reader reads all."""
    assert _rules(_append("a", 1, 2), _append("b", 3, 4), *_at_the_end("a")) == {"lost"}


def test_an_unknown_record_may_be_there_or_not() -> None:
    """Its writer was killed."""
    unknown = _append("b", 3, ENDLESS, UNKNOWN)
    assert not _rules(_append("a", 1, 2), unknown, *_at_the_end("a"))
    assert not _rules(_append("a", 1, 2), unknown, *_at_the_end("a", "b"))


def test_what_a_dead_process_writes_is_found() -> None:
    """What a process had begun takes effect before it is known to be over, or never."""
    unknown = _append("b", 3, 5, UNKNOWN)
    reader = _read(6, "t/0", "a")
    assert _rules(_append("a", 1, 2), unknown, reader, *_at_the_end("a", "b")) == {"real time"}
    alive = _append("b", 3, ENDLESS, UNKNOWN)
    assert not _rules(_append("a", 1, 2), alive, reader, *_at_the_end("a", "b"))


def test_a_refused_record_that_is_there_is_found() -> None:
    """Its call raised an error that says that nothing was stored."""
    assert "refused" in _rules(_append("a", 1, 2, FAILED), *_at_the_end("a"))


def test_a_record_of_nobody_is_found() -> None:
    """It is there, and nobody wrote it."""
    assert "phantom" in _rules(*_at_the_end("a"))


def test_a_record_that_is_there_twice_is_found() -> None:
    """As after a call that was tried again."""
    assert "once" in _rules(_append("a", 1, 2), *_at_the_end("a", "a"))


def test_readers_that_do_not_agree_are_found() -> None:
    """Offset 0 is another record for the one than for the other."""
    one, other = _append("a", 1, 9), _append("b", 1, 9)
    assert "agree" in _rules(one, other, _read(20, "t/0", "b", "a"), *_at_the_end("a", "b"))


def test_a_message_of_several_is_there_once() -> None:
    """Whoever stored it, all are told the same place."""
    writes = Writes((Sent("t", 0, None, "m"),))
    attempts = [
        Operation("1.1", MESSAGE, 1, 5, UNKNOWN, writes),
        Operation("2.1", MESSAGE, 6, 8, OK, writes, stored=(Stored(0, 0, 0, None),)),
        Operation("3.1", MESSAGE, 20, 30, OK, writes, stored=(Stored(0, 0, 0, None),)),
    ]
    assert not _rules(*attempts, *_at_the_end("m"))
    assert _rules(*attempts, *_at_the_end("m", "m")) >= {"once"}
    assert "real time" in _rules(*attempts, _read(10, "t/0"), *_at_the_end("m"))


def test_a_part_of_a_commit_is_found() -> None:
    """Of a record and a row one is there."""
    writes = Writes((Sent("t", 0, None, "a"),), (Put("rows[x]", "a2"),))
    transaction = Operation("1.1", "transact", 1, ENDLESS, UNKNOWN, writes)
    assert _rules(transaction, *_at_the_end("a")) == {"torn"}
    assert not _rules(transaction, *_at_the_end())
    assert not _rules(transaction, *_at_the_end("a"), _read(920, "rows[x]", "a2"))


def test_of_sends_that_were_killed_a_beginning_may_be_there() -> None:
    """In each partition for itself."""
    writes = Writes(tuple(Sent("t", number % 2, None, f"s{number}") for number in range(4)))
    sends = Operation("1.1", SENDS, 1, ENDLESS, UNKNOWN, writes)
    assert not _rules(sends, *_at_the_end("s0"))
    assert not _rules(sends, _read(900, "t/0", "s0", "s2"), _read(910, ORDER, "s0", "s2"))
    assert _rules(sends, *_at_the_end("s2")) == {"sequence"}


def test_the_middle_of_a_commit_is_found() -> None:
    """A reader saw the end between two records of one call."""
    writes = Writes((Sent("t", 0, None, "a"), Sent("t", 0, None, "b")))
    both = Operation("1.1", "append_many", 1, 9, OK, writes)
    assert "half" in _rules(both, _read(5, "t/0", "a"), *_at_the_end("a", "b"))
    assert not _rules(both, _read(5, "t/0", "a", is_end=False), *_at_the_end("a", "b"))


# --- time -----------------------------------------------------------------------------------------------------------


def test_a_stale_read_is_found() -> None:
    """The record was acknowledged before the reader began."""
    assert _rules(_append("a", 1, 2), _read(3, "t/0"), *_at_the_end("a")) == {"real time"}


def test_a_read_while_the_record_is_written_may_see_it_or_not() -> None:
    """It may take effect at any moment of its call."""
    assert not _rules(_append("a", 1, 9), _read(3, "t/0"), *_at_the_end("a"))
    assert not _rules(_append("a", 1, 9), _read(3, "t/0", "a"), *_at_the_end("a"))


def test_who_reads_later_sees_no_less() -> None:
    """A second reader does not see what a first one saw, though the record is still being written."""
    first, second = _read(3, "t/0", "a"), _read(6, "t/0")
    assert _rules(_append("a", 1, 9), first, second, *_at_the_end("a")) == {"real time"}


def test_a_later_append_has_no_lower_position() -> None:
    """Not even in another partition."""
    one, other = _append("a", 1, 2), _append("b", 3, 4, partition=1)
    ends = [_read(900, "t/0", "a"), _read(901, "t/1", "b")]
    assert not _rules(one, other, *ends, _read(910, ORDER, "a", "b"))
    assert _rules(one, other, *ends, _read(910, ORDER, "b", "a")) == {"real time"}


def test_a_read_of_all_is_a_read_of_each_partition() -> None:
    """It shows one record, and not another one that was there before it."""
    one, other = _append("a", 1, 99), _append("b", 1, 99, partition=1)
    ends = [_read(900, "t/0", "a"), _read(901, "t/1", "b"), _read(910, ORDER, "a", "b")]
    bounds = Operation("1.9", "bounds", 5, 90, OK, reads=(Read("t/0", 0, (), True), Read("t/1", 1, (), True)))
    assert not _rules(one, other, _read(10, ORDER, "a"), *ends)
    assert _rules(one, other, _read(10, ORDER, "a"), bounds, *ends) == {"G2"}


# --- the graph ------------------------------------------------------------------------------------------------------


def _circle(*nodes: Node) -> Circle:
    (circle,) = circles(nodes)
    return circle


def test_writers_in_turns_are_a_circle() -> None:
    """In one list the one comes first, in another one the other."""
    circle = _circle(
        Node("A", 0, 9, installs=(("x", 1), ("y", 2))),
        Node("B", 0, 9, installs=(("x", 2), ("y", 1))),
    )
    assert circle.rule == "G0"
    assert str(circle) in {
        "A then writes (x) -> B then writes (y) -> A",
        "B then writes (y) -> A then writes (x) -> B",
    }


def test_two_that_saw_each_other_are_a_circle() -> None:
    """Each has seen what the other wrote."""
    one = Node("A", 0, 9, installs=(("x", 1),), saw=(("y", 1),))
    other = Node("B", 0, 9, installs=(("y", 1),), saw=(("x", 1),))
    assert _circle(one, other).rule == "G1c"


def test_a_lost_update_is_a_circle() -> None:
    """Two append to a row that both have seen empty."""
    one = Node("A", 0, 9, installs=(("x", 1),), saw_end=(("x", 0),))
    other = Node("B", 0, 9, installs=(("x", 2),), saw_end=(("x", 0),))
    assert _circle(one, other).rule == "G-single"


def test_write_skew_is_a_circle() -> None:
    """Each decides by a row that the other changes."""
    one = Node("A", 0, 9, installs=(("x", 1),), saw_end=(("y", 0),))
    other = Node("B", 0, 9, installs=(("y", 1),), saw_end=(("x", 0),))
    assert _circle(one, other).rule == "G2"


def test_a_circle_through_time_goes_by_the_shortest_way() -> None:
    """Many others that begin and end in between are left out."""
    crowd = [Node(f"N{number}", number, number + 1) for number in range(10, 80, 2)]
    writer = Node("A", 0, 5, installs=(("x", 1),))
    reader = Node("B", 100, 110, saw_end=(("x", 0),))
    circle = _circle(writer, *crowd, reader)
    assert circle.rule == "real time"
    assert {node.name for node in circle.nodes} == {"A", "B"}


def test_who_overlaps_may_come_before_or_after() -> None:
    """Without a gap in time there is no order between them."""
    assert not circles([Node("A", 0, 5, installs=(("x", 1),)), Node("B", 5, 9, saw_end=(("x", 0),))])


def test_a_long_chain_is_no_circle() -> None:
    """A thousand writers, one after the other, each of whom has read."""
    nodes = [
        Node(f"N{number}", number, number + 5, installs=(("x", number + 1),), saw_end=(("x", number),))
        for number in range(1000)
    ]
    assert not circles(nodes)


# --- writing down and telling -----------------------------------------------------------------------------------------


def test_a_torn_line_leaves_an_operation_unknown(tmp_path: Path) -> None:
    """A process that is killed while it writes a line has written the ones before."""
    with Recorder(tmp_path, "1-0") as recorder:
        name = recorder.begin("append", Writes((Sent("t", 0, None, "a"),)))
        recorder.end(name, OK, stored=[Stored(0, 0, 0, None)])
        recorder.begin("append", Writes((Sent("t", 0, None, "b"),)))
    with (tmp_path / "1-0.operations").open("ab") as file:
        file.write(b'["end","1-0.2",12')
    first, second = read_operations(tmp_path)
    assert (first.outcome, first.writes.elements) == (OK, ["a"])
    assert (second.outcome, second.ended) == (UNKNOWN, ENDLESS)


def test_an_unknown_operation_of_a_dead_process_ends_with_the_next_commit(tmp_path: Path) -> None:
    """Nothing of it is done later; before that, a commit may be stored that readers do not see yet."""
    with Recorder(tmp_path, "1-0") as recorder:
        recorder.begin("append", Writes((Sent("t", 0, None, "a"),)))
    lines = (tmp_path / "1-0.operations").read_text("ascii").splitlines()
    Obituary(tmp_path).note(int(lines[0].partition(",")[2].rstrip("]")))
    assert [one.ended for one in read_operations(tmp_path)] == [ENDLESS]
    with Recorder(tmp_path, "2-0") as recorder:
        recorder.end(recorder.begin("read"), OK)
        name = recorder.begin("append", Writes((Sent("t", 0, None, "b"),)))
        recorder.end(name, OK)
    first, _, second = read_operations(tmp_path)
    assert first.outcome == UNKNOWN
    assert first.ended == second.ended < ENDLESS


@pytest.mark.parametrize(("outcome", "refused", "writes"), [(OK, 1, "b"), (UNKNOWN, 1, "b"), (FAILED, 2, "")])
def test_the_last_attempt_is_the_one_that_counts(tmp_path: Path, outcome: str, refused: int, writes: str) -> None:
    """Those before were refused; the last one as well, if the whole was."""
    with Recorder(tmp_path, "1-0") as recorder:
        name = recorder.begin("transact")
        for element in ("a", "b"):
            recorder.attempt(name, Writes(puts=(Put("rows[x]", element),)), [Read("rows[x]", 0, (), True)])
        if outcome != UNKNOWN:
            recorder.end(name, outcome)
    (one,) = read_operations(tmp_path)
    assert (one.outcome, len(one.refused), "".join(one.writes.elements)) == (outcome, refused, writes)


def test_a_story_shows_each_rule_with_its_operations() -> None:
    """What was done, by whom and when, in the order of time."""
    found = violations([_append("a", 1_000_000, 2_000_000), _read(3_000_000, "t/0"), *_at_the_end()])
    told = story(found)
    assert "lost: a was acknowledged, and is nowhere" in told
    assert "1.000 to 2.000 ms  op-a append ok; writes t/0 a" in told


def test_a_story_shows_one_of_each_rule_first() -> None:
    """Ten of one rule do not hide another."""
    told = story([*[Violation("many", str(number)) for number in range(20)], Violation("one", "alone")])
    assert "one: alone" in told
