"""
The errors of eventlog: one class for each thing a caller would do differently.

Every message says what failed, on which values, what is stored now and what to do next. Wrong arguments raise
plain `ValueError` and `TypeError`, at the call and before any effect, except where a class of ours adds something to
catch.

Knows nothing of LMDB or of the operating system's error numbers; `store/lmdb/errors.py` translates those.
"""

from __future__ import annotations

from typing import Any, TypedDict, Unpack

from eventlog.records import Record, TopicPartition


class ErrorParts(TypedDict, total=False):
    """The keyword arguments that every error of ours takes."""

    stored: str
    advice: str
    topic: str | None
    partition: int | None
    offset: int | None
    group: str | None
    state: str | None
    projection: str | None


class EventLogError(Exception):
    """
    The root of every error that eventlog raises by itself.

    `str(error)` is one text. Its parts are attributes, each a sentence or more: `what` failed, on which values; what is
    `stored` now; and the `advice`, what to do next. Whoever shows an error elsewhere replaces the advice by its own.

    `topic`, `partition`, `offset`, `group`, `state` and `projection` say where it failed, and are None where that is
    not known or not one place. `retriable` says whether the same call may succeed later although nobody changed
    anything.

    A copied or pickled error has all of this, its notes, and a `__cause__` that is an error of ours.
    """

    retriable = False

    def __init__(
        self,
        what: str,
        *,
        stored: str = "",
        advice: str = "",
        topic: str | None = None,
        partition: int | None = None,
        offset: int | None = None,
        group: str | None = None,
        state: str | None = None,
        projection: str | None = None,
    ) -> None:
        super().__init__(" ".join(filter(None, (what, stored, advice))))
        self.what = what
        self.stored = stored
        self.advice = advice
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.group = group
        self.state = state
        self.projection = projection

    def _reword(self, *, what: str | None = None, advice: str | None = None) -> None:
        """Put in other words what failed or what to do, where more is known, or where the receiver can do less."""
        self.what = self.what if what is None else what
        self.advice = self.advice if advice is None else advice
        self.args = (" ".join(filter(None, (self.what, self.stored, self.advice))),)

    def __reduce__(self) -> tuple[Any, ...]:
        # `Exception` would call the class with the text alone, and some classes below need more. Python carries no
        # cause. A foreign one may be impossible to unpickle, which breaks the process pool that receives it. An error
        # that is an OSError too would lose its text in `__new__`: so the text is in the state as well.
        state = {**vars(self), "args": self.args}
        if isinstance(self.__cause__, EventLogError):
            state["__cause__"] = self.__cause__
        return type(self).__new__, (type(self), *self.args), state


class LogClosed(EventLogError):
    """
    Raised when a log, producer or consumer is used after it was closed.

    Open it again to go on.
    """


class NotSupported(EventLogError, NotImplementedError):
    """
    Raised when a backend or a platform lacks what was asked for.

    Nothing was changed. `feature` names what is missing, and `backend` what lacks it; `EventLog.supports()` asks
    beforehand.
    """

    def __init__(self, what: str, *, feature: str, backend: str, **parts: Unpack[ErrorParts]) -> None:
        super().__init__(what, **parts)
        self.feature = feature
        self.backend = backend


class UsedAfterFork(EventLogError):
    """
    Raised when an object made before `os.fork()` is used in the child.

    Make a new one there.
    """


class NotALog(EventLogError):
    """
    Raised when a path holds something that eventlog did not write.

    The path was left as it was.
    """


class FormatTooNew(EventLogError):
    """
    Raised when stored data was written by a newer eventlog.

    Nothing is damaged; upgrade to read it.
    """


class MissingLibrary(EventLogError, ImportError):
    """
    Raised when records are compressed and the library for that is not installed.

    Nothing was changed, and nothing is lost; a reader stays where it is. `extra` names what to install, as in
    `pip install "eventlog[zstd]"`.
    """

    def __init__(self, what: str, *, extra: str, **parts: Unpack[ErrorParts]) -> None:
        super().__init__(what, **parts)
        self.extra = extra


class FormatTooOld(EventLogError):
    """
    Raised when a log is of a format that this eventlog neither reads nor writes as it is, or that lacks what was asked.

    Nothing was changed. `eventlog upgrade`, `eventlog.upgrade()` and `open(upgrade=True)` make it one of today's
    format.
    """


