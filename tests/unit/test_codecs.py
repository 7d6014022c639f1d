"""What goes into a topic comes out of it, and what would not is refused before anything is stored."""

from __future__ import annotations

import datetime as dt
import enum
import math
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import attrs
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.codecs import Codec, codec_for, codec_from_stored
from eventlog.errors import FormatTooNew, TopicMismatch

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


class Shade(enum.StrEnum):
    """Stands for text that is not exactly `str`."""

    DARK = "dark"


class Size(enum.IntEnum):
    """Stands for a number that is not exactly `int`."""

    LARGE = 3


@attrs.frozen
class Line:
    """Stands for a class inside a class."""

    sku: str
    count: int


@attrs.frozen
class Order:
    """Stands for a class of the caller's."""

    number: str
    lines: list[Line]


ORDER = Order("o-1", [Line("tea", 2)])


def codec(declared: object, role: Any = "value") -> Codec[Any]:
    """The codec of a new topic called orders."""
    return codec_for(declared, topic="orders", role=role)


def stored(stored: Mapping[str, object], declared: object = None) -> Codec[Any]:
    """The codec of an existing topic called orders, whose options went through the disk."""
    return codec_from_stored(msgpack.unpackb(msgpack.packb(stored)), declared, topic="orders", role="value")


def refusal(declared: object, value: object) -> str:
    """The message that refuses a value."""
    with pytest.raises(TypeError) as caught:
        codec(declared).encode(value)
    message = str(caught.value)
    assert message.startswith("cannot encode the value for topic 'orders': ")
    assert "Nothing was stored. " in message
    return message


# --- every codec ----------------------------------------------------------------------------------------------------

EVERY = [bytes, str, int, "json", "msgpack", Order]
SAMPLES: list[tuple[object, Any]] = [
    (bytes, b"\x00\xff"),
    (str, "gr\u00fcn"),
    (int, -7),
    ("json", {"a": [1, None, "\u00fc"]}),
    ("msgpack", {"a": [1, None, b"\xff"]}),
    (Order, ORDER),
    ((Line, Order), ORDER),
    (Line | Order, ORDER),
]


@pytest.mark.parametrize("declared", EVERY)
def test_none_is_a_tombstone_for_every_codec(declared: object) -> None:
    """No codec sees None: it means "no key" or "deleted", whatever the topic holds."""
    assert codec(declared).encode(None) is None
    assert codec(declared).decode(None) is None
    assert list(codec(declared).decode_column([None, None])) == [None, None]


@pytest.mark.parametrize(("declared", "value"), SAMPLES)
def test_columns_are_decoded_as_their_values_one_by_one(declared: object, value: Any) -> None:
    """Tombstones among the values change nothing, and an empty column is one."""
    one = codec(declared)
    data = one.encode(value)
    assert type(data) is bytes
    assert one.decode(data) == value
    assert list(one.decode_column([data, data])) == [value, value]
    assert list(one.decode_column([data, None, data])) == [value, None, value]
    assert list(one.decode_column([])) == []


@pytest.mark.parametrize(("declared", "value"), SAMPLES)
def test_columns_are_encoded_as_their_values_one_by_one(declared: object, value: Any) -> None:
    """Whatever else is in the column, and whether it is a list or a tuple."""
    one = codec(declared)
    data = one.encode(value)
    assert list(one.encode_column([value, value])) == [data, data]
    assert list(one.encode_column((value, None, value))) == [data, None, data]
    assert list(one.encode_column([])) == []
    with pytest.raises(TypeError, match="cannot encode the value"):
        one.encode_column([value, object()])


