"""Records of Kafka's that C reads are what Python reads; batches that C builds are what Python builds."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventlog.accelerators import python_function
from eventlog.batches import kafka_builder, kafka_records
from eventlog.batches.kafka_batch import HEAD_BYTES, accept
from eventlog.batches.kafka_builder import build_record_batch
from tests.fuzz.test_decoders import MUTATIONS
from tests.kafka.record_batches import Sent, record_batch
from tests.native.accelerators import compiled, memory_runs_out

QUICK_COUNT = 5_000
ITEMS = st.none() | st.binary(max_size=200)
TIMES = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3)
HEADERS = st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), ITEMS), max_size=3)
ROWS = st.lists(st.tuples(TIMES, st.integers(1, 2**20), ITEMS, ITEMS, HEADERS.map(tuple)), min_size=1, max_size=9)


def read_in_c(data: bytes, count: int, last_delta: int, base_ms: int, append_ms: int | None = None) -> Any:
    """The columns by C; None if it leaves them to Python. That the look alone says the same is checked, too."""
    found = compiled.parse_kafka_records(b"##" + data + b"#", 2, 2 + len(data), count, last_delta, base_ms, append_ms)
    if append_ms is None:
        looked = compiled.are_kafka_records(b"##" + data + b"#", 2, 2 + len(data), count, last_delta, base_ms)
        assert looked is (found is not None)
    return found


def read_in_python(data: bytes, count: int, last_delta: int, base_ms: int, append_ms: int | None = None) -> Any:
    """The same by Python, None where that is an error."""
    try:
        return tuple(kafka_records._parsed(data, count, last_delta, base_ms, append_ms))
    except (ValueError, IndexError):
        return None


def columns(rows: Any) -> tuple[Any, ...]:
    """The arguments of the builder."""
    deltas, at = [], -1
    for row in rows:
        at += row[1]
        deltas.append(at)
    first = deltas[0]
    moved = [delta - first for delta in deltas]
    keys, values, headers = (tuple(row[place] for row in rows) for place in (2, 3, 4))
    return keys, values, headers, [row[0] for row in rows], moved, moved[-1] + 1, 2**40


@given(ROWS, st.integers(0, 5))
def test_a_batch_is_built_as_python_builds_it_and_read_as_it_was(rows: Any, more: int) -> None:
    """With gaps between and behind, every kind of null, and times far apart."""
    keys, values, headers, times, deltas, span, base = columns(rows)
    arguments = (keys, values, headers, times, deltas, span + more, base)
    built = compiled.build_record_batch(*arguments)
    assert built == python_function("build_record_batch")(*arguments)
    batch, head = accept(built)
    assert (batch.count, batch.span, batch.first_ms, batch.largest_ms) == (
        *(len(rows), span + more, times[0], max(times)),
    )
    assert (head.base_offset, head.leader_epoch, head.producer_id, head.sequence) == (base, 0, -1, -1)
    found = read_in_c(built[HEAD_BYTES:], len(rows), span + more - 1, times[0])
    reach = max(times) - times[0], min(times) - times[0]
    if reach[1] >= -(2**63) and reach[0] < 2**63:
        assert found == (times, keys, values, headers, tuple(deltas))
        assert found == read_in_python(built[HEAD_BYTES:], len(rows), span + more - 1, times[0])
        assert compiled.parse_kafka_records(built, HEAD_BYTES, len(built), len(rows), span - 1, 0, 7)[0] == [7] * len(
            rows
        )


def test_columns_without_gaps_and_of_one_time() -> None:
    """The usual ones: offsets and time are not written for each record."""
    values = tuple(b"%d" % number for number in range(1000))
    arguments = ((None,) * 1000, values, ((),) * 1000, 5, None, 1000, 7)
    built = compiled.build_record_batch(*arguments)
    assert built == python_function("build_record_batch")(*arguments)
    assert read_in_c(built[HEAD_BYTES:], 1000, 999, 5)[2] == values


@pytest.mark.parametrize("build", [build_record_batch, python_function("build_record_batch")])
@pytest.mark.parametrize(
    "change",
    [
        {0: (None,)},
        {1: ()},
        {2: ((),)},
        {3: [1]},
        {4: [0]},
        {5: 1},
        {5: 2**31},
    ],
)
def test_columns_that_do_not_fit_together_are_refused(build: Callable[..., bytes], change: dict[int, Any]) -> None:
    """In C and in Python."""
    arguments: list[Any] = [(None, b"k"), (b"v", b"w"), ((), ()), [1, 2], [0, 1], 2, 0]
    for place, value in change.items():
        arguments[place] = value
    with pytest.raises(ValueError, match="columns differ in length"):
        build(*arguments)


@pytest.mark.parametrize(
    "change",
    [
        {0: ("text",)},
        {1: (1,)},
        {2: ([],)},
        {2: ((("name",),),)},
        {2: (((b"name", b"1"),),)},
        {2: ((("name", "1"),),)},
        {2: ((["name", b"1"],),)},
        {3: ["1"]},
        {3: None},
        {4: ["1"]},
        {0: None},
        {1: iter(())},
        {5: "1"},
    ],
)
def test_what_is_of_another_type_is_refused(change: dict[int, Any]) -> None:
    """Nothing else is looked into."""
    arguments: list[Any] = [(b"k",), (b"v",), ((),), [1], [0], 1, 0]
    for place, value in change.items():
        arguments[place] = value
    with pytest.raises(TypeError):
        compiled.build_record_batch(*arguments)
    with pytest.raises(TypeError):
        compiled.build_record_batch(*arguments[:-1])


def test_a_name_that_has_no_utf_8_and_numbers_that_are_too_large_are_refused() -> None:
    """By the errors that Python has for them."""
    with pytest.raises(UnicodeEncodeError):
        compiled.build_record_batch((None,), (b"v",), ((("\ud800", b"1"),),), 1, None, 1, 0)
    with pytest.raises(OverflowError):
        compiled.build_record_batch((None,), (b"v",), ((),), 2**63, None, 1, 0)


@pytest.mark.parametrize("name", ["parse_kafka_records", "are_kafka_records"])
def test_a_part_that_is_not_there_is_refused(name: str) -> None:
    """Nothing beyond the data is read."""
    function, more = getattr(compiled, name), [None] * (name == "parse_kafka_records")
    for start, stop in ((-1, 2), (0, 4), (2, 1)):
        with pytest.raises(ValueError, match="no such part"):
            function(b"abc", start, stop, 1, 0, 0, *more)
    for arguments in (("abc", 0, 1, 1, 0, 0), (b"abc", "0", 1, 1, 0, 0), (b"abc",)):
        with pytest.raises(TypeError):
            function(*arguments, *more)


SENT = record_batch(
    Sent(b"value", b"key", 1000, [("name", b"1"), ("none", None)]),
    Sent(None, None, 900),
    Sent(b"x" * 300, b"k" * 70, 5000),
)
DATA = SENT[HEAD_BYTES:]


def test_spoiled_records_are_read_as_python_reads_them(rng: random.Random) -> None:
    """Every byte may be another one, be missing or be there twice."""
    seen = set()
    for _ in range(QUICK_COUNT):
        data = bytearray(DATA)
        rng.choice(MUTATIONS)(data, rng)
        count, last, base = rng.choice([(3, 2, 1000), (3, 9, -(2**63)), (2, 2, 0), (1, 0, 2**63 - 1)])
        found = read_in_c(bytes(data), count, last, base)
        assert found == read_in_python(bytes(data), count, last, base)
        seen.add(found is None)
    assert seen == {True, False}


@given(st.binary(max_size=100), st.integers(-1, 9), st.integers(-1, 9), st.integers(-(2**63), 2**63 - 1))
@example(b"", 1, 0, 0)
@example(b"\xff" * 30, 1, 0, 0)
@example(b"\x12\0" + b"\xff" * 9 + b"\1" + b"\0" * 20, 1, 0, 2**63 - 1)
@example(b"\x0c\0\0\0\1\1\xfe\xff\xff\xff\x0f", 1, 0, 0)
def test_any_bytes_are_read_as_python_reads_them(data: bytes, count: int, last: int, base: int) -> None:
    """Bytes from anywhere: no crash, no other answer, no memory for what they claim."""
    assert read_in_c(data, count, last, base) == read_in_python(data, count, last, base)
    assert read_in_c(data, count, last, base, 7) == read_in_python(data, count, last, base, 7)


def test_a_lie_about_the_count_takes_no_memory() -> None:
    """Two thousand million records in seven bytes are not there."""
    assert read_in_c(bytes(7), 2**31 - 1, 2**31 - 1, 0) is None
    assert read_in_c(bytes(7), 2**62, 2**62, 0) is None


def test_memory_may_run_out_anywhere() -> None:
    """Then it is an error, and nothing is lost or freed twice."""
    arguments = (DATA, 0, len(DATA), 3, 2, 1000, None)
    assert memory_runs_out(lambda: None, lambda _: compiled.parse_kafka_records(*arguments), lambda _: None) >= 10
    whole = (*kafka_records.kafka_columns(DATA, 0, len(DATA), 3, last_delta=2, base_ms=1000, append_ms=None),)
    built = (whole[1], whole[2], whole[3], whole[0], whole[4], 3, 0)
    assert kafka_builder.build_record_batch(*built)[HEAD_BYTES:] == DATA
    assert memory_runs_out(lambda: None, lambda _: compiled.build_record_batch(*built), lambda _: None) >= 1
