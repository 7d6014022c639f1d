"""
Compaction of a partition, in rounds of slices.

A round learns the newest offset of each key in the part that is not clean, and then goes over the whole partition from
its beginning, a window of batches at a time. Where a record of a window has a newer one of its key, the window is
replaced by batches without it (`rewriting.py`). The round ends with a row that says how far the partition is clean. One
that was interrupted has replaced whole windows, and the next one begins again: nothing depends on how far it came.

A window from which everything goes leaves one record, because a batch has at least one, and the next window begins
with it. Batches of transactions of Kafka's clients are passed by: they have a sweep of their own (`transactions.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from typing import TYPE_CHECKING

import attrs

from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import TARGET_BYTES, decode
from eventlog.batches.header import read_header
from eventlog.batches.merging import Source, merge
from eventlog.errors import DiskFull
from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.store.cleaning.newest import KeepRules, NewestOffsets, limited
from eventlog.store.cleaning.rewriting import BatchName, FinishRound, Replacement, StoredSource, read_sources
from eventlog.store.lmdb.environment import BATCHES, FORMAT, PARTITIONS, Environment, Snapshot
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.reader import last_batch
from eventlog.store.records.visibility import PartitionSight, first_open
from eventlog.store.rows.compaction import CompactionRow, compaction_key
from eventlog.store.rows.tables import PartitionRow, batch_key, partition_key, split_batch_key

if TYPE_CHECKING:
    from eventlog.batches.compression import Compressor
    from eventlog.store.cleaning.transactions import TransactionSweep

SLICE_SECONDS = 0.005
"""About how long a slice may take of the write lock."""
SMALL_BYTES = TARGET_BYTES // 2
"""A batch below this size is merged with those behind it."""
_LEAST_WINDOW_BYTES = 1 << 18
_MOST_WINDOW_BYTES = 1 << 20
_LEAST_FULL_BYTES = 1 << 14
"""A window in a log without room becomes no smaller; one that was stored makes room for a larger one."""
_LEAST_DROPS = 32
_MOST_DROPS = 8192
_WORTH_BYTES = 1 << 16
_PATIENCE_MS = 15_000
"""In the background, fewer bytes than these wait until the first is so old: as long as Kafka's cleaner rests."""
_READ_BYTES = 1 << 20

Run = Callable[[CommitRequest], object]
"""Stores a request, or raises its error."""


class Step(NamedTuple):
    """A slice that is stored, or a part of the reading between two: what it took away, and its time under the lock."""

    batch_count: int = 0
    record_count: int = 0
    freed_bytes: int = 0
    seconds: float = 0.0


