"""What cannot be is refused at the call, by a message that names the value and the bounds."""

from __future__ import annotations

import enum
import math
from collections import UserDict
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.errors import EventLogError, InvalidTopicName
from eventlog.options import (
    MAX_NAME_LENGTH,
    MAX_OFFSET,
    check_column,
    check_columns,
    check_group_name,
    check_headers,
    check_instance_id,
    check_int,
    check_offset,
    check_seconds,
    check_timestamp_ms,
    check_topic_name,
)


class Level(enum.IntEnum):
    """Stands for an int that is not exactly `int`."""

    ONE = 1


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "orders", "Orders.v2_eu-1", "...", "_", "-", "0", "x" * MAX_NAME_LENGTH])
def test_topic_name_of_kafkas_rule_is_taken(name: str) -> None:
    """A name that Kafka takes is taken as it is."""
    assert check_topic_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a b", "a/b", "a\n", "\0", "a:b", "\xfcber", "\u0661", "\ud800", "x" * (MAX_NAME_LENGTH + 1)],
)
def test_topic_name_outside_kafkas_rule_is_refused(name: str) -> None:
    """A name that Kafka would refuse is an error that catches as ours and as `ValueError`."""
    with pytest.raises(InvalidTopicName, match="1 to 249 characters") as caught:
        check_topic_name(name)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, EventLogError)
    assert "Nothing was changed" in str(caught.value)


def test_long_name_is_shown_cut() -> None:
    """An error message stays readable, however long the value."""
    with pytest.raises(InvalidTopicName, match=r"\.\.\. is not a valid topic name") as caught:
        check_topic_name("x" * 10_000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("check", [check_topic_name, check_group_name, check_instance_id])
@pytest.mark.parametrize("name", [None, b"orders", 5, ["orders"]])
def test_name_that_is_no_text_is_a_type_error(check: Callable[[object], str], name: object) -> None:
    """A name is a `str`; bytes are not guessed to be one."""
    with pytest.raises(TypeError, match=f"must be a str, not {type(name).__name__}"):
        check(name)


@pytest.mark.parametrize("name", ["g", "billing", "stock room", "\xfcber", "x" * 249, "\u00e9" * 124])
def test_printable_group_name_is_taken(name: str) -> None:
    """A group may have any printable name of up to 249 bytes."""
    assert check_group_name(name) == check_instance_id(name) == name


@pytest.mark.parametrize("name", ["", "a\0b", "a\nb", "\x7f", "\ud800", "x" * 250, "\u00e9" * 125])
def test_other_group_name_is_refused(name: str) -> None:
    """A zero byte would end the name in the row's key, a longer name would not fit it."""
    with pytest.raises(ValueError, match="not a valid group name: it must be 1 to 249 bytes"):
        check_group_name(name)


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "most"), [(1, None), (1, 1), (10**30, None), (Level.ONE, 5)])
def test_int_within_its_bounds_is_taken(value: int, most: int | None) -> None:
    """Both bounds are inclusive, and there need be no upper one."""
    assert check_int("partitions", value, least=1, most=most) == value


@pytest.mark.parametrize(
    ("value", "most", "bounds"),
    [(0, None, "at least 1"), (-1, 5, "1 to 5"), (6, 5, "1 to 5"), (10**30, 5, "1 to 5")],
)
def test_int_outside_its_bounds_is_refused(value: int, most: int | None, bounds: str) -> None:
    """The message names the option, its bounds and the value."""
    with pytest.raises(ValueError, match=f"partitions must be {bounds}, not {value}"):
        check_int("partitions", value, least=1, most=most)


@pytest.mark.parametrize("value", [None, True, 1.0, "1", b"1"])
def test_value_that_is_no_int_is_a_type_error(value: object) -> None:
    """`True` is not one partition."""
    with pytest.raises(TypeError, match="partitions must be an int, not"):
        check_int("partitions", value, least=1)


@pytest.mark.parametrize("value", [0, 0.0, 0.005, 1, 1e9, 10**9])
def test_seconds_are_returned_as_a_float(value: float) -> None:
    """A duration may be given as an int; it is a float from then on."""
    seconds = check_seconds("linger", value)
    assert seconds == value
    assert type(seconds) is float


@pytest.mark.parametrize("value", [-1, -0.001, math.inf, -math.inf, math.nan, 1e10, 10**400])
def test_seconds_out_of_bounds_are_refused(value: float) -> None:
    """A duration is finite and not negative."""
    with pytest.raises(ValueError, match=r"linger must be a number of seconds, 0\.0 to 1e9"):
        check_seconds("linger", value)


def test_seconds_may_have_a_bound_of_their_own() -> None:
    """An option may ask for more than nothing."""
    assert check_seconds("interval", 1.0, least=1.0) == 1.0
    with pytest.raises(ValueError, match=r"interval must be a number of seconds, 1\.0 to 1e9, not 0\.5"):
        check_seconds("interval", 0.5, least=1.0)


@pytest.mark.parametrize("value", [None, False, "1", b"1", 1j])
def test_value_that_is_no_number_of_seconds_is_a_type_error(value: object) -> None:
    """Text and truth are no durations."""
    with pytest.raises(TypeError, match="linger must be a number of seconds, not"):
        check_seconds("linger", value)


@pytest.mark.parametrize("value", [0, -1, 2**62, -(2**62)])
def test_timestamp_of_62_bits_is_taken(value: int) -> None:
    """The difference of two timestamps has to fit 64 bits, so each has 62."""
    assert check_timestamp_ms(value) == value


