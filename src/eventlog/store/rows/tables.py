"""
The rows of the tables: keys that sort in byte order, and the values that are not batches.

Layout: docs/reference/format.md. The bytes of a batch are in `batches/format.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from uuid import UUID

import msgpack

from eventlog.backend.topics import (
    DUPLICATE_WINDOW_MS,
    KEEP_ALL,
    NO_COMPACTION,
    Compaction,
    Retention,
    StoredTopic,
    TopicChanges,
)
from eventlog.batches.header import COMPRESSIONS
from eventlog.errors import CorruptBatch, FormatTooNew, NotALog
from eventlog.groups.state import CommittedOffset
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.options import (
    LARGEST_RECORD_BYTES,
    MAX_METADATA_BYTES,
    MAX_PARTITIONS,
    UNCHANGED,
    check_group_name,
    check_topic_name,
)
from eventlog.store.rows.checksums import CHECKSUM_BYTES, seal_row, unseal_row
from eventlog.store.rows.packing import (
    LARGEST,
    LARGEST_ID,
    NOT_A_ROW,
    checked,
    codec_fields,
    counter,
    damaged,
    moment,
    packed,
    whole,
)

FORMAT_VERSION = 4
"""
2: groups have members, and their commits are fenced. 3: every record has a log position, topics may have an index.
4: every row has a checksum, and batches have flags.

`store/upgrade.py` makes a log of an earlier version one of this.
"""
UNSEALED_VERSION = 3
"""The earlier version that is still read and written: without checksums, in batches of version 2."""
FORMAT_KEY = b"eventlog"
NEXT_TOPIC_ID_KEY = b"next topic id"
TOPICS_VERSION_KEY = b"topics version"
"""The row of a number that rises when topics or partitions are added or removed: 8 bytes, 0 if missing."""

BRANCH_KEY = b"branch"
"""The row of a random id of 16 bytes that a log gets when it is restored or repaired: its history goes another way."""
LOST_RECORDS_KEY = b"lost records "
"""How the keys of the rows begin that say how many records a repaired topic with an index has lost; its id follows."""
KEYLESS_KEY = b"keyless deletions "
"""
How the keys of the rows begin that say how many records without a key a topic with an index has lost by deletions.

Its id follows. Without such a row of a topic that has lost records, nobody has counted them.
"""
KAFKA_ONGOING_KEY = b"kafka ongoing "
"""How the keys of the rows of ongoing transactions of Kafka's clients begin; what follows: `kafka_transactions.py`."""
KAFKA_OPEN_KEY = b"kafka open "
"""The same of the rows that say where they begin in a partition."""
KAFKA_ABORTED_KEY = b"kafka aborted "
"""The same of aborted transactions in a partition."""
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
_CHECKSUM_FIELD = "checksum"
_OFFSET_ROW_1 = struct.Struct(">BQq")
_OFFSET_ROW = struct.Struct(">BQqi")
_OFFSET_VERSION = 2
_AHEAD_VERSION = 3
"""The version of a committed offset that was beyond the end of its partition on purpose: clients of Kafka may do so."""
MOST_METADATA_BYTES = MAX_METADATA_BYTES
_TOPICS_VERSION = struct.Struct(">Q")
_LONGEST_WINDOW_MS = 10**12
_KNOWN_TOPICS_COUNT = 1024
_GROUP_END = b"\0"
_COMPACTION_FIELDS = (
    "compaction",
    "compaction_lag_ms",
    "tombstone_retention_ms",
    "min_dirty_ratio",
    "repack_after_ms",
    "max_compaction_lag_ms",
)
"""The fields of a topic's row for those of `Compaction`, in their order."""

BATCH_KEY_BYTES = _BATCH_KEY.size
batch_key = _BATCH_KEY.pack
"""(topic id, partition, last offset) -> the key of a batch."""
partition_key = _PARTITION_KEY.pack


def split_batch_key(key: bytes | memoryview) -> tuple[int, int, int]:
    """Return the topic id, the partition and the last offset of a batch's key."""
    try:
        topic_id, partition, last = _BATCH_KEY.unpack(key)
    except unless_interrupted(struct.error) as error:
        raise damaged(f"the key {bytes(key).hex()} of a batch", error) from error
    if last >= LARGEST:
        raise damaged(f"the key {bytes(key).hex()} of a batch", f"no offset is {last}")
    return topic_id, partition, last


def split_partition_key(key: bytes) -> tuple[int, int]:
    """Return the topic id and the partition of a key."""
    try:
        topic_id, partition = _PARTITION_KEY.unpack(key)
    except unless_interrupted(struct.error) as error:
        raise damaged(f"the key {key.hex()} of a partition", error) from error
    return topic_id, partition


