"""The methods of a store that read and write by key (`backend/history.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventlog.backend.history import KeyEvents, StoredSnapshot
from eventlog.backend.topics import StoredTopic
from eventlog.clock import Clock
from eventlog.store.committer import Committer
from eventlog.store.lmdb.environment import Environment
from eventlog.store.records.key_events import read_events
from eventlog.store.records.key_reader import read_keys, stored_version
from eventlog.store.records.key_rows import entity_prefix
from eventlog.store.records.snapshots import DeleteSnapshot, SaveSnapshot, read_snapshot


class StoreHistory:
    """The histories of a store."""

    clock: Clock
    environment: Environment
    committer: Committer

    if TYPE_CHECKING:

        def check_topic(self, topic: StoredTopic) -> StoredTopic:
            """The topic as it is stored now."""
            ...

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
        """The events of a key from version `first` up to `end`, or the first part of them."""
        found = read_events(self.environment, topic, encoded_key, key, first, end, is_reversed, max_events, value_type)
        if not found.events:
            self.check_topic(topic)
        return found

    def key_version(self, topic: StoredTopic, encoded_key: bytes) -> int:
        """The number of records that a key ever had."""
        version = stored_version(self.environment, entity_prefix(topic.id, encoded_key))
        if not version:
            self.check_topic(topic)
        return version

    def read_keys(self, topic: StoredTopic, prefix: bytes, after: bytes | None, max_count: int) -> list[bytes]:
        """The encoded keys of a topic that begin with `prefix` and come after `after`."""
        keys = read_keys(self.environment, topic.id, prefix, after, max_count)
        if not keys and after is None:
            self.check_topic(topic)
        return keys

    def key_snapshot(self, topic: StoredTopic, encoded_key: bytes) -> StoredSnapshot | None:
        """The snapshot of a key."""
        return read_snapshot(self.environment, entity_prefix(topic.id, encoded_key))

    def save_key_snapshot(self, topic: StoredTopic, encoded_key: bytes, key: object, data: bytes, version: int) -> None:
        """Store the snapshot of a key, unless the stored one is of a later version."""
        prefix = entity_prefix(topic.id, encoded_key)
        self.committer.run(SaveSnapshot(topic, prefix, key, data, version, self.clock.now_ms()))

    def delete_key_snapshot(self, topic: StoredTopic, encoded_key: bytes) -> None:
        """Delete the snapshot of a key, if there is one."""
        self.committer.run(DeleteSnapshot(topic, entity_prefix(topic.id, encoded_key)))
