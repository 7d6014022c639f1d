"""The rows of named producer_epochs, the numbers in the headers, and how a stored batch is found by them."""

from __future__ import annotations

import msgpack
import pytest

import eventlog
from eventlog.backend.records import PartitionRecords, ProducerEpoch, Rows
from eventlog.batches.format import BatchEncoder, decode
from eventlog.batches.header import MOST_EPOCH, MOST_SEQUENCE, read_header, seal
from eventlog.errors import CorruptBatch, FormatTooNew, OutOfOrderSequence, ProducerFenced
from eventlog.store.lmdb.environment import PRODUCERS, SEQUENCES
from eventlog.store.records import producer_epochs
from eventlog.store.records.append import AppendBatch
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.producer_epochs import (
    REMEMBERED_EPOCHS,
    BeginEpoch,
    ProducerRow,
    SequenceRow,
    check_epoch,
    sequence_key,
)
from eventlog.store.records.write_transaction import WriteTransaction
from tests.clients.helpers import flip_last_bit, rewrite_batch, values


def stamped(producer_id, epoch, first, count):
    """The stamp of a batch of the producer that is called as its id."""
    return ProducerEpoch(str(producer_id), producer_id, epoch).stamp(first, count)


class StoreOnce(AppendBatch):
    """Stores records under numbers, as a named producer does, whatever is the newest epoch."""

    def __init__(self, topic, stamp, numbers, *, keys=None, message_ids=None):
        rows = Rows(keys or [None] * len(numbers), [str(number).encode() for number in numbers], 7)
        batches = BatchEncoder(target_bytes=200).encode(keys, rows.values, timestamps_ms=7)
        stamp.mark(batches)
        records = PartitionRecords(topic._route.row, 0, batches, rows, message_ids=message_ids or {}, stamp=stamp)
        super().__init__(records, 0, lambda: None)
        self.count = len(numbers)
        self.was_stored = False

    def apply(self, writing: WriteTransaction) -> None:
        producer = self.parts[0].stamp.producer
        writing.put(PRODUCERS, producer.name.encode(), ProducerRow(*producer, 0).pack())
        super().apply(writing)
        self.was_stored = self.stored.first_offset < 0

    @property
    def offsets(self):
        return [self.stored.location(index).offset for index in range(self.count)]


def rows_of(log, table):
    environment = log._store.environment
    with environment.reading() as transaction, transaction.cursor(db=environment.table(table)) as cursor:
        return {bytes(key): bytes(value) for key, value in cursor}


def store(log, topic, sequence, numbers):
    work = StoreOnce(topic, sequence, numbers)
    log._store.run(work)
    return work


# -- rows --------------------------------------------------------------------------------------------------------------


def test_rows_come_back_as_they_were():
    """Each says its version."""
    producer = ProducerRow("importer", 3, 5, 1234)
    assert ProducerRow.unpack("importer", producer.pack()) == producer
    assert msgpack.unpackb(producer.pack()) == {"version": 1, "id": 3, "epoch": 5, "created_ms": 1234}
    row = SequenceRow(((1, 10), (3, 2**40)), 0)
    assert SequenceRow.unpack(row.pack()) == row
    assert msgpack.unpackb(row.pack()) == {"version": 1, "ends": [[1, 10], [3, 2**40]], "forgotten": 0}
    assert SequenceRow.unpack(None) == SequenceRow()
    assert sequence_key(1, 2, 3).hex() == "00000000000000010000000200000003"


@pytest.mark.parametrize("unpack", [lambda data: ProducerRow.unpack("importer", data), SequenceRow.unpack])
@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", CorruptBatch),
        (b"\xc1", CorruptBatch),
        (msgpack.packb([1]), CorruptBatch),
        (msgpack.packb({"version": 1}), CorruptBatch),
        (
            msgpack.packb({"version": 1, "id": "1", "epoch": 0, "created_ms": 0, "ends": 5, "forgotten": 0}),
            CorruptBatch,
        ),
        (msgpack.packb({"version": 1, "ends": [[1]], "forgotten": 0}), CorruptBatch),
        (msgpack.packb({"version": 2}), FormatTooNew),
    ],
)
def test_bytes_that_are_no_row_are_refused(unpack, data, error):
    """Damage is damage, and what is newer is newer."""
    with pytest.raises(error):
        unpack(data)


def test_a_partition_remembers_the_last_epochs():
    """And which it has forgotten: what an epoch of before stored is not known then, rather than nothing."""
    row = SequenceRow()
    assert row.end(7) == 0
    for epoch in range(3, 3 + REMEMBERED_EPOCHS):
        row = row.with_end(epoch, 10 * epoch)
    assert (row.end(3), row.end(2), row.forgotten) == (30, 0, -1)
    row = row.with_end(20, 5).with_end(20, 6)
    assert (row.end(20), row.end(3), row.end(2), row.end(4), row.end(10)) == (6, None, None, 40, 0)
    assert (len(row.ends), row.forgotten) == (REMEMBERED_EPOCHS, 3)


