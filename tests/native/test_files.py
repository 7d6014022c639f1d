"""Looks at open files in C tell what Python's tell."""

from __future__ import annotations

import itertools
import os
import struct
from pathlib import Path

import pytest

from tests.native.accelerators import compiled
from tests.native.pure import pure


def test_a_glance_is_that_of_python(tmp_path: Path) -> None:
    """At a directory that changes, and a file that is cut and holds other numbers."""
    python = pure("eventlog.store.lmdb.file_pair")._untouched
    place = os.open(tmp_path, os.O_RDONLY)
    with (tmp_path / "file").open("wb+", buffering=0) as file:
        settled_ns = os.fstat(place).st_ctime_ns
        for numbers, least, time_ns, newest in itertools.product(
            ([], [4], [4, 5], [7, 5]), (0, 16, 17), (settled_ns, settled_ns - 1, -1), (-1, 4, 5, 7)
        ):
            os.truncate(file.fileno(), 0)
            os.pwrite(file.fileno(), struct.pack(f"={len(numbers)}q", *numbers), 0)
            asked = (place, time_ns, file.fileno(), least, 0, 8, newest)
            is_right = time_ns == settled_ns and 8 * len(numbers) >= least
            is_newest = newest < 0 or (len(numbers) == 2 and max(numbers) == newest)
            assert compiled.untouched(*asked) is python(*asked) is (is_right and is_newest)
    os.close(place)
    assert compiled.untouched(-1, 0, 0, 0, 0, 8, 1) is python(-1, 0, 0, 0, 0, 8, 1) is False
    for bad in ((), (1, 2, 3), ("1", 2, 3, 4, 5, 6, 7)):
        with pytest.raises(TypeError):
            compiled.untouched(*bad)


def test_a_look_at_both_files_finds_what_is_unusual(tmp_path: Path) -> None:
    """Python looks at everything that C calls unusual, and C calls nothing usual that is not."""
    directory = tmp_path / "log"
    directory.mkdir()
    data_name, lock_name = directory / "data", directory / "lock"
    data_name.write_bytes(b"d" * 100)
    lock_name.write_bytes(b"HEAD" + b"l" * 60)
    place = os.open(directory, os.O_RDONLY)
    data, lock = (os.open(name, os.O_RDWR) for name in (data_name, lock_name))

    def identity(descriptor: int) -> tuple[int, int]:
        status = os.fstat(descriptor)
        return status.st_dev, status.st_ino

    known = (
        *(os.fsencode(directory), place, *identity(place)),
        *(b"data", data, *identity(data)),
        *(b"lock", lock, *identity(lock)),
        *(64, b"HEAD"),
    )

    def look(settled_ns: int = 0, least: int = 100) -> tuple[int, int] | None:
        found: tuple[int, int] | None = compiled.in_place(known, settled_ns, least)
        if found is not None:
            assert compiled.same_names(known, settled_ns)
        return found

    settled_ns = os.fstat(place).st_ctime_ns
    assert look() == look(settled_ns) == (settled_ns, 100)
    assert look(least=101) is None
    os.truncate(data, 200)
    assert look(settled_ns) == (settled_ns, 200)
    os.pwrite(lock, b"h", 0)
    assert look() is look(settled_ns) is None
    os.pwrite(lock, b"H", 0)
    os.truncate(lock, 63)
    assert look() is look(settled_ns) is None
    os.truncate(lock, 64)
    for name in (data_name, lock_name):
        name.rename(tmp_path / "elsewhere")
        assert look() is None
        assert not compiled.same_names(known, settled_ns)
        assert look(os.fstat(place).st_ctime_ns) is not None  # whoever passes this time says that nothing was renamed
        name.write_bytes(b"another")
        assert look() is None
        name.unlink()
        name.symlink_to(tmp_path / "elsewhere")
        assert look() is None
        (tmp_path / "elsewhere").rename(name)
        assert look() is not None
    directory.rename(tmp_path / "moved")
    assert look() is look(os.fstat(place).st_ctime_ns) is None
    assert not compiled.same_names(known, 0)
    for descriptor in (place, data, lock):
        os.close(descriptor)
    assert look() is None
    for bad in ((), (known,), (known[1:], 1, 2), ((), 1, 2), ([], 1, 2), (known, "1", 2)):
        with pytest.raises(TypeError):
            compiled.in_place(*bad)
        with pytest.raises(TypeError):
            compiled.same_names(*bad[:2])


def test_two_numbers_are_those_of_python(tmp_path: Path) -> None:
    """Whole ones, those cut short, and those that are not there."""
    python = pure("eventlog.store.lmdb.file_pair")._two_numbers
    with (tmp_path / "file").open("wb+", buffering=0) as file:
        file.write(struct.pack("=3Q", 7, 2**64 - 1, 9)[:-1])
        for places in itertools.product((0, 8, 16, 24, 100), repeat=2):
            assert compiled.two_numbers(file.fileno(), *places) == python(file.fileno(), *places)
    assert python.__module__.endswith("file_pair")
    for bad, error in (((), TypeError), ((-1, 0, 8), OSError), (("1", 0, 8), TypeError)):
        with pytest.raises(error):
            compiled.two_numbers(*bad)
