"""
A process that works for a queue, for `queue_chaos.py`: it notes what it takes and when, and what it has done.

Called as `python -m tests.groups.queue_worker LOG NOTES SEED [FLAW]`. A flaw is a bug that is put into the library.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from pathlib import Path

import eventlog
from eventlog.groups.state import Life
from eventlog.store.queues import commands, taking
from eventlog.store.records.jobs import Jobs

SESSION_SECONDS = 0.5


def _take_late_acknowledgements() -> None:
    """A transaction stores what it has done for a job of another's."""

    def check(self, writing):
        piece = self._piece
        jobs = self.jobs(writing, "acknowledge jobs of")
        names = commands.topic_names(writing, piece.acknowledgements)
        self._settlement = commands.Settlement(jobs, bytes.fromhex(piece.member_id), piece.acknowledgements, names)

    commands.AcknowledgeInTransaction.check = check


def _take_the_living_for_dead() -> None:
    """A sweep ends the leases of all others."""
    sound = commands.QueueChange._sweep

    class Blind:
        def look(self, ids):
            return dict.fromkeys(ids, Life.DEAD)

    commands.QueueChange._sweep = lambda self, jobs, _members, own: sound(self, jobs, Blind(), own)


def _forget_keys() -> None:
    """Any number of jobs of a key are handed out at a time."""
    Jobs.take_key = lambda _self, _key_hash: True


def _pass_one_by() -> None:
    """The cursor goes one record too far, now and then."""
    sound = Jobs.move_cursor

    def move(self, place, offset):
        end = self.writing.partition_end(*place)[0]
        sound(self, place, offset + 1 if offset % 7 == 3 and offset < end else offset)

    Jobs.move_cursor = move


FLAWS = {
    "late": _take_late_acknowledgements,
    "living": _take_the_living_for_dead,
    "keys": _forget_keys,
    "cursor": _pass_one_by,
}


def work(path: str, notes: Path, seed: str) -> None:
    """Take jobs, note them, and do them in transactions, until killed or until the log says that all is done."""
    rng, pause = random.Random(seed), threading.Event()
    with eventlog.open(path, durability="ordered") as log, notes.open("a") as file:

        def note(*words: object) -> None:
            file.write(f"{' '.join(map(str, words))}\n")
            file.flush()

        options = {"group": "g", "per_key": 1, "attempts": 1000, "backoff": (0.0, 0.0)}
        with log.queue("jobs", session_timeout=SESSION_SECONDS, **options) as queue:
            note("ready")
            while True:
                jobs = queue.poll(timeout=0.2, max_records=rng.randrange(1, 4))
                for job in jobs:
                    note("take", time.monotonic_ns(), job.offset)
                for job in jobs:
                    pause.wait(rng.random() * 0.004)
                    if rng.random() < 0.1:
                        note("end", time.monotonic_ns(), job.offset)
                        job.release()
                        continue
                    note("end", time.monotonic_ns(), job.offset)
                    try:
                        with log.transaction() as tx:
                            tx.send("done", job.offset, key=job.key)
                            tx.accept(job)
                    except eventlog.LeaseLost:
                        note("lost", job.offset)


if __name__ == "__main__":
    assert taking
    if len(sys.argv) > 4:
        FLAWS[sys.argv[4]]()
    work(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
