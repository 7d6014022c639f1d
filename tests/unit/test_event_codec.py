"""A topic of several classes gives back each value as its class, also when the class has changed or is missing."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Mapping
from typing import Any, Optional, Union

import attrs
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.codecs import Codec, codec_for, codec_from_stored
from eventlog.codecs.base import UnknownEventData
from eventlog.errors import StateMismatch, TopicMismatch


@attrs.frozen
class Opened:
    """Stands for an event of the caller's."""

    owner: str
    on: dt.date = dt.date(2026, 1, 1)


@attrs.frozen
class Deposited:
    """Stands for another one, of plain fields."""

    account: str
    cents: int


@attrs.frozen
class Vip(Opened):
    """Stands for a subclass."""

    gift: str = "tea"


@attrs.frozen
class Closed:
    """Stands for an event that is not declared."""


OPENED, DEPOSITED = Opened("alice"), Deposited("a-1", 650)
BOTH = (Opened, Deposited)


def codec(declared: object = BOTH, upcasters: Any = None, role: Any = "value") -> Codec[Any]:
    """The codec of a new topic called accounts."""
    return codec_for(declared, topic="accounts", role=role, upcasters=upcasters)


def stored(stored: Mapping[str, object], declared: object = None, upcasters: Any = None) -> Codec[Any]:
    """The codec of an existing topic called accounts, whose options went through the disk."""
    options = msgpack.unpackb(msgpack.packb(stored))
    return codec_from_stored(options, declared, topic="accounts", role="value", upcasters=upcasters)


def event(name: object, version: object = 1, /, **fields: object) -> bytes:
    """The bytes of an event, as another program would write them."""
    data: bytes = msgpack.packb([name, version, fields])
    return data


def refusal(one: Codec[Any], value: object) -> str:
    """The message that refuses a value."""
    with pytest.raises(TypeError) as caught:
        one.encode(value)
    message = str(caught.value)
    assert message.startswith("cannot encode the value for topic 'accounts': ")
    assert "Nothing was stored. " in message
    return message


# --- writing and reading ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "declared",
    [BOTH, [Opened, Deposited], Opened | Deposited, Union[Opened, Deposited]],  # noqa: UP007
)
def test_each_value_comes_back_as_its_class(declared: object) -> None:
    """A tuple, a list and a union say the same."""
    one = codec(declared)
    assert one.name == "events"
    assert [one.decode(one.encode(value)) for value in (OPENED, DEPOSITED)] == [OPENED, DEPOSITED]


def test_one_class_may_be_declared_alone() -> None:
    """So that others can be added later."""
    assert codec((Opened,)).decode(codec((Opened,)).encode(OPENED)) == OPENED


def test_the_bytes_are_those_of_the_page() -> None:
    """An array of name, version and fields: they are on disks, a change here is a change of the format."""
    data = codec().encode(DEPOSITED)
    assert data == bytes.fromhex("93 a9") + b"Deposited" + bytes.fromhex("01 82 a7") + b"account" + bytes.fromhex(
        "a3"
    ) + b"a-1" + bytes.fromhex("a5") + b"cents" + bytes.fromhex("cd028a")
    chain = [lambda fields: fields] * 200
    assert msgpack.unpackb(codec(BOTH, {"Opened": chain}).encode(OPENED)) == [
        "Opened",
        201,
        {"owner": "alice", "on": "2026-01-01"},
    ]


@given(st.text(), st.integers(-(2**63), 2**63 - 1))
def test_plain_fields_come_back(account: str, cents: int) -> None:
    """The short cut for classes of plain fields reads what was written."""
    value = Deposited(account.encode("utf-8", "ignore").decode(), cents)
    assert codec().decode(codec().encode(value)) == value


