"""Keys of state come back as they went in, and their bytes sort as they do."""

from __future__ import annotations

import enum
import subprocess
import sys
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventlog.codecs.ordered import OrderedCodec, ordered_codec_from_stored
from eventlog.errors import FormatTooNew, StateMismatch

INT = st.integers(-(2**63), 2**64 - 1) | st.integers(-3, 300)
LETTER = st.characters(exclude_categories=["Cs"]) | st.sampled_from("\0\x01\x7f\x80\xff\uffff\U0010ffff")
TEXT = st.text(LETTER, max_size=20)
# Often the bytes that mean something inside a tuple.
BYTES = st.binary(max_size=30) | st.lists(st.sampled_from([0, 1, 0x10, 0x20, 0x40, 0xFF]), max_size=12).map(bytes)
ITEM = TEXT | BYTES | INT
TUPLE = st.recursive(
    st.lists(ITEM, max_size=3).map(tuple), lambda inner: st.lists(ITEM | inner, max_size=3).map(tuple), max_leaves=6
)
KEY = ITEM | TUPLE


class Shade(enum.StrEnum):
    """Stands for text that is not exactly `str`."""

    DARK = "dark"


class Size(enum.IntEnum):
    """Stands for a number that is not exactly `int`."""

    LARGE = 3


class Seat(NamedTuple):
    """Stands for a tuple that is not exactly `tuple`."""

    row: str
    number: int


def codec(declared: Any = None) -> OrderedCodec[Any]:
    """The codec of the keys of a state called totals."""
    return OrderedCodec(declared, topic="totals")


def rank(key: Any) -> Any:
    """What sorts as keys of any type should."""
    if isinstance(key, bytes):
        return 0, key
    if isinstance(key, str):
        return 1, [ord(letter) for letter in key]
    if isinstance(key, int):
        return 2, key
    return 3, [rank(item) for item in key]


def begins_with(key: Any, prefix: Any) -> bool:
    """Says whether a key has a prefix, as a reader of the manual would say."""
    if type(key) is not type(prefix):
        return False
    return key[: len(prefix)] == prefix if isinstance(prefix, tuple) else key.startswith(prefix)


# --- order ------------------------------------------------------------------------------------------------------------


@given(KEY)
@example(((b"\0",), "\0", b"\0\xff", b"\xff\0", ((),), -1, 0))
def test_keys_come_back(key: Any) -> None:
    """Of every type, and nested."""
    assert codec().decode(codec().encode(key)) == key
    assert codec(type(key)).encode(key) == codec().encode(key)
    assert codec(type(key)).decode(codec().encode(key)) == key


@given(KEY, KEY)
@example(("a",), ("a\0",))
@example(("a", "b"), ("a\0b",))
@example((("a",), 1), (("a", "b"),))
@example((("a",), 1), ("a", 1))
@example((), ((),))
@example("\uffff", "\U00010000")
@example(2**64 - 1, -(2**63))
def test_bytes_sort_as_the_keys_do(one: Any, other: Any) -> None:
    """So a range of keys is a range of rows; different keys have different bytes."""
    assert (codec().encode(one) < codec().encode(other)) == (rank(one) < rank(other))
    assert (codec().encode(one) == codec().encode(other)) == (rank(one) == rank(other))


@given(st.lists(st.tuples(TEXT, INT)))
def test_tuples_sort_as_python_sorts_them(keys: list[tuple[str, int]]) -> None:
    """Nobody has to learn an order for keys of one shape."""
    assert sorted(keys, key=codec(tuple).encode) == sorted(keys)


@given(KEY, st.integers(0, 4), TEXT | BYTES | TUPLE)
def test_a_prefix_is_the_range_of_keys_that_begin_with_it(key: Any, length: int, other: Any) -> None:
    """Not one more, not one less."""
    prefixes = [other] if isinstance(key, int) else [other, key[:length]]
    for prefix in prefixes:
        first, end = codec().prefix_range(prefix)
        assert (first <= codec().encode(key) < end) == begins_with(key, prefix)


@pytest.mark.parametrize("prefix", ["", b"", ()])
def test_an_empty_prefix_is_all_keys_of_its_type(prefix: Any) -> None:
    """Whatever else the state holds."""
    first, end = codec().prefix_range(prefix)
    keys = [b"", b"\xff" * 20, "", "\U0010ffff" * 9, -(2**63), -1, 0, 2**64 - 1, (), ("z",), ((("z",),),)]
    assert [key for key in keys if first <= codec().encode(key) < end] == [
        key for key in keys if type(key) is type(prefix)
    ]


