"""Instances of attrs classes come out of a topic as they went in, also when the class has changed or is missing."""

from __future__ import annotations

import builtins
import datetime as dt
import decimal
import enum
import uuid
from collections.abc import Mapping
from typing import Any

import attrs
import msgpack
import pytest

from eventlog.codecs import Codec, codec_for, codec_from_stored
from eventlog.errors import TopicMismatch


class Shade(enum.StrEnum):
    """Stands for text that is not exactly `str`."""

    DARK = "dark"


class State(enum.Enum):
    """Stands for an enum of the caller's."""

    PAID = "paid"


@attrs.frozen
class Line:
    """Stands for a class inside a class."""

    sku: str
    count: int


@attrs.frozen
class Order:
    """Stands for a class of the caller's, with every type that has a rule of its own."""

    number: str
    price: float
    at: dt.datetime
    day: dt.date
    key: uuid.UUID
    total: decimal.Decimal
    lines: list[Line] = attrs.field(factory=list)
    state: State = State.PAID
    shade: Shade = Shade.DARK
    note: str | None = None
    is_open: bool = True
    blob: bytes = b""
    seal: str = attrs.field(init=False, default="sealed")


@attrs.frozen
class RushOrder(Order):
    """Stands for a subclass with a field of its own."""

    courier: str = "Eva"


ORDER = Order(
    "o-1",
    2.5,
    dt.datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=dt.timezone(dt.timedelta(hours=2))),
    dt.date(2026, 2, 3),
    uuid.UUID(int=7),
    decimal.Decimal("2.50"),
    [Line("tea", 2)],
)


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


# --- classes --------------------------------------------------------------------------------------------------------


def test_an_instance_is_stored_as_a_map_of_its_fields() -> None:
    """Who has no class sees plain values under the names of the fields."""
    data = codec(Order).encode(ORDER)
    assert codec("msgpack").decode(data) == {
        "number": "o-1",
        "price": 2.5,
        "at": ORDER.at,
        "day": "2026-02-03",
        "key": "00000000-0000-0000-0000-000000000007",
        "total": "2.50",
        "lines": [{"sku": "tea", "count": 2}],
        "state": "paid",
        "shade": "dark",
        "note": None,
        "is_open": True,
        "blob": b"",
    }
    assert codec(Order).decode(data) == ORDER


def test_what_is_stored_of_a_class_is_its_name_and_fields() -> None:
    """The topic tells who reads it what to expect."""
    assert codec(Line).to_stored() == {
        "name": "class",
        "class": f"{__name__}.Line",
        "schema": {"sku": "str", "count": "int"},
        "required": ["sku", "count"],
    }
    assert codec(Order).to_stored()["required"] == ["number", "price", "at", "day", "key", "total"]


def test_fields_without_a_type_take_anything() -> None:
    """A class may leave the type of a field open."""
    untyped = attrs.make_class("Untyped", ["content"])
    one = codec(untyped)
    assert one.to_stored()["schema"] == {"content": "Any"}
    assert one.decode(one.encode(untyped({"a": 1}))) == untyped({"a": 1})


@pytest.mark.parametrize("value", [{"sku": "tea", "count": 2}, "tea", ORDER])
def test_only_an_instance_of_the_class_fits(value: object) -> None:
    """A dict that looks like one is not one."""
    message = refusal(Line, value)
    assert f"{type(value).__name__} is not Line." in message
    assert message.endswith("Pass an instance of Line, or use another topic.")


