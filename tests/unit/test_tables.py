"""Rows come back as they were stored, their keys sort as the numbers do, and newer ones are too new."""

from __future__ import annotations

import struct
from typing import Any
from uuid import UUID, uuid4

import google_crc32c
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.backend.topics import StoredTopic
from eventlog.errors import CorruptBatch, FormatTooNew, NotALog
from eventlog.groups.state import CommittedOffset
from eventlog.store.rows.tables import (
    FORMAT_KEY,
    FORMAT_VERSION,
    FormatRow,
    PartitionRow,
    batch_key,
    is_ahead,
    offset_key,
    pack_offset,
    pack_topic,
    pack_topics_version,
    partition_key,
    repartitioned,
    split_batch_key,
    unpack_commit,
    unpack_offset,
    unpack_topic,
    unpack_topics_version,
)

UINT32 = st.integers(0, 2**32 - 1)

OFFSET = st.integers(0, 2**63 - 2)
INT64 = st.integers(-(2**63), 2**63 - 1)
PLACES = st.tuples(UINT32, UINT32, OFFSET)
GROUPS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)


def format_fields(**changed: object) -> dict[str, object]:
    """The fields of a format row, some changed or, by `...`, left out."""
    fields = {"version": 1, "engine": "lmdb 0.9", "uuid": b"u" * 16, "created_ms": 5} | changed
    return {name: value for name, value in fields.items() if value is not ...}


# --- keys -------------------------------------------------------------------------------------------------------------


@given(PLACES, PLACES)
def test_keys_of_batches_sort_as_their_places(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    """Byte order is the order of topic, partition and offset, so a search by bytes is one by offset."""
    assert (batch_key(*one) < batch_key(*other)) == (one < other)
    assert split_batch_key(batch_key(*one)) == one
    assert batch_key(*one).startswith(partition_key(*one[:2]))
    assert partition_key(*one[:2]).startswith(one[0].to_bytes(4, "big"))


@given(GROUPS, GROUPS, UINT32, UINT32)
def test_keys_of_offsets_begin_with_their_group_and_end_with_their_topic(
    group: str, other: str, topic_id: int, partition: int
) -> None:
    """The rows of a group stand together, those of another are never among them."""
    key = offset_key(group, topic_id, partition)
    assert key.endswith(partition_key(topic_id, partition))
    assert key.startswith(group.encode() + b"\0")
    assert key.startswith(other.encode() + b"\0") == (group == other)


def test_longest_group_fits_a_key_of_lmdb() -> None:
    """A key of LMDB has at most 511 bytes."""
    assert len(offset_key("x" * 249, 2**32 - 1, 2**32 - 1)) <= 511


# --- the format row ---------------------------------------------------------------------------------------------------


@given(st.uuids(), INT64, st.integers(1, FORMAT_VERSION), st.text(st.characters(exclude_categories=["Cs"])))
def test_format_row_comes_back(uuid: UUID, created_ms: int, version: int, engine: str) -> None:
    """What a log says of itself is what it said when it was made."""
    row = FormatRow(uuid, created_ms, version, engine)
    assert FormatRow.unpack(row.pack(), "path") == row
    assert FormatRow.unpack(memoryview(row.pack()), "path") == row


def test_new_log_says_what_wrote_it() -> None:
    """Version and engine have defaults: those of today."""
    data = FormatRow(UUID(int=7), 5).pack()
    fields = {"version": FORMAT_VERSION, "engine": "lmdb 0.9", "uuid": UUID(int=7).bytes, "created_ms": 5}
    assert msgpack.unpackb(data) == fields | {"checksum": data[-4:]}
    assert data[-4:] == struct.pack("<I", google_crc32c.value(FORMAT_KEY + data[:-4]))
    assert msgpack.unpackb(FormatRow(UUID(int=7), 5, version=3).pack()) == fields | {"version": 3}


def test_unknown_field_of_the_format_row_is_left_alone() -> None:
    """A field that a later version adds under the same number does no harm here."""
    row = FormatRow.unpack(msgpack.packb(format_fields(colour="blue")), "path")
    assert row == FormatRow(UUID(bytes=b"u" * 16), 5, version=1)


@pytest.mark.parametrize("rest", [{}, {"uuid": None}, {"engine": ..., "uuid": ..., "created_ms": ...}])
@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 10**6])
def test_newer_format_is_too_new_whatever_else_it_says(version: int, rest: dict[str, object]) -> None:
    """The version is judged before any other field is looked at."""
    with pytest.raises(FormatTooNew, match=rf"data/shop: it has format {version}.*Upgrade"):
        FormatRow.unpack(msgpack.packb(format_fields(version=version, **rest)), "data/shop")


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        b"\xc1",
        b"\x81",
        b"hello",
        msgpack.packb(7),
        msgpack.packb([1]),
        msgpack.packb({}),
        msgpack.packb(format_fields(version=None)),
        msgpack.packb(format_fields(version="1")),
        msgpack.packb(format_fields(version=...)),
        msgpack.packb(format_fields(uuid=...)),
        msgpack.packb(format_fields(uuid=None)),
        msgpack.packb(format_fields(uuid=b"short")),
        msgpack.packb(format_fields(uuid="u" * 16)),
        msgpack.packb(format_fields(created_ms="now")),
        msgpack.packb(format_fields(engine=...)),
        msgpack.packb(format_fields(created_ms=...)),
        msgpack.packb(format_fields()) + b"\0",
    ],
)
def test_row_that_is_none_of_ours_is_not_a_log(data: bytes | None) -> None:
    """Somebody else's row, or a damaged one, is refused with a way out."""
    with pytest.raises(NotALog, match=r"data/shop: its format row .* left as it was"):
        FormatRow.unpack(data, "data/shop")


