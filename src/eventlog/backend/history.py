"""
History: the records of a topic by their keys, and snapshots of what was folded from them.

For topics with an index. The records of a key are numbered from 1 (*versions*). A version is never used again, so a
deleted record leaves a gap.
"""

from __future__ import annotations

from typing import Any, Protocol

from eventlog.backend.topics import StoredTopic
from eventlog.named_tuples import NamedTuple
from eventlog.records import Event


class KeyEvents(NamedTuple):
    """
    Some events of a key, in the order in which they were asked for, without those that were deleted.

    `next_version` is where another read goes on: its `first`, or its `end` in reverse. `is_all` says that nothing is
    left to read; it may be False though nothing is. `has_values` says that the values are of the type that was asked
    for; otherwise they are the stored bytes, or None, all of them.
    """

    events: list[Event[Any, Any]]
    next_version: int
    is_all: bool
    has_values: bool


class StoredSnapshot(NamedTuple):
    """The state of a key, as somebody folded it from its records up to a version."""

    version: int
    timestamp_ms: int
    data: bytes


class HistoryBackend(Protocol):
    """The records of topics with an index, by key."""

    def read_events(
        self,
        topic: StoredTopic,
        encoded_key: bytes,
        key: object,
        first: int = 1,
        end: int | None = None,
        *,
        is_reversed: bool = False,
        max_events: int | None = None,
        value_type: type | None = None,
    ) -> KeyEvents:
        """
        The events of a key from version `first` up to `end` (exclusive; None: no end), or the first part of them.

        Their rows are of one snapshot, of about 1 MiB. The value of a large record is read after it.

        Args:
            encoded_key: the key's bytes.
            key: what the events have as their key.
            is_reversed: begins with the last event before `end`.
            max_events: the most events to return, 1 at least.
            value_type: bytes or str, if values of that type may come instead of the stored bytes.

        Raises:
            UnknownTopic: the key has no records, and the topic was deleted.
            CorruptBatch, FormatTooNew: a row cannot be read.
        """
        ...

    def key_version(self, topic: StoredTopic, encoded_key: bytes) -> int:
        """
        The number of records that a key ever had; 0 for an unknown key.

        Raises:
            UnknownTopic: the key has no records, and the topic was deleted.
        """
        ...

    def read_keys(self, topic: StoredTopic, prefix: bytes, after: bytes | None, max_count: int) -> list[bytes]:
        """
        The encoded keys of a topic that begin with `prefix` and come after `after`, in byte order.

        `max_count` of them at most; no keys means that there are no more.

        Raises:
            UnknownTopic: there are none from the first on, and the topic was deleted.
        """
        ...

    def key_snapshot(self, topic: StoredTopic, encoded_key: bytes) -> StoredSnapshot | None:
        """The snapshot of a key."""
        ...

    def save_key_snapshot(self, topic: StoredTopic, encoded_key: bytes, key: object, data: bytes, version: int) -> None:
        """
        Store the snapshot of a key, unless the stored one is of a later version.

        It is durable when this returns. Blocks for a commit.

        Args:
            encoded_key: the key's bytes.
            key: the key as it is named in errors.

        Raises:
            WrongVersion: the key has fewer records than `version`. Nothing was stored.
            UnknownTopic: the topic was deleted. Nothing was stored.
            StorageError: the disk failed. The log refuses writes until it is opened again.
        """
        ...

    def delete_key_snapshot(self, topic: StoredTopic, encoded_key: bytes) -> None:
        """
        Delete the snapshot of a key, if there is one.

        It is durable when this returns. Blocks for a commit.

        Raises:
            UnknownTopic: the topic was deleted. Nothing was changed.
            StorageError: the disk failed. The log refuses writes until it is opened again.
        """
        ...
