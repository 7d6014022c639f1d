"""
The text of a generated function, line by line, with the field that each line reads or writes.

So an error in a generated function names a field, and the function itself spends nothing on that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from eventlog.kafka.protocol.schema import Field

LETTERS = {
    "bool": "?", "int8": "b", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "float64": "d",
    "uuid": "16s", "length8": "B",
}  # fmt: skip
"""Types of a fixed size, in the letters of `struct`; `length8` is the first byte of a variable integer."""

WIDTHS = {"?": 1, "b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "q": 8, "d": 8, "16s": 16, "x": 1}

Trail = tuple[tuple[str, int], ...]
"""The fields that a line is about, each with its size in bytes where that is fixed, else 0."""


class Source:
    """The lines of one generated function."""

    def __init__(self) -> None:
        self.formats: dict[str, None] = {}
        self._lines: list[str] = []
        self._trails: list[Trail] = []
        self._path: list[str] = []
        self._indent = 1

    def add(self, line: str, trail: Trail | None = None) -> None:
        """Add a line about the field that we are in, or about these fields."""
        self._lines.append("    " * self._indent + line)
        self._trails.append(trail if trail is not None else ((self.path, 0),))

    @property
    def path(self) -> str:
        """The path of the field that we are in."""
        return ".".join(self._path)

    @contextmanager
    def field(self, name: str) -> Iterator[None]:
        """Add lines about a field inside of the present one."""
        self._path.append(name)
        yield
        self._path.pop()

    @contextmanager
    def block(self, line: str) -> Iterator[None]:
        """Add a line that begins a block, and then lines within it."""
        self.add(line)
        self._indent += 1
        yield
        self._indent -= 1

    def text(self, kind: str, signature: str) -> str:
        """Return the whole module: the structs that the function needs, and the function."""
        return "".join(f"{line}\n" for line in (*self._header(kind), f"def {signature}:", *self._lines))

    def trails(self, kind: str) -> dict[int, Trail]:
        """Return the fields of every line by the number of the line in the text."""
        first = len(self._header(kind)) + 2
        return dict(enumerate(self._trails, first))

    def _header(self, kind: str) -> list[str]:
        return [f'{kind}_{name_of(form)} = Struct(">{form}").{kind}' for form in self.formats]


def name_of(form: str) -> str:
    """A name for a format of `struct`."""
    return form.replace("?", "t")


def literal(field: Field) -> str:
    """Write the default of a field as Python does."""
    return _written(field, field.default)


def _written(field: Field, value: Any) -> str:
    if value is not None and field.fields is not None and not field.is_array:
        return "{" + ", ".join(f'"{inner.name}": {literal(inner)}' for inner in field.fields) + "}"
    if field.type == "uuid" and not field.is_array:
        return "NO_UUID"
    return repr(value)
