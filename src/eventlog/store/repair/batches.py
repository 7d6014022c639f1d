"""
The places of batches that are found in a damaged file.

A batch whose checksum is right is what was written; where it belongs is said by the key beside it, by its own place
if it has one, and by its position, under which the order of the log has its key. A batch that no sound tree leads to
may have been deleted long ago: it is brought back if the order still has it.
"""

from __future__ import annotations

from collections import Counter

import google_crc32c

from eventlog.batches.header import MAGIC, NO_LOG_POSITION, BatchHeader, is_intact, read_header, read_runs
from eventlog.errors import EventLogError
from eventlog.interruptions import unless_interrupted
from eventlog.store.lmdb.environment import BATCHES, ORDER, PARTITIONS
from eventlog.store.lmdb.pages import HEAD_BYTES, LEAST_PAGE, NO_PAGE, PageFile, Value, value_pages
from eventlog.store.records.log_order import order_key
from eventlog.store.repair.target import Target
from eventlog.store.repair.walk import Walk
from eventlog.store.rows.packing import LARGEST
from eventlog.store.rows.tables import BATCH_KEY_BYTES, PartitionRow, split_batch_key

_LEAST_BYTES = 56
_NODE_BYTES = 8
_RESIDUE = 0x48674BC7
_MAGIC_BYTE = bytes([MAGIC])


class Batches:
    """The batches of the new log, as they are found."""

    def __init__(self, file: PageFile, walk: Walk, target: Target) -> None:
        self._file = file
        self._walk = walk
        self._target = target
        self._ends: dict[bytes, int] = {}
        self._run_counts: Counter[bytes] | None = None
        """How many runs the order knows of each batch, once that was asked for."""
        self.strays: set[bytes] = set()
        """The keys of batches to which no sound tree leads: they may have been merged into others since."""
        self.damaged: set[bytes] = set()
        """The keys of rows whose bytes are no batch."""
        self.unplaced_count = 0
        """Batches of which nothing says where they belong."""

    def put(self, key: bytes, value: Value) -> None:
        """Put the batch of a row to which the trees lead."""
        data = self.read(value)
        header = None if data is None else header_of(data)
        if data is None or header is None or len(key) != BATCH_KEY_BYTES or not _is_key(key):
            self.damaged.add(key)
            self._walk.lose(BATCHES, key)
            return
        true = key if self._follows(key, header) else header.place or self._in_order(header, data) or key
        if header.place is not None:
            true = header.place
        self._ends[true[:8]] = split_batch_key(true)[2] + 1
        self._put(true, data, header, is_new=true == key)

    def offer(self, key: bytes | None, data: bytes) -> None:
        """Put a batch that was found elsewhere, if it belongs to the log as it is now."""
        header = header_of(data)
        if header is None:
            return
        place = self._in_order(header, data)
        beside = header.place or (key if key is not None and _is_key(key) else None)
        if place is not None and self._was_merged(place, beside, header, data):
            return
        if place is None:
            last = last_positions(header, data)
            table, looked_up = (BATCHES, key) if not last else (ORDER, order_key(last[-1]))
            if looked_up is not None and not self._walk.has_lost(table, looked_up):
                return  # it was deleted
            place = beside
        if place is None:
            self.unplaced_count += 1
            return
        self._put(place, data, header, is_new=False, is_stray=True)

    def offer_page(self, data: bytes) -> None:
        """Put the batches of a page of which not even the rows can be read."""
        at = data.find(_MAGIC_BYTE, HEAD_BYTES)
        while at >= 0:
            found = _batch_at(data, at)
            if found is not None:
                key = data[at - BATCH_KEY_BYTES : at]
                self.offer(key if len(key) == BATCH_KEY_BYTES else None, found)
            at = data.find(_MAGIC_BYTE, at + (1 if found is None else len(found)))

    def read(self, value: Value) -> bytes | None:
        """The bytes of a value that is a batch; None if they are not to be found."""
        if value.page == NO_PAGE:
            return value.data
        pages = (HEAD_BYTES - 1 + value.size_bytes) // self._file.page_bytes + 1
        if not LEAST_PAGE <= value.page <= self._walk.page_count - 1:
            return None
        if pages <= self._walk.page_count - value.page and self._file.raw(value.page)[HEAD_BYTES] == MAGIC:
            data = self._file.value(value)
            if is_intact(data):
                self._walk.mark(value.page, pages)
                return data
        return self.run_at(value.page)

    def run_at(self, number: int) -> bytes | None:
        """The batch that has pages of its own, by its first page; its checksum says where it ends."""
        head = self._file.raw(number)
        count = value_pages(head, number)
        if head[HEAD_BYTES] != MAGIC or not 1 <= count <= self._walk.page_count - number:
            return None
        data = self._file.raw(number, count)[HEAD_BYTES:]
        return _trimmed(data, max((count - 1) * self._file.page_bytes - HEAD_BYTES, _LEAST_BYTES))

    def _put(self, key: bytes, data: bytes, header: BatchHeader, *, is_new: bool, is_stray: bool = False) -> None:
        if not is_new:
            stored = self._target.get(BATCHES, key)
            known = None if stored is None else header_of(stored)
            if known is not None and stored is not None:
                if is_stray and key not in self.strays:
                    return
                if not is_newer(header, data, known, stored):
                    return
        self._target.put(BATCHES, key, data)
        if is_stray:
            self.strays.add(key)
        else:
            self.strays.discard(key)

    def _follows(self, key: bytes, header: BatchHeader) -> bool:
        """Whether a batch begins where the one before it ends."""
        last = split_batch_key(key)[2]
        first = last - header.span + 1
        end = self._ends.get(key[:8])
        if end is not None:
            return first == end
        row = self._target.get(PARTITIONS, key[:8])
        return 0 <= first <= (0 if row is None else PartitionRow.unpack(row).first) <= last

    def _was_merged(self, place: bytes, beside: bytes | None, header: BatchHeader, data: bytes) -> bool:
        """
        Whether the batch to which the order leads is another one, into which this one was merged.

        A merged batch has more runs than each of those of which it was made, or the same last offset. Where rows of
        the order are lost, runs cannot be counted; but the key of a batch that was merged is in no row any more.
        """
        if beside is not None and beside[:8] != place[:8]:
            beside = None
        if beside is not None and beside >= place:
            return False
        if self._run_counts is None:
            self._run_counts = Counter(value for _, value in self._target.items(ORDER))
        if beside is not None and ORDER in self._walk.lost:
            return not self._run_counts[beside]
        return self._run_counts[place] > len(last_positions(header, data))

    def _in_order(self, header: BatchHeader, data: bytes) -> bytes | None:
        """The key that the order has for the positions of a batch; None if it has none, or the batch has none."""
        last = last_positions(header, data)
        if not last or last[-1] >= LARGEST:
            return None
        return self._target.get(ORDER, order_key(last[-1]))