# --- topics -----------------------------------------------------------------------------------------------------------


def topic_row(**changed: Any) -> StoredTopic:
    """A row with something in every field."""
    fields: dict[str, Any] = {
        "name": "orders",
        "id": 7,
        "uuid": uuid4(),
        "partitions": 3,
        "key": {"name": "str"},
        "value": {"name": "class", "class": "shop.Order", "schema": {"sku": "str"}, "required": ["sku"]},
        "partitioner": "crc32",
        "max_record_bytes": 1000,
        "created_ms": -5,
        "index": "key",
        "duplicate_window_ms": 60_000,
        "snapshot": {"name": "json"},
    }
    return StoredTopic(**(fields | changed))


def test_topic_row_comes_back_under_its_name() -> None:
    """The name is the row's key, and everything else is in its value."""
    row = topic_row()
    assert unpack_topic(b"orders", pack_topic(row)) == row
    assert unpack_topic(memoryview(b"orders"), memoryview(pack_topic(row))) == row
    assert b"orders" not in pack_topic(row)


def test_unknown_field_of_a_topic_row_is_left_alone() -> None:
    """A topic that a later version gave another option opens."""
    row = topic_row()
    data = msgpack.packb(msgpack.unpackb(pack_topic(row)) | {"colour": 5})
    assert unpack_topic(b"orders", data) == row


def test_a_topic_row_of_an_older_eventlog_has_the_defaults() -> None:
    """It has no index, and what came later is as if nobody had said anything."""
    fields = msgpack.unpackb(pack_topic(topic_row()))
    for name in ("index", "duplicate_window_ms", "snapshot"):
        del fields[name]
    row = unpack_topic(b"orders", msgpack.packb(fields))
    assert (row.index, row.duplicate_window_ms, row.snapshot) == (None, 86_400_000, {"name": "msgpack"})


@pytest.mark.parametrize("index", ["value", ""])
def test_a_topic_with_an_index_that_we_do_not_know_is_too_new(index: object) -> None:
    """Whoever appended to it without keeping the index would spoil it."""
    data = msgpack.packb(msgpack.unpackb(pack_topic(topic_row())) | {"index": index})
    with pytest.raises(FormatTooNew, match=r"topic b'orders': it has the index .*Upgrade"):
        unpack_topic(b"orders", data)


# --- partitions and offsets -------------------------------------------------------------------------------------------


@given(OFFSET, OFFSET, INT64)
def test_partition_row_comes_back(one: int, other: int, largest_ms: int) -> None:
    """Bounds and the largest time survive the deletion of all records."""
    first, end = sorted((one, other))
    row = PartitionRow(first, end, largest_ms)
    assert PartitionRow.unpack(row.pack()) == row
    assert PartitionRow.unpack(memoryview(row.pack())) == row
    assert row.pack() == struct.pack(">QQq", first, end, largest_ms)


def test_partition_without_a_row_begins_at_0() -> None:
    """A partition that never lost a record needs no row."""
    assert PartitionRow.unpack(None) == PartitionRow(0, 0, -(2**63))


