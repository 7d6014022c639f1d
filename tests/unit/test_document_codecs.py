"""JSON and MessagePack documents come out as they went in, and what these formats do not have is refused."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.codecs import Codec, codec_for

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=10,
)
MOMENT = st.datetimes(timezones=st.just(dt.UTC))
MSGPACK = st.recursive(
    st.none() | st.booleans() | INT64 | FINITE | TEXT | st.binary() | MOMENT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT | INT64 | st.binary(), inner),
    max_leaves=10,
)


class Shade(enum.StrEnum):
    """Stands for text that is not exactly `str`."""

    DARK = "dark"


class Size(enum.IntEnum):
    """Stands for a number that is not exactly `int`."""

    LARGE = 3


def codec(declared: object, role: Any = "value") -> Codec[Any]:
    """The codec of a new topic called orders."""
    return codec_for(declared, topic="orders", role=role)


def refusal(declared: object, value: object) -> str:
    """The message that refuses a value."""
    with pytest.raises(TypeError) as caught:
        codec(declared).encode(value)
    message = str(caught.value)
    assert message.startswith("cannot encode the value for topic 'orders': ")
    assert "Nothing was stored. " in message
    return message


@given(JSON)
def test_json_documents_come_back(document: Any) -> None:
    """Whole numbers of any size included."""
    one = codec("json")
    assert one.decode(one.encode(document)) == document
    assert list(one.decode_column([one.encode(document)])) == [document]


def test_json_is_compact_and_utf8() -> None:
    """What is stored is what other languages write."""
    assert codec("json").encode({"a": [1, "\u00fc"], "b": None}) == b'{"a":[1,"\xc3\xbc"],"b":null}'


def test_json_from_others_may_have_spaces() -> None:
    """Reading is more liberal than writing, in a column as well."""
    assert codec("json").decode_column([b'{"a": 1} \n', b"[2]"]) == [{"a": 1}, [2]]
    assert codec("json").decode_column([b" null", b"[2]"]) == [None, [2]]


@pytest.mark.parametrize("key", [1, 1.5, None, True, (1, 2), Size.LARGE])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner: inner,
        lambda inner: [inner],
        lambda inner: ({"a": inner},),
        lambda inner: collections.OrderedDict(a=inner),
    ],
)
def test_json_refuses_keys_that_would_turn_into_text(key: object, wrap: Callable[[object], object]) -> None:
    """`json.dumps` writes 1 as "1" without a word, and two keys may fall together."""
    assert "str" in refusal("json", wrap({"good": 1, key: 2}))


def test_json_takes_keys_that_are_text_of_a_subclass() -> None:
    """A member of an enum is text."""
    assert codec("json").encode({Shade.DARK: 1}) == b'{"dark":1}'


def _nested(depth: int) -> list[Any]:
    document: list[Any] = []
    for _ in range(depth):
        document = [document]
    return document


def _endless() -> list[Any]:
    document: list[Any] = []
    document.append(document)
    return document


@pytest.mark.parametrize("declared", ["json", "msgpack"])
@pytest.mark.parametrize(
    "document",
    [{"a": object()}, {"a": {1}}, ["\ud800"], _nested(100_000), _endless(), {"a": dt.datetime(2026, 1, 1)}],  # noqa: DTZ001
    ids=["object", "set", "surrogate", "deep", "endless", "naive datetime"],
)
def test_documents_with_what_has_no_place_in_them_are_refused(declared: object, document: object) -> None:
    """Each is a TypeError, whatever the library below raises."""
    assert f"{type(document).__name__} does not fit the codec '{declared}': " in refusal(declared, document)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_json_refuses_numbers_that_json_does_not_have(number: float) -> None:
    """Other languages could not read them."""
    refusal("json", {"a": number})


def test_json_that_is_nested_too_deep_is_damage() -> None:
    """A document made to exhaust the stack raises what any damage raises."""
    for decode in [codec("json").decode, lambda data: codec("json").decode_column([data])]:
        with pytest.raises(ValueError, match="nested too deep"):
            decode(b"[" * 100_000)


@given(MSGPACK)
def test_msgpack_documents_come_back(document: Any) -> None:
    """Bytes, moments and keys that are no text included."""
    one = codec("msgpack")
    assert one.decode(one.encode(document)) == document
    assert list(one.decode_column([one.encode(document)])) == [document]


def test_moments_come_back_in_utc() -> None:
    """The moment is kept to the microsecond, the time zone is not."""
    vienna = dt.timezone(dt.timedelta(hours=1))
    moment = dt.datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=vienna)
    back = codec("msgpack").decode(codec("msgpack").encode(moment))
    assert back == moment
    assert back.tzinfo is dt.UTC


@pytest.mark.parametrize("declared", ["json", "msgpack"])
def test_tuples_come_back_as_lists(declared: object) -> None:
    """Neither format has tuples."""
    assert codec(declared).decode(codec(declared).encode({"a": (1, (2,))})) == {"a": [1, [2]]}


def test_a_tuple_as_key_comes_back_as_a_tuple() -> None:
    """A list cannot be a key; without this the record could be sent and never read."""
    one = codec("msgpack")
    document = {(1, ("a",)): [{(2,): "b"}], "c": [3]}
    assert one.decode(one.encode(document)) == document
    assert list(one.decode_column([one.encode(document), b"\x01"])) == [document, 1]


def test_a_map_as_key_is_damage() -> None:
    """Nobody can hold such a document in Python."""
    with pytest.raises(ValueError, match="cannot decode the value with the codec 'msgpack'"):
        codec("msgpack").decode(bytes.fromhex("818001"))


def test_msgpack_refuses_numbers_beyond_64_bits() -> None:
    """From -2**63 to 2**64 - 1 fits."""
    assert codec("msgpack").decode(codec("msgpack").encode(2**64 - 1)) == 2**64 - 1
    for number in (2**64, -(2**63) - 1):
        assert "int of 64 bits" in refusal("msgpack", [number])


@pytest.mark.parametrize(("declared", "value"), [("json", [1]), ("msgpack", [1]), (bytes, bytearray(b"a"))])
def test_changing_a_value_after_encoding_changes_nothing(declared: object, value: Any) -> None:
    """What was sent is a snapshot."""
    data = codec(declared).encode(value)
    before = bytes(data or b"")
    value.append(2)
    assert data == before


def test_encoding_may_come_back_to_the_same_codec() -> None:
    """A time zone is code of the caller's, which runs while its moment is packed."""
    one = codec("msgpack")

    class Zone(dt.tzinfo):
        def utcoffset(self, moment: dt.datetime | None) -> dt.timedelta:
            one.encode({"inner": [1, 2, 3]})
            return dt.timedelta(0)

    moment = dt.datetime(2026, 1, 1, tzinfo=Zone())
    assert one.decode(one.encode({"at": moment, "after": 1})) == {"at": moment.replace(tzinfo=dt.UTC), "after": 1}


def test_msgpack_refuses_a_view_with_gaps() -> None:
    """MessagePack calls that a `BufferError`; for us it is one value more that does not fit."""
    codec = codec_for("msgpack", topic="orders", role="value")
    for value in (memoryview(b"abcd")[::2], [memoryview(b"abcd")[::2]]):
        with pytest.raises(TypeError, match=r"not C-contiguous.*Nothing was stored"):
            codec.encode(value)
