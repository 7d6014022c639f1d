"""
Projections: states that are folded from the records of the log, and their checkpoints.

A projection has an active build, which readers see, and perhaps a second one that is to replace it (a rebuild). Each
build has a state of its own. Its checkpoint moves in the commit that changes the state, and only from where the folder
believes it to be: a second folder that comes late is refused, so no record is folded twice.
"""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

import attrs

from eventlog.backend.states import StateChanges, StoredState
from eventlog.errors import UnknownProjection
from eventlog.named_tuples import NamedTuple


class Build(NamedTuple):
    """
    A state that is folded from the records, and its checkpoint: everything before `log_position` is in the state.

    `topics` are those whose records are folded, sorted; None is all. `deletions` is the number of the last deletion of
    records that it may have missed: what a later one took from behind the checkpoint was never folded.
    """

    state_id: int
    log_position: int
    topics: tuple[str, ...] | None
    deletions: int = 0


class StoredProjection(NamedTuple):
    """
    A projection as it was stored when somebody read it.

    `uuid` is given to no other projection of any log. `active` is the build that readers see, `rebuilding` the one that
    is to replace it. `doomed` are the ids of the states of earlier builds, of which rows may be left.
    """

    name: str
    uuid: UUID
    active: Build
    rebuilding: Build | None
    doomed: tuple[int, ...]
    created_ms: int


@attrs.frozen(repr=False)
class FoldCheckpoint:
    """
    A step of the checkpoint of a build.

    `build` is the build as it was read or last stored, `log_position` where its checkpoint goes, and `deletions` the
    number of the last deletion that it passes by. `is_rebuild` says that
    it is the build that is to replace the active one; with `switches` it does so in this commit, if its checkpoint is
    not behind that of the active one.
    """

    projection: StoredProjection
    build: Build
    log_position: int
    is_rebuild: bool = False
    switches: bool = False
    deletions: int = 0


def unknown_projection(name: str) -> UnknownProjection:
    """The error for a projection that the log does not have."""
    return UnknownProjection(
        f"the log has no projection {name!r}.",
        stored="Nothing was changed.",
        advice=f"log.projections() lists the projections of the log; log.projection({name!r}, function) makes one.",
        projection=name,
    )


class FoldLock(Protocol):
    """
    The lock that a folder of a projection holds: one of all threads and processes has it at a time.

    It ends when the process dies, however it dies. It saves work and protects nothing: that no record is folded twice
    is up to `commit_fold`. Where the system has no file locks everybody gets it.
    """

    is_held: bool

    @property
    def is_ours(self) -> bool:
        """Whether this very thread has it, by whatever object: then whoever asks was called by what it folds."""
        ...

    def try_acquire(self) -> bool:
        """
        Take the lock unless somebody has it; whether we have it now.

        Raises:
            StorageError: its file cannot be made or opened.
        """
        ...

    def note(self, log_position: int, most: int) -> None:
        """
        Leave word for the next holder that records from a log position on are folded now, `most` at most.

        It is kept if the process dies, and forgotten with `release`. Costs a system call.
        """
        ...

    def left_note(self) -> tuple[int, int] | None:
        """What the holder before us has noted, if it died while it held the lock."""
        ...

    def release(self) -> None:
        """Let another have the lock."""
        ...

    def forget(self) -> None:
        """Close a forked child's copy of the lock, which stays the parent's."""
        ...


class ProjectionBackend(Protocol):
    """The projections of a log."""

    def projection(self, name: str) -> StoredProjection | None:
        """The projection of that name."""
        ...

    def projection_and_end(self, name: str) -> tuple[StoredProjection | None, int]:
        """The projection of that name, and the log position that the next record gets, of one snapshot."""
        ...

    def projections(self) -> list[StoredProjection]:
        """All projections, by name."""
        ...

    def projection_and_state(
        self, name: str, *, is_rebuild: bool = False
    ) -> tuple[StoredProjection, StoredState] | None:
        """
        A projection with the state of its active build, or of its rebuild, of one snapshot.

        None when there is no such projection, or no rebuild.
        """
        ...

    def ensure_projection(
        self, name: str, topics: tuple[str, ...] | None, key: dict[str, object], value: dict[str, object]
    ) -> StoredProjection:
        """
        The projection of that name, created with an empty state and its checkpoint at 0 if there is none.

        A new projection is durable when this returns. Blocks for a commit.

        Raises:
            StorageError: the disk failed. The log refuses writes until it is opened again.
        """
        ...

    def begin_rebuild(
        self,
        projection: StoredProjection,
        topics: tuple[str, ...] | None,
        key: dict[str, object],
        value: dict[str, object],
    ) -> None:
        """
        Give a projection a second build, empty, with its checkpoint at 0; an earlier, unfinished one is given up.

        That is durable when this returns. Blocks for a commit. The active build is unchanged.

        Raises:
            UnknownProjection: the projection was deleted. Nothing was changed.
            StorageError: the disk failed. The log refuses writes until it is opened again.
        """
        ...

    def commit_fold(self, checkpoint: FoldCheckpoint, changes: StateChanges | None) -> bool:
        """
        Store the changes of a build's state and move its checkpoint, in one commit; whether the build was switched.

        Both are durable when this returns. Blocks for a commit.

        Raises:
            ConflictError: the stored build is not `checkpoint.build`: another folder was faster, or it was rebuilt.
                Nothing was stored.
            UnknownProjection, UnknownState: it was deleted. Nothing was stored.
            StorageError: the disk failed. The log refuses writes until it is opened again.
            BaseException: after an interruption (Ctrl-C) it may have been stored, and will not be stored later.
        """
        ...

    def sweep_builds(self, projection: StoredProjection) -> bool:
        """
        Remove some rows of builds that were given up; whether none are left.

        Bounded, so that other writers need not wait for long. Blocks for a commit.

        Raises:
            UnknownProjection: the projection was deleted.
            StorageError: the disk failed. The log refuses writes until it is opened again.
        """
        ...

    def delete_projection(self, name: str) -> None:
        """
        Delete a projection with all its builds.

        That is durable when this returns. Folders and readers of it get `UnknownProjection`. Blocks for a commit.

        Raises:
            UnknownProjection: there is none of that name. Nothing was changed.
            StorageError: the disk failed. The log refuses writes until it is opened again.
        """
        ...

    def fold_lock(self, projection: StoredProjection, *, is_rebuild: bool) -> FoldLock:
        """The lock to fold or to rebuild a projection, not taken yet."""
        ...
