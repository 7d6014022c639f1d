"""Which partitions count as later ones, whose first records a group must not miss."""

from __future__ import annotations

from eventlog.groups.assignment import later, propose
from eventlog.groups.assignors import sticky
from eventlog.store.groups.reader import group_snapshot


def snapshot_of(log, group):
    """A group and all topics, as they are stored now."""
    return group_snapshot(log._store.environment, group)


def numbers(found):
    """The partitions of an answer, by topic and number."""
    return sorted((row.name, number) for row, number in found)


def test_a_partition_that_changes_hands_is_no_later_one(log):
    """Its owner died before it noted where the group begins: the next one begins where the group is told to."""
    log.topic("orders", partitions=2)
    with log.consumer("orders", group="billing"):
        seen = snapshot_of(log, "billing")
    [member] = seen.group.members.values()
    orphaned = member._replace(owned={}, target=frozenset())
    seen = seen._replace(group=seen.group._replace(members={member.id: orphaned}))
    assert later(seen, propose(seen, "sticky", sticky)) == []


def test_partitions_and_topics_that_appear_are_later_ones(log):
    """Nobody was there to say where the group begins in them."""
    log.topic("orders", partitions=2)
    log.topic("other")
    with log.consumer("orders", "other", group="billing"):
        log.topic("orders").create_partitions(3)
        seen = snapshot_of(log, "billing")
        assert numbers(later(seen, propose(seen, "sticky", sticky))) == [("orders", 2)]


def test_nothing_is_later_for_a_group_that_begins(log):
    """It has no past."""
    log.topic("orders", partitions=2)
    with log.consumer("orders", group="billing"):
        seen = snapshot_of(log, "billing")
    seen = seen._replace(group=seen.group._replace(target_epoch=0))
    assert later(seen, propose(seen, "sticky", sticky)) == []