class LogInUse(EventLogError):
    """
    Raised when a program has open what the call needs alone: a log to be upgraded, a directory of backups.

    Nothing was changed; the call succeeds once the other one is done.
    """

    retriable = True


class CorruptBatch(EventLogError):
    """
    Raised when stored bytes are not what was written: a checksum or a length is wrong.

    The reader's position is unchanged; the message names the damaged offsets.
    """


class CorruptBackup(EventLogError):
    """
    Raised when a file of a backup is missing, or is not what was written.

    Nothing was made. `file` names it, and `sound_end` is the log position up to which the backup is sound: a restore to
    that position works.
    """

    def __init__(self, what: str, *, file: str, sound_end: int, **parts: Unpack[ErrorParts]) -> None:
        super().__init__(what, **parts)
        self.file = file
        self.sound_end = sound_end


class BackupMismatch(EventLogError):
    """
    Raised when a backup is to be added to those of another log, or of the same log before it was restored or repaired.

    They were left as they were.
    """


class StorageError(EventLogError):
    """
    Raised when the disk or the storage engine fails to read or write.

    After a failed write the log refuses further writes until it is closed and opened again, except after `DiskFull`.
    """


class DiskFull(StorageError):
    """
    Raised when the disk, the quota or the memory map has no room left.

    Nothing of the failed commit is stored, and later ones may succeed. Deletions find room on a full volume, too.
    """


class LogFull(DiskFull):
    """
    Raised when a commit would make the file of a log larger than the `max_bytes` that it was opened with.

    Nothing of it is stored. Deletions, commits of offsets and whatever else groups need go on. Records go in again
    once others are deleted: by somebody, or by the retention of their topics. `file_bytes` is the size of the file.
    """

    retriable = True

    def __init__(self, what: str, *, max_bytes: int, file_bytes: int, **parts: Unpack[ErrorParts]) -> None:
        super().__init__(what, **parts)
        self.max_bytes = max_bytes
        self.file_bytes = file_bytes


class FilesChanged(StorageError):
    """
    Raised when the files of an open log were removed, renamed, replaced or cut short by somebody.

    Nothing of the call is stored, and nothing was written over. What was acknowledged before is in the files that were
    there. Put them back, or close the log in every process and open what is there now.
    """


class ReadOnlyLog(StorageError):
    """
    Raised when a log that was opened with `read_only=True` would be written to, or when this user cannot write to it.

    Nothing was changed. The message names the call.
    """


class UnsupportedFileSystem(StorageError):
    """Raised when the file system cannot map the file into memory or lock it."""


class UnsupportedSharing(StorageError):
    """
    Raised when a process has the log open that we cannot share it with: one of another kernel, or a container.

    Nothing was changed. The message names what differs and how to make it the same.
    """


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


class MetadataTooLarge(EventLogError, ValueError):
    """
    Raised when the metadata of a committed offset have more bytes than are kept beside one (`most_bytes`).

    Nothing was stored. Keep what is large in a state, or in a record.
    """

    def __init__(self, what: str, *, size_bytes: int, most_bytes: int, **parts: Unpack[ErrorParts]) -> None:
        super().__init__(what, **parts)
        self.size_bytes = size_bytes
        self.most_bytes = most_bytes


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


class ConcurrentUse(EventLogError):
    """
    Raised when two threads use one consumer at once.

    Give each thread its own; only `wakeup()` may be called from another thread.
    """


class NestedCall(EventLogError, RuntimeError):
    """
    Raised where a signal handler or a finalizer would wait for what only the interrupted call can let go of.

    The message says what is stored. Make the call outside, or one that does not wait: `send()` of a producer.
    """


class MemberFenced(EventLogError):
    """
    Raised when a commit names a partition that the member no longer owns.

    Nothing was stored. `poll()` goes on with the partitions that the member owns now.
    """


class InstanceInUse(EventLogError):
    """
    Raised when a live member of the group has the same `instance_id`.

    Nothing was changed; the call succeeds once that member has ended.
    """

    retriable = True


class GroupMismatch(EventLogError):
    """
    Raised when the live members of a group use another assignor, or when a queue has the name of a group.

    Nothing was changed. Name their assignor, or close them all first; a queue needs a name of its own.
    """


class UnknownGroup(EventLogError, LookupError):
    """Raised when the log has no group of that name: neither members nor committed offsets, nor a queue."""


