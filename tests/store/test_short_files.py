"""Files of a log that are too short, empty, or no files at all: a typed error, and never a dead process."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

import eventlog
from eventlog.store.lmdb.data_file import check_length
from eventlog.store.lmdb.environment import STATE, Environment

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_OPEN_EACH = """
import sys, eventlog
for path in sys.argv[1:]:
    for create in (False, True):
        try:
            with eventlog.open(path, create=create) as log:
                print("sound" if log.verify().is_sound else "damaged")
        except eventlog.EventLogError as error:
            print(type(error).__name__)
"""


def check_size(data: Path) -> None:
    """Refuse a file that lacks pages."""
    with data.open("rb") as file:
        check_length(file.fileno(), str(data))


@pytest.fixture
def used(path: Path) -> Path:
    """The directory of a log with some pages."""
    with eventlog.open(path, durability="ordered") as log:
        topic = log.topic("orders")
        for _ in range(50):
            topic.append(b"x" * 1000)
    return path


def test_a_file_that_was_cut_short_is_refused(used: Path, tmp_path: Path) -> None:
    """LMDB would read pages that are not there, and the process would die of SIGBUS: so a child opens them."""
    size = (used / "data.mdb").stat().st_size
    copies = []
    for length in (0, 1, 152, 4096, 4097, 8192, 12288, size // 2, size - _PAGE_BYTES, size - 1):
        copies.append(tmp_path / str(length))
        shutil.copytree(used, copies[-1])
        os.truncate(copies[-1] / "data.mdb", length)
    child = subprocess.run([sys.executable, "-c", _OPEN_EACH, *copies, used], check=False, capture_output=True)
    assert child.stdout.decode().split() == ["StorageError"] * 2 * len(copies) + ["sound"] * 2, child.stderr.decode()
    assert child.returncode == 0


def test_the_error_of_a_short_file_has_both_sizes(used: Path) -> None:
    """And the file stays as it was."""
    size = (used / "data.mdb").stat().st_size
    os.truncate(used / "data.mdb", size - _PAGE_BYTES)
    with pytest.raises(eventlog.StorageError, match=f"has {size - _PAGE_BYTES} bytes, .* needs {size}"):
        eventlog.open(used)
    assert (used / "data.mdb").stat().st_size == size - _PAGE_BYTES


def _store(environment: Environment, key: bytes, value: bytes | None) -> None:
    transaction = environment.begin_writing()
    if value is None:
        transaction.delete(key, db=environment.table(STATE))
    else:
        transaction.put(key, value, db=environment.table(STATE))
    environment.commit(transaction)


def test_last_pages_that_are_free_are_not_missed(tmp_path: Path) -> None:
    """LMDB does not write a page that its own transaction has freed again, so the last one may never be there."""
    with eventlog.open(tmp_path / "log", durability="ordered") as log:
        environment = log._store.environment
        for number in range(5):
            _store(environment, b"small", b"%d" % number)  # pages for what follows, before the large value
        _store(environment, b"large", bytes(50 * _PAGE_BYTES))
        _store(environment, b"large", None)
    data = tmp_path / "log" / "data.mdb"
    size = data.stat().st_size
    os.truncate(data, size - 40 * _PAGE_BYTES - 100)
    check_size(data)
    with eventlog.open(tmp_path / "log") as log:
        assert log.topics() == []
    os.truncate(data, size - 60 * _PAGE_BYTES)
    with pytest.raises(eventlog.StorageError, match="cut short"):
        eventlog.open(tmp_path / "log")


def test_a_log_without_its_data_file_is_not_begun_again(used: Path) -> None:
    """`waiters/` shows that there was one: an empty log in its place would hide the loss."""
    (used / "data.mdb").unlink()
    with pytest.raises(eventlog.StorageError, match="opened before"):
        eventlog.open(used)
    assert not (used / "data.mdb").exists()
    (used / "waiters" / "changes").unlink(missing_ok=True)
    (used / "waiters").rmdir()
    with eventlog.open(used) as log:
        assert log.topics() == []


@pytest.mark.parametrize("content", [b"", bytes(8192)])
def test_an_empty_data_file_is_no_log_when_none_is_to_be_made(path: Path, content: bytes) -> None:
    """`create=False` makes nothing, and leaves the file."""
    path.mkdir()
    (path / "data.mdb").write_bytes(content)
    with pytest.raises(eventlog.NotALog, match="there is no log"):
        eventlog.open(path, create=False)
    assert (path / "data.mdb").read_bytes() == content


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        here = Path.cwd()
        os.chdir(path.parent)  # the name of a socket has at most 107 bytes
        try:
            one.bind(path.name)
        finally:
            os.chdir(here)


@pytest.mark.parametrize("name", ["data.mdb", "lock.mdb"])
@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("FIFO", os.mkfifo),
        ("socket", _socket),
        ("directory", os.mkdir),
        ("symbolic link", lambda path: path.symlink_to("/dev/zero")),
        ("symbolic link", lambda path: path.symlink_to("nowhere")),
    ],
)
def test_what_is_no_file_is_neither_waited_for_nor_followed(
    used: Path, name: str, kind: str, make: Callable[[Path], object]
) -> None:
    """Opening a FIFO would wait without end, and a link leads to a file of somebody else."""
    (used / name).unlink()
    make(used / name)
    with pytest.raises(eventlog.NotALog, match=f"{name} is a {kind}"):
        eventlog.open(used)


def test_a_free_list_in_circles_ends(used: Path) -> None:
    """A crafted or damaged file may say anything of its free pages."""
    data = used / "data.mdb"
    with lmdb.open(str(used), lib_version=0, max_dbs=64) as environment:
        newest = environment.info()["last_txnid"] % 2
    whole = bytearray(data.read_bytes())
    at = newest * _PAGE_BYTES
    root = int.from_bytes(whole[at + 80 : at + 88], "little") * _PAGE_BYTES
    node = bytes([0, 0, 0, 0, 0, 0, 0, 0])
    # A branch with 1,000 nodes, all of which lead to itself.
    page = root // _PAGE_BYTES
    node = page.to_bytes(6, "little") + bytes(2)
    whole[root + 10 : root + 16] = (1).to_bytes(2, "little") + (16 + 2 * 1000).to_bytes(2, "little") + bytes(2)
    whole[root + 16 : root + 16 + 2000] = (3000).to_bytes(2, "little") * 1000
    whole[root + 3000 : root + 3008] = node
    data.write_bytes(whole[:-_PAGE_BYTES])
    with pytest.raises(eventlog.StorageError, match="cut short"):
        check_size(data)
