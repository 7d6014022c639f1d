"""
The rows of transactions of a log that was restored or repaired, made again from the batches.

The batches say all of it: whose they are, and by the control batches how their transactions ended. A transaction
without an end is open, with a deadline that is over: whoever opens the log next aborts it.

Where batches are lost, the end of a transaction may be among them, and the next end of the same producer is not its.
It was aborted if its row is left that says so, or if such rows are lost, too. Then the last batch before the gap
becomes the end that it lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import attrs

from eventlog.backend.topics import StoredTopic
from eventlog.batches.header import read_header, seal
from eventlog.batches.kafka_marks import ABORT, KafkaMarks, end_marker, kafka_marks
from eventlog.errors import EventLogError
from eventlog.interruptions import suppress
from eventlog.store.kafka.sequences import KafkaProducerRow, producer_key
from eventlog.store.lmdb.environment import BATCHES, FORMAT, SEQUENCES
from eventlog.store.rows.kafka_transactions import (
    EMPTY,
    KAFKA_ROWS,
    MOST_EPOCH,
    NO_EPOCH,
    ONGOING,
    TRANSACTION_KEY,
    AbortedRow,
    OpenRow,
    TransactionRow,
    aborted_key,
    ongoing_key,
    open_key,
    pack_deadline,
    split_aborted_key,
    transaction_key,
)
from eventlog.store.rows.tables import KAFKA_ABORTED_KEY, partition_key, split_batch_key


class Rows(Protocol):
    """The tables of a log that nobody else has open."""

    def items(self, table: bytes) -> Iterable[tuple[bytes, bytes]]:
        """The rows of a table by their keys."""
        ...

    def get(self, table: bytes, key: bytes) -> bytes | None:
        """The value of a row."""
        ...

    def put(self, table: bytes, key: bytes, data: bytes) -> None:
        """Write a row."""
        ...

    def delete(self, table: bytes, key: bytes) -> None:
        """Remove a row."""
        ...


_Member = tuple[int, int, int]
"""Topic id, partition and producer id."""


@attrs.frozen
class Losses:
    """
    What a repair has lost, and what it has left.

    `gaps` are the offsets whose batches are lost, by topic id and partition; `rows` those of aborted transactions by
    their keys, and `has_all_rows` says that none of them is lost.
    """

    gaps: Mapping[tuple[int, int], Sequence[tuple[int, int]]] = attrs.Factory(dict)
    rows: Mapping[bytes, AbortedRow] = attrs.Factory(dict)
    has_all_rows: bool = True

    def is_aborted(self, member: _Member, start: int, end: int) -> bool:
        """Whether a transaction may have been aborted by a control batch between two offsets, which is lost."""
        rows = (row for key, row in self.rows.items() if split_aborted_key(key)[:2] == member[:2])
        return not self.has_all_rows or any(row.producer_id == member[2] and start <= row.last < end for row in rows)


class Traces:
    """What the batches say of transactions; they come in the order of their keys."""

    def __init__(self, losses: Losses | None = None) -> None:
        self._losses = losses or Losses()
        self._gaps = {place: sorted(gaps, reverse=True) for place, gaps in self._losses.gaps.items()}
        """The gaps that lie ahead, the next one last."""
        self._lasts: dict[_Member, tuple[bytes, KafkaMarks]] = {}
        """The last batch of each open transaction."""
        self.made_ends: dict[bytes, KafkaMarks] = {}
        """The batches that are to be the ends of aborted transactions, by their keys."""
        self.open: dict[_Member, OpenRow] = {}
        self.epochs: dict[int, int] = {}
        self.aborted: dict[bytes, AbortedRow] = {}

    def add(self, key: bytes, data: bytes) -> None:
        """Take note of a batch."""
        marks = kafka_marks(data)
        if not marks.is_transactional:
            return
        topic_id, partition, last = split_batch_key(key)
        gaps = self._gaps.get((topic_id, partition), [])
        while gaps and gaps[-1][0] < last:
            self._pass_gap((topic_id, partition), *gaps.pop())
        member = (topic_id, partition, marks.producer_id)
        self.epochs[marks.producer_id] = max(self.epochs.get(marks.producer_id, 0), marks.producer_epoch)
        if marks.is_control:
            self._end(member, last, marks)
            return
        header = read_header(data, "a batch")
        self._lasts[member] = key, marks
        self.open.setdefault(member, OpenRow(last - header.span + 1, header.log_position))

    def _end(self, member: _Member, last: int, marks: KafkaMarks) -> None:
        begun = self.open.pop(member, None)
        if begun is not None and marks.type == ABORT:
            known = self._losses.rows.get(aborted_key(partition_key(*member[:2]), last))
            self._add_aborted(member, begun.first if known is None else max(begun.first, known.first), last)

    def _pass_gap(self, place: tuple[int, int], start: int, end: int) -> None:
        for member in [one for one in self.open if one[:2] == place]:
            if self._losses.is_aborted(member, start, end):
                key, marks = self._lasts[member]
                self.made_ends[key] = marks
                self._add_aborted(member, self.open.pop(member).first, split_batch_key(key)[2])

    def _add_aborted(self, member: _Member, first: int, last: int) -> None:
        stable = min((row.first for other, row in self.open.items() if other[:2] == member[:2]), default=last + 1)
        row = AbortedRow(last, member[2], first, stable)
        self.aborted[aborted_key(partition_key(*member[:2]), last)] = row


def aborted_rows(target: Rows) -> dict[bytes, AbortedRow]:
    """The rows of aborted transactions by their keys, as far as they can be read."""
    found = {}
    for key, data in target.items(FORMAT):
        if key.startswith(KAFKA_ABORTED_KEY):
            with suppress(EventLogError):
                found[key] = AbortedRow.unpack(key, data)
    return found


def rebuild(target: Rows, topics: Mapping[int, StoredTopic], losses: Losses | None = None) -> int:
    """Write the rows again; return how many transactions are open."""
    traces, known = Traces(losses), dict[int, TransactionRow]()
    for key, data in target.items(BATCHES):
        with suppress(EventLogError):
            traces.add(key, data)
    for key, data in list(target.items(FORMAT)):
        if key.startswith(KAFKA_ROWS):
            if key.startswith(TRANSACTION_KEY):
                with suppress(EventLogError):
                    row = TransactionRow.unpack(key, data)
                    known[row.producer_id] = row
            target.delete(FORMAT, key)
    members: dict[int, list[_Member]] = {}
    for member, begun in traces.open.items():
        if member[0] in topics:
            members.setdefault(member[2], []).append(member)
            target.put(FORMAT, open_key(partition_key(*member[:2]), member[2]), begun.pack())
    for key, marks in traces.made_ends.items():
        target.put(BATCHES, key, _made_end(key, target.get(BATCHES, key) or b"", marks))
    for key, aborted in traces.aborted.items():
        target.put(FORMAT, key, aborted.pack())
    for producer_id in {*known, *members}:
        row = known.get(producer_id) or TransactionRow(f"repaired-{producer_id}", producer_id, 0, 1, 0)
        _write(target, row, members.get(producer_id, []), traces, topics)
    return len(members)


def _made_end(key: bytes, data: bytes, marks: KafkaMarks) -> bytes:
    """The end of an aborted transaction at the offsets of a batch."""
    header = read_header(data, "a batch")
    batch = end_marker(
        is_commit=False,
        producer_id=marks.producer_id,
        producer_epoch=marks.producer_epoch,
        now_ms=header.largest_ms,
        span=header.span,
    )
    return seal(batch, largest_so_far_ms=header.largest_so_far_ms, log_position=header.log_position, key=key)


def _write(
    target: Rows, row: TransactionRow, members: list[_Member], traces: Traces, topics: Mapping[int, StoredTopic]
) -> None:
    """Write the row of a transactional id with the partitions in which its transaction is open."""
    epoch = min(max(row.epoch, traces.epochs.get(row.producer_id, NO_EPOCH)), MOST_EPOCH)
    partitions = tuple((topics[topic_id].name, topic_id, partition) for topic_id, partition, _ in members)
    row = attrs.evolve(row, epoch=epoch, groups={}, partitions=partitions)
    if members:
        row = attrs.evolve(row, state=ONGOING, started_ms=0, timeout_ms=max(row.timeout_ms, 1))
        target.put(FORMAT, ongoing_key(row.id), pack_deadline(0))
    elif row.state == ONGOING:
        row = attrs.evolve(row, state=EMPTY, started_ms=-1)
    target.put(FORMAT, transaction_key(row.id), row.pack())
    for topic_id, partition, producer_id in members:
        key = producer_key(producer_id, topic_id, partition)
        data = target.get(SEQUENCES, key)
        known = KafkaProducerRow(epoch, 0) if data is None else KafkaProducerRow.unpack(data)
        first = traces.open[topic_id, partition, producer_id].first
        target.put(SEQUENCES, key, known._replace(transaction_first=first).pack())
