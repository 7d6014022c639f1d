"""The power goes while scheduled records are sent: each waits or is there, at every moment, and none does both."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import eventlog
from eventlog import testing
from eventlog.testing import ManualClock
from tests import preload
from tests.fuzz.sample import put_file
from tests.power import court
from tests.power.images import Choice, image_of
from tests.power.journal import Disk, frames_of
from tests.store.test_upgrade import pytestmark

__all__ = ["pytestmark"]
_BEGIN = datetime(2030, 1, 1, tzinfo=UTC)
_COUNT, _STEPS = 60, 12
_SEND = f"""
import sys
from eventlog import testing
from datetime import datetime, timezone
clock = testing.ManualClock(datetime(2030, 1, 1, tzinfo=timezone.utc))
with testing.open(sys.argv[1], clock=clock) as log:
    for _ in range({_STEPS}):
        clock.advance(1.0)
        log.schedules.send_due()
"""
_EVERY = 7
"""Of that number of writes to the disk one is followed by a cut."""


def test_a_power_cut_while_records_are_sent_loses_none_and_doubles_none(
    library: Path, tmp_path: Path, rng: random.Random
) -> None:
    """Whatever became of the writes; and the next who opens the log sends the others."""
    path = tmp_path / "log"
    with testing.open(path, clock=ManualClock(_BEGIN)) as log:
        mails = log.topic("mails", key=str, value=int, index="key", partitions=2)
        for number in range(_COUNT):
            delay, message_id = 1.0 + number % _STEPS, f"m{number}" if number % 3 else None
            mails.schedule(number, key=f"k{number % 7}", delay=delay, message_id=message_id)
    journal, image = tmp_path / "journal", (path / "data.mdb").read_bytes()
    court.begin_with(journal, image, [])
    watching = {"EVENTLOG_JOURNAL": os.fspath(journal), "EVENTLOG_JOURNAL_OF": os.fspath(path / "data.mdb")}
    command = [sys.executable, "-c", _SEND, os.fspath(path)]
    subprocess.run(command, env=preload.environment_with(library) | watching, check=True)

    disk, seen = Disk(), set()
    for number, frame in enumerate(frames_of(journal)):
        disk.play(frame)
        if number % _EVERY:
            continue
        left = put_file(tmp_path / "left", image_of(disk, Choice.drawn(rng)))
        with eventlog.open(left, read_only=True) as log:
            sent = [record.value for record in log.topic("mails").read()]
            waiting = [schedule.value for schedule in log.schedules.list()]
            assert sorted(sent + waiting) == list(range(_COUNT)), f"frame {number}"
            assert log.verify().problems == (), f"frame {number}"
        seen.add(len(sent))
        with testing.open(left, clock=ManualClock(_BEGIN + timedelta(hours=1))) as log:
            log.schedules.send_due()
            assert sorted(record.value for record in log.topic("mails").read()) == list(range(_COUNT))
            assert list(log.schedules.list()) == []
    assert bytes(disk.seen[: disk.seen_bytes]) == (path / "data.mdb").read_bytes(), "the journal missed a write"
    assert len(seen) > 3
