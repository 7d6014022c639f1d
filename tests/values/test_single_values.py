"""The codecs of numbers, times, ids and enums."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import math
import uuid
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventlog
from eventlog.codecs import codec_for, codec_from_stored
from eventlog.codecs.base import Codec, Role
from eventlog.errors import TopicMismatch


class Shade(enum.Enum):
    """An enum of text."""

    DARK = "dark"
    LIGHT = "light"


class Side(enum.Enum):
    """An enum of pairs."""

    LEFT = (-1, 0)
    RIGHT = (1, 0)


def _has_year_in_utc(moment: dt.datetime) -> bool:
    """Whether the year is from 1 to 9999 in UTC."""
    try:
        moment.astimezone(dt.UTC)
    except OverflowError:
        return False
    return True


def _codec(declared: Any, role: Role = "value") -> Codec[Any]:
    return codec_for(declared, topic="prices", role=role)


ZONES = st.sampled_from([dt.UTC, ZoneInfo("Europe/Berlin"), dt.timezone(dt.timedelta(hours=-11))])
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    float: st.floats(),
    bool: st.booleans(),
    uuid.UUID: st.uuids(),
    dt.date: st.dates(),
    dt.datetime: st.datetimes(timezones=ZONES),
    decimal.Decimal: st.decimals(allow_nan=False),
    Shade: st.sampled_from(Shade),
    Side: st.sampled_from(Side),
}


@pytest.mark.parametrize("role", ["key", "value"])
@pytest.mark.parametrize("declared", VALUES)
@given(data=st.data())
def test_single_values_come_back_or_are_refused(declared: Any, role: Role, data: st.DataObject) -> None:
    """Equal, of the same type, and by the stored description as well."""
    value, codec = data.draw(VALUES[declared]), _codec(declared, role)
    if declared is dt.datetime and not _has_year_in_utc(value):
        with pytest.raises(TypeError, match="Nothing was"):
            codec.encode(value)
        return
    encoded = codec.encode(value)
    again = codec.decode(encoded)
    assert type(again) is type(value)
    if declared is dt.datetime:
        value = value.astimezone(dt.UTC)  # in the hour that comes twice, Python says that nothing equals a local time
    assert again == value or math.isnan(value)
    plain = codec_from_stored(codec.to_stored(), None, topic="prices", role=role)
    assert plain.encode(plain.decode(encoded)) == encoded


@given(number=st.decimals(allow_nan=False), moment=st.datetimes(timezones=ZONES))
def test_equal_keys_have_equal_bytes(number: decimal.Decimal, moment: dt.datetime) -> None:
    """Trailing zeros, time zones and the sign of zero make no other key."""
    if number.is_finite() and abs(number.adjusted()) < 1000:
        wide = decimal.Context(prec=5000)
        longer = wide.multiply(number, decimal.Decimal("1.000"))
        assert _codec(decimal.Decimal, "key").encode(longer) == _codec(decimal.Decimal, "key").encode(number)
    codec = _codec(dt.datetime, "key")
    if _has_year_in_utc(moment):
        assert codec.encode(moment) == codec.encode(moment.astimezone(dt.UTC))
    assert _codec(float, "key").encode(-0.0) == _codec(float, "key").encode(0.0)


@pytest.mark.parametrize(
    ("declared", "value", "stored"),
    [
        (float, 1.5, "3ff8000000000000"),
        (float, 2, "4000000000000000"),
        (bool, True, "01"),
        (uuid.UUID, uuid.UUID(int=7), b"00000000-0000-0000-0000-000000000007".hex()),
        (dt.date, dt.date(2026, 1, 2), b"2026-01-02".hex()),
        (dt.datetime, dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC), "00000000000f4240"),
        (decimal.Decimal, decimal.Decimal("1.50"), b"1.50".hex()),
        (Shade, Shade.DARK, "a46461726b"),
    ],
)
def test_the_bytes_are_those_of_the_reference(declared: Any, value: object, stored: str) -> None:
    """Other programs may read them."""
    data = _codec(declared).encode(value)
    assert data is not None
    assert data.hex() == stored


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (float, 2**60),
        (float, True),
        (float, "1.5"),
        (bool, 1),
        (uuid.UUID, "7"),
        (dt.date, dt.datetime(2026, 1, 1, tzinfo=dt.UTC)),
        (dt.datetime, dt.date(2026, 1, 1)),
        (dt.datetime, dt.datetime(2026, 1, 1, tzinfo=dt.UTC).replace(tzinfo=None)),
        (dt.datetime, dt.datetime.max.replace(tzinfo=dt.timezone(dt.timedelta(hours=-1)))),
        (decimal.Decimal, 1.5),
        (Shade, "dark"),
        (Shade, Side.LEFT),
    ],
)
def test_other_values_are_refused(declared: Any, value: object) -> None:
    """Before anything is stored, as with every codec."""
    with pytest.raises(
        TypeError, match=r"cannot encode the value for topic 'prices'.*Nothing was stored\. Pass |Declare"
    ):
        _codec(declared).encode(value)


@pytest.mark.parametrize("declared", [float, bool, uuid.UUID, dt.date, dt.datetime, decimal.Decimal, Shade])
@given(data=st.binary(max_size=40))
def test_other_bytes_are_damage(declared: Any, data: bytes) -> None:
    """They raise what damage raises, or are a value."""
    codec = _codec(declared)
    try:
        value = codec.decode(data)
    except ValueError:
        with pytest.raises(ValueError, match="cannot decode the value with the codec"):
            codec.decode(data)
    else:
        codec.encode(value)


def test_none_is_none_for_every_type() -> None:
    """A tombstone, or no key."""
    for declared in VALUES:
        assert _codec(declared).encode(None) is None
        assert _codec(declared).decode(None) is None


def test_types_are_stored_with_the_topic(path: str) -> None:
    """A program that declares nothing gets the same values, and the values of the members."""
    moment = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    with eventlog.open(path) as log:
        log.topic("prices", key=dt.datetime, value=decimal.Decimal).append(decimal.Decimal("1.50"), key=moment)
        log.topic("shades", key=uuid.UUID, value=Shade).append(Shade.DARK, key=uuid.UUID(int=1))
    with eventlog.open(path) as log:
        record = next(log.topic("prices").read())
        assert (record.key, record.value) == (moment, decimal.Decimal("1.50"))
        shades = log.topic("shades")
        assert [record.value for record in shades.read()] == ["dark"]
        shades.append("light")
        with pytest.raises(TypeError, match="no value of"):
            shades.append("red")
        assert list(log.topic("shades", value=Shade).read())[1].value is Shade.LIGHT
        with pytest.raises(TopicMismatch, match="Leave value= out to read the values of its members"):
            log.topic("shades", value=Side)
        with pytest.raises(TopicMismatch, match="created with value=decimal"):
            log.topic("prices", value=float)


def test_an_enum_that_does_not_come_back_is_refused_when_declared() -> None:
    """Not at the first record that cannot be read."""
    strange = enum.Enum("strange", {"A": object()})
    with pytest.raises(TypeError, match=r"cannot use value=strange for topic 'prices': A does not come back"):
        _codec(strange)
