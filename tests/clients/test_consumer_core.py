"""The core of a consumer, driven without a thread that waits: joining, sharing, being fenced, leaving."""

from __future__ import annotations

import threading

import pytest

from eventlog import TopicPartition
from eventlog.clients.consumer.core import ConsumerCore
from eventlog.clients.consumer.options import consumer_options
from eventlog.groups.state import Subscription
from eventlog.store.wakeup.waiter import Waiter
from tests.clients.members import Notes, hold_time

OPTIONS = {
    "start": "earliest",
    "auto_commit": True,
    "auto_commit_interval": 5.0,
    "max_poll_records": 500,
    "fetch_max_bytes": 1 << 20,
    "on_out_of_range": "raise",
    "assignor": "sticky",
    "instance_id": None,
    "session_timeout": 10.0,
    "max_poll_interval": 300.0,
    "on_assigned": None,
    "on_revoked": None,
    "on_lost": None,
}


@pytest.fixture
def time(monkeypatch):
    """A clock that moves when it is told to; a wait would never end, and fails."""

    def refuse(*_):
        raise AssertionError("it waits")

    monkeypatch.setattr(Waiter, "wait", refuse)
    return hold_time(monkeypatch)


def core_of(log, *topics, group=None, **options):
    """A core that reads some topics."""
    checked = consumer_options(Subscription(topics), group=group, **OPTIONS | options)
    return ConsumerCore(
        log._store,
        lambda name: log.topic(name)._route,
        checked,
        lambda callback, partitions: callback(partitions),
        log._store.waiter(),
    )


def taken(core, max_records=500):
    """The values of one try."""
    batches = core.try_take(max_records)
    assert core.may_hand_out(batches)
    return [value for batch in batches for value in batch.values]


def numbers_of(core):
    """The partitions that a core reads."""
    return sorted(tp.partition for tp in core.positions.partitions())


def test_it_takes_what_is_there_and_nothing_else(log, time):
    """And it says that it has to look once more before the first wait."""
    topic = log.topic("orders", value=int)
    core = core_of(log, "orders")
    assert taken(core) == []
    assert core.prepare_to_wait(), "what came before the subscription notified nobody"
    assert not core.prepare_to_wait()
    topic.append_many(range(3))
    assert taken(core, 2) == [0, 1]
    assert taken(core) == [2]
    assert taken(core) == []
    assert core.next_wake_at() == float("inf")
    assert core.seen_transaction == log._store.last_transaction()
    core.close()


def test_a_wakeup_is_told_once(log, time):
    """To whoever drives; a loop gets nothing then, even if there is something."""
    log.topic("orders", value=int).append(1)
    core = core_of(log, "orders")
    core.wake()
    assert core.try_take(1, is_loop=True) == []
    assert core.take_wakeup()
    assert not core.take_wakeup()
    assert taken(core) == [1]
    core.close()


def test_offsets_to_commit_are_the_next_thing_to_do(log, time):
    """When the interval is over, the next try stores them."""
    log.topic("orders", value=int).append(1)
    core = core_of(log, group="billing")
    core.assign([TopicPartition("orders", 0)])
    assert taken(core) == [1]
    assert taken(core) == []
    assert core.next_wake_at() == time.now_s + 5.0
    time.now_s += 5.0
    assert taken(core) == []
    assert core.starts.committed(TopicPartition("orders", 0)) == 1
    assert core.next_wake_at() == float("inf")
    core.close()


def test_two_members_share_in_one_thread(log, time):
    """Each try does what there is to do; one that is silent is fenced, comes back, and both leave."""
    topic = log.topic("orders", value=int, partitions=4)
    notes = Notes()
    threads = threading.active_count()
    one = core_of(log, "orders", group="billing", **notes.callbacks())
    two = core_of(log, "orders", group="billing", session_timeout=100.0)
    one.join()
    assert taken(one) == []
    two.join()
    for _ in range(3):
        assert taken(one) == taken(two) == []
    assert len(numbers_of(one)) == 2
    assert sorted(numbers_of(one) + numbers_of(two)) == [0, 1, 2, 3]
    for number in range(4):
        topic.append(number, partition=number)
    assert sorted(taken(one) + taken(two)) == [0, 1, 2, 3]
    assert one.next_wake_at() <= time.now_s + 2.0, "its lease is prolonged in time"

    time.now_s += 20.0  # the first is silent for longer than its session
    notes.take()
    for _ in range(3):
        taken(two)
    assert numbers_of(two) == [0, 1, 2, 3]
    taken(one)
    assert [what for what, _ in notes.take()] == ["lost"]
    for _ in range(3):
        taken(two)
        taken(one)
    assert len(numbers_of(one)) == 2
    assert threading.active_count() <= threads + 1, "the one that keeps the leases"
    one.close()
    for _ in range(2):
        taken(two)
    assert numbers_of(two) == [0, 1, 2, 3]
    two.close()
    assert log.groups.describe("billing").members == ()
