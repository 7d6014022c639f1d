"""Classes of every library as keys and values: what is told when they do not fit, and how they change."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import math
import subprocess
import sys
from typing import Any, Generic, NamedTuple, NotRequired, TypedDict, TypeVar

import attrs
import msgspec
import pydantic
import pytest

import eventlog
from eventlog.codecs import codec_for, codec_from_stored
from eventlog.codecs.base import Codec, UnknownEventData
from eventlog.errors import TopicMismatch

T = TypeVar("T")


@attrs.frozen
class AttrsOrder:
    """An order."""

    sku: str
    total: decimal.Decimal
    count: int = 1


@dataclasses.dataclass(frozen=True)
class DataOrder:
    """An order."""

    sku: str
    total: decimal.Decimal
    count: int = 1


class ModelOrder(pydantic.BaseModel):
    """An order."""

    model_config = pydantic.ConfigDict(frozen=True)
    sku: str = pydantic.Field(alias="SKU")
    total: decimal.Decimal
    count: int = 1


class StructOrder(msgspec.Struct, frozen=True):
    """An order."""

    sku: str
    total: decimal.Decimal
    count: int = 1


class DictOrder(TypedDict):
    """An order."""

    sku: str
    total: decimal.Decimal
    count: NotRequired[int]


class PairOrder(NamedTuple):
    """An order."""

    sku: str
    total: decimal.Decimal
    count: int = 1


@pydantic.dataclasses.dataclass
class ModelData:
    """An order."""

    sku: str
    total: decimal.Decimal
    count: int = 1


TOTAL = decimal.Decimal("1.50")
KINDS: dict[Any, Any] = {
    AttrsOrder: AttrsOrder("tea", TOTAL, 2),
    DataOrder: DataOrder("tea", TOTAL, 2),
    ModelOrder: ModelOrder(SKU="tea", total=TOTAL, count=2),
    StructOrder: StructOrder("tea", TOTAL, 2),
    DictOrder: DictOrder(sku="tea", total=TOTAL, count=2),
    PairOrder: PairOrder("tea", TOTAL, 2),
    ModelData: ModelData("tea", TOTAL, 2),
}
PLAIN = {"sku": "tea", "total": "1.50", "count": 2}


def _codec(declared: Any, **options: Any) -> Codec[Any]:
    return codec_for(declared, topic="orders", role=options.pop("role", "value"), **options)


@pytest.mark.parametrize("declared", KINDS)
def test_every_kind_of_class_is_stored_as_its_fields(path: str, declared: Any) -> None:
    """As a key and as a value; without the class they are read and written as dicts."""
    with eventlog.open(path) as log:
        orders = log.topic("orders", key=declared, value=declared, index="key")
        orders.append(KINDS[declared], key=KINDS[declared])
        assert orders.latest(KINDS[declared]).value == KINDS[declared]  # type: ignore[union-attr]
    with eventlog.open(path) as log:
        orders = log.topic("orders")
        record = next(orders.read())
        assert record.key == record.value == PLAIN
        orders.append({"sku": "milk", "total": "2"}, key=PLAIN)
        assert orders.version(PLAIN) == 2
        with pytest.raises(TypeError, match="the dict lacks fields of"):
            orders.append({"sku": "milk"})
    with eventlog.open(path) as log:
        assert [record.key for record in log.topic("orders", key=declared, value=declared).read()] == [
            KINDS[declared]
        ] * 2


@pytest.mark.parametrize("declared", KINDS)
def test_a_value_of_another_class_is_refused(declared: Any) -> None:
    """The message names both."""
    codec = _codec(declared)
    others = [one for kind, one in KINDS.items() if kind is not declared]
    for other in [*others, {"sku": 1}, {"sku": "tea", "total": TOTAL, "more": 1}, 7, "tea"]:
        with pytest.raises(TypeError, match=r"Nothing was stored"):
            codec.encode(other)


@pytest.mark.parametrize(
    "value",
    [
        AttrsOrder(5, TOTAL),  # type: ignore[arg-type]
        DataOrder("tea", 1.5),  # type: ignore[arg-type]
        ModelOrder.model_construct(sku=5, total=TOTAL),
        ModelOrder.model_construct(sku="tea", total=[]),
        StructOrder(5, TOTAL),  # type: ignore[arg-type]
        StructOrder("tea", TOTAL, 2**70),
        {"sku": 5, "total": TOTAL},
        {"sku": "tea"},
        PairOrder("tea", "x"),  # type: ignore[arg-type]
    ],
)
def test_a_field_of_another_type_is_refused(value: Any) -> None:
    """Although most libraries look at no value when an instance is made."""
    declared = DictOrder if isinstance(value, dict) else type(value)
    with pytest.raises(TypeError, match=r"cannot be stored.*Nothing was stored"):
        _codec(declared).encode(value)


class Secret(pydantic.BaseModel):
    """A model whose serializer hides what its validator needs."""

    password: pydantic.SecretStr


class Hidden(pydantic.BaseModel):
    """A model with a field that is not written."""

    name: str
    note: str = pydantic.Field(default="", exclude=True)


@dataclasses.dataclass
class DoubledOrder:
    """A class that changes a field after the instance was made."""

    count: int

    def __post_init__(self) -> None:
        self.count *= 2


def test_instances_that_would_be_read_as_others_are_refused() -> None:
    """What a codec takes comes back equal."""
    for value in (Secret(password=pydantic.SecretStr("x")), Hidden(name="a", note="b"), DoubledOrder(2)):
        with pytest.raises(TypeError, match=r"cannot be stored.*Nothing was stored"):
            _codec(type(value)).encode(value)
    assert _codec(Hidden).decode(_codec(Hidden).encode(Hidden(name="a"))) == Hidden(name="a")


class Moments(msgspec.Struct, eq=False):
    """A Struct that equals nothing but itself."""

    at: dt.datetime
    ratio: float = math.nan


class Reading(pydantic.BaseModel):
    """A model with a number that does not equal itself."""

    ratio: float = math.nan


def test_nan_and_classes_without_equality_are_taken() -> None:
    """They come back as they were, although no comparison says so."""
    at = dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC)
    codec = _codec(Moments)
    assert codec.decode(codec.encode(Moments(at))).at == at
    assert math.isnan(_codec(Reading).decode(_codec(Reading).encode(Reading())).ratio)


@attrs.frozen
class Basket(Generic[T]):
    """A generic class with classes of other libraries in it."""

    items: list[T]
    model: ModelOrder | None = None
    struct: StructOrder | None = None
    pair: PairOrder | None = None
    plain: DictOrder | None = None


def test_classes_of_several_libraries_stand_in_one() -> None:
    """Attrs classes and dataclasses hold those of every library."""
    codec = _codec(Basket[DataOrder])
    kinds = [KINDS[kind] for kind in (ModelOrder, StructOrder, PairOrder, DictOrder)]
    basket = Basket([KINDS[DataOrder]], *kinds)
    assert codec.decode(codec.encode(basket)) == basket
    assert codec_from_stored(codec.to_stored(), None, topic="orders", role="value").decode(codec.encode(basket)) == {
        "items": [PLAIN],
        "model": PLAIN,
        "struct": PLAIN,
        "pair": PLAIN,
        "plain": PLAIN,
    }


def test_a_union_has_classes_of_every_library(log: eventlog.EventLog) -> None:
    """Each value says which it is of."""
    orders = log.topic("orders", value=tuple(KINDS))
    orders.append_many(list(KINDS.values()))
    assert [record.value for record in orders.read()] == list(KINDS.values())


def test_two_typed_dicts_are_no_union() -> None:
    """A dict does not tell which one it is."""
    other = TypedDict("other", {"a": int})  # noqa: UP013
    with pytest.raises(TypeError, match=r"two of them are TypedDicts.*Make one of them a dataclass"):
        _codec((DictOrder, other))


class Listed(msgspec.Struct, array_like=True):
    """A Struct without the names of its fields."""

    a: int


class Root(pydantic.RootModel[list[int]]):
    """A model without fields."""


@pytest.mark.parametrize("declared", [Listed, Root])
def test_classes_without_names_of_fields_are_refused_when_declared(declared: Any) -> None:
    """Nobody could read them without the class, or add a field."""
    with pytest.raises(TypeError, match=rf"cannot use value={declared.__name__} for topic 'orders'.*Nothing was"):
        _codec(declared)


@pytest.mark.parametrize("kind", ["attrs", "dataclass", "TypedDict", "NamedTuple"])
def test_without_cattrs_an_error_names_the_extra(kind: str) -> None:
    """Classes of pydantic and msgspec need no cattrs."""
    classes = {
        "attrs": "import attrs\n@attrs.frozen\nclass A:\n    x: int",
        "dataclass": "import dataclasses\n@dataclasses.dataclass\nclass A:\n    x: int",
        "TypedDict": "from typing import TypedDict\nclass A(TypedDict):\n    x: int",
        "NamedTuple": "from typing import NamedTuple\nclass A(NamedTuple):\n    x: int",
    }
    program = (
        f"import sys; sys.modules['cattrs'] = None\n{classes[kind]}\nimport eventlog, msgspec, pydantic\n"
        "class S(msgspec.Struct):\n    x: int\nclass M(pydantic.BaseModel):\n    x: int\n"
        "log = eventlog.open(':memory:')\n"
        "log.topic('s', value=S).append(S(1))\nlog.topic('m', value=M).append(M(x=1))\n"
        "try: log.topic('orders', value=A)\nexcept ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "cannot use value=A for topic 'orders': cattrs is not installed. Run: pip install \"eventlog[cattrs]\". "
        "Nothing was stored.\n"
    )


# -- versions of one class -------------------------------------------------------------------------------------------


@attrs.frozen
class Payment:
    """A payment in any currency."""

    cents: int
    currency: str


OLD = attrs.make_class("Payment", {"cents": attrs.field(type=int)})


def _in_euros(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"currency": "EUR"}


def _doubled(fields: dict[str, Any]) -> Payment:
    return Payment(fields["cents"] * 2, fields["currency"])


def test_one_class_has_upcasters_too(path: str) -> None:
    """Records of the first version have no version; a program without the class sees the fields alone."""
    with eventlog.open(path) as log:
        log.topic("payments", value=OLD).append(OLD(650))
    upcasters = {"Payment": [_in_euros]}
    with eventlog.open(path) as log:
        payments = log.topic("payments", value=Payment, upcasters=upcasters)
        payments.append(Payment(900, "CHF"))
        assert [record.value for record in payments.read()] == [Payment(650, "EUR"), Payment(900, "CHF")]
        assert next(payments.read_batches()).values[0] == Payment(650, "EUR")
    with eventlog.open(path) as log:
        payments = log.topic("payments")
        assert [record.value for record in payments.read()] == [{"cents": 650}, {"cents": 900, "currency": "CHF"}]
        payments.append({"cents": 1})  # as the topic was created: version 1
    with eventlog.open(path) as log:
        payments = log.topic("payments", value=Payment, upcasters=upcasters)
        assert list(payments.read())[2].value == Payment(1, "EUR")
        with pytest.raises(eventlog.UnknownEvent, match=r"it is Payment, version 2, and the declared.*reach version 1"):
            list(log.topic("payments", value=OLD).read())


def test_the_last_upcaster_of_one_class_may_return_an_instance() -> None:
    """As with several classes."""
    old = codec_for(OLD, topic="payments", role="value").encode(OLD(650))
    codec = codec_for(
        Payment, topic="payments", role="value", upcasters={"Payment": [_in_euros, lambda one: one, _doubled]}
    )
    assert codec.decode(old) == Payment(1300, "EUR")
    assert codec.decode(codec.encode(Payment(1, "CHF"))) == Payment(1, "CHF")
    assert codec.decode(b"\x92\x03" + codec.encode(Payment(1, "CHF"))[2:]) == Payment(2, "CHF")  # type: ignore[index]
    with pytest.raises(UnknownEventData, match="version 5"):
        codec.decode(b"\x92\x05\x80")
    with pytest.raises(ValueError, match="a list that is not a version"):
        codec.decode(b"\x92\x01\x80")


def test_a_topic_of_one_class_asks_for_the_upcasters_that_it_needs() -> None:
    """A new field needs a default or an upcaster, and an upcaster stays."""
    first = codec_for(OLD, topic="payments", role="value").to_stored()
    with pytest.raises(TopicMismatch, match=r"without the fields currency.*or add a function .*upcasters=\{'Payment'"):
        codec_from_stored(dict(first), Payment, topic="payments", role="value")
    options: dict[str, Any] = {"topic": "payments", "role": "value", "upcasters": {"Payment": [_in_euros]}}
    second = codec_for(Payment, **options).to_stored()
    assert second["version"] == 2
    assert codec_from_stored(dict(first), Payment, **options).to_stored() == second
    with pytest.raises(TopicMismatch, match=r"version 2 of value=.*one for each version before 2"):
        codec_from_stored(dict(second), Payment, topic="payments", role="value")
    without = codec_from_stored(dict(second), None, topic="payments", role="value")
    written = without.encode({"cents": 5, "currency": "CHF"})
    assert codec_for(Payment, **options).decode(written) == Payment(5, "CHF")
    with pytest.raises(TypeError, match=r"the only class is Payment, not Other"):
        codec_for(Payment, topic="payments", role="value", upcasters={"Other": [_in_euros]})
