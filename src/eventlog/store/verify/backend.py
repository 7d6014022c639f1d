"""The maintenance methods of `Store` (`eventlog.backend.maintenance`): sync, verification, and the compacting copy."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from eventlog.interruptions import suppress, unless_interrupted
from eventlog.store.folder import make_directory
from eventlog.store.lmdb.errors import kind_of

if TYPE_CHECKING:
    from eventlog.backend.maintenance import VerifyReport
    from eventlog.store.lmdb.environment import Environment


class StoreMaintenance:
    """Care for the log as a whole; any thread may call."""

    environment: Environment

    def sync(self) -> None:
        """Force everything committed to the disk."""
        self.environment.sync()

    def verify(self, progress: Callable[[int], object] | None) -> VerifyReport:
        """Check everything that is stored."""
        from eventlog.store.verify.verify import verify  # with every check of every table: `import eventlog` is fast

        self.environment.check_identity()
        report = verify(self.environment, progress)
        self.environment.check_identity()
        return report

    def compact(self, destination: str | os.PathLike[str]) -> int:
        """Write a copy without free pages into a new directory; writers may go on."""
        from eventlog.store.lmdb.copying import PARTIAL_FILE, DestinationInUse  # few programs copy

        path = os.path.abspath(destination)
        is_made = not os.path.lexists(path)
        try:
            if not is_made and (not os.path.isdir(path) or set(os.listdir(path)) - {PARTIAL_FILE}):
                raise _destination_in_use(path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            make_directory(path, 0o600)
        except unless_interrupted(OSError) as error:
            raise kind_of(error)(
                f"cannot compact into {path}: {error}.",
                stored="The log is unchanged.",
                advice="Choose a directory that can be created.",
            ) from error
        try:
            return self.environment.copy(path)
        except BaseException as error:
            if is_made:
                with suppress(OSError):
                    os.rmdir(path)
            if isinstance(error, DestinationInUse):
                raise _destination_in_use(path) from error
            raise


def _destination_in_use(path: str) -> ValueError:
    return ValueError(
        f"cannot compact into {path}: it exists and is not empty. It was left as it was. Choose a new directory."
    )