@pytest.mark.parametrize("value", [2**62 + 1, -(2**62) - 1])
def test_timestamp_beyond_62_bits_is_refused(value: int) -> None:
    """What would not fit the format fails at the call."""
    with pytest.raises(ValueError, match="timestamp_ms"):
        check_timestamp_ms(value)


@pytest.mark.parametrize("value", [0, MAX_OFFSET])
def test_offset_that_a_partition_can_have_is_taken(value: int) -> None:
    """Offsets have 63 bits, as Kafka's."""
    assert check_offset(value) == value


@pytest.mark.parametrize("value", [-1, MAX_OFFSET + 1, 2**64])
def test_offset_that_no_partition_can_have_is_refused(value: int) -> None:
    """What would not fit the key of a row fails at the call."""
    with pytest.raises(ValueError, match="an offset must be 0 to"):
        check_offset(value)


# --- columns ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", [[1, 2], (1, 2), range(1, 3), iter([1, 2]), {1: 0, 2: 0}.keys()])
def test_any_iterable_is_a_column(column: Any) -> None:
    """Whatever gives its entries one by one will do."""
    assert list(check_column("values", column)) == [1, 2]


def test_list_and_tuple_are_not_copied() -> None:
    """The usual columns cost nothing to check."""
    for column in ([1, 2], (1, 2)):
        assert check_column("values", column) is column


@pytest.mark.parametrize("column", ["ab", b"ab", bytearray(b"ab"), memoryview(b"ab"), {1: 2}, 5, None])
def test_one_value_is_no_column(column: Any) -> None:
    """A text is not a column of letters, a mapping not one of its keys."""
    with pytest.raises(TypeError, match=f"values must be a column.*not {type(column).__name__}"):
        check_column("values", column)


def test_columns_of_one_length_are_taken() -> None:
    """Absent columns stay absent, and one time stands for all records."""
    assert check_columns([1, 2], None, None, None) == ([1, 2], None, None, None)
    assert check_columns([1, 2], (3, 4), [{}, {}], 5) == ([1, 2], (3, 4), [{}, {}], 5)
    assert check_columns(iter([1, 2]), iter([3, 4]), None, iter([5, 6])) == ([1, 2], [3, 4], None, [5, 6])


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("keys", ([1], [], None, None)),
        ("headers", ([1], None, [{}, {}], None)),
        ("timestamps_ms", ([1], None, None, [1, 2])),
    ],
)
def test_columns_of_different_lengths_are_refused(name: str, columns: Any) -> None:
    """A missing entry would move all that follow to the wrong record."""
    with pytest.raises(ValueError, match=rf"{name} has \d entries and values has 1"):
        check_columns(*columns)


# --- headers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [None, {}, [], ()])
def test_no_headers_are_an_empty_tuple(nothing: Any) -> None:
    """No header, however said, is stored as none."""
    assert check_headers(nothing) == ()


@pytest.mark.parametrize(
    "headers",
    [
        {"a": b"1", "b": None},
        UserDict({"a": b"1", "b": None}),
        [("a", b"1"), ("b", None)],
        (pair for pair in [("a", b"1"), ("b", None)]),
        {"a": "1", "b": None},
        {"a": bytearray(b"1"), "b": None},
        {"a": memoryview(b"1"), "b": None},
    ],
)
def test_headers_become_pairs_of_text_and_bytes(headers: Any) -> None:
    """Mappings and pairs, text and buffers give the same headers."""
    found = check_headers(headers)
    assert found == (("a", b"1"), ("b", None))
    assert type(found[0][1]) is bytes


def test_headers_may_repeat_and_keep_their_order() -> None:
    """A name may come twice, and empty names and values are names and values."""
    pairs = [("b", b""), ("a", b"2"), ("b", b"3"), ("", None)]
    assert check_headers(pairs) == tuple(pairs)


def test_a_buffer_changed_later_does_not_change_the_header() -> None:
    """What is checked is a copy."""
    buffer = bytearray(b"old")
    found = check_headers({"a": buffer})
    buffer[:] = b"new"
    assert found == (("a", b"old"),)


@pytest.mark.parametrize(
    ("headers", "complaint"),
    [
        ("ab", "pair, not 'a'"),
        ([("a",)], "pair, not"),
        ([("a", b"1", b"2")], "pair, not"),
        ([["a", b"1"]], "pair, not"),
        ([(b"a", b"1")], "pair, not"),
        ([None], "pair, not None"),
        ({1: b"1"}, "pair, not"),
        ({"a": 1}, "header 'a' must be bytes, str or None, not int"),
        ({"a": ["1"]}, "header 'a' must be bytes, str or None, not list"),
    ],
)
def test_what_is_no_header_is_a_type_error(headers: Any, complaint: str) -> None:
    """The message shows the pair, or names the header and what its value is."""
    with pytest.raises(TypeError, match=complaint):
        check_headers(headers)


@pytest.mark.parametrize("headers", [{"\ud800": b"1"}, {"a": "\ud800"}])
def test_header_that_has_no_utf8_is_refused(headers: Any) -> None:
    """A lone surrogate cannot be stored, and fails before anything is."""
    with pytest.raises(TypeError, match="lone surrogate"):
        check_headers(headers)


@given(st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.none() | st.binary())))
def test_checked_headers_pass_the_check_unchanged(pairs: list[tuple[str, bytes | None]]) -> None:
    """What was read from a record can be given to another."""
    assert check_headers(check_headers(pairs)) == tuple(pairs)
