"""A file that was never finished is made anew, and nothing else is."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import lmdb
import pytest

import eventlog
from eventlog.store.lmdb.data_file import data_status, prepare
from eventlog.store.lmdb.pages import PageFile

_SECTOR_BYTES = 512
_PAGE_BYTES = 4096


def first_write(directory: Path) -> bytes:
    """What LMDB writes first to a new file."""
    with lmdb.open(str(directory), lib_version=0):
        return (directory / "data.mdb").read_bytes()


def is_new(data: Path) -> bool:
    """Whether a file is taken for one to which nothing was committed; it may be emptied."""
    with data.open("r+b") as file:
        return prepare(file.fileno(), str(data.parent))


def with_sectors(whole: bytes, kept: set[int]) -> bytes:
    """The bytes with zeros in all other sectors."""
    sectors = range(len(whole) // _SECTOR_BYTES)
    return b"".join(
        whole[_SECTOR_BYTES * at : _SECTOR_BYTES * (at + 1)] if at in kept else bytes(_SECTOR_BYTES) for at in sectors
    )


@pytest.mark.parametrize("kept", [set(), {0}, {8}, {3, 12}])
@pytest.mark.parametrize("size", [0, 152, 512, 4096, 4608, 8192])
def test_a_torn_first_write_is_made_again(tmp_path: Path, kept: set[int], size: int) -> None:
    """After a power cut any sectors of the first write may be zeros, and the file short; nothing was stored in it."""
    path = tmp_path / "log"
    path.mkdir()
    (path / "data.mdb").write_bytes(with_sectors(first_write(tmp_path), kept)[:size])
    with eventlog.open(path) as log:
        assert log.topic("orders").append(b"tea").offset == 0
    with eventlog.open(path) as log:
        assert [record.value for record in log.topic("orders").read()] == [b"tea"]


def test_a_whole_first_write_is_kept(tmp_path: Path) -> None:
    """Another process may have the file open by now."""
    whole = first_write(tmp_path)
    assert is_new(tmp_path / "data.mdb"), "nothing was committed to it"
    assert (tmp_path / "data.mdb").read_bytes() == whole


def test_nothing_else_is_emptied(tmp_path: Path, rng: random.Random) -> None:
    """One byte that LMDB's first write has not makes it somebody's file."""
    whole = first_write(tmp_path)
    torn = with_sectors(whole, {0})
    data = tmp_path / "else.mdb"
    for place in (144, 200, 511, 4095, 4096, *rng.sample(range(144, 2 * _PAGE_BYTES), 50)):
        changed = torn[:place] + bytes([torn[place] ^ 1]) + torn[place + 1 :]
        data.write_bytes(changed)
        is_new(data)
        assert data.read_bytes() == changed, f"the byte at {place} is not LMDB's"
    for longer in (torn + b"\0", whole + bytes(_PAGE_BYTES)):
        data.write_bytes(longer)
        assert not is_new(data)
        assert data.read_bytes() == longer


def test_a_file_that_is_not_there_is_new(tmp_path: Path) -> None:
    """What was never made has no status."""
    place = os.open(tmp_path, os.O_RDONLY)
    assert data_status(str(tmp_path), place) is None
    os.close(place)


@pytest.mark.parametrize(("number", "is_raised"), [(errno.EIO, True), (errno.ENOSPC, True), (errno.EINVAL, False)])
def test_a_directory_that_fails_to_sync_is_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_raised: bool
) -> None:
    """What is acknowledged afterwards could be gone with the log's name; where none are synced, none is missing."""

    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        if is_raised:
            with pytest.raises(eventlog.StorageError):
                eventlog.open(path)
        else:
            eventlog.open(path).close()
    with eventlog.open(path) as log:
        assert log.topic("orders").append(b"tea").offset == 0


@pytest.mark.parametrize("is_read_only", [False, True])
def test_a_log_whose_table_has_another_name_is_not_opened(tmp_path: Path, *, is_read_only: bool) -> None:
    """One bit in the list of tables: another, empty table would take its place, and offsets would be given twice."""
    path = tmp_path / "log"
    with eventlog.open(path) as log, log.consumer(log.topic("orders"), group="g") as consumer:
        log.topic("orders").append(b"tea")
        consumer.poll()
        consumer.commit()
    whole = (path / "data.mdb").read_bytes()
    page = max(PageFile(str(path / "data.mdb")).metas(), key=lambda meta: meta.transaction).main.root
    for name in (b"batches", b"order", b"offsets", b"sequences"):
        data = bytearray(whole)
        at = data.index(len(name).to_bytes(2, "little") + name, page * _PAGE_BYTES, (page + 1) * _PAGE_BYTES)
        data[at + 4] ^= 4
        (path / "data.mdb").write_bytes(data)
        with pytest.raises(eventlog.NotALog, match=f"has no {name.decode()} any more") as caught:
            eventlog.open(path, read_only=is_read_only)
        assert "eventlog repair" in caught.value.advice
        assert (path / "data.mdb").read_bytes() == data


def test_a_file_that_seems_empty_is_no_new_log(tmp_path: Path) -> None:
    """One bit makes the root of before the first commit the newest: nothing may be written over the other."""
    path = tmp_path / "log"
    with eventlog.open(tmp_path / "whole", cleaner=False) as log:
        log.topic("orders").append(b"tea")
        log.compact(path)
    data = bytearray((path / "data.mdb").read_bytes())
    assert [int.from_bytes(data[at : at + 8], "little") for at in (144, _PAGE_BYTES + 144)] == [0, 1]
    data[144] ^= 1 << 4
    (path / "data.mdb").write_bytes(data)
    with pytest.raises(eventlog.NotALog, match="has no tables although 16 commits were made to it"):
        eventlog.open(path)
    assert (path / "data.mdb").read_bytes() == data
