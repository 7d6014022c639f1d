"""
Keys and values as text on a terminal and as JSON.

A value is whatever the codec of the topic returns: bytes, text, a number, lists and dicts. On a terminal, control
characters are escaped: a stored record cannot move the cursor, clear the screen or break a line.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TextIO
from uuid import UUID

import eventlog
from eventlog.interruptions import unless_interrupted

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ESCAPES: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    9: "\\t",
    10: "\\n",
    13: "\\r",
}


_TO_JSON: Final = json.JSONEncoder(ensure_ascii=False).encode  # `json.dumps` would make one for each record
_TO_ASCII: Final = json.JSONEncoder().encode


def _truth(text: str) -> bool:
    """Return the truth value that a text names; raises ValueError for any other text."""
    if text.lower() not in ("true", "false"):
        raise ValueError("it is neither true nor false")
    return text.lower() == "true"


def _decimal(text: str) -> Decimal:
    """Return a decimal number; raises ValueError for other text."""
    try:
        return Decimal(text)
    except unless_interrupted(ArithmeticError):
        raise ValueError("it is no decimal number") from None


_FROM_TEXT: Final[dict[str, Callable[[str], object]]] = {
    "int": int,
    "float": float,
    "bool": _truth,
    "uuid": UUID,
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
    "decimal": _decimal,
}
"""The functions that make single values of text."""


def as_text(value: object) -> str:
    """
    One line of text: bytes as UTF-8 with the rest escaped, `-` for None, JSON for anything but bytes and str.

    Example:
        >>> as_text(b"tea"), as_text(None), as_text({"cups": 2})
        ('tea', '-', '{"cups": 2}')
    """
    if value is None:
        return "-"
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if not isinstance(value, str):
        value = json_text(jsonable(value))
    return escaped(value)


def escaped(text: str) -> str:
    """Text with its control characters escaped, and what is no character: an argument may hold bytes of anything."""
    return text.translate(_ESCAPES).encode("utf-8", "backslashreplace").decode()


def jsonable(value: Any) -> Any:
    r"""
    The value as `json.dumps` takes it: bytes become text, or `{"base64": ..}` if they are not UTF-8.

    Example:
        >>> jsonable([b"tea", b"\xff"])
        ['tea', {'base64': '/w=='}]
    """
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, dict):
        return {name if isinstance(name, str) else as_text(name): jsonable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value)


def decoded(data: bytes | None, codec: str) -> Any:
    """The value for a codec, from the text that the user typed; codecs of structured values take JSON."""
    if data is None or codec == "bytes":
        return data
    if codec == "str":
        return data.decode("utf-8")
    if codec in _FROM_TEXT:
        return _FROM_TEXT[codec](data.decode("utf-8"))
    try:
        return json.loads(data)
    except unless_interrupted(RecursionError):
        raise ValueError("its JSON is nested too deep") from None


def record_line(record: eventlog.Record[Any, Any], *places: object) -> str:
    """Where a record is, its time, its key and its value, separated by tabs; `partition:offset` without `places`."""
    return "\t".join(
        (
            *(map(str, places) if places else (f"{record.partition}:{record.offset}",)),
            time_text(record.timestamp_ms),
            as_text(record.key),
            as_text(record.value),
        )
    )


def json_line(**fields: object) -> str:
    """One JSON object on one line, with its line feed; in ASCII where stdout may lack characters."""
    encode = _TO_JSON if is_utf8(sys.stdout) else _TO_ASCII
    return encode(fields) + "\n"


def json_text(value: object) -> str:
    """A value that JSON has a form for, as JSON."""
    return _TO_JSON(value)


def is_utf8(stream: TextIO) -> bool:
    """Whether a stream can write every character."""
    return (stream.encoding or "utf-8").lower().replace("_", "-") in ("utf-8", "utf8")


def time_text(timestamp_ms: int) -> str:
    """ISO 8601 in UTC with milliseconds; the bare number if it is beyond the calendar."""
    try:
        time = _EPOCH + timedelta(milliseconds=timestamp_ms)
    except OverflowError:
        return str(timestamp_ms)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def counted(count: int, noun: str) -> str:
    """
    A number with its noun.

    Example:
        >>> counted(1, "record"), counted(2_000, "batch")
        ('1 record', '2,000 batches')
    """
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}{'es' if noun.endswith('ch') else 's'}"


def bytes_text(count: int) -> str:
    """
    A number of bytes in a unit that is easy to read.

    Example:
        >>> bytes_text(999), bytes_text(20_480), bytes_text(3_000_000_000)
        ('999 B', '20.5 kB', '3.0 GB')
    """
    amount, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{count} B" if unit == "B" else f"{amount:,.1f} {unit}"


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines of a table; the first row is the head, columns of numbers are aligned right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numeric = [all(_is_number(cell) for cell in column[1:]) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if is_numeric else cell.ljust(width)
            for cell, width, is_numeric in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in rows
    ]


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").isdigit()
