"""What the tests that kill share: a place for a log, and a way to start writers quickly."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.nursery import Nursery

_MEMORY = Path("/dev/shm")


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """Starts writers quickly."""
    with Nursery() as nursery:
        yield nursery


@pytest.fixture(params=["disk", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Where a log may be made: where syncs take their time, and where they take none and commits follow closely."""
    if request.param == "disk":
        yield tmp_path / "log"
        return
    if not os.access(_MEMORY, os.W_OK):
        pytest.skip(f"{_MEMORY} is not there")
    with tempfile.TemporaryDirectory(dir=_MEMORY, prefix="eventlog-test-") as directory:
        yield Path(directory) / "log"