def test_a_tombstone_is_none() -> None:
    """As for every codec."""
    assert codec().encode(None) is None
    assert codec().decode(None) is None
    assert list(codec().decode_column([None, codec().encode(OPENED)])) == [None, OPENED]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"owner": "a"}, "dict is none of (Opened, Deposited). Nothing was stored. Pass an instance of Opened or Dep"),
        (Closed(), "Closed is none of (Opened, Deposited). Nothing was stored. Declare Closed too, beside the others"),
        (Vip("a"), "Vip is none of (Opened, Deposited) but a subclass of one, whose own fields would be lost."),
        (Opened, "type is none of (Opened, Deposited)."),
        (Deposited("a", "6"), "a field of Deposited cannot be stored: str in a field of type int."),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_instance_of_the_classes_is_refused(value: object, told: str) -> None:
    """The message says what to give or to declare."""
    assert told in refusal(codec(), value)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\xc1", "cannot decode"),
        (msgpack.packb("abc"), "str instead of an event, which is a list of three"),
        (msgpack.packb({"a": 1, "b": 2, "c": 3}), "dict instead of an event"),
        (msgpack.packb(["Opened", 1]), "list instead of an event"),
        (event(7), "the name of the event is int"),
        (event(["Opened"]), "the name of the event is list"),
        (event("Opened", True), "the version of the event is not an int of at least 1"),
        (event("Opened", 0), "the version of the event is not an int of at least 1"),
        (event("Opened", 1.0), "the version of the event is not an int of at least 1"),
        (msgpack.packb(["Deposited", 1, [1, 2]]), "not a Deposited, TypeError"),
        (msgpack.packb(["Old", 1, [1, 2]]), "the fields of the event are list"),
        (event("Deposited", account="a"), "not a Deposited, KeyError"),
        (event("Deposited", account="a", cents="1"), "not a Deposited, TypeError"),
        (event("Deposited", account="a", other=1), "not a Deposited, KeyError"),
    ],
)
def test_bytes_that_are_no_event_are_damage(data: bytes, told: str) -> None:
    """And nothing that one could declare a class for."""
    with pytest.raises(ValueError, match="cannot decode the value with the codec 'events': ") as caught:
        codec().decode(data)
    assert told in str(caught.value)
    assert type(caught.value) is ValueError


@given(st.binary(max_size=30))
def test_any_bytes_decode_or_raise_a_value_error(data: bytes) -> None:
    """Foreign bytes never break a consumer in a new way."""
    for one in (codec(), stored(codec().to_stored())):
        for decode in (one.decode, lambda data, one=one: one.decode_column([data])):
            with contextlib.suppress(ValueError):
                decode(data)


def test_fields_that_are_new_or_gone_need_no_upcaster() -> None:
    """The rules of one class hold for each of several."""
    shrunk = attrs.make_class("Deposited", {"cents": attrs.field(type=int)})
    assert codec((shrunk,)).decode(codec().encode(DEPOSITED)) == shrunk(650)
    assert codec().decode(event("Opened", owner="bob")) == Opened("bob")


# --- declaring --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ((), "value=() for topic 'accounts'. "),
        ((Opened, str), "value=(Opened, str) for topic 'accounts': not all of them are classes with fields. "),
        (Opened | str, "value=Opened | str for topic 'accounts': not all of them are classes with fields. "),
        ((Opened, "Deposited"), "value=(Opened, 'Deposited') for topic 'accounts': not all"),
        (
            Opened | None,
            "value=Opened | NoneType for topic 'accounts': None is the tombstone and always allowed; leave it",
        ),
        (Optional[Opened], "None is the tombstone"),  # noqa: UP045
        ((Opened, None), "None is the tombstone"),
    ],
)
def test_only_classes_can_be_declared_together(declared: object, told: str) -> None:
    """Other values say nothing of what they are."""
    with pytest.raises(TypeError) as caught:
        codec(declared)
    assert f"cannot declare {told}" in str(caught.value) or told in str(caught.value)
    assert str(caught.value).endswith("a codec of your own, or several of these: (A, B).")


def test_two_classes_of_one_name_are_refused() -> None:
    """The name of its class is stored with a value."""
    with pytest.raises(TypeError, match=r"two of the classes are called Opened.*Rename one of them"):
        codec((Opened, attrs.make_class("Opened", ["x"])))


def test_several_classes_are_no_keys() -> None:
    """Keys of several shapes would never be found again."""
    with pytest.raises(
        TypeError, match=r"cannot declare key=\(Opened, Deposited\) for topic 'accounts': a key has one"
    ):
        codec(role="key")


def test_a_class_that_can_not_be_read_back_is_refused_when_declared() -> None:
    """The message names the one of several."""
    opaque = attrs.make_class("Opaque", {"thing": attrs.field(type=complex)})
    with pytest.raises(TypeError, match=r"cannot use value=Opaque for topic 'accounts': cattrs"):
        codec((Opened, opaque))


