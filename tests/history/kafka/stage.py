"""
Clients of Kafka and native programs on one log, the listener, and who kills and stops them; then the whole log is read.

Knows nothing of what each of them does, or of what is right.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

import confluent_kafka

import eventlog
from eventlog.backend.kafka import KafkaFetch
from eventlog.batches.header import read_header
from eventlog.batches.kafka_batch import read_kafka_body
from eventlog.batches.kafka_marks import kafka_marks
from eventlog.kafka import listen
from tests.crash.nursery import Nursery, Victim
from tests.history.kafka.clients import DONE, ORDERS, PARTITIONS, holder_of
from tests.history.kafka.natives import LISTS, element_of, offset_reads, open_log
from tests.history.kafka.raw import INIT, Raw, seen, translated
from tests.history.kafka.recording import folder_of
from tests.history.operations import (
    OK,
    ORDER,
    WRONG,
    Obituary,
    Operation,
    Read,
    Recorder,
    partition_place,
    read_operations,
    row_place,
)
from tests.kafka.record_batches import backend_of
from tests.kafka.transactional import Transactional

CLIENTS, NATIVES = 2, 1
SERVER = "tests.history.kafka.stage:serve"
NATIVE = "tests.history.kafka.natives:work_natively"
_CLIENT = "tests.history.kafka.clients:transact_by_kafka"
_ID = "slot-{}"
_MEAN_PAUSE_S = 0.25
_LEAST_ATTEMPTS = 20
_LONGEST_S = 30.0


def serve(path: Path, pipe: int, port: int, seed: str) -> None:
    """Run a listener until it is killed; its port stands in a file from then on."""
    with open_log(path) as log, listen(log, port=port) as listener:
        (folder_of(path) / "port").write_text(str(listener.port), "ascii")
        os.write(pipe, b".")
        threading.Event().wait()


class Stage:
    """
    The parent of all processes of one run; leaving its `with` ends them.

    Args:
        server, native: what the listener's process and native programs run, with a planted bug maybe.
        environment: that of all processes, which has them write a journal maybe.
    """

    def __init__(
        self,
        directory: Path,
        rng: random.Random,
        *,
        server: str = SERVER,
        native: str = NATIVE,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.path = directory / "log"
        self.folder = folder_of(self.path)
        self.folder.mkdir(parents=True)
        self.counts: Counter[str] = Counter()
        self._rng, self._server = rng, server
        self._ways = {"client": _CLIENT, "native": native}
        self._nursery = Nursery(environment)
        self._obituary = Obituary(self.folder)
        self._pause = threading.Event()
        self._numbers = 0
        self._running: dict[str, Victim] = {}
        self._stopped: list[tuple[float, Victim]] = []

    def __enter__(self) -> Self:
        self._nursery.__enter__()
        self._listen(0)
        for slot in range(CLIENTS):
            self._start(f"client {slot}")
        for slot in range(NATIVES):
            self._start(f"native {slot}")
        for victim in self._running.values():
            victim.watch(0.0, least_bytes=1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._nursery.__exit__(kind, error, trace)

    def _listen(self, port: int) -> None:
        self._host = self._nursery.start(self._server, self.path, writer=port, seed="")
        self._host.watch(0.0, least_bytes=1)

    @property
    def port(self) -> int:
        """The port of the listener."""
        return int((self.folder / "port").read_text("ascii"))

    def _start(self, what: str) -> None:
        """Start the process of a slot; who has the slot now, if anybody, knows nothing of it."""
        kind, slot = what.split()
        self._numbers += 1
        seed = f"{slot}:{self._rng.random()}"
        if kind == "client":
            holder_of(self.folder, int(slot)).write_text(str(self._numbers), "ascii")
        self._running[what] = self._nursery.start(self._ways[kind], self.path, writer=self._numbers, seed=seed)
        self.counts[kind] += 1

    # -- harm ------------------------------------------------------------------------------------------------

    def disturb(self, seconds: float) -> None:
        """Kill and stop for so long, and until some transactions were to be committed; nobody is stopped afterwards."""
        end_s = time.monotonic() + seconds
        last_s = end_s + _LONGEST_S
        while time.monotonic() < end_s or (self._attempts() < _LEAST_ATTEMPTS and time.monotonic() < last_s):
            self._pause.wait(self._rng.expovariate(1 / _MEAN_PAUSE_S))
            self._go_on(time.monotonic())
            self._harm()
        self._go_on(float("inf"))

    def _attempts(self) -> int:
        """How many transactions of clients came to their end."""
        return sum(path.read_bytes().count(b'["attempt"') for path in self.folder.glob("slot-*.operations"))

    def _harm(self) -> None:
        what = self._rng.choice(list(self._running))
        match self._rng.choices(["kill", "usurp", "stop", "host"], (3, 3, 1, 2))[0]:
            case "host":
                self._host.kill()
                self._listen(self.port)
                self.counts["kills of the host"] += 1
            case "usurp" if what.startswith("client"):
                # Another one takes the slot, and fences the one that sleeps.
                sleeper = self._running[what]
                sleeper.stop()
                self._start(what)
                self._stopped.append((time.monotonic() + self._rng.uniform(0.5, 1.5), sleeper))
                self.counts["clients fenced"] += 1
            case "stop" if what.startswith("client"):
                self._running[what].stop()
                self._stopped.append((time.monotonic() + self._rng.uniform(0.2, 1.6), self._running[what]))
                self.counts["stops"] += 1
            case _:
                self._stopped = [one for one in self._stopped if one[1] is not self._running[what]]
                self._running[what].kill()
                self._obituary.note(self._running[what].process_id)
                self._start(what)
                self.counts["kills"] += 1

    def _go_on(self, now_s: float) -> None:
        for due_s, sleeper in list(self._stopped):
            if due_s <= now_s:
                sleeper.go_on()
                self._stopped.remove((due_s, sleeper))

    def history(self) -> list[Operation]:
        """End everything, read the log, and return all that was done, in the words of the checker."""
        for victim in self._running.values():
            victim.ask_to_end()
        for victim in self._running.values():
            victim.end()
        with Recorder(self.folder, "end-p0") as recorder:
            read_by_client(recorder, f"127.0.0.1:{self.port}")
        self._host.kill()
        return history_of(self.path, self.folder)


def history_of(path: Path, folder: Path) -> list[Operation]:
    """Fence all clients, read the whole log, and return what the files of a folder say, in the words of the checker."""
    with open_log(path) as log:
        for slot in range(CLIENTS):
            with Recorder(folder, f"{_ID.format(slot)}-pend") as recorder:
                name = recorder.begin(INIT)
                Transactional(log, _ID.format(slot))
                recorder.end(name, OK)
        with Recorder(folder, "end-p1") as recorder:
            read_everything(log, recorder)
        raw = stored_records(log)
    return translated(read_operations(folder), raw)


def read_everything(log: eventlog.EventLog, recorder: Recorder) -> None:
    """Write down all that native readers find, and what the log's own check finds."""

    def note(*reads: Read) -> None:
        recorder.end(recorder.begin("end"), OK, reads)

    for topic in (ORDERS, DONE):
        for partition, (_, end) in log.topic(topic).bounds().items():
            records = log.topic(topic).read(partition)
            found = [(one.offset, element_of(one.value)) for one in records]
            note(seen(partition_place(topic, partition), 0, found, end=end, is_end=True))
    found = [(position, element_of(one.value)) for position, one in log.read_all()]
    note(seen(ORDER, 0, found, end=log.end_log_position(), is_end=True))
    for key, row in log.state(LISTS).items() if LISTS in log.states() else ():
        note(Read(row_place(LISTS, key), 0, tuple(row), True))
    for group in log.groups.list():
        note(*offset_reads(log, group))
    problems = log.verify().problems
    if problems:
        recorder.end(recorder.begin("verify"), WRONG, note=f"{len(problems)} problems: {problems[:5]}")


