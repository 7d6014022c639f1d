"""
Compaction of topics into which Kafka's clients write in transactions, against a model in plain Python.

What was aborted, what is superseded and the ends of transactions go, and no reader sees a difference but that: native
ones, clients that read committed records, restores of chains of backups to any position, and repairs.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import attrs
import pytest

import eventlog
from eventlog import testing
from eventlog.batches.format import decode
from eventlog.batches.kafka_marks import kafka_marks
from eventlog.store.cleaning import transaction_plan
from eventlog.testing import ManualClock
from tests.kafka.record_batches import Sent, backend_of, fetch
from tests.kafka.transactional import Transactional, fetch_committed, kept_offsets

KEYS = (b"a", b"b", b"c")
PRODUCERS = ("one", "two")


@attrs.define(eq=False)
class Attempt:
    """One transaction, and the log position behind its end."""

    state: str = "open"
    partitions: list[int] = attrs.Factory(list)
    end: int = 1 << 60


@attrs.define(eq=False)
class Entry:
    """A record, or the end of a transaction if it has no key."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes
    of: Attempt | None

    def is_committed(self, position: int = 1 << 59) -> bool:
        """Whether it was committed before a log position."""
        return self.key is not None and (self.of is None or (self.of.state == "committed" and self.of.end <= position))


class Run:
    """A log, and what is in it."""

    def __init__(self, path: Path, *, bumps: bool) -> None:
        self.path = path
        self.clock = ManualClock()
        self.log: Any = testing.open(path / "log", clock=self.clock)
        self.topic = self.log.topic("stock", partitions=2, compaction="key", min_dirty_ratio=0.0, tombstone_retention=0)
        self.entries: list[Entry] = []
        self._producers = {name: Transactional(self.log, name, bumps=bumps) for name in PRODUCERS}
        self._open: dict[str, Attempt] = {}
        self.backups: list[int] = []

    def add(self, partition: int, key: bytes | None, value: bytes, of: Attempt | None) -> None:
        """Add to the model."""
        self.entries.append(Entry(partition, sum(one.partition == partition for one in self.entries), key, value, of))

    def step(self, kind: str, who: int, partition: int, key: bytes, count: int) -> None:
        """Do one thing to the log and to the model."""
        name = PRODUCERS[who]
        if kind == "append":
            value = b"%d" % len(self.entries)
            self.topic.append(value, key=key, partition=partition)
            self.add(partition, key, value, None)
        elif kind == "send":
            of = self._open.setdefault(name, Attempt())
            if partition not in of.partitions:
                of.partitions.append(partition)
            keys = [KEYS[(KEYS.index(key) + number) % len(KEYS)] for number in range(count)]
            sent = [Sent(b"%d" % (len(self.entries) + number), one) for number, one in enumerate(keys)]
            self._producers[name].send(*sent, topic="stock", partition=partition)
            for one in sent:
                self.add(partition, one.key, one.value or b"", of)
        elif kind in ("commit", "abort") and name in self._open:
            of = self._open.pop(name)
            self._producers[name].end(is_commit=kind == "commit")
            of.state = kind.removesuffix("t") + "ted" if kind == "abort" else "committed"
            for number in of.partitions:
                self.add(number, None, b"", of)
            of.end = len(self.entries)
        elif kind == "clean":
            self.log.clean()
        elif kind == "backup" and len(self.backups) < 3:
            self.log.backup(self.path / "backup", incremental=True)
            self.backups.append(len(self.entries))

    def check(self) -> None:
        """Compare what readers see now."""
        check(self.log, self.entries)

    def end(self) -> None:
        """End everything, and compare what is left."""
        for who in range(len(PRODUCERS)):
            self.step("abort", who, 0, b"a", 1)
        self.step("clean", 0, 0, b"a", 1)
        self.check()
        for partition in range(2):
            newest = {one.key: one for one in self.entries if one.partition == partition and one.is_committed()}
            wanted = sorted((one.offset, one.value) for one in newest.values())
            assert [(one.offset, one.value) for one in self.topic.read(partition)] == wanted
            batches = fetch(self.log, 0, "stock", partition).batches
            assert len(batches) <= 5 * len(newest) + 2 * len(PRODUCERS) + 1
        assert self.log.verify().problems == ()