@given(OFFSET, INT64)
def test_committed_offset_comes_back(offset: int, committed_ms: int) -> None:
    """The next offset to read is what was committed."""
    for commit in (
        CommittedOffset(offset, committed_ms),
        CommittedOffset(offset, committed_ms, 0, "gr\xfc\xdfe"),
        CommittedOffset(offset, committed_ms, 2**31 - 1, "x" * 4096),
    ):
        data = pack_offset(commit)
        assert unpack_offset(data) == unpack_offset(memoryview(data)) == offset
        ahead = pack_offset(commit, is_ahead=True)
        assert (is_ahead(data), is_ahead(ahead)) == (False, True)
        assert unpack_commit(ahead) == unpack_commit(data)
        assert unpack_commit(data) == unpack_commit(memoryview(data)) == commit
        assert data == struct.pack(">BQqi", 2, *commit[:3]) + commit.metadata.encode()
    old = pack_offset(commit, has_metadata=False)
    assert old == struct.pack(">BQq", 1, offset, committed_ms)
    assert unpack_commit(old) == CommittedOffset(offset, committed_ms)


@pytest.mark.parametrize("rest", [b"", b"\0" * 16, b"\xff" * 100])
def test_committed_offset_of_a_newer_version_is_too_new(rest: bytes) -> None:
    """The first byte is judged before the others are looked at."""
    with pytest.raises(FormatTooNew, match=r"has version 4.*Upgrade"):
        unpack_offset(b"\x04" + rest)


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["id", "uuid", "partitions", "key", "value", "partitioner", "max_record_bytes"])
@pytest.mark.parametrize("value", [..., None, 1.5, []])
def test_topic_row_that_is_none_is_corrupt(field: str, value: object) -> None:
    """A damaged topic is named in an error of ours."""
    fields = msgpack.unpackb(pack_topic(topic_row()))
    del fields[field]
    if value is not ...:
        fields[field] = value
    with pytest.raises(CorruptBatch, match="topic b'orders': its row on disk"):
        unpack_topic(b"orders", msgpack.packb(fields))


@pytest.mark.parametrize("field", ["index", "duplicate_window_ms", "snapshot"])
@pytest.mark.parametrize("value", [1.5, []])
def test_topic_row_with_a_newer_field_that_is_none_is_corrupt(field: str, value: object) -> None:
    """What may be left out must still be what it says."""
    data = msgpack.packb(msgpack.unpackb(pack_topic(topic_row())) | {field: value})
    with pytest.raises(CorruptBatch, match="topic b'orders': its row on disk"):
        unpack_topic(b"orders", data)


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x01" * 16, b"\x01" * 18])
def test_offset_row_of_another_length_is_corrupt(data: bytes) -> None:
    """Half a committed offset is none."""
    with pytest.raises(CorruptBatch, match="a committed offset"):
        unpack_offset(data)


@pytest.mark.parametrize("data", [b"", b"\0" * 23, b"\0" * 25])
def test_partition_row_of_another_length_is_corrupt(data: bytes) -> None:
    """Half a pair of bounds is none."""
    with pytest.raises(CorruptBatch, match="the bounds of a partition"):
        PartitionRow.unpack(data)


# --- partitions that come later ---------------------------------------------------------------------------------------


def test_a_topic_with_more_partitions_keeps_the_fields_that_we_do_not_know() -> None:
    """A newer eventlog may have written some."""
    row = StoredTopic("orders", 1, uuid4(), 2, {"name": "str"}, {"name": "json"}, "crc32", 99, 5)
    newer = {**msgpack.unpackb(pack_topic(row)), "colour": "blue"}
    raised = repartitioned(msgpack.packb(newer), 8)
    assert msgpack.unpackb(raised) == {**newer, "partitions": 8}
    assert unpack_topic(b"orders", raised) == row._replace(partitions=8)


@given(st.integers(0, 2**63 - 2))
def test_the_version_of_the_topics_comes_back(version: int) -> None:
    """Its bytes sort as the numbers do; without a row it is 0."""
    assert unpack_topics_version(pack_topics_version(version)) == version
    assert pack_topics_version(version) == version.to_bytes(8, "big")
    assert unpack_topics_version(None) == 0


def test_a_damaged_version_of_the_topics_is_an_error() -> None:
    """And no number."""
    with pytest.raises(CorruptBatch, match="the topics' version"):
        unpack_topics_version(b"\0")