@pytest.mark.parametrize(
    ("upcasters", "told"),
    [
        ([str], "list is not a mapping"),
        ({Opened: [str]}, "type is not the name of a class"),
        ({"Opened": str}, "type of 'Opened' is not a list of functions"),
        ({"Opened": "str"}, "str of 'Opened' is not a list of functions"),
        ({"Opened": [str, "f"]}, "a member of the list of 'Opened' cannot be called"),
    ],
)
def test_upcasters_that_are_none_are_refused_when_declared(upcasters: object, told: str) -> None:
    """Not at the first old event, perhaps years later."""
    with pytest.raises(TypeError) as caught:
        codec(BOTH, upcasters)
    assert f"cannot use upcasters= for topic 'accounts': {told}. Nothing was stored. " in str(caught.value)


@pytest.mark.parametrize("declared", ["json", None, str, bytes])
def test_upcasters_need_values_that_say_their_version(declared: object) -> None:
    """Elsewhere they would never be called; also when an existing topic is opened."""
    for make in (codec, lambda *rest: stored(codec(declared).to_stored(), *rest)):
        with pytest.raises(TypeError) as caught:
            make(declared, {"Opened": []})
        assert "cannot use upcasters= for topic 'accounts' with value=" in str(caught.value)
        assert str(caught.value).endswith("Declare value= a class, or several: (A, B).")


# --- upcasters --------------------------------------------------------------------------------------------------------


def add_cents(fields: dict[str, Any]) -> dict[str, Any]:
    """Turns version 1, in euros, into version 2."""
    return {"account": fields["account"], "cents": fields["euros"] * 100}


def trim(fields: dict[str, Any]) -> dict[str, Any]:
    """Turns version 2 into version 3."""
    return fields | {"account": fields["account"].strip()}


CHAIN = {"Deposited": [add_cents, trim]}


@pytest.mark.parametrize(
    "data",
    [
        event("Deposited", 1, account=" a ", euros=2),
        event("Deposited", 2, account=" a ", cents=200),
        event("Deposited", 3, account="a", cents=200),
    ],
)
def test_each_version_goes_through_the_upcasters_that_it_lacks(data: bytes) -> None:
    """Version 1 through all of them, the newest through none."""
    assert codec(BOTH, CHAIN).decode(data) == Deposited("a", 200)


def test_what_is_written_has_the_version_after_the_upcasters() -> None:
    """So it is read without them."""
    one = codec(BOTH, {"Deposited": [add_cents, trim]})
    assert msgpack.unpackb(one.encode(DEPOSITED))[:2] == ["Deposited", 3]
    assert msgpack.unpackb(one.encode(OPENED))[:2] == ["Opened", 1]
    assert one.decode(one.encode(DEPOSITED)) == DEPOSITED


def test_changing_the_upcasters_afterwards_changes_nothing() -> None:
    """A codec has no state that changes."""
    chains = {"Deposited": [add_cents]}
    one = codec(BOTH, chains)
    chains["Deposited"].append(trim)
    assert msgpack.unpackb(one.encode(DEPOSITED))[1] == 2
    assert one.decode(event("Deposited", 1, account="a", euros=2)) == Deposited("a", 200)


def test_a_class_that_has_another_name_today_is_read_through_its_last_upcaster() -> None:
    """It returns the instance itself, of one class or of another when the class was split."""

    def split(fields: dict[str, Any]) -> Opened | Deposited:
        return Opened(fields["who"]) if fields["cents"] == 0 else Deposited(fields["who"], fields["cents"])

    one = codec(BOTH, {"Created": [lambda fields: {"who": fields["name"], "cents": 0}, split]})
    assert one.decode(event("Created", 1, name="eva")) == Opened("eva")
    assert one.decode(event("Created", 2, who="eva", cents=5)) == Deposited("eva", 5)
    with pytest.raises(UnknownEventData, match="it is Created, version 3, and "):
        one.decode(event("Created", 3, who="eva"))


def test_a_declared_class_may_be_split_too() -> None:
    """Its last upcaster returns fields or an instance, as the event may be."""
    one = codec(BOTH, {"Deposited": [lambda old: Opened(old["account"]) if old["cents"] == 0 else old]})
    assert one.decode(event("Deposited", 1, account="a", cents=0)) == Opened("a")
    assert one.decode(event("Deposited", 1, account="a", cents=1)) == Deposited("a", 1)
    assert one.decode(event("Deposited", 2, account="a", cents=0)) == Deposited("a", 0)


