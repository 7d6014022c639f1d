"""Events of a key, made from the rows of the index."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from eventlog.accelerators import accelerated, compiled
from eventlog.backend.history import KeyEvents
from eventlog.backend.topics import StoredTopic
from eventlog.records import Event
from eventlog.store.lmdb.environment import Environment
from eventlog.store.records.key_reader import read_content, read_rows
from eventlog.store.records.key_rows import (
    ENTRIES,
    Entry,
    damaged_index,
    entity_prefix,
    is_intact,
    row_count,
    unpack_row,
)

_READ_BYTES = 1 << 20
_new = tuple.__new__
"""A named tuple without its constructor, which takes three times as long."""
_EVENT_BYTES = 64
"""What an event takes in a row, roughly: rows are read ahead for as many events as are asked for."""


@accelerated("EventMaker", Event)
def _make_events(
    _data: bytes, _start: int, _stop: int, _topic: str, _key: object, _version: int, _value_type: type
) -> list[Event[Any, Any]] | None:
    """
    The events of a plain row of the index; None if it has headers, deleted records or values stored elsewhere.

    In Python always None: there `_unpacked` reads every row.
    """
    return None


def read_events(
    environment: Environment,
    topic: StoredTopic,
    encoded_key: bytes,
    key: object,
    first: int,
    end: int | None,
    is_reversed: bool,  # noqa: FBT001 - of every read by key: a keyword takes longer
    max_events: int | None,
    value_type: type | None,
) -> KeyEvents:
    """The events of the first rows of a range (`HistoryBackend.read_events`)."""
    max_bytes = _READ_BYTES if max_events is None else min(_READ_BYTES, 1 + max_events * _EVENT_BYTES)
    prefix = entity_prefix(topic.id, encoded_key)
    rows, is_all = read_rows(environment, prefix, first, end, is_reversed=is_reversed, max_bytes=max_bytes)
    if not rows:
        return KeyEvents([], first if end is None or not is_reversed else end, True, True)  # noqa: FBT003
    has_values = value_type is not None
    events = _made(rows, topic.name, key, first, end, value_type or bytes, is_reversed)
    if events is None:
        has_values = value_type is bytes
        most = 1 << 63 if max_events is None else max_events
        events = _unpacked(environment, rows, topic, key, first, end, most, is_reversed=is_reversed)
    if max_events is not None and len(events) >= max_events:
        del events[max_events:]
        last = events[-1].version
        return KeyEvents(events, last if is_reversed else last + 1, False, has_values)  # noqa: FBT003
    version, data = rows[-1]
    behind = version if is_reversed else version + row_count(data)
    if not is_all and not is_reversed and behind <= max(version, first):
        raise damaged_index(_RowName(topic.name, key, version), f"it has {row_count(data)} entries, and others follow")
    return _new(KeyEvents, (events, behind, is_all, has_values))


def _made(
    rows: list[tuple[int, bytes]],
    topic: str,
    key: object,
    first: int,
    end: int | None,
    value_type: type,
    is_reversed: bool,  # noqa: FBT001 - of every read by key: a keyword takes longer
) -> list[Event[Any, Any]] | None:
    """The events of some rows, made by the accelerator; None when it leaves one of them to `_unpacked`."""
    if compiled is None:
        return None
    all_events: list[Event[Any, Any]] | None = None
    for version, data in rows:
        if not is_intact(data):
            return None
        events = _make_events(data, ENTRIES.start, len(data) + ENTRIES.stop, topic, key, version, value_type)
        if events is None:
            return None
        if end is not None and end < version + len(events):
            del events[end - version :]
        if version < first:
            del events[: first - version]
        if is_reversed:
            events.reverse()
        if all_events is None:
            all_events = events
        else:
            all_events += events
    return all_events


def _unpacked(
    environment: Environment,
    rows: list[tuple[int, bytes]],
    topic: StoredTopic,
    key: object,
    first: int,
    end: int | None,
    most: int,
    *,
    is_reversed: bool,
) -> list[Event[Any, Any]]:
    """The first `most` events of some rows, in the order of the rows, with their values as they are stored."""
    events: list[Event[Any, Any]] = []
    name = topic.name
    for version, data in rows:
        numbered: Iterable[tuple[int, Entry | None]] = enumerate(
            unpack_row(data, _RowName(name, key, version)), version
        )
        if is_reversed:
            numbered = reversed(list(numbered))
        for number, entry in numbered:
            if entry is None or number < first or (end is not None and number >= end):
                continue
            if len(events) >= most:
                return events
            partition, offset, timestamp_ms, log_position, value, headers = entry
            if headers is None:
                found = read_content(environment, topic.id, partition, offset)
                if found is None:
                    continue
                value, headers = found
            events.append(Event(name, partition, offset, timestamp_ms, key, value, headers, number, log_position))
    return events


class _RowName:
    """The name of a row in errors; its text is made only when there is one."""

    __slots__ = ("_key", "_topic", "_version")

    def __init__(self, topic: str, key: object, version: int) -> None:
        self._topic = topic
        self._key = key
        self._version = version

    def __str__(self) -> str:
        return f"version {self._version} of key {self._key!r} of topic {self._topic!r}"
