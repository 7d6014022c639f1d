"""
Named producers: their ids and epochs, and the sequences by which a batch that comes again is stored once.

A name has an id for good, and an epoch that rises with each producer made under it: only the newest may store. The
records that an epoch sends to a partition are numbered from 0; a row says up to which number they are stored. The
numbers stand in the headers of the batches too, which is where a batch that comes again finds its place
(docs/decisions/0015-named-producers.md). What makes a batch come again is not known here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from itertools import islice

from eventlog.backend.records import Location, PartitionRecords, ProducerEpoch, ProducerStamp, StoredRecords
from eventlog.backend.topics import StoredTopic
from eventlog.batches.header import MOST_EPOCH, MOST_SEQUENCE, read_header
from eventlog.errors import CorruptBatch, FormatTooNew, OutOfOrderSequence, ProducerFenced
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.store.lmdb.environment import BATCHES, FORMAT, INDEX, PRODUCERS, SEQUENCES
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.key_rows import entity_prefix, unpack_row
from eventlog.store.records.message_ids import find
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.packing import NOT_A_ROW, checked, damaged, fields_of, moment, packed, whole
from eventlog.store.rows.tables import next_id, partition_key, split_batch_key

NEXT_PRODUCER_ID_KEY = b"next producer id"
REMEMBERED_EPOCHS = 5
"""How many epochs a partition remembers: those that stored something in it last."""
_SEARCHED_BATCHES = 1024
"""How far back from the end of its partition we look for a batch that is stored already."""
_ROW_VERSION = 1
_SEQUENCE_KEY = struct.Struct(">QII")

sequence_key = _SEQUENCE_KEY.pack
"""(producer id, topic id, partition) -> the key of a sequence row."""


def split_sequence_key(key: bytes) -> tuple[int, int, int]:
    """Return the producer id, the topic id and the partition of a key."""
    try:
        producer_id, topic_id, partition = _SEQUENCE_KEY.unpack(key)
    except unless_interrupted(struct.error) as error:
        raise damaged(f"the key {key.hex()} of the sequences of a producer", error) from error
    return producer_id, topic_id, partition


class ProducerRow(NamedTuple):
    """The stored name of producers: an id that no other name gets, and the newest epoch."""

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
            return cls(name, whole(fields["id"], 1), whole(fields["epoch"]), moment(fields["created_ms"]))
        except unless_interrupted(*NOT_A_ROW) as error:
            raise damaged(what, error) from error


class SequenceRow(NamedTuple):
    """
    The stored end of a producer's records in one partition.

    `ends` has the end of the sequences (exclusive) of the last epochs, in the order of the epochs; `forgotten` is
    the last epoch that had one and has none any more, -1 for none.
    """

    ends: tuple[tuple[int, int], ...] = ()
    forgotten: int = -1

    def end(self, epoch: int) -> int | None:
        """The end of the stored records of an epoch; None when that is not known any more."""
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
            ends = [(whole(epoch), whole(end)) for epoch, end in checked(fields["ends"], list)]
            return cls(tuple(ends), whole(fields["forgotten"], -1))
        except unless_interrupted(*NOT_A_ROW) as error:
            raise damaged(what, error) from error


class BeginEpoch(CommitRequest):
    """The next epoch of a name, and an id if it has none; `row` is the stored one afterwards."""

    __slots__ = ("_name", "_now_ms", "row")

    def __init__(self, name: str, now_ms: int) -> None:
        super().__init__()
        self._name = name
        self._now_ms = now_ms
        self.row = ProducerRow(name, -1, -1, now_ms)

    def apply(self, writing: WriteTransaction) -> None:
        """Fence every producer of that name that was made before."""
        key = self._name.encode()
        stored = writing.get(PRODUCERS, key)
        if stored is not None:
            known = ProducerRow.unpack(self._name, stored)
            self.row = known._replace(epoch=known.epoch + 1)
        else:
            number = next_id(writing.get(FORMAT, NEXT_PRODUCER_ID_KEY), "producer", size_bytes=8)
            self.row = ProducerRow(self._name, number, 0, self._now_ms)
            writing.put(FORMAT, NEXT_PRODUCER_ID_KEY, (number + 1).to_bytes(8, "big"))
        writing.put(PRODUCERS, key, self.row.pack())


def check_epoch(writing: WriteTransaction, producer: ProducerEpoch) -> None:
    """Raise `ProducerFenced` when a newer producer has the name."""
    stored = writing.get(PRODUCERS, producer.name.encode())
    newest = None if stored is None else ProducerRow.unpack(producer.name, stored)
    if newest is None or (newest.id, newest.epoch) != (producer.id, producer.epoch):
        raise ProducerFenced(
            f"the producer {producer.name!r} of epoch {producer.epoch} may not store records: a newer one of that "
            "name was made.",
            stored="Nothing was stored.",
            advice="Close this one, or give each producer a name of its own.",
        )


def check_sequence(
    writing: WriteTransaction, topic: StoredTopic, partition: int, stamp: ProducerStamp
) -> SequenceRow | None:
    """
    The row of sequences to go on with; None when the batch of this stamp is stored already.

    Raises:
        OutOfOrderSequence: if nobody can tell whether the batch is stored, or if records before it are missing.
    """
    epoch = stamp.producer.epoch
    row = SequenceRow.unpack(writing.get(SEQUENCES, sequence_key(stamp.producer.id, topic.id, partition)))
    end = row.end(epoch)
    what = f"records {stamp.first} to {stamp.end - 1} of epoch {epoch} for {topic.name}[{partition}]"
    if end is None:
        raise OutOfOrderSequence(
            f"cannot store {what}: {REMEMBERED_EPOCHS} newer epochs of the producer have stored records there, so the "
            "log has forgotten whether these are stored.",
            stored="Nothing was stored.",
            advice="Read the topic to see whether they are there.",
            topic=topic.name,
            partition=partition,
        )
    if end < stamp.first or stamp.first < end < stamp.end:
        raise OutOfOrderSequence(
            f"cannot store {what}: the stored records of this epoch end at {end}, so those between are missing, or "
            "some of these are stored already.",
            stored="Nothing was stored.",
            advice="An earlier commit of this producer has failed, or the log was restored from a backup. Make "
            "another producer of that name, and send again what is not in the topic; records with a message_id= are "
            "stored once, however often they are sent.",
            topic=topic.name,
            partition=partition,
        )
    return row if end < stamp.end else None


def remember_sequence(
    writing: WriteTransaction, topic: StoredTopic, partition: int, stamp: ProducerStamp, row: SequenceRow
) -> None:
    """Note that the batch of a stamp is stored."""
    key = sequence_key(stamp.producer.id, topic.id, partition)
    writing.put(SEQUENCES, key, row.with_end(stamp.producer.epoch, stamp.end).pack())


# -- a batch that is stored already --------------------------------------------------------------------------


class _StoredRun(NamedTuple):
    """Some of the records of a stamp, which one stored batch has: from the `start`-th on."""

    start: int
    record_count: int
    offset: int
    log_position: int


def find_stored(writing: WriteTransaction, records: PartitionRecords, now_ms: int) -> StoredRecords:
    """The places of the records of a stamp that is stored already, as far as they can be found."""
    rows, topic = records.rows, records.topic
    assert rows is not None
    reply = StoredRecords(records.partition, rows.timestamps_ms)
    for index in range(len(rows.values)):
        reply.others[index] = Location(records.partition, -1, rows.timestamp(index), -1, 0)
    with suppress(CorruptBatch, FormatTooNew):  # they are stored; only where cannot be read
        offsets: dict[int, int] = {}
        for run in _stored_runs(writing, records):
            for rank in range(run.record_count):
                index, offset = run.start + rank, run.offset + rank
                moment_ms, log_position = rows.timestamp(index), run.log_position + rank
                reply.others[index] = Location(records.partition, offset, moment_ms, log_position, 0)
                offsets[offset] = index
        for index, message_id in records.message_ids.items():
            if reply.others[index][1] == -1:  # type: ignore[index]  # it was there before, under its message id
                first = find(writing, topic.id, message_id, since_ms=now_ms - topic.duplicate_window_ms)
                if first is not None:
                    reply.others[index] = first.location
        if topic.index is not None and offsets:
            for offset, version in _stored_versions(writing, records, offsets).items():
                place = reply.others[offsets[offset]]
                assert isinstance(place, Location)
                reply.others[offsets[offset]] = place._replace(version=version)
    return reply


def _stored_runs(writing: WriteTransaction, records: PartitionRecords) -> Iterator[_StoredRun]:
    """The records of a stamp in each stored batch, from the newest batch backwards."""
    stamp = records.stamp
    assert stamp is not None
    ours = (stamp.producer.id, stamp.producer.epoch & MOST_EPOCH)
    batches = writing.items_reversed(BATCHES, partition_key(records.topic.id, records.partition))
    for key, data in islice(batches, _SEARCHED_BATCHES):
        header = read_header(data, "a batch of a named producer")
        if header.producer[:2] != ours or header.count != header.span:
            continue
        start = (header.producer[2] - stamp.first) & MOST_SEQUENCE
        if start < stamp.record_count:
            yield _StoredRun(start, header.count, split_batch_key(key)[2] - header.span + 1, header.log_position)
        elif start > MOST_SEQUENCE // 2:  # it is before ours, and so is all before it
            return


def _stored_versions(
    writing: WriteTransaction, records: PartitionRecords, offsets: Mapping[int, int]
) -> dict[int, int]:
    """The versions of stored records, by offset, as the index has them; `offsets` leads to their places."""
    assert records.rows is not None
    least = min(offsets)
    versions: dict[int, int] = {}
    for key in {records.rows.keys[index] for index in offsets.values()}:
        if key is not None:
            for row_key, data in writing.items_reversed(INDEX, entity_prefix(records.topic.id, key)):
                entries = unpack_row(data, "the index of a key")
                found = [
                    (entry[1], version)
                    for version, entry in enumerate(entries, int.from_bytes(row_key[-8:], "big"))
                    if entry is not None and entry[0] == records.partition
                ]
                versions.update((offset, version) for offset, version in found if offset in offsets)
                if found and found[0][0] < least:
                    break
    return versions
