"""
Snapshots: for a key of a topic with an index, a state and the version up to which it was folded.

One row for each key; a later snapshot replaces the one before.
"""

from __future__ import annotations

import struct

from eventlog.backend.history import StoredSnapshot
from eventlog.backend.topics import StoredTopic
from eventlog.errors import WrongVersion
from eventlog.interruptions import unless_interrupted
from eventlog.store.lmdb.environment import SNAPSHOTS, Environment
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.packing import NOT_A_ROW, damaged, whole

_ROW = struct.Struct(">Qq")


def read_snapshot(environment: Environment, prefix: bytes) -> StoredSnapshot | None:
    """The snapshot of a key, by the prefix of its rows in the index."""
    with environment.reading() as transaction:
        data = environment.row(transaction, SNAPSHOTS, prefix)
        return None if data is None else unpack_snapshot(bytes(data))


def unpack_snapshot(data: bytes) -> StoredSnapshot:
    """The snapshot of a row."""
    try:
        version, timestamp_ms = _ROW.unpack_from(data)
        whole(version, 1)
    except unless_interrupted(*NOT_A_ROW) as error:
        raise damaged("a snapshot", error) from error
    return StoredSnapshot(version, timestamp_ms, data[_ROW.size :])


class SaveSnapshot(CommitRequest):
    """
    The snapshot of a key.

    One that is older than the stored one changes nothing: somebody else was faster, and both are right.
    """

    __slots__ = ("_data", "_key", "_now_ms", "_prefix", "_topic", "_version")

    def __init__(self, topic: StoredTopic, prefix: bytes, key: object, data: bytes, version: int, now_ms: int) -> None:
        super().__init__()
        self._topic = topic
        self._prefix = prefix
        self._key = key
        self._data = data
        self._version = version
        self._now_ms = now_ms

    def apply(self, writing: WriteTransaction) -> None:
        """Write the row, if the key has that many records."""
        writing.check_topic(self._topic)
        actual = writing.index.version(writing.transaction, self._prefix)
        if self._version > actual:
            raise WrongVersion(
                f"cannot save a snapshot of key {self._key!r} of topic {self._topic.name!r} at version "
                f"{self._version}: the key is at version {actual}.",
                stored="Nothing was stored.",
                advice="Pass the version up to which the state was folded.",
                topic=self._topic.name,
                key=self._key,
                expected=self._version,
                actual=actual,
            )
        stored = writing.get(SNAPSHOTS, self._prefix)
        if stored is None or unpack_snapshot(stored).version <= self._version:
            writing.put(SNAPSHOTS, self._prefix, _ROW.pack(self._version, self._now_ms) + self._data)


class DeleteSnapshot(CommitRequest):
    """The end of a key's snapshot; without one it changes nothing."""

    __slots__ = ("_prefix", "_topic")
    reserve_share = 0.5
    bound_share = 1.0

    def __init__(self, topic: StoredTopic, prefix: bytes) -> None:
        super().__init__()
        self._topic = topic
        self._prefix = prefix

    def apply(self, writing: WriteTransaction) -> None:
        """Remove the row."""
        writing.check_topic(self._topic)
        if writing.get(SNAPSHOTS, self._prefix) is not None:
            writing.delete(SNAPSHOTS, self._prefix)
