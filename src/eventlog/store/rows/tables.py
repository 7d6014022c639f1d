"""
The rows of the tables: keys that sort in byte order, and the values that are not batches.

Layout: docs/reference/format.md. The bytes of a batch are in `batches/format.py`.
"""

from __future__ import annotations

import struct
from typing import NamedTuple
from uuid import UUID

import attrs
import msgpack

from eventlog.backend.topics import DUPLICATE_WINDOW_MS, StoredTopic
from eventlog.errors import FormatTooNew, NotALog
from eventlog.interruptions import unless_interrupted
from eventlog.store.rows.packing import NOT_A_ROW, checked, damaged, packed

FORMAT_VERSION = 3
"""
2: groups have members, and their commits are fenced. 3: every record has a log position, topics may have an index.

A log of an earlier version is converted when it is opened.
"""
FORMAT_KEY = b"eventlog"
NEXT_TOPIC_ID_KEY = b"next topic id"
TOPICS_VERSION_KEY = b"topics version"
"""The row of a number that rises when topics or partitions are added or removed: 8 bytes, 0 if missing."""

LEFT_ROWS = b"left rows "
"""How the keys of the rows begin that say what deletions have left; a kind and an id of 4 bytes follow."""
TOPIC_ROWS = b"t"
"""All rows of a topic that is gone."""
RECORD_ROWS = b"r"
"""The rows of a topic's records that lie before the first offsets of their partitions."""
STATE_ROWS = b"s"
"""All rows of a state that is gone."""

_BATCH_KEY = struct.Struct(">IIQ")
_PARTITION_KEY = struct.Struct(">II")
_PARTITION_ROW = struct.Struct(">QQq")
_OFFSET_ROW = struct.Struct(">BQq")
_OFFSET_VERSION = 1
_TOPICS_VERSION = struct.Struct(">Q")

batch_key = _BATCH_KEY.pack
"""(topic id, partition, last offset) -> the key of a batch."""
split_batch_key = _BATCH_KEY.unpack
partition_key = _PARTITION_KEY.pack


class FormatRow(NamedTuple):
    """The row that says what wrote this log and when; it is read before all others."""

    uuid: UUID
    created_ms: int
    version: int = FORMAT_VERSION
    engine: str = "lmdb 0.9"

    def pack(self) -> bytes:
        """Return the row's bytes."""
        return packed(
            {
                "version": self.version,
                "engine": self.engine,
                "uuid": self.uuid.bytes,
                "created_ms": self.created_ms,
            }
        )

    @classmethod
    def unpack(cls, data: bytes | memoryview | None, path: object) -> FormatRow:
        """Return the row of these bytes; the version is checked before anything else is read."""
        try:
            fields = msgpack.unpackb(data or b"")
            version = checked(fields["version"], int)
            if version > FORMAT_VERSION:
                raise FormatTooNew(
                    f"cannot open {path}: it has format {version}, but this eventlog knows up to {FORMAT_VERSION}.",
                    stored="Nothing is damaged.",
                    advice="Upgrade eventlog to open it.",
                )
            return cls(
                UUID(bytes=checked(fields["uuid"], bytes)),
                checked(fields["created_ms"], int),
                version,
                checked(fields["engine"], str),
            )
        except unless_interrupted(*NOT_A_ROW) as error:
            raise NotALog(
                f"cannot open {path}: its format row is not one of eventlog's.",
                stored="It was left as it was.",
                advice="Choose another directory, or restore a backup.",
            ) from error


def pack_topic(topic: StoredTopic) -> bytes:
    """Return the bytes of a topic's row; the name is the row's key."""
    fields = attrs.asdict(topic, recurse=False)
    del fields["name"]
    return packed({**fields, "uuid": topic.uuid.bytes})


