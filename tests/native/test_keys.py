"""Keys are placed by the accelerators as the Python functions place them, and columns parted alike."""

from __future__ import annotations

import gc
import sys
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.batches import partitioners
from tests.native.accelerators import at_collection, compiled, memory_runs_out
from tests.native.pure import pure

FUNCTIONS = [partitioners.crc32, partitioners.murmur2]


class Text(str):
    """A text of a user's own."""

    __slots__ = ()


def placed(key: bytes, partitions: int, function: Any) -> int:
    """The partition by the Python function."""
    number: int = getattr(pure("eventlog.batches.partitioners"), function.__name__)(key, partitions)
    return number


def parted(
    keys: Any, values: Any, partitions: int, function: Any, keyless: int
) -> list[tuple[int, list[Any], list[Any]]]:
    """The columns parted in Python."""
    parts: dict[int, tuple[list[Any], list[Any]]] = {}
    for key, value in zip(keys, values, strict=True):
        plain = key.encode() if isinstance(key, str) else key
        number = keyless if plain is None else placed(plain, partitions, function)
        some = parts.setdefault(number, ([], []))
        some[0].append(key)
        some[1].append(value)
    return [(number, *some) for number, some in sorted(parts.items())]


@given(st.binary(max_size=40))
def test_murmur2_is_that_of_python(key: bytes) -> None:
    """Bytes of any length and any sign."""
    assert compiled.murmur2(key) == pure("eventlog.batches.partitioners")._positive_murmur2(key)


@pytest.mark.parametrize("bad", ["text", None, bytearray(b"x"), 5])
def test_murmur2_takes_bytes_alone(bad: Any) -> None:
    """It reads nothing else."""
    with pytest.raises(TypeError):
        compiled.murmur2(bad)


keys_of = {
    bytes: st.none() | st.binary(max_size=9),
    str: st.none() | st.text(st.characters(max_codepoint=127), max_size=9),
}
strangers = st.sampled_from(["\xe9", Text("x"), bytearray(b"x"), 5, ("x",)])


@pytest.mark.parametrize("key_type", [bytes, str])
@given(st.data())
def test_columns_are_parted_as_python_parts_them(key_type: type, data: Any) -> None:
    """By both named partitioners, lists and tuples, with keys and without; what is unknown is left to Python."""
    keys = data.draw(
        st.lists(keys_of[key_type] | data.draw(st.just(keys_of[key_type]) | st.just(strangers)), max_size=60)
    )
    partitions = data.draw(st.integers(1, 5) | st.sampled_from([256, 257, 1000]))
    keyless = data.draw(st.integers(0, partitions - 1))
    function = data.draw(st.sampled_from(FUNCTIONS))
    kind = data.draw(st.sampled_from([list, tuple]))
    values = list(map(object.__repr__, keys))
    found = compiled.part_columns(
        kind(keys), kind(values), partitions, function is partitioners.murmur2, keyless, key_type
    )
    if all(key is None or (type(key) is key_type and (key_type is bytes or key.isascii())) for key in keys):
        assert found == parted(keys, values, partitions, function, keyless)
    else:
        assert found is None


def test_hashes_are_those_of_python_for_every_byte_and_for_long_keys() -> None:
    """Among so many partitions that nearly every bit of a hash counts."""
    keys = [bytes([one]) for one in range(256)] + [bytes(range(256)) * 20, b"", bytes(70_000)]
    for function in FUNCTIONS:
        found = compiled.part_columns(keys, keys, 1_000_003, function is partitioners.murmur2, 0, bytes)
        assert found == parted(keys, keys, 1_000_003, function, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ([b""], [b""], 0, False, 0, bytes),
        ([b""], [b""], 2, False, 2, bytes),
        ([b""], [b""], 2, False, -1, bytes),
        ([b""], [], 2, False, 0, bytes),
        ([b""], [b""], 2, False, 0, int),
        ([5], [b""], 2, False, 0, int),
        ([b""], [b""], 2, False, 0, None),
        ([b""], [b""], None, False, 0, bytes),
    ],
)
def test_wrong_arguments_are_refused(arguments: Any) -> None:
    """Nothing is written where no partition is, and nothing read that is no bytes."""
    with pytest.raises((TypeError, ValueError)):
        compiled.part_columns(*arguments)
    assert compiled.part_columns([], [], 3, False, 0, bytes) == []
    assert compiled.part_columns(iter([b""]), [b""], 3, False, 0, bytes) is None


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("change", [list.clear, list.pop, lambda column: column.extend([b"x"] * 100_000)])
def test_columns_that_a_finalizer_changes_crash_nobody(place: int, change: Any) -> None:
    """The collector runs between two parts: what has become shorter is an error, longer is no matter."""
    columns = [[str(number).encode() for number in range(2000)] for _ in range(2)]
    with at_collection(2, lambda: change(columns[place])):
        parts = None
        with suppress(ValueError):
            parts = compiled.part_columns(*columns, 500, False, 0, bytes)
    assert parts is None or sum(len(keys) for _, keys, _ in parts) == 2000


def test_references_are_given_back() -> None:
    """Whether columns are parted, refused or left to Python."""
    key, value = b"a key of its own", object()
    keys, values = [key] * 30, [value] * 30
    before = sys.getrefcount(key), sys.getrefcount(value)
    for _ in range(100):
        compiled.part_columns(keys, values, 7, False, 0, bytes)
        compiled.part_columns([*keys, "x"], [*values, value], 7, True, 0, bytes)
        compiled.murmur2(key)
        with pytest.raises(ValueError, match="differ"):
            compiled.part_columns(keys, values[1:], 7, False, 0, bytes)
    gc.collect()
    assert (sys.getrefcount(key), sys.getrefcount(value)) == before


def test_without_memory_there_is_an_error_and_nothing_wrong() -> None:
    """Whichever allocation is the first to fail."""
    value = object()
    keys, values = [str(number).encode() for number in range(30)], [value] * 30
    expected = compiled.part_columns(keys, values, 7, False, 0, bytes)
    before = sys.getrefcount(value)

    def act(box: list[Any]) -> None:
        box[0] = compiled.part_columns(keys, values, 7, False, 0, bytes)

    def judge(box: list[Any]) -> None:
        assert box[0] in (None, expected)
        box.clear()
        assert sys.getrefcount(value) == before

    assert memory_runs_out(lambda: [None], act, judge) > 10
