"""
Named producers: their ids and epochs, and the sequences by which a batch that comes again is stored once.

A name has an id for good, and an epoch that rises with each producer made under it: only the newest may store. The
records that an epoch sends to a partition are numbered from 0; a row says up to which number they are stored. The
numbers stand in the headers of the batches too, which is where a batch that comes again finds its place
(docs/decisions/0015-named-producers.md). What makes a batch come again is not known here.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import attrs

from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import MOST_EPOCH, MOST_SEQUENCE, EncodedBatch, read_header
from eventlog.errors import CorruptBatch, FormatTooNew, OutOfOrderSequence, ProducerFenced
from eventlog.store.lmdb.environment import BATCHES, FORMAT, INDEX, PRODUCERS, SEQUENCES
from eventlog.store.records.append import Part, Place, Rows
from eventlog.store.records.key_rows import entity_prefix, unpack_row
from eventlog.store.records.message_ids import StoredMessage, find
from eventlog.store.records.write_transaction import CommitRequest, WriteTransaction
from eventlog.store.rows.packing import NOT_A_ROW, checked, damaged, fields_of, packed
from eventlog.store.rows.tables import partition_key, split_batch_key

NEXT_PRODUCER_ID_KEY = b"next producer id"
REMEMBERED_EPOCHS = 5
"""How many epochs a partition remembers: those that stored something in it last."""
_SEARCHED_BATCHES = 1024
"""How far back from the end of its partition we look for a batch that is stored already."""
_ROW_VERSION = 1
_SEQUENCE_KEY = struct.Struct(">QII")

sequence_key = _SEQUENCE_KEY.pack
"""(producer id, topic id, partition) -> the key of a sequence row."""
split_sequence_key = _SEQUENCE_KEY.unpack


class ProducerRow(NamedTuple):
    """Is what the log keeps of a producer's name: an id that no other name gets, and the newest epoch."""

    name: str
    id: int
    epoch: int
    created_ms: int

    def pack(self) -> bytes:
        """The row's bytes; the name is the row's key."""
        return packed({"version": _ROW_VERSION, "id": self.id, "epoch": self.epoch, "created_ms": self.created_ms})

    @classmethod
    def unpack(cls, name: str, data: bytes) -> ProducerRow:
        """The row of these bytes."""
        what = f"producer {name!r}"
        try:
            fields = fields_of(data, what, _ROW_VERSION)
            return cls(name, *(checked(fields[field], int) for field in ("id", "epoch", "created_ms")))
        except NOT_A_ROW as error:
            raise damaged(what) from error


class SequenceRow(NamedTuple):
    """
    Says how far the records of a producer are stored in one partition.

    `ends` has the end of the sequences (exclusive) of the last epochs, in the order of the epochs; `forgotten` is
    the last epoch that had one and has none any more, -1 for none.
    """

    ends: tuple[tuple[int, int], ...] = ()
    forgotten: int = -1

    def end(self, epoch: int) -> int | None:
        """Where the stored records of an epoch end; None when that is not known any more."""
        for known, end in self.ends:
            if known == epoch:
                return end
        return 0 if epoch > self.forgotten else None

    def with_end(self, epoch: int, end: int) -> SequenceRow:
        """The row once more of an epoch is stored."""
        ends = sorted({**dict(self.ends), epoch: end}.items())
        gone, kept = ends[:-REMEMBERED_EPOCHS], ends[-REMEMBERED_EPOCHS:]
        return SequenceRow(tuple(kept), gone[-1][0] if gone else self.forgotten)

    def pack(self) -> bytes:
        """The row's bytes."""
        return packed({"version": _ROW_VERSION, "ends": self.ends, "forgotten": self.forgotten})

    @classmethod
    def unpack(cls, data: bytes | None) -> SequenceRow:
        """The row of these bytes; None is that of a partition to which the producer never sent."""
        if data is None:
            return cls()
        what = "the sequences of a producer"
        try:
            fields = fields_of(data, what, _ROW_VERSION)
            ends = [(checked(epoch, int), checked(end, int)) for epoch, end in checked(fields["ends"], list)]
            return cls(tuple(ends), checked(fields["forgotten"], int))
        except NOT_A_ROW as error:
            raise damaged(what) from error