# --- bytes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "digits"),
    [
        ("", "20"),
        ("a\0b", "20 61 00 62"),
        (b"\0\xff", "10 00 ff"),
        (0, "31 0000000000000000"),
        (258, "31 0000000000000102"),
        (2**64 - 1, "31 ffffffffffffffff"),
        (-1, "30 ffffffffffffffff"),
        (-(2**63), "30 8000000000000000"),
        ((), "40"),
        (("a", 1), "40 20 61 0000 31 0000000000000001"),
        (("\0", b""), "40 20 00ff 0000 10 0000"),
        ((("a",), ()), "40 40 20 61 0000 00 40 00"),
    ],
)
def test_the_bytes_are_those_of_the_page(key: Any, digits: str) -> None:
    """They are on disks: a change here is a change of the format."""
    assert codec().encode(key) == bytes.fromhex(digits)
    assert codec().decode(bytes.fromhex(digits)) == key


@pytest.mark.parametrize(
    ("digits", "told"),
    [
        ("", "a key has at least one byte"),
        ("00", "no key begins with byte 00"),
        ("ff", "no key begins with byte ff"),
        ("20 ff", "not UTF-8"),
        ("31 00", "a number of 1 bytes instead of 8"),
        ("30 0000000000000000", "a negative number that is not"),
        ("40 00", "no item begins with byte 00"),
        ("40 20 61", "without an end"),
        ("40 20 61 00", "without an end"),
        ("40 20 00 61 0000", "an unescaped byte 00 in a tuple"),
        ("40 20 ff 0000", "not UTF-8"),
        ("40 31 00", "a truncated number in a tuple"),
        ("40 40 20 61 0000", "a tuple without an end in a tuple"),
        ("40" * 400, "nested too deeply"),
    ],
)
def test_bytes_that_no_key_has_are_damage(digits: str, told: str) -> None:
    """A row that somebody else wrote is told as such."""
    with pytest.raises(ValueError, match="cannot decode the key with the codec 'ordered': ") as caught:
        codec().decode(bytes.fromhex(digits))
    assert told in str(caught.value)


@given(st.binary(max_size=40) | st.lists(st.sampled_from([0, 1, 0x10, 0x20, 0x31, 0x40, 0xFF]), max_size=12).map(bytes))
def test_any_bytes_are_a_key_or_damage(data: bytes) -> None:
    """And the key has these bytes and no others."""
    try:
        key = codec().decode(data)
    except ValueError:
        return
    assert codec().encode(key) == data


def test_no_bytes_at_all_are_damage() -> None:
    """A key is never None."""
    with pytest.raises(ValueError, match="a key has at least one byte"):
        codec().decode(None)


def test_a_column_of_keys_is_decoded() -> None:
    """As every codec does."""
    keys = ["a", 1, ("a", 1)]
    assert codec().decode_column([codec().encode(key) for key in keys]) == keys


# --- what fits --------------------------------------------------------------------------------------------------------


def refusal(declared: Any, key: Any) -> str:
    """The message that refuses a key."""
    with pytest.raises(TypeError) as caught:
        codec(declared).encode(key)
    message = str(caught.value)
    assert message.startswith("cannot encode the key for state 'totals': ")
    assert "Nothing was changed. " in message
    return message


@pytest.mark.parametrize("key", [None, True, 1.5, ["a"], {}, bytearray(b"a"), (None,), ("a", (True,)), ([],)])
def test_what_is_no_key_is_refused(key: Any) -> None:
    """Also inside a tuple; a bool would come back as a number, a list could change."""
    told = refusal(None, key)
    assert told.endswith("Pass str, bytes, int from -2**63 to 2**64 - 1, or a tuple of them.")
    assert "cannot be part of a key" in told


@pytest.mark.parametrize(
    ("declared", "key", "end"),
    [
        (str, 7, "Pass str, or declare log.state('totals', key=int)."),
        (str, b"a", "Pass str, or declare log.state('totals', key=bytes)."),
        (int, "a", "Pass an int from -2**63 to 2**64 - 1, or declare log.state('totals', key=str)."),
        (bytes, ("a",), "Pass bytes, or declare log.state('totals', key=tuple)."),
        (tuple, "a", "Pass a tuple of str, bytes, int and tuples, or declare log.state('totals', key=str)."),
        (int, True, "Pass an int from -2**63 to 2**64 - 1."),
        (str, None, "Pass str."),
    ],
)
def test_a_declared_type_refuses_the_others(declared: Any, key: Any, end: str) -> None:
    """The message says what to give or to declare."""
    message = refusal(declared, key)
    assert f"{type(key).__name__} does not fit keys of type {declared.__name__}." in message
    assert message.endswith(end)


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 1 << 16_609], ids=["above", "below", "far above"])
@pytest.mark.parametrize("wrap", [lambda number: number, lambda number: (number,)])
def test_a_number_beyond_64_bits_is_refused(number: int, wrap: Any) -> None:
    """Even one that Python refuses to print."""
    assert f"an int of {number.bit_length()} bits and a sign does not fit into 8 bytes" in refusal(None, wrap(number))


