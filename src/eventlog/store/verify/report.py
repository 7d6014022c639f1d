"""
The report of a verification, and the compacting copy of a log.

The verification itself is in `verify.py`, which is imported when it first runs.
"""

from __future__ import annotations

import os

import attrs

from eventlog.store.lmdb.data_file import make_directory
from eventlog.store.lmdb.errors import kind_of
from eventlog.store.store import Store


@attrs.frozen
class VerifyReport:
    """
    The result of checking the whole log.

    `problems` is empty if everything stored is what was written: batches, their order, indexes, message ids,
    snapshots, groups, members, committed offsets, states and projections. It holds the first thousand problems.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     meta = log.topic("orders").append(b"tea")
        ...     report = log.verify()
        >>> report.is_sound, report.record_count, report.problems
        (True, 1, ())
    """

    topic_count: int
    batch_count: int
    record_count: int
    stored_bytes: int
    problems: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Whether no problem was found."""
        return not self.problems


def compact(store: Store, directory: str | os.PathLike[str]) -> int:
    """
    Write a copy without free pages into a new directory, and return its size in bytes.

    Writers may go on.
    """
    destination = os.path.abspath(directory)
    if os.path.exists(destination) and (not os.path.isdir(destination) or os.listdir(destination)):
        raise ValueError(
            f"cannot compact into {destination}: it exists and is not empty. It was left as it was. "
            "Choose a new directory."
        )
    try:
        os.makedirs(os.path.dirname(destination), exist_ok=True)
        make_directory(destination, 0o600)
    except OSError as error:
        raise kind_of(error)(
            f"cannot compact into {destination}: {error}. The log is unchanged. Choose a directory that can be created."
        ) from error
    return store.environment.copy(destination)
