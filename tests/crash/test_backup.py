"""A backup or a restore that is killed, or loses its power, at any step: what was there before stays whole."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import eventlog
from tests.crash.backup_scenes import die_at_steps
from tests.processes.child import Child

_MOST_STEPS = 400


def _values(path: Path) -> list[int]:
    with eventlog.open(path, read_only=True) as log:
        assert log.verify().is_sound
        return [record.value for record in log.topic("orders").read()]


@pytest.fixture
def backed_up(tmp_path: Path) -> tuple[Path, Path]:
    """A log with more records than its backup has."""
    with eventlog.open(tmp_path / "log") as log:
        log.topic("orders", key=str, value=int, index="key").append_many(range(50), keys=["a"] * 50)
        log.backup(tmp_path / "backup")
        log.topic("orders").append_many(range(50, 80), keys=["a"] * 30)
    return tmp_path / "log", tmp_path / "backup"


def test_a_backup_that_is_killed_at_any_step_has_added_nothing_or_all(
    backed_up: tuple[Path, Path], tmp_path: Path
) -> None:
    """What was backed up before can be restored at each moment, and the next backup goes on."""
    log, backup = backed_up
    ends, number = [], 0
    with Child(die_at_steps, "backup", str(log), str(backup)) as child:
        child.hear("ready")
        while True:
            assert number < _MOST_STEPS
            child.say(str(number))
            status = child.hear()
            assert status in ("0", "-9")
            contents = eventlog.check_backup(backup)
            ends.append(contents.end)
            new = tmp_path / "new"
            assert eventlog.restore(backup, new).is_exact
            assert _values(new) == list(range(contents.end))
            shutil.rmtree(new)
            if status == "0":
                break
            number += 1
    assert ends[0] == 50
    assert ends[-1] == 80
    assert ends == sorted(ends)
    assert number > 10
    names = {file.name for file in backup.iterdir()}
    with eventlog.open(log) as opened:
        opened.backup(backup, incremental=True)
    assert len(eventlog.check_backup(backup).moments) >= 3
    assert not [name for name in names if name.endswith(".partial")]


def test_a_first_backup_that_is_killed_is_begun_again(tmp_path: Path) -> None:
    """There is none, or a whole one; what is left over is removed by the next."""
    with eventlog.open(tmp_path / "log") as log:
        log.topic("orders", value=int).append_many(range(50))
    with Child(die_at_steps, "backup", str(tmp_path / "log"), str(tmp_path / "backup")) as child:
        child.hear("ready")
        for number in range(0, _MOST_STEPS, 2):
            child.say(str(number))
            if child.hear() == "0":
                break
            if (tmp_path / "backup" / "manifest.json").exists():
                assert eventlog.check_backup(tmp_path / "backup").end == 50
            else:
                with pytest.raises(eventlog.NotALog):
                    eventlog.check_backup(tmp_path / "backup")
    names = {file.name for file in (tmp_path / "backup").iterdir()}
    contents = eventlog.check_backup(tmp_path / "backup")
    assert len(names) == contents.file_count + 1


def test_a_restore_that_is_killed_at_any_step_makes_a_whole_log_or_none(
    backed_up: tuple[Path, Path], tmp_path: Path
) -> None:
    """The backup is only read, and the new log gets its name at the end."""
    _, backup = backed_up
    before = {file.name: file.read_bytes() for file in backup.iterdir()}
    new, number = tmp_path / "new", 0
    with Child(die_at_steps, "restore", str(backup), str(new)) as child:
        child.hear("ready")
        while True:
            assert number < _MOST_STEPS
            child.say(str(number))
            status = child.hear()
            if new.exists():
                assert _values(new) == list(range(50))
                shutil.rmtree(new)
            else:
                assert status == "-9"
            if status == "0":
                break
            number += 1
            for left in tmp_path.glob(".new.restore-*"):
                shutil.rmtree(left)
    assert number > 15
    assert {file.name: file.read_bytes() for file in backup.iterdir()} == before


@pytest.fixture
def pruned(tmp_path: Path) -> Path:
    """A backup directory whose older backups have batches that were deleted from the log since."""
    with eventlog.open(tmp_path / "log") as log:
        views = log.topic("views", value=int)
        for number in range(3):
            log.topic("orders", value=int).append_many(range(number * 10, number * 10 + 10))
            for value in range(8):
                views.append(value)
            views.delete_records({0: 8 * number + 6})
            log.backup(tmp_path / "backup", incremental=True)
    return tmp_path / "backup"


def test_a_pruning_that_is_killed_at_any_step_keeps_what_is_to_be_kept(pruned: Path, tmp_path: Path) -> None:
    """The newest backup is whole; the older ones are whole or forgotten; the next pruning removes what is left over."""
    before, number, counts = tmp_path / "before", 0, []
    pruned.rename(before)
    with Child(die_at_steps, "prune", "", str(pruned)) as child:
        child.hear("ready")
        while True:
            assert number < _MOST_STEPS
            shutil.rmtree(pruned, ignore_errors=True)
            shutil.copytree(before, pruned)
            child.say(str(number))
            status = child.hear()
            counts.append(len(eventlog.check_backup(pruned).moments))
            assert eventlog.restore(pruned, tmp_path / "new").is_exact
            assert _values(tmp_path / "new") == list(range(30))
            shutil.rmtree(tmp_path / "new")
            eventlog.prune_backup(pruned, keep_last=1)
            assert len(list(pruned.iterdir())) == eventlog.check_backup(pruned).file_count + 1
            if status == "0":
                break
            number += 1
    assert counts == sorted(counts, reverse=True)
    assert set(counts) == {1, 3}
    assert number > 10


# --- power ----------------------------------------------------------------------------------------------------------


class Disk:
    """
    What a directory keeps when the power goes: files as of their last sync, names as of that of the directory.

    Everything else is there or not, whole or cut: chance decides.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._contents: dict[int, bytes] = {}
        self._names = {file.name: file.stat().st_ino for file in folder.iterdir()}
        self._contents = {file.stat().st_ino: file.read_bytes() for file in folder.iterdir()}
        self.cuts: list[tuple[dict[str, int], dict[int, bytes]]] = []
        fsync, rename = os.fsync, os.rename

        def synced(descriptor: int) -> None:
            self.cuts.append((dict(self._names), dict(self._contents)))
            fsync(descriptor)
            self._note(descriptor)

        def renamed(old: str, new: str, **named: Any) -> None:
            self.cuts.append((dict(self._names), dict(self._contents)))
            rename(old, new, **named)

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(os, "rename", renamed)

    def _note(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if status.st_ino == self._folder.stat().st_ino:
            self._names = {file.name: file.stat().st_ino for file in self._folder.iterdir()}
        else:
            for file in self._folder.iterdir():
                if file.stat().st_ino == status.st_ino:
                    self._contents[status.st_ino] = file.read_bytes()

    def images(self, into: Path, chance: random.Random) -> Iterator[Path]:
        """Directories as they may be left, for each moment."""
        whole = {file.stat().st_ino: file.read_bytes() for file in self._folder.iterdir()}
        final = {file.name: file.stat().st_ino for file in self._folder.iterdir()}
        for number, (names, contents) in enumerate([*self.cuts, (final, whole)]):
            for turn in range(3):
                image = into / f"{number}-{turn}"
                image.mkdir()
                for name, inode in names.items():
                    data = contents.get(inode)
                    if data is None:  # the name was synced before the file
                        data = whole.get(inode, b"")
                        data = data[: chance.randint(0, len(data))]
                    (image / name).write_bytes(data)
                yield image


def test_a_power_cut_at_any_sync_leaves_the_backups_before(
    backed_up: tuple[Path, Path], tmp_path: Path, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files and names are on the disk before the manifest that names them, and its own name last."""
    log, backup = backed_up
    with eventlog.open(log) as opened:
        disk = Disk(backup, monkeypatch)
        opened.backup(backup, incremental=True)
    monkeypatch.undo()
    (tmp_path / "images").mkdir()
    ends = [eventlog.check_backup(image).end for image in disk.images(tmp_path / "images", rng)]
    assert set(ends) == {50, 80}
    assert ends[-1] == 80, "the backup was over, and is lost"


def test_a_power_cut_at_any_sync_of_a_pruning_keeps_what_is_to_be_kept(
    pruned: Path, tmp_path: Path, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the new manifest names is on the disk before it is, and what the old one names goes after that."""
    disk = Disk(pruned, monkeypatch)
    eventlog.prune_backup(pruned, keep_last=1)
    monkeypatch.undo()
    (tmp_path / "images").mkdir()
    counts = [len(eventlog.check_backup(image).moments) for image in disk.images(tmp_path / "images", rng)]
    assert set(counts) == {3, 1}
    assert counts[-1] == 1, "the pruning was over, and is lost"