@pytest.mark.parametrize("key", ["a\ud800", ("a\ud800",)])
def test_a_lone_surrogate_is_refused(key: Any) -> None:
    """Half a letter is not UTF-8."""
    assert "str with a lone surrogate at position 1 is not valid in UTF-8" in refusal(None, key)


@pytest.mark.parametrize(("key", "plain"), [(Shade.DARK, "dark"), (Size.LARGE, 3), (Seat("a", 1), ("a", 1))])
def test_subclasses_are_stored_as_what_they_are_in_the_end(key: Any, plain: Any) -> None:
    """They come back plain."""
    for one in (codec(), codec(type(plain))):
        back = one.decode(one.encode(key))
        assert back == plain
        assert type(back) is type(plain)


@pytest.mark.parametrize("key", ["a" * 500, b"a" * 500, ("a" * 497,), "\u00fc" * 250, (1,) * 56])
def test_a_key_of_more_than_500_bytes_is_refused(key: Any) -> None:
    """LMDB's keys are bounded; the message has the length and not the key."""
    with pytest.raises(
        ValueError, match=r"key for state 'totals': (str|bytes|tuple) takes 50\d bytes, and 500 are"
    ) as caught:
        codec().encode(key)
    assert "Nothing was changed. Use a shorter key" in str(caught.value)
    assert len(str(caught.value)) < 200
    assert len(codec().encode(key[:-1])) <= 500


def test_tuples_may_be_nested_to_a_bound() -> None:
    """Deeper ones are refused, whatever the depth of the stack is just now."""
    key: tuple[Any, ...] = ()
    for _ in range(7):
        key = (key,)
    assert codec().decode(codec().encode(key)) == key
    assert "tuples are nested more than 8 deep" in refusal(None, (key,))


@pytest.mark.parametrize(("declared", "prefix"), [(None, 7), (None, None), (int, "a"), (str, b"a"), (tuple, "a")])
def test_a_prefix_that_no_key_can_have_is_refused(declared: Any, prefix: Any) -> None:
    """A search that finds nothing for a wrong type would hide the mistake."""
    with pytest.raises(TypeError, match="Nothing was changed"):
        codec(declared).prefix_range(prefix)


# --- declaring --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("declared", [float, bool, "str", ["a"], dict, Seat])
def test_other_types_can_not_be_declared(declared: Any) -> None:
    """The message lists those that can."""
    with pytest.raises(TypeError, match=r"cannot declare key=.* for state 'totals'.*Declare str, bytes, int or tuple"):
        codec(declared)


@pytest.mark.parametrize("declared", [None, str, bytes, int, tuple])
def test_what_is_stored_opens_the_same_codec(declared: Any) -> None:
    """Declaring the same or nothing."""
    stored = codec(declared).to_stored()
    assert stored == ({"name": "ordered"} if declared is None else {"name": "ordered", "type": declared.__name__})
    for again in (declared, None):
        opened: Any = ordered_codec_from_stored(stored, again, topic="totals")
        assert opened.to_stored() == stored


@pytest.mark.parametrize(
    ("stored", "told"),
    [({"name": "ordered", "type": "int"}, "was created with key=int"), ({"name": "ordered"}, "with keys of any type")],
)
def test_another_type_than_the_stored_is_a_mismatch(stored: dict[str, Any], told: str) -> None:
    """The message names both."""
    with pytest.raises(StateMismatch) as caught:
        ordered_codec_from_stored(stored, str, topic="totals")
    assert "cannot open state 'totals' with key=str: the state was created " in str(caught.value)
    assert told in str(caught.value)
    assert str(caught.value).endswith("The state is unchanged. Leave key= out to open what is stored.")


@pytest.mark.parametrize("stored", [{"name": "sorted"}, {"name": "ordered", "type": "uuid"}, {}])
def test_a_stored_codec_from_the_future_asks_for_an_upgrade(stored: dict[str, Any]) -> None:
    """It is neither damage nor a mistake."""
    with pytest.raises(FormatTooNew, match=r"cannot open state 'totals'.*Upgrade"):
        ordered_codec_from_stored(stored, None, topic="totals")


def test_the_front_door_loads_no_codec_that_nobody_declared() -> None:
    """Topics know nothing of keys that sort."""
    program = (
        "import sys; import eventlog.codecs as codecs; codecs.codec_for(str, topic='t', role='key'); "
        "print(*sorted({'eventlog.codecs.events', 'eventlog.codecs.ordered'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
