"""
Looking after a log: copying it without its holes.

Checking it is in `store/verification.py`.
"""

from __future__ import annotations

from pathlib import Path

from eventlog.errors import StorageError
from eventlog.store.store import Store
from eventlog.store.verification import VerifyReport, verify

__all__ = ["VerifyReport", "compact", "verify"]


def compact(store: Store, destination: Path) -> int:
    """
    Writes a copy without free pages into a new directory; its size in bytes.

    Writers may go on.
    """
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise ValueError(
            f"cannot compact into {destination}: it is there already and not empty. It was left as it was. "
            "Choose a new directory."
        )
    try:
        destination.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot compact into {destination}: {error}. The log is unchanged.") from error
    return store.environment.copy(destination)
