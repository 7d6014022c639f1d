"""Offsets in transactions: a group stands where a transaction has put it, and nowhere else."""

from __future__ import annotations

import pytest

import eventlog
from tests.clients.helpers import round_count, take, values


@pytest.fixture
def orders(log: eventlog.EventLog) -> eventlog.Topic[bytes, int]:
    """Ten numbers in one partition, and a topic for what becomes of them."""
    log.topic("invoices", value=int)
    topic = log.topic("orders", value=int)
    topic.append_many(range(10))
    return topic


def bill(log, consumer, records, **options):
    """Sends numbers on, with the consumer's offsets."""
    with log.transaction() as tx:
        for record in records:
            tx.send("invoices", record.value)
        tx.commit_offsets(consumer, **options)


def test_consume_transform_produce_is_exactly_once(log, orders):
    """Through restarts after every transaction, and aborts between them."""
    done = 0
    while done < 10:
        with log.consumer("orders", group="g", max_poll_records=3) as consumer:
            records = consumer.poll()
            tx = log.transaction()
            tx.send("invoices", -1)
            tx.commit_offsets(consumer)
            tx.abort()
            bill(log, consumer, records)
            done += len(records)
    assert values(log.topic("invoices").read()) == list(range(10))


def test_the_consumer_commits_nothing_by_itself_any_more(log, orders, monkeypatch):
    """Neither with the interval nor when it is closed, from the call on: not even before the transaction's commit."""
    now_s = [0.0]
    monkeypatch.setattr(type(log._store.clock), "monotonic", lambda _: now_s[0])
    with log.consumer("orders", group="g", max_poll_records=2, session_timeout=1e6) as consumer:
        consumer.poll()
        tx = log.transaction()
        tx.commit_offsets(consumer)
        for _ in range(3):
            now_s[0] += 100.0
            assert len(consumer.poll()) == 2
            assert consumer.committed(("orders", 0)) is None
        tx.commit()
        assert consumer.committed(("orders", 0)) == 2
        consumer.poll()
    with log.consumer("orders", group="g") as consumer:
        assert consumer.committed(("orders", 0)) == 2
        assert values(consumer.poll()) == list(range(2, 10))


def test_seek_to_committed_goes_back_to_the_last_transaction(log, orders):
    """What an aborted one had in hand comes again; without any commit, all."""
    with log.consumer("orders", group="g", max_poll_records=4) as consumer:
        consumer.poll()
        consumer.seek_to_committed()
        records = consumer.poll()
        assert values(records) == [0, 1, 2, 3]
        bill(log, consumer, records)
        consumer.poll()
        tx = log.transaction()
        tx.commit_offsets(consumer)
        tx.abort()
        consumer.seek_to_committed(("orders", 0))
        assert consumer.position(("orders", 0)) == 4
        assert values(consumer.poll()) == [4, 5, 6, 7]


def test_seek_to_committed_needs_a_group_and_an_assigned_partition(log, orders):
    """The positions are unchanged."""
    with log.consumer("orders") as consumer:
        consumer.poll(max_records=3)
        with pytest.raises(ValueError, match="no group"):
            consumer.seek_to_committed()
        assert consumer.position(("orders", 0)) == 3
    with log.consumer("orders", group="g") as consumer, pytest.raises(ValueError, match="not assigned"):
        consumer.seek_to_committed(("invoices", 0))


def test_a_later_call_replaces_the_earlier_one(log, orders):
    """In one transaction, for one consumer; two consumers are kept apart."""
    with log.consumer("orders", group="g") as one, log.consumer("orders", group="h") as other:
        one.poll(max_records=2)
        other.poll(max_records=3)
        with log.transaction() as tx:
            tx.commit_offsets(one)
            tx.commit_offsets(other)
            one.poll(max_records=5)
            tx.commit_offsets(one)
        assert (one.committed(("orders", 0)), other.committed(("orders", 0))) == (7, 3)


