"""What the errors of the engine and of the system mean to us."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

import eventlog
from eventlog.store.lmdb.environment import Environment
from eventlog.store.lmdb.errors import EngineFailure, translate


def _failure(kind: str = "Error", words: str = "", *, verb: str = "write", path: str = "data/log") -> EngineFailure:
    return EngineFailure(verb, kind, f"{path}: {words}", path, 1 << 40, 2048)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (_failure("DiskError", "mdb_txn_commit"), eventlog.DiskFull),
        (_failure("MapFullError"), eventlog.DiskFull),
        (_failure(words=os.strerror(errno.EDQUOT)), eventlog.DiskFull),
        (_failure(words=os.strerror(errno.EFBIG)), eventlog.DiskFull),
        (_failure("ReadonlyError"), eventlog.ReadOnlyLog),
        (_failure(words=os.strerror(errno.EACCES)), eventlog.ReadOnlyLog),
        (_failure(words=os.strerror(errno.EROFS), verb="open"), eventlog.ReadOnlyLog),
        (_failure(words=os.strerror(errno.ENODEV), verb="open"), eventlog.UnsupportedFileSystem),
        (_failure(words=os.strerror(errno.ENOLCK), verb="open"), eventlog.UnsupportedFileSystem),
        (_failure("ReadersFullError", verb="read"), eventlog.StorageError),
        (_failure(words=os.strerror(errno.EIO)), eventlog.StorageError),
        (_failure(words=os.strerror(errno.EIO))._replace(is_disk_full=True), eventlog.DiskFull),
        (_failure("VersionMismatchError", verb="open"), eventlog.FormatTooNew),
        (_failure(words="lib_version=0 cannot read it", verb="open"), eventlog.FormatTooNew),
        (_failure("InvalidError", verb="open"), eventlog.NotALog),
        (_failure("OSError", os.strerror(errno.EMFILE), verb="open"), eventlog.StorageError),
        (_failure(words=os.strerror(errno.EAGAIN), verb="open"), eventlog.UnsupportedSharing),
        (_failure("OSError", os.strerror(errno.EDQUOT), verb="open"), eventlog.DiskFull),
    ],
)
def test_each_failure_becomes_the_error_that_says_what_to_do(
    failure: EngineFailure, expected: type[eventlog.EventLogError]
) -> None:
    """By its kind, or by the system's words."""
    error = translate(failure)
    assert type(error) is expected
    assert "data/log" in str(error)


def test_words_in_the_path_say_nothing() -> None:
    """A directory may be called what it likes."""
    error = translate(_failure(words=os.strerror(errno.EACCES), verb="open", path="engine/MDB_MAP_FULL"))
    assert type(error) is eventlog.ReadOnlyLog


def test_a_compacted_copy_has_the_logs_permissions(tmp_path: Path) -> None:
    """A log that only its owner may read has copies that only its owner may read."""
    with eventlog.open(tmp_path / "log") as log:
        log.topic("orders").append(b"tea")
        log.compact(tmp_path / "copy")
    assert stat.S_IMODE((tmp_path / "copy" / "data.mdb").stat().st_mode) == 0o600
    with eventlog.open(tmp_path / "copy") as copy:
        assert [record.value for record in copy.topic("orders").read()] == [b"tea"]


def _refuse(*_: object) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def test_a_lock_that_the_system_does_not_give_is_an_error_of_ours(
    disk_log: eventlog.EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was begun, so the log needs no opening again: the next append may succeed."""
    topic = disk_log.topic("orders")
    with monkeypatch.context() as patch:
        patch.setattr(disk_log._store.environment._write_lock, "acquire", _refuse)
        with pytest.raises(eventlog.UnsupportedFileSystem, match="Nothing of this call was acknowledged"):
            topic.append(b"refused")
    assert topic.append(b"tea").offset == 0


def test_a_turn_of_a_group_that_can_not_be_locked_is_taken(
    disk_log: eventlog.EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It saves work and protects nothing: without locks everybody has it."""
    members = disk_log._store.members
    (disk_log.path / "members").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("eventlog.store.groups.liveness.fcntl.flock", _refuse)
        assert members.in_turn("billing", lambda *, is_ours: is_ours)


def test_a_directory_that_can_not_be_made_in_the_log_is_an_error_of_ours(path: Path) -> None:
    """The log is not opened, and can be once the cause is mended."""
    eventlog.open(path).close()
    (path / "waiters").rmdir()
    (path / "waiters").write_bytes(b"")
    with pytest.raises(eventlog.StorageError, match="waiters"):
        eventlog.open(path)
    (path / "waiters").unlink()
    with eventlog.open(path) as log:
        assert log.topics() == []


def test_too_many_open_files_say_so() -> None:
    """The directory may be written; it is the limit that is to be raised."""
    error = translate(_failure("OSError", os.strerror(errno.EMFILE), verb="open"))
    assert "ulimit -n" in str(error)


def test_a_log_that_failed_does_not_sync(disk_log: eventlog.EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a sync that failed the system may call the next one a success, though data are lost."""
    environment: Environment = disk_log._store.environment
    monkeypatch.setattr(environment, "_failure", eventlog.StorageError("a sync failed."))
    with pytest.raises(eventlog.StorageError, match="open it again"):
        disk_log.sync()


def test_a_full_disk_stays_one_for_later_writes(disk_log: eventlog.EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a `with` block does at its end may raise in place of the first error, and has to say the same."""
    topic = disk_log.topic("orders")
    topic.append(b"tea")

    def commit_on_a_full_disk() -> None:
        with disk_log.consumer(topic, group="billing") as consumer:
            consumer.poll(timeout=0.0)
            monkeypatch.setattr(disk_log._store.environment, "_failure", eventlog.DiskFull("the first failure."))
            consumer.commit()

    with pytest.raises(eventlog.DiskFull, match="refuses writes"):
        commit_on_a_full_disk()