@pytest.mark.parametrize(
    ("chain", "told"),
    [
        ([add_cents, trim], "upcaster 1 of Deposited: KeyError: 'euros'"),
        ([lambda fields: None, trim], "upcaster 1 of Deposited returned NoneType"),
        ([lambda fields: Opened("a"), trim], "upcaster 1 of Deposited returned Opened"),
        ([lambda fields: fields, lambda fields: Closed()], "upcaster 2 of Deposited returned Closed"),
        ([lambda fields: {"cents": 2}], "not a Deposited, KeyError"),
    ],
)
def test_an_upcaster_that_fails_is_named(chain: list[Any], told: str) -> None:
    """The event stays as it is, and is read once the upcaster is mended."""
    with pytest.raises(ValueError, match="cannot decode the value with the codec 'events': ") as caught:
        codec(BOTH, {"Deposited": chain}).decode(event("Deposited", 1, account="a", cents=1))
    assert told in str(caught.value)
    assert type(caught.value) is ValueError


@pytest.mark.parametrize(
    ("upcasters", "data", "told"),
    [
        (
            None,
            event("Closed"),
            "it is Closed, version 1, and the declared classes are (Opened, Deposited). Declare Closed too, or",
        ),
        (
            {"Closed": []},
            event("Closed"),
            "it is Closed, version 1, and Closed is not declared, and its upcasters do not end",
        ),
        ({"Closed": [dict]}, event("Closed"), "Let the last of upcasters={'Closed': [...]} return an instance"),
        (None, event("Opened", 2), "it is Opened, version 2, and the declared upcasters reach version 1. A newer prog"),
        (CHAIN, event("Deposited", 4), "it is Deposited, version 4, and the declared upcasters reach version 3."),
        (None, event("x" * 1000), "xxx..."),
    ],
)
def test_an_event_that_nobody_declared_is_unknown(upcasters: Any, data: bytes, told: str) -> None:
    """It is no damage: whoever declares it can read it."""
    with pytest.raises(UnknownEventData, match="cannot decode the value with the codec 'events': ") as caught:
        codec(BOTH, upcasters).decode(data)
    assert told in str(caught.value)
    assert len(str(caught.value)) < 400


# --- opening what is stored -------------------------------------------------------------------------------------------


def test_what_is_stored_are_the_classes_with_their_fields() -> None:
    """The topic tells who reads it what to expect."""
    assert codec(BOTH, {"Opened": [dict]}).to_stored() == {
        "name": "events",
        "classes": [
            {
                "class": f"{__name__}.Opened",
                "schema": {"owner": "str", "on": "date"},
                "required": ["owner"],
                "version": 2,
            },
            {
                "class": f"{__name__}.Deposited",
                "schema": {"account": "str", "cents": "int"},
                "required": ["account", "cents"],
                "version": 1,
            },
        ],
    }


@pytest.mark.parametrize("declared", [(Opened,), (Closed, Opened, Deposited), (Closed,), Deposited | Opened])
def test_a_topic_may_be_opened_with_more_or_fewer_classes(declared: object) -> None:
    """A program declares those that it knows, and writes those that it has."""
    one = stored(codec().to_stored(), declared)
    if declared == (Closed,):
        assert one.decode(one.encode(Closed())) == Closed()
    else:
        assert one.decode(codec().encode(OPENED)) == OPENED


def test_a_new_field_without_a_default_needs_an_upcaster() -> None:
    """Events that are there could not be read."""
    grown = attrs.make_class("Deposited", {"cents": attrs.field(type=int), "by": attrs.field(type=str)})
    told = (
        rf"cannot open topic 'accounts' with value=\(Deposited,\), Deposited with 0 upcasters: the topic was created "
        rf"with version 1 of {__name__}\.Deposited, without the fields by\. The topic is unchanged\. Give these fields "
    )
    with pytest.raises(TopicMismatch, match=told):
        stored(codec().to_stored(), (grown,))
    one = stored(codec().to_stored(), (grown,), {"Deposited": [lambda old: old | {"by": "?"}]})
    assert one.decode(codec().encode(DEPOSITED)) == grown(650, "?")


def test_fewer_upcasters_than_there_were_are_a_mismatch() -> None:
    """What we would write, others would put through upcasters that it does not need."""
    with pytest.raises(TopicMismatch, match=r"created with version 3 of .*Deposited\. .*one for each version before 3"):
        stored(codec(BOTH, CHAIN).to_stored(), BOTH)


