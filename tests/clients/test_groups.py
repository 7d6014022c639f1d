"""Members of a group share the partitions of their topics, and hand them over where they stopped."""

from __future__ import annotations

import gc
import itertools
import threading
from pathlib import Path

import pytest

import eventlog
from eventlog import TopicPartition
from tests.clients.helpers import PATIENCE_SECONDS, in_threads, poll_all, values
from tests.clients.members import QUIET, Notes, hold_time, owned, owned_pairs, settle


@pytest.fixture
def topic(log):
    """Four partitions with ten numbers each: 0 to 9, 10 to 19 and so on."""
    topic = log.topic("orders", partitions=4, value=int)
    for number in range(4):
        topic.append_many(range(10 * number, 10 * number + 10), partition=number)
    return topic


def committed(log, partition, group="g", topic="orders"):
    """What the log has for a group, as somebody sees it who is no member."""
    with log.consumer(group=group) as other:
        return other.committed((topic, partition))


def descriptor_count():
    """How many files this process has open."""
    return sum(1 for _ in Path("/dev/fd").iterdir())


# --- sharing --------------------------------------------------------------------------------------------------------


def test_a_lonely_member_has_everything_at_once(log, topic):
    """It need not poll for that."""
    with log.consumer("orders", **QUIET) as consumer:
        assert owned(consumer) == [0, 1, 2, 3]


def test_two_members_share(log, topic):
    """Each partition has one owner, and each record is handed out once."""
    with log.consumer("orders", **QUIET) as one, log.consumer("orders", **QUIET) as other:
        records = settle(one, other)
        assert sorted(values(records)) == list(range(40))
        assert len(owned(one)) == len(owned(other)) == 2
        assert sorted(owned(one) + owned(other)) == [0, 1, 2, 3]


def test_who_joins_waits_for_the_owners_next_poll(log, topic):
    """Until then the old owner keeps all, and reads on in all of it."""
    with log.consumer("orders", **QUIET) as one:
        poll_all(one, 40)
        with log.consumer("orders", **QUIET) as other:
            assert (owned(one), owned(other)) == ([0, 1, 2, 3], [])
            assert other.poll() == []
            topic.append(40, partition=3)
            assert owned(one) == [0, 1, 2, 3]
            one.poll()
            assert len(owned(one)) == 2
            assert owned(other) == [], "it takes them in its own poll"
            other.poll()
            assert sorted(owned(one) + owned(other)) == [0, 1, 2, 3]


def test_a_partition_goes_on_where_its_owner_stopped(log, topic):
    """The records of the owner's last poll are finished, since it asked for more."""
    with log.consumer("orders", max_poll_records=15, **QUIET) as one:
        first = one.poll()
        assert len(first) == 15
        with log.consumer("orders", **QUIET) as other:
            rest = settle(one, other)
    assert sorted(values(first + rest)) == list(range(40))


def test_what_was_not_finished_comes_again(log, topic):
    """A loop that is left is busy with one record; who gets the partition gets that record too."""
    one = log.consumer("orders", **QUIET)
    seen = list(itertools.islice(one, 5))
    one.close()
    with log.consumer("orders", **QUIET) as other:
        again = poll_all(other, 36)
    assert sorted(values(again)) == sorted(set(range(40)) - set(values(seen[:-1])))


def test_a_join_moves_only_what_is_due(log):
    """Of twelve partitions the third member gets four, and no other changes hands."""
    log.topic("orders", partitions=12)
    members = [log.consumer("orders", **QUIET) for _ in range(2)]
    settle(*members)
    before = [owned_pairs(member) for member in members]
    members.append(log.consumer("orders", **QUIET))
    settle(*members)
    after = [owned_pairs(member) for member in members]
    assert [len(share) for share in after] == [4, 4, 4]
    assert after[0] < before[0]
    assert after[1] < before[1]


def test_while_partitions_move_the_others_are_read(log, topic):
    """A member that gives two up gets records of the other two from the same poll."""
    with log.consumer("orders", max_poll_records=1, **QUIET) as one, log.consumer("orders", **QUIET) as other:
        records = one.poll()
        assert len(records) == 1
        assert len(owned(one)) == 2
        assert records[0].partition in owned(one)
        assert {record.partition for record in other.poll()} == set(owned(other)) == {0, 1, 2, 3} - set(owned(one))


