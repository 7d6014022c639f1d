"""
Records that are to be sent later, on their way into the log and out of it: checked, encoded, decoded.

Pure but for the clock: `Topic`, `Transaction` and `Schedules` all begin here.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any
from uuid import uuid4

from eventlog.api.schedules import Schedule, ScheduleState
from eventlog.backend.schedules import NewSchedule, StoredSchedule
from eventlog.backend.topics import StoredTopic
from eventlog.clients.topic_handle import TopicHandle
from eventlog.clock import Clock, to_ms
from eventlog.errors import DecodeError
from eventlog.interruptions import unless_interrupted
from eventlog.options import HeadersInput, check_headers, check_message_id

_END_MS = 253_402_300_800_000
"""The end of the year 9999: what is later is no time that anybody means."""


def new_schedule(
    handle: TopicHandle,
    clock: Clock,
    value: object,
    *,
    at: datetime | float | None = None,
    delay: float | None = None,
    key: object = None,
    headers: HeadersInput | None = None,
    partition: int | None = None,
    message_id: str | bytes | None = None,
) -> NewSchedule:
    """A record of a topic with its time, checked and encoded."""
    now_ms = clock.now_ms()
    due_ms = due_ms_of(now_ms, at, delay)
    value_bytes, key_bytes = handle.value_codec.encode(value), handle.key_codec.encode(key)
    pairs = check_headers(headers) if headers else ()
    handle.check_size(key_bytes, value_bytes, pairs)
    identity = None if message_id is None else check_message_id(message_id)
    row = handle.row
    chosen = handle.partition(key_bytes, partition, row.partitions)
    return NewSchedule(
        _new_id(now_ms) if identity is None else _id_of(row, identity),
        row,
        chosen,
        row.partitions if partition is None else 0,
        key_bytes,
        value_bytes,
        pairs,
        due_ms,
        now_ms,
        identity,
    )


def _new_id(now_ms: int) -> bytes:
    """An id that nobody else makes; those of one time are beside each other in the log, where they cost less."""
    return max(0, now_ms).to_bytes(8, "big")[2:] + uuid4().bytes[6:]


def _id_of(topic: StoredTopic, message_id: bytes) -> bytes:
    """The id of the schedule of a message id: the same whoever schedules it."""
    from eventlog.digests import blake2b

    return blake2b(topic.uuid.bytes + message_id, digest_size=16).digest()


def due_ms_of(now_ms: int, at: object, delay: object) -> int:
    """The time that `at=` or `delay=` says, in ms since 1970; what is past is due at once."""
    if (at is None) == (delay is None):
        raise ValueError(
            f"a schedule has either at= or delay=, not {'both' if at is not None else 'none of them'}. Nothing was "
            "stored. Pass at= with a datetime or the seconds since 1970, or delay= with seconds from now."
        )
    if at is not None:
        return moment_ms("at", at)
    seconds = _number("delay", delay)
    if seconds < 0:
        raise ValueError(f"delay must be a number of seconds, 0 or more, not {delay!r}. Nothing was stored.")
    return _checked_ms("delay", delay, now_ms + seconds * 1000)


def moment_ms(name: str, moment: object) -> int:
    """A moment in ms since 1970, at least 0: a `datetime` with a time zone, or seconds since 1970."""
    if not isinstance(moment, datetime):
        return _checked_ms(name, moment, _number(name, moment) * 1000)
    if moment.tzinfo is None:
        raise ValueError(
            f"{name}={moment!r} has no time zone, so it would be another moment on another machine. Nothing was "
            "stored. Pass datetime.now(timezone.utc) + ..., or .astimezone() to mean this machine's zone."
        )
    return max(0, to_ms(moment))


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        kinds = "a number of seconds" if name == "delay" else "a datetime with a time zone or the seconds since 1970"
        raise TypeError(f"{name} must be {kinds}, not {value!r}. Nothing was stored.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number of seconds, not {value!r}. Nothing was stored.")
    return value


def _checked_ms(name: str, given: object, due_ms: float) -> int:
    if due_ms >= _END_MS:
        raise ValueError(
            f"{name}={given!r} is beyond the year 9999. Nothing was stored. Times here are in seconds, not in "
            "milliseconds."
        )
    return max(0, round(due_ms))


def schedule_id(schedule: object) -> bytes:
    """The id of a schedule, or of the text of one."""
    text = schedule.id if isinstance(schedule, Schedule) else schedule
    if not isinstance(text, str):
        raise TypeError(f"a schedule is its id or a Schedule, not {type(schedule).__name__}. Nothing was changed.")
    try:
        data = bytes.fromhex(text)
    except unless_interrupted(ValueError):
        data = b""
    if len(data) != 16:
        shown = repr(text if len(text) <= 60 else text[:57] + "...")
        raise ValueError(
            f"{shown} is no id of a schedule: that has 32 hexadecimal digits. Nothing was changed. "
            "log.schedules.list() has the ids."
        )
    return data


def decoded(handle: TopicHandle, stored: StoredSchedule) -> Schedule[Any, Any]:
    """
    A stored schedule as users see it.

    Raises:
        DecodeError: its key or value is none of the topic's codecs.
    """
    try:
        key, value = handle.key_codec.decode(stored.key), handle.value_codec.decode(stored.value)
    except unless_interrupted(ValueError) as error:
        raise DecodeError(
            f"cannot decode schedule {stored.id.hex()} of topic {stored.topic!r}: {error}",
            stored="It is scheduled as before.",
            advice="Open the topic with the codecs that it was scheduled with.",
            topic=stored.topic,
        ) from error
    state: ScheduleState = "sent" if stored.is_sent else "failed" if stored.error is not None else "waiting"
    return Schedule(
        stored.id.hex(),
        stored.topic,
        stored.partition,
        key,
        value,
        stored.headers,
        stored.due_ms,
        stored.scheduled_ms,
        stored.message_id,
        state,
        stored.error,
    )


def as_stored(new: NewSchedule) -> StoredSchedule:
    """A schedule that a transaction will store."""
    return StoredSchedule(
        new.id,
        new.topic.name,
        None if new.placed_by else new.partition,
        new.key,
        new.value,
        new.headers,
        new.due_ms,
        new.scheduled_ms,
        new.message_id,
        None,
    )
