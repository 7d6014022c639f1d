"""
The libraries that read and write JSON: the standard one, orjson, and msgspec.

All three take the same bytes and give the same values. Where the fast ones differ from the standard library, it has
the last word: what they refuse it reads again (NaN, lone surrogates, numbers beyond a float), and what they would read
or write as something else does not get to them.

    orjson reads a number beyond 64 bits as a float    such digits go to the standard library
    orjson and msgspec write NaN as null               where they write a null, the value is searched
    msgspec writes other keys than text as text        only exact lists, dicts and plain values go to it

Imported only when a JSON codec is made. docs/decisions/0041-json-by-any-library.md has the measurements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from json import JSONDecoder, JSONEncoder
from typing import Any

from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple

MOST_LEVELS = 256
"""
The most levels of nested lists and dicts in JSON.

Python reads JSON by recursion, and a reader may have used most of its stack already: the writer's own limit would let
through what nobody else can read.
"""

LEAVES = frozenset({str, int, float, bool, type(None)})
"""Types that hold no other values."""

_write_json = partial(JSONEncoder, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

dump_text = _write_json().encode
"""Writes one document as text, by the standard library."""

dump_key = _write_json(sort_keys=True).encode
"""Writes a key; always the standard library, because equal keys have equal bytes."""

load_text = JSONDecoder().decode
"""Reads one document, by the standard library; raises ValueError or RecursionError."""

_scan = JSONDecoder().raw_decode
_DIGITS_AS_ZEROS = bytes(0x30 if 0x30 <= byte <= 0x39 else byte for byte in range(256))
_LONG_NUMBER = b"0" * 19
"""Digits of a number that may be beyond 64 bits, each as a zero."""


class JsonLibrary(NamedTuple):
    """A library that is faster than the standard one."""

    name: str
    load: Callable[[bytes], Any]
    """Read one document; raises ValueError or RecursionError for what the standard library is to read."""
    load_column: Callable[[Sequence[bytes | None]], list[Any]]
    """Read several; raises TypeError if one of them is None, and otherwise as `load`."""
    dump: Callable[[Any], bytes]
    """Write a document for which `is_plain` holds; may raise anything."""


def load_column(column: Sequence[bytes | None]) -> list[Any]:
    """
    Return several documents, read by the standard library.

    Raises:
        ValueError, RecursionError: one of them is not JSON, or nested too deep.
    """
    values: list[Any] = []
    for data in column:
        if data is None:
            values.append(None)
            continue
        text = data.decode()
        value, end = _scan(text)
        if end != len(text):  # surrounding spaces, or damage
            value = load_text(text)
        values.append(value)
    return values


def orjson() -> JsonLibrary:
    """Return orjson; raises ImportError if it is not installed."""
    library: Any = import_module("orjson")
    read = library.loads

    def load(data: bytes) -> Any:
        return load_text(data.decode()) if _LONG_NUMBER in data.translate(_DIGITS_AS_ZEROS) else read(data)

    def load_column(column: Sequence[bytes | None]) -> list[Any]:
        joined = b"\n".join(column)  # type: ignore[arg-type]
        return list(map(load if _LONG_NUMBER in joined.translate(_DIGITS_AS_ZEROS) else read, column))  # type: ignore[arg-type]

    return JsonLibrary("orjson", load, load_column, library.dumps)


def msgspec() -> JsonLibrary:
    """Return msgspec; raises ImportError if it is not installed."""
    library: Any = import_module("msgspec.json")
    read = library.Decoder().decode
    return JsonLibrary("msgspec", read, lambda column: list(map(read, column)), library.Encoder().encode)


def best() -> JsonLibrary | None:
    """Return the fastest library that is installed, None if that is the standard one."""
    for library in (msgspec, orjson):
        try:
            return library()
        except unless_interrupted(ImportError):
            continue
    return None


def is_plain(value: object, level: int = 1) -> bool:
    """Whether a document has only exact lists, tuples, dicts with names of text and leaves, and is not too deep."""
    kind = type(value)
    if kind is dict:
        for name in value:  # type: ignore[attr-defined]
            if type(name) is not str:
                return False
        value = value.values()  # type: ignore[attr-defined]
    elif kind is not list and kind is not tuple:
        return kind in LEAVES
    if level > MOST_LEVELS:
        return False
    for inner in value:  # type: ignore[attr-defined]  # noqa: SIM110 - `all()` takes twice the time
        if type(inner) not in LEAVES and not is_plain(inner, level + 1):
            return False
    return True


def has_no_number(value: object) -> bool:
    """Whether a plain document has a float that JSON does not have: NaN or an infinity."""
    if isinstance(value, float):
        return value - value != 0
    if isinstance(value, dict | list | tuple):
        return any(map(has_no_number, value.values() if isinstance(value, dict) else value))
    return False
