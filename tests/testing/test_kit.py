"""The kit for tests of other programs: it does to a log what it says, and to the real one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

import eventlog
from eventlog import testing
from eventlog.testing import LogFactory, ManualClock, Member, produced
from tests.clients.helpers import in_threads


@pytest.fixture(params=[False, True], ids=["memory", "disk"])
def bench(request, event_log_factory):
    """A log under test."""
    return event_log_factory(on_disk=request.param)


# -- the clock -----------------------------------------------------------------------------------------------------


def test_timestamps_are_those_of_the_clock(event_log, event_log_clock):
    """It stands still until it is moved, and may be set back."""
    orders = event_log.topic("orders")
    assert orders.append(b"tea").timestamp_ms == orders.append(b"tea").timestamp_ms == event_log_clock.now_ms()
    event_log_clock.advance(timedelta(hours=1))
    assert event_log_clock.now == datetime(2024, 1, 1, 1, tzinfo=UTC)
    event_log_clock.set(datetime(2023, 1, 1, tzinfo=UTC))
    assert orders.append(b"tea").timestamp_ms == event_log_clock.now_ms() == 1_672_531_200_000
    with event_log.producer() as producer:
        assert producer.send(orders, b"milk").result().timestamp_ms == event_log_clock.now_ms()
    before = event_log_clock.now
    for seconds in (-1.0, float("nan"), float("inf"), 1e10):
        with pytest.raises(ValueError, match="time passes forward"):
            event_log_clock.advance(seconds)
    for wrong in ("1", None, True):
        with pytest.raises(TypeError, match="a number of seconds or a timedelta"):
            event_log_clock.advance(wrong)
    assert event_log_clock.now == before


def test_a_duplicate_window_ends_with_the_clock(event_log, event_log_clock):
    """Beyond the newest 10,000 ids, which are remembered whatever the clock says."""
    orders = event_log.topic("orders", duplicate_window=60.0)
    first = orders.append(b"tea", message_id="one")
    assert orders.append(b"tea", message_id="one").offset == first.offset
    orders.append_many([b"x"] * 10_001, message_ids=[str(number) for number in range(10_001)])
    event_log_clock.advance(61.0)
    assert orders.append(b"tea", message_id="one").offset > first.offset


def test_a_lease_ends_with_the_clock(event_log, event_log_clock):
    """The first member that polls after the jump takes the partitions of one that does not."""
    orders = event_log.topic("orders", partitions=2)
    one, two = (event_log.consumer(orders, group="billing") for _ in range(2))
    for _ in range(3):
        one.poll()
        two.poll()
    assert (len(one.assignment()), len(two.assignment())) == (1, 1)
    event_log_clock.advance(301.0)
    for _ in range(3):
        one.poll()
    assert len(one.assignment()) == 2
    with pytest.raises(eventlog.MemberFenced):
        two.commit({two.assignment()[0]: 0})


def test_a_wait_ends_without_the_clock_being_moved(event_log, event_log_clock):
    """Elapsed time goes on by itself."""
    with event_log.consumer(event_log.topic("orders")) as consumer:
        assert consumer.poll(timeout=0.01) == []


# -- faults --------------------------------------------------------------------------------------------------------


def test_the_next_commit_fails_and_the_log_refuses_the_others(bench):
    """As a disk that breaks: open it again."""
    orders = bench.topic("orders", value=str)
    orders.append("tea")
    testing.fail_next_commit(bench)
    with pytest.raises(eventlog.StorageError, match=r"cannot write the log .* Input/output error"):
        orders.append("milk")
    with pytest.raises(eventlog.StorageError, match="refuses writes since an earlier one failed"):
        orders.append("salt")
    with testing.crash(bench) as again:
        again.topic("orders").append("rice")
        assert produced(again.topic("orders")).values == ["tea", "rice"]


def test_a_full_disk_stores_nothing_until_there_is_room(bench):
    """`DiskFull`, and then everything goes on."""
    orders = bench.topic("orders", value=str)
    with testing.full_disk(bench), bench.producer() as producer:
        with pytest.raises(eventlog.DiskFull):
            orders.append("milk")
        delivery = producer.send(orders, "salt")
        with pytest.raises(eventlog.DiskFull):
            delivery.result()
    orders.append("rice")
    assert produced(orders).values == ["rice"]


def test_a_slow_disk_takes_longer(bench):
    """So much for each commit, and only inside of the block."""
    orders = bench.topic("orders")
    clock = eventlog.clock.SystemClock()
    began_s = clock.monotonic()
    with testing.slow_disk(bench, 0.05):
        orders.append(b"tea")
    assert clock.monotonic() - began_s >= 0.05


def test_a_crash_loses_what_was_not_committed_and_nothing_else(bench):
    """All clients of the old log are closed, and whoever waits for a commit is told."""
    orders = bench.topic("orders", value=str)
    orders.append("tea")
    producer = bench.producer(linger=60.0)
    delivery = producer.send(orders, "milk")
    consumer = bench.consumer(orders, group="billing")
    assert len(consumer.poll()) == 1
    with testing.crash(bench) as again:
        for call in (lambda: orders.append("x"), consumer.poll, lambda: bench.topic("orders")):
            with pytest.raises(eventlog.LogClosed):
                call()
        with pytest.raises(eventlog.EventLogError):
            delivery.result(timeout=5.0)
        with again.consumer("orders", group="billing") as heir:
            assert [record.value for record in heir.poll(timeout=5.0)] == ["tea"]
        consumer.close()
        bench.close()
        assert again.uuid == bench.uuid


def test_a_plain_log_has_no_place_for_faults(log):
    """The message says how to get one."""
    for call in (testing.crash, testing.fail_next_commit):
        with pytest.raises(TypeError, match=r"Open it with eventlog\.testing\.open\(\)"):
            call(log)


def test_a_service_that_opens_by_path_shares_the_faults(event_log_factory, path):
    """And a log that is open without them cannot get them any more."""
    bench = event_log_factory(on_disk=True)
    with eventlog.open(bench.path) as service:
        testing.fail_next_commit(bench)
        with pytest.raises(eventlog.StorageError):
            service.topic("orders")
    with eventlog.open(path), pytest.raises(ValueError, match=r"Open it first with eventlog\.testing"):
        testing.open(path)


def test_the_factory_removes_everything(event_log_clock):
    """Logs on disk and in memory, closed or not."""
    with LogFactory(event_log_clock) as factory:
        logs = [factory(), factory(on_disk=True)]
        logs.append(factory.crash(logs[0]))
        paths = [log.path for log in logs]
        assert all(path.exists() for path in paths)
    assert all(log.is_closed for log in logs)
    assert not any(path.exists() for path in paths)


# -- what was produced ---------------------------------------------------------------------------------------------


def test_what_was_produced_is_a_sequence_of_records(event_log):
    """Of everything, or of what came in the block."""
    orders = event_log.topic("orders", key=str, value=str, partitions=3)
    sent = produced(orders)
    assert (list(sent), len(sent), sent.values) == ([], 0, [])
    orders.append("tea", key="alice")
    with produced(orders) as later:
        orders.append("milk", key="alice")
        assert later.items == [("alice", "milk")]
    assert (sent.values, sent.keys, len(sent), len(later)) == (["tea", "milk"], ["alice", "alice"], 2, 1)
    assert (sent[0].value, [record.value for record in sent[1:]]) == ("tea", ["milk"])
    assert repr(later) == "<Produced in 'orders': [('alice', 'milk')]>"
    with pytest.raises(TypeError, match="a topic is a Topic"):
        produced("orders")


def test_waiting_for_what_a_thread_sends(event_log):
    """A commit ends the wait, and too little is an error that shows what came."""
    orders = event_log.topic("orders", value=str)
    sent = produced(orders)
    _, records = in_threads(lambda: orders.append_many(["tea", "milk"]), lambda: sent.wait(2))
    assert [record.value for record in records] == ["tea", "milk"]
    with pytest.raises(TimeoutError, match=r"has 2 of 3 records after 0.01 s: \['tea', 'milk'\]"):
        sent.wait(3, timeout=0.01)


# -- a second member -----------------------------------------------------------------------------------------------


def test_a_member_joins_works_and_leaves(bench):
    """In order: what it has done is committed, and its partitions come back."""
    orders = bench.topic("orders", partitions=2, value=str)
    with bench.consumer(orders, group="billing") as ours:
        ours.poll()
        with Member(bench, orders, group="billing") as other:
            ours.poll()
            ours.poll()
            [tp] = other.wait_for_partitions(1)
            orders.append("tea", partition=tp.partition)
            bench.groups.wait("billing", timeout=10.0)
            assert [record.value for record in other.records] == ["tea"]
        ours.poll()
        assert (other.error, other.partitions, len(ours.assignment())) == (None, [], 2)
        assert bench.groups.describe("billing").lag == 0


def test_a_member_dies_and_its_work_comes_to_us(bench):
    """Nothing is committed, and the group finds out by itself."""
    orders = bench.topic("orders", partitions=2, value=str)
    with bench.consumer(orders, group="billing") as ours:
        ours.poll()
        other = Member(bench, orders, group="billing", auto_commit_interval=60.0)
        ours.poll()
        ours.poll()
        [tp] = other.wait_for_partitions(1)
        orders.append("tea", partition=tp.partition)
        while not other.records:
            pass
        other.die()
        assert len(bench.groups.describe("billing").members) == 2
        assert [record.value for record in ours.poll(timeout=10.0)] == ["tea"]
        assert len(ours.assignment()) == 2


def test_a_member_that_is_waited_for_in_vain_is_told(event_log):
    """The message says how many partitions it has."""
    with Member(event_log, event_log.topic("orders"), group="g") as member:
        with pytest.raises(TimeoutError, match=r"has . partitions after 0.0 s, not 7"):
            member.wait_for_partitions(7, timeout=0.0)


def test_a_clock_shows_itself():
    """For a message of pytest."""
    assert repr(ManualClock()) == "<ManualClock 2024-01-01T00:00:00+00:00>"
