"""
What may not grow with partitions, records or groups, or no faster than they do: counted, since time says little.

How long things take is told by `python -m benchmarks.compare.growth`.
"""

from __future__ import annotations

from typing import ClassVar

import attrs

from eventlog.groups.state import Member
from tests.clients.members import QUIET, owned, settle


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
