"""
Looking after a log: copying it without its holes, and what a check of it says.

The check itself is in `store/verify/verify.py`, which is imported by the first one.
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
    Says what a check of the whole log found.

    `problems` is empty when everything stored is what was written: batches, their order, indexes, message ids,
    snapshots, groups, members, committed offsets, states and projections. The first thousand are named.

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
        """Whether nothing was found."""
        return not self.problems


def compact(store: Store, directory: str | os.PathLike[str]) -> int:
    """
    Write a copy without free pages into a new directory; its size in bytes.

    Writers may go on.
    """
    destination = os.path.abspath(directory)
    if os.path.exists(destination) and (not os.path.isdir(destination) or os.listdir(destination)):
        raise ValueError(
            f"cannot compact into {destination}: it is there already and not empty. It was left as it was. "
            "Choose a new directory."
        )
    try:
        os.makedirs(os.path.dirname(destination), exist_ok=True)
        make_directory(destination, 0o600)
    except OSError as error:
        raise kind_of(error)(
            f"cannot compact into {destination}: {error}. The log is unchanged. Choose a directory that can be made."
        ) from error
    return store.environment.copy(destination)
