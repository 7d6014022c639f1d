"""The power goes while a topic is compacted and repacked: what is newest is there, at every moment."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import eventlog
from tests import preload
from tests.fuzz.sample import put_file
from tests.power import court
from tests.power.images import Choice, image_of
from tests.power.journal import Disk, frames_of
from tests.store.test_upgrade import pytestmark

__all__ = ["pytestmark"]
_CLEAN = """
import sys
import eventlog
with eventlog.open(sys.argv[1], cleaner=False) as log:
    while not log.clean(budget=0).is_finished:
        pass
"""
_EVERY = 7
"""Of that number of writes to the disk one is followed by a cut."""


def _records(log: eventlog.EventLog) -> dict[int, Any]:
    """All records by their positions."""
    return {position: (one.topic, one.partition, one.offset, one.key, one.value) for position, one in log.read_all()}


def test_a_power_cut_while_a_topic_is_compacted_loses_nothing_that_is_newest(
    library: Path, tmp_path: Path, rng: random.Random
) -> None:
    """A slice is there or it is not, whatever became of the writes; and the next round ends what this one began."""
    path = tmp_path / "log"
    with eventlog.open(path, cleaner=False) as log:
        users = log.topic("users", key=str, compaction="key", partitions=2)
        accounts = log.topic("accounts", key=str, index="key", compaction="key", repack_after=0)
        for number in range(120):
            users.append(rng.randbytes(rng.randrange(4000)), key=f"k{rng.randrange(30)}")
            accounts.append_many([b"v%d" % number] * 3, keys=[f"k{rng.randrange(30)}" for _ in range(3)])
        users.append_many([None] * 5, keys=[f"k{number}" for number in range(5)])
        before = _records(log)
    newest = {(one[0], one[1], one[3]): position for position, one in before.items()}
    journal, image = tmp_path / "journal", (path / "data.mdb").read_bytes()
    court.begin_with(journal, image, [])
    watching = {"EVENTLOG_JOURNAL": os.fspath(journal), "EVENTLOG_JOURNAL_OF": os.fspath(path / "data.mdb")}
    command = [sys.executable, "-c", _CLEAN, os.fspath(path)]
    subprocess.run(command, env=preload.environment_with(library) | watching, check=True, stdout=subprocess.DEVNULL)

    disk, seen = Disk(), set()
    for number, frame in enumerate(frames_of(journal)):
        disk.play(frame)
        if number % _EVERY:
            continue
        left = put_file(tmp_path / "left", image_of(disk, Choice.drawn(rng)))
        with eventlog.open(left, cleaner=False) as log:
            after = _records(log)
            assert all(before[position] == record for position, record in after.items()), f"frame {number}"
            assert set(newest.values()) <= set(after), f"frame {number}"
            assert log.verify().problems == (), f"frame {number}"
            seen.add(len(after))
            log.clean()
            assert set(_records(log)) == set(newest.values()), f"frame {number}"
    assert bytes(disk.seen[: disk.seen_bytes]) == (path / "data.mdb").read_bytes(), "the journal missed a write"
    assert len(before) in seen
    assert len(seen) > 3
