"""A topic as `Producer.send` needs it: everything one attribute away, for the accelerator as well."""

from __future__ import annotations

from collections.abc import Sequence

from eventlog.backend.topics import StoredTopic
from eventlog.batches.partitioners import crc32, murmur2
from eventlog.clients.producer.batch import PartitionBuffer
from eventlog.clients.topic_handle import TopicHandle

SMALL_BYTES = 2048
"""Records below this are counted, not measured; a batch's length in records follows from the one before."""


class SendPath:
    """The way of a record into the partitions of one topic."""

    __slots__ = (
        "buffers",
        "encode_key",
        "encode_value",
        "is_crc32",
        "is_murmur2",
        "partition_count",
        "partition_of",
        "plain_key",
        "plain_value",
        "raw_key",
        "raw_value",
        "route",
        "small_bytes",
        "sticky",
    )

    def __init__(self, handle: TopicHandle, buffers: Sequence[PartitionBuffer]) -> None:
        row = handle.row
        self.route = handle
        self.buffers = buffers
        self.partition_count = row.partitions
        self.partition_of = handle.partition_of
        self.is_crc32 = handle.partition_of is crc32
        self.is_murmur2 = handle.partition_of is murmur2
        self.raw_key = handle.key_codec.raw_type
        self.raw_value = handle.value_codec.raw_type
        self.plain_key = handle.key_codec.plain_type
        self.plain_value = handle.value_codec.plain_type
        self.encode_key = handle.key_codec.encode
        self.encode_value = handle.value_codec.encode
        self.small_bytes = min(SMALL_BYTES, handle.small_bytes)
        self.sticky = handle.keyless_partition(row.partitions)

    def buffer_of(self, key: bytes | None) -> PartitionBuffer:
        """The buffer of a record's partition; without a key that of the next partition in turn."""
        count = self.partition_count
        if key is None:
            self.sticky = self.route.keyless_partition(count)
            return self.buffers[self.sticky]
        return self.buffers[0 if count == 1 else self.partition_of(key, count)]

    def grow(self, stored: StoredTopic) -> None:
        """Use more partitions from now on; their buffers must be there before, since `send` takes no lock."""
        self.route.learn(stored)
        self.partition_count = max(self.partition_count, stored.partitions)


def forget_topic(paths: dict[object, SendPath], topic_id: int) -> None:
    """Have the next `send` look again for a topic that was deleted: another may have its name by now."""
    for name, path in list(paths.items()):
        if path.route.row.id == topic_id:
            paths.pop(name, None)


def rest(paths: dict[object, SendPath], resting: dict[object, SendPath]) -> None:
    """Have the next `send` by a name look which topic has that name then, before it encodes anything."""
    for name in [name for name in paths if type(name) is str]:
        if (path := paths.pop(name, None)) is not None:
            resting[name] = path


def grow_topic(paths: dict[object, SendPath], stored: StoredTopic) -> None:
    """Have the next `send` know of new partitions, whatever name it calls the topic by."""
    for path in list(paths.values()):
        if path.route.row.id == stored.id:
            path.grow(stored)
