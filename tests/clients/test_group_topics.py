"""What a group reads: several topics, members that want different ones, patterns, and what comes or goes later."""

from __future__ import annotations

import contextlib
import re

import pytest

import eventlog
from eventlog.clients.consumer.fetcher import Fetcher
from tests.clients.helpers import last_transaction, poll_all, values
from tests.clients.members import QUIET, Notes, owned, owned_pairs, settle

LATE = QUIET | {"start": "latest"}


def pairs(topic, count):
    """All partitions of a topic."""
    return {(topic, number) for number in range(count)}


def test_several_topics_are_shared_as_one(log):
    """Nobody has much more than another, over all topics."""
    for name in ("orders", "payments", "refunds"):
        log.topic(name, partitions=2)
    with log.consumer("orders", "payments", "refunds", **QUIET) as one:
        with log.consumer(log.topic("orders"), "payments", "refunds", **QUIET) as other:
            settle(one, other)
            assert len(one.assignment()) == len(other.assignment()) == 3
            assert owned_pairs(one) | owned_pairs(other) == {
                (name, number) for name in ("orders", "payments", "refunds") for number in range(2)
            }


def test_members_want_different_topics(log):
    """A partition goes to one who wants it, and leaves with the last of them."""
    log.topic("orders", partitions=2)
    log.topic("payments", partitions=2)
    with log.consumer("orders", **QUIET) as one, log.consumer("payments", **QUIET) as other:
        settle(one, other)
        assert owned_pairs(one) == pairs("orders", 2)
        assert owned_pairs(other) == pairs("payments", 2)
        with log.consumer("orders", "payments", **QUIET) as both:
            settle(one, other, both)
            assert owned_pairs(one) <= pairs("orders", 2)
            assert owned_pairs(other) <= pairs("payments", 2)
            assert len(owned_pairs(one) | owned_pairs(other) | owned_pairs(both)) == 4
        settle(one, other)
        assert owned_pairs(one) == pairs("orders", 2)


def test_a_topic_that_nobody_wants_any_more_keeps_its_offsets(log):
    """Who wants it again goes on where the group was."""
    for name in ("orders", "payments"):
        log.topic(name, value=int).append_many(range(10))
    with log.consumer("orders", **QUIET) as one:
        with log.consumer("payments", **QUIET) as other:
            assert len(settle(other)) == 10
        settle(one)
        assert owned_pairs(one) == pairs("orders", 1)
    log.topic("payments").append(10)
    with log.consumer("payments", **QUIET) as other:
        assert values(settle(other)) == [10]


# --- patterns -------------------------------------------------------------------------------------------------------


def test_a_pattern_matches_whole_names(log):
    """And is read with its flags."""
    for name in ("orders.de", "orders.fr", "old-orders.de", "ORDERS.it", "payments"):
        log.topic(name)
    with log.consumer(re.compile(r"orders\..+"), **QUIET) as consumer:
        assert {topic for topic, _ in owned_pairs(consumer)} == {"orders.de", "orders.fr"}
    with log.consumer(re.compile(r"orders\..+", re.IGNORECASE), "payments", group="other") as consumer:
        assert {topic for topic, _ in owned_pairs(consumer)} == {"orders.de", "orders.fr", "ORDERS.it", "payments"}


def test_a_pattern_of_bytes_is_refused(log):
    """Names are text."""
    with pytest.raises(TypeError, match=r"one of str.*Nothing was made"):
        log.consumer(re.compile(b"orders"), **QUIET)


def test_a_pattern_that_matches_nothing_waits(log):
    """What it matches later is taken at the next poll, from the first record."""
    with log.consumer(re.compile("orders.*"), **LATE) as consumer:
        assert consumer.poll() == []
        assert consumer.assignment() == []
        log.topic("orders-1", value=int).append_many(range(3))
        assert values(consumer.poll()) == [0, 1, 2]


def test_a_topic_that_appears_is_shared(log):
    """By all whose pattern matches it, without a word from anybody."""
    with log.consumer(re.compile(".*"), **QUIET) as one, log.consumer(re.compile(".*"), **QUIET) as other:
        log.topic("orders", partitions=4, value=int).append_many(range(20), partition=2)
        assert values(settle(one, other)) == list(range(20))
        assert len(owned(one)) == len(owned(other)) == 2


def test_a_topic_of_a_pattern_that_is_deleted_is_lost(log):
    """`on_lost` says so, and the consumer goes on with the others."""
    notes = Notes()
    log.topic("keep", partitions=1, value=int)
    log.topic("gone", partitions=2)
    with log.consumer(re.compile(".*"), **QUIET, **notes.callbacks()) as consumer:
        consumer.poll()
        notes.take()
        log.delete_topic("gone")
        log.topic("keep").append(1)
        assert values(consumer.poll()) == [1]
        assert notes.take() == [("lost", [0, 1])]
        assert owned_pairs(consumer) == {("keep", 0)}


