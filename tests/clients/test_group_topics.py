"""What a group reads: several topics, members that want different ones, patterns, and what comes or goes later."""

from __future__ import annotations

import re

import pytest

import eventlog
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


def test_a_named_topic_that_is_deleted_is_an_error_of_every_poll(log):
    """What else the member has it keeps, and it is read no more: the program has to say what it wants."""
    log.topic("keep")
    log.topic("orders")
    with log.consumer("keep", "orders", **QUIET) as consumer:
        consumer.poll()
        log.delete_topic("orders")
        for _ in range(2):
            with pytest.raises(eventlog.UnknownTopic, match="orders"):
                consumer.poll()
        assert owned_pairs(consumer) == {("keep", 0)}


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