def test_who_leaves_leaves_its_partitions_to_the_others(log, topic):
    """At their next poll, and without a pause."""
    with log.consumer("orders", **QUIET) as one:
        other = log.consumer("orders", **QUIET)
        settle(one, other)
        other.close()
        assert len(owned(one)) == 2
        one.poll()
        assert owned(one) == [0, 1, 2, 3]


def test_closing_commits_and_gives_up(log, topic):
    """What was finished is committed in the transaction that leaves."""
    one = log.consumer("orders", max_poll_records=10, **QUIET)
    one.poll()
    one.poll()
    one.close()
    assert sum(committed(log, number) or 0 for number in range(4)) == 10
    with log.consumer("orders", **QUIET) as other:
        assert len(poll_all(other, 30)) == 30


def test_without_auto_commit_a_partition_moves_without_a_commit(log, topic):
    """Who gets it begins at what was committed by hand."""
    options = {"group": "g", "auto_commit": False}
    with log.consumer("orders", **options) as one:
        poll_all(one, 40)
        one.commit({("orders", number): 3 for number in range(4)})
        with log.consumer("orders", **options) as other:
            one.poll()
            again = settle(other)
            assert {record.offset for record in again} == set(range(3, 10))
            assert {record.partition for record in again} == set(owned(other))
    assert [committed(log, number) for number in range(4)] == [3, 3, 3, 3]


def test_more_members_than_partitions(log):
    """Somebody has nothing, and takes over when another leaves."""
    log.topic("orders", partitions=2)
    members = [log.consumer("orders", **QUIET) for _ in range(3)]
    settle(*members)
    assert sorted(len(owned(member)) for member in members) == [0, 1, 1]
    members.sort(key=lambda member: len(owned(member)))
    members.pop().close()
    settle(*members)
    assert [len(owned(member)) for member in members] == [1, 1]


def test_groups_do_not_know_each_other(log, topic):
    """Two groups of one member each have everything each."""
    with log.consumer("orders", group="one") as one, log.consumer("orders", group="other") as other:
        assert len(poll_all(one, 40)) == len(poll_all(other, 40)) == 40


def test_a_waiting_member_is_woken_by_what_it_is_given(log, topic):
    """It sleeps in poll() while another leaves, and gets its records at once."""
    one, other = log.consumer("orders", **QUIET), log.consumer("orders", **QUIET)
    settle(one, other)
    other_had = owned(other)
    waits = threading.Event()
    wait = one._waiter.wait_until
    one._waiter.wait_until = lambda *arguments: waits.set() or wait(*arguments)

    def leave():
        assert waits.wait(PATIENCE_SECONDS)
        other.close()
        topic.append(40, partition=other_had[0])

    records, _ = in_threads(lambda: one.poll(timeout=PATIENCE_SECONDS), leave)
    assert values(records) == [40]


def test_members_in_threads_get_every_record_once(log):
    """Four of them, one after the other, while records come."""
    topic = log.topic("orders", partitions=8, value=int, key=int)
    got, lock, done = [], threading.Lock(), threading.Event()

    def consume():
        with log.consumer("orders", group="g", auto_commit_interval=0.0) as consumer:
            while not done.is_set():
                records = consumer.poll(timeout=0.02)
                with lock:
                    got.extend(values(records))
                    if len(got) >= 2000:
                        done.set()
            consumer.commit()

    def append():
        for first in range(0, 2000, 50):
            topic.append_many(range(first, first + 50), keys=range(first, first + 50))

    in_threads(append, *[consume] * 4)
    assert sorted(got) == list(range(2000))


# --- ways to read ---------------------------------------------------------------------------------------------------


def test_a_loop_of_a_member_follows_its_group(log, topic):
    """Between two records, when it asks for more."""
    with log.consumer("orders", max_poll_records=1, **QUIET) as one:
        loop = iter(one)
        seen = [next(loop)]
        with log.consumer("orders", **QUIET) as other:
            while len(owned(one)) == 4:
                seen.append(next(loop))
            seen += other.poll()
        while len({(record.partition, record.offset) for record in seen}) < 40:
            seen.append(next(loop))
    assert sorted({record.value for record in seen}) == list(range(40))


