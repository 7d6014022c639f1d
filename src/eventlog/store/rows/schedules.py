"""
The rows of schedules, all in one table; the first byte of a key says what the row is.

A record that is to be sent later has two rows: one under its topic and its time, with the record, and one that leads
from its id to the first. One that cannot be sent is kept under another first byte, so that it holds up nobody.

Layout: docs/reference/format.md.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TypeVar

import msgpack

from eventlog.errors import FormatTooNew
from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.options import MAX_PARTITIONS, check_topic_name
from eventlog.records import Headers
from eventlog.store.rows.packing import LARGEST, LARGEST_ID, NOT_A_ROW, checked, damaged, moment, whole

T = TypeVar("T")

WAITING, FAILED, ID, TALLY = b"s", b"f", b"i", b"t"
ID_BYTES = 16
NEVER_MS = LARGEST
"""What stands for the time of the first schedule where there is none."""

_VERSION = 1
_UNAFFECTED = "The records in the topics"
_TOPIC = struct.Struct(">I")
_PLACE = struct.Struct(">IQQ")
_ID_ROW = struct.Struct(">cIQQ")
_TALLY_ROW = struct.Struct(">5Q")

tally_key = TALLY


class Place(NamedTuple):
    """Where the record of a schedule is: with those that wait or those that failed, its topic, its time, its number."""

    kind: bytes
    topic_id: int
    due_ms: int
    number: int

    @property
    def key(self) -> bytes:
        """The key of the row."""
        return self.kind + _PLACE.pack(self.topic_id, self.due_ms, self.number)

    def pack(self) -> bytes:
        """The bytes of the row that leads here from an id."""
        return _ID_ROW.pack(*self)

    @classmethod
    def of(cls, key: bytes) -> Place:
        """The place that the key of a row says."""
        try:
            return cls(key[:1], *_PLACE.unpack(key[1:]))
        except unless_interrupted(struct.error) as error:
            raise damaged(f"the key {key.hex()} of a schedule", error, unaffected=_UNAFFECTED) from error

    @classmethod
    def unpack(cls, data: bytes) -> Place:
        """The place that the row of an id leads to."""
        try:
            place = cls(*_ID_ROW.unpack(data))
            if place.kind not in (WAITING, FAILED):
                raise ValueError(f"{place.kind!r} is no kind of schedules")
            whole(place.topic_id, 1, LARGEST_ID)
            whole(place.due_ms)
            whole(place.number)
        except unless_interrupted(*NOT_A_ROW) as error:
            raise damaged("the id of a schedule", error, unaffected=_UNAFFECTED) from error
        return place


def topic_prefix(kind: bytes, topic_id: int) -> bytes:
    """The prefix of the keys of one topic's schedules."""
    return kind + _TOPIC.pack(topic_id)


def id_key(schedule_id: bytes) -> bytes:
    """The key of the row of an id."""
    return ID + schedule_id


class ScheduleRow(NamedTuple):
    """
    A record that is to be sent later; its time is in the key.

    `partition` is that of its key among `placed_by` partitions, or of the turn; where `placed_by` is 0, the caller has
    chosen it. `error` says why it could not be sent.
    """

    id: bytes
    topic: str
    partition: int
    placed_by: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    scheduled_ms: int
    message_id: bytes | None = None
    error: str | None = None

    def pack(self) -> bytes:
        """The bytes of the row."""
        data: bytes = msgpack.packb([_VERSION, *self])
        return data

    @classmethod
    def unpack(cls, data: bytes) -> ScheduleRow:
        """The row of these bytes."""
        try:
            fields = checked(msgpack.unpackb(data), list)
            if whole(fields[0], 1) > _VERSION:
                raise FormatTooNew(
                    f"cannot read a schedule: its row has version {fields[0]}, but this eventlog knows up to "
                    f"{_VERSION}.",
                    stored="Nothing is damaged.",
                    advice="Upgrade eventlog to read it.",
                )
            if len(fields) != len(cls._fields) + 1:
                raise ValueError("it has another number of fields")
            _, schedule_id, topic, partition, placed_by, key, value, headers, scheduled_ms, message_id, error = fields
            if len(checked(schedule_id, bytes)) != ID_BYTES:
                raise ValueError("its id has another length")
            return cls(
                schedule_id,
                check_topic_name(topic),
                whole(partition, 0, MAX_PARTITIONS - 1),
                whole(placed_by, 0, MAX_PARTITIONS),
                _maybe(key, bytes),
                _maybe(value, bytes),
                tuple(_header(pair) for pair in checked(headers, list)),
                moment(scheduled_ms),
                _maybe(message_id, bytes),
                _maybe(error, str),
            )
        except unless_interrupted(*NOT_A_ROW) as error:
            raise damaged("a schedule", error, unaffected=_UNAFFECTED) from error


def _maybe(value: object, kind: type[T]) -> T | None:
    return None if value is None else checked(value, kind)


def _header(pair: object) -> tuple[str, bytes | None]:
    name, content = checked(pair, list)
    return checked(name, str), _maybe(content, bytes)


class Tally(NamedTuple):
    """
    The counts of all schedules.

    `next_number` is that of the next one. `waiting` and `failed` count them, `stored_bytes` is the size of their
    records. None is due before `first_ms`.
    """

    next_number: int = 0
    waiting: int = 0
    failed: int = 0
    stored_bytes: int = 0
    first_ms: int = NEVER_MS

    def pack(self) -> bytes:
        """The bytes of the row."""
        return _TALLY_ROW.pack(*self)

    @classmethod
    def unpack(cls, data: bytes | None) -> Tally:
        """The row of these bytes; nothing is counted yet if there is none."""
        if data is None:
            return cls()
        try:
            return cls(*(whole(number) for number in _TALLY_ROW.unpack(data)))
        except unless_interrupted(*NOT_A_ROW) as error:
            raise damaged("the counts of schedules", error, unaffected=_UNAFFECTED) from error


def _check_record(key: bytes, data: bytes) -> None:
    place = Place.of(key)
    whole(place.topic_id, 1, LARGEST_ID)
    whole(place.due_ms)
    row = ScheduleRow.unpack(data)
    if (row.error is not None) != (place.kind == FAILED):
        raise ValueError("it failed, and waits")


def _check_id(key: bytes, data: bytes) -> None:
    if len(key) != 1 + ID_BYTES:
        raise ValueError("its key has another length")
    Place.unpack(data)


def _check_tally(key: bytes, data: bytes) -> None:
    if key != tally_key:
        raise ValueError("its key has another length")
    Tally.unpack(data)


_CHECKS: dict[bytes, Callable[[bytes, bytes], object]] = {
    WAITING: _check_record,
    FAILED: _check_record,
    ID: _check_id,
    TALLY: _check_tally,
}


def check_schedule_row(key: bytes, data: bytes) -> None:
    """Raise an error if this is none of the rows of this module."""
    check = _CHECKS.get(key[:1])
    if check is None:
        raise ValueError("it is no row of a schedule")
    check(key, data)