def unpack_topic(name: bytes | memoryview, data: bytes | memoryview) -> StoredTopic:
    """
    Return the topic of a row's key and bytes.

    Unknown fields are ignored. An unknown index is refused, because it would not be maintained.
    """
    try:
        fields = checked(msgpack.unpackb(data), dict)
        index = fields.get("index")
        if index is not None and checked(index, str) != "key":
            raise FormatTooNew(
                f"cannot use topic {bytes(name)!r}: it has the index {index!r}, which this eventlog does not know.",
                stored="Nothing is damaged.",
                advice="Upgrade eventlog to use it.",
            )
        return StoredTopic(
            name=bytes(name).decode(),
            id=checked(fields["id"], int),
            uuid=UUID(bytes=checked(fields["uuid"], bytes)),
            partitions=checked(fields["partitions"], int),
            key=checked(fields["key"], dict),
            value=checked(fields["value"], dict),
            partitioner=checked(fields["partitioner"], str),
            max_record_bytes=checked(fields["max_record_bytes"], int),
            created_ms=checked(fields["created_ms"], int),
            index=index,
            duplicate_window_ms=checked(fields.get("duplicate_window_ms", DUPLICATE_WINDOW_MS), int),
            snapshot=checked(fields.get("snapshot", {"name": "msgpack"}), dict),
        )
    except unless_interrupted(*NOT_A_ROW) as error:
        raise damaged(f"topic {bytes(name)!r}") from error


def repartitioned(data: bytes | memoryview, partitions: int) -> bytes:
    """Return the bytes of a topic's row with another number of partitions; unknown fields stay."""
    return packed({**msgpack.unpackb(data), "partitions": partitions})


def pack_topics_version(version: int) -> bytes:
    """Return the row of the topics' version."""
    return _TOPICS_VERSION.pack(version)


def unpack_topics_version(data: bytes | memoryview | None) -> int:
    """Return the topics' version of a row; 0 if there is none."""
    try:
        return 0 if data is None else int(_TOPICS_VERSION.unpack(data)[0])
    except unless_interrupted(struct.error) as error:
        raise damaged("the topics' version") from error


def left_rows_key(kind: bytes, number: int) -> bytes:
    """Return the key of the row that says that rows are left, of a topic or a state with this id."""
    return LEFT_ROWS + kind + number.to_bytes(4, "big")


def split_left_rows_key(key: bytes) -> tuple[bytes, int]:
    """Return the kind and the id of a key."""
    begin = len(LEFT_ROWS)
    return key[begin : begin + 1], int.from_bytes(key[begin + 1 :], "big")


class PartitionRow(NamedTuple):
    """The first offset of a partition, and its end when records were last deleted from it."""

    first: int = 0
    end: int = 0
    largest_ms: int = -(2**63)

    def pack(self) -> bytes:
        """Return the row's bytes."""
        return _PARTITION_ROW.pack(self.first, self.end, self.largest_ms)

    @classmethod
    def unpack(cls, data: bytes | memoryview | None) -> PartitionRow:
        """Return the row of these bytes; there is none for a partition that never lost a record."""
        try:
            return cls() if data is None else cls(*_PARTITION_ROW.unpack(data))
        except unless_interrupted(struct.error) as error:
            raise damaged("the bounds of a partition") from error


def offset_key(group: str, topic_id: int, partition: int) -> bytes:
    """Return the key of a committed offset; the rows of a group are adjacent."""
    return group.encode() + b"\0" + partition_key(topic_id, partition)


def pack_offset(offset: int, committed_ms: int) -> bytes:
    """Return the row of a committed offset: the next offset to read, and the time of the commit."""
    return _OFFSET_ROW.pack(_OFFSET_VERSION, offset, committed_ms)


def unpack_offset(data: bytes | memoryview) -> int:
    """Return the committed offset of a row."""
    return unpack_commit(data)[0]


def unpack_commit(data: bytes | memoryview) -> tuple[int, int]:
    """Return the committed offset of a row, and the time of the commit."""
    if len(data) and data[0] > _OFFSET_VERSION:
        raise FormatTooNew(
            f"cannot read a committed offset: it has version {data[0]}, but this eventlog knows up to "
            f"{_OFFSET_VERSION}.",
            stored="Nothing is damaged.",
            advice="Upgrade eventlog to read it.",
        )
    try:
        _, offset, committed_ms = _OFFSET_ROW.unpack(data)
    except unless_interrupted(struct.error) as error:
        raise damaged("a committed offset") from error
    return offset, committed_ms
