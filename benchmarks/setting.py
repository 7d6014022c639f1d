"""
What all workloads share: where files go, how much work a round is, and the records themselves.

Knows nothing of how a log or a peer is driven.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
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


@attrs.frozen
class Setting:
    """
    The place and the size of one run.

    Args:
        directory: on the disk that is measured.
        memory_directory: on a file system in memory, or None.
        scale: 1.0 is the full run; counts shrink with it.
    """

    directory: Path
    memory_directory: Path | None = None
    scale: float = 1.0

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


def make_values(count: int) -> list[bytes]:
    """`count` values of 100 bytes, of which 50,000 differ; the same in every run."""
    return _repeated(random.Random(1), VALUE_BYTES, count)


def make_keys(count: int) -> list[bytes]:
    """`count` keys of 8 bytes, of which 50,000 differ; the same in every run."""
    return _repeated(random.Random(2), KEY_BYTES, count)


def _repeated(source: random.Random, size_bytes: int, count: int) -> list[bytes]:
    distinct = [source.randbytes(size_bytes) for _ in range(min(count, _DISTINCT_COUNT))]
    return (distinct * -(-count // len(distinct)))[:count]
