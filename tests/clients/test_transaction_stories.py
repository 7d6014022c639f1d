"""Random programs over consumers and transactions, which fail and go on: each record has its effect once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
import pytest

import eventlog
from eventlog.clients.consumer.given_offsets import GivenOffsets

_MOST_ACTS = 3000
_COUNT = 60


class Lost(Exception):
    """The error of a program in the middle of its work."""


@attrs.define
class Story:
    """One program: its log, its members, and chance."""

    log: eventlog.EventLog
    chance: random.Random
    members: list[eventlog.Consumer[Any, Any]] = attrs.Factory(list)
    told: list[str] = attrs.Factory(list)

    def fail(self, share: float = 0.4) -> None:
        """Fails, or does not."""
        if self.chance.random() < share:
            raise Lost

    def send(self, tx: eventlog.Transaction, records: list[Any]) -> None:
        """Sends records on."""
        for record in records:
            tx.send("out", record.value)

    # -- ways to write a loop --------------------------------------------------------------------------------

    def whole(self, consumer: Any) -> None:
        """One transaction that was begun with the consumer."""
        records = consumer.poll()
        with self.log.transaction(consumer) as tx:
            self.fail(0.2)
            self.send(tx, records)
            self.fail()

    def polls_inside(self, consumer: Any) -> None:
        """Several polls in one transaction, while others come and go."""
        with self.log.transaction(consumer) as tx:
            for _ in range(self.chance.randrange(1, 6)):
                self.send(tx, consumer.poll(max_records=2))
                if self.chance.random() < 0.4:
                    self.come_or_go(consumer)
            self.fail()

    def plain(self, consumer: Any) -> None:
        """A plain transaction that is given the offsets."""
        records = consumer.poll()
        with self.log.transaction() as tx:
            tx.commit_offsets(consumer)
            self.send(tx, records)
            self.fail()

    def again(self, consumer: Any) -> None:
        """Attempts after conflicts."""
        records = consumer.poll()

        def work(tx: eventlog.Transaction) -> None:
            self.send(tx, records)
            if self.chance.random() < 0.5:
                raise eventlog.ConflictError("no", stored="Nothing.", advice="Again.")
            self.fail(0.2)

        self.log.transact(work, consumer=consumer, attempts=2)

    def loop(self, consumer: Any) -> None:
        """A `for` loop with a transaction for each record, which catches or is left."""
        left = self.chance.randrange(1, 6)
        if len(self.members) > 1 or sum(consumer.lag().values()) < left:
            return  # else it might wait for what another has
        for record in consumer:
            caught = Lost if self.chance.random() < 0.7 else ZeroDivisionError
            with suppress(caught), self.log.transaction(consumer) as tx:
                self.send(tx, [record])
                self.fail()
            left -= 1
            if left == 0:
                return
            if not sum(consumer.lag().values()):
                return

    def by_partition(self, consumer: Any) -> None:
        """Named offsets, a transaction for each partition."""
        places: dict[int, list[Any]] = {}
        for record in consumer.poll():
            places.setdefault(record.partition, []).append(record)
        for partition, records in places.items():
            begin = self.log.transaction(consumer) if self.chance.random() < 0.5 else self.log.transaction()
            with suppress(Lost), begin as tx:
                tx.commit_offsets(consumer, {("orders", partition): records[-1].offset + 1})
                self.send(tx, records)
                self.fail()

    def by_record(self, consumer: Any) -> None:
        """Named offsets, a transaction for each record of a list."""
        for record in consumer.poll():
            with suppress(Lost), self.log.transaction() as tx:
                self.send(tx, [record])
                tx.commit_offsets(consumer, {("orders", record.partition): record.offset + 1})
                self.fail()

    def by_hand(self, consumer: Any) -> None:
        """Without a block: committed, aborted, or forgotten."""
        records = consumer.poll()
        tx = self.log.transaction(consumer)
        self.send(tx, records)
        end = self.chance.choice([tx.commit, tx.abort, lambda: None])
        end()

    def come_or_go(self, busy: Any = None) -> None:
        """Another member, or one less."""
        if len(self.members) < 3 and self.chance.random() < 0.5:
            most = self.chance.choice([1, 2, 5, 50])
            self.members.append(self.log.consumer("orders", group="g", max_poll_records=most))
        others = [member for member in self.members if member is not busy]
        if len(others) > 1 and self.chance.random() < 0.5:
            leaver = self.chance.choice(others)
            self.members.remove(leaver)
            leaver.close()

    def act(self) -> None:
        """Does one thing."""
        ways: list[Callable[[Any], None]] = [
            self.whole, self.polls_inside, self.plain, self.again, self.loop, self.by_partition, self.by_record,
            self.by_hand,
        ]  # fmt: skip
        if self.chance.random() < 0.1:
            self.come_or_go()
        way = self.chance.choice(ways)
        self.told.append(way.__name__)
        with suppress(Lost, eventlog.ConflictError, eventlog.MemberFenced):
            way(self.chance.choice(self.members))


def play(rng: random.Random, number: int) -> tuple[Counter[int], list[str]]:
    """How often each record had its effect in one story, and what happened."""
    with eventlog.open(":memory:") as log:
        topic = log.topic("orders", partitions=number % 4 + 1, value=int)
        out = log.topic("out", value=int)
        for value in range(_COUNT):
            topic.append(value, partition=rng.randrange(topic.partitions))
        story = Story(log, rng)
        story.members.append(log.consumer("orders", group="g"))
        for _ in range(_MOST_ACTS):
            story.act()
            if log.groups.describe("g").lag == 0:
                break
        return Counter(record.value for record in out.read()), story.told


@pytest.mark.parametrize("number", range(12))
def test_each_record_has_its_effect_once(rng: random.Random, number: int) -> None:
    """Whatever fails, and however the program is written that goes on."""
    found, told = play(rng, number)
    assert found == Counter(range(_COUNT)), told


@pytest.mark.parametrize("what", ["fail", "note_poll"])
def test_the_stories_find_a_planted_bug(rng: random.Random, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """A consumer that does not go back, and one that forgets what moved inside of a transaction."""
    monkeypatch.setattr(GivenOffsets, what, lambda self: self._core.let_go(self) if what == "fail" else None)
    assert any(play(rng, number)[0] != Counter(range(_COUNT)) for number in range(1000))
