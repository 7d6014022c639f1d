"""
The rows of the tables: their keys in byte order, and the small values beside the batches.

Layout: docs/reference/format.md. Knows nothing of LMDB; a batch's bytes are in `batches/format.py`.
"""

from __future__ import annotations

import struct
from uuid import UUID

import attrs
import msgpack

from eventlog.errors import FormatTooNew, NotALog

FORMAT_VERSION = 1
FORMAT_KEY = b"eventlog"
NEXT_TOPIC_ID_KEY = b"next topic id"

_BATCH_KEY = struct.Struct(">IIQ")
_PARTITION_KEY = struct.Struct(">II")
_PARTITION_ROW = struct.Struct(">QQq")
_OFFSET_ROW = struct.Struct(">BQq")
_OFFSET_VERSION = 1

batch_key = _BATCH_KEY.pack
"""(topic id, partition, last offset) -> the key of a batch."""
split_batch_key = _BATCH_KEY.unpack
partition_key = _PARTITION_KEY.pack


@attrs.frozen
class FormatRow:
    """Says what wrote this log and when; the first row that anybody reads."""

    uuid: UUID
    created_ms: int
    version: int = FORMAT_VERSION
    engine: str = "lmdb 0.9"

    def pack(self) -> bytes:
        """The row's bytes."""
        return _pack(
            {
                "version": self.version,
                "engine": self.engine,
                "uuid": self.uuid.bytes,
                "created_ms": self.created_ms,
            }
        )

    @classmethod
    def unpack(cls, data: bytes | memoryview | None, path: object) -> FormatRow:
        """The row of these bytes; the version is judged before anything else is looked at."""
        try:
            fields = msgpack.unpackb(data or b"")
            version = fields["version"]
            if version > FORMAT_VERSION:
                raise FormatTooNew(
                    f"cannot open {path}: it has format {version}, and this eventlog knows up to {FORMAT_VERSION}. "
                    "Nothing is damaged. Upgrade eventlog to open it."
                )
            return cls(UUID(bytes=fields["uuid"]), fields["created_ms"], version, fields["engine"])
        except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
            raise NotALog(
                f"cannot open {path}: its format row is not one of eventlog's. It was left as it was. "
                "Choose another directory, or restore a backup."
            ) from error


@attrs.frozen
class TopicRow:
    """
    Is what the log keeps of a topic.

    `id` is never given to another topic; `uuid` neither in any other log.
    """

    name: str
    id: int
    uuid: UUID
    partitions: int
    key: dict[str, object]
    value: dict[str, object]
    partitioner: str
    max_record_bytes: int
    created_ms: int

    def pack(self) -> bytes:
        """The row's bytes; the name is the row's key."""
        fields = attrs.asdict(self, recurse=False)
        del fields["name"]
        return _pack({**fields, "uuid": self.uuid.bytes})

    @classmethod
    def unpack(cls, name: bytes | memoryview, data: bytes | memoryview) -> TopicRow:
        """
        The row of this key and these bytes.

        Fields that we do not know are kept out, not refused.
        """
        fields = msgpack.unpackb(data)
        return cls(
            name=bytes(name).decode(),
            id=fields["id"],
            uuid=UUID(bytes=fields["uuid"]),
            partitions=fields["partitions"],
            key=fields["key"],
            value=fields["value"],
            partitioner=fields["partitioner"],
            max_record_bytes=fields["max_record_bytes"],
            created_ms=fields["created_ms"],
        )


@attrs.frozen
class PartitionRow:
    """Is where a partition begins, and where it ended when records were last deleted from it."""

    first: int = 0
    end: int = 0
    largest_ms: int = -(2**63)

    def pack(self) -> bytes:
        """The row's bytes."""
        return _PARTITION_ROW.pack(self.first, self.end, self.largest_ms)

    @classmethod
    def unpack(cls, data: bytes | memoryview | None) -> PartitionRow:
        """The row of these bytes; None for a partition that never lost a record."""
        return cls() if data is None else cls(*_PARTITION_ROW.unpack(data))


def offset_key(group: str, topic_id: int, partition: int) -> bytes:
    """The key of a committed offset; a group's rows stand together."""
    return group.encode() + b"\0" + partition_key(topic_id, partition)


def pack_offset(offset: int, committed_ms: int) -> bytes:
    """The row of a committed offset: the next offset to read, and when it was committed."""
    return _OFFSET_ROW.pack(_OFFSET_VERSION, offset, committed_ms)


def unpack_offset(data: bytes | memoryview) -> int:
    """The committed offset of a row."""
    if data[0] > _OFFSET_VERSION:
        raise FormatTooNew(
            f"cannot read a committed offset: it has version {data[0]}, and this eventlog knows up to "
            f"{_OFFSET_VERSION}. Nothing is damaged. Upgrade eventlog to read it."
        )
    offset: int = _OFFSET_ROW.unpack_from(data)[1]
    return offset


def _pack(fields: dict[str, object]) -> bytes:
    data: bytes = msgpack.packb(fields)
    return data