def check(log: Any, entries: list[Entry]) -> None:
    """Compare what readers see of a log with some entries."""
    everything = []
    for partition in range(2):
        of_it = [one for one in entries if one.partition == partition]
        stable = min((one.offset for one in of_it if one.of and one.of.state == "open"), default=len(of_it))
        committed = [one for one in of_it if one.offset < stable and one.is_committed()]
        newest = {one.key: one for one in committed}
        seen = [(one.offset, one.value) for one in log.topic("stock").read(partition)]
        assert set(seen) <= {(one.offset, one.value) for one in committed}
        assert set(seen) >= {(one.offset, one.value) for one in newest.values()}
        answer = fetch_committed(log, 0, topic="stock", partition=partition)
        assert (answer.log_start, answer.high_watermark, answer.last_stable) == (0, len(of_it), stable)
        kept, found, end = set(kept_offsets(answer)), [], 0
        for last, data in answer.batches:
            columns = decode(data, "a batch")
            assert last - columns.span + 1 == end, "every offset is of a batch"
            end = last + 1
            if last in kept and not kafka_marks(data).is_control:
                found += list(zip(columns.offsets(last), columns.values, strict=True))
        assert end == stable
        assert found == seen
        everything += seen
    ordered = [(one.offset, one.value) for _, one in log.read_all()]
    if any(one.of and one.of.state == "open" for one in entries):
        assert set(ordered) <= set(everything)
    else:
        assert sorted(ordered) == sorted(everything)


KINDS = ["append", *["send"] * 5, *["commit"] * 3, *["abort"] * 2, *["clean"] * 3, "backup"]


@pytest.mark.parametrize("number", range(12))
def test_readers_see_what_the_model_says(tmp_path: Path, rng: random.Random, number: int) -> None:
    """After every step; at the end what is left is bounded, and so are restores, to any position, and repairs."""
    history(tmp_path, rng, bumps=number % 2 == 1)


def history(path: Path, chance: random.Random, *, bumps: bool) -> None:
    """One of them."""
    run = Run(path, bumps=bumps)
    for _ in range(chance.randrange(60)):
        run.step(
            chance.choice(KINDS), chance.randrange(2), chance.randrange(2), chance.choice(KEYS), chance.randint(1, 3)
        )
        run.check()
    run.step("backup", 0, 0, b"a", 1)
    run.end()
    run.log.close()
    end = run.backups[-1]
    for position in {end, *(chance.randint(0, end) for _ in range(2))}:
        restored(path, position, run.entries[:position])
    if chance.random() < 0.3:
        eventlog.repair(path / "log", path / "repaired")
        with eventlog.open(path / "repaired") as log:
            check(log, run.entries)


def restored(path: Path, position: int, entries: list[Entry]) -> None:
    """Restore the backup to a position, and compare: a transaction is there whole, but for what was superseded."""
    new = path / f"restored-{position}"
    assert eventlog.restore(path / "backup", new, position=position).problems == ()
    with eventlog.open(new) as log:
        for partition in range(2):
            committed = {
                (one.offset, one.key): one.value
                for one in entries
                if one.partition == partition and one.is_committed(position)
            }
            for one in log.topic("stock").read(partition) if "stock" in log.topics() else ():
                assert committed.get((one.offset, one.key)) == one.value
        assert log.verify().problems == ()


