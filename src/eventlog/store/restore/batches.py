"""
Placing the batches of a backup in a new log, up to a log position.

They come in the order of the log, from several backups. A batch that a cleaner has merged meanwhile holds records that
came before, too; of each partition only the offsets that are not there yet are taken. Where a partition goes on behind
its end, the records between were deleted before they could be copied, and with them, as always, all that were before.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgpack

from eventlog.batches.format import decode
from eventlog.batches.header import (
    NO_LOG_POSITION,
    NO_TIME_MS,
    BatchHeader,
    EncodedBatch,
    PlacedRun,
    Run,
    placed_runs,
    read_header,
    read_runs,
    seal,
)
from eventlog.batches.kafka_marks import is_placeholder, kafka_marks, placeholder
from eventlog.store.lmdb.environment import BATCHES, ORDER
from eventlog.store.records.log_order import order_key
from eventlog.store.repair.target import Target
from eventlog.store.rows.tables import batch_key, split_batch_key

Place = tuple[int, int]
"""A partition: topic id and number."""


class Placed:
    """
    The batches of the new log.

    Args:
        end: the log position before which records are taken.
        firsts: the first offsets of partitions that are known to have lost the records before.
        indexed: the ids of the topics with an index: records that were deleted count as versions of their keys.
    """

    def __init__(self, target: Target, end: int, firsts: dict[Place, int], indexed: set[int]) -> None:
        self._target = target
        self._end = end
        self.firsts = firsts
        self._indexed = indexed
        self.deleted: dict[Place, int] = {}
        """The first offsets of partitions in the backup whose batches come now: nothing before them was there."""
        self.ends: dict[Place, int] = {}
        self.hole_counts: dict[Place, int] = {}
        """How many offsets of the batches have no record."""
        self._begins: dict[Place, int] = {}
        """Where the next batch has to begin, if that is before its first record."""
        self._gaps: dict[Place, tuple[bytes, BatchHeader, PlacedRun, int]] = {}
        """What a placeholder for these offsets is made of."""
        self._largest_ms: dict[Place, int] = {}

    def place(self, key: bytes, behind: int, data: bytes) -> None:
        """
        Write what is to be taken of a batch.

        Args:
            behind: the log position behind its first run, for a batch that does not know its own.
        """
        topic_id, partition, last = split_batch_key(key)
        place = topic_id, partition
        header, deleted = read_header(data, "a batch of a backup"), self.deleted.get(place, 0)
        if last < deleted:
            return
        first, known = last - header.span + 1, self.ends.get(place)
        if last < self.firsts.get(place, 0) and topic_id not in self._indexed:
            self.ends[place] = max(known or 0, last + 1)
            return
        low = first if known is None else max(first, known)
        runs = _runs(header, data, first, last, behind)
        high = _reached(runs, self._end)
        if low > last or high <= low:
            return
        if first > (self.firsts.get(place, 0) if known is None else known) and place not in self._begins:
            self.firsts[place] = first
        if low < deleted:
            self.firsts[place] = max(self.firsts.get(place, 0), deleted)
        begin, marks = self._begins.pop(place, low), kafka_marks(data)
        is_whole = (low, high) == (first, last + 1)
        if is_whole and begin == first:
            self._write(key, data, runs)
        elif is_placeholder(marks) and high > last:
            self._write(*_placeholder(key, header, runs[-1], begin))
        elif is_whole and marks.is_transactional:
            self._write(*_placeholder(*self._gaps[place]))  # it keeps its own offsets
            self._write(key, data, runs)
        else:
            is_cuttable = not marks.is_control and not marks.is_transactional
            cut = self._cut(key, data, runs, begin, low, high) if is_cuttable else None
            if cut is not None:
                self._write(*cut)
            else:
                # No record is there, or its transaction ended later, and nobody may see a part of it: the next batch
                # gets these offsets.
                self._begins[place] = begin
                self._gaps[place] = key, header, runs[-1], begin
                high = high if is_cuttable else low
        self.ends[place] = high
        self._largest_ms[place] = max(self._largest_ms.get(place, NO_TIME_MS), header.largest_so_far_ms)

    def leave_out_last(self) -> None:
        """Let partitions end behind their last record: no batch holds the offsets of those that were compacted away."""
        self.ends.update(self._begins)
        self._begins.clear()

    def _write(self, key: bytes, data: bytes, runs: Sequence[PlacedRun]) -> None:
        self._target.put(BATCHES, key, data)
        header, place = read_header(data, "a batch of a backup"), split_batch_key(key)[:2]
        self.hole_counts[place] = self.hole_counts.get(place, 0) + header.span - header.count
        for run in runs:
            self._target.put(ORDER, order_key(run.end_position - 1), key)

    def _cut(
        self, key: bytes, data: bytes, runs: Sequence[PlacedRun], begin: int, low: int, high: int
    ) -> tuple[bytes, bytes, list[PlacedRun]] | None:
        """
        A batch of the records of another from offset `low` to `high`, whose offsets begin with `begin`.

        None if there are no such records.
        """
        topic_id, partition, last = split_batch_key(key)
        columns = decode(data, "a batch of a backup")
        offsets = columns.offsets(last)
        chosen = [number for number, offset in enumerate(offsets) if low <= offset < high]
        if not chosen:
            return None
        kept = [
            PlacedRun(max(run.first, low), min(run.end, high), run.log_position + max(run.first, low) - run.first)
            for run in runs
            if run.first < high and run.end > low
        ]
        shift = kept[0].first - begin
        kept[0] = PlacedRun(begin, kept[0].end, kept[0].log_position - shift)
        times = [columns.timestamps_ms[number] for number in chosen]
        keys, values, headers = (
            [column[number] for number in chosen] for column in (columns.keys, columns.values, columns.headers)
        )
        deltas = [offsets[number] - begin for number in chosen]
        body: bytes = msgpack.packb(
            (
                [time - times[0] for time in times],
                keys if any(one is not None for one in keys) else None,
                values,
                headers if any(headers) else None,
                None if deltas == list(range(high - begin)) else deltas,
            )
        )
        batch = EncodedBatch(len(chosen), high - begin, times[0], max(times), body)
        place, new_key = (topic_id, partition), batch_key(topic_id, partition, high - 1)
        sealed = seal(
            batch,
            largest_so_far_ms=max(self._largest_ms.get(place, NO_TIME_MS), *times),
            log_position=kept[0].log_position,
            key=new_key,
            later_runs=[Run(run.first - begin, run.log_position) for run in kept[1:]],
        )
        return new_key, sealed, kept


def _placeholder(key: bytes, header: BatchHeader, run: PlacedRun, begin: int) -> tuple[bytes, bytes, list[PlacedRun]]:
    """A placeholder as another one, which begins at an offset."""
    end = split_batch_key(key)[2] + 1
    position = run.end_position - (end - begin)
    sealed = seal(
        placeholder(span=end - begin, time_ms=header.largest_ms),
        largest_so_far_ms=header.largest_so_far_ms,
        log_position=position,
        key=key,
    )
    return key, sealed, [PlacedRun(begin, end, position)]


def _runs(header: BatchHeader, data: bytes, first: int, last: int, behind: int) -> list[PlacedRun]:
    if header.log_position == NO_LOG_POSITION:
        return [PlacedRun(first, last + 1, behind - header.span)]
    return placed_runs(read_runs(header, data, "a batch of a backup"), first, last + 1)


def _reached(runs: Sequence[PlacedRun], end: int) -> int:
    """The offset behind the last one whose log position is before `end`."""
    reached = runs[0].first
    for run in runs:
        if run.log_position >= end:
            break
        reached = min(run.end, run.first + end - run.log_position)
    return reached
