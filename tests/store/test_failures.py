"""What the engine's errors mean to us."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

import eventlog
from eventlog.store.failures import EngineFailure, translated


def _failure(kind: str = "Error", words: str = "", *, verb: str = "write", path: str = "data/log") -> EngineFailure:
    return EngineFailure(verb, kind, f"{path}: {words}", Path(path), 1 << 40, 2048)


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
        (_failure(words="lib_version=0 can not read it", verb="open"), eventlog.FormatTooNew),
        (_failure("InvalidError", verb="open"), eventlog.NotALog),
    ],
)
def test_each_failure_becomes_the_error_that_says_what_to_do(
    failure: EngineFailure, expected: type[eventlog.EventLogError]
) -> None:
    """By its kind, or by the system's words."""
    error = translated(failure)
    assert type(error) is expected
    assert "data/log" in str(error)


def test_words_in_the_path_say_nothing() -> None:
    """A directory may be called what it likes."""
    error = translated(_failure(words=os.strerror(errno.EACCES), verb="open", path="engine/MDB_MAP_FULL"))
    assert type(error) is eventlog.ReadOnlyLog


def test_a_compacted_copy_has_the_logs_permissions(tmp_path: Path) -> None:
    """A log that only its owner may read has copies that only its owner may read."""
    with eventlog.open(tmp_path / "log") as log:
        log.topic("orders").append(b"tea")
        log.compact(tmp_path / "copy")
    assert stat.S_IMODE((tmp_path / "copy" / "data.mdb").stat().st_mode) == 0o600
    with eventlog.open(tmp_path / "copy") as copy:
        assert [record.value for record in copy.topic("orders").read()] == [b"tea"]
