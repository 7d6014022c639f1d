"""What a group costs in transactions: nothing while it rests, and a bounded number for each change."""

from __future__ import annotations

import threading

import pytest

from tests.clients.helpers import PATIENCE_SECONDS, last_transaction, note_reads
from tests.clients.members import QUIET, hold_time, owned, rounds_while, settle


@pytest.fixture
def topic(log):
    """Forty empty partitions."""
    return log.topic("orders", partitions=40)


def reads_while(log, monkeypatch, do):
    """How many read transactions something costs."""
    with monkeypatch.context() as patched:
        reads = note_reads(log, patched)
        do()
    return len(reads)


def test_idle_members_write_nothing(log, topic, monkeypatch):
    """However often they poll, and whatever time passes, as long as their leases run; nor do they read."""
    time = hold_time(monkeypatch)
    members = [log.consumer("orders", session_timeout=1e6, max_poll_interval=1e6, **QUIET) for _ in range(3)]
    settle(*members)

    def poll():
        for _ in range(100):
            for member in members:
                assert member.poll() == []
            time.now_s += 1.0

    assert reads_while(log, monkeypatch, lambda: None) == 0
    assert rounds_while(log, lambda: None) == 0
    before = last_transaction(log)
    assert rounds_while(log, poll) == 0
    assert reads_while(log, monkeypatch, poll) == 0
    assert last_transaction(log) == before


def test_a_heartbeat_is_no_transaction(log, topic, monkeypatch):
    """It dates one file."""
    consumer = log.consumer("orders", session_timeout=0.8, **QUIET)
    settle(consumer)
    file, beats, enough = consumer._core.membership._lease, [], threading.Event()
    publish = file._publish

    def noted(end_s):
        publish(end_s)
        beats.append(end_s)
        if len(beats) == 3:
            enough.set()

    file._publish = noted

    def wait():
        assert enough.wait(PATIENCE_SECONDS)

    assert rounds_while(log, lambda: reads_while(log, monkeypatch, wait) == 0) == 0


def test_a_poll_of_a_member_looks_once_beside_its_fetch(log, monkeypatch):
    """And not at all while nobody commits."""
    topic = log.topic("payments")
    consumer = log.consumer("payments", **QUIET)
    settle(consumer)
    topic.append(b"tea")
    assert reads_while(log, monkeypatch, lambda: consumer.poll()) == 2
    consumer.poll()
    consumer.poll()
    assert reads_while(log, monkeypatch, lambda: [consumer.poll() for _ in range(10)]) == 0


def test_joining_costs_one_transaction_and_leaving_one(log, topic):
    """It says that a member comes or goes, and who is to own what then."""
    one = log.consumer("orders", **QUIET)
    settle(one)
    members = []
    assert rounds_while(log, lambda: members.append(log.consumer("orders", **QUIET))) == 1
    settle(one, *members)
    assert rounds_while(log, members[0].close) == 1
    assert rounds_while(log, one.poll) == 0
    assert len(owned(one)) == 40


def test_moving_partitions_costs_one_transaction(log, topic):
    """However many they are: commit, release and grant are one; who gets them writes nothing."""
    one = log.consumer("orders", **QUIET)
    settle(one)
    for number in range(40):
        topic.append(b"tea", partition=number)
    assert len(one.poll()) == 40
    other = log.consumer("orders", **QUIET)
    assert rounds_while(log, one.poll) == 1
    assert len(owned(one)) == 20
    assert rounds_while(log, other.poll) == 0
    assert len(owned(other)) == 20


def test_ten_members_that_join_one_after_the_other(log, topic):
    """One transaction each, and one for each member that gives something up."""
    members = []

    def join():
        for _ in range(10):
            members.append(log.consumer("orders", **QUIET))
            settle(*members)

    assert rounds_while(log, join) <= 10 + sum(range(10))
    assert [len(owned(member)) for member in members] == [4] * 10


def test_ten_members_that_join_at_once(log, topic):
    """Each that gives something up does it once."""
    members = []

    def join():
        members.extend(log.consumer("orders", **QUIET) for _ in range(10))
        settle(*members)

    assert rounds_while(log, join) <= 2 * 10 + 1
    assert [len(owned(member)) for member in members] == [4] * 10


def test_a_commit_of_a_member_costs_one_transaction(log, topic):
    """The fence is part of it."""
    consumer = log.consumer("orders", **QUIET)
    for number in range(40):
        topic.append(b"tea", partition=number)
    assert len(settle(consumer)) == 40
    assert rounds_while(log, consumer.commit) == 1
    assert rounds_while(log, consumer.commit) == 0


def test_a_static_member_that_comes_back_costs_one_transaction(log, topic):
    """Nothing is shared out anew."""
    other = log.consumer("orders", **QUIET)
    one = log.consumer("orders", instance_id="left", **QUIET)
    settle(one, other)
    one.close()
    back = []
    assert rounds_while(log, lambda: back.append(log.consumer("orders", instance_id="left", **QUIET))) == 1
    assert rounds_while(log, lambda: settle(other, *back)) == 0
    assert len(owned(other)) == len(owned(back[0])) == 20
