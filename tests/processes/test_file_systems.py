"""Directories and disks that cannot hold a log, and files that are not what they should be."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import lmdb
import msgpack
import pytest

import eventlog
from tests.processes.child import Child
from tests.processes.disk_scenes import fill_the_disk, open_as_nobody, write_beyond_the_limit

_HEADER_BYTES = 4096


def _tree(path: Path) -> dict[str, bytes | None]:
    """All files below a directory, with their bytes."""
    return {
        file.relative_to(path).as_posix(): file.read_bytes() if file.is_file() else None for file in path.rglob("*")
    }


# --- not a log --------------------------------------------------------------------------------------------------


def test_a_file_is_not_a_log(path: Path) -> None:
    """A path that is a file is refused and left as it was."""
    path.write_bytes(b"tea")
    with pytest.raises(eventlog.NotALog, match="is a file"):
        eventlog.open(path)
    assert path.read_bytes() == b"tea"


def test_a_directory_with_other_files_is_not_made_a_log(path: Path) -> None:
    """A directory that holds something else is refused and left as it was."""
    path.mkdir()
    (path / "notes.txt").write_bytes(b"tea")
    with pytest.raises(eventlog.NotALog, match=r"notes\.txt"):
        eventlog.open(path)
    assert _tree(path) == {"notes.txt": b"tea"}


def test_an_empty_directory_becomes_a_log(path: Path) -> None:
    """A directory that was made beforehand will do."""
    path.mkdir()
    with eventlog.open(path) as log:
        assert log.topic("orders").append(b"tea").offset == 0


@pytest.mark.parametrize("content", [b"tea", b"tea" * 100_000], ids=["short", "long"])
def test_a_data_file_of_something_else_is_left_alone(path: Path, content: bytes) -> None:
    """A `data.mdb` that is not LMDB's is refused, and not a byte of it changes."""
    path.mkdir()
    (path / "data.mdb").write_bytes(content)
    with pytest.raises(eventlog.NotALog, match="not a log"):
        eventlog.open(path)
    assert (path / "data.mdb").read_bytes() == content


def test_a_database_of_another_program_is_left_alone(path: Path) -> None:
    """An LMDB file without our format row is refused, and not a byte of it changes."""
    path.mkdir()
    with lmdb.open(str(path), max_dbs=4, lib_version=0) as environment:
        table = environment.open_db(b"users")
        with environment.begin(write=True) as transaction:
            transaction.put(b"alice", b"1", db=table)
    before = (path / "data.mdb").read_bytes()
    with pytest.raises(eventlog.NotALog, match="something else"):
        eventlog.open(path)
    assert (path / "data.mdb").read_bytes() == before


def test_no_log_is_made_when_none_is_wanted(path: Path) -> None:
    """`create=False` opens what is there, and makes nothing."""
    with pytest.raises(eventlog.NotALog, match="create=True"):
        eventlog.open(path, create=False)
    assert not path.exists()


def test_a_newer_format_is_too_new_and_not_corrupt(path: Path) -> None:
    """A log of format 99 is refused with both versions, and not a byte of it changes."""
    eventlog.open(path).close()
    with lmdb.open(str(path), max_dbs=64, map_size=1 << 30, lib_version=0) as environment:
        table = environment.open_db(b"format")
        with environment.begin(write=True) as transaction:
            transaction.put(b"eventlog", msgpack.packb({"version": 99}), db=table)
    before = (path / "data.mdb").read_bytes()
    with pytest.raises(eventlog.FormatTooNew, match="99"):
        eventlog.open(path)
    assert (path / "data.mdb").read_bytes() == before


# --- cut short, removed, damaged --------------------------------------------------------------------------------


def test_a_log_whose_making_was_cut_short_is_made_again(path: Path) -> None:
    """A kill inside the very first write leaves one page of two; nothing was ever stored in it."""
    path.mkdir()
    with lmdb.open(str(path), lib_version=0):
        pass
    os.truncate(path / "data.mdb", _HEADER_BYTES)
    with eventlog.open(path) as log:
        assert log.topic("orders").append(b"tea").offset == 0


