"""
What `produce` and `import` read: lines, JSON lines and CSV, as records to send.

A generator here raises `ValueError` or `TypeError` for input that does not fit; whoever sends knows how many were
stored before it.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import attrs

from eventlog.cli.records import Input, from_json, headers_of, input_of, parse
from eventlog.cli.text import decoded

NULL = r"\N"
"""A cell of CSV that stands for no key and for no value, as PostgreSQL has it."""
COLUMNS = ("topic", "partition", "offset", "timestamp_ms", "key", "value", "headers")
"""The columns of `export --csv`, which are the names of a record."""


@attrs.frozen
class Codecs:
    """The codecs of a topic, which need not exist yet."""

    key: str
    value: str


CodecsOf = Callable[[str | None], Codecs]
"""The codecs of the topic that a record names, None for the one that the user has named."""
Found = tuple[str | None, Input]
"""A record, and the topic that it names, if any."""


@attrs.frozen
class Lines:
    """
    Text in which each line is a record.

    Args:
        key_separator: the text between key and value; None: a line is a value.
        key: as typed, of all records; None: none.
        is_null_empty: an empty value is none at all.
    """

    stream: BinaryIO
    key_separator: str | None
    key: str | None
    is_null_empty: bool
    most_bytes: int

    def __call__(self, codecs_of: CodecsOf) -> Iterator[Found]:
        """The records of the lines."""
        codecs = codecs_of(None)
        key = None if self.key is None else decoded(self.key.encode("utf-8", "surrogateescape"), codecs.key)
        limit_bytes = self.most_bytes + len(self.key_separator or "") * 4 + 2  # a line without an end fills no memory
        while line := self.stream.readline(limit_bytes):
            own, text = self._split(line.removesuffix(b"\n"))
            value = None if self.is_null_empty and not text else decoded(text, codecs.value)
            yield None, Input(key=key if own is None else decoded(own, codecs.key), value=value)

    def _split(self, line: bytes) -> tuple[bytes | None, bytes]:
        if self.key_separator is None:
            return None, line
        key, separator, value = line.partition(self.key_separator.encode())
        if not separator:
            raise ValueError(f"it has no key: the separator {self.key_separator!r} is missing")
        return key, value


@attrs.frozen
class JsonLines:
    """JSON objects, one a line, with the names of `Record`; empty lines are skipped."""

    stream: BinaryIO
    most_bytes: int

    def __call__(self, codecs_of: CodecsOf) -> Iterator[Found]:
        """The records of the lines."""
        limit_bytes = 8 * self.most_bytes + 65_536  # each byte may be written as `\u0000`, and there are the names
        while line := self.stream.readline(limit_bytes):
            if len(line) == limit_bytes and not line.endswith(b"\n"):
                raise ValueError(f"it has more than {limit_bytes:,} bytes, as no record has")
            if not line.strip():
                continue
            fields = parse(line)
            topic = _topic_of(fields)
            codecs = codecs_of(topic)
            yield topic, input_of(fields, codecs.key, codecs.value)


@attrs.frozen
class Csv:
    r"""
    Rows of CSV under a row of names, those of `Record`.

    Without a column `value`, a row is an object of its columns, for topics of JSON. `\N` stands for no key and no
    value, `\x` begins bytes in hexadecimal digits, and any other text that begins with a backslash has one more.

    Args:
        key_column: the column that is the key where no column is called `key`; None: none.
        is_null_empty: an empty cell is no value at all.
    """

    stream: BinaryIO
    key_column: str | None
    is_null_empty: bool
    most_bytes: int

    def __call__(self, codecs_of: CodecsOf) -> Iterator[Found]:
        """The records of the rows."""
        before = csv.field_size_limit(8 * self.most_bytes + 65_536)
        try:
            rows = csv.reader(self._texts(), strict=True)
            try:
                names = next(rows, [])
                if len(set(names)) != len(names):
                    raise ValueError("a name stands twice in the first row")
                for row in rows:
                    if not row:
                        continue
                    if len(row) != len(names):
                        raise ValueError(f"it has {len(row)} cells, and the first row has {len(names)} names")
                    yield self._record(dict(zip(names, row, strict=True)), codecs_of)
            except csv.Error as error:
                raise ValueError(f"it is no CSV: {error}") from error
        finally:
            csv.field_size_limit(before)

    def _texts(self) -> Iterator[str]:
        is_first = True
        while line := self.stream.readline(8 * self.most_bytes + 65_536):
            yield line.decode("utf-8-sig" if is_first else "utf-8")
            is_first = False

    def _record(self, row: dict[str, str], codecs_of: CodecsOf) -> Found:
        topic = row.get("topic")
        codecs = codecs_of(topic)
        key_text = row.get(self.key_column or "key")
        if self.key_column is not None and key_text is None:
            raise ValueError(f"the first row names no column {self.key_column!r}")
        if "value" not in row:
            if codecs.value not in ("json", "msgpack", "class"):
                raise ValueError(
                    f"the first row names no column 'value', and values of {codecs.value} take no objects of columns"
                )
            value: Any = {name: text for name, text in row.items() if name != self.key_column}
            return None, Input(key=self._cell(key_text, codecs.key), value=value)
        headers = row.get("headers")
        return topic, Input(
            key=self._cell(key_text, codecs.key),
            value=self._cell(row["value"], codecs.value),
            headers=headers_of(parse(headers)) if headers else (),
            timestamp_ms=_whole(row, "timestamp_ms"),
            partition=_whole(row, "partition"),
        )

    def _cell(self, text: str | None, codec: str) -> Any:
        if text is None or text == NULL or (self.is_null_empty and not text):
            return None
        if codec == "msgpack":  # its bytes are marked
            return from_json(parse(cell_bytes(text)), codec)
        return decoded(cell_bytes(text), codec)


def cell_bytes(text: str) -> bytes:
    r"""
    The bytes of a cell.

    Example:
        >>> cell_bytes("tea"), cell_bytes(r"\xff00"), cell_bytes(r"\\x")
        (b'tea', b'\xff\x00', b'\\x')
    """
    if text.startswith("\\x"):
        return bytes.fromhex(text[2:])
    return text.removeprefix("\\").encode()


def _topic_of(fields: Any) -> str | None:
    topic = fields.get("topic") if isinstance(fields, dict) else None
    if topic is not None and not isinstance(topic, str):
        raise ValueError('its "topic" is no text')
    return topic


def _whole(row: dict[str, str], name: str) -> int | None:
    text = row.get(name)
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"its {name} {text[:40]!r} is no whole number") from None