def test_columns_of_a_member(log, topic):
    """poll_batches() keeps step as poll() does."""
    with log.consumer("orders", **QUIET) as one, log.consumer("orders", **QUIET) as other:
        batches = []
        while sum(map(len, batches)) < 40:
            batches += one.poll_batches() + other.poll_batches()
        assert sorted(value for batch in batches for value in batch.values) == list(range(40))


def test_seeking_and_pausing_belong_to_one_owner(log, topic):
    """Who gets the partition begins at the committed offset and reads it."""
    with log.consumer("orders", **QUIET) as one:
        one.pause()
        for number in range(4):
            one.seek(("orders", number), 7)
        with log.consumer("orders", **QUIET) as other:
            one.poll()
            assert len(one.paused()) == 2
            assert {record.offset for record in settle(other)} == {7, 8, 9}
            assert one.poll() == []
            one.resume()
            assert {record.offset for record in settle(one)} == {7, 8, 9}


# --- beside the members ---------------------------------------------------------------------------------------------


def test_offsets_by_hand_are_for_partitions_that_no_live_member_owns(log, topic):
    """A consumer of the group without topics may read what it likes, and commit what is free."""
    log.topic("other")
    with log.consumer("orders", **QUIET) as member, log.consumer(group="g", auto_commit=False) as hand:
        hand.assign([("orders", 0), ("other", 0)])
        with pytest.raises(eventlog.MemberFenced, match=r"no member.*owns it since epoch"):
            hand.commit({("orders", 0): 5, ("other", 0): 0})
        assert (hand.committed(("orders", 0)), hand.committed(("other", 0))) == (None, None)
        hand.commit({("other", 0): 0})
        assert hand.committed(("other", 0)) == 0
        member.close()
        hand.commit({("orders", 0): 5})
        assert hand.committed(("orders", 0)) == 5


def test_assigned_by_hand_nothing_is_shared(log, topic):
    """Two consumers of a group may read the same partition so."""
    with log.consumer(group="g", auto_commit=False) as one, log.consumer(group="g", auto_commit=False) as other:
        for consumer in (one, other):
            consumer.assign([("orders", 0)])
            assert values(poll_all(consumer, 10)) == list(range(10))


# --- one process, several logs --------------------------------------------------------------------------------------


def test_two_logs_of_one_directory_share_a_group(path):
    """And the log that closes takes its members with it."""
    with eventlog.open(path) as log:
        topic = log.topic("orders", partitions=4, value=int)
        second = eventlog.open(path)
        one, other = log.consumer("orders", **QUIET), second.consumer("orders", **QUIET)
        topic.append_many(range(40), partition=2)
        assert sorted(values(settle(one, other))) == list(range(40))
        assert len(owned(other)) == 2
        second.close()
        assert settle(one) == []
        assert owned(one) == [0, 1, 2, 3]
        with pytest.raises(eventlog.LogClosed):
            other.poll()


def test_a_member_that_was_dropped_leaves_its_partitions(log, topic):
    """With its last reference its lock is free; nothing is committed, and nobody waits for the lease to end."""
    one = log.consumer("orders", on_assigned=lambda partitions: None, **QUIET)
    one.poll()
    with log.consumer("orders", **QUIET) as other:
        assert owned(other) == []
        gc.disable()
        try:
            del one
            other.poll()
        finally:
            gc.enable()
        assert owned(other) == [0, 1, 2, 3]
        other.seek_to_beginning()
        records = poll_all(other, 40)
        assert sorted(values(records)) == list(range(40))


def test_dropped_members_leave_no_files_open(log, topic):
    """Neither their own sign of life, nor what they watched the others by."""
    with log.consumer("orders", **QUIET) as kept:
        members = [log.consumer("orders", **QUIET) for _ in range(5)]
        settle(kept, *members)
        before = descriptor_count()
        for _ in range(3):
            more = [log.consumer("orders", **QUIET) for _ in range(5)]
            settle(kept, *members, *more)
            del more
            settle(kept, *members)
        assert descriptor_count() <= before + 1


