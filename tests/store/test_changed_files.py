"""Files of an open log that are removed, renamed, replaced or cut: an error, and nothing acknowledged that is lost."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog.store.lmdb import file_pair
from eventlog.store.lmdb.lasting_locks import HAS_LASTING_LOCKS

_OPEN = """
import sys, eventlog
try:
    with eventlog.open(sys.argv[1]) as log:
        print("opened", *log.topics())
except eventlog.EventLogError as error:
    print(type(error).__name__, error)
"""


def _opened_elsewhere(path: Path) -> str:
    """What another process finds."""
    done = subprocess.run([sys.executable, "-c", _OPEN, path], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _other_log(path: Path) -> Path:
    """A log with as many commits as the one under test, and larger."""
    other = path.with_name("other")
    with eventlog.open(other, durability="ordered") as log:
        log.topic("teas").append_many([bytes(30_000)] * 10)
        log.topic("milks").append(b"1")
    return other


def _replace(path: Path) -> None:
    (_other_log(path) / "data.mdb").rename(path / "data.mdb")


def _write_over(path: Path) -> None:
    shutil.copyfile(_other_log(path) / "data.mdb", path / "data.mdb")


def _restore_older(path: Path) -> None:
    shutil.copyfile(path.with_name("older") / "data.mdb", path / "data.mdb")


def _restore_all(path: Path) -> None:
    subprocess.run(["cp", "-a", f"{path.with_name('older')}/.", path], check=True)


_HARM: dict[str, Callable[[Path], object]] = {
    "directory removed": shutil.rmtree,
    "lock file cut": lambda path: os.truncate(path / "lock.mdb", 0),
    "lock file cut in the middle": lambda path: os.truncate(path / "lock.mdb", 4096),
    "directory renamed": lambda path: path.rename(path.with_name("elsewhere")),
    "directory above renamed": lambda path: path.parent.rename(path.parent.with_name("above")),
    "data file removed": lambda path: (path / "data.mdb").unlink(),
    "data file renamed": lambda path: (path / "data.mdb").rename(path / "data.old"),
    "data file replaced": _replace,
    "data file written over by another": _write_over,
    "data file written over by an older copy": _restore_older,
    "all files written over by an older copy": _restore_all,
    "data file cut": lambda path: os.truncate(path / "data.mdb", 8192),
    "data file emptied": lambda path: os.truncate(path / "data.mdb", 0),
    "lock file removed": lambda path: (path / "lock.mdb").unlink(),
    "lock file renamed": lambda path: (path / "lock.mdb").rename(path / "lock.old"),
    "lock file replaced": lambda path: shutil.copyfile(path / "lock.mdb", path / "new").rename(path / "lock.mdb"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a log may be made, in a directory that may be renamed."""
    (tmp_path / "around").mkdir()
    return tmp_path / "around" / "log"


def _send(log: eventlog.EventLog, topic: eventlog.Topic[Any, str]) -> None:
    with log.producer() as producer:
        producer.send(topic, "cake").result()


def _transact(log: eventlog.EventLog, topic: eventlog.Topic[Any, str]) -> None:
    with log.transaction() as transaction:
        transaction.send(topic, "cake")


_CALLS: dict[str, Callable[[eventlog.EventLog, eventlog.Topic[Any, str]], object]] = {
    "append": lambda _, topic: topic.append("cake"),
    "send": _send,
    "transaction": _transact,
    "delete": lambda log, _: log.delete_topic("orders"),
    "sync": lambda log, _: log.sync(),
    "verify": lambda log, _: log.verify(),
}


def _pass_time() -> None:
    """Let the millisecond pass in which only names are looked at."""
    end_s = time.monotonic() + 0.002
    while time.monotonic() < end_s:
        pass


@pytest.mark.parametrize("harm", _HARM)
@pytest.mark.parametrize("call", _CALLS)
def test_nothing_is_acknowledged_that_is_not_in_the_log(path: Path, harm: str, call: str) -> None:
    """The files are those that the names lead to, or the call fails and changes nothing."""
    log = eventlog.open(path, durability="ordered")
    topic = log.topic("orders", value=str)
    topic.append("tea")
    shutil.copytree(path, path.with_name("older"))
    topic.append("milk")
    _HARM[harm](path)
    _pass_time()
    with pytest.raises(eventlog.FilesChanged) as caught:
        _CALLS[call](log, topic)
    assert str(path) in str(caught.value)
    if "written over" not in harm:
        with pytest.raises(eventlog.FilesChanged):
            topic.bounds()  # readers notice, too
    log.close()


