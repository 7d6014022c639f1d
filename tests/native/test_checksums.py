"""Rows get the same checksums with the accelerators and without, and the same ones are refused."""

from __future__ import annotations

import random
from typing import Any

import pytest

from eventlog.accelerators import python_function
from eventlog.store.rows import checksums
from tests.native.accelerators import compiled


def flipped(data: bytes, rng: random.Random) -> bytes:
    """The same with one other bit."""
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def test_rows_get_the_same_checksum_with_and_without(rng: random.Random) -> None:
    """Of any length, from bytes and from views of them, from any place of a larger block."""
    assert (checksums.seal_row, checksums.unseal_row) == (compiled.seal_row, compiled.unseal_row)
    seal_row, unseal_row = python_function("seal_row"), python_function("unseal_row")
    for _ in range(3000):
        key, value = rng.randbytes(rng.randrange(70)), rng.randbytes(rng.randrange(300))
        data = compiled.seal_row(key, value)
        assert data == seal_row(key, value)
        assert compiled.unseal_row(key, data) == unseal_row(key, data) == value
        gap = rng.randrange(9)
        views = memoryview(bytes(gap) + key)[gap:], memoryview(bytes(gap) + data)[gap:]
        assert compiled.unseal_row(*views) == unseal_row(*views) == value
        for other in (flipped(data, rng), data[:3], b""):
            assert compiled.unseal_row(key, other) is None is unseal_row(key, other)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("seal_row", ()),
        ("seal_row", (b"",)),
        ("seal_row", ("", b"")),
        ("seal_row", (b"", None)),
        ("unseal_row", (b"",)),
        ("unseal_row", (b"", "")),
        ("unseal_row", (None, b"data")),
    ],
)
def test_other_arguments_are_an_error(name: str, arguments: tuple[Any, ...]) -> None:
    """In Python and in C."""
    for function in (getattr(compiled, name), python_function(name)):
        with pytest.raises(TypeError):
            function(*arguments)