def test_a_log_that_is_opened_again_has_no_members(path):
    """Those of a log that was never closed are dead, and the first who joins sees it."""
    log = eventlog.open(path)
    log.topic("orders", partitions=2)
    consumer = log.consumer("orders", **QUIET)
    member_id = consumer._core.membership.member_id
    consumer._core.membership._lease.abandon()
    with eventlog.open(path) as again, again.consumer("orders", **QUIET) as other:
        assert owned(other) == [0, 1]
        assert not (path / "members" / member_id).exists()
    log.close()


# --- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"assignor": "fair"}, ValueError),
        ({"assignor": lambda members, partitions: {}}, ValueError),
        ({"assignor": 7}, TypeError),
        ({"instance_id": ""}, ValueError),
        ({"instance_id": 7}, TypeError),
        ({"session_timeout": 0.0}, ValueError),
        ({"session_timeout": "10"}, TypeError),
        ({"max_poll_interval": 0.01}, ValueError),
    ],
)
def test_options_out_of_their_bounds_make_no_member(log, topic, options, error):
    """The group is as it was."""
    with pytest.raises(error, match=r"Nothing was"):
        log.consumer("orders", **QUIET, **options)
    with log.consumer("orders", **QUIET) as consumer:
        assert owned(consumer) == [0, 1, 2, 3]


def test_a_member_that_can_not_begin_is_none(log, topic):
    """The others go on with everything."""
    with log.consumer("orders", **QUIET) as one:
        settle(one)
        with pytest.raises(eventlog.UnknownTopic, match="nothing"):
            log.consumer("orders", "nothing", **QUIET)
        settle(one)
        assert owned(one) == [0, 1, 2, 3]
    with pytest.raises(eventlog.OffsetOutOfRange, match="offset 11"):
        log.consumer("orders", group="new", start=11)
    with log.consumer("orders", group="new", start=10) as consumer:
        assert owned(consumer) == [0, 1, 2, 3]


def test_another_assignor_than_the_groups_is_refused(log, topic):
    """As long as it has members."""
    one = log.consumer("orders", **QUIET)
    with pytest.raises(eventlog.GroupMismatch, match=r"'range'.*1 members use 'sticky'"):
        log.consumer("orders", assignor="range", **QUIET)
    assert one.poll()
    one.close()
    with log.consumer("orders", assignor="range", **QUIET) as other:
        assert owned(other) == [0, 1, 2, 3]


# --- where a group begins -------------------------------------------------------------------------------------------


def test_a_group_that_begins_at_the_end_misses_nothing_after_that(log, topic):
    """What comes while a partition changes hands is for its next owner."""
    with log.consumer("orders", start="latest", **QUIET) as one:
        other = log.consumer("orders", start="latest", **QUIET)
        topic.append(40, partition=0)
        topic.append(41, partition=3)
        assert sorted(values(settle(one, other))) == [40, 41]
        other.close()
    topic.append(42, partition=1)
    with log.consumer("orders", start="latest", **QUIET) as consumer:
        assert values(settle(consumer)) == [42]


def test_a_members_offset_out_of_range_is_told_and_mended(log, topic):
    """Deleting records under the group's position stops its owner, not the group."""
    with log.consumer("orders", **QUIET) as one:
        one.commit({("orders", number): 2 for number in range(4)})
    topic.delete_records({0: 5})
    with log.consumer("orders", **QUIET) as one:
        with pytest.raises(eventlog.OffsetOutOfRange, match="offset 2"):
            poll_all(one, 30)
        one.seek_to_beginning(("orders", 0))
        assert TopicPartition("orders", 0) in {TopicPartition(r.topic, r.partition) for r in settle(one)}


# --- time -----------------------------------------------------------------------------------------------------------


def test_a_busy_member_looks_seldom_and_follows_all_the_same(log, topic, monkeypatch):
    """With records at hand it looks at its group every 2 ms, so a tight loop costs little."""
    time, notes = hold_time(monkeypatch), Notes()
    with log.consumer("orders", max_poll_records=1, **notes.callbacks(), **QUIET) as one:
        one.poll()
        assert notes.take() == [("assigned", [0, 1, 2, 3])]
        topic.append(40, partition=0)
        one.poll()
        with log.consumer("orders", **QUIET):
            one.poll()
            assert notes.take() == [], "it looked a moment ago"
            time.now_s += 0.003
            one.poll()
            assert [what for what, _ in notes.take()] == ["revoked"]