def test_a_topic_made_anew_under_a_patterns_name_is_another(log):
    """It begins at its first record, whatever was committed for the old one."""
    notes = Notes()
    old = log.topic("orders", value=int)
    old.append_many(range(5))
    with log.consumer(re.compile("orders"), **QUIET, **notes.callbacks()) as consumer:
        assert len(poll_all(consumer, 5)) == 5
        notes.take()
        log.delete_topic("orders")
        log.topic("orders", value=int).append_many([10, 11])
        assert values(settle(consumer)) == [10, 11]
        assert notes.take() == [("lost", [0]), ("assigned", [0])]


@pytest.mark.parametrize("options", [QUIET, {}], ids=["member", "no group"])
def test_one_of_several_topics_is_deleted_and_the_others_are_read_on(log, options, caplog):
    """As Kafka does it: a warning once, `on_lost` for a member, and a new topic of that name is read."""
    notes = Notes()
    log.topic("keep", value=int)
    log.topic("orders", value=int, partitions=2)
    callbacks = notes.callbacks() if options else {}
    with log.consumer("keep", "orders", **options, **callbacks) as consumer:
        consumer.poll()
        notes.take()
        log.delete_topic("orders")
        log.topic("keep").append(1)
        assert values(consumer.poll()) == [1]
        assert notes.take() == ([("lost", [0, 1])] if options else [])
        assert owned_pairs(consumer) == {("keep", 0)}
        for _ in range(3):
            assert consumer.poll() == []
        assert [record.getMessage() for record in caplog.records] == [
            "topic 'orders' of a consumer was deleted; it goes on with the others, and reads a new topic of that name"
        ]
        log.topic("orders", value=str).append("new")
        assert values(settle(consumer)) == ["new"]
        assert owned_pairs(consumer) == {("keep", 0), ("orders", 0)}
        log.delete_topic("orders")
        consumer.poll()
        assert len(caplog.records) == 2, "it was deleted again"


@pytest.mark.parametrize("options", [QUIET, {}], ids=["member", "no group"])
def test_a_topic_deleted_and_made_again_before_the_next_poll_is_another(log, options):
    """Nothing of the old one is read, and nothing is raised."""
    log.topic("keep", value=int)
    log.topic("orders", value=int).append_many(range(5))
    with log.consumer("keep", "orders", **options) as consumer:
        assert len(poll_all(consumer, 5)) == 5
        log.delete_topic("orders")
        log.topic("orders", value=str).append("new")
        assert values(settle(consumer)) == ["new"]


@pytest.mark.parametrize("options", [QUIET, {}], ids=["member", "no group"])
def test_a_consumer_of_which_nothing_is_left_says_so_at_every_poll(log, options, caplog):
    """It reads on when one of them is made again."""
    log.topic("one")
    log.topic("two", value=int)
    with log.consumer("one", "two", **options) as consumer:
        consumer.poll()
        log.delete_topic("one")
        log.delete_topic("two")
        for _ in range(2):
            with pytest.raises(eventlog.UnknownTopic, match="'one': it was deleted"):
                consumer.poll()
        assert consumer.assignment() == []
        assert not caplog.records, "an error says it already"
        log.topic("two", value=int).append(1)
        assert values(settle(consumer)) == [1]


@pytest.mark.parametrize("options", [QUIET, {}], ids=["member", "no group"])
@pytest.mark.parametrize("is_left", [True, False])
def test_a_topic_that_is_deleted_while_a_poll_looks_stops_nobody(log, options, is_left, monkeypatch):
    """Between the look at the topics and the fetch."""
    log.topic("keep", value=int)
    log.topic("orders", value=int)
    fetch = Fetcher.take
    doomed = ["orders"] if is_left else ["orders", "keep"]

    def delete_and_fetch(self, *arguments, **kinds):
        while doomed:
            log.delete_topic(doomed.pop())
        return fetch(self, *arguments, **kinds)

    with log.consumer("keep", "orders", **options) as consumer:
        consumer.poll()
        log.topic("keep").append(1)
        monkeypatch.setattr(Fetcher, "take", delete_and_fetch)
        if is_left:
            assert values(poll_all(consumer, 1)) == [1]
        else:
            with pytest.raises(eventlog.UnknownTopic):
                consumer.poll()


def test_nobody_waits_for_a_member_whose_topic_was_deleted(log):
    """What another member owns is read, and what it does not want is given away."""
    log.topic("one")
    two = log.topic("two", value=int)
    with log.consumer("one", "two", **QUIET) as first:
        first.poll()
        log.delete_topic("one")
        with log.consumer("two", **QUIET) as second:
            two.append_many(range(10))
            assert len(settle(first, second)) == 10
            assert len(owned(first)) + len(owned(second)) == 1


