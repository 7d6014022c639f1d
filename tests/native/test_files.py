"""Looks at open files in C tell what Python's tell."""

from __future__ import annotations

import itertools
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.native.accelerators import compiled
from tests.native.pure import pure


def test_a_look_is_that_of_python(tmp_path: Path) -> None:
    """For a file, a file without a name, and a directory."""
    python = pure("eventlog.store.lmdb.file_pair")._change_time_ns
    with (tmp_path / "file").open("wb") as file:
        file.write(b"tea")
        file.flush()
        place = os.open(tmp_path, os.O_RDONLY)
        found = [compiled.change_time_ns(one) for one in (file.fileno(), place)]
        assert found == [python(file.fileno()), python(place)]
        (tmp_path / "file").unlink()
        assert compiled.change_time_ns(file.fileno()) == python(file.fileno())
        os.close(place)


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


@pytest.mark.parametrize(("bad", "error"), [(-1, OSError), (10**6, OSError), ("1", TypeError), (2**80, OverflowError)])
def test_what_is_no_open_file_is_an_error(bad: Any, error: type[Exception]) -> None:
    """The caller finds out which."""
    with pytest.raises(error):
        compiled.change_time_ns(bad)
