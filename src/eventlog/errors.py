"""
The errors of eventlog: one class for each thing a caller would do differently.

Every message says what failed, on which values, what is stored now and what to do next. Wrong arguments are
plain `ValueError` and `TypeError`, raised at the call and before any effect, except where a class of ours adds
something to catch.

Knows nothing of LMDB or of the operating system's numbers; `store/lmdb/environment.py` translates those.
"""

from __future__ import annotations

from typing import ClassVar


class EventLogError(Exception):
    """
    The root of every error that eventlog raises by itself.

    `retriable` says whether the same call may succeed later without anybody changing anything.
    """

    retriable: ClassVar[bool] = False


class LogClosed(EventLogError):
    """
    Says that the log, producer or consumer was closed before the call.

    Open it again to go on.
    """


class UsedAfterFork(EventLogError):
    """
    Says that an object made before `os.fork()` was used in the child.

    Make a new one there.
    """


class NotALog(EventLogError):
    """
    Says that a path holds something that eventlog did not write.

    The path was left as it was.
    """


class FormatTooNew(EventLogError):
    """
    Says that a newer eventlog wrote what we tried to read.

    Nothing is damaged; upgrade to read it.
    """


class CorruptBatch(EventLogError):
    """
    Says that stored bytes are not what was written: a checksum or a length does not hold.

    The position of the reader is unchanged; the message names the offsets that are damaged.
    """


class StorageError(EventLogError):
    """
    Says that the disk, or the engine below us, failed while reading or writing.

    After a failed write the log refuses further writes until it is closed and opened again.
    """


class DiskFull(StorageError):
    """
    Says that the disk, the quota or the map has no room.

    Nothing of the failed commit is stored.
    """


class ReadOnlyLog(StorageError):
    """Says that the directory or its files cannot be written by this user."""


class UnsupportedFileSystem(StorageError):
    """Says that the file system cannot map the file into memory or take its locks."""


class InvalidTopicName(EventLogError, ValueError):
    """Says that a name is not 1 to 249 characters of `[A-Za-z0-9._-]`, or is `.` or `..` (Kafka's rule)."""


class UnknownTopic(EventLogError, LookupError):
    """Says that the log has no topic of that name."""


class TopicMismatch(EventLogError):
    """
    Says that a topic was opened with options that differ from the stored ones.

    Names both.
    """


class UnknownPartition(EventLogError, LookupError):
    """Says that the topic has no partition of that number."""


class OffsetOutOfRange(EventLogError):
    """
    Says that an offset is below the first or beyond the end of its partition.

    The position of the reader is unchanged; `first` and `end` are the bounds at the time, `end` exclusive.
    """

    def __init__(self, message: str, *, first: int, end: int) -> None:
        super().__init__(message)
        self.first = first
        self.end = end


class RecordTooLarge(EventLogError, ValueError):
    """
    Says that a record is larger than the topic's `max_record_bytes`.

    It was not stored.
    """


class DecodeError(EventLogError):
    """
    Says that the topic's codec cannot read a stored record.

    The record is intact and the position of the reader stays before it; `seek()` past it to go on.
    """


class BufferFull(EventLogError):
    """
    Says that a producer's buffer had no room for `max_block` seconds.

    The record was not taken.
    """

    retriable: ClassVar[bool] = True


class DeliveryError(EventLogError):
    """
    Says that records given to `send()` were not stored, and that nobody had looked at their deliveries.

    `count` is how many there are; the error of the first is the `__cause__`.
    """

    def __init__(self, message: str, *, count: int) -> None:
        super().__init__(message)
        self.count = count


class ConcurrentUse(EventLogError):
    """
    Says that two threads used one consumer at once.

    Give each thread its own; only `wakeup()` may be shared.
    """


class MemberFenced(EventLogError):
    """
    Says that somebody wanted to commit for a partition that the group has given to another, or took away.

    Nothing was stored. A member that polls goes on with what it owns now.
    """


class InstanceInUse(EventLogError):
    """
    Says that a live member of the group has the same `instance_id`.

    Nothing was changed; the call succeeds once that member has ended.
    """

    retriable: ClassVar[bool] = True


class GroupMismatch(EventLogError):
    """
    Says that the live members of a group divide its partitions by another assignor.

    Nothing was changed. Name the assignor that they use, or close them all first.
    """


class UnknownGroup(EventLogError, LookupError):
    """Says that the log knows no group of that name: it has neither members nor offsets."""


class GroupNotEmpty(EventLogError):
    """
    Says that a group has live members, whose positions the call would pull away from under them.

    Nothing was changed. Close them, or force it: then they are fenced and begin anew.
    """


class ConflictError(EventLogError):
    """
    Says that something a transaction had read was changed before it could commit.

    Nothing of it was stored. Do the whole transaction again, from its first read on; `log.transact()` does that.
    """

    retriable: ClassVar[bool] = True


class WrongVersion(EventLogError):
    """
    Says that an entity is not at the version that the caller expected: somebody else was faster, or it is new.

    Nothing was stored. `expected` is what the caller said, `actual` is what the log has: read the events in between,
    decide again, and append with the new version.
    """

    def __init__(self, message: str, *, expected: int, actual: int) -> None:
        super().__init__(message)
        self.expected = expected
        self.actual = actual


class MessageIdReused(EventLogError):
    """
    Says that a record has the message id of another one with other content, still in the topic's window.

    Nothing was stored. A message id names one record; give every other record another.
    """


class TransactionTooLarge(EventLogError):
    """
    Says that a transaction holds more than its `max_bytes`.

    What did not fit was not taken, and what it holds is unchanged: it may be committed or ended.
    """


class TransactionEnded(EventLogError):
    """
    Says that a transaction was used after it was committed or aborted.

    Nothing was changed by the call. Begin another with `log.transaction()`.
    """


class UnknownEvent(DecodeError):
    """
    Says that a stored event is of a class, or of a version of its class, that nobody declared how to read.

    The record is intact and the position of the reader stays before it. Declare the class, or an upcaster for it.
    """


class StateMismatch(EventLogError):
    """
    Says that a state was opened with other codecs than it is stored with.

    Names both; the state is unchanged.
    """


class UnknownState(EventLogError, LookupError):
    """Says that the log has no state of that name."""


class UnknownProjection(EventLogError, LookupError):
    """Says that the log has no projection of that name."""


class ProducerFenced(EventLogError):
    """
    Says that a named producer was used after a newer one of the same name was made.

    Nothing was stored. The newer one goes on; close this one.
    """


class OutOfOrderSequence(EventLogError):
    """
    Raised for records of a named producer when earlier records that it sent to the partition are not stored.

    Nothing was stored. An earlier commit of the producer has failed, and what it sends later may not stand before what
    failed. Make another producer of that name.
    """
