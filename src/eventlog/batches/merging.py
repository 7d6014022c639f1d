"""
Several batches of a partition made into one, with some of their records or all of them.

What stays keeps its offset, log position, timestamp, key, value and headers. The new batches cover the same offsets as
the old ones together, so that a partition has no holes: offsets of records that were left out belong to a batch that
has no record for them. Positions form runs (docs/reference/format.md). An offset without a record belongs to the run
of the next record, or to the last run; so every run ends at a position that was one of these batches', and no row of
the order stands under a position of another batch.

Knows nothing of LMDB, threads or clocks; which records stay is said by `clean` (compaction) or by nobody (repacking).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import TYPE_CHECKING

import attrs
import msgpack

from eventlog.batches.format import TARGET_BYTES, Columns
from eventlog.batches.header import MOST_FRAME_BYTES, EncodedBatch, PlacedRun, Run, seal
from eventlog.records import Headers

if TYPE_CHECKING:
    from eventlog.batches.compression import Compressor

LARGEST_SPAN = 2**32 - 1
"""The most offsets of a batch."""
_ROOM_BYTES = TARGET_BYTES - MOST_FRAME_BYTES - 32
"""For the runs and the body of a batch; the heads of its columns take the rest."""
_RUN_BYTES = 10
_LENGTH_BYTES = 4

_pack: Callable[[object], bytes] = msgpack.Packer(use_bin_type=True, buf_size=2 * TARGET_BYTES).pack


@attrs.define(eq=False)
class Source:
    """A stored batch: the offsets that it covers, the runs of its positions, and its records."""

    first: int
    last: int
    largest_so_far_ms: int
    end_position: int
    """The position behind its last offset."""
    offsets: Sequence[int]
    log_positions: Sequence[int]
    timestamps_ms: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Headers]


def source_of(columns: Columns, last: int, runs: Sequence[PlacedRun]) -> Source:
    """
    Return a decoded batch as what others are made of.

    Args:
        last: its last offset.
        runs: of its positions, which a batch of version 1 does not know.
    """
    offsets = columns.offsets(last)
    if len(runs) == 1:
        shift = runs[0].log_position - runs[0].first
        log_positions: Sequence[int] = [offset + shift for offset in offsets]
    else:
        log_positions = columns.log_positions(last)
    return Source(
        last - columns.span + 1,
        last,
        columns.largest_so_far_ms,
        runs[-1].end_position,
        offsets,
        log_positions,
        columns.timestamps_ms,
        columns.keys,
        columns.values,
        columns.headers,
    )


@attrs.define(eq=False)
class Merged:
    """A new batch: its first and last offset, what is to be sealed, and the runs of its positions."""

    first: int
    last: int
    batch: EncodedBatch
    log_position: int
    later_runs: list[Run]
    largest_so_far_ms: int

    @property
    def last_positions(self) -> list[int]:
        """The last position of each run: where the order leads to the batch."""
        runs = [Run(0, self.log_position), *self.later_runs]
        ends = [run.delta for run in self.later_runs] + [self.batch.span]
        return [run.log_position + end - run.delta - 1 for run, end in zip(runs, ends, strict=True)]

    def sealed(self, key: bytes) -> bytes:
        """Return the bytes to store under the key of its row."""
        return seal(
            self.batch,
            largest_so_far_ms=self.largest_so_far_ms,
            log_position=self.log_position,
            key=key,
            later_runs=self.later_runs,
        )


def merge(
    sources: Sequence[Source], kept: Sequence[Sequence[bool]], compressor: Compressor | None = None
) -> list[Merged]:
    """
    Return the batches that take the place of neighbouring ones.

    Args:
        sources: the old batches, each beginning where the one before it ends. Their records span fewer than 2^32
            offsets.
        kept: for each of them, which of its records stay; at least one of all.
        compressor: makes the new bodies smaller; None leaves them as they are.
    """
    records = _Records()
    for source, chosen in zip(sources, kept, strict=True):
        records.add(source, chosen)
    first, batches, start = sources[0].first, [], 0
    total = len(records.offsets)
    room = _ROOM_BYTES if compressor is None else compressor.records_bytes(_ROOM_BYTES)
    while start < total:
        stop = records.fitting(start, first, room)
        is_last = stop == total
        last = sources[-1].last if is_last else records.offsets[stop - 1]
        end_position = sources[-1].end_position if is_last else records.log_positions[stop - 1] + 1
        largest_ms = sources[-1].largest_so_far_ms if is_last else records.largest_so_far_ms[stop - 1]
        made = records.batch(start, stop, first, last, end_position, largest_ms)
        if compressor is not None:
            compressor.compress(made.batch)
            if len(made.batch.body) + _RUN_BYTES * len(made.later_runs) > _ROOM_BYTES and stop - start > 1:
                room = max(room // 2, _ROOM_BYTES // 2)
                continue  # it is not as much smaller as was expected
            room = max(compressor.records_bytes(_ROOM_BYTES), _ROOM_BYTES)
        batches.append(made)
        first, start = last + 1, stop
    return batches


class _Records:
    """The records that stay, in columns."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.log_positions: list[int] = []
        self.timestamps_ms: list[int] = []
        self.keys: list[bytes | None] = []
        self.values: list[bytes | None] = []
        self.headers: list[Headers] = []
        self.largest_so_far_ms: list[int] = []
        """That of the batch from which each record comes: an upper bound that never goes down."""

    def add(self, source: Source, chosen: Sequence[bool]) -> None:
        before = len(self.offsets)
        self.offsets += compress(source.offsets, chosen)
        self.log_positions += compress(source.log_positions, chosen)
        self.timestamps_ms += compress(source.timestamps_ms, chosen)
        self.keys += compress(source.keys, chosen)
        self.values += compress(source.values, chosen)
        self.headers += compress(source.headers, chosen)
        self.largest_so_far_ms += [source.largest_so_far_ms] * (len(self.offsets) - before)

    def fitting(self, start: int, first: int, room: int) -> int:
        """
        Return the index behind the last record of a batch that begins with a record; it takes at least that one.

        Args:
            room: the bytes that its records and its runs may have.
        """
        size, before, shift = 0, first, None
        first_ms = self.timestamps_ms[start]
        for index in range(start, len(self.offsets)):
            offset, headers = self.offsets[index], self.headers[index]
            size += _item_bytes(self.keys[index]) + _item_bytes(self.values[index])
            size += _number_bytes(self.timestamps_ms[index] - first_ms) + _number_bytes(offset - before)
            size += len(_pack(headers)) if headers else 1
            found = self.log_positions[index] - offset
            size += _RUN_BYTES if shift is not None and found != shift else 0
            shift = found
            if index > start and (size > room or offset - first >= LARGEST_SPAN):
                return index
        return len(self.offsets)

    def batch(self, start: int, stop: int, first: int, last: int, end_position: int, largest_so_far_ms: int) -> Merged:
        """Return the batch of some of the records, which covers the offsets from `first` to `last`."""
        offsets, times = self.offsets[start:stop], self.timestamps_ms[start:stop]
        keys, values, headers = self.keys[start:stop], self.values[start:stop], self.headers[start:stop]
        first_ms, count, span = times[0], stop - start, last - first + 1
        is_one_time = max(times) == min(times)
        body = _pack(
            [
                0 if is_one_time else [moment - first_ms for moment in times],
                keys if any(key is not None for key in keys) else None,
                values,
                headers if any(headers) else None,
                None if count == span else [offset - first for offset in offsets],
            ]
        )
        points = list(zip(offsets, self.log_positions[start:stop], strict=True))
        if points[-1][0] != last:
            points.append((last, end_position - 1))
        runs = _runs(points, first)
        batch = EncodedBatch(count, span, first_ms, max(times), body)
        return Merged(first, last, batch, runs[0].log_position, runs[1:], largest_so_far_ms)


def _runs(points: Sequence[tuple[int, int]], first: int) -> list[Run]:
    """The runs in which offsets have these positions; what lies before a point is in the same run as the point."""
    runs: list[Run] = []
    shift, behind = None, first
    for offset, log_position in points:
        if log_position - offset != shift:
            shift = log_position - offset
            runs.append(Run(behind - first, behind + shift))
        behind = offset + 1
    return runs


def _item_bytes(item: bytes | None) -> int:
    """The size of a key or a value in a body."""
    if item is None:
        return 1
    size = len(item)
    return size + (2 if size < 0x100 else 3 if size < 0x10000 else 5)


def _number_bytes(number: int) -> int:
    """At least the size of a number in a body."""
    return 1 if 0 <= number < 0x80 else 3 if -0x8000 <= number < 0x10000 else 5 if abs(number) < 1 << 31 else 9