@pytest.mark.parametrize(
    ("declared", "column"),
    [
        (bytes, ["tea", b"tea", bytearray(b"milk"), memoryview(b"rum")]),
        (str, ["gr\u00fcn", Shade.DARK, "tea"]),
        (int, [1, Size.LARGE, -(2**63)]),
        ("json", [1, True, 1.0, 1]),
        ("json", [0.0, -0.0, 0.0]),
        ("msgpack", [1, True, 1.0, 1]),
    ],
)
def test_what_is_equal_and_of_another_type_keeps_it(declared: object, column: list[Any]) -> None:
    """1 and True are equal, and are not the same value; nor are text and bytes in a topic of bytes."""
    one = codec(declared)
    assert list(one.encode_column(column)) == [one.encode(value) for value in column]


def test_a_column_of_bytes_keeps_nothing_that_may_change() -> None:
    """What a bytearray holds later is not stored."""
    changing = bytearray(b"tea")
    encoded = codec(bytes).encode_column([b"milk", changing])
    changing[:] = b"rum"
    assert list(encoded) == [b"milk", b"tea"]


@pytest.mark.parametrize(("declared", "value"), [(int, 2**63), (int, True), (str, "\ud800"), (str, b"tea"), (bytes, 7)])
def test_a_column_with_what_does_not_fit_is_refused_as_the_value_is(declared: object, value: Any) -> None:
    """The message is the one of `encode`."""
    with pytest.raises(TypeError) as caught:
        codec(declared).encode_column([value])
    assert str(caught.value) == refusal(declared, value)


@pytest.mark.parametrize(("declared", "value"), SAMPLES)
def test_what_is_stored_opens_the_same_codec(declared: object, value: Any) -> None:
    """Another process decodes alike, declaring the same or nothing."""
    one = codec(declared)
    data = one.encode(value)
    again = stored(one.to_stored(), declared)
    assert again.name == one.name
    assert again.to_stored() == one.to_stored()
    assert again.decode(data) == value
    assert stored(one.to_stored()).to_stored() == one.to_stored()


@pytest.mark.parametrize("declared", EVERY)
def test_only_bytes_may_be_stored_without_asking_the_codec(declared: object) -> None:
    """`raw_type` lets the hot path skip `encode`; for other codecs no value has that type."""
    raw_type = codec(declared).raw_type
    assert (raw_type is bytes) == (declared is bytes)
    if declared is not bytes:
        assert raw_type.__name__ == "NeverRaw"


@pytest.mark.parametrize("declared", [str, int, "json", "msgpack", Order])
@pytest.mark.parametrize("place", [0, 1])
def test_damage_in_a_column_is_a_value_error(declared: object, place: int) -> None:
    """The consumer turns one class of error into DecodeError; nothing else may come out."""
    one = codec(declared)
    column = [b"\xc1\xff", b"\xc1"]
    column[place] = dict(zip(EVERY, ["", b"tea", bytes(8), b"{}", b"\x80", None], strict=True))[declared] or column[0]
    with pytest.raises(ValueError, match=f"cannot decode the value with the codec '{one.name}': "):
        one.decode_column(column)


@pytest.mark.parametrize("declared", ["json", "msgpack", Order])
@given(data=st.binary(max_size=30))
def test_any_bytes_decode_or_raise_a_value_error(declared: object, data: bytes) -> None:
    """Foreign bytes never break a consumer in a new way, and both ways of decoding agree."""
    one = codec(declared)
    try:
        value = one.decode(data)
    except ValueError:
        with pytest.raises(ValueError, match="cannot decode the value"):
            one.decode_column([data])
    else:
        # repr: a NaN is not equal to itself
        assert repr(list(one.decode_column([data]))) == repr([value])


def test_messages_hold_no_long_values() -> None:
    """A value may be secret or large; a message has its type."""
    secret = "s3cret" * 1000
    for declared in [int, "json", "msgpack", Order]:
        wrong: object = secret if declared in (int, Order) else {"a": {1: secret, "b": {secret}}}
        assert "s3cret" not in refusal(declared, wrong)
    with pytest.raises(ValueError, match=r"\.\.\.$") as caught:
        codec(Order).decode(msgpack.packb(secret))
    assert len(str(caught.value)) < 120


