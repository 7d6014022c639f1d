"""
The liveness of members: one FIFO in `members/` for each member of a group.

It shows three things, without a transaction or a sync:

* the member holds its lock, which the kernel releases when the process dies, for any reason;
* its modification time is the end of the member's lease, in nanoseconds of the monotonic clock, which all processes
  of a machine share and nobody can set; its access time is the session timeout, so a lease that ends later than that
  is of an earlier boot;
* the member holds its writing end, so the kernel notifies the processes with an open reading end as soon as it dies.

It is made under a hidden name, locked and dated, and only then gets its name, so others only see complete files. Where
there are no FIFOs a plain file does, and a death is noticed at the next look. When a member may prolong its lease is
decided in `groups/lease.py`.
"""

from __future__ import annotations

import os
import select
import stat
import threading
import weakref
import zlib
from collections.abc import Iterable
from functools import partial
from operator import call
from typing import Protocol, TypeVar

from eventlog.backend.groups import InTurn
from eventlog.clock import Clock
from eventlog.errors import StorageError
from eventlog.groups.lease import Lease, Terms
from eventlog.groups.state import Life
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.store.folder import Folder
from eventlog.store.lmdb.errors import kind_of
from eventlog.uninterruptible import WeakMembers, close_file, close_files

try:
    import fcntl
except ImportError:  # no such system call: a dead member is noticed when its lease ends
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")

_NS = 1_000_000_000
_YOUNG_MS = 60_000
_WITHDRAWN = float("-inf")
_MOST_EARLIER = 2
_TURN = "turn-"


class Heartbeat(Protocol):
    """What prolongs the leases of members."""

    def add(self, file: LivenessFile) -> None:
        """Prolong the lease of this member from now on."""
        ...

    def remove(self, file: LivenessFile) -> None:
        """Prolong it no longer."""
        ...


class LivenessFile:
    """
    The sign of life of one member of this process.

    `beat` belongs to the heartbeat thread, the rest to the member's. Dropped without `leave`, it looks like a member
    whose process died. `permit` holds the time until which the member may hand out records: a loop asks for each one.
    """

    def __init__(self, folder: Folder, member_id: str, terms: Terms, clock: Clock) -> None:
        self._open: list[int] = []
        """Our descriptors: those of files that somebody has removed, and others may watch, and then the file's."""
        self._identity = (0, 0)
        self.id = member_id
        self.lease = Lease(terms, clock.monotonic())
        self.permit = [self.lease.usable_until_s]
        self._clock = clock
        self._folder = folder
        self._guard = threading.RLock()  # the garbage collector may abandon us in the middle of a beat
        weakref.finalize(self, close_files, self._open).atexit = False  # the process ends: the kernel does it
        self._heartbeat: Heartbeat | None = None

    def open(self) -> None:
        """Make the file; an `OSError` leaves what `Members.discard_abandoned` removes."""
        self._make(self.lease.end_s)

    def _make(self, end_s: float) -> None:
        folder, hidden = self._folder, f".{self.id}"
        folder.make()
        if self._open:
            with suppress(OSError):
                folder.remove(hidden)  # of an attempt that failed
        self._open.extend(map(call, (partial(_made, folder, hidden),)))  # opened and noted in one step
        while len(self._open) > 1 + _MOST_EARLIER:
            close_file(self._open, 0)
        descriptor = self._open[-1]
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        status = os.fstat(descriptor)
        self._identity = (status.st_dev, status.st_ino)
        self._publish(end_s)
        folder.rename(hidden, self.id)

    def _is_gone(self) -> bool:
        """Whether somebody has removed or renamed our file: then others take us for dead."""
        try:
            status = self._folder.status(self.id)
        except unless_interrupted(FileNotFoundError):
            return True
        except unless_interrupted(OSError):
            return False  # we cannot look, and conclude nothing
        return (status.st_dev, status.st_ino) != self._identity

    def is_usable(self, now_s: float) -> bool:
        """Whether the lease runs: the member may use its partitions without asking."""
        return self.lease.is_usable(now_s)

    def note_poll(self, now_s: float) -> None:
        """Note that the program polls."""
        self.lease.polled_s = now_s

    def beat(self) -> None:
        """
        Prolong the lease if it is not over, and the permit if it was not withdrawn.

        If our file is gone, others may have taken the partitions: we make it again, and hand out nothing before we
        have asked.
        """
        with self._guard:
            if self._open and self._is_gone():
                now_s = self._clock.monotonic()
                end_s = self.lease.later_end_s(now_s)
                self.permit[0] = _WITHDRAWN
                self.lease.end_now()
                if end_s is not None:
                    self._make(end_s)
                return
            end_s = self.lease.later_end_s(self._clock.monotonic())
            if end_s is not None and self._open:
                self._publish(end_s)
                self.lease.note_published(end_s, self._clock.monotonic())
                if self.permit[0] != _WITHDRAWN:
                    self.permit[0] = self.lease.usable_until_s

    @property
    def pause_s(self) -> float:
        """In how many seconds to beat again."""
        return self.lease.terms.heartbeat_s

    def withdraw(self) -> None:
        """Let a loop hand out nothing more before `allow`."""
        with self._guard:
            self.permit[0] = _WITHDRAWN

    def allow(self) -> None:
        """Let a loop hand out records for as long as the lease runs."""
        if self.permit[0] != self.lease.usable_until_s:
            with self._guard:
                self.permit[0] = self.lease.usable_until_s

    def confirm(self) -> None:
        """
        Begin the lease again.

        Belongs into the write transaction in which the member is seen to be one.
        """
        with self._guard:
            now_s = self._clock.monotonic()
            end_s = self.lease.confirmed_end_s(now_s)
            if self._open:
                try:
                    if self._is_gone():
                        self._make(end_s)
                    else:
                        self._publish(end_s)
                except unless_interrupted(OSError) as error:
                    raise StorageError(
                        f"cannot prolong the lease of member {self.id}: {error}.",
                        stored="Nothing was handed out.",
                        advice="Mend what the error names, and poll again.",
                    ) from error
                self.lease.note_confirmed(end_s, now_s)

    def begin_beating(self, heartbeat: Heartbeat) -> None:
        """Have the lease prolonged from now on."""
        self._heartbeat = heartbeat
        heartbeat.add(self)

    def stop_beating(self) -> None:
        """Have it prolonged no longer."""
        if self._heartbeat is not None:
            self._heartbeat.remove(self)

    def leave(self) -> None:
        """Remove the file."""
        self.stop_beating()
        with self._guard:  # a beat would make it again
            with suppress(OSError):
                self._folder.remove(self.id)
            self.abandon()

    def step_aside(self) -> None:
        """Leave the file with a fresh lease and no lock: the member's place is kept until that ends."""
        self.stop_beating()
        with self._guard:
            if self._open:
                self._publish(self._clock.monotonic() + self.lease.terms.session_timeout)
        self.abandon()

    def abandon(self) -> None:
        """Free the lock, and close our descriptor."""
        self.stop_beating()
        with self._guard:
            if fcntl is not None:
                for descriptor in self._open:
                    fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child that was forked just now may have copies
            close_files(self._open)

    def forget(self) -> None:
        """Close a child's copy of the descriptor after a fork; the lock is the parent's, and stays."""
        self._guard = threading.RLock()  # a thread that did not come along may have held the other
        close_files(self._open)

    def _publish(self, end_s: float) -> None:
        moments_ns = (int(self.lease.terms.session_timeout * _NS), int(end_s * _NS))
        for descriptor in self._open:
            os.utime(descriptor, ns=moments_ns)