def test_ids_are_never_used_twice(log):
    """A name keeps its own."""
    rows = []
    for name in ("a", "b", "a", "c"):
        begin = BeginEpoch(name, 5)
        log._store.run(begin)
        rows.append((begin.row.id, begin.row.epoch))
    assert rows == [(1, 0), (2, 0), (1, 1), (3, 0)]
    assert set(rows_of(log, PRODUCERS)) == {b"a", b"b", b"c"}


def test_an_epoch_that_is_not_the_newest_is_fenced(log):
    """Whatever else it is."""

    class Check(CommitRequest):
        def apply(self, writing):
            check_epoch(writing, self.row)

    begin = BeginEpoch("a", 5)
    log._store.run(begin)
    check = Check()
    check.row = begin.row
    log._store.run(check)
    for row in (ProducerRow("a", 1, 1, 5), ProducerRow("a", 2, 0, 5), ProducerRow("b", 1, 0, 5)):
        check = Check()
        check.row = row
        with pytest.raises(ProducerFenced):
            log._store.run(check)


# -- headers -----------------------------------------------------------------------------------------------------------


def test_the_header_has_the_producer():
    """The fields stand where they were reserved."""
    [batch] = BatchEncoder().encode(None, [b"a", b"b"], timestamps_ms=1)
    stamped(0x0102030405060708, 0x1112, 0x21222324, 2).mark([batch])
    data = seal(batch, largest_so_far_ms=1, log_position=9)
    assert data[36:52].hex() == "01020304050607081112000021222324"
    assert read_header(data, "a batch").producer == (0x0102030405060708, 0x1112, 0x21222324)
    assert list(decode(data, "a batch").values) == [b"a", b"b"]


def test_what_is_too_large_for_the_header_begins_at_0_again():
    """The rows have it in full."""
    batches = BatchEncoder(target_bytes=100).encode(None, [bytes(40)] * 2, timestamps_ms=1)
    stamped(1, MOST_EPOCH + 3, MOST_SEQUENCE, 2).mark(batches)
    assert [batch.producer for batch in batches] == [(1, 2, MOST_SEQUENCE), (1, 2, 0)]


@pytest.mark.parametrize("mark", [(-1, 1, -1), (-1, 0, 0), (-2, 0, -1), (5, -1, 0), (5, 0, -1)])
def test_half_a_producer_is_too_new(mark):
    """The bytes are sound, and nobody that we know writes them."""
    [batch] = BatchEncoder().encode(None, [b"a"], timestamps_ms=1)
    batch.producer = mark
    with pytest.raises(FormatTooNew, match="the producer"):
        decode(seal(batch, largest_so_far_ms=1, log_position=9), "a batch")


# -- batches that come again -------------------------------------------------------------------------------------------


def test_the_same_numbers_store_nothing(log):
    """And say where the first are, over all batches that they were put into."""
    topic = log.topic("orders")
    topic.append(b"before")
    first = store(log, topic, stamped(1, 0, 0, 100), range(100))
    topic.append(b"between")
    other = store(log, topic, stamped(2, 0, 0, 100), range(100))
    again = store(log, topic, stamped(1, 0, 0, 100), range(100))
    assert not first.was_stored
    assert not other.was_stored
    assert again.was_stored
    assert again.offsets == first.offsets == list(range(1, 101))
    assert [again.stored.location(index).log_position for index in (0, 99)] == [1, 100]
    assert topic.bounds() == {0: (0, 202)}


def test_a_hole_is_refused(log):
    """A batch comes right behind those of its epoch, or is there already as a whole."""
    topic = log.topic("orders")
    store(log, topic, stamped(1, 0, 0, 2), range(2))
    with pytest.raises(OutOfOrderSequence, match=r"orders\[0\].*end at 2"):
        store(log, topic, stamped(1, 0, 5, 2), range(2))
    with pytest.raises(OutOfOrderSequence):
        store(log, topic, stamped(1, 0, 1, 2), range(2))  # half of it is there
    store(log, topic, stamped(1, 1, 0, 2), range(2))  # each epoch begins at 0
    store(log, topic, stamped(1, 0, 2, 2), range(2))
    assert topic.bounds() == {0: (0, 6)}


def test_what_is_too_old_to_be_told_is_refused(log):
    """After five newer epochs nobody knows, and says so."""
    topic = log.topic("orders")
    for epoch in range(7):
        store(log, topic, stamped(1, epoch, 0, 1), [epoch])
    with pytest.raises(OutOfOrderSequence, match="5 newer epochs"):
        store(log, topic, stamped(1, 0, 0, 1), [0])
    assert topic.bounds() == {0: (0, 7)}