@pytest.mark.parametrize("is_named", [True, False])
def test_a_commit_leaves_out_the_positions_of_a_deleted_topic(log, is_named):
    """One that names them is refused; the others are stored."""
    for name in ("one", "two"):
        log.topic(name, value=int).append_many(range(3))
    with log.consumer("one", "two", **QUIET) as consumer:
        assert len(poll_all(consumer, 6)) == 6
        log.delete_topic("one")
        if is_named:
            with pytest.raises(eventlog.UnknownTopic, match="one"):
                consumer.commit({("one", 0): 3, ("two", 0): 3})
        else:
            consumer.commit()
        assert consumer.committed(("two", 0)) == (None if is_named else 3)


def test_chosen_partitions_of_a_deleted_topic_are_an_error_in_their_turn(log):
    """Who chose them has to choose again; the others are read in between."""
    for name in ("one", "two"):
        log.topic(name, value=int).append_many(range(3))
    with log.consumer(group="g") as consumer:
        consumer.assign([("one", 0), ("two", 0)])
        log.delete_topic("one")
        found = []
        for _ in range(4):
            with contextlib.suppress(eventlog.UnknownTopic):
                found += values(consumer.poll())
        assert found == [0, 1, 2]
        consumer.assign([("two", 0)])
        assert consumer.poll() == []


def test_a_pattern_without_a_group_takes_everything(log):
    """Later topics too, from their first record."""
    log.topic("orders-1", value=int).append(1)
    with log.consumer(re.compile("orders-.*"), start="latest") as consumer:
        assert consumer.poll() == []
        log.topic("orders-2", value=int).append(2)
        log.topic("payments", value=int).append(3)
        assert values(consumer.poll()) == [2]
        log.delete_topic("orders-1")
        log.topic("orders-2").append(4)
        assert values(consumer.poll()) == [4]
        assert owned_pairs(consumer) == {("orders-2", 0)}


# --- partitions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [QUIET, LATE], ids=["earliest", "latest"])
def test_partitions_that_appear_are_shared_from_their_first_record(log, options):
    """What was appended before anybody had them is read too, wherever the group began."""
    topic = log.topic("orders", partitions=2, value=int)
    with log.consumer("orders", **options) as one, log.consumer("orders", **options) as other:
        settle(one, other)
        topic.create_partitions(6)
        for number in range(6):
            topic.append_many([number] * 3, partition=number)
        assert sorted(values(settle(one, other))) == sorted([*range(6)] * 3)
        assert len(owned(one)) == len(owned(other)) == 3


def test_partitions_that_appear_are_told_of(log):
    """To who gets them, and nothing else is assigned again."""
    notes = Notes()
    topic = log.topic("orders", partitions=1)
    with log.consumer("orders", **QUIET, **notes.callbacks()) as consumer:
        consumer.poll()
        assert notes.take() == [("assigned", [0])]
        topic.create_partitions(3)
        consumer.poll()
        assert notes.take() == [("assigned", [1, 2])]


def test_a_group_that_begins_late_has_the_beginning_of_what_came_later(log):
    """Also when nobody was there in between: a topic that is younger than its last assignment is read from 0."""
    log.topic("orders-1", value=int).append(0)
    with log.consumer(re.compile("orders-.*"), **LATE) as consumer:
        assert consumer.poll() == []
    log.topic("orders-2", value=int).append(1)
    with log.consumer(re.compile("orders-.*"), **LATE) as consumer:
        assert values(consumer.poll()) == [1]


def test_a_group_that_begins_late_begins_late_in_older_topics(log):
    """A topic that was there before, and is wanted only now, begins where `start` says."""
    log.topic("orders", value=int)
    log.topic("payments", value=int).append(1)
    with log.consumer("orders", **LATE) as consumer:
        consumer.poll()
    with log.consumer("orders", "payments", **LATE) as consumer:
        assert consumer.poll() == []
        log.topic("payments").append(2)
        assert values(consumer.poll()) == [2]


def test_other_topics_are_none_of_a_members_business(log):
    """What is created, deleted or widened elsewhere moves nothing, and costs it one look."""
    notes = Notes()
    log.topic("orders", partitions=2)
    log.topic("other")
    with log.consumer("orders", **QUIET, **notes.callbacks()) as consumer:
        consumer.poll()
        notes.take()
        log.topic("new")
        log.topic("other").create_partitions(2)
        log.delete_topic("other")
        before = last_transaction(log)
        for _ in range(5):
            consumer.poll()
        assert notes.take() == []
        assert last_transaction(log) - before <= 1
