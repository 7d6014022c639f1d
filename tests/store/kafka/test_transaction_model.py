"""
Transactions of several producers, native appends between them, crashes and cleaning, against a model in plain Python.

The model is a list for each partition, and one for the order of the log. What each kind of reader must see follows from
it in three lines; the log is asked after every step.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog import testing
from eventlog.backend.kafka import KafkaRefusal
from eventlog.backend.kafka_transactions import EndTransaction
from eventlog.store.records import visibility
from eventlog.store.records.visibility import PartitionSight
from eventlog.testing import ManualClock
from tests.kafka.record_batches import backend_of, fetch
from tests.kafka.transactional import Transactional, abort_expired, carry_out, fetch_committed, kept_offsets

PARTITIONS = 2
PRODUCERS = ("one", "two", "three")
TIMEOUT_MS = 60_000
NATIVE, CONTROL = "native", "control"


@attrs.define(eq=False)
class Attempt:
    """One transaction: open until it is committed or aborted."""

    state: str = "open"
    partitions: list[int] = attrs.Factory(list)


@attrs.define
class Entry:
    """One record, or one control record; `of` is a transaction, `NATIVE` or `CONTROL`."""

    partition: int
    offset: int
    value: bytes
    of: Attempt | str

    @property
    def is_open(self) -> bool:
        """Whether it belongs to an open transaction."""
        return isinstance(self.of, Attempt) and self.of.state == "open"

    @property
    def is_seen(self) -> bool:
        """Whether readers of committed records see it, once they come to it."""
        return self.of == NATIVE or (isinstance(self.of, Attempt) and self.of.state == "committed")


class Model:
    """All entries in the order of the log, and what readers see of them."""

    def __init__(self) -> None:
        self.log: list[Entry] = []
        self.firsts = [0] * PARTITIONS

    def add(self, partition: int, value: bytes, of: Attempt | str) -> None:
        """Append an entry."""
        self.log.append(Entry(partition, self.end(partition), value, of))

    def end(self, partition: int) -> int:
        """The end of a partition."""
        return sum(one.partition == partition for one in self.log)

    def settle(self, attempt: Attempt, state: str) -> None:
        """End a transaction, by a control record in each of its partitions."""
        attempt.state = state
        for partition in attempt.partitions:
            self.add(partition, b"", CONTROL)

    def stable(self, partition: int) -> int:
        """The last stable offset."""
        opens = [one.offset for one in self.log if one.partition == partition and one.is_open]
        return max(min(opens, default=self.end(partition)), self.firsts[partition])

    def committed(self, partition: int) -> list[tuple[int, bytes]]:
        """What readers of committed records see of a partition."""
        return [
            (one.offset, one.value)
            for one in self.log
            if one.partition == partition
            and self.firsts[partition] <= one.offset < self.stable(partition)
            and one.is_seen
        ]

    def ordered(self) -> list[bytes]:
        """What readers of the order of the log see."""
        end = next((place for place, one in enumerate(self.log) if one.is_open), len(self.log))
        return [one.value for one in self.log[:end] if one.is_seen and one.offset >= self.firsts[one.partition]]


STEP = st.tuples(
    st.sampled_from(
        [
            *["send"] * 6,
            *("append", "append", "commit", "commit", "abort", "late", "begin", "crash", "expire", "delete"),
        ]
    ),
    st.integers(0, len(PRODUCERS) - 1),
    st.integers(0, PARTITIONS - 1),
    st.integers(1, 3),
)


class Run:
    """The log, its producers, and the model beside them."""

    def __init__(self, *, bumps: bool) -> None:
        self.clock = ManualClock()
        self.log: Any = testing.open(clock=self.clock)
        self.log.topic("orders", partitions=PARTITIONS)
        self.model = Model()
        self._bumps = bumps
        self._producers: dict[int, Transactional] = {}
        self._open: dict[int, Attempt] = {}
        self._ends: dict[int, EndTransaction] = {}
        self._count = 0
        self.followed: list[bytes] = []
        self._position = 0

    def step(self, kind: str, producer: int, partition: int, count: int) -> None:
        """Do one thing to the log and to the model."""
        getattr(self, f"_{kind}")(producer, partition, count)

    def _value(self) -> bytes:
        self._count += 1
        return b"%d" % self._count

    def _producer(self, number: int) -> Transactional:
        if number not in self._producers:
            self._begin(number, 0, 0)
        return self._producers[number]

    def _begin(self, producer: int, _partition: int, _count: int) -> None:
        """A producer of the same id, which fences the one before."""
        self._producers[producer] = Transactional(
            self.log, PRODUCERS[producer], timeout_ms=TIMEOUT_MS, bumps=self._bumps
        )
        self._settle(producer, "aborted")

    def _settle(self, producer: int, state: str) -> None:
        attempt = self._open.pop(producer, None)
        if attempt is not None:
            self.model.settle(attempt, state)

    def _send(self, producer: int, partition: int, count: int) -> None:
        sender = self._producer(producer)
        attempt = self._open.setdefault(producer, Attempt())
        if partition not in attempt.partitions:
            attempt.partitions.append(partition)
        values = [self._value() for _ in range(count)]
        assert sender.send(*values, partition=partition) == self.model.end(partition)
        for value in values:
            self.model.add(partition, value, attempt)

    def _append(self, _producer: int, partition: int, _count: int) -> None:
        value = self._value()
        assert self.log.topic("orders").append(value, partition=partition).offset == self.model.end(partition)
        self.model.add(partition, value, NATIVE)

    def _commit(self, producer: int, _partition: int, _count: int) -> None:
        if producer in self._open:
            self._note_end(producer, is_commit=True)
            self._producers[producer].commit()
            self._settle(producer, "committed")

    def _abort(self, producer: int, _partition: int, _count: int) -> None:
        if producer in self._open:
            self._note_end(producer, is_commit=False)
            self._producers[producer].abort()
            self._settle(producer, "aborted")

    def _note_end(self, producer: int, *, is_commit: bool) -> None:
        one = self._producers[producer]
        self._ends[producer] = EndTransaction(
            one.name, one.producer_id, one.epoch, is_commit=is_commit, bumps_epoch=self._bumps
        )

    def _late(self, producer: int, _partition: int, _count: int) -> None:
        """The end of a producer's last transaction comes once more: by the second protocol it changes nothing."""
        if self._bumps and producer in self._ends:
            with suppress(KafkaRefusal):
                carry_out(self.log, self._ends[producer])

    def _crash(self, _producer: int, _partition: int, _count: int) -> None:
        self.log = testing.crash(self.log)
        for one in self._producers.values():
            one._log = self.log

    def _expire(self, _producer: int, _partition: int, _count: int) -> None:
        """Time passes; what is open is given up, and its producers are fenced."""
        self.clock.advance(TIMEOUT_MS / 1000 + 1)
        gone = abort_expired(self.log)
        assert set(gone) == {PRODUCERS[number] for number in self._open}
        for name in gone:
            number = PRODUCERS.index(name)
            self._settle(number, "aborted")
            del self._producers[number]

    def _delete(self, _producer: int, partition: int, count: int) -> None:
        first = min(self.model.firsts[partition] + count, self.model.stable(partition))
        self.log.topic("orders").delete_records({partition: first})
        self.model.firsts[partition] = max(first, self.model.firsts[partition])

    def check(self) -> None:
        """Compare what every kind of reader sees."""
        model, orders = self.model, self.log.topic("orders")
        for partition in range(PARTITIONS):
            expected = model.committed(partition)
            assert [(one.offset, one.value) for one in orders.read(partition)] == expected
            first, end, stable = model.firsts[partition], model.end(partition), model.stable(partition)
            assert orders.bounds()[partition] == (first, stable)
            answer = fetch_committed(self.log, first, partition=partition)
            assert (answer.log_start, answer.high_watermark, answer.last_stable) == (first, end, stable)
            seen = {offset for offset, _ in expected}
            assert kept_offsets(answer) == [last for last, _ in answer.batches if last in seen]
            everything = fetch(self.log, first, partition=partition)
            assert (everything.batches[-1].last + 1 if everything.batches else first) == end
        assert [one.value for _, one in self.log.read_all()] == model.ordered()
        for position, one in self.log.read_all(self._position):
            self.followed.append(one.value)
            self._position = position + 1

    def end(self) -> None:
        """End everything: whoever followed from the beginning has seen what was committed and not deleted, once."""
        for producer in list(self._open):
            self._abort(producer, 0, 0)
        self.check()
        assert len(self.followed) == len(set(self.followed))
        assert set(self.model.ordered()) <= set(self.followed)
        committed = {one.value for one in self.model.log if one.is_seen}
        assert set(self.followed) <= committed
        assert self.log.verify().problems == ()
        assert backend_of(self.log).next_expiry_ms() is None
        self.log.close()


@given(st.lists(STEP, max_size=30), st.booleans())
def test_readers_see_what_the_model_says(steps: list[tuple[str, int, int, int]], bumps: bool) -> None:
    """Native readers, clients that read committed records, and clients that read all, after every step."""
    run = Run(bumps=bumps)
    try:
        for step in steps:
            run.step(*step)
            run.check()
        run.end()
    finally:
        run.log.close()


@pytest.mark.parametrize("plant", ["an aborted transaction is seen", "an open transaction is seen"])
def test_the_model_finds_a_planted_bug(plant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a history that shows it."""
    if plant.startswith("an aborted"):
        monkeypatch.setattr(PartitionSight, "_is_aborted", lambda *_: False)
    else:
        monkeypatch.setattr(visibility, "first_open", lambda *_: visibility.NOTHING_OPEN)
    run = Run(bumps=False)
    run.step("send", 0, 0, 2)
    if plant.startswith("an aborted"):
        run.check()
        run.step("abort", 0, 0, 1)
    with pytest.raises(AssertionError):
        run.check()
    run.log.close()
