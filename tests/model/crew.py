"""
A group of several members, which poll in any order, and what must be true of it.

Who owns what is the group's business; here it is asked of the members. What is known without asking: a partition has
one owner, it is handed out in order, and when it moves it goes on where its owner stopped. Knows the public API alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import attrs

from eventlog import Consumer, EventLog, OffsetOutOfRange, Record
from tests.model.model import ModelLog, Pair, Row

GROUP = "crew"
MOST_MEMBERS = 3


@attrs.define(eq=False)
class Hand:
    """One member, and the partitions that it had when it polled last."""

    log: EventLog
    consumer: Consumer[Any, Any]
    owned: set[Pair] = attrs.Factory(set)


@attrs.define(eq=False)
class Crew:
    """The members of one group that reads every topic, later ones too."""

    model: ModelLog
    row: Callable[[Record[Any, Any]], Row]
    hands: list[Hand] = attrs.Factory(list)
    handed: dict[Pair, int] = attrs.Factory(dict)
    finished: dict[Pair, int] = attrs.Factory(dict)

    def join(self, log: EventLog) -> None:
        """Has one more member, if that is not too many."""
        if len(self.hands) < MOST_MEMBERS:
            consumer = log.consumer(
                re.compile(".*"), group=GROUP, auto_commit_interval=1e6, session_timeout=1e6, max_poll_interval=1e6
            )
            self.hands.append(Hand(log, consumer))
            self._look(self.hands[-1])

    def poll(self, chosen: int, most: int = 2) -> int:
        """Has one member take the next records; how many there were."""
        hand = self.hands[chosen % len(self.hands)]
        self._finish(hand)
        try:
            records = hand.consumer.poll(max_records=most)
        except OffsetOutOfRange:
            self._look(hand)
            gone = [tp for tp in hand.owned if not self.model.partition(tp).holds(self._next(tp))]
            assert gone, "an offset was refused that is there"
            for tp in gone:
                hand.consumer.seek_to_beginning(tp)
                self.handed[tp] = self.finished[tp] = self.model.partition(tp).first
            return 0
        self._look(hand)
        for record in records:
            tp = (record.topic, record.partition)
            assert tp in hand.owned, "a record of a partition that the member does not own"
            assert record.offset == self._next(tp), "no record is left out, and none comes twice"
            assert self.row(record) == self.model.partition(tp).history[record.offset]
            self.handed[tp] = record.offset + 1
        for tp in hand.owned:
            assert hand.consumer.position(tp) == self._next(tp)
        if not records:
            assert all(self._next(tp) == self.model.partition(tp).end for tp in hand.owned)
        return len(records)

    def settle(self) -> None:
        """Has all poll until nobody gets anything: then everything has an owner, and was handed out."""
        quiet = rounds = 0
        while quiet < 2:
            rounds += 1
            assert rounds < 100, "the crew does not come to rest"
            before = [set(hand.owned) for hand in self.hands]
            came = sum(self.poll(place, 1000) for place in range(len(self.hands)))
            moved = before != [hand.owned for hand in self.hands]
            quiet = 0 if came or moved else quiet + 1
        shares = [hand.owned for hand in self.hands]
        if shares:
            assert set().union(*shares) == set(self.model.pairs(self.model.topics)), "somebody has each partition"
            assert max(map(len, shares)) - min(map(len, shares)) <= 1, "and all have as many"

    def commit(self, chosen: int) -> None:
        """Has one member commit what it was handed, unless a topic of it is gone."""
        hand = self.hands[chosen % len(self.hands)]
        if set(hand.consumer.assignment()) == hand.owned:
            hand.consumer.commit()
            self._finish(hand)

    def leave(self, chosen: int) -> None:
        """Closes one member: what it was handed last comes again, to somebody else."""
        hand = self.hands.pop(chosen % len(self.hands))
        hand.consumer.close()
        self._forget(hand.owned)

    def close_log(self, log: EventLog) -> None:
        """Says that a log was closed, which closed its members."""
        for hand in [hand for hand in self.hands if hand.log is log]:
            self.hands.remove(hand)
            self._forget(hand.owned)

    def delete_topic(self, name: str) -> None:
        """Says that a topic is gone; another of its name begins anew."""
        for offsets in (self.handed, self.finished):
            for tp in [tp for tp in offsets if tp[0] == name]:
                del offsets[tp]
        for hand in self.hands:
            hand.owned = {tp for tp in hand.owned if tp[0] != name}

    def check_committed(self, log: EventLog) -> None:
        """Sees that what was finished is committed, when nobody is left who could."""
        if not self.hands:
            with log.consumer(group=GROUP) as consumer:
                for tp in self.model.pairs(self.model.topics):
                    assert (consumer.committed(tp) or 0) == self.finished.get(tp, 0)

    def _next(self, tp: Pair) -> int:
        return self.handed.get(tp, 0)

    def _finish(self, hand: Hand) -> None:
        for tp in hand.owned:
            self.finished[tp] = self.handed.get(tp, 0)

    def _forget(self, owned: set[Pair]) -> None:
        for tp in owned:
            self.handed[tp] = self.finished.get(tp, 0)

    def _look(self, hand: Hand) -> None:
        """Notes what a member owns after it looked; nobody else may."""
        hand.owned = {(tp.topic, tp.partition) for tp in hand.consumer.assignment()}
        for other in self.hands:
            assert other is hand or not (other.owned & hand.owned), "a partition has two owners"
        for tp in hand.owned - self.handed.keys():  # nobody ever had it
            self.handed[tp] = self.finished[tp] = self.model.partition(tp).first
