"""
The processes of the chaos: members of one group that write down what they do, and the producer of their load.

Each function here runs in a process of its own, as a `tests.processes.child.Child`, until it is told to close, or
killed. Knows nothing of faults.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

import eventlog
from eventlog.backend.groups import OffsetCommit
from eventlog.store.groups.commands import CommitOffsets
from eventlog.store.records.write_transaction import WriteTransaction
from tests.groups.history import (
    Asking,
    Assigned,
    Batch,
    ByMember,
    Closed,
    Closing,
    Committed,
    Committing,
    Failed,
    Fenced,
    Handed,
    Joining,
    Lost,
    Offset,
    Place,
    Revoked,
    Scribe,
    Stalled,
    Stored,
    now_ns,
)
from tests.processes.child import hear, say

GROUP = "chaos"
TOPICS = {"orders": 12, "payments": 12}
_MOST_RECORDS = 25
_KEYS = 60
_PULSE_S = 0.05
_STALL_S = 0.3
_MOST_PATIENCE_S = 10.0


class Mood(Exception):
    """An error that a callback raises from time to time; the next call must call it again."""


@attrs.frozen
class Manner:
    """Says how a member reads and commits, and what is wrong with it."""

    calls: str
    """`poll`, `batches` or `loop`."""
    is_automatic: bool
    is_moody: bool = False
    flaw: str | None = None


MANNERS = {
    "loop": Manner("loop", is_automatic=True),
    "loop-by-hand": Manner("loop", is_automatic=False),
    "poll": Manner("poll", is_automatic=True),
    "poll-by-hand": Manner("poll", is_automatic=False),
    "batches": Manner("batches", is_automatic=True),
    "batches-by-hand": Manner("batches", is_automatic=False),
    "moody": Manner("poll", is_automatic=True, is_moody=True),
    "moody-by-hand": Manner("poll", is_automatic=False, is_moody=True),
}
FLAWED = {
    "goes-on-after-the-loss": Manner("poll", is_automatic=False, flaw="goes on"),
    "commits-around-the-fence": Manner("poll", is_automatic=False, flaw="commits"),
}


@attrs.frozen
class Terms:
    """The options that all members of one run have in common."""

    session_timeout: float
    slowness: float = 1.0
    """Multiplies the time that a record takes."""
    assignor: str = "sticky"


class Member:
    """One consumer of the group, in one thread, and all that it says."""

    def __init__(
        self, log: eventlog.EventLog, scribe: Scribe, name: str, manner: Manner, terms: Terms, instance_id: str | None
    ) -> None:
        self._log = log
        self._scribe = scribe
        self._name = name
        self._manner = manner
        self._terms = terms
        self._instance_id = instance_id
        self._chance = random.Random(name)
        self._pause = threading.Event()
        self._next: dict[Place, int] = {}
        """What it owns, and the next offset of each."""
        self._committed: dict[Place, int] = {}
        self._given_up: set[Place] = set()
        self._consumer: eventlog.Consumer[str, int] | None = None
        self._is_closing = False

    def close(self) -> None:
        """From another thread: lets it leave the group and end."""
        self._is_closing = True
        self._pause.set()
        if self._consumer is not None:
            self._consumer.wakeup()

    def run(self) -> None:
        """Joins, reads, commits, leaves; every error is written down."""
        try:
            calls = _MOST_RECORDS if self._manner.calls == "loop" else 1
            self._write(Joining, os.getpid(), calls, self._manner.is_automatic, self._instance_id)
            self._consumer = consumer = self._joined()
            say("joined", self._name)
            while not self._is_closing:
                try:
                    self._read(consumer)
                except Mood:
                    continue
            self._write(Closing)
            consumer.close()
            self._write(Closed)
        except BaseException as error:
            self._write(Failed, "".join(traceback.format_exception(error)[-4:]))
            raise

    def _joined(self) -> eventlog.Consumer[str, int]:
        deadline_s = time.monotonic() + _MOST_PATIENCE_S
        while True:
            try:
                return self._log.consumer(
                    *TOPICS,
                    group=GROUP,
                    assignor=self._terms.assignor,
                    instance_id=self._instance_id,
                    session_timeout=self._terms.session_timeout,
                    on_assigned=self._on_assigned,
                    on_revoked=self._on_revoked,
                    on_lost=self._on_lost,
                    auto_commit=self._manner.is_automatic,
                    auto_commit_interval=self._chance.choice((0.05, 0.3)),
                    max_poll_records=_MOST_RECORDS,
                    fetch_max_bytes=self._chance.choice((2_000, 1 << 20)),
                )
            except eventlog.InstanceInUse:
                if time.monotonic() > deadline_s:
                    raise
                self._pause.wait(0.1)

    # -- reading ---------------------------------------------------------------------------------------------

    def _read(self, consumer: eventlog.Consumer[str, int]) -> None:
        if self._manner.calls == "loop":
            self._walk(consumer)
            return
        timeout = self._chance.choice((0.0, 0.05, 0.3))
        self._write(Asking)
        if self._manner.calls == "batches":
            batches = [
                Batch(batch.topic, batch.partition, batch.offsets[0], tuple(batch.keys), tuple(batch.values))
                for batch in consumer.poll_batches(timeout)
            ]
        else:
            batches = runs_of(consumer.poll(timeout))
        if batches:
            self._handle(batches)
        if not self._manner.is_automatic and (not batches or self._chance.random() < 0.7):
            self._commit(consumer)
        if not batches and timeout == 0.0:
            self._pause.wait(0.01)

    def _walk(self, consumer: eventlog.Consumer[str, int]) -> None:
        records = iter(consumer)
        while not self._is_closing:
            self._write(Asking)
            record = next(records, None)
            if record is None:
                return
            self._handle(runs_of([record]))
            if not self._manner.is_automatic and (self._chance.random() < 0.1 or not any(consumer.lag().values())):
                self._commit(consumer)

    def _handle(self, batches: Sequence[Batch]) -> None:
        self._write(Handed, batches)
        for batch in batches:
            self._next[batch.place] = batch.end
        count = sum(len(batch.keys) for batch in batches)
        seconds = count * self._chance.choice((0.0, 0.0002, 0.001)) * self._terms.slowness
        if self._chance.random() < (0.002 if self._manner.calls == "loop" else 0.03):
            seconds += self._chance.uniform(0.05, 0.3)
        if seconds:
            self._pause.wait(seconds)

    # -- committing ------------------------------------------------------------------------------------------

    def _commit(self, consumer: eventlog.Consumer[str, int]) -> None:
        new = {place: offset for place, offset in self._next.items() if self._committed.get(place) != offset}
        self._commit_these(consumer, new)
        if self._chance.random() < 0.05:  # what belongs to somebody else, or to nobody
            self._commit_these(consumer, dict.fromkeys(self._given_up - self._next.keys(), 0))

    def _commit_these(self, consumer: eventlog.Consumer[str, int], new: dict[Place, int]) -> None:
        if not new:
            return
        self._write(Committing, [Offset(*place, offset) for place, offset in new.items()])
        try:
            is_all = new.keys() <= self._next.keys() and not self._is_closing  # then it stores only what is finished
            if is_all and self._chance.random() < 0.5:
                consumer.commit()
            else:
                consumer.commit(new)
        except eventlog.MemberFenced:
            self._write(Fenced)
            return
        self._write(Committed)
        self._committed.update(new)

    def _commit_all_the_same(self) -> None:
        """Stores what it came to before the loss, and says that it was fenced."""
        self._write(Committing, [Offset(*place, offset) for place, offset in self._next.items()])
        self._write(Fenced)
        rows = [
            (self._log.topic(topic)._route.row, partition, offset) for (topic, partition), offset in self._next.items()
        ]
        self._log._store.run(_Unfenced(OffsetCommit(GROUP, rows, is_automatic=True), 0, self._log._store.members))

    # -- callbacks -------------------------------------------------------------------------------------------

    def _on_assigned(self, partitions: Iterable[eventlog.TopicPartition]) -> None:
        self._be_moody()
        assert self._consumer is not None
        starts = [Offset(*pair, self._consumer.position(pair)) for pair in partitions]
        self._write(Assigned, starts)
        self._next.update({start.place: start.offset for start in starts})
        self._committed.update({start.place: start.offset for start in starts})

    def _on_revoked(self, partitions: Iterable[eventlog.TopicPartition]) -> None:
        self._be_moody()
        assert self._consumer is not None
        if not self._manner.is_automatic and self._chance.random() < 0.7:
            self._commit(self._consumer)
        self._write(Revoked, [tuple(pair) for pair in partitions])
        self._forget(partitions)

    def _on_lost(self, partitions: Iterable[eventlog.TopicPartition]) -> None:
        if self._manner.flaw == "goes on":
            self._go_on()
        if self._manner.flaw == "commits":
            self._commit_all_the_same()
        self._be_moody()
        self._write(Lost, [tuple(pair) for pair in partitions])
        self._forget(partitions)

    def _be_moody(self) -> None:
        if self._manner.is_moody and not self._is_closing and self._chance.random() < 0.3:
            raise Mood

    def _forget(self, partitions: Iterable[eventlog.TopicPartition]) -> None:
        for pair in partitions:
            self._given_up.add(tuple(pair))
            self._next.pop(tuple(pair), None)
            self._committed.pop(tuple(pair), None)

    def _go_on(self) -> None:
        """Reads on in what it lost, and says nothing of the loss."""
        for (topic, partition), start in list(self._next.items()):
            self._write(Asking)
            records = list(itertools.islice(self._log.topic(topic).read(partition, start=start), 3))
            if records:
                self._handle(runs_of(records))

    def _write(self, kind: Callable[..., ByMember], *fields: object) -> None:
        self._scribe.write(kind(now_ns(), self._name, *fields))


class _Unfenced(CommitOffsets):
    """Stores offsets for whoever asks."""

    def check(self, writing: WriteTransaction) -> None:
        """Has nothing against it."""


def runs_of(records: Iterable[eventlog.Record[Any, Any]]) -> list[Batch]:
    """The records of each partition, as runs of offsets without a gap, in the order in which they came."""
    runs: list[list[eventlog.Record[Any, Any]]] = []
    last: dict[Place, list[eventlog.Record[Any, Any]]] = {}
    for record in records:
        run = last.get((record.topic, record.partition))
        if run is None or run[-1].offset + 1 != record.offset:
            run = last[record.topic, record.partition] = []
            runs.append(run)
        run.append(record)
    return [
        Batch(
            run[0].topic,
            run[0].partition,
            run[0].offset,
            tuple(record.key for record in run),
            tuple(record.value for record in run),
        )
        for run in runs
    ]


# --- processes --------------------------------------------------------------------------------------------------


def consume(
    path: str, folder: str, members: list[tuple[str, str]], terms: dict[str, Any], instance_id: str | None
) -> None:
    """Runs members of some names and manners, each in a thread, until the parent says to close."""
    manners = MANNERS | FLAWED
    with Scribe(Path(folder) / f"process-{os.getpid()}.events") as ours, eventlog.open(path) as log:
        threading.Thread(target=_feel_the_pulse, args=(ours,), daemon=True).start()
        running: list[tuple[Member, threading.Thread]] = []
        for name, manner in members:
            scribe = Scribe(Path(folder) / f"{name}.events")
            member = Member(log, scribe, name, manners[manner], Terms(**terms), instance_id)
            thread = threading.Thread(target=member.run)
            thread.start()
            running.append((member, thread))
        hear()
        for member, _ in running:
            member.close()
        for _, thread in running:
            thread.join()
    say("closed")


def _feel_the_pulse(scribe: Scribe) -> None:
    """Writes down when this process did not run, which excuses its members for being late."""
    pause = threading.Event()
    while True:
        began = now_ns()
        pause.wait(_PULSE_S)
        if now_ns() - began > _STALL_S * 1e9:
            scribe.write(Stalled(now_ns(), os.getpid(), began))


def produce(path: str, folder: str, seed: str, records_per_second: float) -> None:
    """Sends records of some keys, numbered within each key, until the parent says to close."""
    chance = random.Random(seed)
    stop = threading.Event()
    threading.Thread(target=lambda: (hear(), stop.set()), daemon=True).start()
    numbers: defaultdict[tuple[str, str], itertools.count[int]] = defaultdict(itertools.count)
    with Scribe(Path(folder) / "load.events") as scribe, eventlog.open(path) as log, log.producer() as producer:
        topics = [log.topic(name, key=str, value=int) for name in TOPICS]
        say("sending")
        while not stop.is_set():
            sent: list[tuple[eventlog.Delivery, str, int]] = []
            for _ in range(chance.randint(1, 40)):
                topic, key = chance.choice(topics), f"key-{chance.randrange(_KEYS)}"
                number = next(numbers[topic.name, key])
                sent.append((producer.send(topic, number, key=key), key, number))
            producer.flush()
            scribe.write(Stored(now_ns(), _stored(sent)))
            stop.wait(len(sent) / records_per_second)
    say("sent")


def _stored(sent: Iterable[tuple[eventlog.Delivery, str, int]]) -> list[Batch]:
    places = [(delivery.result(), key, number) for delivery, key, number in sent]
    places.sort(key=lambda entry: (entry[0].topic, entry[0].partition, entry[0].offset))
    return runs_of(
        eventlog.Record(meta.topic, meta.partition, meta.offset, meta.timestamp_ms, key, number)
        for meta, key, number in places
    )
