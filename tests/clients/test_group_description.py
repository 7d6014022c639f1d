"""What people see of groups: which there are, who their members are, where they stand."""

from __future__ import annotations

import os
import re

import pytest

import eventlog
from eventlog import TopicPartition
from eventlog.store.groups.reader import group_snapshot
from tests.clients.members import settle
from tests.processes.child import Child, say


@pytest.fixture
def orders(disk_log):
    """Ten numbers in each of two partitions."""
    topic = disk_log.topic("orders", value=int, partitions=2)
    for partition in range(2):
        for number in range(10):
            topic.append(number, partition=partition)
    return topic


@pytest.fixture
def billing(disk_log, orders):
    """A group without members that stands at 4 and 6."""
    stand(disk_log, "billing", {("orders", 0): 4, ("orders", 1): 6})
    return disk_log.groups


def stand(log, group, offsets):
    """Commits for a group, as a consumer that is no member."""
    with log.consumer(group=group) as consumer:
        consumer.commit(offsets)


def is_a_member(path):
    """In another process: a member, until it is killed."""
    with eventlog.open(path) as log, log.consumer("orders", group="billing") as consumer:
        say("joined")
        for _ in consumer:
            pass


def test_a_log_has_no_groups_at_first(log):
    """The list is empty, and asking for one says what is there."""
    assert log.groups.list() == []
    with pytest.raises(eventlog.UnknownGroup, match=r"describe group 'billing': it has neither members nor offsets"):
        log.groups.describe("billing")


def test_groups_with_offsets_and_groups_with_members_are_listed(disk_log, orders):
    """Sorted by name; a group that is left without a trace is gone."""
    stand(disk_log, "second", {("orders", 0): 1})
    with disk_log.consumer(orders, group="first", auto_commit=False):
        assert disk_log.groups.list() == ["first", "second"]
    assert disk_log.groups.list() == ["second"]
    with pytest.raises(eventlog.UnknownGroup):
        disk_log.groups.describe("first")


def test_a_group_without_members_is_empty_and_has_its_lag(disk_log, billing):
    """All partitions with offsets are there, with their bounds."""
    group = billing.describe("billing")
    assert (group.name, group.state, group.members, group.assignor, group.lag) == ("billing", "empty", (), None, 10)
    times = [place.committed_ms for place in group.offsets]
    assert group.offsets == (
        eventlog.PartitionOffsets("orders", 0, 4, times[0], 0, 10, 6, None),
        eventlog.PartitionOffsets("orders", 1, 6, times[1], 0, 10, 4, None),
    )


def test_each_offset_tells_when_it_was_committed(disk_log, orders):
    """By the clock of the log that committed or reset it; none where there is no offset."""
    now_ms = disk_log._store.clock.now_ms
    with disk_log.consumer("orders", group="billing", auto_commit=False) as consumer:
        before = now_ms()
        consumer.commit({("orders", 0): 4})
        between = now_ms()
        first, second = disk_log.groups.describe("billing").offsets
        assert before <= first.committed_ms <= between
        assert second.committed_ms is None
    disk_log.groups.reset_offsets("billing", to="latest", partitions=[("orders", 1)])
    again, second = disk_log.groups.describe("billing").offsets
    assert again.committed_ms == first.committed_ms
    assert between <= second.committed_ms <= now_ms()


def test_members_are_described_in_the_order_in_which_they_joined(disk_log, orders):
    """Who they are, what they want and what they own; their partitions name them."""
    pattern = re.compile("ord.*")
    with (
        disk_log.consumer("orders", group="billing", instance_id="one", assignor="range") as first,
        disk_log.consumer(pattern, group="billing", assignor="range") as second,
    ):
        settle(first, second)
        group = disk_log.groups.describe("billing")
    one, two = group.members
    assert (group.state, group.assignor) == ("stable", "range")
    assert (one.instance_id, one.topics, one.patterns, one.state) == ("one", ("orders",), (), "alive")
    assert (two.instance_id, two.topics, two.patterns, two.state) == (None, (), ("ord.*",), "alive")
    assert one.process_id == two.process_id == os.getpid()
    assert one.joined_ms <= two.joined_ms
    assert (one.partitions, two.partitions) == ((TopicPartition("orders", 0),), (TopicPartition("orders", 1),))
    assert [place.member_id for place in group.offsets] == [one.member_id, two.member_id]


