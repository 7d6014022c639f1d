"""What a member commits while it closes, and what it is told when it is none any more."""

from __future__ import annotations

import pytest

import eventlog


def test_a_commit_while_closing_stores_only_what_is_finished(log):
    """An error in the middle of a list: on_revoked commits, and nothing that was not worked on is lost."""
    topic = log.topic("orders")
    topic.append_many([b"x"] * 40)
    consumer = log.consumer(
        "orders", group="billing", auto_commit=False, max_poll_records=10, on_revoked=lambda tps: consumer.commit()
    )

    def work():
        with consumer:
            assert len(consumer.poll()) == 10
            assert len(consumer.poll()) == 10
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    with log.consumer("orders", group="billing") as again:
        assert again.poll()[0].offset == 10


def test_a_commit_while_closing_leaves_the_record_in_hand(log):
    """In a loop the records before it are finished."""
    log.topic("orders").append_many([b"x"] * 5)
    consumer = log.consumer("orders", group="billing", auto_commit=False, on_revoked=lambda tps: consumer.commit())
    with consumer:
        for record in consumer:
            if record.offset == 3:
                break
    with log.consumer("orders", group="billing") as again:
        assert again.poll()[0].offset == 3


def test_a_commit_with_nothing_new_is_fenced_too(log):
    """Who works after the commit must not work when somebody else has the partition."""
    log.topic("orders").append_many([b"x"] * 5)
    with log.consumer("orders", group="billing", auto_commit=False) as consumer:
        consumer.poll()
        consumer.commit()
        consumer.seek(("orders", 0), 0)
        consumer.poll()
        log.groups.reset_offsets("billing", to=5, force=True)
        with pytest.raises(eventlog.MemberFenced, match="removed"):
            consumer.commit()
        assert log.groups.describe("billing").offsets[0].committed == 5


def test_a_member_that_waits_polls(log):
    """However short the longest pause between two polls is, waiting is no pause."""
    log.topic("orders")
    lost = []
    with log.consumer("orders", group="billing", max_poll_interval=0.1, on_lost=lost.append) as consumer:
        assert consumer.poll(timeout=0.5) == []
        assert lost == []
        assert consumer.assignment() == [("orders", 0)]


def test_a_static_member_that_was_replaced_says_so_at_every_poll(log):
    """Its place is taken by a live one; it does not sit there in silence."""
    log.topic("orders")
    options = {"group": "billing", "instance_id": "till-1"}
    with log.consumer("orders", **options) as old:
        log.groups.delete("billing", force=True)
        with log.consumer("orders", **options) as new:
            for _ in range(3):
                with pytest.raises(eventlog.InstanceInUse):
                    old.poll()
            assert new.assignment() == [("orders", 0)]
        log.topic("orders").append(b"x")


@pytest.mark.parametrize(
    "options",
    [
        {"instance_id": "till-1"},
        {"assignor": "range"},
        {"on_assigned": print},
        {"group": "billing", "topics": (), "on_lost": print},
    ],
)
def test_options_of_members_are_refused_where_they_do_nothing(log, options):
    """A consumer that is no member would be silent about it."""
    log.topic("orders")
    with pytest.raises(ValueError, match="members of a group"):
        log.consumer(*options.pop("topics", ("orders",)), **options)


def test_a_callback_is_a_function(log):
    """Said at the call, and not in the middle of a rebalance."""
    log.topic("orders")
    with pytest.raises(TypeError, match="on_revoked must be a function"):
        log.consumer("orders", group="billing", on_revoked="commit")
    assert log.groups.list() == []
