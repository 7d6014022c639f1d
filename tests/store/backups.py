"""
Random histories of a log that is backed up now and then, and what a restore to any position must bring back.

Knows nothing of pytest. `Story` keeps a journal of all records with their places and versions,
and of offsets and states at each backup.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, NamedTuple

import eventlog

KEYS = ("ada", "bob", "eve", "zoe")


class Entry(NamedTuple):
    """A record of the journal."""

    position: int
    topic: str
    partition: int
    offset: int
    version: int | None
    key: str | None
    value: int


class Moment(NamedTuple):
    """What was known at a backup."""

    end: int
    firsts: dict[tuple[str, int], int]
    committed: dict[tuple[str, int], int | None]
    state: dict[str, int]


class Story:
    """A history of one log, by chance."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.log = eventlog.open(folder / "log", durability="ordered")
        self.target = folder / "backup"
        self.chance = chance
        self.journal: list[Entry] = []
        self.moments: list[Moment] = []
        self._number = 0
        log = self.log
        self.topics: dict[str, eventlog.Topic[Any, Any]] = {
            "plain": log.topic("plain", key=str, value=int, partitions=2),
            "keyed": log.topic("keyed", key=str, value=int, partitions=3, index="key"),
        }

    def step(self) -> None:
        """Do something."""
        acts = [self.append] * 6 + [self.append_many] * 4 + [self.delete, self.commit, self.count, self.snapshot]
        self.chance.choice(acts)()

    def append(self) -> None:
        """Append one record; of a topic with an index to any partition, whatever its key."""
        name = self.chance.choice(list(self.topics))
        partition = self.chance.randrange(len(self.topics[name].bounds()))
        key = self.chance.choice((*KEYS, None))
        self._number += 1
        meta = self.topics[name].append(
            self._number, key=key, partition=partition, message_id=f"id-{self._number}" if self._number % 3 else None
        )
        assert meta.log_position is not None
        self.journal.append(Entry(meta.log_position, name, partition, meta.offset, meta.version, key, self._number))

    def append_many(self) -> None:
        """Append a batch of several records."""
        name = self.chance.choice(list(self.topics))
        count = self.chance.randrange(2, 12)
        partition = self.chance.randrange(len(self.topics[name].bounds()))
        values = list(range(self._number + 1, self._number + count + 1))
        keys = [self.chance.choice(KEYS) for _ in values]
        self._number += count
        position = self.log.end_log_position()
        [found] = self.topics[name].append_many(values, keys=keys, partition=partition)
        for number, (key, value) in enumerate(zip(keys, values, strict=True)):
            version = None if name == "plain" else 1 + sum(one[1] == name and one[5] == key for one in self.journal)
            self.journal.append(Entry(position + number, name, partition, found.first + number, version, key, value))

    def delete(self) -> None:
        """Delete the oldest records of a partition."""
        name = self.chance.choice(list(self.topics))
        bounds = self.topics[name].bounds()
        partition = self.chance.choice(list(bounds))
        first, end = bounds[partition]
        self.topics[name].delete_records({partition: self.chance.randint(first, end)})

    def commit(self) -> None:
        """Commit offsets of a group, as far as it has read."""
        with self.log.consumer(*self.topics, group="g", on_out_of_range="earliest", max_poll_records=7) as consumer:
            for _ in range(3):
                consumer.poll(0.05)
            consumer.commit()

    def count(self) -> None:
        """Change a state."""
        with self.log.transaction() as tx:
            state = tx.state("counts", key=str, value=int)
            state["all"] = len(self.journal)

    def snapshot(self) -> None:
        """Save a snapshot of a key."""
        key = self.chance.choice(KEYS)
        version = self.topics["keyed"].version(key)
        if version:
            self.topics["keyed"].save_snapshot(key, version, version=version)

    def back_up(self) -> None:
        """Take an incremental backup."""
        report = self.log.backup(self.target, incremental=True)
        state = dict(self.log.state("counts").items()) if "counts" in self.log.states() else {}
        committed: dict[tuple[str, int], int | None] = {}
        if "g" in self.log.groups.list():
            committed = {
                (place.topic, place.partition): place.committed for place in self.log.groups.describe("g").offsets
            }
        assert report.end == self.log.end_log_position()
        self.moments.append(Moment(report.end, self.firsts(self.log), committed, state))

    def firsts(self, log: eventlog.EventLog) -> dict[tuple[str, int], int]:
        """Where the partitions begin."""
        return {
            (name, number): first for name in log.topics() for number, (first, _) in log.topic(name).bounds().items()
        }

    def check(self, new: Path, end: int) -> None:
        """Compare a restored log with the journal before a log position."""
        earlier = [moment for moment in self.moments if moment.end <= end]
        base = earlier[-1] if earlier else self.moments[0]
        later = next((moment for moment in self.moments if moment.end > end), base)
        with eventlog.open(new) as log:
            assert log.verify().problems == ()
            assert log.end_log_position() == end
            firsts = self.firsts(log)
            for place, first in firsts.items():
                assert base.firsts[place] <= first <= max(later.firsts[place], base.firsts[place]), place
            expected = [
                entry
                for entry in self.journal
                if entry.position < end and entry.offset >= firsts.get((entry.topic, entry.partition), 0)
            ]
            found = [
                (position, record.topic, record.partition, record.offset, record.key, record.value)
                for position, record in log.read_all()
            ]
            places = {one[:4] for one in found}
            expected = [
                entry
                for entry in expected
                if entry[:4] in places
                # What was stored behind a backup and deleted before the next one is in neither.
                or (earlier and entry.position < base.end)
                or entry.offset >= later.firsts[entry.topic, entry.partition]
            ]
            assert found == [(*entry[:4], *entry[5:]) for entry in expected]
            self._check_keys(log, expected)
            if earlier:
                self._check_moment(log, base)
            else:
                assert log.states() == []
            again = log.topic("keyed", key=str, value=int).append(-1, key="ada") if "keyed" in log.topics() else None
            assert again is None or again.log_position == end

    def _check_keys(self, log: eventlog.EventLog, expected: list[Entry]) -> None:
        for key in KEYS if "keyed" in log.topics() else ():
            history = [(event.version, event.value) for event in log.topic("keyed").history(key)]
            assert history == [(one.version, one.value) for one in expected if (one.topic, one.key) == ("keyed", key)]

    def _check_moment(self, log: eventlog.EventLog, base: Moment) -> None:
        assert (dict(log.state("counts").items()) if log.states() else {}) == base.state
        if base.committed:
            offsets = {(one.topic, one.partition): one.committed for one in log.groups.describe("g").offsets}
            assert {place: offset for place, offset in offsets.items() if offset is not None} == {
                place: offset for place, offset in base.committed.items() if offset is not None
            }

    def close(self) -> None:
        """Close the log."""
        self.log.close()