def test_what_is_cut_into_slices_is_the_same(
    tmp_path: Path, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neighbours that go are more than one commit takes away."""
    monkeypatch.setattr(transaction_plan, "_MOST_TOGETHER", 2)
    history(tmp_path, rng, bumps=False)


def stock_of(log: Any) -> Any:
    """A compacted topic."""
    return log.topic("stock", compaction="key", min_dirty_ratio=0.0, tombstone_retention=0)


def batch_count(log: Any) -> int:
    """How many batches a client of Kafka's is given."""
    return len(fetch(log, 0, "stock").batches)


def test_a_topic_does_not_grow_with_its_transactions(log: Any) -> None:
    """Committed and aborted ones, of one producer and of many, one after the other."""
    stock = stock_of(log)
    for number in range(120):
        producer = Transactional(log, f"mover-{number % 4}")
        producer.send(Sent(b"%d" % number, b"k"), topic="stock")
        producer.end(is_commit=number % 3 > 0)
        if number % 40 == 39:
            log.clean()
            assert batch_count(log) <= 2 * 4 + 4
            assert [one.value for one in stock.read(0)] == [b"%d" % (number - (number % 3 == 0))]
    assert stock.bounds()[0] == (0, 240)
    environment = backend_of(log).environment
    with environment.reading() as transaction, transaction.cursor(db=environment.table(b"format")) as cursor:
        assert not any(bytes(key).startswith(b"kafka aborted ") for key, _ in cursor.iternext())
    assert log.verify().problems == ()


def test_batches_of_no_transaction_are_merged_over_what_is_gone(log: Any) -> None:
    """Placeholders between them are of no consequence."""
    stock, producer = stock_of(log), Transactional(log)
    for number in range(90):
        stock.append(b"%d" % number, key=b"often")
        stock.append(b"%d" % number, key=b"%d" % number)
        producer.send(Sent(b"lost", b"k"), topic="stock")
        producer.abort()
        if number % 30 == 29:
            log.clean()
    assert len([*stock.read(0)]) == 91
    assert batch_count(log) < 20, "of 360"
    assert log.verify().problems == ()


@pytest.mark.parametrize("is_planted", [False, True])
def test_a_commit_is_not_taken_for_the_end_of_an_earlier_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_planted: bool
) -> None:
    """A backup has records of a transaction that was aborted, and its end was compacted away before the next backup."""
    if is_planted:
        monkeypatch.setattr(transaction_plan.Plan, "add_end", _forget_all_ends)
    with eventlog.open(tmp_path / "log") as log:
        stock_of(log)
        producer = Transactional(log)
        producer.send(Sent(b"aborted", b"a"), topic="stock")
        log.backup(tmp_path / "backup")
        producer.abort()
        producer.send(Sent(b"old", b"b"), topic="stock")
        producer.commit()
        producer.send(Sent(b"new", b"b"), topic="stock")
        producer.commit()
        log.clean()
        log.backup(tmp_path / "backup", incremental=True)
    eventlog.restore(tmp_path / "backup", tmp_path / "new")
    with eventlog.open(tmp_path / "new") as log:
        found = [one.value for one in log.topic("stock").read(0)]
    assert found == ([b"aborted", b"new"] if is_planted else [b"new"])


def _forget_all_ends(plan: Any, first: int, last: int, marks: Any) -> None:
    """What a plan would do that lets each end go of which no transaction is left."""
    plan.is_needed = True
    if marks.producer_id in plan._lives:
        plan._lives.discard(marks.producer_id)
    else:
        plan._changes[last] = transaction_plan.Change(first, last, transaction_plan.UNSEEN)


def test_a_restore_into_a_transaction_shows_no_part_of_it(tmp_path: Path) -> None:
    """Though compaction had been over its records before the backup was taken."""
    with eventlog.open(tmp_path / "log") as log:
        stock = stock_of(log)
        stock.append(b"before", key=b"x")
        producer = Transactional(log)
        for key in (b"a", b"b", b"a"):
            producer.send(Sent(b"part", key), topic="stock")
        producer.commit()
        stock.append(b"behind", key=b"y")
        log.clean()
        assert [one.key for one in stock.read(0)] == [b"x", b"b", b"a", b"y"]
        log.backup(tmp_path / "backup")
    for position, keys in {3: [b"x"], 4: [b"x"], 5: [b"x", b"b", b"a"]}.items():
        eventlog.restore(tmp_path / "backup", tmp_path / f"{position}", position=position)
        with eventlog.open(tmp_path / f"{position}") as log:
            assert [one.key for one in log.topic("stock").read(0)] == keys


def test_redaction_and_retention_go_on_behind_it(tmp_path: Path) -> None:
    """A placeholder has no content, and goes with what lies before it."""
    clock = ManualClock()
    with testing.open(tmp_path / "log", clock=clock) as log:
        stock = log.topic("stock", compaction="key", min_dirty_ratio=0.0, retention=10.0)
        producer = Transactional(log, timeout_ms=900_000)
        for number, key in enumerate((b"a", b"a", b"b", b"b", b"a")):
            producer.send(Sent(b"%d" % number, key, ms=clock.now_ms()), topic="stock")
            producer.end(is_commit=number != 4)
        log.clean()
        assert [one.value for one in stock.read(0)] == [b"1", b"3"]
        assert stock.redact(b"b").record_count == 1
        assert [(one.key, one.value) for one in stock.read(0)] == [(b"a", b"1"), (b"b", None)]
        assert log.verify().problems == ()
        clock.advance(11.0)
        log.clean()
        assert stock.bounds()[0] == (10, 10)
        assert fetch(log, 10, "stock").batches == []
        assert log.verify().problems == ()
