"""
Signs of life: one file in `members/` for each member of a group.

A member holds the file's lock, which the kernel frees when its process dies, however it dies. And it keeps the file's
modification time at the end of its lease, in nanoseconds of the monotonic clock, which all processes of a machine
share and nobody can set. So a heartbeat costs no transaction and no sync, and whoever looks needs one open file.

The file is made under a hidden name, locked, dated, and only then gets its name: what others see is always complete.
Its content is the session timeout, for those who look: a lease that ends later than that is of an earlier boot.
When a member may prolong its lease is the business of `groups/lease.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

from eventlog.clock import Clock
from eventlog.groups.lease import Lease, Terms
from eventlog.groups.state import Life

try:
    import fcntl
except ImportError:  # no such system call: a dead member is noticed when its lease ends
    fcntl = None  # type: ignore[assignment]

_NS = 1_000_000_000
_LONGEST_CONTENT = 64
_YOUNG_MS = 60_000


class MemberFile:
    """
    Is the sign of life of one member of this process.

    `beat` belongs to the heart's thread, the rest to the member's. Dropped without `leave`, it looks like a member
    whose process died.
    """

    def __init__(self, directory: Path, member_id: str, terms: Terms, clock: Clock) -> None:
        self.id = member_id
        self.lease = Lease(terms, clock.monotonic())
        self._clock = clock
        self._path = directory / member_id
        self._guard = threading.Lock()
        directory.mkdir(mode=0o700, exist_ok=True)
        hidden = directory / f".{member_id}"
        descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._descriptor = descriptor
        self._finalizer = weakref.finalize(self, _close, descriptor)
        self._finalizer.atexit = False  # the process ends: the kernel does it
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, f"{terms.session_timeout}\n".encode())
        self._publish(self.lease.end_s)
        os.rename(hidden, self._path)

    def is_usable(self, now_s: float) -> bool:
        """Whether the lease runs: the member may use its partitions without asking."""
        return self.lease.is_usable(now_s)

    def note_poll(self, now_s: float) -> None:
        """Says that the program polls."""
        self.lease.polled_s = now_s

    def beat(self) -> None:
        """Prolongs the lease, if it is not over."""
        with self._guard:
            end_s = self.lease.later_end_s(self._clock.monotonic())
            if end_s is not None and self._descriptor >= 0:
                self._publish(end_s)
                self.lease.note_published(end_s, self._clock.monotonic())

    def confirm(self) -> None:
        """
        Begins the lease anew.

        Belongs into the write transaction in which the member is seen to be one.
        """
        with self._guard:
            now_s = self._clock.monotonic()
            end_s = self.lease.confirmed_end_s(now_s)
            if self._descriptor >= 0:
                self._publish(end_s)
                self.lease.note_confirmed(end_s, now_s)

    def leave(self) -> None:
        """Removes the file."""
        with contextlib.suppress(OSError):
            self._path.unlink()
        self.abandon()

    def step_aside(self) -> None:
        """Leaves the file with a fresh lease and no lock: its place is kept until that ends."""
        with self._guard:
            if self._descriptor >= 0:
                self._publish(self._clock.monotonic() + self.lease.terms.session_timeout)
        self.abandon()

    def abandon(self) -> None:
        """
        Closes our descriptor, which frees the lock.

        In a forked child it leaves the parent's lock alone.
        """
        with self._guard:
            self._descriptor = -1
            self._finalizer()

    def forget(self) -> None:
        """Closes a child's copy of the descriptor after a fork."""
        self._guard = threading.Lock()  # a thread that did not come along may have held the other
        self.abandon()

    def _publish(self, end_s: float) -> None:
        end_ns = int(end_s * _NS)
        os.utime(self._descriptor, ns=(end_ns, end_ns))


def _close(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        os.close(descriptor)


class Members:
    """
    Looks at the members of all processes.

    Has no state; any thread may use it.
    """

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock

    def make(self, member_id: str, terms: Terms) -> MemberFile:
        """A sign of life for a member of this process, which nobody gave one before."""
        return MemberFile(self._directory, member_id, terms, self._clock)

    def look(self, member_ids: Iterable[str]) -> dict[str, Life]:
        """What can be seen of some members now."""
        return {member_id: self._seen(member_id)[0] for member_id in member_ids}

    def _seen(self, name: str) -> tuple[Life, bool]:
        """What can be seen of a member, and whether anybody holds its lock."""
        try:
            descriptor = os.open(self._directory / name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return Life.DEAD, False
        try:
            is_locked = _is_locked(descriptor)
            left_s = os.fstat(descriptor).st_mtime_ns / _NS - self._clock.monotonic()
            if left_s <= 0:
                return Life.DEAD, is_locked
            if is_locked:
                return Life.ALIVE, True
            longest_s = float(os.read(descriptor, _LONGEST_CONTENT) or 0)
            return (Life.AWAY if left_s <= longest_s else Life.DEAD), False
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def turn(self, group: str) -> Iterator[bool]:
        """
        The turn to do something for a group that needs to be done once, for a block; whether it is ours.

        It saves work, and protects nothing: who has it may be stopped, and others go on without it.
        """
        name = f"turn-{hashlib.blake2b(group.encode(), digest_size=16).hexdigest()}"
        descriptor = os.open(self._directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield _lock(descriptor)
        finally:
            os.close(descriptor)

    def discard(self, member_ids: Iterable[str]) -> None:
        """Removes the files of members that were removed from their groups."""
        for member_id in member_ids:
            with contextlib.suppress(OSError):
                (self._directory / member_id).unlink()

    def discard_abandoned(self) -> None:
        """
        Removes what killed processes left behind before or after they were members.

        A file without a lock and with a lease that is over is of no use to anybody. One that is still being made
        looks the same, but is young.
        """
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return
        for name in names:
            path = self._directory / name
            with contextlib.suppress(OSError):
                age_ms = self._clock.now_ms() - os.stat(path).st_ctime_ns // 1_000_000
                if age_ms > _YOUNG_MS and self._seen(name) == (Life.DEAD, False):
                    path.unlink()


def _lock(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_locked(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