# --- declaring ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "name"),
    [
        (None, "bytes"),
        (bytes, "bytes"),
        ("bytes", "bytes"),
        (str, "str"),
        ("str", "str"),
        (int, "int"),
        ("int", "int"),
        ("json", "json"),
        ("msgpack", "msgpack"),
        (Order, "class"),
        ((Order, Line), "events"),
        ([Order], "events"),
        (Order | Line, "events"),
    ],
)
def test_a_codec_is_declared_by_type_or_name(declared: object, name: str) -> None:
    """A plain type and its name mean the same; nothing means bytes."""
    assert codec(declared).name == name
    assert codec(declared).to_stored()["name"] == name


@pytest.mark.parametrize("declared", [complex, object, dict, "class", "xml", 12, [], "x" * 1000])
def test_what_is_no_codec_is_refused_with_a_list_of_those_that_are(declared: object) -> None:
    """The message can be acted upon without opening the manual."""
    with pytest.raises(TypeError) as caught:
        codec(declared, role="key")
    message = str(caught.value)
    assert message.startswith("cannot declare key=")
    assert "Declare bytes, str, int, float, " in message
    assert "an Enum, a class with fields or a codec of your own." in message
    assert len(message) < 300


@pytest.mark.parametrize(
    ("created", "declared", "told"),
    [
        (bytes, str, "with value=str: the topic was created with value=bytes"),
        ("json", "msgpack", "with value='msgpack': the topic was created with value=\"json\""),
        (Order, "msgpack", f"was created with value={__name__}.Order"),
        (str, Order, "with value=Order: the topic was created with value=str"),
    ],
)
def test_another_codec_than_the_stored_is_a_mismatch(created: object, declared: object, told: str) -> None:
    """The message names both, and how to open what is there."""
    with pytest.raises(TopicMismatch) as caught:
        stored(codec(created).to_stored(), declared)
    assert told in str(caught.value)
    assert "The topic is unchanged. Leave value= out" in str(caught.value)


def test_a_stored_codec_from_the_future_asks_for_an_upgrade() -> None:
    """A codec we do not know is neither damage nor a mistake."""
    with pytest.raises(FormatTooNew, match=r"'orders': its value has the codec 'avro'.*Upgrade"):
        stored({"name": "avro"})


def test_the_front_door_loads_no_codec_that_nobody_declared() -> None:
    """Importing stays cheap: json, msgpack and cattrs come with the first codec that needs them."""
    program = (
        "import sys; import eventlog.codecs as codecs; known = set(sys.modules); "
        "codecs.codec_for(str, topic='t', role='key'); "
        "print(*sorted({'cattrs', 'eventlog.codecs.classes', 'eventlog.codecs.documents'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


# --- bytes, str, int ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        b"tea",
        bytearray(b"tea"),
        memoryview(b"tea"),
        memoryview(b"t.e.a")[::2],
        "tea",
        type("Own", (bytes,), {})(b"tea"),
    ],
)
def test_the_bytes_codec_takes_what_is_bytes_or_text(value: object) -> None:
    """What is stored is plain bytes."""
    data = codec(bytes).encode(value)
    assert data == b"tea"
    assert type(data) is bytes


def test_the_bytes_codec_hands_out_what_it_got() -> None:
    """Bytes cost nothing in either direction."""
    data, column = b"tea", [b"tea", None]
    assert codec(bytes).encode(data) is data
    assert codec(bytes).decode(data) is data
    assert codec(bytes).decode_column(column) is column


