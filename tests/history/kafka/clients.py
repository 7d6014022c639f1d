"""
A transactional client of Kafka's in a process of its own: it consumes, transforms and produces through a listener.

Each slot has a transactional id, a group and a partition to read. A client that takes a slot goes on where the one
before stood, and fences it. All that it does is written down before and after, so that the checker of native histories
judges it. Knows nothing of kills and of what is right.
"""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

from tests.history.kafka.raw import INIT, NO_POSITION, seen
from tests.history.kafka.recording import folder_of, run_recorded
from tests.history.kafka.session import Producer, Refused, Session
from tests.history.operations import (
    FAILED,
    KAFKA,
    OK,
    Advance,
    Read,
    Recorder,
    Sent,
    Stored,
    Writes,
    now_ns,
    offset_place,
    partition_place,
)

ORDERS, DONE = "orders", "done"
PARTITIONS = 2
TIMEOUT_MS = 400
_MOST_RECORDS = 8
_MOST_WAIT_MS = 20


class Client:
    """
    One producer and one reader of a slot, in one thread.

    Args:
        holder: a file that tells who has the slot. A producer that was fenced begins again if it has the slot: its time
            was over.
    """

    def __init__(self, port: int, recorder: Recorder, slot: int, seed: str, holder: Path) -> None:
        self._session = Session(port)
        self._recorder = recorder
        self._id = f"slot-{slot}"
        self._holder = holder
        self._chance = random.Random(seed)
        self._pause = threading.Event()
        self._source = (ORDERS, slot % PARTITIONS)
        self._readings = 0
        self._begin()

    def _begin(self) -> None:
        """Make a new producer, which fences the one before, and read on where the group stands."""
        name = self._recorder.begin(INIT)
        bumps = self._chance.random() < 0.5
        self._producer = Producer(self._session, self._id, TIMEOUT_MS, bumps=bumps)
        self._recorder.end(name, OK)
        self._rewind()

    def _rewind(self) -> None:
        name = self._recorder.begin("committed")
        self._committed = self._position = self._session.committed(self._id, *self._source)
        self._recorder.end(name, OK, [Read(offset_place(self._id, *self._source), self._committed, (), True)])
        self._readings += 1

    def run(self, is_over: threading.Event) -> None:
        """Do one thing after the other until it is over, or another one has the slot."""
        while not is_over.is_set():
            if self._chance.random() < 0.2:
                self._look_at_end()
            elif not self._transact():
                return

    # -- reading ---------------------------------------------------------------------------------------------

    def _look_at_end(self) -> None:
        """Ask where a partition ends for those who read committed records: its last stable offset."""
        topic, partition = self._chance.choice((ORDERS, DONE)), self._chance.randrange(PARTITIONS)
        name = self._recorder.begin("stable end")
        end = self._session.stable_end(topic, partition)
        self._recorder.end(name, OK, [seen(partition_place(topic, partition), end, (), end=end, is_end=True)])

    def _consume(self) -> tuple[Advance, ...]:
        """Take some records; the offset that says that they are finished."""
        began = now_ns()
        records, end = self._session.fetch(*self._source, self._position, self._chance.choice((0, _MOST_WAIT_MS)))
        if len(records) > _MOST_RECORDS:
            records = records[:_MOST_RECORDS]
            end = records[-1][0] + 1
        found = [(offset, value.decode(errors="replace")) for offset, value in records]
        read = seen(partition_place(*self._source), self._position, found, end=end, is_end=False)
        self._recorder.note("consume", began, [read], session=f"{self._recorder.name}-{self._readings}")
        self._position = end
        if end == self._committed:
            return ()
        return (Advance(offset_place(self._id, *self._source), self._committed, end),)

    # -- transactions ----------------------------------------------------------------------------------------

    def _transact(self) -> bool:
        """Do one transaction; whether the slot is still ours."""
        advances = self._consume() if self._chance.random() < 0.6 else ()
        name = self._recorder.begin(KAFKA)
        try:
            is_committed = self._attempt(name, advances)
        except Refused:  # nobody but the listener knows what became of it
            if not self._recorder.name.endswith(f"-p{self._holder.read_text('ascii')}"):
                return False
            self._begin()
            return True
        if is_committed and advances:
            self._committed = advances[0].end
        elif self._position != self._committed:
            self._rewind()
        return True

    def _attempt(self, name: str, advances: tuple[Advance, ...]) -> bool:
        """Store records and an offset; whether they were committed."""
        places = [
            (self._chance.choice((ORDERS, DONE)), self._chance.randrange(PARTITIONS))
            for _ in range(self._chance.randint(1, 5))
        ]
        sent = tuple(Sent(*place, None, f"{name}.{number}") for number, place in enumerate(places))
        stored = []
        for (topic, partition), one in zip(places, sent, strict=True):
            stored.append(
                Stored(partition, self._producer.send(topic, partition, one.element.encode()), NO_POSITION, None)
            )
        if self._chance.random() < 0.3:
            self._pause.wait(self._chance.uniform(0.0, 0.02))
        for advance in advances:
            self._producer.send_offset(self._id, *self._source, advance.end)
        self._recorder.attempt(name, Writes(sent, advances=advances))
        fate = self._chance.random()
        if fate < 0.1:  # nobody ends it: the next producer of the id does, or its time is over
            if fate < 0.05:
                self._pause.wait(1.2 * TIMEOUT_MS / 1000)
            self._begin()
            return False
        self._producer.end(is_commit=fate < 0.8)
        self._recorder.end(name, OK if fate < 0.8 else FAILED, stored=stored if fate < 0.8 else ())
        return fate < 0.8


def holder_of(folder: Path, slot: int) -> Path:
    """The file with the number of the process that has a slot."""
    return folder / f"slot-{slot}"


def transact_by_kafka(path: Path, pipe: int, number: int, seed: str) -> None:
    """Run one client of a slot until the parent asks it to end; the slot is that of the seed, before a colon."""
    slot = int(seed.partition(":")[0])
    folder = folder_of(path)

    def work(recorder: Recorder, is_over: threading.Event) -> None:
        port = int((folder / "port").read_text("ascii"))
        client = Client(port, recorder, slot, seed, holder_of(folder, slot))
        os.write(pipe, b".")
        client.run(is_over)

    run_recorded(folder, f"slot-{slot}-p{number}", work)