class BeginEpoch(CommitRequest):
    """Gives a name its next epoch, and an id if it has none; `row` is the stored one afterwards."""

    __slots__ = ("_name", "_now_ms", "row")

    def __init__(self, name: str, now_ms: int) -> None:
        super().__init__()
        self._name = name
        self._now_ms = now_ms
        self.row = ProducerRow(name, -1, -1, now_ms)

    def apply(self, writing: WriteTransaction) -> None:
        """Fences every producer of that name that was made before."""
        key = self._name.encode()
        stored = writing.get(PRODUCERS, key)
        if stored is not None:
            known = ProducerRow.unpack(self._name, stored)
            self.row = known._replace(epoch=known.epoch + 1)
        else:
            counter = writing.get(FORMAT, NEXT_PRODUCER_ID_KEY)
            number = 1 if counter is None else int.from_bytes(counter, "big")
            self.row = ProducerRow(self._name, number, 0, self._now_ms)
            writing.put(FORMAT, NEXT_PRODUCER_ID_KEY, (number + 1).to_bytes(8, "big"))
        writing.put(PRODUCERS, key, self.row.pack())


@attrs.frozen(repr=False)
class SequenceRange:
    """
    The name of a batch for good: the producer, the epoch that took its records, and their numbers.

    An epoch numbers the records of each partition from 0, without a gap.
    """

    producer_id: int
    epoch: int
    first: int
    count: int

    @property
    def end(self) -> int:
        """The number after the last."""
        return self.first + self.count

    def mark(self, batches: Sequence[EncodedBatch], start: int = 0) -> None:
        """Puts the numbers into the headers to be: the first batch begins with the record at `start`."""
        sequence = self.first + start
        for batch in batches:
            batch.producer = (self.producer_id, self.epoch & MOST_EPOCH, sequence & MOST_SEQUENCE)
            sequence += batch.count


@attrs.define(slots=True, eq=False, repr=False)
class _NumberedRows(Rows):
    """Are rows that have numbers: those of one stored batch follow each other."""

    sequence: SequenceRange = attrs.field(kw_only=True)

    def encoded(self, writing: WriteTransaction, kept: Sequence[int]) -> list[EncodedBatch]:
        """The batches of some of the records; another begins where a number is left out."""
        batches: list[EncodedBatch] = []
        for run in _runs(kept):
            more = Rows.encoded(self, writing, run)
            self.sequence.mark(more, run[0])
            batches += more
        return batches


class SequencedPart(Part):
    """Is what a named producer puts into one partition, or has put there before."""

    __slots__ = ("_found", "_versions_found", "sequence")

    def __init__(
        self, topic: StoredTopic, partition: int, batches: list[EncodedBatch], rows: Rows, sequence: SequenceRange
    ) -> None:
        numbered = _NumberedRows(rows.keys, rows.values, rows.timestamps_ms, rows.headers, sequence=sequence)
        super().__init__(topic, partition, batches, numbered)
        self.sequence = sequence
        sequence.mark(batches)

    def reset(self) -> None:
        """Forgets what an earlier attempt has found."""
        super().reset()
        self._found: list[tuple[int, int, int, int]] | None = None
        self._versions_found: dict[int, int] = {}

    def place(self, index: int) -> Place:
        """Where one record is stored, or was stored before; offset and position are -1 when that is not known."""
        if self._found is None or index in self._twins:
            return super().place(index)
        assert self.rows is not None
        moment_ms = self.rows.timestamp(index)
        for start, count, base, log_position in self._found:
            if start <= index < start + count:
                rank = index - start
                version = self._versions_found.get(base + rank, 0)
                return Place(self.partition, base + rank, moment_ms, log_position + rank, version)
        return Place(self.partition, -1, moment_ms, -1, 0)

    def find(self, writing: WriteTransaction, now_ms: int) -> None:
        """Looks for the place of records that are stored already."""
        self._found = []
        with contextlib.suppress(CorruptBatch, FormatTooNew):  # they are stored; only where cannot be read
            self._found += self._stored_batches(writing)
            known = {index for start, count, _, _ in self._found for index in range(start, start + count)}
            for index, message_id in self.message_ids.items():
                if index not in known:  # it was there before this batch was, under its message id
                    since_ms = now_ms - self.topic.duplicate_window_ms
                    first = find(writing, self.topic.id, message_id, since_ms=since_ms)
                    if first is not None:
                        self.note_twin(index, _place_of(first))
            if self.topic.index is not None and known:
                self._versions_found = self._stored_versions(writing, known)

    def _stored_batches(self, writing: WriteTransaction) -> Iterator[tuple[int, int, int, int]]:
        """For each stored batch that has some of our numbers: the first of them, how many, offset and position."""
        sequence = self.sequence
        ours = (sequence.producer_id, sequence.epoch & MOST_EPOCH)
        batches = writing.items_reversed(BATCHES, partition_key(self.topic.id, self.partition))
        for key, data in islice(batches, _SEARCHED_BATCHES):
            header = read_header(data, "a batch of a named producer")
            if header.producer[:2] != ours or header.count != header.span:
                continue
            start = (header.producer[2] - sequence.first) & MOST_SEQUENCE
            if start < sequence.count:
                yield start, header.count, split_batch_key(key)[2] - header.span + 1, header.log_position
            elif start > MOST_SEQUENCE // 2:  # it is before ours, and so is all before it
                return

    def _stored_versions(self, writing: WriteTransaction, known: set[int]) -> dict[int, int]:
        """The versions of our records, by offset, as the index has them."""
        assert self.rows is not None
        assert self._found is not None
        least = min(base for _, _, base, _ in self._found)
        versions: dict[int, int] = {}
        for key in {self.rows.keys[index] for index in known}:
            if key is not None:
                rows = writing.items_reversed(INDEX, entity_prefix(self.topic.id, key))
                for row_key, data in rows:
                    entries = unpack_row(data, "the index of a key")
                    ours = [
                        (entry[1], version)
                        for version, entry in enumerate(entries, int.from_bytes(row_key[-8:], "big"))
                        if entry is not None and entry[0] == self.partition
                    ]
                    versions.update(ours)
                    if ours and ours[0][0] < least:
                        break
        return versions


