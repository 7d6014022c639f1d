"""
Records as JSON that reads back as the same record: `tail --json`, `export`, `produce --json` and `import`.

A value of `bytes` is shown as text when it is UTF-8, else as `{"base64": ..}`; the codec of the topic tells which is
meant. A value of `msgpack` may hold bytes and text side by side, so its bytes are always `{"base64": ..}`, and a dict
that looks like that is `{"escaped": ..}`.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final

import attrs

import eventlog
from eventlog.cli.text import decoded, json_line, jsonable

_MARKS: Final = ("base64", "escaped")
_AS_TEXT: Final = ("uuid", "date", "datetime", "decimal")
"""The codecs of single values that JSON has no type for."""


class Names:
    """The codecs of the topics that were met, asked for once each."""

    def __init__(self, log: eventlog.EventLog) -> None:
        self._log = log
        self._codecs: dict[str, tuple[str, str]] = {}

    def codecs(self, topic: str) -> tuple[str, str]:
        """The codecs of the keys and of the values of a topic; those of bytes if it is gone."""
        found = self._codecs.get(topic)
        if found is None:
            found = ("bytes", "bytes")
            if topic in self._log.topics():
                opened = self._log.topic(topic)
                found = (opened.key, opened.value)
            self._codecs[topic] = found
        return found

    def json_line(self, record: eventlog.Record[Any, Any], **numbers: int) -> str:
        """One JSON object on one line, with the names of `Record`, followed by `numbers`."""
        key_codec, value_codec = self.codecs(record.topic)
        fields = {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp_ms": record.timestamp_ms,
            "key": to_json(record.key, key_codec),
            "value": to_json(record.value, value_codec),
            "headers": jsonable(record.headers),
            **numbers,
        }
        return json_line(**fields)


@attrs.frozen
class Input:
    """
    A record that was read: what to send, and where.

    `partition` is None where the key decides, and `timestamp_ms` None for the time when it is stored.
    """

    key: Any
    value: Any
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp_ms: int | None = None
    partition: int | None = None


def to_json(value: Any, codec: str) -> Any:
    r"""
    The value as `json.dumps` takes it, from which `from_json` makes the same value.

    Example:
        >>> to_json(b"tea", "bytes"), to_json(b"\xff", "bytes"), to_json([b"tea"], "msgpack")
        ('tea', {'base64': '/w=='}, [{'base64': 'dGVh'}])
    """
    if codec in ("json", "str", "int", "float", "bool"):
        return value
    return _marked(value) if codec == "msgpack" else jsonable(value)


def from_json(value: Any, codec: str) -> Any:
    """
    The value of a topic from what JSON holds.

    Raises:
        ValueError, TypeError: it does not fit.

    Example:
        >>> from_json({"base64": "dGVh"}, "bytes"), from_json("2026-07-02", "date")
        (b'tea', datetime.date(2026, 7, 2))
    """
    if value is None:
        return None
    if codec == "bytes":
        return _bytes(value)
    if codec == "msgpack":
        return _unmarked(value)
    if codec in _AS_TEXT:
        if not isinstance(value, str):
            raise TypeError(f"{json.dumps(value)} is no text, which a value of {codec} is in JSON")
        return decoded(value.encode(), codec)
    return value


def input_of(fields: Any, key_codec: str, value_codec: str) -> Input:
    """
    The record that a JSON object describes, with the names of `Record`; names that it lacks are None.

    Raises:
        ValueError, TypeError: it is no such object, or does not fit the codecs.
    """
    if not isinstance(fields, dict) or "value" not in fields:
        raise ValueError('it is no JSON object with a "value", as `eventlog tail --json` prints them')
    return Input(
        key=from_json(fields.get("key"), key_codec),
        value=from_json(fields["value"], value_codec),
        headers=headers_of(fields.get("headers")),
        timestamp_ms=_number(fields, "timestamp_ms"),
        partition=_number(fields, "partition"),
    )


def headers_of(pairs: Any) -> tuple[tuple[str, bytes | None], ...]:
    """The headers of a JSON list of pairs, or of a JSON object."""
    if pairs is None:
        return ()
    if isinstance(pairs, dict):
        pairs = list(pairs.items())
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs
    ):
        raise ValueError('its "headers" are no list of pairs')
    return tuple((name, None if value is None else _bytes(value)) for name, value in pairs)


def parse(text: str | bytes) -> Any:
    """Read JSON with a short complaint; a text of many megabytes is not repeated in an error."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its JSON is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"it is no JSON: {error}") from None


def _number(fields: dict[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise ValueError(f'its "{name}" is no whole number')
    return value


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and list(value) == ["base64"]:
        return _of_base64(value["base64"])
    raise TypeError('bytes are a text in JSON, or {"base64": ..}')


def _of_base64(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise ValueError("what it has as base64 is none") from None


def _marked(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, dict):
        marked = {name if isinstance(name, str) else jsonable_key(name): _marked(item) for name, item in value.items()}
        return {"escaped": marked} if len(marked) == 1 and next(iter(marked)) in _MARKS else marked
    if isinstance(value, list | tuple):
        return [_marked(item) for item in value]
    return jsonable(value)


def jsonable_key(name: Any) -> str:
    """The key of a dict as JSON has it, which is text: one that is not does not come back."""
    return str(next(iter(jsonable({name: None}))))


def _unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(item) for item in value]
    if not isinstance(value, dict):
        return value
    if list(value) == ["base64"]:
        return _of_base64(value["base64"])
    if list(value) == ["escaped"] and isinstance(value["escaped"], dict):
        value = value["escaped"]
    return {name: _unmarked(item) for name, item in value.items()}
