"""JSON by any library: the same bytes are taken, the same values come out, and each reads what the others wrote."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
import subprocess
import sys
import uuid
from typing import Any, NamedTuple, TypedDict

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventlog.codecs import json_library
from eventlog.codecs.base import Role
from eventlog.codecs.json_codec import FastJsonCodec, JsonCodec

LIBRARIES: dict[str, json_library.JsonLibrary | None] = {
    "json": None,
    "orjson": json_library.orjson(),
    "msgspec": json_library.msgspec(),
}


def _codec(name: str, role: Role = "value") -> JsonCodec:
    library = LIBRARIES[name]
    if library is None:
        return JsonCodec(topic="orders", role=role)
    return FastJsonCodec(library, topic="orders", role=role)


CODECS = {name: _codec(name) for name in LIBRARIES}

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**80), 2**80),
    st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**30, 10**4299]),
    st.floats(),
    st.text(),
    st.text(st.characters(categories=["Cs", "Cc", "Nd"]), max_size=30),
    st.decimals(allow_nan=False),
    st.dates(),
    st.uuids(),
    st.datetimes(timezones=st.just(dt.UTC)),
)
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
        st.dictionaries(st.integers(0, 3), inner, max_size=2),
    ),
    max_leaves=8,
)
_DIGITS = st.text("0123456789", min_size=1, max_size=40)
TEXTS = st.recursive(
    st.one_of(
        st.sampled_from(
            [
                "NaN",
                "Infinity",
                "-Infinity",
                "null",
                "true",
                '"\\ud800"',
                '"\\udfff\\ud800"',
                '"a\\u0000"',
                "1e400",
                "-0",
            ]
        ),
        st.builds(lambda sign, digits: sign + digits, st.sampled_from(["", "-", "+"]), _DIGITS),
        st.builds("{}.{}e{}".format, _DIGITS, _DIGITS, st.integers(-400, 400)),
        st.text(max_size=5).map(lambda text: json.dumps(text, ensure_ascii=False)),
        st.text(max_size=5).map(json.dumps),
        st.text(max_size=4),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda ones: f"[{','.join(ones)}]"),
        st.lists(st.tuples(st.sampled_from(["a", "b"]), inner), max_size=3).map(
            lambda pairs: "{" + ", ".join(f'"{name}" : {one}' for name, one in pairs) + "}"
        ),
        inner.map(lambda one: f" \t{one}\r\n"),
        inner.map(lambda one: f"{one} {one}"),
    ),
    max_leaves=6,
)
BYTES = st.one_of(TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")), st.binary(max_size=8))


def _alike(value: Any) -> Any:
    """A value as one that tells numbers from each other: 1, 1.0, True, -0.0 and NaN."""
    if isinstance(value, dict):
        return {name: _alike(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return list(map(_alike, value))
    return (type(value).__name__, repr(value)) if isinstance(value, float | int) else value


def _decoded(codec: JsonCodec, data: bytes) -> Any:
    try:
        return _alike(codec.decode(data))
    except ValueError as error:
        return ("refused", str(error)[:50])


def _encoded(codec: JsonCodec, value: object) -> bytes | str | None:
    try:
        return codec.encode(value)
    except TypeError as error:
        return str(error)


@given(data=BYTES)
@example(b'{"a":1,"a":2}')
@example(b'{"a":1,"b":0,"a":[2]}')
@example(b"18446744073709551616")
@example(b"[-9223372036854775809]")
@example(b"1" * 4301)
@example(b'"\xed\xa0\x80"')
@example(b"\xef\xbb\xbf1")
@example(b'"a\nb"')
@example(b"1\x00")
@example(b"")
def test_the_same_bytes_are_read_as_the_same_values(data: bytes) -> None:
    """Also those that other programs wrote, and those that are not JSON at all."""
    expected = _decoded(CODECS["json"], data)
    for codec in CODECS.values():
        assert _decoded(codec, data) == expected


@given(column=st.lists(st.none() | BYTES, max_size=4))
def test_columns_are_read_as_their_values_are(column: list[bytes | None]) -> None:
    """No value of a column changes another, whatever is damaged."""
    for codec in CODECS.values():
        try:
            expected = [_alike(codec.decode(data)) for data in column]
        except ValueError:
            with pytest.raises(ValueError, match="cannot decode the value"):
                codec.decode_column(column)
        else:
            assert list(map(_alike, codec.decode_column(column))) == expected


@given(value=DOCUMENTS)
@example([math.nan])
@example({"a": None, "b": math.inf})
@example(["\ud800"])
@example({1: "a"})
@example([2**64, "9" * 30])
def test_what_one_library_wrote_the_others_read(value: object) -> None:
    """And what one refuses the others refuse, in the same words."""
    written = {name: _encoded(codec, value) for name, codec in CODECS.items()}
    expected = written["json"]
    for data in written.values():
        assert type(data) is type(expected)
        if not isinstance(data, bytes):
            assert data == expected
            continue
        assert isinstance(expected, bytes)
        for codec in CODECS.values():
            assert _decoded(codec, data) == _decoded(CODECS["json"], expected)


@given(value=DOCUMENTS)
def test_keys_have_the_same_bytes_by_every_library(value: object) -> None:
    """A key is one entity, whatever the process that wrote it had installed."""
    assert len({_encoded(_codec(name, "key"), value) for name in LIBRARIES}) == 1


@pytest.mark.parametrize("levels", [1, 200, 254, 255, 256, 257, 300])
def test_every_library_nests_as_deep(levels: int) -> None:
    """What is written by one is not too deep for another."""
    value: Any = 1
    for level in range(levels):
        value = {"a": value} if level % 2 else [value]
    answers = [_encoded(codec, value) for codec in CODECS.values()]
    assert [isinstance(one, bytes) for one in answers] == [levels <= json_library.MOST_LEVELS] * 3
    for data in answers:
        if isinstance(data, bytes):
            assert [codec.decode(data) for codec in CODECS.values()] == [value] * 3


def test_the_fastest_library_that_is_installed_is_used() -> None:
    """Msgspec before orjson, orjson before the standard library, and nothing fails without them."""
    program = (
        "import sys\n"
        "for name in sys.argv[1:]: sys.modules[name] = None\n"
        "from eventlog.codecs import codec_for\n"
        "codec = codec_for('json', topic='t', role='value')\n"
        "assert codec.decode(codec.encode({'a': [1.5, 2**70]})) == {'a': [1.5, 2**70]}\n"
        "print(codec._library.name if hasattr(codec, '_library') else 'json')"
    )
    for missing, name in (((), "msgspec"), (("msgspec",), "orjson"), (("msgspec", "orjson"), "json")):
        done = subprocess.run([sys.executable, "-c", program, *missing], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == name


# -- what JSON does not have -----------------------------------------------------------------------------------------


class Shade(enum.Enum):
    """An enum of text."""

    DARK = "dark"


class Point(NamedTuple):
    """A tuple with names."""

    x: int
    y: int


class Sizes(TypedDict):
    """A dict with names."""

    width: int


@attrs.frozen
class AttrsOrder:
    """An order."""

    total: decimal.Decimal
    at: dt.datetime
    shade: Shade = Shade.DARK
    inner: list[Any] = attrs.field(factory=list)


@dataclasses.dataclass
class DataOrder:
    """An order."""

    total: decimal.Decimal
    at: dt.datetime
    shade: Shade = Shade.DARK
    inner: list[Any] = dataclasses.field(default_factory=list)


class StructOrder(msgspec.Struct):
    """An order."""

    total: decimal.Decimal
    at: dt.datetime
    shade: Shade = Shade.DARK
    inner: list[Any] = []


class ModelOrder(pydantic.BaseModel):
    """An order."""

    total: decimal.Decimal
    day: dt.date
    shade: Shade = Shade.DARK


TOTAL, AT = decimal.Decimal("1.50"), dt.datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=dt.UTC)
ORDER = {"total": "1.50", "at": "2026-01-02T03:04:05.000600+00:00", "shade": "dark", "inner": [{"width": 2}, [1, 2]]}


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize(
    ("value", "document"),
    [
        (AT, ORDER["at"]),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (TOTAL, "1.50"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Shade.DARK, "dark"),
        (Point(1, 2), [1, 2]),
        (Sizes(width=2), {"width": 2}),
        (AttrsOrder(TOTAL, AT, inner=[Sizes(width=2), Point(1, 2)]), ORDER),
        (DataOrder(TOTAL, AT, inner=[Sizes(width=2), Point(1, 2)]), ORDER),
        (StructOrder(TOTAL, AT, inner=[Sizes(width=2), Point(1, 2)]), ORDER),
        ([ModelOrder(total=TOTAL, day=AT.date())], [{"total": "1.50", "day": "2026-01-02", "shade": "dark"}]),
        ({"a": [None, {"b": AttrsOrder(TOTAL, AT)}]}, {"a": [None, {"b": ORDER | {"inner": []}}]}),
    ],
)
def test_json_writes_classes_and_times_by_rules(name: str, value: object, document: object) -> None:
    """By the same ones whichever library is installed."""
    assert CODECS[name].decode(CODECS[name].encode(value)) == document


def test_equal_keys_have_equal_bytes_in_json() -> None:
    """The same moment in two time zones, the same number with more zeros."""
    codec = _codec("msgspec", "key")
    west = AT.astimezone(dt.timezone(dt.timedelta(hours=-5)))
    assert codec.encode([west, decimal.Decimal("1.5")]) == codec.encode([AT, decimal.Decimal("1.500")])


@pytest.mark.parametrize(
    "value", [b"tea", {1, 2}, object(), AT.replace(tzinfo=None), DataOrder(TOTAL, AT, inner=[b""])]
)
def test_what_has_no_rule_is_refused(value: object) -> None:
    """By every library in the same words."""
    answers = {_encoded(codec, value) for codec in CODECS.values()}
    assert len(answers) == 1
    assert "Nothing was stored." in str(answers)
