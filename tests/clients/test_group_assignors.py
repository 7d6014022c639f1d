"""Who gets what: the assignors by name, and functions of the user's, whatever they answer."""

from __future__ import annotations

import pytest

import eventlog
from eventlog import TopicPartition
from tests.clients.helpers import values
from tests.clients.members import QUIET, owned, owned_pairs, settle


@pytest.fixture
def topic(log):
    """Five partitions with a number each."""
    topic = log.topic("orders", partitions=5, value=int)
    for number in range(5):
        topic.append(number, partition=number)
    return topic


@pytest.mark.parametrize(
    ("assignor", "shares"),
    [("range", [[0, 1, 2], [3, 4]]), ("roundrobin", [[0, 2, 4], [1, 3]])],
)
def test_assignors_by_name(log, topic, assignor, shares):
    """They go by the order of joining, and every record is read once."""
    with log.consumer("orders", assignor=assignor, **QUIET) as one:
        with log.consumer("orders", assignor=assignor, **QUIET) as other:
            assert sorted(values(settle(one, other))) == [0, 1, 2, 3, 4]
            assert [owned(one), owned(other)] == shares


def test_range_brings_equal_keys_of_two_topics_together(log):
    """Topics with as many partitions are divided alike."""
    for name in ("orders", "payments"):
        log.topic(name, partitions=4)
    with log.consumer("orders", "payments", assignor="range", **QUIET) as one:
        with log.consumer("orders", "payments", assignor="range", **QUIET) as other:
            settle(one, other)
            for member in (one, other):
                by_topic = [{number for name, number in owned_pairs(member) if name == topic} for topic in log.topics()]
                assert by_topic[0] == by_topic[1]


CALLS = []
ANSWERS = {}


def all_to_the_first(members, partitions):
    """Gives everything to who joined first."""
    CALLS.append((members, partitions))
    return {members[0].member_id: partitions}


def as_told(members, partitions):
    """Answers what the test wants."""
    return ANSWERS["answer"](members, partitions)


def test_a_function_decides(log, topic):
    """It sees members in the order of joining, what they had, and every partition; it runs in nobody's transaction."""
    CALLS.clear()
    with log.consumer("orders", assignor=all_to_the_first, **QUIET) as one:
        with log.consumer("orders", assignor=all_to_the_first, instance_id="right", **QUIET) as other:
            settle(one, other)
            assert (len(owned(one)), len(owned(other))) == (5, 0)
            members, partitions = CALLS[-1]
            assert list(partitions) == [TopicPartition("orders", number) for number in range(5)]
            assert [member.instance_id for member in members] == [None, "right"]
            assert [member.topics for member in members] == [("orders",), ("orders",)]
            assert [len(member.assigned) for member in members] == [5, 0]
            one.close()
            settle(other)
            assert len(owned(other)) == 5


def test_the_same_function_is_the_same_assignor(log, topic):
    """Another one is refused while there are members."""
    with log.consumer("orders", assignor=all_to_the_first, **QUIET):
        with pytest.raises(eventlog.GroupMismatch, match="all_to_the_first"):
            log.consumer("orders", assignor=as_told, **QUIET)


def fail(members, partitions):
    """Is broken."""
    raise RuntimeError("no idea")


WRONG = [
    (fail, RuntimeError, "no idea"),
    (lambda members, partitions: None, TypeError, "not a mapping"),
    (lambda members, partitions: {}, ValueError, "left out 5 of 5"),
    (lambda members, partitions: {"nobody": partitions}, ValueError, "none of the . members"),
    (lambda members, partitions: {m.member_id: partitions for m in members}, ValueError, "twice"),
    (lambda members, partitions: {members[0].member_id: [*partitions, ("orders", 5)]}, ValueError, "none of the 5"),
]


@pytest.mark.parametrize(("wrong", "error", "words"), WRONG, ids=[words for _, _, words in WRONG])
def test_a_wrong_answer_comes_out_of_poll_and_changes_nothing(log, topic, wrong, error, words):
    """The group keeps its assignment, and goes on as soon as an answer is right."""
    ANSWERS["answer"] = all_to_the_first
    with log.consumer("orders", assignor=as_told, **QUIET) as one:
        other = log.consumer("orders", assignor=as_told, **QUIET)
        assert sorted(values(settle(one, other))) == [0, 1, 2, 3, 4]
        ANSWERS["answer"] = wrong
        with pytest.raises(error, match=words):
            log.consumer("orders", assignor=as_told, **QUIET)
        with pytest.raises(error, match=words):  # whoever polls next has to mend the group, and cannot
            other.poll()
        assert (len(owned(one)), len(owned(other))) == (5, 0)
        ANSWERS["answer"] = all_to_the_first
        topic.append(5, partition=0)
        assert values(settle(one, other)) == [5]
        other.close()
        settle(one)
        assert len(owned(one)) == 5