def read_by_client(recorder: Recorder, servers: str) -> None:
    """Write down all that a client of Kafka finds that reads committed records, up to the last stable offsets."""
    options = {"bootstrap.servers": servers, "group.id": "reader", "isolation.level": "read_committed"}
    consumer = confluent_kafka.Consumer({**options, "fetch.wait.max.ms": 10, "enable.auto.commit": False})
    for topic in (ORDERS, DONE):
        for partition in range(PARTITIONS):
            place = confluent_kafka.TopicPartition(topic, partition, 0)
            name = recorder.begin("read by a client")
            _, end = consumer.get_watermark_offsets(place, timeout=10.0)
            consumer.assign([place])
            found: list[tuple[int, str]] = []
            at = 0
            while at < end:
                for one in consumer.consume(500, timeout=0.05):
                    assert one.error() is None, one.error()
                    found.append((one.offset(), element_of(one.value())))
                [stands] = consumer.position([place])
                at = max(at, stands.offset)
            recorder.end(name, OK, [seen(partition_place(topic, partition), 0, found, end=at, is_end=False)])
    consumer.close()


def stored_records(log: eventlog.EventLog) -> Raw:
    """What transactions of Kafka's clients have stored at each offset, the aborted ones, too."""
    backend, raw = backend_of(log), Raw()
    for topic in (ORDERS, DONE):
        topic_id = backend.require_topic(topic).id
        for partition in range(PARTITIONS):
            elements = raw[partition_place(topic, partition)] = {}
            [answer], _ = backend.fetch_stored([KafkaFetch(topic_id, partition, 0, 1 << 30)], 1 << 30)
            for last, data in answer.batches:
                marks = kafka_marks(data)
                if marks.is_control or not marks.is_transactional:
                    continue
                values = read_kafka_body(data, read_header(data, "a batch"), "a batch").values
                first = last + 1 - len(values)
                elements.update((first + number, element_of(value)) for number, value in enumerate(values))
    return raw
