"""Offsets in transactions, and consumers that are closed, dropped or refused before the commit."""

from __future__ import annotations

import pytest

import eventlog
from eventlog.groups.rules import Leave
from tests.clients.helpers import last_transaction


@pytest.fixture
def orders(log: eventlog.EventLog) -> eventlog.Topic[bytes, bytes]:
    """Two records in one partition."""
    topic = log.topic("orders")
    topic.append_many([b"tea", b"milk"])
    return topic


def test_consumers_that_are_dropped_before_the_commit_lose_no_offsets(log, orders):
    """Though another that is made meanwhile may stand at the same place in memory."""

    def give(tx, group):
        with log.consumer(group=group) as consumer:
            consumer.assign([(orders.name, 0)])
            consumer.poll()
            tx.commit_offsets(consumer)

    groups = [f"group-{number}" for number in range(50)]
    with log.transaction() as tx:
        for group in groups:
            give(tx, group)
    assert [log.groups.describe(group).offsets[0].committed for group in groups] == [2] * 50


def test_a_member_that_is_closed_before_the_commit_is_fenced(log, orders):
    """Nothing is stored, and the error says why."""
    consumer = log.consumer(orders, group="g")
    tx = log.transaction()
    tx.send(orders, b"late")
    assert len(consumer.poll()) == 2
    tx.commit_offsets(consumer)
    consumer.close()
    with pytest.raises(eventlog.MemberFenced):
        tx.commit()
    assert len(list(orders.read())) == 2


def test_what_else_is_refused_says_so_though_a_consumer_is_closed(log, orders):
    """The error of the commit is that of the record."""
    events = log.topic("events", index="key")
    consumer = log.consumer(orders, group="g")
    consumer.poll()
    tx = log.transaction()
    tx.commit_offsets(consumer)
    tx.send(events, b"x", key=b"k", expected_version=7)
    consumer.close()
    with pytest.raises((eventlog.WrongVersion, eventlog.MemberFenced)):
        tx.commit()


def test_offsets_that_are_refused_leave_the_consumer_as_it_was(log, orders):
    """It goes on committing by itself."""
    with log.consumer(orders, group="g") as consumer, log.transaction() as tx:
        consumer.poll()
        with pytest.raises(eventlog.UnknownPartition):
            tx.commit_offsets(consumer, {("orders", 7): 1})
        consumer.poll()
    with log.consumer(orders, group="g") as consumer:
        assert consumer.committed(("orders", 0)) == 2


def test_a_member_that_was_removed_stores_nothing_even_without_new_offsets(log, orders):
    """What it sends is a zombie's: its partitions are another's by now."""
    sink = log.topic("sink")
    consumer = log.consumer(orders, group="g")
    consumer.poll()
    with log.transaction() as tx:
        tx.commit_offsets(consumer)
    assert consumer.poll() == []
    consumer._core.membership._peers.run(Leave(consumer._core.membership.member_id))
    tx = log.transaction()
    tx.send(sink, b"late")
    tx.commit_offsets(consumer)
    with pytest.raises(eventlog.MemberFenced, match=r"was removed from it\. Nothing was stored"):
        tx.commit()
    assert list(sink.read()) == []


def test_offsets_that_are_the_same_cost_no_commit(log, orders):
    """A transaction that would store nothing is none."""
    consumer = log.consumer(orders, group="g")
    consumer.poll()
    with log.transaction() as tx:
        tx.commit_offsets(consumer)
    before = last_transaction(log)
    with log.transaction() as tx:
        tx.commit_offsets(consumer)
    assert last_transaction(log) == before


def test_on_revoked_in_close_commits_no_record_that_may_have_failed(log, orders):
    """As `consumer.commit()` there: the record that the loop has in hand comes again."""

    def on_revoked(partitions):
        with log.transaction() as tx:
            tx.commit_offsets(consumer)

    consumer = log.consumer(orders, group="g", on_revoked=on_revoked)
    for record in consumer:
        if record.value == b"milk":
            break
    consumer.close()
    with log.consumer(orders, group="g") as again:
        assert [record.value for record in again.poll(timeout=1.0)] == [b"milk"]
