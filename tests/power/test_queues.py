"""
The power goes while two processes work for a queue: no job is lost, and none is done twice.

Every image is judged twice: what was claimed has to be there, and when another worker has done what is left, each job
is done or a dead letter, once, and those of a key were done in their order.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import eventlog
from tests import preload
from tests.fuzz.sample import put_file
from tests.power import court
from tests.power.images import Choice, image_of
from tests.power.journal import ACKNOWLEDGED, Disk, frames_of
from tests.power.queue_work import DONE, JOBS, LETTERS, OPTIONS, PLANTS, is_over

_PATIENCE_SECONDS = 60.0
_SYNC_US = 100


def worked(library: Path, directory: Path, rng: random.Random, *, jobs: int, plant: str = "") -> Path:
    """The journal of two workers that did some jobs of a few keys."""
    path, journal = directory / "log", directory / "journal"
    with eventlog.open(path) as log:
        keys = [rng.choice("abcde") for _ in range(jobs)]
        log.topic(JOBS, key=str, value=int).append_many(range(jobs), keys=keys)
        for name in (DONE, LETTERS):
            log.topic(name, key=str, value=int)
        log.queue(JOBS, **OPTIONS).close()
    court.begin_with(journal, (path / "data.mdb").read_bytes(), [])
    watching = {
        "EVENTLOG_JOURNAL": os.fspath(journal),
        "EVENTLOG_JOURNAL_OF": os.fspath(path / "data.mdb"),
        "EVENTLOG_JOURNAL_SYNC_US": str(_SYNC_US),
    }
    environment = preload.environment_with(library) | watching
    program = [sys.executable, "-m", "tests.power.queue_work", os.fspath(path), os.fspath(journal)]
    running = [subprocess.Popen([*program, str(rng.random()), plant], env=environment) for _ in range(2)]
    try:
        assert [process.wait(_PATIENCE_SECONDS) for process in running] == [0, 0]
    finally:
        for process in running:
            process.kill()
            process.wait()
    return journal


def images(journal: Path, rng: random.Random, *, every: int) -> Iterator[tuple[bytes, list[str]]]:
    """What a power cut leaves at one moment in so many, where the disk has a choice; with what was claimed before."""
    disk, claims = Disk(), list[str]()
    for frame in frames_of(journal):
        disk.play(frame)
        if frame.kind == ACKNOWLEDGED:
            claims.append(frame.data.decode())
        if disk.pending and rng.random() < 1 / every:
            yield image_of(disk, Choice.drawn(rng)), list(claims)


def problems(image: bytes, claims: list[str], place: Path) -> list[str]:
    """What is wrong with an image, as it is and when another worker has done what is left."""
    with eventlog.open(put_file(place, image), durability="ordered") as log:
        found = list(log.verify().problems)
        held = {f"done {value}" for value in _values(log, DONE)} | {f"dead {value}" for value in _values(log, LETTERS)}
        found += [f"{claim!r} was claimed and is not there" for claim in claims if claim not in held]
        with log.queue(JOBS, **OPTIONS) as queue:
            while not is_over(log) and (jobs := queue.poll(timeout=1.0, max_records=100)):
                for job in jobs:
                    with log.transaction() as tx:
                        tx.send(DONE, job.value, key=job.key)
                        tx.accept(job)
            found += [f"{job.value} comes again" for job in queue.poll()]
        ended = sorted(_values(log, DONE) + _values(log, LETTERS))
        found += [f"{one} was done twice" for one, other in pairwise(ended) if one == other]
        found += [f"{one} was lost" for one in set(_values(log, JOBS)) - set(ended)]
        last: dict[Any, int] = {}
        for record in log.topic(DONE).read():
            if record.value < last.get(record.key, -1):
                found.append(f"{record.value} of key {record.key} was done behind {last[record.key]}")
            last[record.key] = record.value
        return found


def _values(log: eventlog.EventLog, topic: str) -> list[int]:
    return [record.value for record in log.topic(topic).read()]


def judged(journal: Path, rng: random.Random, *, every: int) -> tuple[int, list[str]]:
    """How many images there were, and what is wrong with them; up to the first that is wrong."""
    count = 0
    with court.scratch() as directory:
        for image, claims in images(journal, rng, every=every):
            count += 1
            found = problems(image, claims, directory / "left")
            if found:
                return count, found
    return count, []


def test_a_power_cut_loses_no_job_and_does_none_twice(library: Path, tmp_path: Path, rng: random.Random) -> None:
    """Whatever became of the writes."""
    journal = worked(library, tmp_path, rng, jobs=24)
    count, found = judged(journal, rng, every=20)
    assert found == []
    assert count > 5


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", range(5))
def test_the_same_at_each_moment(library: Path, tmp_path: Path, rng: random.Random, number: int) -> None:
    """With other seeds, more jobs, and a cut at every second frame."""
    journal = worked(library, tmp_path, rng, jobs=60)
    count, found = judged(journal, rng, every=2)
    assert (found, count > 100) == ([], True), number


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("plant", "words"), list(PLANTS.items()))
def test_a_planted_bug_is_found(library: Path, tmp_path: Path, rng: random.Random, plant: str, words: str) -> None:
    """Two commits for what is one, and a claim that comes too early."""
    journal = worked(library, tmp_path, rng, jobs=60, plant=plant)
    found = judged(journal, rng, every=1)[1]
    assert any(words in problem for problem in found), found
