"""Errors of groups, their members and their committed offsets."""

from __future__ import annotations

from typing import Unpack

from eventlog.errors.base import ErrorParts, EventLogError
from eventlog.records import TopicPartition


class UnknownGroup(EventLogError, LookupError):
    """Raised when the log has no group of that name: neither members nor committed offsets, nor a queue."""


class GroupMismatch(EventLogError):
    """
    Raised when the live members of a group use another assignor, or when a queue has the name of a group.

    Nothing was changed. Name their assignor, or close them all first; a queue needs a name of its own.
    """


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


class MetadataTooLarge(EventLogError, ValueError):
    """
    Raised when the metadata of a committed offset have more bytes than are kept beside one (`most_bytes`).

    Nothing was stored. Keep what is large in a state, or in a record.
    """

    def __init__(self, what: str, *, size_bytes: int, most_bytes: int, **parts: Unpack[ErrorParts]) -> None:
        super().__init__(what, **parts)
        self.size_bytes = size_bytes
        self.most_bytes = most_bytes