def check_epoch(writing: WriteTransaction, producer: ProducerRow) -> None:
    """Raises `ProducerFenced` when a newer producer has the name."""
    stored = writing.get(PRODUCERS, producer.name.encode())
    newest = None if stored is None else ProducerRow.unpack(producer.name, stored)
    if newest is None or (newest.id, newest.epoch) != (producer.id, producer.epoch):
        raise fenced(producer)


def judge(writing: WriteTransaction, part: SequencedPart, now_ms: int) -> SequenceRow | None:
    """
    The row of sequences to go on with; None when the batch is stored already, and `part` knows where.

    Raises:
        UnknownTopic: if the topic was deleted.
        OutOfOrderSequence: if nobody can tell whether the batch is stored, or if records before it are missing.
    """
    sequence = part.sequence
    writing.check_topic(part.topic)
    row = SequenceRow.unpack(writing.get(SEQUENCES, sequence_key(sequence.producer_id, part.topic.id, part.partition)))
    end = row.end(sequence.epoch)
    where = f"{part.topic.name}[{part.partition}]"
    what = f"records {sequence.first} to {sequence.end - 1} of epoch {sequence.epoch} for {where}"
    if end is None:
        raise OutOfOrderSequence(
            f"cannot store {what}: {REMEMBERED_EPOCHS} newer epochs of the producer have stored records there, so the "
            "log has forgotten whether these are stored. Nothing was stored. Read the topic to see whether they are "
            "there."
        )
    if end < sequence.first or sequence.first < end < sequence.end:
        raise OutOfOrderSequence(
            f"cannot store {what}: the stored records of this epoch end at {end}, so those between are missing, or "
            "some of these are stored already. Nothing was stored. An earlier commit of this producer has failed, or "
            "the log was restored from a backup. Make another producer of that name, and send again what is not in "
            "the topic; records with a message_id= are stored once, however often they are sent."
        )
    part.reset()
    if end < sequence.end:
        return row
    part.find(writing, now_ms)
    return None


def remember(writing: WriteTransaction, part: SequencedPart, row: SequenceRow) -> None:
    """Notes that a batch is stored."""
    sequence = part.sequence
    key = sequence_key(sequence.producer_id, part.topic.id, part.partition)
    writing.put(SEQUENCES, key, row.with_end(sequence.epoch, sequence.end).pack())


def fenced(producer: ProducerRow) -> ProducerFenced:
    """The error for a producer that is not the newest of its name."""
    return ProducerFenced(
        f"the producer {producer.name!r} of epoch {producer.epoch} may not store records: a newer one of that name was "
        "made. Nothing was stored. Close this one, or give each producer a name of its own."
    )


def _place_of(stored: StoredMessage) -> Place:
    return Place(stored.partition, stored.offset, stored.timestamp_ms, stored.log_position, stored.version)


def _runs(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """The longest pieces in which each number is one more than that before it."""
    start = 0
    for place in range(1, len(numbers) + 1):
        if place == len(numbers) or numbers[place] != numbers[place - 1] + 1:
            yield numbers[start:place]
            start = place
