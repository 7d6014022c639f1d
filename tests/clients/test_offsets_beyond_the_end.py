"""An offset beyond the end of its partition is not committed: the records that come would never be read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog import TopicPartition
from eventlog.groups.state import CommittedOffset
from eventlog.store.lmdb.environment import OFFSETS
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.rows.tables import offset_key, pack_offset
from tests.clients.helpers import values

TP = TopicPartition("orders", 0)
OTHER = TopicPartition("orders", 1)


@pytest.fixture
def topic(log):
    """Ten numbers in one partition, and none in the other."""
    topic = log.topic("orders", value=int, partitions=2)
    topic.append_many(range(10), partition=0)
    return topic


def committed(log, group="g"):
    """The offsets that a group has committed, by number of the partition."""
    with log.consumer(group=group) as other:
        return other.committed(TP), other.committed(OTHER)


def poll_on(consumer):
    """Poll for as long as nothing is raised, and not for long."""
    for _ in range(10):
        consumer.poll()


@pytest.mark.parametrize("offset", [11, 20, 2**63 - 1])
@pytest.mark.parametrize("is_member", [True, False])
def test_commit_refuses_an_offset_beyond_the_end(log, topic, is_member, offset):
    """Whoever commits it; the others of the call are not stored either, and the consumer goes on."""
    with log.consumer(*([topic] if is_member else []), group="g", auto_commit=False) as consumer:
        if not is_member:
            consumer.assign([TP, OTHER])
        records = consumer.poll(max_records=4)
        with pytest.raises(eventlog.OffsetOutOfRange, match=f"cannot commit offset {offset} of orders") as raised:
            consumer.commit({OTHER: 0, TP: offset})
        error = raised.value
        assert (error.topic, error.partition, error.offset, error.group) == ("orders", 0, offset, "g")
        assert (error.first, error.end) == (0, 10)
        assert committed(log) == (None, None)
        consumer.commit()
        assert committed(log)[0] == len(records) == 4
        consumer.commit({TP: 10})
        assert committed(log)[0] == 10


def test_the_bounds_are_those_of_what_is_left(log, topic):
    """Also where all records were deleted, and for a process that has written nothing itself."""
    topic.delete_records({0: 10})
    log._store.committer._writing.forget()
    with log.consumer(group="g") as consumer:
        consumer.commit({TP: 10})
        consumer.commit({TP: 3})  # a seek back; the next poll says that it is gone
        log._store.committer._writing.forget()
        with pytest.raises(eventlog.OffsetOutOfRange) as raised:
            consumer.commit({TP: 11})
        assert (raised.value.first, raised.value.end) == (10, 10)
    assert committed(log) == (3, None)


@pytest.mark.parametrize("is_named", [True, False])
def test_a_transaction_with_an_offset_beyond_the_end_stores_nothing(log, topic, is_named):
    """No record and no offset."""
    outputs = log.topic("outputs")
    with log.consumer(topic, group="g") as consumer:
        if not is_named:
            consumer.seek(TP, 11)
        tx = log.transaction()
        tx.send(outputs, b"done")
        tx.commit_offsets(consumer, {TP: 11} if is_named else None)
        with pytest.raises(eventlog.OffsetOutOfRange, match="cannot commit offset 11"):
            tx.commit()
    assert list(outputs.read()) == []
    assert committed(log) == (None, None)


def test_what_a_transaction_sends_is_not_read_yet(log, topic):
    """The end is that before the transaction."""
    with log.consumer(topic, group="g") as consumer:
        tx = log.transaction()
        tx.send(topic, 10, partition=0)
        tx.commit_offsets(consumer, {TP: 11})
        with pytest.raises(eventlog.OffsetOutOfRange):
            tx.commit()
        assert topic.bounds()[0] == (0, 10)


@pytest.mark.parametrize("how", ["interval", "close", "release"])
def test_a_seek_beyond_the_end_is_committed_by_no_automatic_commit(log, topic, how):
    """The group stays where it was, the other partition is committed, and `poll` says where it failed."""
    topic.append_many(range(3), partition=1)
    interval = 0.0 if how == "interval" else 1e6
    with log.consumer(topic, group="g", auto_commit_interval=interval) as consumer:
        consumer.poll()
        consumer.commit({TP: 2, OTHER: 1})
        consumer.seek(TP, 20)
        with pytest.raises(eventlog.OffsetOutOfRange, match="offset 20 of orders"):
            poll_on(consumer)
        if how == "release":
            with log.consumer(topic, group="g") as other:
                for _ in range(4):
                    for one in (consumer, other):
                        with contextlib.suppress(eventlog.OffsetOutOfRange):
                            one.poll()
    assert committed(log)[0] == 2


def test_a_group_that_is_ahead_of_its_log_is_told(log, topic):
    """As one of a log of which an older version was restored, or one that an earlier eventlog has stored."""

    class Ahead(CommitRequest):
        def apply(self, writing):
            writing.put(OFFSETS, offset_key("g", topic._route.row.id, 0), pack_offset(CommittedOffset(20, 0)))

    log._store.run(Ahead())
    with log.consumer(topic, group="g") as consumer:
        with pytest.raises(eventlog.OffsetOutOfRange, match="offset 20 of orders"):
            poll_on(consumer)
        assert log.verify().problems == ("group 'g': it has committed offset 20 of orders[0], which ends at 10.",)
        consumer.seek(TP, 10)
        topic.append(10, partition=0)
        assert values(consumer.poll(timeout=60.0)) == [10]
    with pytest.raises(eventlog.OffsetOutOfRange):
        log.groups.reset_offsets("g", offsets={TP: 20})


def test_a_reader_that_is_ahead_of_a_restored_log_is_told(path: Path) -> None:
    """Whatever it reads by: else it would find nothing, and then miss what comes."""
    with eventlog.open(path) as log:
        topic = log.topic("orders", key=str, value=int, index="key")
        topic.append_many(range(5), key="tea")
        log.compact(path.with_name("copy"))
        topic.append_many(range(5), key="tea")
        ahead = log.end_log_position()
    with eventlog.open(path.with_name("copy")) as log:
        topic = log.topic("orders")
        with log.consumer("orders") as consumer:

            def sought() -> list[eventlog.Record[Any, Any]]:
                consumer.seek(("orders", 0), ahead)
                return consumer.poll()

            reads: dict[str, Callable[[int], object]] = {
                "read_all": lambda start: list(log.read_all(start)),
                "read_all of a topic": lambda start: list(log.read_all(start, topics=["orders"])),
                "read_all_batches": lambda start: list(log.read_all_batches(start)),
                "follow": lambda start: list(log.follow(start, timeout=0.0)),
                "read": lambda start: list(topic.read(0, start=start)),
                "history": lambda start: list(topic.history("tea", start=start + 1)),
                "history, the last first": lambda start: list(topic.history("tea", start=start + 1, is_reversed=True)),
                "history of one": lambda start: list(topic.history("tea", start=start + 1, max_records=1)),
                "history of another key": lambda start: list(topic.history("milk", start=max(1, start - 4))),
            }
            for name, read in reads.items():
                assert read(5) == [], name
                with pytest.raises(eventlog.OffsetOutOfRange) as raised:
                    read(ahead)
                assert (raised.value.end or 0) < ahead, name
            with pytest.raises(eventlog.OffsetOutOfRange):
                sought()
