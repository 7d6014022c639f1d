"""Old backups of a directory: which go, what goes with them, and what a directory that cannot be pruned keeps."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import eventlog
from eventlog import testing
from eventlog.store.lmdb.file_lock import directory_lock


def test_what_was_deleted_from_the_log_leaves_the_backup(tmp_path: Path) -> None:
    """Of topics that are gone, and before the first offsets; what any kept backup has stays, and versions go on."""
    with eventlog.open(tmp_path / "log") as log:
        for number in range(4):
            log.topic("views").append_many([random.Random(number).randbytes(1000)] * 60)
            log.topic("orders", key=str, index="key").append(bytes(1000), key="ada")
            log.topic("kept").append(bytes(1000))
            log.topic(f"of-{number}").append(bytes(10_000))
            log.topic("views").delete_records({0: number * 60})
            log.topic("orders").delete_records({0: number})
            if number:
                log.delete_topic(f"of-{number - 1}")
            log.backup(tmp_path / "backup", incremental=True)
    size = sum(file.stat().st_size for file in (tmp_path / "backup").iterdir())
    planned = eventlog.prune_backup(tmp_path / "backup", keep_last=2, dry_run=True)
    assert size == sum(file.stat().st_size for file in (tmp_path / "backup").iterdir())
    report = eventlog.prune_backup(tmp_path / "backup", keep_last=2)
    assert (planned.kept, planned.file_count) == (report.kept, report.file_count)
    assert abs(planned.freed_bytes - report.freed_bytes) < 1000
    assert [number for number, _, _ in report.kept] == [3, 4]
    assert 120_000 + 20_000 < report.freed_bytes < 120_000 + 30_000
    contents = eventlog.check_backup(tmp_path / "backup")
    assert eventlog.restore(tmp_path / "backup", tmp_path / "new").is_exact
    third = eventlog.restore(tmp_path / "backup", tmp_path / "third", position=contents.moments[0][0])
    assert third.is_exact
    with eventlog.open(tmp_path / "new") as log:
        assert (log.topic("views").bounds(), log.topic("kept").bounds()) == ({0: (180, 240)}, {0: (0, 4)})
        assert log.topic("orders").latest("ada").version == 4


def test_backups_are_kept_by_their_number_or_their_age(tmp_path: Path) -> None:
    """One that an option keeps is kept, and the newest always; a directory that is pruned goes on."""
    clock = testing.ManualClock()
    with testing.open(path=tmp_path / "log", clock=clock) as log:
        for _ in range(5):
            log.topic("orders").append(b"tea")
            log.backup(tmp_path / "backup", incremental=True)
            clock.advance(100)
        for options, kept in (
            ({"keep_last": 9}, [1, 2, 3, 4, 5]),
            ({"keep_last": 1}, [5]),
            ({"keep_within": 0}, [5]),
            ({"keep_within": 200}, [3, 4, 5]),
            ({"keep_last": 2, "keep_within": 300}, [2, 3, 4, 5]),
            ({"keep_last": 3, "keep_within": 100}, [3, 4, 5]),
        ):
            report = eventlog.prune_backup(tmp_path / "backup", **options, dry_run=True)
            assert [number for number, _, _ in report.kept] == kept
        eventlog.prune_backup(tmp_path / "backup", keep_last=2)
        assert log.backup(tmp_path / "backup", incremental=True).number == 6
    assert eventlog.restore(tmp_path / "backup", tmp_path / "new").record_count == 5


def test_a_directory_that_cannot_be_pruned_stays_as_it_is(tmp_path: Path) -> None:
    """Wrong options, no backup, a damaged file that has to be read, and one who writes there."""
    with eventlog.open(tmp_path / "log") as log:
        for _ in range(3):
            log.topic("orders").append_many([b"tea"] * 10)
            log.topic("orders").delete_records({0: log.topic("orders").bounds()[0][1] - 5})
            log.backup(tmp_path / "backup", incremental=True)
    for options in ({}, {"keep_last": 0}, {"keep_within": -1}):
        with pytest.raises(ValueError, match="Nothing was changed"):
            eventlog.prune_backup(tmp_path / "backup", **options)
    with pytest.raises(eventlog.NotALog, match="cannot prune"):
        eventlog.prune_backup(tmp_path / "log", keep_last=1)
    lock = directory_lock(str(tmp_path / "backup"))
    assert lock.try_acquire()
    with pytest.raises(eventlog.LogInUse, match="cannot prune"):
        eventlog.prune_backup(tmp_path / "backup", keep_last=1)
    lock.close()
    file = next((tmp_path / "backup").glob("000001*.batches"))
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    before = {one.name: one.read_bytes() for one in (tmp_path / "backup").iterdir()}
    with pytest.raises(eventlog.CorruptBackup):
        eventlog.prune_backup(tmp_path / "backup", keep_last=1)
    assert {one.name: one.read_bytes() for one in (tmp_path / "backup").iterdir()} == before