def _made(folder: Folder, name: str) -> int:
    """A new FIFO, open for reading and writing, or a plain file."""
    if hasattr(os, "mkfifo"):
        with suppress(OSError):
            return folder.make_fifo(name, os.O_RDWR)
    return folder.create(name)


def _close_all(ends: dict[str, int]) -> None:
    while ends:
        close_file(ends, next(reversed(ends)))


class Members:
    """
    The signs of life of members: those of all processes to look at, those of this process to make.

    Any thread may use it.
    """

    def __init__(self, folder: Folder, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._files: WeakMembers[LivenessFile] = WeakMembers()

    def make(self, member_id: str, terms: Terms) -> LivenessFile:
        """
        A sign of life for a member of this process, under an id that nobody had before.

        Raises:
            StorageError: if it cannot be made.
        """
        file = LivenessFile(self._folder, member_id, terms, self._clock)
        self._files.add(file)  # before it is open: a fork may come at any time
        try:
            file.open()
        except unless_interrupted(OSError) as error:
            file.abandon()
            raise kind_of(error)(
                f"cannot become a member of a group: its file in {self._folder.path} cannot be made: {error}.",
                stored="The group is unchanged.",
                advice="Make room, or raise the limit that the error names, and try again.",
            ) from error
        return file

    def after_fork(self) -> None:
        """Close a child's copies of the files, even if a thread of the parent was using one."""
        for file in list(self._files):
            file.forget()
        self._files = WeakMembers()

    def look(self, member_ids: Iterable[str]) -> dict[str, Life]:
        """What can be seen of some members now."""
        return {member_id: self._seen(member_id)[0] for member_id in member_ids}

    def _seen(self, name: str) -> tuple[Life, bool]:
        """What can be seen of a member, and whether anybody holds its lock."""
        try:
            descriptor = self.open(name)
        except unless_interrupted(FileNotFoundError):
            return Life.DEAD, False
        except unless_interrupted(OSError):
            return Life.ALIVE, True  # we cannot look, and conclude nothing
        try:
            return self.seen(descriptor)
        finally:
            os.close(descriptor)

    def open(self, member_id: str) -> int:
        """The reading end of a member's sign of life; `FileNotFoundError` when it has left none."""
        return self._folder.open_to_look(member_id)

    def seen(self, descriptor: int) -> tuple[Life, bool]:
        """What can be seen of a member now, and whether anybody holds its lock."""
        try:
            is_locked = _is_locked(descriptor)
        except unless_interrupted(OSError):
            return Life.ALIVE, True  # we cannot look, and conclude nothing
        status = os.fstat(descriptor)
        left_s = status.st_mtime_ns / _NS - self._clock.monotonic()
        if left_s <= 0:
            return Life.DEAD, is_locked
        if is_locked:
            return Life.ALIVE, True
        return (Life.AWAY if left_s <= status.st_atime_ns / _NS else Life.DEAD), False

    def in_turn(self, group: str, act: InTurn[T]) -> T:
        """
        Call a function in the turn to do something for a group that needs to be done once.

        It saves work, and protects nothing: its holder may be stopped, and others go on without it. An interruption
        gives it back; between the two functions of a `with` it would not.
        """
        name = f"{_TURN}{zlib.crc32(group.encode()):08x}"  # two groups of one number take turns, which does no harm
        try:
            descriptor = self._folder.create(name)
        except unless_interrupted(OSError):
            descriptor = -1
        if descriptor < 0:
            return act(is_ours=True)
        try:
            return act(is_ours=_lock(descriptor))
        finally:
            os.close(descriptor)

    def discard(self, member_ids: Iterable[str]) -> None:
        """Remove the files of members that were removed from their groups."""
        for member_id in member_ids:
            with suppress(OSError):
                self._folder.remove(member_id)

    def discard_abandoned(self) -> None:
        """
        Remove what killed processes left behind before or after they were members.

        A file without a lock and with a lease that is over is of no use to anybody. One that is still being made
        looks the same, but is young.
        """
        try:
            names = self._folder.names()
        except unless_interrupted(OSError):  # nobody was here yet, or we cannot look: then `make` says why
            return
        for name in names:
            with suppress(OSError):
                if self._clock.now_ms() - self._folder.status(name).st_ctime_ns // 1_000_000 <= _YOUNG_MS:
                    continue  # not even a look: it takes the lock for a moment, and its maker may wait for that
                life, is_locked = self._seen(name)
                is_over = life is Life.DEAD or name.startswith((".", _TURN))
                if is_over and not is_locked:
                    self._folder.remove(name)


class FailureDetector:
    """
    A watch over some members: their lives when asked, their deaths as they happen.

    Belongs to one thread.
    """

    def __init__(self, members: Members) -> None:
        self._members = members
        self._ends: dict[str, int] = {}
        weakref.finalize(self, _close_all, self._ends).atexit = False
        self._chosen_count = 0
        self._alarm = select.poll() if hasattr(select, "poll") else None
        self.descriptors: set[int] = set()
        """What becomes ready when one of them dies."""

    def choose(self, member_ids: Iterable[str]) -> None:
        """Watch these, and no others."""
        chosen = dict.fromkeys(member_ids)
        self._chosen_count = len(chosen)
        for member_id in self._ends.keys() - chosen.keys():
            self._drop(member_id)
        for member_id in chosen.keys() - self._ends.keys():
            try:
                descriptor = self._ends[member_id] = self._members.open(member_id)
            except unless_interrupted(OSError):
                continue  # `look` says so
            if self._alarm is not None:
                self._alarm.register(descriptor, 0)
            self.descriptors.add(descriptor)

    def look(self, member_ids: Iterable[str]) -> dict[str, Life]:
        """What can be seen of some members now, watched or not."""
        ends = self._ends
        ids = list(member_ids)
        return {
            **self._members.look(one for one in ids if one not in ends),
            **{one: self._members.seen(ends[one])[0] for one in ids if one in ends},
        }

    def died(self) -> bool:
        """Whether one of them died since it was chosen; each death is told once."""
        if self._alarm is None or not self._ends:
            return False
        dead = [descriptor for descriptor, _ in self._alarm.poll(0)]
        for descriptor in dead:
            self._unwatch(descriptor)
        return bool(dead)

    def quiet_until_s(self) -> float:
        """
        The time until which `died` reports every death; in the past, if it cannot report them all.

        This is the earliest end of the members' leases, so it moves on as they are renewed.
        """
        if self._alarm is None or len(self._ends) < self._chosen_count:
            return -1.0
        statuses = [os.fstat(descriptor) for descriptor in self._ends.values()]
        if not all(stat.S_ISFIFO(status.st_mode) for status in statuses):
            return -1.0
        return min((status.st_mtime_ns / _NS for status in statuses), default=float("inf"))

    def close(self) -> None:
        """Watch nobody any more."""
        for member_id in list(self._ends):
            self._drop(member_id)

    def _drop(self, member_id: str) -> None:
        self._unwatch(self._ends[member_id])
        close_file(self._ends, member_id)

    def _unwatch(self, descriptor: int) -> None:
        self.descriptors.discard(descriptor)  # first: a thread that sleeps on it would wake up again and again
        if self._alarm is not None:
            with suppress(KeyError):  # it died before, or Ctrl-C came in between
                self._alarm.unregister(descriptor)


def _lock(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except unless_interrupted(BlockingIOError):
        return False
    except unless_interrupted(OSError):
        return True  # we cannot know, and go on without it
    return True


def _is_locked(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except unless_interrupted(BlockingIOError):
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False
