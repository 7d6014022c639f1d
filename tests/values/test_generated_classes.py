"""Values of generated classes: what goes in comes out, in another process, and without the class as plain data."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.codecs import codec_for
from tests.values.generated import DESCRIPTIONS, OtherProcess, canonical, made, values


@pytest.fixture(scope="module")
def other() -> Iterator[OtherProcess]:
    """A process that has the classes under the same names, and nothing else of ours."""
    process = OtherProcess()
    yield process
    process.close()


def _can_be_stored(value: Any) -> bool:
    """Whether all moments in it have a year from 1 to 9999 in UTC."""
    try:
        canonical(value)
    except OverflowError:
        return False
    return True


@given(data=st.data())
def test_instances_of_any_class_come_back_in_another_process(other: OtherProcess, data: st.DataObject) -> None:
    """Nested, optional, union, generic, with datetimes and decimals, of every library."""
    memory: dict[Any, Any] = {}
    described = data.draw(DESCRIPTIONS)
    declared = made(described, memory)
    value = data.draw(values(described, memory).filter(_can_be_stored))
    codec = codec_for(declared, topic="orders", role="value")
    encoded = codec.encode(value)
    assert encoded is not None
    assert canonical(codec.decode(encoded)) == canonical(value)
    assert list(map(canonical, codec.decode_column([encoded, encoded]))) == [canonical(value)] * 2
    there, rewritten, is_plain, plain = other.decoded([described], codec.to_stored(), encoded)
    assert there == canonical(value)
    assert rewritten == canonical(value)
    assert is_plain
    assert plain.keys() == {name for name, _ in described[3]}


@given(data=st.data())
def test_unions_of_any_classes_come_back_in_another_process(other: OtherProcess, data: st.DataObject) -> None:
    """Each as an instance of its own class, whatever library it is of."""
    memory: dict[Any, Any] = {}
    described = data.draw(
        st.lists(DESCRIPTIONS, min_size=2, max_size=3, unique_by=lambda one: one[2]).filter(
            lambda ones: [one[1] for one in ones].count("typeddict") < 2
        )
    )
    chosen = data.draw(st.sampled_from(described))
    value = data.draw(values(chosen, memory).filter(_can_be_stored))
    codec = codec_for(tuple(made(one, memory) for one in described), topic="orders", role="value")
    encoded = codec.encode(value)
    assert encoded is not None
    assert canonical(codec.decode(encoded)) == canonical(value)
    there, rewritten, is_plain, plain = other.decoded(described, codec.to_stored(), encoded)
    assert there == canonical(value)
    assert rewritten == canonical(value)
    assert is_plain
    assert plain["event"] == chosen[2]


def test_a_wrong_class_in_the_other_process_is_found(other: OtherProcess) -> None:
    """The test would see a field that comes back as something else."""
    memory: dict[Any, Any] = {}
    text = ("class", "attrs", "Order", (("field_0", ("str",)),))
    moment = ("class", "attrs", "Order", (("field_0", ("date",)),))
    codec = codec_for(made(moment, memory), topic="orders", role="value")
    value = made(moment, memory)(dt.date(2026, 1, 1))
    there, *_ = other.decoded([text], codec.to_stored(), codec.encode(value) or b"")
    assert there != canonical(value)