def header_of(data: bytes) -> BatchHeader | None:
    """The header of a batch; None if the bytes are not one whose checksum is right."""
    if len(data) < _LEAST_BYTES or data[0] != MAGIC or not is_intact(data):
        return None
    try:
        return read_header(data, "a batch")
    except unless_interrupted(EventLogError):
        return None


def is_newer(header: BatchHeader, data: bytes, other: BatchHeader, other_data: bytes) -> bool:
    """
    Whether the first of two batches that overlap was stored after the other.

    A merged batch was stored after those of which it was made, and has the position of the first of them.
    """
    last, other_last = last_positions(header, data), last_positions(other, other_data)
    if last and other_last and last[-1] == other_last[-1]:
        return (header.span, -header.count) > (other.span, -other.count)
    return header.log_position > other.log_position


def last_positions(header: BatchHeader, data: bytes) -> list[int]:
    """The last positions of the runs of a batch, under which the order leads to it; none if it does not know them."""
    if header.log_position == NO_LOG_POSITION:
        return []
    try:
        runs = read_runs(header, data, "a batch")
    except unless_interrupted(EventLogError):
        return []
    ends = [run.delta for run in runs[1:]] + [header.span]
    return [run.log_position + end - run.delta - 1 for run, end in zip(runs, ends, strict=True)]


def _is_key(key: bytes) -> bool:
    try:
        split_batch_key(key)
    except unless_interrupted(EventLogError):
        return False
    return True


def _batch_at(data: bytes, at: int) -> bytes | None:
    """The batch that begins at a place of a page: its size stands before its key, or its checksum tells."""
    node = at - BATCH_KEY_BYTES - _NODE_BYTES
    if node >= HEAD_BYTES:
        size = (
            int.from_bytes(data[node : node + 2], "little") | int.from_bytes(data[node + 2 : node + 4], "little") << 16
        )
        if _LEAST_BYTES <= size <= len(data) - at and is_intact(data[at : at + size]):
            return data[at : at + size]
    if at + _LEAST_BYTES > len(data) or not 1 <= data[at + 1] <= 3:
        return None
    return _trimmed(data[at:], _LEAST_BYTES)


def _trimmed(data: bytes, least: int) -> bytes | None:
    """The shortest beginning of some bytes, of at least this length, whose checksum is right."""
    checksum = google_crc32c.value(data[:least])
    end = least
    while checksum != _RESIDUE:
        if end >= len(data):
            return None
        checksum = google_crc32c.extend(checksum, data[end : end + 1])
        end += 1
    return data[:end]
