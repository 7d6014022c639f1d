"""
What all workloads share: where files go, how much work a round is, and the records themselves.

Knows nothing of how a log or a peer is driven.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

TOPIC = "t"
VALUE_BYTES = 100
KEY_BYTES = 8
PAYLOAD_BYTES = VALUE_BYTES + KEY_BYTES
RECORDS_PER_BATCH = 1_000
RECORDS_PER_CALL = 50_000

_DISTINCT_COUNT = RECORDS_PER_CALL


@attrs.define(eq=False)
class Shelf:
    """
    Filled stores that several rows of one run share, each made when the first row asks for it.

    A row leaves a store as it found it, but for what `close()` takes away anyway.
    """

    directory: Path
    _filled: dict[str, Path] = attrs.field(factory=dict, init=False)

    def get(self, name: str, fill: Callable[[Path], None]) -> Path:
        """The directory of that name, filled if it is not there yet."""
        if name not in self._filled:
            path = Path(tempfile.mkdtemp(prefix="eventlog-bench-", dir=self.directory))
            self._filled[name] = path
            try:
                _fill(path, fill)
            except BaseException:
                shutil.rmtree(self._filled.pop(name), ignore_errors=True)
                raise
        return self._filled[name]

    def close(self) -> None:
        """Removes all of them."""
        while self._filled:
            shutil.rmtree(self._filled.popitem()[1], ignore_errors=True)


@attrs.frozen
class Setting:
    """
    The place and the size of one run.

    Args:
        directory: on the disk that is measured.
        memory_directory: on a file system in memory, or None.
        scale: 1.0 is the full run; counts shrink with it.
        shelf: keeps what `filled()` makes until the run ends; without one each row makes its own.
    """

    directory: Path
    memory_directory: Path | None = None
    scale: float = 1.0
    shelf: Shelf | None = None

    def count(self, full: int, *, at_least: int = 100) -> int:
        """How many records a round has whose full run has `full`."""
        return max(at_least, round(full * self.scale))

    @contextmanager
    def fresh_directory(self, *, in_memory: bool = False) -> Iterator[Path]:
        """A new, empty directory, gone afterwards. Without a memory file system it is on the disk."""
        parent = self.memory_directory if in_memory and self.memory_directory else self.directory
        path = Path(tempfile.mkdtemp(prefix="eventlog-bench-", dir=parent))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def filled(self, name: str, fill: Callable[[Path], None]) -> Iterator[Path]:
        """A directory on the disk that `fill` has filled, with all of it synced; rows with the same name share it."""
        if self.shelf is not None:
            yield self.shelf.get(name, fill)
            return
        with self.fresh_directory() as path:
            _fill(path, fill)
            yield path


def _fill(path: Path, fill: Callable[[Path], None]) -> None:
    fill(path)
    for file in path.rglob("*"):
        if file.is_file():
            with file.open("rb+") as opened:
                os.fsync(opened.fileno())


def make_values(count: int) -> list[bytes]:
    """`count` values of 100 bytes, of which 50,000 differ; the same in every run."""
    return _repeated(random.Random(1), VALUE_BYTES, count)


def make_keys(count: int) -> list[bytes]:
    """`count` keys of 8 bytes, of which 50,000 differ; the same in every run."""
    return _repeated(random.Random(2), KEY_BYTES, count)


def _repeated(source: random.Random, size_bytes: int, count: int) -> list[bytes]:
    distinct = [source.randbytes(size_bytes) for _ in range(min(count, _DISTINCT_COUNT))]
    return (distinct * -(-count // len(distinct)))[:count]
