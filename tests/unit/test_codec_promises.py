"""What a codec takes it can read, and it comes back equal; everything else is refused when it is written."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import math
import sys
import uuid
from collections.abc import Callable
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import attrs
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.codecs import Codec, codec_for, codec_from_stored
from eventlog.codecs.json_library import MOST_LEVELS
from eventlog.codecs.ordered import OrderedCodec


class Right(enum.IntFlag):
    """Numbers that can be joined."""

    READ = 1
    WRITE = 2


class Grade(enum.IntEnum):
    """Numbers with names."""

    LOW = 1
    HIGH = 2


class Shade(enum.StrEnum):
    """Text with names."""

    DARK = "dark"


class Side(enum.Enum):
    """Pairs with names."""

    LEFT = (-1, 0)
    RIGHT = (1, 0)


class Pair(NamedTuple):
    """A tuple with names."""

    first: int
    second: str


@attrs.frozen
class Item:
    """A class inside a class."""

    count: int = 0


@attrs.frozen
class BigItem(Item):
    """A subclass, whose field would be lost."""

    size: int = 1


def _tags(text: Any) -> list[str]:
    return text.split() if isinstance(text, str) else text


def _twice(number: Any) -> Any:
    return number * 2 if isinstance(number, int) else number


SEVEN = uuid.UUID(int=7)


@attrs.frozen
class Everything:
    """A class with a field of every kind."""

    number: int = 0
    ratio: float = 0.0
    text: str = ""
    blob: bytes = b""
    is_open: bool = False
    at: dt.datetime = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    day: dt.date = dt.date(2026, 1, 1)
    key: uuid.UUID = SEVEN
    total: decimal.Decimal = decimal.Decimal(0)
    rights: Right = Right.READ
    grade: Grade = Grade.LOW
    shade: Shade = Shade.DARK
    side: Side = Side.LEFT
    maybe_grade: Grade | None = None
    maybe_at: dt.datetime | None = None
    choice: Literal["a", 1] = "a"
    maybe_choice: Literal["a", 1] | None = None
    several: int | str | None = None
    dated: dt.date | str = ""
    item: Item = Item()
    maybe_item: Item | None = None
    item_or_number: Item | int = 0
    items: list[Item] = attrs.field(factory=list)
    row: tuple[int, str] = (0, "")
    numbers: dict[str, int] = attrs.field(factory=dict)
    by_grade: dict[Grade, dt.date] = attrs.field(factory=dict)
    tags: list[str] = attrs.field(factory=list, converter=_tags)
    doubled: int = attrs.field(default=0, converter=_twice)


ZONES = [dt.UTC, ZoneInfo("America/New_York"), ZoneInfo("Europe/Berlin"), dt.timezone(dt.timedelta(hours=-23))]
FIRST = [dt.datetime(1, 1, 1, tzinfo=zone) for zone in (*ZONES, None)]
LAST = [dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=zone) for zone in (*ZONES, None)]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(),
    st.characters(categories=["Cs"]),
    st.binary(max_size=20),
    st.datetimes(timezones=st.sampled_from([*ZONES, None])),
    st.sampled_from([*FIRST, *LAST]),
    st.dates(),
    st.uuids(),
    st.decimals(allow_nan=False),
    st.sampled_from([*Right, Right.READ | Right.WRITE, *Grade, *Shade, *Side, Pair(1, "a"), Item(1), BigItem(1, 2)]),
    st.builds(msgpack.Timestamp, st.integers(-(2**63), 2**63 - 1), st.just(0)),
    st.builds(bytearray, st.binary(max_size=3)),
)
KEYS = st.one_of(st.text(max_size=3), LEAVES.filter(lambda one: not isinstance(one, bytearray)))
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
        st.dictionaries(st.one_of(KEYS, st.tuples(KEYS, KEYS)), inner, max_size=3),
        st.sets(st.integers(), max_size=2),
    ),
    max_leaves=8,
)
INSTANCES = st.one_of(
    st.builds(Everything),
    st.fixed_dictionaries({}, optional={field.name: DOCUMENTS for field in attrs.fields(Everything)}).map(
        lambda fields: Everything(**fields)
    ),
)


def _plain(value: Any) -> Any:
    """A value as one that compares: tuples are lists, NaN is NaN, a time is a point in time."""
    if isinstance(value, dict):
        return {_key(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_plain, value))
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, msgpack.Timestamp):
        return value.to_unix_nano() // 1000
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return (value - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    if attrs.has(type(value)):
        return [type(value), {field.name: _plain(getattr(value, field.name)) for field in attrs.fields(type(value))}]
    return value


def _key(key: Any) -> Any:
    plain = _plain(key)
    return tuple(map(_key, plain)) if isinstance(plain, list) else plain


def _as_json(value: Any, *, is_key: bool) -> Any:
    """A document as JSON has it, by the rules of the reference."""
    if isinstance(value, enum.Enum):
        return _as_json(value.value, is_key=is_key)
    if isinstance(value, dict):
        return {key: _as_json(inner, is_key=is_key) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(inner, is_key=is_key) for inner in value]
    if isinstance(value, dt.datetime):
        return (value.astimezone(dt.UTC) if is_key else value).isoformat()
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, decimal.Decimal) and is_key and value.is_finite():
        with decimal.localcontext(prec=1000, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN):
            return str(value.normalize() if value else decimal.Decimal(0))
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return str(value)
    return _as_json(attrs.asdict(value), is_key=is_key) if attrs.has(type(value)) else value


def _check(codec: Codec[Any], value: Any) -> bool:
    """Whether the codec takes the value, which it then reads."""
    try:
        data = codec.encode(value)
    except (TypeError, ValueError):
        return False
    if codec.name == "json":
        value = _as_json(value, is_key=codec.role == "key")
    assert _plain(codec.decode(data)) == _plain(value)
    assert [_plain(one) for one in codec.decode_column([data])] == [_plain(value)]
    return True


def _stored(codec: Codec[Any]) -> Codec[Any]:
    """The codec of a program without the classes."""
    return codec_from_stored(codec.to_stored(), None, topic="orders", role="value")


@pytest.mark.parametrize("declared", [bytes, str, int])
@given(value=LEAVES)
def test_plain_values_come_back_or_are_refused(declared: Any, value: object) -> None:
    """Text comes back as bytes from the codec of bytes; that is all that may change."""
    if declared is bytes and isinstance(value, str):
        return
    _check(codec_for(declared, topic="orders", role="value"), value)


@pytest.mark.parametrize("declared", ["json", "msgpack"])
@given(value=DOCUMENTS)
def test_documents_come_back_or_are_refused(declared: Any, value: object) -> None:
    """Whatever is in them, and however it is nested."""
    _check(codec_for(declared, topic="orders", role="value"), value)


@given(value=INSTANCES)
def test_instances_come_back_or_are_refused(value: Everything) -> None:
    """Whatever their fields hold: attrs does not check it."""
    _check(codec_for(Everything, topic="orders", role="value"), value)
    _check(codec_for((Everything, Item), topic="orders", role="value"), value)


@given(value=DOCUMENTS)
def test_dicts_of_fields_come_back_or_are_refused(value: object) -> None:
    """A program without the classes writes dicts."""
    _check(_stored(codec_for(Item, topic="orders", role="value")), value)
    _check(_stored(codec_for((Item,), topic="orders", role="value")), {"event": "Item", "version": 1, "data": value})


@given(value=DOCUMENTS)
def test_keys_of_states_come_back_or_are_refused(value: object) -> None:
    """Also tuples, which stay tuples."""
    codec: OrderedCodec[Any] = OrderedCodec(topic="totals")
    try:
        data = codec.encode(value)
    except (TypeError, ValueError):
        return
    assert codec.decode(data) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("number", 2**64),
        ("at", LAST[1]),
        ("at", FIRST[2]),
        ("at", dt.datetime(2026, 1, 1)),  # noqa: DTZ001
        ("text", "\ud800"),
        ("grade", 7),
        ("grade", 1),
        ("shade", "dark"),
        ("choice", "b"),
        ("maybe_choice", "b"),
        ("several", 3.5),
        ("dated", dt.date(2026, 1, 1)),
        ("item", BigItem()),
        ("maybe_item", BigItem()),
        ("item_or_number", BigItem()),
        ("items", [BigItem()]),
        ("row", (1, "a", 3)),
        ("doubled", 1),
    ],
)
def test_a_field_that_would_not_come_back_is_refused(name: str, value: object) -> None:
    """Not only by chance."""
    assert not _check(codec_for(Everything, topic="orders", role="value"), Everything(**{name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("at", LAST[0]),
        ("at", FIRST[0]),
        ("rights", Right.READ | Right.WRITE),
        ("grade", Grade.HIGH),
        ("maybe_grade", Grade.HIGH),
        ("shade", Shade.DARK),
        ("side", Side.RIGHT),
        ("choice", 1),
        ("dated", "2026-01-01"),
        ("item_or_number", Item(3)),
        ("by_grade", {Grade.LOW: dt.date(2026, 1, 1)}),
        ("tags", "a b"),
        ("doubled", 0),
    ],
)
def test_a_field_comes_back_with_its_type(name: str, value: object) -> None:
    """A member of an enum is one again, also of an enum of numbers."""
    codec = codec_for(Everything, topic="orders", role="value")
    before = Everything(**{name: value})
    assert _check(codec, before)
    after = codec.decode(codec.encode(before))
    assert type(getattr(after, name)) is type(getattr(before, name))


@pytest.mark.parametrize("value", [FIRST[2], FIRST[4], LAST[1], LAST[3], LAST[4], msgpack.Timestamp(2**62, 0)])
def test_msgpack_takes_no_time_that_no_datetime_can_hold(value: object) -> None:
    """`datetime.max` west of Greenwich is the year 10000 in UTC."""
    codec = codec_for("msgpack", topic="orders", role="value")
    for document in (value, [{1: value}], {(1, value): 1}):
        assert not _check(codec, document)


@pytest.mark.parametrize("value", [FIRST[0], FIRST[1], FIRST[3], LAST[0], LAST[2]])
def test_msgpack_takes_the_first_and_the_last_time(value: object) -> None:
    """As far as UTC has them."""
    assert _check(codec_for("msgpack", topic="orders", role="value"), {(1, value): [value]})


def _deep(levels: int) -> Any:
    value: Any = 1
    for number in range(levels):
        value = [value] if number % 2 else {"a": value}
    return value


def _further_down(frames: int, function: Callable[[], bool]) -> bool:
    return _further_down(frames - 1, function) if frames else function()


@pytest.mark.parametrize("levels", [MOST_LEVELS - 1, MOST_LEVELS, MOST_LEVELS + 1, 511, 993, 1500])
def test_json_that_is_taken_is_read_far_down_the_stack(levels: int) -> None:
    """A document is not written by a shallow program that a deeper one cannot read."""
    codec = codec_for("json", topic="orders", role="value")
    is_taken = levels <= MOST_LEVELS
    assert _check(codec, _deep(levels)) == is_taken
    assert _further_down(300, lambda: _check(codec, _deep(levels))) == is_taken


def test_json_takes_no_number_that_others_do_not_read() -> None:
    """A program that has raised its own limit would write what no other can read."""
    codec = codec_for("json", topic="orders", role="value")
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        assert not _check(codec, [10**4300])
        assert _check(codec, [10**4299, "0" * 10_000])
    finally:
        sys.set_int_max_str_digits(limit)


def test_an_enum_in_a_class_inside_a_class_comes_back() -> None:
    """Wherever it is declared."""
    inner = attrs.make_class("Inner", {"grades": attrs.field(type=dict[str, list[Grade | None]])})
    outer = attrs.make_class("Outer", {"inner": attrs.field(type=inner | None)})
    codec = codec_for(outer, topic="orders", role="value")
    after = codec.decode(codec.encode(outer(inner({"a": [Grade.HIGH, None]}))))
    assert type(after.inner.grades["a"][0]) is Grade


# --- keys -----------------------------------------------------------------------------------------------------------


@attrs.frozen
class Place:
    """A key of a class, with what has no order of its own."""

    zone: str
    area: dict[str, int]
    marks: frozenset[str] = frozenset()


def _turned(value: Any) -> Any:
    """The same value, with the entries of every dict the other way round."""
    if isinstance(value, dict):
        return {key: _turned(inner) for key, inner in reversed(value.items())}
    return list(map(_turned, value)) if isinstance(value, list) else value


@pytest.mark.parametrize("declared", ["json", "msgpack"])
@given(value=DOCUMENTS)
def test_equal_keys_have_equal_bytes(declared: Any, value: object) -> None:
    """Otherwise one entity would have two histories, in two partitions."""
    codec = codec_for(declared, topic="orders", role="key")
    if _check(codec, value):
        assert codec.encode(_turned(value)) == codec.encode(value)


def test_equal_keys_of_a_class_have_equal_bytes() -> None:
    """In every process, and from a program without the class, whatever the order of its dict."""
    codec = codec_for(Place, topic="orders", role="key")
    marks = [f"mark {number}" for number in range(10, 30)]
    data = codec.encode(Place("a", {"x": 1, "b": 2}, frozenset(marks)))
    assert codec.encode(Place("a", {"b": 2, "x": 1}, frozenset(reversed(marks)))) == data
    assert msgpack.unpackb(data)["marks"] == sorted(marks)
    without = codec_from_stored(codec.to_stored(), None, topic="orders", role="key")
    assert without.encode({"zone": "a", "marks": sorted(marks), "area": {"x": 1, "b": 2}}) == data
    assert codec.decode(data) == Place("a", {"x": 1, "b": 2}, frozenset(marks))


def test_values_keep_the_order_of_their_names() -> None:
    """Only keys are compared by their bytes."""
    for declared in ("json", "msgpack"):
        codec = codec_for(declared, topic="orders", role="value")
        assert list(codec.decode(codec.encode({"b": 1, "a": 2}))) == ["b", "a"]
