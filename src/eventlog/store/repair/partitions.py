"""
The partitions of the new log: which batches stay, which offsets are lost, and the order of the log.

Batches of one partition do not overlap. Of two that do, one to which a tree leads stays, since the other may have been
merged into it; else one that was merged and holds all offsets of the other; else the one with the larger log position.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from uuid import uuid4

import attrs

from eventlog.backend.topics import StoredTopic
from eventlog.batches.header import NO_LOG_POSITION, RUNS, BatchHeader
from eventlog.errors import EventLogError
from eventlog.interruptions import suppress
from eventlog.options import MAX_PARTITIONS
from eventlog.store.lmdb.environment import BATCHES, FORMAT, OFFSETS, ORDER, PARTITIONS, TOPICS
from eventlog.store.records.log_order import END_POSITION_KEY, order_key, position_of
from eventlog.store.repair.batches import header_of, last_positions
from eventlog.store.repair.collect import Search
from eventlog.store.repair.gaps import widened
from eventlog.store.repair.target import Target
from eventlog.store.repair.walk import EVERYTHING
from eventlog.store.rows.compaction import COMPACTION_KEY, CompactionRow, split_compaction_key
from eventlog.store.rows.packing import LARGEST, LARGEST_ID
from eventlog.store.rows.tables import (
    KEYLESS_KEY,
    LEFT_ROWS,
    RECORD_ROWS,
    TOPIC_ROWS,
    PartitionRow,
    batch_key,
    is_ahead,
    pack_topic,
    partition_key,
    split_batch_key,
    split_left_rows_key,
    split_offset_key,
    unpack_offset,
    unpack_topic,
)

_DEFAULT_RECORD_BYTES = 1 << 20
_TICK_BATCHES = 100
_FURTHEST = 1 << 40
"""How far behind the others a position is believed that only a row of the order has."""


@attrs.define(eq=False)
class Partition:
    """What has come back of one partition."""

    first: int
    """The first offset that may be read."""
    end: int
    """Where the last batch ends that came back."""
    known_end: int = 0
    """Where the partition ended, as far as anything says so."""
    record_count: int = 0
    recovered: list[tuple[int, int]] = attrs.Factory(list)
    lost: list[tuple[int, int]] = attrs.Factory(list)
    last_key: bytes | None = None

    def add(self, first: int, end: int, record_count: int) -> None:
        """Note a batch that came back."""
        self.record_count += record_count
        begin = max(first, self.first)
        if self.recovered and self.recovered[-1][1] == begin:
            begin = self.recovered.pop()[0]
        self.recovered.append((begin, end))
        self.end = end


class _Found:
    """A batch that may stay."""

    __slots__ = ("data", "first", "header", "key", "last")

    def __init__(self, key: bytes, data: bytes, header: BatchHeader) -> None:
        self.key = key
        self.data = data
        self.header = header
        self.last = split_batch_key(key)[2]
        self.first = self.last - header.span + 1

    @property
    def is_merged(self) -> bool:
        """Whether it was made of several batches, or lost records to compaction."""
        return bool(self.header.flags & RUNS) or self.header.count < self.header.span


class Partitions:
    """Goes through the batches of the new log, once."""

    def __init__(self, target: Target, search: Search, *, unknown_topics: bool) -> None:
        self._target = target
        self._search = search
        self._keeps_unknown = unknown_topics
        self._gone: set[int] = set()
        self._has_left_records: set[int] = set()
        self._end_position = position_of(target.get(FORMAT, END_POSITION_KEY))
        self._most_offsets = max(self._end_position, target.last_number(ORDER) + 1)
        self.topics: dict[int, StoredTopic] = {}
        self.unknown: dict[int, tuple[int, int]] = {}
        """The numbers of batches and records of topics of which nothing else is known, by id."""
        self.partitions: dict[tuple[int, int], Partition] = {}
        self.notes: list[str] = []
        self._read_topics()
        self._read_bounds()

    def go(self, tick: Callable[[int], object]) -> None:
        """Decide which batches stay, close the gaps between them, and write the order of the log."""
        if self._search.batches.strays:
            self._drop_overlapping(tick)
        before: _Found | None = None
        for number, (key, data) in enumerate(self._target.items(BATCHES)):
            if number % _TICK_BATCHES == 0:
                tick(0)
            header = header_of(data)
            found = None if header is None else self._kept(_Found(key, data, header))
            if found is None:
                self._target.delete(BATCHES, key)
                continue
            if before is not None and before.key[:8] == key[:8] and found.first <= before.last:
                if self._is_first_kept(before, found):
                    self._target.delete(BATCHES, key)
                    continue
                self._target.delete(BATCHES, before.key)
                before = None
            if before is not None:
                self._keep(before)
            before = found
        if before is not None:
            self._keep(before)
        self._make_topics()
        self._check_order()
        self._close_ends()
        self._make_dirty()
        self._target.put(FORMAT, END_POSITION_KEY, order_key(self._end_position))

    def _drop_overlapping(self, tick: Callable[[int], object]) -> None:
        """Of batches that overlap, in partitions with strays, leave those that stay: a merged one may hide many."""
        places = {key[:8] for key in self._search.batches.strays}
        kept: list[_Found] = []
        for number, (key, data) in enumerate(self._target.items(BATCHES)):
            if number % _TICK_BATCHES == 0:
                tick(0)
            header = header_of(data) if key[:8] in places else None
            if header is None:
                continue
            found = _Found(key, b"", header)
            if kept and kept[-1].key[:8] != key[:8]:
                kept.clear()
            while kept and found.first <= kept[-1].last and not self._is_first_kept(kept[-1], found):
                self._target.delete(BATCHES, kept.pop().key)
            if kept and found.first <= kept[-1].last:
                self._target.delete(BATCHES, key)
            else:
                kept.append(found)

    def _is_first_kept(self, before: _Found, found: _Found) -> bool:
        """Whether the first of two batches that overlap stays."""
        strays = self._search.batches.strays
        if (before.key in strays) is not (found.key in strays):
            return found.key in strays
        if found.first <= before.first and found.is_merged:
            return False
        return found.header.log_position <= before.header.log_position

    def lost_count(self, topic_id: int) -> int:
        """How many offsets of a topic are lost."""
        return sum(
            end - first for (one, _), found in self.partitions.items() if one == topic_id for first, end in found.lost
        )

    def has(self, topic_id: int, partition: int, offset: int) -> bool:
        """Whether an offset is of a record that came back, or was deleted before."""
        found = self.partitions.get((topic_id, partition))
        if found is None or offset >= found.end:
            return False
        place = bisect_right(found.lost, (offset, LARGEST)) - 1
        return place < 0 or offset >= found.lost[place][1]

    def _read_topics(self) -> None:
        for name, data in self._target.items(TOPICS):
            topic = unpack_topic(name, data)
            if topic.id in self.topics:
                self._target.delete(TOPICS, name)
                self.notes.append(f"topic {topic.name!r} has the id of another topic and was left out.")
            else:
                self.topics[topic.id] = topic
        for key, _ in self._target.items(FORMAT):
            if key.startswith(KEYLESS_KEY):
                self._target.delete(FORMAT, key)  # it counts what may be counted as lost, too
            if not key.startswith(LEFT_ROWS):
                continue
            kind, number = split_left_rows_key(key)
            if kind == TOPIC_ROWS:
                self._gone.add(number)
                self._target.delete(FORMAT, key)
            elif kind == RECORD_ROWS:
                self._has_left_records.add(number)

    def _read_bounds(self) -> None:
        """Learn where partitions began."""
        for key, data in self._target.items(PARTITIONS):
            topic_id, partition = int.from_bytes(key[:4], "big"), int.from_bytes(key[4:], "big")
            if self._is_known(topic_id, partition):
                row = PartitionRow.unpack(data)
                self.partitions[topic_id, partition] = Partition(row.first, row.first, row.end)
                if row.end > self._most_offsets:
                    self._target.delete(PARTITIONS, key)  # an offset is never beyond the positions
                    self.partitions[topic_id, partition] = Partition(0, 0)
            else:
                self._target.delete(PARTITIONS, key)

    def _is_known(self, topic_id: int, partition: int) -> bool:
        topic = self.topics.get(topic_id)
        if topic is None:
            is_id = 0 < topic_id <= LARGEST_ID and topic_id not in self._gone
            return self._keeps_unknown and is_id and partition < MAX_PARTITIONS
        return partition < topic.partitions

    def _partition(self, topic_id: int, partition: int) -> Partition:
        found = self.partitions.get((topic_id, partition))
        if found is None:
            found = self.partitions[topic_id, partition] = Partition(0, 0)
        return found

    def _kept(self, found: _Found) -> _Found | None:
        """The batch, if it is of a partition that is there, and was not deleted."""
        topic_id, partition, last = split_batch_key(found.key)
        if topic_id not in self.topics and topic_id not in self._gone and 0 < topic_id <= LARGEST_ID:
            batches, records = self.unknown.get(topic_id, (0, 0))
            self.unknown[topic_id] = batches + 1, records + found.header.count
        if not self._is_known(topic_id, partition):
            return None
        kept = self._partition(topic_id, partition)
        if last >= kept.first:
            return found
        if found.key in self._search.batches.strays and self._search.is_sealed:
            return None  # it was deleted: the row is sound, and a first offset never moves back
        if topic_id in self._has_left_records or EVERYTHING in self._search.walk.lost.get(BATCHES, ()):
            return None
        # Batches before the first offset go with it, so the row that says where the partition begins is wrong.
        key = partition_key(topic_id, partition)
        row = PartitionRow.unpack(self._target.get(PARTITIONS, key))
        self._target.put(PARTITIONS, key, row._replace(first=max(found.first, 0)).pack())
        kept.first = kept.end = max(found.first, 0)
        self.notes.append(f"{self._name(topic_id, partition)}: it begins at {kept.first}, where its first batch does.")
        return found

    def _keep(self, found: _Found) -> None:
        topic_id, partition, last = split_batch_key(found.key)
        kept = self._partition(topic_id, partition)
        gap = found.first - kept.end
        data, header = found.data, found.header
        position = header.log_position
        if gap > 0:
            kept.lost.append((kept.end, found.first))
            made = None
            if position != NO_LOG_POSITION:
                made = widened(data, header, found.key, before=gap, log_position=position)
            if made is None:
                self.notes.append(f"{self._name(topic_id, partition)}: the gap before offset {found.first} stays.")
            else:
                self._target.put(BATCHES, found.key, made)
        kept.add(found.first, last + 1, header.count)
        kept.last_key = found.key
        for position in last_positions(header, data):
            self._target.put(ORDER, order_key(position), found.key)
            self._end_position = max(self._end_position, position + 1)

    def _name(self, topic_id: int, partition: int) -> str:
        topic = self.topics.get(topic_id)
        return f"{topic.name if topic else f'topic id {topic_id}'}[{partition}]"

    def _make_topics(self) -> None:
        """Make topics for the batches of which only the topic's id is known."""
        placed = {topic_id for topic_id, _ in self.partitions}  # a batch may be of no partition that can be
        made = sorted(placed & self.unknown.keys()) if self._keeps_unknown else []
        for topic_id in made:
            topic = StoredTopic(
                name=f"recovered-{topic_id}",
                id=topic_id,
                uuid=uuid4(),
                partitions=max(partition for one, partition in self.partitions if one == topic_id) + 1,
                key={"name": "bytes"},
                value={"name": "bytes"},
                partitioner="crc32",
                max_record_bytes=_DEFAULT_RECORD_BYTES,
                created_ms=0,
            )
            self.topics[topic_id] = topic
            self._target.put(TOPICS, topic.name.encode(), pack_topic(topic))
        for place in [place for place in self.partitions if place[0] not in self.topics]:
            del self.partitions[place]
            self._target.delete(PARTITIONS, partition_key(*place))

    def _check_order(self) -> None:
        """Remove the rows of the order that lead to nothing, and learn from them where partitions ended."""
        ends: dict[bytes, tuple[int, int]] = {}
        newest = -1
        for key, value in self._target.items(ORDER):
            position, (topic_id, partition, last) = position_of(key), split_batch_key(value)
            data = self._target.get(BATCHES, value)
            header = None if data is None else header_of(data)
            positions = [] if data is None or header is None else last_positions(header, data)
            is_sound = header is not None and (not positions or position in positions)
            if not is_sound:
                self._target.delete(ORDER, key)
                # The row has no checksum; but a partition has at most as many offsets as there are positions.
                end, before = ends.get(value[:8], (0, -1))
                if not 0 < last + 1 - end <= position - before or position > newest + _FURTHEST:
                    continue
            ends[value[:8]] = last + 1, position
            newest = position
            self._end_position = max(self._end_position, position + 1)
            self._note_end(topic_id, partition, last + 1)
        if ORDER not in self._search.walk.lost:
            return
        for key in self._search.batches.damaged:
            with suppress(EventLogError):
                self._note_end(*split_batch_key(key)[:2], split_batch_key(key)[2] + 1)
        for key, data in self._target.items(OFFSETS):
            with suppress(EventLogError):
                if not is_ahead(data):
                    self._note_end(*split_offset_key(key)[1:], unpack_offset(data))

    def _make_dirty(self) -> None:
        """Have compacted partitions compacted again: older records of a key may have come back."""
        for key, data in list(self._target.items(FORMAT)):
            if key.startswith(COMPACTION_KEY):
                found = self.partitions.get(split_compaction_key(key))
                self._target.delete(FORMAT, key)
                if found is not None:
                    count = min(CompactionRow.unpack(data).dropped_count, found.end)
                    self._target.put(FORMAT, key, CompactionRow(dropped_count=count).pack())

    def _note_end(self, topic_id: int, partition: int, end: int) -> None:
        if self._is_known(topic_id, partition) and end <= self._end_position:
            found = self._partition(topic_id, partition)
            found.known_end = max(found.known_end, end)

    def _close_ends(self) -> None:
        """Keep the ends of partitions whose last batches are lost, where that is possible."""
        newest = b""
        for _, value in self._target.items(ORDER):
            newest = value
        for (topic_id, partition), found in self.partitions.items():
            if found.known_end <= found.end:
                continue
            found.lost.append((found.end, found.known_end))
            key = partition_key(topic_id, partition)
            if found.last_key is None:
                row = PartitionRow.unpack(self._target.get(PARTITIONS, key))
                self._target.put(PARTITIONS, key, PartitionRow(found.known_end, found.known_end, row.largest_ms).pack())
                found.first = found.end = found.known_end
            elif found.last_key == newest and self._widen_last(topic_id, partition, found):
                found.end = found.known_end
            else:
                self.notes.append(
                    f"{self._name(topic_id, partition)}: it ended at offset {found.known_end} and ends at {found.end} "
                    "now: later offsets will be given again, to other records."
                )

    def _widen_last(self, topic_id: int, partition: int, found: Partition) -> bool:
        """Let the last batch of the log span the offsets behind it, too; return whether it could."""
        assert found.last_key is not None
        data = self._target.get(BATCHES, found.last_key)
        header = None if data is None else header_of(data)
        if data is None or header is None or header.log_position == NO_LOG_POSITION:
            return False
        gap = found.known_end - found.end
        key = batch_key(topic_id, partition, found.known_end - 1)
        made = widened(data, header, key, behind=gap, log_position=header.log_position)
        made_header = None if made is None else header_of(made)
        if made is None or made_header is None:
            return False
        for position in last_positions(header, data):
            self._target.delete(ORDER, order_key(position))
        self._target.delete(BATCHES, found.last_key)
        self._target.put(BATCHES, key, made)
        for position in last_positions(made_header, made):
            self._target.put(ORDER, order_key(position), key)
            self._end_position = max(self._end_position, position + 1)
        return True