def test_while_a_partition_moves_the_group_is_assigning(disk_log, orders):
    """Who waits says for what, and the old owner still has it."""
    with disk_log.consumer("orders", group="billing") as first:
        first.poll(max_records=1)
        with disk_log.consumer("orders", group="billing") as second:
            second.poll()
            group = disk_log.groups.describe("billing")
            assert group.state == "assigning"
            assert [len(member.partitions) for member in group.members] == [2, 0]
            (waiting,) = group.members[1].waits_for
            assert waiting in group.members[0].partitions
            settle(first, second)
            assert disk_log.groups.describe("billing").state == "stable"


def test_without_a_committed_offset_all_that_a_partition_holds_is_lag(disk_log, orders):
    """A new group of a full topic is behind, and says so from its first moment."""
    with disk_log.consumer("orders", group="billing", auto_commit=False):
        group = disk_log.groups.describe("billing")
    assert [(place.committed, place.lag) for place in group.offsets] == [(None, 10), (None, 10)]
    assert group.lag == 20


def test_the_partitions_of_a_deleted_topic_are_not_described(disk_log, orders, billing):
    """Its offsets are gone with it, and what a member owned of it has no name."""
    disk_log.topic("others").append(b"tea")
    stand(disk_log, "billing", {("others", 0): 1})
    disk_log.delete_topic("orders")
    (place,) = disk_log.groups.describe("billing").offsets
    assert (place.topic, place.committed) == ("others", 1)


def test_a_member_whose_process_was_killed_is_not_shown_as_alive(path, disk_log, orders):
    """Nobody has removed it yet: its row is there, and says "dead"."""
    with Child(is_a_member, str(path)) as child:
        child.hear("joined")
        (member,) = disk_log.groups.describe("billing").members
        assert (member.state, member.process_id) == ("alive", child.process_id)
        child.kill()
    group = disk_log.groups.describe("billing")
    assert [member.state for member in group.members] == ["dead"]
    assert group.state == "empty"


def test_a_group_of_which_all_are_away_is_empty(disk_log, orders):
    """The places are kept until the sessions end; but nobody is at work, and a reset is not refused."""
    with disk_log.consumer("orders", group="billing", instance_id="one") as consumer:
        consumer.poll(max_records=1)
    group = disk_log.groups.describe("billing")
    assert ([member.state for member in group.members], group.state) == (["away"], "empty")
    assert len(group.members[0].partitions) == 2
    disk_log.groups.reset_offsets("billing", to="latest")


def test_a_group_of_which_one_is_away_waits_for_it(disk_log, orders):
    """Who is there has what is due to it: nothing moves, and the group is not empty."""
    with disk_log.consumer("orders", group="billing") as first:
        with disk_log.consumer("orders", group="billing", instance_id="one") as second:
            settle(first, second)
        first.poll(max_records=1)
        group = disk_log.groups.describe("billing")
    assert ([member.state for member in group.members], group.state) == (["alive", "away"], "stable")


def test_what_is_remembered_of_members_outlives_the_map(path, disk_log, orders):
    """A log that is opened again at another address compares rows with what it read before."""
    disk_log.close()
    with Child(is_a_member, str(path)) as child:
        child.hear("joined")
        for size in (1 << 40, 1 << 39, 1 << 38):
            with eventlog.open(path, map_size=size) as log:
                assert len(group_snapshot(log._store.environment, "billing").group.members) == 1
