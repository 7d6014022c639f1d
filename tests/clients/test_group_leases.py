"""A member that is silent for too long loses what it owns, and begins anew; a static one keeps its place."""

from __future__ import annotations

import threading

import pytest

import eventlog
from eventlog.groups.state import Life
from tests.clients.helpers import PATIENCE_SECONDS, poll_all, values
from tests.clients.members import QUIET, Notes, hold_time, owned, settle


@pytest.fixture
def topic(log):
    """Four partitions with ten numbers each."""
    topic = log.topic("orders", partitions=4, value=int)
    for number in range(4):
        topic.append_many(range(10 * number, 10 * number + 10), partition=number)
    return topic


@pytest.fixture
def time(monkeypatch):
    """A clock that moves when it is told to."""
    return hold_time(monkeypatch)


SHORT = QUIET | {"session_timeout": 1.0}
LONG = QUIET | {"session_timeout": 100.0}


def committed(log, partition):
    """What the log has for the group, as somebody sees it who is no member."""
    with log.consumer(group="g") as other:
        return other.committed(("orders", partition))


# --- silence --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "silent",
    [{"session_timeout": 1.0}, {"session_timeout": 100.0, "max_poll_interval": 1.0}],
    ids=lambda o: next(iter(o)),
)
def test_a_silent_member_is_removed_and_told(log, topic, time, silent):
    """Whether its process or its program was silent: `on_lost`, and nothing is committed."""
    notes = Notes()
    one = log.consumer("orders", max_poll_records=5, **QUIET | silent, **notes.callbacks())
    other = log.consumer("orders", **LONG)
    with one, other:
        mine = settle(one)
        assert {record.partition for record in mine} == set(owned(one))
        settle(other)
        kept = owned(one)
        topic.append_many([40, 41], partition=kept[0])
        assert values(one.poll()) == [40, 41]
        notes.take()
        time.now_s += 2.0
        again = settle(other)
        assert owned(other) == [0, 1, 2, 3]
        assert len(again) == 20 + 2, "all of it comes again"
        assert one.poll() == []
        assert notes.take() == [("lost", kept)]
        assert one.assignment() == []
        other.poll()
        one.poll()
        assert [what for what, _ in notes.take()] == ["assigned"], "it is a member again"
        assert len(owned(one)) == 2


def test_a_member_that_nobody_missed_goes_on(log, topic, time):
    """Its lease is over, nobody removed it: it asks, and keeps everything."""
    notes = Notes()
    with log.consumer("orders", max_poll_records=5, **SHORT, **notes.callbacks()) as one:
        member_id = one._core.membership.member_id
        first = one.poll()
        time.now_s += 50.0
        rest = poll_all(one, 35)
        assert sorted(values(first + rest)) == list(range(40))
        assert one._core.membership.member_id == member_id
        assert notes.take() == [("assigned", [0, 1, 2, 3])]


def test_a_lease_that_is_short_by_its_polls_can_be_used(log, topic, time):
    """The margin at its end is a part of the shorter of its two bounds."""
    with log.consumer("orders", max_poll_interval=0.1, **QUIET) as one:
        assert len(poll_all(one, 40)) == 40


def test_a_waiting_member_sleeps_until_there_is_something_to_do(log, topic, time):
    """It says that it polls, or a lease of those it watches may be over, or one of the others is to be looked at."""
    members = [log.consumer("orders", **QUIET, session_timeout=10.0) for _ in range(2)]
    settle(*members)
    began_s = time.now_s
    time.now_s += 0.5
    for member in members:
        member.poll()
        assert member._core.membership._peers.look_at_s == began_s + 10.0
        assert member._core.membership.next_at_s(time.now_s) == time.now_s + 2.0, "its heart beats every 2 s"
    members += [log.consumer("orders", **LONG) for _ in range(3)]
    settle(*members)
    time.now_s += 0.5
    for member in members:
        member.poll()
        assert member._core.membership._peers.look_at_s in {time.now_s + 1.5, time.now_s + 2.0}, (
            "newcomers have looked before"
        )
    for member in members:
        member.close()