def test_an_instance_of_a_subclass_is_refused() -> None:
    """It would come back without the fields that the subclass added."""
    rush = RushOrder("o-1", 2.5, ORDER.at, ORDER.day, ORDER.key, ORDER.total)
    assert "RushOrder is not Order but a subclass, whose own fields would be lost" in refusal(Order, rush)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"number": None}, "NoneType in a field of type str"),
        ({"number": 7}, "int in a field of type str"),
        ({"price": "2.5"}, "str in a field of type float"),
        ({"at": "2026-02-03"}, "str in a field of type datetime"),
        ({"at": dt.datetime(2026, 1, 1)}, "a datetime has no time zone. Nothing was stored. Give it one"),  # noqa: DTZ001
        ({"day": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)}, "datetime in a field of type date"),
        ({"key": "7"}, "str in a field of type UUID"),
        ({"total": 2.5}, "float in a field of type Decimal"),
        ({"lines": [Line("tea", "2")]}, "str in a field of type int"),  # type: ignore[arg-type]
        ({"lines": [{"sku": "tea"}]}, "dict in a field of type Line"),
        ({"state": "paid"}, "str in a field of type State"),
    ],
)
def test_a_field_of_another_type_is_refused_before_it_is_stored(changes: dict[str, object], told: str) -> None:
    """Otherwise the record could be sent and never read, or would come back as the text "None"."""
    message = refusal(Order, attrs.evolve(ORDER, **changes))
    assert "a field of Order cannot be stored: " in message
    assert told in message


def test_a_whole_number_fits_a_field_of_type_float() -> None:
    """As in Python's own typing."""
    order = attrs.evolve(ORDER, price=3)
    assert codec(Order).decode(codec(Order).encode(order)) == order


@attrs.frozen
class Plain:
    """Stands for a class whose fields are all of types that MessagePack has."""

    sku: str
    count: int
    price: float = 1.0
    is_open: bool = attrs.field(default=True, converter=bool)


@pytest.mark.parametrize(
    ("fields", "plain"),
    [
        ({"sku": "tea", "count": 2, "price": 2.5, "is_open": False}, Plain("tea", 2, 2.5, False)),
        ({"is_open": False, "count": 2, "price": 2.5, "sku": "tea"}, Plain("tea", 2, 2.5, False)),
        ({"sku": "tea", "count": 2, "price": 3, "is_open": True}, Plain("tea", 2, 3)),
        ({"sku": "tea", "count": 2}, Plain("tea", 2)),
        ({"sku": "tea", "count": 2, "old": 1, "older": 2}, Plain("tea", 2)),
        ({"sku": "tea", "count": 2, "price": 2.5, "is_open": True, "old": 1}, Plain("tea", 2, 2.5)),
    ],
)
def test_classes_of_plain_fields_are_read_alike_on_the_short_way_and_the_long(fields: object, plain: Plain) -> None:
    """The short way is for maps with all fields and no others, in any order."""
    assert codec(Plain).decode(msgpack.packb(fields)) == plain


@pytest.mark.parametrize(
    "fields",
    [
        {"sku": "tea", "count": 2, "price": 2.5, "is_open": 1},
        {"sku": "tea", "count": True, "price": 2.5, "is_open": None},
        {"sku": "tea", "price": 2.5, "is_open": True, "old": 1},
        ["tea", 2, 2.5, True],
        "text",
    ],
)
def test_classes_of_plain_fields_are_checked(fields: object) -> None:
    """The short way looks at every type."""
    with pytest.raises(ValueError, match="cannot decode the value with the codec 'class': not a Plain, "):
        codec(Plain).decode(msgpack.packb(fields))


@pytest.mark.parametrize(
    "fields", [None, [], {}, {"sku": "tea"}, {"sku": "tea", "count": "2"}, {"sku": None, "count": 2}]
)
def test_a_stored_map_that_is_no_instance_is_damage(fields: object) -> None:
    """Missing fields and other types raise; nothing is guessed."""
    with pytest.raises(ValueError, match="cannot decode the value with the codec 'class': not a Line, "):
        codec(Line).decode(msgpack.packb(fields))


def test_a_validator_that_refuses_a_stored_record_is_damage() -> None:
    """Reading makes a new instance, so the rules of the class hold for it."""

    def refuse(*_: object) -> None:
        raise KeyError("no")

    one = codec(attrs.make_class("Line", {"sku": attrs.field(type=str, validator=refuse)}))
    with pytest.raises(ValueError, match="not a Line, KeyError"):
        one.decode(msgpack.packb({"sku": "tea"}))