def test_offsets_may_be_named(log, orders):
    """The next to read, for some partitions; the loop's hand counts where they are not named."""
    with log.consumer("orders", group="g") as consumer:
        take(consumer, 4)
        bill(log, consumer, [], offsets={("orders", 0): 2})
        assert consumer.committed(("orders", 0)) == 2
        bill(log, consumer, [])
        assert consumer.committed(("orders", 0)) == 4
        tx = log.transaction()
        for bad in ({("orders", 0): -1}, {("orders", "0"): 1}, {("nobody", 0): 1}, {("orders", 7): 1}):
            with pytest.raises((ValueError, TypeError, eventlog.UnknownTopic, eventlog.UnknownPartition)):
                tx.commit_offsets(consumer, bad)
        tx.abort()


def test_a_consumer_without_a_group_can_not_commit(log, orders):
    """It says so, and the transaction is as it was."""
    with log.consumer("orders") as consumer, log.transaction() as tx:
        with pytest.raises(ValueError, match="no group"):
            tx.commit_offsets(consumer)
        tx.send("invoices", 1)


def test_a_fenced_member_stores_nothing(log, orders):
    """Neither offsets nor records nor state; it polls, and the records come again."""
    with log.consumer("orders", group="g") as consumer:
        records = consumer.poll()
        tx = log.transaction()
        tx.send("invoices", 1)
        tx.state("s")["k"] = 1
        tx.commit_offsets(consumer)
        log.groups.reset_offsets("g", to=3, topics=["orders"], force=True)
        with pytest.raises(eventlog.MemberFenced):
            tx.commit()
        assert list(log.topic("invoices").read()) == list(log.state("s").items()) == []
        assert len(records) == 10
        again = consumer.poll()
        assert values(again) == list(range(3, 10))
        bill(log, consumer, again)
    assert values(log.topic("invoices").read()) == list(range(3, 10))


def test_what_moves_before_the_commit_belongs_to_the_new_owner(log):
    """A transaction with offsets of a partition that was given up is refused, and nothing is done twice."""
    log.topic("invoices", value=int)
    topic = log.topic("orders", value=int, partitions=2)
    for partition in (0, 1):
        topic.append_many(range(5), partition=partition)
    with log.consumer("orders", group="g") as one:
        records = one.poll()
        assert len(records) == 10
        tx = log.transaction()
        tx.send("invoices", 1)
        tx.commit_offsets(one)
        with log.consumer("orders", group="g") as other:
            one.poll()
            came = other.poll(timeout=1.0)
            assert len(came) == 5
            with pytest.raises(eventlog.MemberFenced):
                tx.commit()
            bill(log, other, came)
            one.seek_to_committed()
            again = one.poll()
            assert len(again) == 5
            bill(log, one, again)
    assert sorted(values(log.topic("invoices").read())) == sorted([*range(5), *range(5)])


def test_partitions_chosen_by_hand_can_be_committed_too(log, orders):
    """As long as no member owns them."""
    with log.consumer(group="g") as consumer:
        consumer.assign([("orders", 0)])
        bill(log, consumer, consumer.poll(max_records=4))
        assert consumer.committed(("orders", 0)) == 4
        with log.consumer("orders", group="g"):
            tx = log.transaction()
            tx.send("invoices", 77)
            consumer.poll()
            tx.commit_offsets(consumer)
            with pytest.raises(eventlog.MemberFenced):
                tx.commit()
    assert values(log.topic("invoices").read()) == [0, 1, 2, 3]


def test_offsets_of_a_deleted_topic_are_refused(log, orders):
    """With all that came with them."""
    with log.consumer("orders", group="g") as consumer:
        records = consumer.poll()
        tx = log.transaction()
        tx.send("invoices", records[0].value)
        tx.commit_offsets(consumer)
        log.delete_topic("orders")
        with pytest.raises(eventlog.UnknownTopic):
            tx.commit()
    assert list(log.topic("invoices").read()) == []


def test_offsets_alone_are_a_commit(log, orders):
    """And none when there is nothing new."""
    with log.consumer("orders", group="g") as consumer:
        consumer.poll()
        before = round_count(log)
        bill(log, consumer, [])
        assert round_count(log) == before + 1
        bill(log, consumer, [])
        assert round_count(log) == before + 1
        assert consumer.committed(("orders", 0)) == 10