def test_what_is_to_be_committed_ends_a_wait_and_nothing_else_does(log, topic, time):
    """A consumer that has committed all sleeps on."""
    with log.consumer("orders", group="g", auto_commit_interval=5.0) as consumer:
        assert len(poll_all(consumer, 40)) == 40
        assert consumer._core.commits.next_at_s < float("inf")
        consumer.poll()
        assert consumer._core.commits.next_at_s == 1005.0
        time.now_s = 1005.0
        consumer.poll()
        assert committed(log, 0) == 10
        assert consumer._core.commits.next_at_s == float("inf")


def test_a_fenced_commit_stores_nothing(log, topic, time):
    """Neither by hand, with or without offsets, nor what was finished; the next poll joins again."""
    one, other = log.consumer("orders", max_poll_records=5, **SHORT), log.consumer("orders", **LONG)
    with one, other:
        assert len(one.poll()) == 5
        settle(other)
        time.now_s += 2.0
        other.poll()
        before = [committed(log, number) for number in range(4)]
        member_id = one._core.membership.member_id
        for offsets in (None, {("orders", 0): 9}, {("orders", number): 1 for number in range(4)}):
            with pytest.raises(eventlog.MemberFenced, match=r"Nothing was stored. Call poll\(\)"):
                one.commit(offsets)
        assert [committed(log, number) for number in range(4)] == before
        other.poll()
        one.poll()
        assert one._core.membership.member_id != member_id
        settle(one, other)
        assert len(owned(one)) == len(owned(other)) == 2
        one.commit({("orders", owned(one)[0]): 7})
        assert committed(log, owned(one)[0]) == 7


def test_an_automatic_commit_that_is_fenced_is_no_error(log, topic, time):
    """Whoever polls finds out by `on_lost`, and closing says nothing."""
    notes = Notes()
    options = {"group": "g", "auto_commit_interval": 0.5, "max_poll_records": 5}
    one = log.consumer("orders", session_timeout=1.0, **options, **notes.callbacks())
    two = log.consumer("orders", session_timeout=1.0, **options)
    with log.consumer("orders", **LONG) as other:
        settle(one, two, other)
        notes.take()
        time.now_s += 2.0
        other.poll()
        assert owned(other) == [0, 1, 2, 3]
        two.close()
        one.poll()
        assert notes.take()[0][0] == "lost"
        one.close()
        other.poll()
        assert owned(other) == [0, 1, 2, 3]


def test_the_lease_is_looked_at_after_a_callback(log, topic, time):
    """What a slow callback lost is not handed out."""
    slow = {"seconds": 2.0}

    def on_assigned(partitions):
        time.now_s += slow.pop("seconds", 0.0)
        settle(other)

    other = log.consumer("orders", **LONG)
    with other, log.consumer("orders", on_assigned=on_assigned, **SHORT) as one:
        settle(other)
        assert len(owned(other)) == 2
        assert one.poll() == []
        assert slow == {}
        assert owned(one) == []


def test_a_heartbeat_keeps_a_member(log, topic):
    """A member whose program is busy for longer than its session keeps what it owns."""
    one = log.consumer("orders", group="g", session_timeout=0.1)
    with one, log.consumer("orders", group="g", session_timeout=5.0) as other:
        settle(one, other)
        had, beats = owned(one), []
        file = one._core.membership._lease
        publish, enough = file._publish, threading.Event()

        def noted(end_s):
            publish(end_s)
            beats.append(end_s)
            if beats[-1] > beats[0] + 0.3:
                enough.set()

        file._publish = noted
        assert enough.wait(PATIENCE_SECONDS)
        if log._store.members.look([file.id])[file.id] is Life.ALIVE:
            other.poll()
            assert owned(one) == had
            assert len(owned(other)) == 2


