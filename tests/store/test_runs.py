"""Batches that were made of several: their records keep offsets and positions, and are read where they were."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

import eventlog
from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import BatchEncoder, decode
from eventlog.batches.header import EncodedBatch, Run, read_header, seal
from eventlog.store.lmdb.environment import BATCHES, ORDER
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.log_order import order_key
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.tables import partition_key, split_batch_key
from tests.store.test_verification import change, gone, to


class Merge(CommitRequest):
    """Makes one batch of all those of a partition, without some offsets, as a compaction will."""

    def __init__(self, topic: StoredTopic, partition: int, without: set[int]) -> None:
        super().__init__()
        self._topic = topic
        self._partition = partition
        self._without = without

    def apply(self, writing: WriteTransaction) -> None:
        """Put the batch in the place of the last one, and a row of the order for each run."""
        rows = list(writing.items(BATCHES, partition_key(self._topic.id, self._partition)))
        batches = [(split_batch_key(key)[2], decode(data, "a batch")) for key, data in rows]
        base = batches[0][0] - batches[0][1].span + 1
        records = [
            (offset, key, value, moment, headers)
            for last, columns in batches
            for offset, key, value, moment, headers in zip(
                columns.offsets(last), columns.keys, columns.values, columns.timestamps_ms, columns.headers, strict=True
            )
            if offset not in self._without
        ]
        offsets, keys, values, times, headers = zip(*records, strict=True)
        [one] = BatchEncoder().encode(keys, values, timestamps_ms=times, headers=headers)
        body = msgpack.unpackb(one.body)
        body[4] = [offset - base for offset in offsets]
        span = batches[-1][0] - base + 1
        merged = EncodedBatch(len(records), span, one.first_ms, one.largest_ms, msgpack.packb(body))
        runs = [run for last, columns in batches for run in columns.runs(last)]
        for key, _ in rows:
            writing.delete(BATCHES, key)
        data = seal(
            merged,
            largest_so_far_ms=max(columns.largest_so_far_ms for _, columns in batches),
            log_position=runs[0].log_position,
            key=rows[-1][0],
            later_runs=[Run(run.first - base, run.log_position) for run in runs[1:]],
        )
        writing.put(BATCHES, rows[-1][0], data)
        for run in runs:
            writing.put(ORDER, order_key(run.end_position - 1), rows[-1][0])
        writing.forget_learned()


@pytest.fixture
def log(log: eventlog.EventLog) -> eventlog.EventLog:
    """Two topics, interleaved: batches of one record, and of several."""
    accounts = log.topic("accounts", partitions=2, key=str, value=int, index="key")
    orders = log.topic("orders")
    for number in range(12):
        accounts.append(number, key=f"a{number % 3}", partition=number % 2, message_id=f"id-{number}")
        if number % 3 == 0:
            orders.append_many([b"o%d" % number] * 2)
        if number % 4 == 0:
            accounts.append_many([100, 101, 102], keys=["many"] * 3, partition=0)
    return log


def merge(log: Any, topic: str, partition: int = 0, *, without: set[int] | None = None) -> None:
    """Merge the batches of a partition."""
    log._store.run(Merge(log._store.topic(topic), partition, without or set()))


def look(log: Any) -> list[Any]:
    """All that readers see."""
    accounts = log.topic("accounts", key=str, value=int)
    end, keys = log.end_log_position(), accounts.keys()
    return [
        list(log.read_all()),
        [list(log.read_all(start=start, max_records=3)) for start in range(end)],
        list(accounts.read()),
        list(log.topic("orders").read()),
        {key: list(accounts.history(key)) for key in keys},
        accounts.bounds(),
        end,
    ]


def test_records_are_read_where_they_were(log: eventlog.EventLog) -> None:
    """In the order of the log, by partition and by key, from every position on."""
    before = look(log)
    for topic, partition in (("accounts", 0), ("orders", 0), ("accounts", 1)):
        merge(log, topic, partition)
        assert look(log) == before
        assert log.verify().problems == ()
    assert log.verify().batch_count == 3
    [data] = batches_of(log, "orders", 0)
    assert len(decode(data, "a batch").runs(7)) == 4


def batches_of(log: Any, topic: str, partition: int) -> list[bytes]:
    """The bytes of the batches of a partition."""
    environment = log._store.environment
    prefix = partition_key(log._store.topic(topic).id, partition)
    with environment.reading() as transaction, transaction.cursor(db=environment.table(BATCHES)) as cursor:
        return [bytes(data) for key, data in cursor if bytes(key).startswith(prefix)]


def test_new_records_follow_and_can_be_merged_again(log: eventlog.EventLog) -> None:
    """A batch of several runs may become a part of another one."""
    merge(log, "orders")
    orders = log.topic("orders")
    end = log.end_log_position()
    assert (orders.append(b"new").offset, log.end_log_position()) == (8, end + 1)
    before = look(log)
    merge(log, "orders")
    assert look(log) == before
    assert [len(decode(data, "a batch").runs(8)) for data in batches_of(log, "orders", 0)] == [5]
    assert log.verify().problems == ()


def test_message_ids_still_find_their_records(log: eventlog.EventLog) -> None:
    """With the positions that they had."""
    accounts = log.topic("accounts", key=str, value=int)
    before = [accounts.append(n, key=f"a{n % 3}", partition=n % 2, message_id=f"id-{n}") for n in range(12)]
    merge(log, "accounts", 0)
    merge(log, "accounts", 1)
    after = [accounts.append(n, key=f"a{n % 3}", partition=n % 2, message_id=f"id-{n}") for n in range(12)]
    assert after == before


@pytest.mark.parametrize("first", range(9))
def test_deletions_take_all_rows_of_the_order(log: eventlog.EventLog, first: int) -> None:
    """Of a batch that goes as a whole; one of which something is left stays as it is."""
    merge(log, "orders")
    orders = log.topic("orders")
    orders.delete_records({0: first})
    assert [record.offset for record in orders.read()] == list(range(first, 8))
    assert [record.offset for _, record in log.read_all() if record.topic == "orders"] == list(range(first, 8))
    assert log.verify().problems == ()
    log.delete_topic("orders")
    assert log.verify().problems == ()
    assert {record.topic for _, record in log.read_all()} == {"accounts"}


def test_offsets_may_be_gone_between_the_runs(log: eventlog.EventLog) -> None:
    """Those that are left keep their offsets and positions."""
    before = [(position, record) for position, record in log.read_all() if record.topic == "orders"]
    merge(log, "orders", without={0, 3, 4})
    after = [(position, record) for position, record in log.read_all() if record.topic == "orders"]
    assert after == [one for one in before if one[1].offset not in {0, 3, 4}]
    assert [record.offset for record in log.topic("orders").read()] == [1, 2, 5, 6, 7]


def test_a_projection_folds_every_record_once(log: eventlog.EventLog) -> None:
    """From where it was, before and behind a merge."""

    def count(state: Any, record: Any) -> None:
        key = f"{record.topic} {record.partition} {record.offset}"
        state[key] = state.get(key, 0) + 1

    projection = log.projection("all", count, key=str, value=int)
    projection.catch_up()
    log.topic("orders").append(b"new")
    merge(log, "orders")
    merge(log, "accounts", 0)
    projection.catch_up()
    counts = dict(projection.state.items())
    assert set(counts.values()) == {1}
    assert len(counts) == len(list(log.read_all()))


def test_verification_tells_of_a_run_without_its_row(log: eventlog.EventLog) -> None:
    """And of a row that leads to no run."""
    merge(log, "orders")
    [data] = batches_of(log, "orders", 0)
    runs = decode(data, "a batch").runs(7)
    assert read_header(data, "a batch").runs_at is not None
    change(log, ORDER, order_key(runs[1].end_position - 1), gone)
    assert any("but no row in the order of the log" in line for line in log.verify().problems)
    change(log, ORDER, order_key(runs[1].end_position), to(partition_key(2, 0) + (7).to_bytes(8, "big")))
    with pytest.raises(eventlog.CorruptBatch):
        list(log.read_all())
    assert any("it leads to a batch that begins at position" in line for line in log.verify().problems)
