"""The power goes while a log is restored: a log that has its name is whole."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import eventlog
from tests import preload
from tests.power import court
from tests.power.images import Choice, image_of
from tests.power.journal import Disk, Frame, frames_of
from tests.store.test_upgrade import pytestmark

__all__ = ["pytestmark"]
_RESTORE = """
import sys
import eventlog
eventlog.restore(sys.argv[1], sys.argv[2])
"""
_SHELL = 'EVENTLOG_JOURNAL_OF="$1/.restored.restore-$$/data.mdb"; export EVENTLOG_JOURNAL_OF; shift; exec "$@"'
"""The new log is made under a name with the number of its process, which only the process itself knows."""
_CUTS = 20


def restored_frames(library: Path, tmp_path: Path, backup: Path) -> tuple[Path, list[Frame]]:
    """Restore a backup in a process that is watched: the new log, and all that happened to its file."""
    journal, new = tmp_path / "journal", tmp_path / "restored"
    court.begin_with(journal, b"", [])
    command = ["sh", "-c", _SHELL, "sh", os.fspath(tmp_path), sys.executable, "-c", _RESTORE, backup, new]
    environment = preload.environment_with(library) | {"EVENTLOG_JOURNAL": os.fspath(journal)}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return new, frames_of(journal)


def test_a_restored_log_is_on_the_disk_before_it_has_its_name(
    library: Path, tmp_path: Path, rng: random.Random
) -> None:
    """The rename comes last, so each image that a power cut may leave under the name is the whole log."""
    with eventlog.open(tmp_path / "log") as log:
        orders = log.topic("orders", key=str, partitions=2, index="key")
        for number in range(60):
            orders.append_many([rng.randbytes(rng.randrange(3000)) for _ in range(5)], keys=[f"k{number % 7}"] * 5)
        records = list(log.read_all())
        log.backup(tmp_path / "backup")
    new, frames = restored_frames(library, tmp_path, tmp_path / "backup")

    disk = Disk()
    for frame in frames:
        disk.play(frame)
    whole = (new / "data.mdb").read_bytes()
    assert bytes(disk.seen[: disk.seen_bytes]) == whole, "the journal missed a write"
    assert len(frames) > 20
    assert disk.is_entered, "the directory of the file was not synced"
    for _ in range(_CUTS):
        assert image_of(disk, Choice.drawn(rng)) == whole
    with eventlog.open(new) as log:
        assert list(log.read_all()) == records
        assert log.verify().problems == ()
