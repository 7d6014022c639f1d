"""
The power goes while a topic is compacted in which Kafka's clients have written in transactions.

At every moment, whatever became of the writes: nothing of an aborted transaction is seen, nothing of an open one, and
of the committed ones all that is newest. So it stays when the next round has ended what this one began, and when what
was open is committed or aborted.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

import eventlog
from eventlog.backend.kafka_transactions import EndTransaction
from eventlog.batches.format import decode
from eventlog.batches.kafka_marks import kafka_marks
from eventlog.store.cleaning.rewriting import Replacement
from eventlog.store.cleaning.transactions import TransactionSweep
from tests import preload
from tests.fuzz.sample import put_file
from tests.kafka.record_batches import Sent, backend_of
from tests.kafka.transactional import Transactional, carry_out, fetch_committed, kept_offsets
from tests.power import court
from tests.power.images import Choice, image_of
from tests.power.journal import Disk, frames_of

STOCK, PARTITIONS = "stock", 2
KEYS = [b"k%d" % number for number in range(6)]
OPEN = {"open-0": True, "open-1": False}
"""The transactional ids whose transactions are open when the power goes, and whether they are committed then."""
_TRANSACTIONS = 40
_CLEAN = """
import sys
import eventlog
from tests.power import test_compacted_transactions as test
if sys.argv[2]:
    test.forget_too_early()
with eventlog.open(sys.argv[1], cleaner=False) as log:
    while not log.clean(budget=0).is_finished:
        pass
