"""
Checking message ids: each leads to the record that it stands for, unless that was deleted, and can be forgotten.

Records are looked up in the order of time, in which neighbours have a batch in common. Knows nothing of who sends.
"""

from __future__ import annotations

from eventlog.backend.topics import StoredTopic
from eventlog.store.lmdb.environment import MESSAGE_TIMES, MESSAGES
from eventlog.store.records.key_rows import entity_prefix
from eventlog.store.records.message_ids import StoredMessage, digest_of, split_time_key, time_key
from eventlog.store.verify.check_index import entry_at
from eventlog.store.verify.walk import NOT_SOUND, Problems, SnapshotReader

_TOPIC_BYTES = 4


class MessageCheck:
    """Checks each message id: it stands in the order of time, too."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def unsound(self, key: bytes, error: BaseException) -> None:
        """Note a row that is none."""
        self._problems.add(f"{_named(key, None)}: {error}")

    def row(self, look: SnapshotReader, key: bytes, data: bytes) -> None:
        """Look at one row."""
        topic_id = int.from_bytes(key[:_TOPIC_BYTES], "big")
        topic = look.topic(topic_id)
        if topic is None or len(key) <= _TOPIC_BYTES:
            self._problems.add(f"{_named(key, topic)}: its topic does not exist.")
            return
        message = StoredMessage.unpack(data)
        if look.get(MESSAGE_TIMES, time_key(topic_id, message.stored_ms) + key[_TOPIC_BYTES:]) is None:
            self._problems.add(f"{_named(key, topic)}: it has no row in the order of time, and is never forgotten.")


class MessageTimeCheck:
    """Checks each row of the order of time: its message id is there, and leads to its record."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def unsound(self, key: bytes, error: BaseException) -> None:
        """Note a row that is none."""
        self._problems.add(f"table 'message times', row {key.hex()}: {error}")

    def row(self, look: SnapshotReader, key: bytes, data: bytes) -> None:
        """Look at one row."""
        topic_id, stored_ms, message_id = split_time_key(key)
        topic = look.topic(topic_id)
        full_id = key[:_TOPIC_BYTES] + message_id
        name = _named(full_id, topic)
        if topic is None:
            self._problems.add(f"table 'message times', {name}: its topic does not exist.")
            return
        if data:
            self._problems.add(f"{name}: its row in the order of time is not empty.")
        row = look.get(MESSAGES, full_id)
        if row is None:
            self._problems.add(f"{name}: it stands in the order of time, and leads to no record.")
            return
        try:
            message = StoredMessage.unpack(row)
        except NOT_SOUND:
            return  # found above
        if max(message.stored_ms, 0) != stored_ms:
            self._problems.add(f"{name}: it stands in the order of time at {stored_ms}, and is of {message.stored_ms}.")
        what = _difference(look, topic, message)
        if what is not None:
            self._problems.add(f"{name}: {what}.")


def _difference(look: SnapshotReader, topic: StoredTopic, message: StoredMessage) -> str | None:
    """What of a message id does not fit its record; None when all does, or the record is gone or damaged."""
    place = f"offset {message.offset} of partition {message.partition}"
    first, end = look.bounds(topic.id, message.partition)
    if message.partition >= topic.partitions or message.offset >= end:
        return f"it leads to {place}, where no record is"
    if message.offset < first:
        return None
    found = look.batch(topic.id, message.partition, message.offset)
    if found is None:
        return f"it leads to {place}, which no batch has"
    last, columns = found
    if columns is None:
        return None
    offsets = columns.offsets(last)
    if message.offset not in offsets:
        return f"it leads to {place}, where no record is"
    index = offsets.index(message.offset)
    key = columns.keys[index]
    log_position = columns.log_position + message.offset - (last - columns.span + 1)
    if (message.timestamp_ms, message.log_position) != (columns.timestamps_ms[index], log_position):
        return f"it has another timestamp or position than {place}"
    if message.digest != digest_of(key, columns.values[index], columns.headers[index]):
        return f"it leads to {place}, which has another key, value or headers"
    if topic.index is None or key is None:
        return None if message.version == 0 else f"it has version {message.version}, and {place} has none"
    entry = entry_at(look, entity_prefix(topic.id, key), message.version)
    if entry is None or entry[:2] != (message.partition, message.offset):
        return f"it has version {message.version} of its key, which is not that of {place}"
    return None


def _named(key: bytes, topic: StoredTopic | None) -> str:
    name = f"topic id {int.from_bytes(key[:_TOPIC_BYTES], 'big')}" if topic is None else topic.name
    return f"message id {key[_TOPIC_BYTES:]!r} of {name}"
