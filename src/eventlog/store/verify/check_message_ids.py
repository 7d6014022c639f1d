"""
The check of message ids: each leads to its record, unless that was deleted, and can expire.

Records are looked up in the order of time, in which neighbours are often in the same batch.
"""

from __future__ import annotations

from eventlog.backend.topics import StoredTopic
from eventlog.interruptions import unless_interrupted
from eventlog.store.lmdb.environment import MESSAGE_TIMES, MESSAGES
from eventlog.store.records.key_rows import entity_prefix
from eventlog.store.records.message_ids import StoredMessage, digest_of, split_time_key, time_key
from eventlog.store.verify.check_index import entry_at
from eventlog.store.verify.walk import UNREADABLE, Problems, SnapshotReader, said

_TOPIC_BYTES = 4


class MessageCheck:
    """Checks each message id: it must also be in the order of time."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def unreadable(self, key: bytes, error: BaseException) -> None:
        """Report a row that cannot be read."""
        self._problems.add(f"{_named(key, None)}: {said(error)}")

    def row(self, snapshot: SnapshotReader, key: bytes, data: bytes) -> None:
        """Check one row."""
        topic_id = int.from_bytes(key[:_TOPIC_BYTES], "big")
        topic = snapshot.topic(topic_id)
        if topic is None or len(key) <= _TOPIC_BYTES:
            self._problems.add(f"{_named(key, topic)}: its topic does not exist.")
            return
        message = StoredMessage.unpack(data)
        if snapshot.get(MESSAGE_TIMES, time_key(topic_id, message.stored_ms) + key[_TOPIC_BYTES:]) is None:
            self._problems.add(f"{_named(key, topic)}: it has no row in the order of time, so it never expires.")


class MessageTimeCheck:
    """Checks each row of the order of time: its message id exists and leads to its record."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def unreadable(self, key: bytes, error: BaseException) -> None:
        """Report a row that cannot be read."""
        self._problems.add(f"table 'message times', row {key.hex()}: {said(error)}")

    def row(self, snapshot: SnapshotReader, key: bytes, data: bytes) -> None:
        """Check one row."""
        topic_id, stored_ms, message_id = split_time_key(key)
        topic = snapshot.topic(topic_id)
        full_id = key[:_TOPIC_BYTES] + message_id
        name = _named(full_id, topic)
        if topic is None:
            self._problems.add(f"table 'message times', {name}: its topic does not exist.")
            return
        if data:
            self._problems.add(f"{name}: its row in the order of time is not empty.")
        row = snapshot.get(MESSAGES, full_id)
        if row is None:
            self._problems.add(f"{name}: it is in the order of time, but leads to no record.")
            return
        try:
            message = StoredMessage.unpack(row)
        except unless_interrupted(*UNREADABLE):
            return  # reported by the check of message ids
        if max(message.stored_ms, 0) != stored_ms:
            self._problems.add(
                f"{name}: it is in the order of time at {stored_ms}, but was stored at {message.stored_ms}."
            )
        what = difference(snapshot, topic, message)
        if what is not None:
            self._problems.add(f"{name}: {what}.")


def difference(snapshot: SnapshotReader, topic: StoredTopic, message: StoredMessage) -> str | None:
    """The difference between a message id and its record; None if there is none, or no sound record to compare."""
    place = f"offset {message.offset} of partition {message.partition}"
    first, end = snapshot.bounds(topic.id, message.partition)
    if message.partition >= topic.partitions or message.offset >= end:
        return f"it leads to {place}, where there is no record"
    if message.offset < first:
        return None
    found = snapshot.batch(topic.id, message.partition, message.offset)
    if found is None:
        return f"it leads to {place}, which is in no batch"
    last, columns = found
    if columns is None:
        return None
    offsets = columns.offsets(last)
    if message.offset not in offsets:
        if snapshot.is_compacted(topic.id, message.partition):
            return None  # the id is remembered for longer than the record
        return f"it leads to {place}, where there is no record"
    index = offsets.index(message.offset)
    key = columns.keys[index]
    log_position = columns.log_positions(last)[index]
    if (message.timestamp_ms, message.log_position) != (columns.timestamps_ms[index], log_position):
        return f"it has another timestamp or position than {place}"
    is_tombstone = columns.values[index] is None and not columns.headers[index]  # maybe it was redacted since
    if not is_tombstone and message.digest != digest_of(key, columns.values[index], columns.headers[index]):
        return f"it leads to {place}, which has another key, value or headers"
    if topic.index is None or key is None:
        return None if message.version == 0 else f"it has version {message.version}, but {place} has none"
    entry = entry_at(snapshot, entity_prefix(topic.id, key), message.version)
    if entry is None or entry[:2] != (message.partition, message.offset):
        return f"it has version {message.version} of its key, which is not that of {place}"
    return None


def _named(key: bytes, topic: StoredTopic | None) -> str:
    name = f"topic id {int.from_bytes(key[:_TOPIC_BYTES], 'big')}" if topic is None else topic.name
    return f"message id {key[_TOPIC_BYTES:]!r} of {name}"
