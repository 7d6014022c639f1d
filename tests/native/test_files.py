"""Looks at open files in C tell what Python's tell."""

from __future__ import annotations

import itertools
import os
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
    """At a directory that changes, and a file that grows and is cut."""
    python = pure("eventlog.store.lmdb.file_pair")._untouched
    place = os.open(tmp_path, os.O_RDONLY)
    with (tmp_path / "file").open("wb", buffering=0) as file:
        settled_ns = os.fstat(place).st_ctime_ns
        for size, least, time_ns in itertools.product((0, 5), (0, 5, 6), (settled_ns, settled_ns - 1, -1)):
            os.truncate(file.fileno(), size)
            asked = (place, time_ns, file.fileno(), least)
            assert compiled.untouched(*asked) is python(*asked) is (time_ns == settled_ns and size >= least)
    os.close(place)
    for bad in ((), (1, 2, 3), ("1", 2, 3, 4)):
        with pytest.raises(TypeError):
            compiled.untouched(*bad)
    with pytest.raises(OSError, match="Bad file"):
        compiled.untouched(-1, 0, 0, 0)


@pytest.mark.parametrize(("bad", "error"), [(-1, OSError), (10**6, OSError), ("1", TypeError), (2**80, OverflowError)])
def test_what_is_no_open_file_is_an_error(bad: Any, error: type[Exception]) -> None:
    """The caller finds out which."""
    with pytest.raises(error):
        compiled.change_time_ns(bad)