def test_a_class_that_can_not_be_read_back_is_refused_when_declared() -> None:
    """A topic of such a class would fail at its first record."""
    opaque = attrs.make_class("Opaque", {"thing": attrs.field(type=complex)})
    with pytest.raises(TypeError, match=r"cannot use value=Opaque for topic 'orders': cattrs.*Nothing was stored"):
        codec(opaque)


def test_without_cattrs_a_class_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only topics of a class need cattrs."""
    plain_import = builtins.__import__

    def without_cattrs(name: str, *rest: Any) -> Any:
        if name.startswith("cattrs"):
            raise ImportError(name)
        return plain_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_cattrs)
    with pytest.raises(ImportError, match=r'value=Line for topic \'orders\'.*pip install "eventlog\[cattrs\]"'):
        codec(Line)
    assert stored({"name": "class", "class": "shop.Line", "schema": {}, "required": []}).name == "class"


# --- classes that changed, moved or are missing ---------------------------------------------------------------------


def test_a_class_may_gain_a_field_with_a_default() -> None:
    """Old records get the default, and old readers skip what is new to them."""
    grown = attrs.make_class(
        "Line",
        {"sku": attrs.field(type=str), "count": attrs.field(type=int), "note": attrs.field(type=str, default="-")},
    )
    old, new = codec(Line), stored(codec(Line).to_stored(), grown)
    assert new.decode(old.encode(Line("tea", 2))) == grown("tea", 2, "-")
    assert old.decode(new.encode(grown("tea", 2, "hot"))) == Line("tea", 2)


def test_a_class_may_lose_a_field() -> None:
    """What old records have more is skipped."""
    shrunk = attrs.make_class("Line", {"sku": attrs.field(type=str)})
    assert stored(codec(Line).to_stored(), shrunk).decode(codec(Line).encode(Line("tea", 2))) == shrunk("tea")


def test_a_class_may_not_gain_a_field_without_a_default() -> None:
    """Records that are there could not be read."""
    grown = attrs.make_class("Line", {"sku": attrs.field(type=str), "size": attrs.field(type=int)})
    with pytest.raises(TopicMismatch, match=rf"{__name__}\.Line, without the fields size.*Give these fields a default"):
        stored(codec(Line).to_stored(), grown)


def test_a_class_may_move_to_another_module() -> None:
    """A program started as a script has its classes in `__main__`, and code is rearranged."""
    moved = dict(codec(Line).to_stored(), **{"class": "shop.basket.Line"})
    assert stored(moved, Line).decode(codec(Line).encode(Line("tea", 2))) == Line("tea", 2)


def test_a_class_of_another_name_is_a_mismatch() -> None:
    """The message names both, and how to read without the class."""
    with pytest.raises(TopicMismatch) as caught:
        stored(codec(Line).to_stored(), Order)
    assert f"with value={__name__}.Order: the topic was created with value={__name__}.Line." in str(caught.value)
    assert str(caught.value).endswith("The topic is unchanged. Leave value= out to read dicts.")


def test_without_the_class_records_are_dicts() -> None:
    """They can be read, and written for those who have the class."""
    dicts = stored(codec(Line).to_stored())
    assert dicts.decode(codec(Line).encode(Line("tea", 2))) == {"sku": "tea", "count": 2}
    assert codec(Line).decode(dicts.encode({"sku": "mate", "count": 1})) == Line("mate", 1)
    assert dicts.encode(None) is None


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"sku": "tea"}, "the dict lacks fields of test_codecs.Line: count."),
        ({}, "the dict lacks fields of test_codecs.Line: count, sku."),
        (Line("tea", 2), "Line is not a dict with the fields of test_codecs.Line."),
        ({"sku": object(), "count": 2}, "dict does not fit the codec 'class': "),
    ],
)
def test_without_the_class_only_a_dict_of_its_fields_fits(value: object, told: str) -> None:
    """The fields that the class needs must be there; their types only the class knows."""
    dicts = stored(dict(codec(Line).to_stored(), **{"class": "test_codecs.Line"}))
    with pytest.raises(TypeError) as caught:
        dicts.encode(value)
    assert told in str(caught.value)
    assert "Nothing was stored. Pass " in str(caught.value)