def test_a_stored_batch_of_an_indexed_topic_has_its_versions(log):
    """Those that it got when it was stored."""
    topic = log.topic("orders", index="key")
    first = StoreOnce(topic, stamped(1, 0, 0, 6), range(6), keys=[b"a", b"b"] * 3)
    log._store.run(first)
    topic.append(b"6", key=b"a")
    again = StoreOnce(topic, stamped(1, 0, 0, 6), range(6), keys=[b"a", b"b"] * 3)
    log._store.run(again)
    assert again.was_stored
    assert [again.stored.location(index).version for index in range(6)] == [1, 1, 2, 2, 3, 3]
    assert topic.version(b"a") == 4


def test_records_known_by_their_message_ids_are_left_out(log):
    """The numbers of those between them still say which is which, when the batch comes again."""
    topic = log.topic("orders")
    for number in (1, 3):
        topic.append(b"%d" % number, message_id=b"id-%d" % number)
    ids = {index: b"id-%d" % index for index in (1, 2, 3)}
    for is_again in (False, True):
        work = StoreOnce(topic, stamped(1, 0, 0, 6), range(6), message_ids=ids)
        log._store.run(work)
        assert work.was_stored is is_again
        assert work.offsets == [2, 0, 3, 1, 4, 5]
    assert values(topic.read()) == [b"1", b"3", b"0", b"2", b"4", b"5"]


def test_what_was_deleted_counts_as_stored(log):
    """Nobody can say where it was."""
    topic = log.topic("orders")
    store(log, topic, stamped(1, 0, 0, 3), range(3))
    topic.delete_records({0: 3})
    again = store(log, topic, stamped(1, 0, 0, 3), range(3))
    assert again.was_stored
    assert again.stored.location(1) == (0, -1, 7, -1, 0)


def test_the_search_has_a_bound(log, monkeypatch):
    """What is farther from the end of its partition counts as stored, somewhere."""
    monkeypatch.setattr(producer_epochs, "_SEARCHED_BATCHES", 4)
    topic = log.topic("orders")
    store(log, topic, stamped(1, 0, 0, 3), range(3))
    for _ in range(3):
        topic.append(b"x")
    assert store(log, topic, stamped(1, 0, 0, 3), range(3)).offsets == [0, 1, 2]
    topic.append(b"x")
    assert store(log, topic, stamped(1, 0, 0, 3), range(3)).offsets == [-1, -1, -1]


def test_a_damaged_batch_on_the_way_ends_the_search(log):
    """The record is stored all the same."""
    topic = log.topic("orders")
    store(log, topic, stamped(1, 0, 0, 3), range(3))
    topic.append(b"x")
    topic.append(b"y")
    rewrite_batch(topic, 3, lambda data: b"\0" + flip_last_bit(data)[1:])
    again = store(log, topic, stamped(1, 0, 0, 3), range(3))
    assert again.was_stored
    assert again.offsets == [-1, -1, -1]


def test_a_damaged_row_refuses_the_batch_alone(log):
    """Nothing is stored that might be there twice."""
    topic = log.topic("orders")
    store(log, topic, stamped(1, 0, 0, 3), range(3))

    class Damage(CommitRequest):
        def apply(self, writing):
            writing.put(SEQUENCES, sequence_key(1, topic._route.row.id, 0), b"\xc1")

    log._store.run(Damage())
    with pytest.raises(CorruptBatch, match="the sequences of a producer"):
        store(log, topic, stamped(1, 0, 3, 3), range(3))
    assert values(topic.read()) == [b"0", b"1", b"2"]


def test_deleting_a_topic_removes_its_sequences(log):
    """Those of other topics stay; a topic made anew begins at 0, under an id of its own."""
    topics = [log.topic(name, partitions=2) for name in ("orders", "returns")]
    with log.producer(name="a") as one, log.producer(name="b") as two:
        for producer in (one, two):
            for topic in topics:
                for partition in (0, 1):
                    producer.send(topic, b"x", partition=partition)
    assert len(rows_of(log, SEQUENCES)) == 8
    log.delete_topic("orders")
    ids = {key[8:12] for key in rows_of(log, SEQUENCES)}
    assert ids == {topics[1]._route.row.id.to_bytes(4, "big")}
    assert len(rows_of(log, SEQUENCES)) == 4
    with log.producer(name="a") as one:
        assert one.send(log.topic("orders"), b"x").result().offset == 0


def test_a_damaged_name_makes_no_producer(log):
    """It says so, and the other names go on."""
    log.producer(name="a").close()

    class Damage(CommitRequest):
        def apply(self, writing):
            writing.put(PRODUCERS, b"a", b"\xc1")

    log._store.run(Damage())
    with pytest.raises(eventlog.CorruptBatch, match="producer 'a'"):
        log.producer(name="a")
    log.producer(name="b").close()