def test_a_log_that_was_truncated_is_refused_and_left_alone(path: Path) -> None:
    """A log that held something is not made again, even when only its first page is left."""
    with eventlog.open(path) as log:
        for _ in range(3):  # LMDB writes its two first pages in turn
            log.topic("orders").append(b"tea")
    os.truncate(path / "data.mdb", _HEADER_BYTES)
    before = (path / "data.mdb").read_bytes()
    with pytest.raises(eventlog.EventLogError):
        eventlog.open(path)
    assert (path / "data.mdb").read_bytes() == before


def test_a_log_deleted_underneath_refuses_and_leaves_the_path_to_another(path: Path) -> None:
    """The open log acknowledges nothing more; the path is free for another log."""
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        topic.append(b"tea")
        shutil.rmtree(path)
        with pytest.raises(eventlog.FilesChanged):
            topic.append(b"milk")
        with eventlog.open(path) as other:
            assert other.topics() == []
            assert other.uuid != log.uuid
            assert other.topic("orders").append(b"cake").offset == 0
        with pytest.raises(eventlog.FilesChanged):
            list(topic.read())


def test_a_damaged_batch_is_named_and_the_others_stay_readable(path: Path) -> None:
    """One flipped bit makes one batch unreadable: before it, after it and beside it all is there."""
    with eventlog.open(path) as log:
        topic = log.topic("orders", partitions=2)
        for number in range(5):
            topic.append_many([b"%d" % number] * 10, partition=0)
        topic.append(b"beside", partition=1)
    with lmdb.open(str(path), max_dbs=64, map_size=1 << 30, lib_version=0) as environment:
        table = environment.open_db(b"batches")
        with environment.begin(write=True) as transaction:
            key, value = list(transaction.cursor(db=table))[2]
            transaction.put(key, value[:-1] + bytes([value[-1] ^ 1]), db=table)
    with eventlog.open(path) as log, log.consumer("orders") as consumer:
        topic = log.topic("orders")
        readable = []
        with pytest.raises(eventlog.CorruptBatch, match=r"orders\[0\] up to offset 29"):
            readable.extend(record.offset for record in topic.read(0))
        assert [record.offset for record in topic.read(0, start=30)] == list(range(30, 50))
        assert [record.offset for record in topic.read(0, end=20)] == list(range(20))
        assert [record.value for record in topic.read(1)] == [b"beside"]
        report = log.verify()
        assert not report.is_sound
        assert len(report.problems) == 1
        assert "up to offset 29" in report.problems[0]
        assert topic.append(b"after", partition=0).offset == 50
        consumer.pause(("orders", 1))
        assert len(consumer.poll()) == 20
        with pytest.raises(eventlog.CorruptBatch):
            consumer.poll()
        assert consumer.position(("orders", 0)) == 20
        consumer.seek(("orders", 0), 30)
        assert len(consumer.poll()) == 21


# --- disks that refuse ------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
@pytest.mark.parametrize("what", ["log", "parent"])
def test_a_directory_that_this_user_may_not_write_is_refused(path: Path, what: str) -> None:
    """Opening a log of somebody else, and making one where that is not allowed, say so and change nothing."""
    if what == "log":
        with eventlog.open(path, mode=0o644) as log:
            log.topic("orders").append(b"tea")
    before = _tree(path.parent)
    for directory in (path.parent, *path.parent.parents):
        if directory.owner() == "root" and directory != Path("/tmp") and directory != Path("/"):
            directory.chmod(0o755)
    with Child(open_as_nobody, str(path)) as child:
        assert child.hear() == "ReadOnlyLog"
        assert "Let this user write" in child.hear()
    assert _tree(path.parent) == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for 2 MB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("mounting a small file system takes root")
    made = subprocess.run([mount, "-t", "tmpfs", "-o", "size=2m", "none", directory], capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"cannot mount: {made.stderr.decode().strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


def test_a_full_disk_loses_nothing_and_is_written_again_once_there_is_room(small_disk: Path) -> None:
    """DiskFull comes at the append; all before it is there, and the same log goes on."""
    with Child(fill_the_disk, str(small_disk / "log"), str(small_disk / "ballast")) as child:
        child.hear("done")
        assert child.end() == 0


def test_a_file_that_may_not_grow_is_as_good_as_a_full_disk(path: Path) -> None:
    """The limit of a process for its files is DiskFull, and goes on once it is raised."""
    with Child(write_beyond_the_limit, str(path)) as child:
        child.hear("done")
        assert child.end() == 0
