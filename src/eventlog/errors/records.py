"""Errors of topics and their records: names, offsets, sizes, codecs, versions, and the producers that send them."""

from __future__ import annotations

from typing import Unpack

from eventlog.errors.base import ErrorParts, EventLogError
from eventlog.records import Record


class InvalidTopicName(EventLogError, ValueError):
    """Raised for a name that is not 1 to 249 characters of `[A-Za-z0-9._-]`, or is `.` or `..` (Kafka's rule)."""


class UnknownTopic(EventLogError, LookupError):
    """Raised when the log has no topic of that name."""


class TopicMismatch(EventLogError):
    """
    Raised when a topic is opened with options that differ from the stored ones.

    The message names both.
    """


class UnknownPartition(EventLogError, LookupError):
    """Raised when the topic has no partition of that number."""


class OffsetOutOfRange(EventLogError):
    """
    Raised when an offset is below the first offset of its partition, or above its end.

    The reader's position is unchanged. `first` and `end` are the bounds at the time, `end` exclusive.
    """

    def __init__(self, what: str, *, first: int, end: int, **parts: Unpack[ErrorParts]) -> None:
        super().__init__(what, **parts)
        self.first = first
        self.end = end


class RecordTooLarge(EventLogError, ValueError):
    """
    Raised when a record is larger than the topic's `max_record_bytes`.

    It was not stored.
    """


class KeyRequired(EventLogError, ValueError):
    """
    Raised when a record without a key is appended to a compacted topic.

    It was not stored.
    """


class DecodeError(EventLogError):
    """
    Raised when the topic's codec cannot read a stored record.

    The record is intact and the reader stays in front of it; `seek()` past it to go on. `record` is the record with its
    key and value as they are stored, in bytes; None where a row of a state or a snapshot cannot be read.
    """

    def __init__(
        self, what: str, *, record: Record[bytes | None, bytes | None] | None = None, **parts: Unpack[ErrorParts]
    ) -> None:
        super().__init__(what, **parts)
        self.record = record


class UnknownEvent(DecodeError):
    """
    Raised when a stored event is of an undeclared class, or of a version that no upcaster reads.

    The record is intact and the reader stays in front of it. Declare the class, or an upcaster for it.
    """


class WrongVersion(EventLogError):
    """
    Raised when a key is not at the version that the caller expected: somebody else was faster, or it is new.

    Nothing was stored. `expected` is the caller's version of `key` and `actual` the stored one: read the events in
    between, decide again, and append with the new version.
    """

    def __init__(
        self, what: str, *, expected: int, actual: int, key: object = None, **parts: Unpack[ErrorParts]
    ) -> None:
        super().__init__(what, **parts)
        self.key = key
        self.expected = expected
        self.actual = actual


class MessageIdReused(EventLogError):
    """
    Raised when a record has the message id of a different record that is still in the topic's window.

    Nothing was stored. A message id names one record; give every other record its own.
    """


class BufferFull(EventLogError):
    """
    Raised when a producer's buffer had no room for `max_block` seconds.

    The record was not taken.
    """

    retriable = True


class DeliveryError(EventLogError):
    """
    Raised when records given to `send()` were not stored and nobody looked at their deliveries.

    `count` is their number; the error of the first one is the `__cause__`.
    """

    def __init__(self, what: str, *, count: int, **parts: Unpack[ErrorParts]) -> None:
        super().__init__(what, **parts)
        self.count = count


class ProducerFenced(EventLogError):
    """
    Raised when a named producer is used after a newer one of the same name was made.

    Nothing was stored. The newer one goes on; close this one.
    """


class OutOfOrderSequence(EventLogError):
    """
    Raised for records of a named producer when earlier records that it sent to the partition are not stored.

    Nothing was stored. An earlier commit of the producer failed, and later records must not be stored before the failed
    ones. Make another producer of that name.
    """
