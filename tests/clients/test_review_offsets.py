"""Offsets in transactions, and consumers that are closed, dropped or refused before the commit."""

from __future__ import annotations

import pytest

import eventlog


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
