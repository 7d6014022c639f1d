"""Copies made by `compact()`: whole or not there, and never in the way of the next one."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

import eventlog
from eventlog.store.lmdb import scrubbing
from eventlog.store.lmdb.file_lock import FileLock


def _names(directory: Path) -> list[str]:
    return [file.name for file in directory.iterdir()]


@pytest.fixture
def full(path: Path) -> eventlog.EventLog:
    """A log of two mebibytes."""
    log = eventlog.open(path, durability="ordered")
    log.topic("orders").append_many([os.urandom(2000)] * 1000)
    return log


def test_a_copy_that_finds_no_room_leaves_nothing_and_can_be_made_again(
    full: eventlog.EventLog, tmp_path: Path
) -> None:
    """A file cut short would kill the process that opens it, and would be in the way of the next copy."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    (tmp_path / "made").mkdir()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        for name in ("made", "new"):
            with pytest.raises(eventlog.DiskFull) as caught:
                full.compact(tmp_path / name)
            assert caught.value.advice == "Make room there, and copy again."
            assert "Input/output" not in str(caught.value)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert _names(tmp_path / "made") == []
    assert not (tmp_path / "new").exists()
    for name in ("made", "new"):
        assert full.compact(tmp_path / name) > 2_000_000
        assert _names(tmp_path / name) == ["data.mdb"]
        with eventlog.open(tmp_path / name) as copy:
            assert copy.verify().record_count == 1000
    full.close()


def test_what_a_killed_copy_left_is_written_over(full: eventlog.EventLog, tmp_path: Path) -> None:
    """It is under another name, so nobody takes it for a log."""
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "data.mdb.partial").write_bytes(b"x" * 5_000_000)
    with pytest.raises(eventlog.NotALog):
        eventlog.open(tmp_path / "copy")
    assert full.compact(tmp_path / "copy") < 5_000_000
    assert _names(tmp_path / "copy") == ["data.mdb"]
    full.close()


def test_two_copies_into_one_directory_do_not_mix(full: eventlog.EventLog, tmp_path: Path) -> None:
    """The second is refused, and takes nothing from the first."""
    (tmp_path / "copy").mkdir()
    partial = tmp_path / "copy" / "data.mdb.partial"
    partial.write_bytes(b"of the other")
    other = FileLock(lambda: os.open(partial, os.O_RDWR))
    other.acquire()
    with pytest.raises(ValueError, match="not empty"):
        full.compact(tmp_path / "copy")
    assert partial.read_bytes() == b"of the other"
    other.close()
    full.close()


def test_a_log_that_came_into_the_directory_is_not_written_over(
    full: eventlog.EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may come as long as the copy takes."""
    scrub = scrubbing.scrub

    def overtaken(descriptor: int, page_bytes: int) -> None:
        scrub(descriptor, page_bytes)
        (tmp_path / "copy" / "data.mdb").write_bytes(b"tea")

    with monkeypatch.context() as patch:
        patch.setattr(scrubbing, "scrub", overtaken)
        with pytest.raises(ValueError, match="not empty"):
            full.compact(tmp_path / "copy")
    assert (tmp_path / "copy" / "data.mdb").read_bytes() == b"tea"
    assert _names(tmp_path / "copy") == ["data.mdb"]
    full.close()