def test_a_log_whose_files_came_back_goes_on(path: Path) -> None:
    """Nothing was written meanwhile, so nothing is wrong."""
    with eventlog.open(path, durability="ordered") as log:
        topic = log.topic("orders", value=str)
        topic.append("tea")
        path.rename(path.with_name("elsewhere"))
        with pytest.raises(eventlog.FilesChanged):
            topic.append("milk")
        path.with_name("elsewhere").rename(path)
        assert topic.append("cake").offset == 1
        assert [record.value for record in topic.read()] == ["tea", "cake"]


def test_what_others_do_in_the_directory_is_no_harm(path: Path) -> None:
    """Its time changes with every name in it."""
    with eventlog.open(path, durability="ordered") as log:
        topic = log.topic("orders")
        for number in range(3):
            (path / f"note-{number}").touch()
            topic.append(b"tea")
            (path / "data.mdb").touch()
            (path / "data.mdb").chmod(0o640)
            topic.append(b"tea")
        assert log.verify().record_count == 6


def test_a_later_commit_that_another_thread_sees_is_no_loss(
    disk_log: eventlog.EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may come between our look at the file and the comparison."""
    files = disk_log._store.environment._files
    assert files is not None
    look = files._in_both_pages

    def overtaken(place: int) -> tuple[int, int]:
        numbers = look(place)
        files._last_commit = max(numbers) + 5
        return numbers

    monkeypatch.setattr(files, "_in_both_pages", overtaken)
    files.check_last_commit()


@pytest.mark.parametrize(
    "harm",
    ["directory removed", "directory above renamed", "data file emptied", "data file replaced", "lock file renamed"],
)
def test_a_consumer_that_waits_notices(path: Path, harm: str) -> None:
    """Within a second or so; else it would wait without end for records of another log, or die of SIGBUS."""
    log = eventlog.open(path, durability="ordered")
    log.topic("orders").append(b"tea")
    consumer = log.consumer("orders")
    assert len(consumer.poll()) == 1
    assert consumer.poll(timeout=0.3) == []  # the directory has settled: from now on there are glances
    _other_log(path)
    threading.Timer(0.05, _HARM[harm], [path]).start()
    with pytest.raises(eventlog.FilesChanged):
        consumer.poll(timeout=30.0)
    log.close()


def test_a_consumer_that_waits_only_glances(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks ten times a second, and most programs wait most of the time."""
    looks = []
    with eventlog.open(path, durability="ordered") as log, log.consumer(log.topic("orders")) as consumer:
        assert consumer.poll(timeout=0.3) == []  # the directory has settled
        monkeypatch.setattr(log._store.environment, "check_files", lambda: looks.append(0))
        consumer.poll(timeout=0.5)
    assert len(looks) <= 2  # for the read, and once a second


# -- two processes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["data.mdb", "lock.mdb"])
def test_nobody_opens_a_log_that_is_open_with_another_file(path: Path, name: str) -> None:
    """Two processes with one file in common and one not would write over each other's pages."""
    with eventlog.open(path, durability="ordered") as log:
        topic = log.topic("orders")
        topic.append(b"tea")
        for moved in (name, "waiters"):  # without `waiters/` it looks like a log that was never finished
            (path / moved).rename(path.with_name(moved))
        assert _opened_elsewhere(path).startswith("FilesChanged")
        assert name == "lock.mdb" or not (path / name).exists()
        for moved in (name, "waiters"):
            path.with_name(moved).rename(path / moved)
        assert _opened_elsewhere(path) == "opened orders"
        assert topic.append(b"milk").offset == 1


def test_a_second_name_of_the_data_file_is_no_second_log(path: Path) -> None:
    """A clone of hard links, whose lock file is its own, is a way to write over a log that is open."""
    with eventlog.open(path, durability="ordered") as log:
        log.topic("orders")
        clone = path.with_name("clone")
        clone.mkdir()
        (clone / "data.mdb").hardlink_to(path / "data.mdb")
        assert _opened_elsewhere(clone).startswith("FilesChanged")
        with pytest.raises(eventlog.FilesChanged):
            eventlog.open(clone)
        (clone / "lock.mdb").unlink(missing_ok=True)
        (clone / "lock.mdb").hardlink_to(path / "lock.mdb")
        with pytest.raises(eventlog.StorageError, match="under another name"):
            eventlog.open(clone)
        log.topic("teas")
    assert _opened_elsewhere(clone) == "opened orders teas"


def _locks_of(path: Path) -> list[str]:
    """The kernel's list of locks on a file: kind, access, first and last byte."""
    inode = f":{path.stat().st_ino} "
    lines = Path("/proc/locks").read_text().splitlines()
    return [" ".join(line.split()[1:4:2] + line.split()[6:]) for line in lines if inode in line]


@pytest.mark.skipif(not HAS_LASTING_LOCKS, reason="no locks of open file descriptions")
def test_a_copy_inside_the_program_takes_no_lock_away(path: Path) -> None:
    """POSIX locks end with the first close of any descriptor; those that count are of another kind."""
    with eventlog.open(path, durability="ordered") as log:
        topic = log.topic("orders")
        topic.append(b"tea")
        before = sorted(line for line in _locks_of(path / "lock.mdb") if line.startswith("OFDLCK"))
        number = log._store.environment._files.reader_number
        assert f"OFDLCK WRITE {number} {number}" in before
        assert "OFDLCK READ 0 0" in before
        shutil.copytree(path, path.with_name("copy"))
        (path / "lock.mdb").read_bytes()
        assert sorted(_locks_of(path / "lock.mdb")) == before
        assert topic.bounds() == {0: (0, 1)}
    assert _locks_of(path / "lock.mdb") == []


@pytest.mark.skipif(not HAS_LASTING_LOCKS, reason="no locks of open file descriptions")
def test_a_reader_is_alive_although_its_program_copied_the_log(path: Path) -> None:
    """Another process would free the slot of the reader, and writers the pages that it reads."""
    code = """
import sys, eventlog, shutil
log = eventlog.open(sys.argv[1])
environment = log._store.environment
with environment.reading() as snapshot:
    shutil.copytree(sys.argv[1], sys.argv[1] + "-copy")
    print(flush=True)
    input()
"""
    with eventlog.open(path, durability="ordered") as log:
        log.topic("orders")
        with subprocess.Popen([sys.executable, "-c", code, path], stdin=-1, stdout=-1) as child:
            assert child.stdout is not None
            child.stdout.readline()
            assert log._store.environment._free_slots() == 0
            child.kill()
            child.wait()
        assert log._store.environment._free_slots() == 1


def test_without_such_locks_lmdbs_own_are_left(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that has none gets what it had."""
    monkeypatch.setattr(file_pair.fcntl, "F_OFD_SETLK", -1)
    with eventlog.open(path, durability="ordered") as log:
        log.topic("orders")
        posix = [line for line in _locks_of(path / "lock.mdb") if line.startswith("POSIX")]
        assert f"POSIX WRITE {os.getpid()} {os.getpid()}" in posix
    assert fcntl.F_OFD_SETLK == -1


def test_a_new_log_in_the_place_of_one_that_was_removed_is_another(path: Path) -> None:
    """Its directory may even get the number of the old one."""
    old = eventlog.open(path, durability="ordered")
    old.topic("orders")
    shutil.rmtree(path)
    with eventlog.open(path, durability="ordered") as new:
        assert new.topics() == []
        with pytest.raises(eventlog.FilesChanged):
            old.topic("teas")
        old.close()
        assert new.topic("milks").append(b"1").offset == 0
    gc.collect()


def test_a_commit_that_stored_nothing_is_not_missed(path: Path) -> None:
    """LMDB gives it no number, so the next look finds an older one."""
    with eventlog.open(path, durability="ordered") as log:
        topic = log.topic("orders", value=str, partitions=2)
        topic.append("tea", message_id="1")
        for _ in range(3):
            topic.append("tea", message_id="1")
            topic.create_partitions(2)
            log._store.environment.check_files()
        assert len(list(topic.read())) == 1
