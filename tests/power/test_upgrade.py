"""The power goes while a log is upgraded: what is left is whole, in the old format or in the new one."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import eventlog
from tests import preload
from tests.fuzz.sample import put_file
from tests.power import court
from tests.power.images import Choice, image_of
from tests.power.journal import Disk, frames_of
from tests.store.test_upgrade import (
    GOLDEN,
    UPGRADE,
    pytestmark,
    rows_of,
    use,
    values_of,
    version_of,
    without_format_row,
)

__all__ = ["pytestmark"]
_IMAGES_OF_A_CUT = 3


def test_a_power_cut_while_a_log_is_upgraded_leaves_one_of_two_formats(
    library: Path, tmp_path: Path, rng: random.Random
) -> None:
    """At every moment, whatever became of the writes; and it can be upgraded then."""
    path = put_file(tmp_path / "log", (GOLDEN / "log-v3" / "data.mdb").read_bytes())
    use(path)
    before, image = without_format_row(rows_of(path)), (path / "data.mdb").read_bytes()
    journal = tmp_path / "journal"
    court.begin_with(journal, image, [])
    watching = {"EVENTLOG_JOURNAL": os.fspath(journal), "EVENTLOG_JOURNAL_OF": os.fspath(path / "data.mdb")}
    command = [sys.executable, "-c", UPGRADE, os.fspath(path)]
    subprocess.run(command, env=preload.environment_with(library) | watching, check=True, stdout=subprocess.DEVNULL)

    disk, seen = Disk(), []
    for number, frame in enumerate(frames_of(journal)):
        disk.play(frame)
        for _ in range(_IMAGES_OF_A_CUT):
            left = put_file(tmp_path / "left", image_of(disk, Choice.drawn(rng)))
            seen.append(version_of(left))
            rows = rows_of(left)
            assert (without_format_row(rows) if seen[-1] == 3 else values_of(rows)) == before, f"frame {number}"
    assert bytes(disk.seen[: disk.seen_bytes]) == (path / "data.mdb").read_bytes(), "the journal missed a write"
    assert set(seen) == {3, 4}
    assert seen[-_IMAGES_OF_A_CUT:] == [4] * _IMAGES_OF_A_CUT, "the upgrade was over, and is lost"
    assert eventlog.upgrade(left) == 4
    with eventlog.open(left, cleaner=False) as log:
        assert log.verify().problems == ()
