"""A record maker makes the records that `Record` makes, whatever the columns are, whoever changes them meanwhile."""

from __future__ import annotations

import gc
import sys
import weakref
from collections import UserList
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventlog.accelerators import python_function
from eventlog.records import Event, Record
from tests.native.accelerators import at_collection, compiled, memory_runs_out

LARGE = 2**63
Columns = tuple[Any, ...]


def made(*columns: Any) -> list[Record[Any, Any]]:
    """Records by the accelerator."""
    records: list[Record[Any, Any]] = compiled.RecordMaker(Record)("orders", 3, *columns)
    return records


def outcome(function: Any, *columns: Any) -> object:
    """The records, or the error and its words."""
    try:
        return function(*columns)
    except Exception as error:
        return type(error), str(error)


def in_python(*columns: Any) -> list[Record[Any, Any]]:
    """Records by the Python function."""
    records: list[Record[Any, Any]] = python_function("RecordMaker")("orders", 3, *columns)
    return records


def column_of(count: int) -> st.SearchStrategy[Any]:
    """A column of so many entries, of any kind that a caller may think of."""
    items = st.lists(
        st.none() | st.integers() | st.binary(max_size=3) | st.text(max_size=3), min_size=count, max_size=count
    )
    starts = st.integers(-3, 3) | st.sampled_from([LARGE - 2, LARGE - 1, LARGE, -LARGE, -LARGE - 1, 10**30])
    steps = st.sampled_from([1, 1, 1, 2, -1, LARGE, 10**30])
    return (
        items
        | items.map(tuple)
        | items.map(UserList)
        | st.builds(lambda start, step: range(start, start + count * step, step), starts, steps)
    )


lengths = st.integers(0, 5)
same_length = lengths.flatmap(lambda count: st.tuples(*[column_of(count)] * 5))
any_length = st.tuples(*[lengths.flatmap(column_of)] * 5)


@given(same_length | any_length)
@example((range(LARGE - 3, LARGE), [1] * 3, range(LARGE - 1, LARGE + 2), (None,) * 3, range(-LARGE, 3 - LARGE)))
@example((range(LARGE - 2, LARGE + 1), range(0, 3 * LARGE, LARGE), range(-LARGE - 1, 2 - LARGE), [1] * 3, [()] * 3))
def test_it_makes_what_python_makes(columns: Columns) -> None:
    """The same records, or the same error, from lists, tuples, ranges and sequences of a user's own."""
    assert outcome(made, *columns) == outcome(in_python, *columns)


@pytest.mark.parametrize("bad", [None, 5, iter([1]), range(2**64), object])
@pytest.mark.parametrize("place", range(5))
def test_what_is_no_column_is_refused_in_the_same_words(bad: Any, place: int) -> None:
    """Whichever column it is."""
    columns: list[Any] = [[1]] * 5
    columns[place] = bad
    assert outcome(made, *columns) == outcome(in_python, *columns)
    assert isinstance(outcome(made, *columns), tuple)


def test_records_are_whole() -> None:
    """They can be changed, compared and copied as any other, and the collector of garbage knows them."""
    first, second = made(range(2), [5, 6], (b"a", None), [b"tea", []], ((), (("h", b"x"),)))
    assert first == Record("orders", 3, 0, 5, b"a", b"tea", ())
    assert second.headers == (("h", b"x"),)
    second.value.append(second)
    assert gc.is_tracked(second)
    assert second in gc.get_referrers(second.value)


@pytest.mark.parametrize("make", [made, in_python], ids=["compiled", "python"])
@pytest.mark.parametrize("place", [1, 2, 3, 4])
@pytest.mark.parametrize("change", [list.clear, list.pop, lambda column: column.extend(range(100_000))])
def test_columns_that_a_finalizer_changes_crash_nobody(make: Any, place: int, change: Any) -> None:
    """The collector runs in the middle: what has become shorter is an error or a shorter list, longer is no matter."""
    columns: list[Any] = [range(2000), *([n] * 2000 for n in range(4))]
    with at_collection(3, lambda: change(columns[place])) as runs:
        result = outcome(make, *columns)
    if isinstance(result, list):
        assert len(result) <= 2000
        assert all(record.headers == 3 and record.value == 2 for record in result)
    else:
        assert result == (ValueError, "the columns differ in length")
    if sys.version_info < (3, 12):
        assert runs[0] >= 3, "nothing happened in the middle"


def test_a_maker_refuses_a_class_without_the_slots() -> None:
    """Nothing is ever written where no slot is."""

    class Loose:
        pass

    class Borrowed:
        topic = Record.topic
        partition = Record.partition
        offset = Record.offset
        timestamp_ms = Record.timestamp_ms
        key = Record.key
        value = Record.value
        headers = Record.headers

    for bad in (int, Loose, tuple, Borrowed, type):
        with pytest.raises((TypeError, AttributeError)):
            compiled.RecordMaker(bad)
    for arguments in ((), (1,), (Record, Record)):
        with pytest.raises(TypeError):
            compiled.RecordMaker(*arguments)
    with pytest.raises(TypeError):
        compiled.RecordMaker(Record)(1, 2, 3)
    with pytest.raises(TypeError):
        compiled.RecordMaker(Record)("t", 0, [], [], [], [], headers=[])


def test_an_empty_slot_of_a_derived_class_is_an_attribute_error() -> None:
    """What a maker of another class does not fill is not there, as in any object with slots."""
    (event,) = compiled.RecordMaker(Event)("orders", 3, [1], [2], [b"k"], [b"v"], [()])
    assert (event.offset, event.value) == (1, b"v")
    with pytest.raises(AttributeError):
        _ = event.version


def test_references_are_given_back() -> None:
    """Whether it succeeds or fails, each object is held as often as before."""
    item, short = object(), [object()] * 9
    columns: list[Any] = [range(10), [item] * 10, (item,) * 10, [item] * 10, UserList([item] * 10)]
    topic = "a topic of its own"
    make = compiled.RecordMaker(Record)
    before = (sys.getrefcount(item), sys.getrefcount(short[0]), sys.getrefcount(topic), sys.getrefcount(Record))
    for _ in range(100):
        make(topic, item, *columns)
        with pytest.raises(ValueError, match="differ"):
            make(topic, item, *columns[:4], short)
        with pytest.raises(TypeError):
            make(topic, item, *columns[:4], 5)
    gc.collect()
    after = (sys.getrefcount(item), sys.getrefcount(short[0]), sys.getrefcount(topic), sys.getrefcount(Record))
    assert after == before


def test_without_memory_there_are_no_records() -> None:
    """Whichever allocation is the first to fail: an error, and nothing is held."""
    item = object()
    columns = (range(2**40, 2**40 + 40), [item] * 40, (item,) * 40, UserList([item] * 40), [item] * 40)
    make = compiled.RecordMaker(Record)
    before = sys.getrefcount(item)

    def make_into(box: list[Any]) -> None:
        box[0] = make("orders", 0, *columns)

    def judge(box: list[Any]) -> None:
        assert box[0] is None or len(box[0]) == 40
        box.clear()
        assert sys.getrefcount(item) == before

    assert memory_runs_out(lambda: [None], make_into, judge) > 10


def test_a_maker_and_its_class_are_collected_together() -> None:
    """A circle of a class and its maker is garbage like any other."""

    class Own:
        __slots__ = ("__weakref__", "headers", "key", "offset", "partition", "timestamp_ms", "topic", "value")

    Own.make = compiled.RecordMaker(Own)  # type: ignore[attr-defined]
    gone = weakref.ref(Own)
    del Own
    gc.collect()
    assert gone() is None