class Pace:
    """How much one slice does: so much as takes about 5 ms of the write lock."""

    def __init__(self) -> None:
        self.window_bytes = _MOST_WINDOW_BYTES
        self.most_drops = 256
        """How many records of a topic with an index go in one slice."""

    def learn(self, seconds: float) -> None:
        """Do less after a slow slice, and more after a fast one."""
        if seconds > SLICE_SECONDS:
            self.window_bytes = max(min(self.window_bytes, _LEAST_WINDOW_BYTES), self.window_bytes // 2)
            self.most_drops = max(_LEAST_DROPS, self.most_drops // 2)
        elif seconds < SLICE_SECONDS / 2:
            self.window_bytes = min(_MOST_WINDOW_BYTES, 2 * self.window_bytes)
            self.most_drops = min(_MOST_DROPS, 2 * self.most_drops)

    def fits(self, run: Run, request: CommitRequest) -> bool:
        """
        Store a slice; False if there was no room, and the next is to be smaller.

        Raises:
            DiskFull: there was no room even for the smallest.
        """
        try:
            run(request)
        except unless_interrupted(DiskFull):
            if self.window_bytes <= _LEAST_FULL_BYTES:
                raise
            self.window_bytes //= 2
            self.most_drops = max(_LEAST_DROPS, self.most_drops // 2)
            return False
        return True


class Dirt:
    """How much of a partition is not clean: known from one look to the next, so that no batch is looked at twice."""

    def __init__(self) -> None:
        self._begin(0)

    def _begin(self, clean_end: int) -> None:
        self._clean_end = clean_end
        self.bytes = 0
        """The size of the batches behind the clean part that are old enough."""
        self.oldest_ms: float = inf
        """The first timestamp of the first of these batches; the smallest of all of them where times matter."""
        self.end = clean_end
        """Up to where the partition may be compacted."""

    def look(
        self, environment: Environment, transaction: Snapshot, topic: StoredTopic, partition: int, now_ms: int
    ) -> CompactionRow:
        """
        Look at what came since the last look; the row of the partition.

        Raises:
            CorruptBatch, FormatTooNew: the row or the header of a batch cannot be read.
        """
        row = row_of(environment, transaction, topic, partition)
        if row.clean_end != self._clean_end:
            self._begin(row.clean_end)
        prefix = partition_key(topic.id, partition)
        lag_ms = topic.compaction.lag_ms
        is_timed = bool(lag_ms) or topic.compaction.most_lag_ms is not None
        stable = first_open(environment, transaction, topic.id, partition)
        with transaction.cursor(db=environment.table(BATCHES)) as cursor:
            is_found = cursor.set_range(batch_key(topic.id, partition, self.end))
            while is_found:
                key, data = cursor.item()
                if bytes(key[:8]) != prefix:
                    break
                last = split_batch_key(key)[2]
                if last >= stable:
                    break
                if is_timed or not self.bytes:
                    header = read_header(data, BatchName(topic.name, partition, last))
                    if lag_ms and header.largest_ms > now_ms - lag_ms:
                        break
                    self.oldest_ms = min(self.oldest_ms, header.first_ms)
                self.bytes += len(data)
                self.end = last + 1
                is_found = cursor.next()
        return row


def row_of(environment: Environment, transaction: Snapshot, topic: StoredTopic, partition: int) -> CompactionRow:
    """The row of a partition's compaction."""
    return CompactionRow.unpack(environment.row(transaction, FORMAT, compaction_key(topic.id, partition)))


def is_due(topic: StoredTopic, row: CompactionRow, dirt: Dirt, now_ms: int, *, in_background: bool) -> bool:
    """Whether a round is worth its work, or cannot wait any longer."""
    options = topic.compaction
    if row.due_tombstones(now_ms, options.tombstone_ms):
        return True
    if not dirt.bytes:
        return False
    age_ms = now_ms - dirt.oldest_ms
    if options.most_lag_ms is not None and age_ms >= options.most_lag_ms:
        return True
    if in_background and dirt.bytes < _WORTH_BYTES and age_ms < _PATIENCE_MS:
        return False
    return dirt.bytes >= options.least_dirty_ratio * (dirt.bytes + row.clean_bytes)


@attrs.frozen
class _Beginning:
    """What a round knows of its partition when it begins."""

    first: int
    clean_end: int
    newest_record: int
    tombstones_end: int


class CompactionRound:
    """
    One round over a partition.

    Args:
        end: up to where it may be compacted (exclusive).
    """

    def __init__(
        self,
        environment: Environment,
        run: Run,
        topic: StoredTopic,
        partition: int,
        end: int,
        now_ms: Callable[[], int],
        pace: Pace,
        compressor: Compressor | None,
    ) -> None:
        self._environment = environment
        self._run = run
        self._topic = topic
        self._partition = partition
        self._end = end
        self._now_ms = now_ms
        self._pace = pace
        self._compressor = compressor
        self._tombstones: set[int] = set()
        self._has_left_one = False

    def steps(self) -> Iterator[Step]:
        """
        Do the round; a step at a time, so that the caller may rest or stop between two.

        Raises:
            CorruptBatch, FormatTooNew, StorageError: a batch cannot be read, or a slice not be stored. What was
                replaced before stays replaced.
            UnknownTopic: it was deleted.
        """
        beginning = self._beginning()
        if beginning is None:
            self._run(FinishRound(self._topic, self._partition, self._end, 0, (), self._now_ms()))
            yield Step()
            return
        newest, end = NewestOffsets(), max(beginning.first, beginning.clean_end)
        while end < self._end and not newest.is_full:
            end = self._add_keys(newest, end)
            yield Step()
        rules = KeepRules(newest, beginning.first, end, beginning.newest_record, beginning.tombstones_end)
        for step in self._sweeps(rules):
            if step is None:
                return  # somebody else has changed what we were about to replace: a later round begins again
            yield step
        tombstones = sorted(one for one in self._tombstones if one < end)
        self._run(FinishRound(self._topic, self._partition, end, self._bytes_before(end), tombstones, self._now_ms()))
        yield Step()

    def _beginning(self) -> _Beginning | None:
        environment, topic, partition = self._environment, self._topic, self._partition
        with environment.reading() as transaction:
            row = row_of(environment, transaction, topic, partition)
            first = PartitionRow.unpack(
                environment.row(transaction, PARTITIONS, partition_key(topic.id, partition))
            ).first
            with transaction.cursor(db=environment.table(BATCHES)) as cursor:
                found = last_batch(environment, transaction, cursor, topic.id, partition)
                if found is None:
                    return None
                last, data = found.last, bytes(found.data)
        columns = decode(data, BatchName(topic.name, partition, last))
        tombstones_end = row.tombstones_end(self._now_ms(), topic.compaction.tombstone_ms)
        return _Beginning(first, row.clean_end, columns.offsets(last)[-1], tombstones_end)

    def _add_keys(self, newest: NewestOffsets, start: int) -> int:
        """Learn the keys of some batches from an offset on; the offset behind them."""
        prefix, rows, left_bytes = partition_key(self._topic.id, self._partition), [], _READ_BYTES
        environment = self._environment
        with environment.reading() as transaction, transaction.cursor(db=environment.table(BATCHES)) as cursor:
            sight = PartitionSight(environment, transaction, self._topic.id, self._partition)
            is_found = cursor.set_range(batch_key(self._topic.id, self._partition, start))
            while is_found and left_bytes > 0 and bytes(cursor.key()[:8]) == prefix:
                last, data = split_batch_key(cursor.key())[2], bytes(cursor.value())
                left_bytes -= len(data)
                rows.append((last, b"" if sight.hides(last, data) else data))
                is_found = last + 1 < self._end and cursor.next()
        end = start
        for last, data in rows:
            if not data:
                end = last + 1
                continue
            columns = decode(data, BatchName(self._topic.name, self._partition, last))
            newest.add(columns.keys, columns.offsets(last))
            end = last + 1
            if newest.is_full:
                break
        return end if rows else self._end

    def _bytes_before(self, end: int) -> int:
        """The size of the batches before an offset."""
        prefix, size = partition_key(self._topic.id, self._partition), 0
        environment = self._environment
        with environment.reading() as transaction, transaction.cursor(db=environment.table(BATCHES)) as cursor:
            is_found = cursor.set_range(prefix)
            while is_found and bytes(cursor.key()[:8]) == prefix and split_batch_key(cursor.key())[2] < end:
                size += len(cursor.value())
                is_found = cursor.next()
        return size

    # -- windows ---------------------------------------------------------------------------------------------

    def _windows(self, rules: KeepRules) -> Iterator[Step | None]:
        """Go over the partition up to the end of the round; None when it is not what was read."""
        at, is_carried, stale_count = 0, False, 0
        most_drops = 1 << 62
        while at < rules.end:
            sources = self._sources(rules, at)
            if not sources:
                return
            if self._topic.index is not None:
                most_drops = self._pace.most_drops
            chosen, kept, left = _chosen(sources, rules, most_drops, is_carried=is_carried)
            if not chosen:
                self._note_tombstones(rules, [one.source for one in sources])
                at, is_carried = sources[-1].source.last + 1, False
                yield Step()
                continue
            is_empty = not any(map(any, kept))
            if is_empty:
                onward = _onward(chosen, sources, is_carried=is_carried)
                if onward is not None:
                    at, is_carried = onward
                    self._has_left_one = True
                    continue
                next(one for one in reversed(kept) if one)[-1] = True
                self._has_left_one = True
            merged = merge([one.source for one in chosen], kept, self._compressor)
            replacement = Replacement(self._topic, self._partition, chosen, merged, _dropped(chosen, kept, rules.first))
            if not self._pace.fits(self._run, replacement):
                continue
            if replacement.is_stale:
                stale_count += 1
                if stale_count > 1:
                    yield None
                    return
                continue
            stale_count = 0
            self._pace.learn(replacement.seconds)
            done = chosen[-1].source.last  # the batches before those that are replaced are passed by, too
            self._note_tombstones(rules, [one.source for one in sources if one.source.last <= done])
            if left is not None:
                behind = merged[-1].last + 1
                at, is_carried = next((one.first for one in merged if one.last >= left), behind), False
            elif is_empty or (len(merged[-1].batch.body) < SMALL_BYTES and merged[-1].last + 1 < rules.end):
                at, is_carried = merged[-1].first, True
            else:
                at, is_carried = merged[-1].last + 1, False
            yield Step(
                len(chosen) - len(merged),
                sum(len(one) - sum(one) for one in kept),
                sum(len(one.data) for one in chosen) - replacement.stored_bytes,
                replacement.seconds,
            )

    def _sources(self, rules: KeepRules, at: int) -> list[StoredSource]:
        return read_sources(self._environment, self._topic, self._partition, at, rules.end, self._pace.window_bytes)

    def _sweeps(self, rules: KeepRules) -> Iterator[Step | None]:
        """
        Go over the partition; None when it is not what was read.

        What goes of transactions comes first, so that the batches around it are merged; and once more if a record had
        to stay in front of one, which goes by itself then.
        """
        transactions = self._transactions(rules, takes_lone=False)
        yield from transactions.steps()
        yield from self._windows(rules)
        if self._has_left_one and transactions.has_found_any:
            yield from self._transactions(rules, takes_lone=True).steps()

    def _transactions(self, rules: KeepRules, *, takes_lone: bool) -> TransactionSweep:
        """The sweep of the batches of transactions, which the windows pass by."""
        from eventlog.store.cleaning.transactions import TransactionSweep  # few logs have one

        def store(replacement: Replacement) -> bool:
            fits = self._pace.fits(self._run, replacement)
            if fits:
                self._pace.learn(replacement.seconds)
            return fits

        def note(source: Source) -> None:
            self._note_tombstones(rules, [source])

        return TransactionSweep(
            self._environment,
            self._topic,
            self._partition,
            rules,
            store,
            note,
            lambda: self._pace.window_bytes,
            takes_lone,
        )

    def _note_tombstones(self, rules: KeepRules, sources: Iterable[Source]) -> None:
        """Note which tombstones may be left behind, except the newest record, which stays."""
        for source in sources:
            for offset, key, value in zip(source.offsets, source.keys, source.values, strict=True):
                if value is None and key is not None and rules.newest_record != offset >= rules.tombstones_end:
                    if rules.newest.get(key) <= offset:
                        self._tombstones.add(offset)


def _chosen(
    sources: Sequence[StoredSource], rules: KeepRules, most_drops: int, *, is_carried: bool
) -> tuple[Sequence[StoredSource], list[list[bool]], int | None]:
    """
    The batches of a window that are to be replaced, and what stays of them.

    With the offset of the first record that should go too, and is left because `most_drops` have gone.
    """
    kept, left, begin, end = [], None, len(sources), 0
    for index, one in enumerate(sources):
        wanted = rules.kept(one.source)
        stays = wanted if most_drops >= len(wanted) else limited(wanted, most_drops)
        drops = len(stays) - sum(stays)
        kept.append(stays)
        most_drops -= drops
        if drops:
            begin, end = min(begin, index), index + 1
        if stays is not wanted and sum(wanted) < sum(stays):
            left = next(
                offset for offset, old, new in zip(one.source.offsets, wanted, stays, strict=True) if new and not old
            )
            break
    if begin == 1 and is_carried:
        begin = 0
    while end and not any(any(one) for one in kept[begin:end]) and end < len(kept):
        end += 1  # the next batch, of which everything stays, takes over their offsets
    return sources[begin:end], kept[begin:end], left


def _onward(
    chosen: Sequence[StoredSource], sources: Sequence[StoredSource], *, is_carried: bool
) -> tuple[int, bool] | None:
    """
    Where to go on when nothing stays of a window, and whether from a batch of it; None if it is to be replaced.

    A batch goes together with what follows it. If no reader sees that, one record stays before it.
    """
    if len(chosen) == 1 and len(sources) > 1:
        return chosen[0].source.first, True
    return (sources[0].source.last + 1, False) if len(sources) == 1 and is_carried else None


def _dropped(sources: Sequence[StoredSource], kept: Sequence[Sequence[bool]], first: int) -> dict[bytes, set[int]]:
    """The offsets of the records that go and could be read until now, by their keys."""
    found: dict[bytes, set[int]] = {}
    for one, chosen in zip(sources, kept, strict=True):
        for offset, key, stays in zip(one.source.offsets, one.source.keys, chosen, strict=True):
            if not stays and key is not None and offset >= first:
                found.setdefault(key, set()).add(offset)
    return found
