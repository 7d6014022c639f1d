"""
Message ids: the records that a topic has stored under ids of the user, for as long as the topic remembers them.

A record that comes a second time with its id is not stored again; the caller gets the place of the first one. Each id
has two rows: one leads from the id to the record, the other is in the order of time, so that each new id can remove a
few that have expired.

An id expires when its time is over, and not before the log has stored many newer records: a clock that is wrong for a
while makes nothing old.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgpack

from eventlog.backend.records import Location
from eventlog.errors import FormatTooNew
from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.records import Headers
from eventlog.store.lmdb.environment import MESSAGE_TIMES, MESSAGES
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.packing import NOT_A_ROW, damaged, whole

_ROW = struct.Struct(">BIQqqQQ8s")
_ROW_VERSION = 1
_TIME_KEY = struct.Struct(">IQ")
KEPT_RECORDS = 10_000
"""How many records the log stores after one before its id may expire, whatever the clock says."""
_REMOVED_AT_ONCE = 3
"""The most old ids that a new one removes: more than one, so that a burst of ids expires in the end."""

_topic_key = struct.Struct(">I").pack


class StoredMessage(NamedTuple):
    """The place of the record of a message id, and what it was: `digest` stands for key, value and headers."""

    partition: int
    offset: int
    timestamp_ms: int
    stored_ms: int
    log_position: int
    version: int
    digest: bytes

    def pack(self) -> bytes:
        """The row's bytes."""
        return _ROW.pack(
            _ROW_VERSION,
            self.partition,
            self.offset,
            self.timestamp_ms,
            self.stored_ms,
            self.log_position,
            self.version,
            self.digest,
        )

    @property
    def location(self) -> Location:
        """The place of the record."""
        return Location(self.partition, self.offset, self.timestamp_ms, self.log_position, self.version)

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> StoredMessage:
        """The row of these bytes."""
        try:
            if len(data) and data[0] > _ROW_VERSION:
                raise FormatTooNew(
                    f"cannot read a message id: its row has version {data[0]}, and this eventlog knows up to "
                    f"{_ROW_VERSION}.",
                    stored="Nothing is damaged.",
                    advice="Upgrade eventlog to read it.",
                )
            row_version, *fields = _ROW.unpack(data)
            message = cls(*fields)
            whole(row_version, 1)
            for number in (message.offset, message.log_position, message.version):
                whole(number)
            return message
        except unless_interrupted(*NOT_A_ROW) as error:
            raise damaged("a message id", error) from error


def digest_of(key: bytes | None, value: bytes | None, headers: Headers) -> bytes:
    """8 bytes that stand for the content of a record."""
    from eventlog.digests import blake2b

    return blake2b(msgpack.packb([key, value, headers]), digest_size=8).digest()


def find(writing: WriteTransaction, topic_id: int, message_id: bytes, *, since_ms: int) -> StoredMessage | None:
    """The record that has an id, if it was stored at `since_ms` or later, or is among the newest of the log."""
    row = writing.get(MESSAGES, _topic_key(topic_id) + message_id)
    if row is None:
        return None
    stored = StoredMessage.unpack(row)
    return stored if stored.stored_ms >= since_ms or _is_among_newest(writing, stored) else None


def _is_among_newest(writing: WriteTransaction, stored: StoredMessage) -> bool:
    return stored.log_position + KEPT_RECORDS >= writing.end_log_position()


def remember(
    writing: WriteTransaction, topic_id: int, messages: Sequence[tuple[bytes, StoredMessage]], *, since_ms: int
) -> None:
    """Note new ids, and forget some that are older than `since_ms` and not among the newest of the log."""
    topic = _topic_key(topic_id)
    for message_id, message in messages:
        row = writing.get(MESSAGES, topic + message_id)
        if row is not None:  # too old, or it would have been found
            writing.delete(MESSAGE_TIMES, time_key(topic_id, StoredMessage.unpack(row).stored_ms) + message_id)
        writing.put(MESSAGES, topic + message_id, message.pack())
        writing.put(MESSAGE_TIMES, time_key(topic_id, message.stored_ms) + message_id, b"")
    _forget_old(writing, topic, time_key(topic_id, since_ms), _REMOVED_AT_ONCE * len(messages))


def _forget_old(writing: WriteTransaction, topic: bytes, before: bytes, count: int) -> None:
    doomed: list[bytes] = []
    for key in writing.keys(MESSAGE_TIMES, topic):
        if key >= before or len(doomed) >= count:
            break
        row = writing.get(MESSAGES, topic + key[_TIME_KEY.size :])
        if row is not None and _is_among_newest(writing, StoredMessage.unpack(row)):
            break
        doomed.append(key)
    for key in doomed:
        writing.delete(MESSAGE_TIMES, key)
        writing.delete(MESSAGES, topic + key[_TIME_KEY.size :])


def time_key(topic_id: int, moment_ms: int) -> bytes:
    """The beginning of the keys of the ids of one moment, in the order of time."""
    return _TIME_KEY.pack(topic_id, max(moment_ms, 0))


def split_time_key(key: bytes) -> tuple[int, int, bytes]:
    """The topic id, the time and the message id of a key."""
    try:
        topic_id, moment_ms = _TIME_KEY.unpack_from(key)
    except unless_interrupted(struct.error) as error:
        raise damaged(f"the time {key.hex()} of a message id", error) from error
    return topic_id, moment_ms, key[_TIME_KEY.size :]