class QueueMismatch(EventLogError):
    """
    Raised when a queue is opened with options that differ from the stored ones.

    The queue is unchanged. Leave the option out to use what is stored.
    """


class LeaseLost(EventLogError):
    """
    Raised when a job is acknowledged whose lease is over: others may have it by now.

    Nothing of that acknowledgement was stored. `lost` are the jobs, where more than one is told of at once.
    """

    def __init__(self, what: str, *, lost: tuple[Any, ...] = (), **parts: Unpack[ErrorParts]) -> None:
        super().__init__(what, **parts)
        self.lost = lost


class GroupNotEmpty(EventLogError):
    """
    Raised when a group has live members whose offsets the call would change.

    Nothing was changed. Close them, or use force: then they are fenced and start again from the new offsets.
    """


class GroupBehind(EventLogError, TimeoutError):
    """
    Raised when a group has not come so far in the time that `log.groups.wait()` was given.

    Nothing was changed, and the group works on. `lags` has the records that it had not committed, for each partition
    where there were some, and `lag` is their sum; both count up to the end that the log had at the call.
    """

    retriable = True

    def __init__(self, what: str, *, lags: dict[TopicPartition, int], **parts: Unpack[ErrorParts]) -> None:
        super().__init__(what, **parts)
        self.lags = lags

    @property
    def lag(self) -> int:
        """How many records the group had not committed, in all partitions together."""
        return sum(self.lags.values())


class ConflictError(EventLogError):
    """
    Raised when something that a transaction had read was changed before it committed.

    Nothing of it was stored. Run the whole transaction again, from its first read; `log.transact()` does that.
    """

    retriable = True


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


class TransactionTooLarge(EventLogError):
    """
    Raised when a transaction would hold more than its `max_bytes`.

    The record that did not fit was not taken, and the rest is unchanged: it may be committed or aborted.
    """


class TransactionEnded(EventLogError):
    """
    Raised when a transaction is used after it was committed or aborted.

    The call changed nothing. Begin another with `log.transaction()`.
    """


class UnknownEvent(DecodeError):
    """
    Raised when a stored event is of an undeclared class, or of a version that no upcaster reads.

    The record is intact and the reader stays in front of it. Declare the class, or an upcaster for it.
    """


class ProcessDied(EventLogError):
    """
    Raised for a record that a processor has tried `attempts` times, two at least, and each time the process ended.

    That is a crash in compiled code, `os._exit()`, or the kernel's out-of-memory killer: nothing was raised. A
    processor gives it to `on_failure`, and raises it without one. Nothing of the record is stored.
    """


class StateMismatch(EventLogError):
    """
    Raised when a state is opened with other codecs than it is stored with.

    The message names both; the state is unchanged.
    """


class UnknownState(EventLogError, LookupError):
    """Raised when the log has no state of that name."""


class UnknownProjection(EventLogError, LookupError):
    """Raised when the log has no projection of that name."""


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


class NoResponders(EventLogError):
    """
    Raised for a request that nobody is there to answer: no group that reads the topic has a live member.

    Nothing was stored.
    """

    retriable = True


class RequestTimeout(EventLogError, TimeoutError):
    """
    Raised when a request was not answered in time, or not by everybody.

    The request is stored at `partition` and `offset`. `replies` are those that came.
    """

    retriable = True

    def __init__(self, what: str, *, replies: tuple[Record[Any, Any], ...] = (), **parts: Unpack[ErrorParts]) -> None:
        super().__init__(what, **parts)
        self.replies = replies


class RemoteError(EventLogError):
    """
    Raised when the function that was to answer a request raised an exception.

    `type` is the name of its class, `message` its text, and `traceback` where it was raised, "" if that is not known:
    texts, of which nothing is run here. `replies` are those that came before.
    """

    def __init__(
        self,
        what: str,
        *,
        type: str,  # noqa: A002 - the word of the field
        message: str,
        traceback: str = "",
        replies: tuple[Record[Any, Any], ...] = (),
        **parts: Unpack[ErrorParts],
    ) -> None:
        super().__init__(what, **parts)
        self.type = type
        self.message = message
        self.traceback = traceback
        self.replies = replies


class ReplyTooLarge(RemoteError):
    """Raised when a reply has more bytes than the topic for replies takes; nothing that was done for it is stored."""