@pytest.mark.parametrize(
    ("declared", "value", "end"),
    [
        (bytes, {}, 'Declare log.topic(\'orders\', value="json") or value="msgpack".'),
        (bytes, 1.5, 'Declare log.topic(\'orders\', value="json") or value="msgpack".'),
        (bytes, 7, "Declare log.topic('orders', value=int)."),
        (bytes, Line("tea", 2), "Declare log.topic('orders', value=Line)."),
        (bytes, dt.datetime.now(dt.UTC), "Declare log.topic('orders', value=datetime) or value=\"msgpack\"."),
        (bytes, object(), "Pass bytes, bytearray, memoryview or str."),
        (str, b"", "Declare log.topic('orders', value=bytes)."),
        (int, "7", "Declare log.topic('orders', value=str)."),
        (int, True, 'Declare log.topic(\'orders\', value="json") or value="msgpack".'),
        ("json", b"", "Declare log.topic('orders', value=bytes)."),
        ("json", math.nan, "Pass dicts with str keys, lists, str, int, finite float, bool."),
    ],
)
def test_a_refusal_says_what_to_declare(declared: object, value: object, end: str) -> None:
    """The message ends with the line to write."""
    message = refusal(declared, value)
    assert f"{type(value).__name__} does not fit the codec '{codec(declared).name}'" in message
    assert message.endswith(f"Nothing was stored. {end}")


def test_a_refused_key_is_called_a_key() -> None:
    """Key and value have codecs of their own."""
    with pytest.raises(TypeError, match=r"the key for topic 'orders': dict.*key=\"json\""):
        codec(bytes, role="key").encode({})


@pytest.mark.parametrize("declared", [bytes, str])
def test_a_lone_surrogate_is_refused(declared: object) -> None:
    """Half a letter is not UTF-8, and replacing it would change the text."""
    assert "str with a lone surrogate at position 1 is not valid in UTF-8" in refusal(declared, "a\ud800")


@given(TEXT)
def test_text_comes_back(text: str) -> None:
    """Any text without lone surrogates fits."""
    assert codec(str).decode(codec(str).encode(text)) == text


def test_text_of_a_subclass_is_stored_as_its_letters() -> None:
    """A member of an enum comes back as plain text."""
    assert codec(str).encode(Shade.DARK) == b"dark"


def test_damaged_text_tells_the_place() -> None:
    """The number is of bytes, as one counts in a dump."""
    with pytest.raises(ValueError, match="not UTF-8 at byte 2"):
        codec(str).decode(b"ab\xff")


@pytest.mark.parametrize(
    ("number", "digits"),
    [(0, "00" * 8), (1, "00" * 7 + "01"), (-1, "ff" * 8), (2**63 - 1, "7f" + "ff" * 7), (-(2**63), "80" + "00" * 7)],
)
def test_numbers_are_stored_as_kafkas_long_serializer_does(number: int, digits: str) -> None:
    """Eight bytes, big-endian, signed: Kafka clients read them."""
    assert codec(int).encode(number) == bytes.fromhex(digits)
    assert codec(int).decode(bytes.fromhex(digits)) == number


@given(st.lists(INT64 | st.none()))
def test_columns_of_numbers_come_back(numbers: list[int | None]) -> None:
    """The fast way and the slow one agree."""
    one = codec(int)
    assert one.decode_column([one.encode(number) for number in numbers]) == numbers


def test_a_number_of_a_subclass_is_stored_as_its_value() -> None:
    """A member of an enum comes back as a plain number."""
    assert codec(int).encode(Size.LARGE) == codec(int).encode(3)


@pytest.mark.parametrize(
    ("number", "bits"), [(2**63, 64), (-(2**63) - 1, 64), (1 << 16_609, 16610)], ids=["above", "below", "far above"]
)
def test_a_number_beyond_64_bits_is_refused(number: int, bits: int) -> None:
    """Even one that Python refuses to print."""
    message = refusal(int, number)
    assert f"an int of {bits} bits and a sign does not fit into 8 bytes" in message
    assert message.endswith("Pass an int from -2**63 to 2**63 - 1, or declare value=str.")


def test_bytes_that_join_to_whole_numbers_are_still_damage() -> None:
    """Seven bytes beside nine are sixteen, and no two numbers."""
    with pytest.raises(ValueError, match="7 bytes instead of 8"):
        codec(int).decode_column([bytes(7), bytes(9)])