@pytest.mark.parametrize(
    ("created", "declared", "told"),
    [
        (Opened, BOTH, "with value=(Opened, Deposited): the topic was created with value=test.Opened. The topic is un"),
        (
            Opened,
            Opened | Deposited,
            "Its values are stored without the name of their class: declare that one class, or",
        ),
        (BOTH, Opened, "with value=Opened: the topic was created with value=(Opened, Deposited). "),
        (BOTH, Opened, "Declare value=(Opened,), as a tuple: its values are stored with the name of their class."),
        ((Opened,), "json", "the topic was created with value=(Opened,). "),
        (str, BOTH, "with value=(Opened, Deposited): the topic was created with value=str. "),
    ],
)
def test_one_class_and_several_are_not_the_same(created: object, declared: object, told: str) -> None:
    """One does not read the other; the message says how to open what is there."""
    with pytest.raises(TopicMismatch) as caught:
        stored(codec(created).to_stored(), declared)
    assert told in str(caught.value).replace(__name__, "test")
    assert str(caught.value).endswith("Leave value= out to open what is stored.")


def test_messages_about_a_state_say_so() -> None:
    """The values of a state have the same codecs as those of a topic."""
    options = codec_for(str, topic="totals", role="value", kind="state").to_stored()
    with pytest.raises(StateMismatch, match=r"open state 'totals'.*the state was created.*The state is unchanged"):
        codec_from_stored(options, int, topic="totals", role="value", kind="state")
    with pytest.raises(TypeError, match=r"for state 'totals'.*Declare log\.state\('totals', value=int\)"):
        codec_for(str, topic="totals", role="value", kind="state").encode(7)
    for declared in (float, BOTH, Opened, "json"):
        with pytest.raises(TypeError, match="for state 'totals'"):
            codec_for(declared, topic="totals", role="value", kind="state").encode(object())


# --- without the classes ----------------------------------------------------------------------------------------------


def test_without_the_classes_events_are_dicts() -> None:
    """They can be read, and written for those who have the classes."""
    dicts = stored(codec(BOTH, CHAIN).to_stored())
    assert dicts.decode(codec().encode(OPENED)) == {
        "event": "Opened",
        "version": 1,
        "data": {"owner": "alice", "on": "2026-01-01"},
    }
    data = {"account": "a", "cents": 2}
    assert codec(BOTH, CHAIN).decode(dicts.encode({"event": "Deposited", "data": data})) == Deposited("a", 2)
    assert codec(BOTH, CHAIN).decode(
        dicts.encode({"event": "Deposited", "version": 1, "data": {"account": "a", "euros": 2}})
    ) == Deposited("a", 200)
    assert dicts.encode(None) is None
    assert list(dicts.decode_column([None, event("New", 9)])) == [None, {"event": "New", "version": 9, "data": {}}]


def test_what_is_stored_opens_again_without_the_classes() -> None:
    """Each time the same."""
    options = codec().to_stored()
    assert stored(stored(options).to_stored()).to_stored() == options


DATA = {"account": "a", "cents": 2}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (DEPOSITED, "Deposited is not a dict with an event."),
        (["Deposited", 1, DATA], "list is not a dict with an event."),
        ({"data": DATA}, "the event of the dict is NoneType, known are Opened, Deposited."),
        ({"event": "Closed", "data": {}}, "the event of the dict is Closed, known are Opened, Deposited."),
        ({"event": "Deposited", "data": DATA, "version": 0}, "the version of the dict is not an int of at least 1."),
        ({"event": "Deposited", "data": DATA, "version": "1"}, "the version of the dict is not an int of at least 1."),
        ({"event": "Deposited", "data": DATA, "key": "a"}, "the dict has more than event, version and data."),
        ({"event": "Deposited"}, "NoneType is not a dict with the fields of test.Deposited."),
        ({"event": "Deposited", "data": {"cents": 1}}, "the dict lacks fields of test.Deposited: account."),
        ({"event": "Deposited", "data": DATA | {"account": {1}}}, "does not fit the codec 'events': "),
    ],
)
def test_without_the_classes_only_a_known_event_with_its_fields_fits(value: object, told: str) -> None:
    """What is written can be read by those who have the classes."""
    message = refusal(stored(codec().to_stored()), value)
    assert told in message.replace(__name__, "test")
