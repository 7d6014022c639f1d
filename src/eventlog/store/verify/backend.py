"""The maintenance methods of `Store` (`eventlog.backend.maintenance`): sync, `verify()`, cleaning, figures, copies."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from eventlog.interruptions import suppress, unless_interrupted
from eventlog.options import check_bool
from eventlog.store.folder import Folder, check_outside, has_name, is_directory, make_directory
from eventlog.store.lmdb.errors import kind_of

if TYPE_CHECKING:
    from eventlog.backend.backup import BackupReport
    from eventlog.backend.maintenance import CleanReport, LogStats, VerifyReport
    from eventlog.backend.topics import TopicBackend
    from eventlog.clock import Clock
    from eventlog.store.cleaning.cleaner import Cleaner
    from eventlog.store.committer import Committer
    from eventlog.store.lmdb.environment import Environment
    from eventlog.store.records.commit_request import CommitRequest


class StoreMaintenance:
    """Care for the log as a whole; any thread may call."""

    path: str
    is_memory: bool
    environment: Environment
    committer: Committer
    clock: Clock
    _mode: int

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

    def clean(self, budget: float | None) -> CleanReport:
        """Delete what no topic keeps, for about `budget` seconds."""
        self.abort_expired()
        return self._made_cleaner().clean(budget)

    def abort_expired(self) -> None:
        """End the transactions of Kafka's clients whose time is over; one look if none is open."""
        from eventlog.store.kafka.transactions import abort_expired

        abort_expired(self.environment, self.committer.run, self.clock.now_ms())

    def _clean_for_room(self, run: Callable[[CommitRequest], object]) -> bool:
        return self._made_cleaner().make_room(run)

    def keep_clean(self) -> None:
        """Have the log cleaned in the background from now on."""
        self._made_cleaner().start()

    @property
    def _cleaner(self) -> Cleaner | None:
        return cast("Cleaner | None", self.__dict__.get("the cleaner"))

    def _made_cleaner(self) -> Cleaner:
        made = self._cleaner
        if made is None:
            from eventlog.store.cleaning.cleaner import Cleaner  # few topics have a retention
            from eventlog.store.cleaning.turn import Turn

            folder = None if self.is_memory else Folder(os.path.join(self.path, "cleaning"), self._mode)
            topics = cast("TopicBackend", self).topics
            made = Cleaner(self.environment, self.committer, Turn(folder), topics, self.clock.now_ms)
            made = cast("Cleaner", self.__dict__.setdefault("the cleaner", made))  # of two threads, both get the first
        return made

    def stats(self) -> LogStats:
        """Count what is stored."""
        from eventlog.store.verify.figures import count  # few programs count: `import eventlog` is fast

        self.environment.check_identity()
        cleaner = self._cleaner
        return count(self.environment, () if cleaner is None else cleaner.failed_topics)

    def backup(
        self, target: str, *, is_incremental: bool, progress: Callable[[int, int], object] | None
    ) -> BackupReport:
        """Write a backup into a directory, or add to those that are there."""
        from eventlog.store.backup.backup import back_up  # few programs do

        check_bool("incremental", is_incremental)
        check_outside(os.path.abspath(target), self.environment.path, verb="back up")
        return back_up(self.environment, target, is_incremental=is_incremental, clock=self.clock, progress=progress)

    def compact(self, destination: str | os.PathLike[str]) -> int:
        """Write a copy without free pages into a new directory; writers may go on."""
        from eventlog.store.lmdb.copying import PARTIAL_FILE, DestinationInUse  # few programs copy

        path = os.path.abspath(destination)
        check_outside(path, self.environment.path, verb="compact")
        is_made = not has_name(path)
        try:
            if not is_made and (not is_directory(path) or set(os.listdir(path)) - {PARTIAL_FILE}):
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
