"""
Compaction of what Kafka's clients wrote in transactions.

A batch of a committed transaction keeps its producer and its transaction, as on Kafka's broker: a restore to a position
in the middle of the transaction has to leave out all of it. So it is not merged with others. Records that have newer
ones of their keys are taken out of it.

Whole batches go, too: those of aborted transactions, those of which no record is left, and control batches. Neighbours
that go are replaced by one placeholder, which holds their offsets. Which: `transaction_plan.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import compress

import attrs

from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import decode
from eventlog.batches.header import COMPRESSION_AT, KAFKA_BIT, EncodedBatch, PlacedRun, read_header
from eventlog.batches.kafka_builder import rebuilt
from eventlog.batches.kafka_marks import end_marker, is_placeholder, kafka_marks, placeholder
from eventlog.batches.merging import Merged, Source, source_of
from eventlog.store.cleaning.compaction import Step
from eventlog.store.cleaning.newest import KeepRules
from eventlog.store.cleaning.rewriting import BatchName, Replacement, StoredRow, is_of_transaction
from eventlog.store.cleaning.transaction_plan import ABORTING, FORGOTTEN, REPLACED, TRIMMED, Change, Plan, units_of
from eventlog.store.lmdb.environment import BATCHES, FORMAT, Environment
from eventlog.store.records.visibility import PartitionSight
from eventlog.store.rows.kafka_transactions import TRANSACTION_KEY, TransactionRow, aborted_key
from eventlog.store.rows.tables import batch_key, partition_key, split_batch_key

_READ_BYTES = 1 << 20


@attrs.define(eq=False)
class TransactionSweep:
    """
    One pass over the transactions of a partition, in a round of compaction.

    Args:
        store: stores a slice; False if there was no room, and the next is to be smaller.
        note: is told of the records that were looked at, for the sake of their tombstones.
        window_bytes: how many bytes of batches one slice replaces.
        takes_lone: whether batches of no transaction go, too, whose only record goes.
    """

    _environment: Environment
    _topic: StoredTopic
    _partition: int
    _rules: KeepRules
    _store: Callable[[Replacement], bool]
    _note: Callable[[Source], None]
    _window_bytes: Callable[[], int]
    _takes_lone: bool
    has_found_any: bool = False

    def steps(self) -> Iterator[Step | None]:
        """Do it; a step at a time, None when the partition is not what was read."""
        plan = Plan()
        at = 0
        while at < self._rules.end and not plan.is_full():
            at = self._look(plan, at)
            yield Step()
        self.has_found_any = plan.is_needed
        if not plan.is_needed:
            return
        living = self._living_producers()
        for later in self._later_producers(at):
            living |= later
            yield Step()
        units = list(units_of(plan.changes(living)))
        at, most_units = 0, len(units)
        while at < len(units):
            part, count = self._slice(units[at : at + most_units])
            if not part.is_empty:
                replacement = part.replacement(self._topic, self._partition)
                if not self._store(replacement):
                    most_units = max(1, count // 2)
                    continue
                if replacement.is_stale:
                    yield None
                    return
                yield part.step(replacement)
            at, most_units = at + count, len(units)

    def _living_producers(self) -> set[int]:
        """The producers that may begin another transaction."""
        found, environment = set(), self._environment
        with environment.reading() as transaction, transaction.cursor(db=environment.table(FORMAT)) as cursor:
            is_found = cursor.set_range(TRANSACTION_KEY)
            while is_found and (key := bytes(cursor.key())).startswith(TRANSACTION_KEY):
                row = TransactionRow.unpack(key, environment.value(FORMAT, key, cursor.value()))
                found |= {row.producer_id, row.last_producer_id}
                is_found = cursor.next()
        return found

    def _later_producers(self, start: int) -> Iterator[set[int]]:
        """The producers of transactions from an offset on, a part of the partition at a time."""
        prefix, environment, is_found = partition_key(self._topic.id, self._partition), self._environment, True
        while is_found:
            found, left_bytes = set(), _READ_BYTES
            with environment.reading() as transaction, transaction.cursor(db=environment.table(BATCHES)) as cursor:
                is_found = cursor.set_range(batch_key(self._topic.id, self._partition, start))
                while is_found and left_bytes > 0:
                    if bytes(cursor.key()[:8]) != prefix:
                        is_found = False
                        break
                    found.add(kafka_marks(cursor.value()).producer_id)
                    left_bytes -= len(cursor.value())
                    start = split_batch_key(cursor.key())[2] + 1
                    is_found = cursor.next()
            yield found

    # -- looking ---------------------------------------------------------------------------------------------

    def _look(self, plan: Plan, start: int) -> int:
        """Add some batches to the plan; the offset behind them."""
        environment, left_bytes, rows = self._environment, _READ_BYTES, []
        prefix, end = partition_key(self._topic.id, self._partition), self._rules.end
        with environment.reading() as transaction, transaction.cursor(db=environment.table(BATCHES)) as cursor:
            sight = PartitionSight(environment, transaction, self._topic.id, self._partition)
            is_found = cursor.set_range(batch_key(self._topic.id, self._partition, start))
            while is_found and left_bytes > 0 and bytes(cursor.key()[:8]) == prefix:
                last, view = split_batch_key(cursor.key())[2], cursor.value()
                if last >= end:
                    break
                start = last + 1
                left_bytes -= len(view)
                if view[COMPRESSION_AT] & KAFKA_BIT or self._takes_lone:
                    data = bytes(view)
                    is_hidden = sight.hides(last, data)
                    if sight.is_open:
                        break
                    rows.append((last, data, is_hidden))
                is_found = cursor.next()
        for last, data, is_hidden in rows:
            self._add(plan, last, data, is_hidden=is_hidden)
        return start if left_bytes <= 0 else end

    def _add(self, plan: Plan, last: int, data: bytes, *, is_hidden: bool) -> None:
        name = self._name(last)
        header, marks = read_header(data, name), kafka_marks(data)
        first = last - header.span + 1
        if marks.is_control and is_hidden:
            plan.add_end(first, last, marks)
        elif is_hidden:
            plan.add_records(first, last, marks.producer_id, None)
        elif is_of_transaction(data):
            source = self._source(data, last)
            plan.add_records(first, last, marks.producer_id, self._rules.kept(source))
            self._note(source)
        elif self._takes_lone and header.count == 1 and not any(self._rules.kept(self._source(data, last))):
            plan.add_lone(first, last)

    def _source(self, data: bytes, last: int) -> Source:
        columns = decode(data, self._name(last))
        return source_of(columns, last, columns.runs(last))

    def _name(self, last: int) -> BatchName:
        return BatchName(self._topic.name, self._partition, last)

    # -- changing --------------------------------------------------------------------------------------------

    def _slice(self, units: Sequence[Sequence[Change]]) -> tuple[_Slice, int]:
        """The batches to be stored for some of the units, which fill a slice; and for how many."""
        found, most_bytes = _Slice(), self._window_bytes()
        for count, unit in enumerate(units):
            if count and (found.source_bytes >= most_bytes or unit[0].first == units[count - 1][0].first):
                return found, count  # a unit that goes on with the one before begins with what that one stores
            self._add_unit(found, unit)
        return found, len(units)

    def _add_unit(self, found: _Slice, unit: Sequence[Change]) -> None:
        rows = self._rows(unit[0].first, unit[-1].last)
        if not rows:
            return  # it was deleted meanwhile
        row, last, action = rows[-1], unit[-1].last, unit[-1].action
        header, marks = read_header(row.data, self._name(last)), kafka_marks(row.data)
        if action == TRIMMED:
            source = self._source(row.data, last)
            kept = self._rules.kept(source)
            self._drop(found, source, kept)
            found.replace(rows, header.span, self._trimmed(row, last, kept))
        elif action == ABORTING:
            batch = end_marker(
                is_commit=False,
                producer_id=marks.producer_id,
                producer_epoch=marks.producer_epoch,
                now_ms=header.first_ms,
            )
            found.replace(rows, header.span, batch)
        elif action == FORGOTTEN:
            self._forget(found, last)
        elif len(rows) > 1 or not is_placeholder(marks):
            self._take_away(found, unit, rows)

    def _take_away(self, found: _Slice, unit: Sequence[Change], rows: Sequence[StoredRow]) -> None:
        """Replace neighbours by a placeholder."""
        actions = {one.last: one.action for one in unit}
        headers = [read_header(row.data, "a batch") for row in rows]
        lasts = [split_batch_key(row.key)[2] for row in rows]
        for row, header, last in zip(rows, headers, lasts, strict=True):
            if actions.get(last) == REPLACED:
                source = self._source(row.data, last)
                self._drop(found, source, [False] * len(source.offsets))
            elif not is_placeholder(marks := kafka_marks(row.data)):
                found.unseen_count += header.count
                if marks.is_control:
                    self._forget(found, last)
        span = lasts[-1] - lasts[0] + headers[0].span
        largest_ms = max(header.largest_ms for header in headers)
        found.replace(rows, span, placeholder(span=span, time_ms=largest_ms))

    def _forget(self, found: _Slice, last: int) -> None:
        """Let the row of an aborted transaction go that ended at an offset, if there is one."""
        key, environment = aborted_key(partition_key(self._topic.id, self._partition), last), self._environment
        if environment.read(lambda transaction: environment.row(transaction, FORMAT, key)) is not None:
            found.forgotten.append(key)

    def _rows(self, begin: int, end: int) -> list[StoredRow]:
        """The rows of the batches from one offset to another, which is the last one of a batch."""
        found, environment = [], self._environment
        prefix = partition_key(self._topic.id, self._partition)
        with environment.reading() as transaction, transaction.cursor(db=environment.table(BATCHES)) as cursor:
            is_found = cursor.set_range(batch_key(self._topic.id, self._partition, begin))
            while is_found and bytes(cursor.key()[:8]) == prefix and split_batch_key(cursor.key())[2] <= end:
                found.append(self._row(bytes(cursor.key()), bytes(cursor.value())))
                is_found = cursor.next()
        return found if found and split_batch_key(found[-1].key)[2] == end else []

    def _row(self, key: bytes, data: bytes) -> StoredRow:
        runs: list[PlacedRun] = decode(data, self._name(split_batch_key(key)[2])).runs(split_batch_key(key)[2])
        return StoredRow(key, data, [run.end_position - 1 for run in runs])

    def _drop(self, found: _Slice, source: Source, kept: Sequence[bool]) -> None:
        for offset, key, stays in zip(source.offsets, source.keys, kept, strict=True):
            if not stays and key is not None and offset >= self._rules.first:
                found.dropped.setdefault(key, set()).add(offset)

    def _trimmed(self, row: StoredRow, last: int, kept: Sequence[bool]) -> EncodedBatch:
        columns, header = decode(row.data, self._name(last)), read_header(row.data, self._name(last))
        deltas = range(columns.count) if columns.deltas is None else columns.deltas
        columns = attrs.evolve(
            columns,
            count=sum(kept),
            keys=list(compress(columns.keys, kept)),
            values=list(compress(columns.values, kept)),
            headers=list(compress(columns.headers, kept)),
            timestamps_ms=list(compress(columns.timestamps_ms, kept)),
            deltas=list(compress(deltas, kept)),
        )
        return rebuilt(row.data, header, columns)


@attrs.define(eq=False)
class _Slice:
    """What one commit does."""

    sources: list[StoredRow] = attrs.Factory(list)
    made: list[Merged] = attrs.Factory(list)
    dropped: dict[bytes, set[int]] = attrs.Factory(dict)
    unseen_count: int = 0
    forgotten: list[bytes] = attrs.Factory(list)
    source_bytes: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.sources and not self.forgotten

    def replace(self, rows: Sequence[StoredRow], span: int, batch: EncodedBatch) -> None:
        """Replace neighbouring batches by one that spans the last offsets of theirs."""
        row = rows[-1]
        last, header = split_batch_key(row.key)[2], read_header(row.data, "a batch")
        self.sources += rows
        self.source_bytes += sum(len(one.data) for one in rows)
        log_position = row.last_positions[-1] + 1 - span
        self.made.append(Merged(last - span + 1, last, batch, log_position, [], header.largest_so_far_ms))

    def replacement(self, topic: StoredTopic, partition: int) -> Replacement:
        """The command that does it."""
        return Replacement(
            topic,
            partition,
            self.sources,
            self.made,
            self.dropped,
            unseen_count=self.unseen_count,
            forgotten=self.forgotten,
        )

    def step(self, done: Replacement) -> Step:
        """What it took away."""
        count = len(self.sources) - len(self.made)
        return Step(count, done.dropped_count, self.source_bytes - done.stored_bytes, done.seconds)