"""

Values = dict[tuple[int, bytes], bytes]
"""The values of some keys, each in a partition."""


@attrs.define(eq=False)
class Written:
    """What was written: the committed values, the newest of them, and what is behind and in the open transactions."""

    committed: set[bytes] = attrs.Factory(set)
    newest: Values = attrs.Factory(dict)
    behind: list[Values] = attrs.Factory(list)
    open: dict[str, Values] = attrs.Factory(dict)

    def commit(self, values: Values) -> None:
        """Note what was committed last."""
        self.committed.update(values.values())
        self.newest.update(values)


class Writer:
    """Writes transactions, whose values name what becomes of them."""

    def __init__(self, log: Any, chance: random.Random) -> None:
        self.log, self.chance, self.number = log, chance, 0
        log.topic(STOCK, partitions=PARTITIONS, compaction="key", min_dirty_ratio=0.0, tombstone_retention=0)

    def send(self, producer: Transactional, least: int = 1) -> Values:
        """Some batches of one transaction, in so many partitions at least."""
        values: Values = {}
        for partition in self.chance.sample(range(PARTITIONS), self.chance.randint(least, PARTITIONS)):
            for key in self.chance.sample(KEYS, self.chance.randint(1, 3)):
                values[partition, key] = self._value(producer.name)
                producer.send(Sent(values[partition, key], key), topic=STOCK, partition=partition)
        return values

    def append(self) -> Values:
        """A record of a native program."""
        place = (self.chance.randrange(PARTITIONS), self.chance.choice(KEYS))
        value = self._value("native")
        self.log.topic(STOCK).append(value, key=place[1], partition=place[0])
        return {place: value}

    def _value(self, name: str) -> bytes:
        self.number += 1
        return f"{name} {self.number} ".encode() + b"x" * self.chance.randrange(300)


def fill(log: Any, chance: random.Random) -> Written:
    """Transactions that were committed or aborted, native records between them, two open ones, and more behind."""
    writer, written = Writer(log, chance), Written()
    producers = [Transactional(log, f"ended-{number}", bumps=number == 1) for number in range(3)]
    for _ in range(_TRANSACTIONS):
        producer = chance.choice(producers)
        values = writer.send(producer)
        is_commit = chance.random() < 0.6
        producer.end(is_commit=is_commit)
        written.commit(values if is_commit else {})
        written.commit(writer.append())
    for name in OPEN:
        written.open[name] = writer.send(Transactional(log, name), PARTITIONS)
    for _ in range(6):
        written.behind.append(writer.append())
    return written


def seen(log: Any) -> list[tuple[tuple[int, bytes], bytes]]:
    """What native readers see, which is what clients see that read committed records."""
    found = []
    for partition in range(PARTITIONS):
        records = list(log.topic(STOCK).read(partition))
        answer = fetch_committed(log, 0, topic=STOCK, partition=partition)
        kept, of_clients = set(kept_offsets(answer)), []
        for last, data in answer.batches:
            if last in kept and not kafka_marks(data).is_control:
                columns = decode(data, "a batch")
                of_clients += list(zip(columns.offsets(last), columns.values, strict=True))
        assert of_clients == [(one.offset, one.value) for one in records]
        found += [((partition, one.key), one.value) for one in records]
    return found


def check(log: Any, written: Written, *, is_exact: bool) -> int:
    """Compare what is seen, which ends at the open transactions; how many records that is."""
    found = seen(log)
    assert {value for _, value in found} <= written.committed, "a value is seen that was not committed"
    assert dict(found) == written.newest
    assert not is_exact or len(found) == len(written.newest), "something is left that has a newer one of its key"
    assert log.verify().problems == ()
    return len(found)


def images(library: Path, tmp_path: Path, rng: random.Random, *, every: int, plant: str = "") -> set[int]:
    """Check images of a whole round, one at every so many writes and syncs; the counts of records that were seen."""
    path, journal = tmp_path / "log", tmp_path / "journal"
    with eventlog.open(path, cleaner=False) as log:
        written = fill(log, rng)
    court.begin_with(journal, (path / "data.mdb").read_bytes(), [])
    watching = {"EVENTLOG_JOURNAL": os.fspath(journal), "EVENTLOG_JOURNAL_OF": os.fspath(path / "data.mdb")}
    command = [sys.executable, "-c", _CLEAN, os.fspath(path), plant]
    subprocess.run(command, env=preload.environment_with(library) | watching, check=True, stdout=subprocess.DEVNULL)
    disk, counts = Disk(), set[int]()
    with court.scratch() as scratch:
        for number, frame in enumerate(frames_of(journal)):
            disk.play(frame)
            if number % every:
                continue
            left = put_file(scratch / "left", image_of(disk, Choice.drawn(rng)))
            with eventlog.open(left, cleaner=False) as log:
                counts.add(check(log, written, is_exact=False))
                if number % (5 * every) == 0:
                    go_on(log, written)
    return counts


def go_on(log: Any, written: Written) -> None:
    """End the round that the power ended, and then the transactions that were open; and clean again."""
    log.clean()
    check(log, written, is_exact=True)
    ended = attrs.evolve(written, newest=dict(written.newest), committed=set(written.committed))
    for name, is_commit in OPEN.items():
        view = backend_of(log).kafka_transaction(name)
        carry_out(log, EndTransaction(name, view.producer_id, view.epoch, is_commit, bumps_epoch=False))
        if is_commit:
            ended.commit(written.open[name])
    for values in written.behind:
        ended.commit(values)
    check(log, ended, is_exact=False)
    log.clean()
    check(log, ended, is_exact=True)


def forget_too_early() -> None:
    """Plants a cleaner that takes away the rows of aborted transactions in a commit before that of their batches."""
    slice_of = TransactionSweep._slice

    def early(sweep: TransactionSweep, units: Any) -> Any:
        found, count = slice_of(sweep, units)
        if found.forgotten:
            sweep._store(Replacement(sweep._topic, sweep._partition, [], [], {}, forgotten=found.forgotten))
            found.forgotten = []
        return found, count

    setattr(TransactionSweep, "_slice", early)  # noqa: B010


def test_a_power_cut_while_transactions_are_compacted_shows_nothing_of_an_aborted_one(
    library: Path, tmp_path: Path, rng: random.Random
) -> None:
    """At the writes and syncs of a round; and the next round ends what this one began."""
    assert len(images(library, tmp_path, rng, every=6)) > 1, "no image is of the middle"


def test_harness_finds_a_cleaner_that_forgets_too_early(library: Path, tmp_path: Path, rng: random.Random) -> None:
    """Between two of its commits the records of an aborted transaction are seen."""
    with pytest.raises(AssertionError, match="was not committed"):
        images(library, tmp_path, rng, every=1, plant="early")
