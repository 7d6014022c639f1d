"""What a change of a group may do to the others of its round: nothing."""

from __future__ import annotations

import eventlog
from eventlog.backend.groups import Shifted
from eventlog.store.groups.admin import ResetOffsets
from eventlog.store.records.append import AppendOne


def test_a_reset_that_makes_no_sense_fails_nobody_else(log: eventlog.EventLog):
    """A shift where the group has no offset is the caller's error, and an append of the same round is stored."""
    topic = log.topic("orders", partitions=2)
    with log.consumer(group="billing") as consumer:
        consumer.commit({("orders", 0): 0})
    store = log._store
    reset = ResetOffsets(
        "billing", Shifted(1), [(topic._route.row, None)], 1, members=store.members, is_forced=False, is_dry=False
    )
    append = AppendOne(topic._route.row, 0, None, b"tea", (), 1)
    store.committer.submit(reset)
    store.committer.submit(append)
    store.committer.commit_queued()
    assert isinstance(reset.error, ValueError)
    assert append.error is None
    assert topic.bounds() == {0: (0, 1), 1: (0, 0)}


def test_a_shift_of_a_group_without_offsets_fails_nobody_else(log: eventlog.EventLog):
    """It has members and nothing to shift: the caller's error, too."""
    topic = log.topic("orders")
    store = log._store
    with log.consumer("orders", group="billing"):
        reset = ResetOffsets("billing", Shifted(1), None, 1, members=store.members, is_forced=True, is_dry=False)
        append = AppendOne(topic._route.row, 0, None, b"tea", (), 1)
        store.committer.submit(reset)
        store.committer.submit(append)
        store.committer.commit_queued()
    assert isinstance(reset.error, ValueError)
    assert append.error is None
    assert topic.bounds() == {0: (0, 1)}