class FormatRow(NamedTuple):
    """The row that says what wrote this log and when; it is read before all others."""

    uuid: UUID
    created_ms: int
    version: int = FORMAT_VERSION
    engine: str = "lmdb 0.9"

    def pack(self) -> bytes:
        """
        Return the row's bytes.

        An earlier eventlog has to find a map and its version, so the checksum is the last field of the map, and the
        last bytes of the row as everywhere.
        """
        fields: dict[str, object] = {
            "version": self.version,
            "engine": self.engine,
            "uuid": self.uuid.bytes,
            "created_ms": self.created_ms,
        }
        if self.version <= UNSEALED_VERSION:
            return packed(fields)
        return seal_row(FORMAT_KEY, packed({**fields, _CHECKSUM_FIELD: bytes(CHECKSUM_BYTES)})[:-CHECKSUM_BYTES])

    @classmethod
    def unpack(cls, data: bytes | memoryview | None, path: object) -> FormatRow:
        """Return the row of these bytes; the version is checked before anything else is read."""
        try:
            fields = msgpack.unpackb(data or b"")
            version = whole(fields["version"], 1)
            if version > FORMAT_VERSION:
                raise FormatTooNew(
                    f"cannot open {path}: it has format {version}, but this eventlog knows up to {FORMAT_VERSION}.",
                    stored="Nothing is damaged.",
                    advice="Upgrade eventlog to open it.",
                )
            if version > UNSEALED_VERSION or _CHECKSUM_FIELD in fields:
                checked(unseal_row(FORMAT_KEY, data or b""), bytes)
            return cls(
                UUID(bytes=checked(fields["uuid"], bytes)),
                moment(fields["created_ms"]),
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
    fields = topic._asdict()
    del fields["name"]
    retention = _retention_fields(fields.pop("retention"))
    if topic.compression is None:
        del fields["compression"]
    compaction = _compaction_fields(fields.pop("compaction"))
    configs = _configs_fields(fields.pop("kafka_configs"))
    return packed({**fields, "uuid": topic.uuid.bytes, **retention, **compaction, **configs})


def _retention_fields(retention: Retention) -> dict[str, object]:
    """What a row says of a topic's retention; an option that is not used has no field."""
    fields = {
        "retention_ms": retention.most_ms,
        "retention_bytes": retention.most_bytes,
        "until_read_by": list(retention.until_read_by) or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _compaction_fields(compaction: Compaction) -> dict[str, object]:
    """What a row says of a topic's compaction; an option that is as usual has no field."""
    return {
        field: value
        for field, value, usual in zip(_COMPACTION_FIELDS, compaction, NO_COMPACTION, strict=True)
        if value != usual
    }


def _configs_fields(configs: tuple[tuple[str, str], ...]) -> dict[str, object]:
    """What a row says of what Kafka's administrators have set; nothing if nobody has."""
    return {"kafka_configs": dict(configs)} if configs else {}


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
            name=check_topic_name(bytes(name).decode()),
            id=whole(fields["id"], 1, LARGEST_ID),
            uuid=UUID(bytes=checked(fields["uuid"], bytes)),
            partitions=whole(fields["partitions"], 1, MAX_PARTITIONS),
            key=codec_fields(fields["key"]),
            value=codec_fields(fields["value"]),
            partitioner=checked(fields["partitioner"], str),
            max_record_bytes=whole(fields["max_record_bytes"], 1, LARGEST_RECORD_BYTES),
            created_ms=moment(fields["created_ms"]),
            index=index,
            duplicate_window_ms=whole(fields.get("duplicate_window_ms", DUPLICATE_WINDOW_MS), 0, _LONGEST_WINDOW_MS),
            snapshot=codec_fields(fields.get("snapshot", {"name": "msgpack"})),
            retention=_unpacked_retention(fields),
            compression=_unpacked_compression(name, fields),
            compaction=_unpacked_compaction(bytes(name), fields),
            kafka_configs=_unpacked_configs(fields),
        )
    except unless_interrupted(*NOT_A_ROW) as error:
        raise damaged(f"topic {bytes(name)!r}", error) from error


def _unpacked_retention(fields: dict[str, object]) -> Retention:
    if "retention_ms" not in fields and "retention_bytes" not in fields and "until_read_by" not in fields:
        return KEEP_ALL
    most_ms, most_bytes = fields.get("retention_ms"), fields.get("retention_bytes")
    return Retention(
        None if most_ms is None else whole(most_ms, 0, _LONGEST_WINDOW_MS),
        None if most_bytes is None else whole(most_bytes, 0),
        tuple(check_group_name(name) for name in checked(fields.get("until_read_by", []), list)),
    )


def _unpacked_compression(name: bytes | memoryview, fields: dict[str, object]) -> str | None:
    compression = fields.get("compression")
    if compression is None:
        return None
    if checked(compression, str) not in COMPRESSIONS[1:]:
        raise FormatTooNew(
            f"cannot use topic {bytes(name)!r}: its compression {compression!r} is unknown to this eventlog.",
            stored="Nothing is damaged.",
            advice="Upgrade eventlog to use it.",
        )
    return str(compression)


def _unpacked_compaction(name: bytes, fields: dict[str, object]) -> Compaction:
    if not any(field in fields for field in _COMPACTION_FIELDS):
        return NO_COMPACTION
    by, lag_ms, tombstone_ms, ratio, repack_ms, most_lag_ms = (
        fields.get(field, usual) for field, usual in zip(_COMPACTION_FIELDS, NO_COMPACTION, strict=True)
    )
    if by is not None and checked(by, str) != "key":
        raise FormatTooNew(
            f"cannot use topic {name!r}: it has the compaction {by!r}, which this eventlog does not know.",
            stored="Nothing is damaged.",
            advice="Upgrade eventlog to use it.",
        )
    if not 0.0 <= checked(ratio, float) <= 1.0:
        raise ValueError(f"{ratio} is no dirty ratio")
    return Compaction(
        by,  # type: ignore[arg-type]
        whole(lag_ms, 0, _LONGEST_WINDOW_MS),
        whole(tombstone_ms, 0, _LONGEST_WINDOW_MS),
        ratio,  # type: ignore[arg-type]
        None if repack_ms is None else whole(repack_ms, 0, _LONGEST_WINDOW_MS),
        None if most_lag_ms is None else whole(most_lag_ms, 1, _LONGEST_WINDOW_MS),
    )


def _unpacked_configs(fields: dict[str, object]) -> tuple[tuple[str, str], ...]:
    if "kafka_configs" not in fields:
        return ()
    configs = checked(fields["kafka_configs"], dict)
    return tuple((checked(name, str), checked(value, str)) for name, value in configs.items())


unpack_topic_again = lru_cache(maxsize=_KNOWN_TOPICS_COUNT)(unpack_topic)
"""The same for bytes: a topic is looked up at every read, and its row is mostly what it was."""


def repartitioned(data: bytes | memoryview, partitions: int) -> bytes:
    """Return the bytes of a topic's row with another number of partitions; unknown fields stay."""
    return packed({**msgpack.unpackb(data), "partitions": partitions})


def altered(data: bytes | memoryview, changes: TopicChanges) -> bytes:
    """Return the bytes of a topic's row with other options; unknown fields stay."""
    stored = msgpack.unpackb(data)
    if changes.retention is not UNCHANGED:
        for name in ("retention_ms", "retention_bytes", "until_read_by"):
            stored.pop(name, None)
        stored |= _retention_fields(changes.retention)
    if changes.compression is not UNCHANGED:
        stored.pop("compression", None)
        if changes.compression is not None:
            stored["compression"] = changes.compression
    if changes.compaction is not UNCHANGED:
        for name in _COMPACTION_FIELDS:
            stored.pop(name, None)
        stored |= _compaction_fields(changes.compaction)
    if changes.max_record_bytes is not UNCHANGED:
        stored["max_record_bytes"] = changes.max_record_bytes
    if changes.kafka_configs is not UNCHANGED:
        stored.pop("kafka_configs", None)
        stored |= _configs_fields(changes.kafka_configs)
    return packed(stored)


def pack_topics_version(version: int) -> bytes:
    """Return the row of the topics' version."""
    return _TOPICS_VERSION.pack(version)


def unpack_topics_version(data: bytes | memoryview | None) -> int:
    """Return the topics' version of a row; 0 if there is none."""
    if data is None:
        return 0
    try:
        version: int = _TOPICS_VERSION.unpack(data)[0]
    except unless_interrupted(struct.error) as error:
        raise damaged("the topics' version", error) from error
    if version >= LARGEST:
        raise damaged("the topics' version", f"{version} is not one")
    return version


def next_id(data: bytes | None, what: str, *, size_bytes: int) -> int:
    """Return the id that the next thing gets, from its row in the table of the format; 1 if there is none."""
    most = LARGEST_ID if size_bytes == 4 else LARGEST
    return counter(data, f"the next id of a {what}", size_bytes=size_bytes, least=1, most=most)


def unpack_count(data: bytes | memoryview | None, what: str) -> int:
    """Return a count of records, from its row in the table of the format; 0 if there is none."""
    return counter(data, f"the count of {what}", size_bytes=8, least=0, most=LARGEST)


def left_rows_key(kind: bytes, number: int) -> bytes:
    """Return the key of the row that says that rows are left, of a topic or a state with this id."""
    return LEFT_ROWS + kind + number.to_bytes(4, "big")


def split_left_rows_key(key: bytes) -> tuple[bytes, int]:
    """Return the kind and the id of a key."""
    begin = len(LEFT_ROWS)
    kind, number = key[begin : begin + 1], key[begin + 1 :]
    if kind not in (TOPIC_ROWS, RECORD_ROWS, STATE_ROWS) or len(number) != 4:
        raise damaged(f"the note {key!r} of rows that a deletion has left", "it names no kind of rows and no id")
    return kind, int.from_bytes(number, "big")


def readable_left_rows(keys: Iterable[bytes | memoryview]) -> Iterator[tuple[bytes, bytes, int]]:
    """The keys, the kinds and the ids of what deletions have left; `verify` tells of those that cannot be read."""
    for key in keys:
        with suppress(CorruptBatch):
            yield (bytes(key), *split_left_rows_key(bytes(key)))


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
        if data is None:
            return cls()
        try:
            row = cls(*_PARTITION_ROW.unpack(data))
        except unless_interrupted(struct.error) as error:
            raise damaged("the bounds of a partition", error) from error
        if not row.first <= row.end <= LARGEST:
            raise damaged("the bounds of a partition", f"it begins at offset {row.first} and ended at {row.end}")
        return row


def offset_key(group: str, topic_id: int, partition: int) -> bytes:
    """Return the key of a committed offset; the rows of a group are adjacent."""
    return group.encode() + _GROUP_END + partition_key(topic_id, partition)


def split_offset_key(key: bytes) -> tuple[str, int, int]:
    """Return the group, the topic id and the partition of the key of a committed offset."""
    group, end, place = key[:-9], key[-9:-8], key[-8:]
    if end != _GROUP_END:
        raise damaged(f"the key {key!r} of a committed offset", "it does not name a group, a topic and a partition")
    return (group_of_key(group), *split_partition_key(place))


def group_of_key(name: bytes) -> str:
    """Return the group that the key of a row names."""
    try:
        return check_group_name(name.decode())
    except unless_interrupted(ValueError) as error:
        raise damaged(f"the key {name!r} of a group", error) from error


def pack_offset(commit: CommittedOffset, *, has_metadata: bool = True, is_ahead: bool = False) -> bytes:
    """
    Return the row of a committed offset.

    Args:
        has_metadata: False for a log of format 3, whose rows have no leader epoch and no metadata.
        is_ahead: says that it is beyond the end of its partition on purpose, so that it is no sign of lost records.
    """
    if not has_metadata:
        return _OFFSET_ROW_1.pack(1, commit.offset, commit.committed_ms)
    version = _AHEAD_VERSION if is_ahead else _OFFSET_VERSION
    head = _OFFSET_ROW.pack(version, commit.offset, commit.committed_ms, commit.leader_epoch)
    return head + commit.metadata.encode()


def is_ahead(data: bytes | memoryview) -> bool:
    """Whether the offset of a row was beyond the end of its partition on purpose."""
    return len(data) > 0 and data[0] == _AHEAD_VERSION


def unpack_offset(data: bytes | memoryview) -> int:
    """Return the committed offset of a row."""
    return unpack_commit(data).offset


def unpack_commit(data: bytes | memoryview) -> CommittedOffset:
    """Return the committed offset of a row, with what was stored beside it."""
    if len(data) and data[0] > _AHEAD_VERSION:
        raise FormatTooNew(
            f"cannot read a committed offset: it has version {data[0]}, but this eventlog knows up to "
            f"{_AHEAD_VERSION}.",
            stored="Nothing is damaged.",
            advice="Upgrade eventlog to read it.",
        )
    try:
        if len(data) and data[0] == 1:
            _, offset, committed_ms = _OFFSET_ROW_1.unpack(data)
            return CommittedOffset(whole(offset), committed_ms)
        version, offset, committed_ms, leader_epoch = _OFFSET_ROW.unpack_from(data)
        whole(version, 1)
        metadata = bytes(data[_OFFSET_ROW.size :])
        whole(len(metadata), 0, MOST_METADATA_BYTES)
        return CommittedOffset(whole(offset), committed_ms, whole(leader_epoch, -1), metadata.decode())
    except unless_interrupted(*NOT_A_ROW) as error:
        raise damaged("a committed offset", error) from error