# --- static members -------------------------------------------------------------------------------------------------


def test_a_static_member_comes_back_to_its_partitions(log, topic, time):
    """Within its session nothing moves, neither for it nor for the others."""
    notes = Notes()
    with log.consumer("orders", **LONG, **notes.callbacks()) as other:
        one = log.consumer("orders", instance_id="left", max_poll_records=5, **LONG)
        settle(one, other)
        had = owned(one)
        notes.take()
        topic.append_many([40, 41, 42], partition=had[0])
        assert values(one.poll()) == [40, 41, 42]
        one.close()
        time.now_s += 90.0
        settle(other)
        assert notes.take() == []
        with log.consumer("orders", instance_id="left", **LONG) as one:
            assert owned(one) == had
            assert values(one.poll()) == [40, 41, 42], "what was not finished comes again"
            settle(one, other)
            assert owned(one) == had
            assert notes.take() == []


def test_the_place_of_a_static_member_ends_with_its_session(log, topic, time):
    """Then the others get its partitions, and its name is free."""
    with log.consumer("orders", **LONG) as other:
        one = log.consumer("orders", instance_id="left", session_timeout=10.0, **QUIET)
        settle(one, other)
        time.now_s += 5.0
        one.close()
        time.now_s += 9.0
        other.poll()
        assert len(owned(other)) == 2
        time.now_s += 2.0
        other.poll()
        assert owned(other) == [0, 1, 2, 3]
        with log.consumer("orders", instance_id="left", **SHORT) as one:
            settle(one, other)
            assert len(owned(one)) == 2


def test_an_instance_is_one_live_member(log, topic):
    """The name is refused while its member lives, and the group is unchanged."""
    with log.consumer("orders", instance_id="left", **LONG) as one:
        with pytest.raises(eventlog.InstanceInUse, match=r"'left'.*live member in process") as caught:
            log.consumer("orders", instance_id="left", **LONG)
        assert caught.value.retriable
        settle(one)
        assert owned(one) == [0, 1, 2, 3]
        with log.consumer("orders", instance_id="right", **LONG) as other:
            settle(one, other)
            assert len(owned(one)) == len(owned(other)) == 2


def test_a_replaced_static_member_is_fenced(log, topic, time):
    """One that was away, and whose place another took, can neither commit nor come back while that one lives."""
    one = log.consumer("orders", instance_id="left", max_poll_records=5, **SHORT)
    one.poll()
    time.now_s += 2.0
    with log.consumer("orders", instance_id="left", **SHORT) as other:
        assert owned(other) == [0, 1, 2, 3]
        with pytest.raises(eventlog.MemberFenced):
            one.commit()
        with pytest.raises(eventlog.InstanceInUse):
            one.poll()
        assert one.assignment() == []
        with pytest.raises(eventlog.InstanceInUse):
            one.poll()
        assert len(poll_all(other, 40)) == 40
    one.close()


def test_a_static_member_may_come_back_with_other_topics(log, topic, time):
    """Then its partitions are shared out anew."""
    log.topic("payments", partitions=2)
    with log.consumer("orders", **LONG) as other:
        log.consumer("orders", instance_id="left", **LONG).close()
        with log.consumer("payments", instance_id="left", **LONG) as one:
            settle(one, other)
            assert {tp.topic for tp in one.assignment()} == {"payments"}
            assert owned(other) == [0, 1, 2, 3]


def test_a_static_member_closes_with_its_callback_and_its_commit(log, topic):
    """`on_revoked` is told, and what was finished is committed."""
    notes = Notes()
    one = log.consumer("orders", instance_id="left", max_poll_records=5, **LONG, **notes.callbacks())
    one.poll()
    one.poll()
    one.close()
    assert notes.take() == [("assigned", [0, 1, 2, 3]), ("revoked", [0, 1, 2, 3])]
    assert sum(committed(log, number) or 0 for number in range(4)) == 5
