"""What the tests of groups share: members that note what they are told, and a clock that stands still."""

from __future__ import annotations

from typing import Any

import attrs

import eventlog
from eventlog.clock import SystemClock
from tests.clients.helpers import round_count

QUIET: dict[str, Any] = {"group": "g", "auto_commit_interval": 1e6}
"""A member that commits when it gives something up, and at no other time."""


@attrs.define(eq=False)
class Notes:
    """The calls of a member's callbacks, in order."""

    told: list[tuple[str, list[int]]] = attrs.Factory(list)

    def callbacks(self) -> dict[str, Any]:
        """The options of a consumer."""
        return {
            "on_assigned": lambda partitions: self.note("assigned", partitions),
            "on_revoked": lambda partitions: self.note("revoked", partitions),
            "on_lost": lambda partitions: self.note("lost", partitions),
        }

    def note(self, what: str, partitions: list[eventlog.TopicPartition]) -> None:
        """Notes one call."""
        assert type(partitions) is list
        assert all(type(tp) is eventlog.TopicPartition for tp in partitions)
        self.told.append((what, [tp.partition for tp in partitions]))

    def take(self) -> list[tuple[str, list[int]]]:
        """What was noted since it was asked last."""
        told, self.told = self.told, []
        return told


@attrs.define(eq=False)
class HeldTime:
    """A monotonic clock that moves when it is told to."""

    now_s: float = 1000.0


def hold_time(monkeypatch: Any) -> HeldTime:
    """Stops the clock of every log; whoever waits with a timeout waits for ever."""
    time = HeldTime()
    monkeypatch.setattr(SystemClock, "monotonic", lambda _: time.now_s)
    return time


def owned(consumer: Any) -> list[int]:
    """The numbers of the partitions that a consumer has, of one topic or of all, sorted."""
    return sorted(tp.partition for tp in consumer.assignment())


def owned_pairs(consumer: Any) -> set[tuple[str, int]]:
    """The partitions that a consumer has."""
    return {tuple(tp) for tp in consumer.assignment()}


def settle(*consumers: Any) -> list[Any]:
    """Has members poll in turn until nothing moves and nothing comes; the records that came."""
    records: list[Any] = []
    quiet = 0
    for _ in range(100):
        before = [owned_pairs(consumer) for consumer in consumers]
        came = [record for consumer in consumers for record in consumer.poll()]
        records += came
        is_quiet = not came and before == [owned_pairs(consumer) for consumer in consumers]
        quiet = quiet + 1 if is_quiet else 0
        if quiet == 2:
            return records
    raise AssertionError("the group does not come to rest")


def rounds_while(log: eventlog.EventLog, do: Any) -> int:
    """How many transactions something costs."""
    before = round_count(log)
    do()
    return round_count(log) - before
