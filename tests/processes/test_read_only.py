"""Logs that are opened for reading: by users who may not write, on mounts that are read-only, beside writers."""

from __future__ import annotations

import ast
import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import eventlog
from tests.processes.child import Child
from tests.processes.read_only_scenes import (
    fill,
    follow,
    look,
    look_around,
    read_before_and_after_a_fork,
    read_beside_a_writer,
    try_to_open,
)
from tests.volumes import read_only_view

WAYS = ["owner", "nobody", "mount", "without lock.mdb"]


def tree(path: Path) -> dict[str, tuple[int, int, bytes]]:
    """All files below a directory, with their modes, times and bytes, and the directory itself."""
    return {
        file.relative_to(path).as_posix(): (
            file.stat().st_mode,
            file.stat().st_mtime_ns,
            file.read_bytes() if file.is_file() else b"",
        )
        for file in (path, *path.rglob("*"))
    }


@contextlib.contextmanager
def way(name: str, path: Path, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A path and a user, by one of the ways to come to a log that is only to be read."""
    if name == "nobody":
        if os.geteuid() != 0:
            pytest.skip("becoming another user takes root")
        for directory in (path.parent, *path.parent.parents):
            if directory.owner() == "root" and directory not in (Path("/tmp"), Path("/")):
                directory.chmod(0o755)
    if name == "without lock.mdb":
        (path / "lock.mdb").unlink()
        shutil.rmtree(path / "waiters")
    if name == "mount":
        with read_only_view(path, tmp_path / "view") as view:
            yield str(view), "owner"
    else:
        yield str(path), name


@pytest.mark.parametrize("name", WAYS)
def test_everything_can_be_read_and_nothing_changes(path: Path, tmp_path: Path, name: str) -> None:
    """Not a byte, not a time, not a name; but for the reader's place in `lock.mdb`, where it may write to that."""
    with eventlog.open(path, mode=0o644) as log:
        fill(log)
        expected = look_around(log)
    with way(name, path, tmp_path) as (at, user):
        before = tree(path)
        with Child(look, at, user) as child:
            assert ast.literal_eval(child.hear()) == expected
            assert child.end() == 0
        after = tree(path)
    if name == "owner":
        before.pop("lock.mdb"), after.pop("lock.mdb")
    assert after == before


@pytest.mark.parametrize("name", WAYS[:3])
def test_new_records_are_noticed_without_a_fifo(path: Path, tmp_path: Path, name: str) -> None:
    """A consumer and a follower get what another process stores, and leave no file in `waiters/`."""
    with eventlog.open(path, mode=0o644) as log, way(name, path, tmp_path) as (at, user):
        orders = log.topic("orders", value=int)
        orders.append(1)
        with Child(follow, at, user) as child:
            child.hear("ready")
            names = set((path / "waiters").iterdir())
            orders.append(2)
            child.hear("2")
            child.hear("2")
            assert set((path / "waiters").iterdir()) == names
            assert child.end() == 0


@pytest.mark.parametrize("name", WAYS[:3])
def test_a_reader_beside_a_busy_writer_sees_whole_snapshots(path: Path, tmp_path: Path, name: str) -> None:
    """A writer that frees and takes pages all the time never writes over one that is being read."""
    with eventlog.open(path, mode=0o644, durability="ordered") as log, way(name, path, tmp_path) as (at, user):
        orders = log.topic("orders", value=int)
        number = 0
        with Child(read_beside_a_writer, at, user) as child:
            with log.transaction() as tx:
                tx.state("totals", value=int)["all"] = 0
            child.hear("ready")
            while child.is_silent(0.0):
                orders.append_many(range(number, number + 50))
                number += 50
                orders.delete_records({0: max(0, number - 300)})
                with log.transaction() as tx:
                    tx.state("totals", value=int)["all"] = number
            assert int(child.hear()) > 20
            assert number > 500
            child.say()
            assert child.end() == 0
        assert log.verify().is_sound


@pytest.mark.parametrize("name", WAYS)
def test_a_forked_child_reads_as_well(path: Path, tmp_path: Path, name: str) -> None:
    """It opens the files again, and takes turns of its own."""
    with eventlog.open(path, mode=0o644) as log:
        fill(log)
    with way(name, path, tmp_path) as (at, user), Child(read_before_and_after_a_fork, at, user) as child:
        assert child.hear() == "0"
        assert child.end() == 0


def test_a_file_that_may_not_be_read_is_told(path: Path, tmp_path: Path) -> None:
    """The error says which right is missing."""
    eventlog.open(path).close()
    path.chmod(0o755)
    with way("nobody", path, tmp_path) as (at, user), Child(try_to_open, at, user) as child:
        assert child.hear() == "ReadOnlyLog"
        assert "Let this user read the directory and data.mdb." in child.hear()


def test_no_log_is_made(path: Path) -> None:
    """There is nothing to read where nothing is."""
    with pytest.raises(eventlog.NotALog, match=r"there is no log\. Nothing was made"):
        eventlog.open(path, read_only=True)
    assert not path.exists()


@pytest.mark.parametrize("options", [{"upgrade": True}, {"path": ":memory:"}])
def test_what_makes_no_sense_with_reading_is_refused(path: Path, options: dict[str, Any]) -> None:
    """An upgrade writes, and a log in memory is empty."""
    with pytest.raises(ValueError, match=r"Nothing was opened\. Leave"):
        eventlog.open(options.pop("path", path), read_only=True, **options)


def test_an_older_format_is_not_upgraded(path: Path) -> None:
    """Format 3 is read as it is; format 2 says that it has to be upgraded, and stays as it is."""
    golden = Path(__file__).parents[1] / "golden"
    for version, is_read in ((3, True), (2, False)):
        copy = path.parent / f"v{version}"
        shutil.copytree(golden / f"log-v{version}", copy)
        before = tree(copy)
        if is_read:
            with eventlog.open(copy, read_only=True) as log:
                assert log.verify().is_sound
                assert log.topics()
        else:
            with pytest.raises(eventlog.FormatTooOld):
                eventlog.open(copy, read_only=True)
        assert tree(copy) == before


def test_one_process_may_have_it_open_both_ways(path: Path) -> None:
    """A log that was opened for reading writes nothing, although the process could."""
    with eventlog.open(path) as log, eventlog.open(path, read_only=True) as view:
        log.topic("orders").append(b"tea")
        assert [record.value for record in view.topic("orders").read()] == [b"tea"]
        with pytest.raises(eventlog.ReadOnlyLog):
            view.topic("orders").append(b"milk")


def test_the_first_to_open_it_for_reading_alone_decides(path: Path) -> None:
    """LMDB cannot open the file once more in one process; the error says what to do."""
    eventlog.open(path).close()
    with eventlog.open(path, read_only=True) as view:
        with eventlog.open(path, read_only=True) as other:
            assert other.topics() == []
        with pytest.raises(ValueError, match="this process has it open with read_only=True"):
            eventlog.open(path)
        assert view.topics() == []
    eventlog.open(path).close()
