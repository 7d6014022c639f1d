"""
What may not grow with partitions, records or groups, or no faster than they do: counted, since time says little.

How long things take is told by `python -m benchmarks.compare.growth`.
"""

from __future__ import annotations

from typing import ClassVar

import attrs
import pytest

from eventlog.clients.positions import Position, Positions
from eventlog.groups.state import Member
from eventlog.store import reader
from tests.clients.helpers import poll_all
from tests.clients.members import QUIET, owned, settle

COUNT = 300


@pytest.fixture
def topic(log):
    """A topic of many partitions, each with two batches."""
    topic = log.topic("orders", partitions=COUNT, key=int)
    for _ in range(2):
        for number in range(COUNT):
            topic.append(b"x", partition=number)
    return topic


def calls_of(monkeypatch, owner, name):
    """A list that gets an item for each call of a function."""
    calls, function = [], getattr(owner, name)

    def counted(*arguments, **options):
        calls.append(name)
        return function(*arguments, **options)

    monkeypatch.setattr(owner, name, counted)
    return calls


def test_a_fetch_that_is_full_does_not_look_at_the_other_partitions(log, topic, monkeypatch):
    """And the next one begins behind it: to read all, each is looked at when it has something, and at the end."""
    consumer = log.consumer("orders", fetch_max_bytes=1)
    looks = calls_of(monkeypatch, reader, "_partition_row")
    assert len(poll_all(consumer, 2 * COUNT)) == 2 * COUNT
    assert len(looks) == 2 * COUNT
    assert consumer.poll() == []
    assert len(looks) == 3 * COUNT


def test_partitions_take_turns_however_little_a_fetch_brings(log, topic):
    """One batch at a time, each of them comes once before one comes twice."""
    consumer = log.consumer("orders", fetch_max_bytes=1)
    assert {record.partition for record in poll_all(consumer, COUNT)} == set(range(COUNT))
    assert {record.offset for record in poll_all(consumer, COUNT)} == {1}


def test_a_poll_that_finds_nothing_new_walks_through_no_partitions(log, topic, monkeypatch):
    """Neither to look for what is fetched, nor to note what is finished."""
    consumer = log.consumer("orders")
    poll_all(consumer, 2 * COUNT)
    assert consumer.poll() == []
    asked = calls_of(monkeypatch, Positions, "next_offset")
    has_fetched = Position.has_fetched.fget
    monkeypatch.setattr(
        Position, "has_fetched", property(lambda self: asked.append("has_fetched") or has_fetched(self))
    )
    assert consumer.poll() == []
    assert asked == []


class Pair(tuple):
    """Is a partition's id that counts how often it is compared with another."""

    __slots__ = ()
    compared: ClassVar[int] = 0

    __hash__ = tuple.__hash__

    def __eq__(self, other: object) -> bool:
        Pair.compared += 1
        return tuple.__eq__(self, other)


def test_giving_up_partitions_compares_each_a_few_times(log, monkeypatch):
    """A list of them to look through would be walked once for each."""
    from eventlog.clients import membership

    def unpacked(member_id, data, unpack=membership.unpack_member):
        member: Member = unpack(member_id, data)
        pairs = {Pair(pair): epoch for pair, epoch in member.owned.items()}
        return attrs.evolve(member, owned=pairs, target=frozenset(map(Pair, member.target)))

    monkeypatch.setattr(membership, "unpack_member", unpacked)
    count = 400
    topic = log.topic("orders", partitions=count, key=int)
    topic.append_many([b"x"] * count * 4, keys=range(count * 4))
    one = log.consumer("orders", max_poll_records=10_000, **QUIET)
    settle(one)
    two = log.consumer("orders", **QUIET)
    Pair.compared = 0
    one.poll()
    assert len(owned(one)) == count // 2
    assert Pair.compared <= 20 * count
    settle(one, two)
    assert sorted(owned(one) + owned(two)) == list(range(count))
