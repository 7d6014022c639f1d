"""
Which processes can have a log open at the same time.

They share its locks and its memory, so they need one kernel, one layout of locks and one clock; and LMDB must tell its
readers apart. Each process shows what it runs in by a shared lock on `lock.mdb`, at a place far behind its end whose
number spells these things. The kernel releases the lock with the process. Whoever opens the log reads the places of
others, and refuses to go on beside one that it cannot share the log with (docs/decisions/0029-ids-of-readers.md).

All of it happens under the lock of the directory.
"""

from __future__ import annotations

import os
import struct
import sys
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Self

from eventlog.errors import UnsupportedSharing
from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.store.lmdb.lasting_locks import first_locked, lock_shared
from eventlog.uninterruptible import opening

_BITS = (15, 4, 2, 6, 32, 1)
"""What the fields of `Surroundings` take of the number, in their order."""
_FIRST = 1 << 60
_COUNT = 1 << sum(_BITS)
_LIBRARIES = ("another C library", "glibc", "musl", "another C library")
_FIRST_TIME_NAMESPACE = 0xEFFFFFFA


class Surroundings(NamedTuple):
    """What a process runs in, as far as others that share its log need it to be the same; 0 where it cannot tell."""

    kernel: int
    """Of the id of its start."""
    machine: int
    library: int
    clock: int
    """Of the offset of the time namespace; 0 where the monotonic clock is the machine's."""
    pid_namespace: int
    has_pids: int
    """1 where LMDB knows our readers by our pid, 0 where by an id of their own."""

    @classmethod
    @cache
    def ours(cls) -> Self:
        """Those of this process, if its readers have ids of their own; asked once, and again in a forked child."""
        return cls.at(cls(*_system(), _clock(), _pid_namespace(), 0).place)

    @classmethod
    def at(cls, place: int) -> Self:
        """Those that a place spells."""
        number, fields = place - _FIRST, []
        for bits in reversed(_BITS):
            fields.append(number & ((1 << bits) - 1))
            number >>= bits
        return cls(*reversed(fields))

    @property
    def place(self) -> int:
        """The place of the lock that shows them."""
        number = 0
        for field, bits in zip(self, _BITS, strict=True):
            number = number << bits | field & ((1 << bits) - 1)
        return _FIRST + number

    def objection(self, theirs: Surroundings) -> Objection | None:
        """Why two processes cannot share a log; None if they can."""
        if _differ(self.kernel, theirs.kernel):
            return Objection("on another kernel, which sees neither our locks nor our memory", _ONE_MACHINE)
        if (self.machine, self.library) != (theirs.machine, theirs.library):
            libraries = f"with {_LIBRARIES[theirs.library]}, and this one with {_LIBRARIES[self.library]}"
            return Objection(f"{libraries}, or for another processor: their locks in lock.mdb differ", _ONE_SYSTEM)
        if self.clock != theirs.clock:
            return Objection("by another monotonic clock, which the leases of groups are moments of", _ONE_CLOCK)
        if _differ(self.pid_namespace, theirs.pid_namespace) and (self.has_pids or theirs.has_pids):
            namespaces = f"in the pid namespace {theirs.pid_namespace}, and this one in {self.pid_namespace}"
            return Objection(f"{namespaces}; one of the two may not write to /proc/self/mem", ONE_NAMESPACE)
        return None


def _differ(one: int, other: int) -> bool:
    """Whether two are known to differ: a process may have no /proc, or a part of it."""
    return 0 not in (one, other) and one != other


class Objection(NamedTuple):
    """Why a process cannot share a log with another, said of the other, and what to do about it."""

    what: str
    advice: str


_ONE_MACHINE = "Run all programs that share a log on one machine, with the log on a local disk."
_ONE_SYSTEM = (
    "Base the images of containers that share a log on one system: all on Debian (glibc), for example, or all on "
    "Alpine (musl)."
)
_ONE_CLOCK = "Run all programs that share a log without time namespaces of their own."
ONE_NAMESPACE = (
    'Let these containers share one pid namespace: `pid: host` or `pid: "service:NAME"` in a compose file, '
    "`--pid=container:NAME` for `docker run`, `shareProcessNamespace: true` in a pod."
)


def has_others(lock_file: int) -> bool:
    """Whether a process has the log open, where the system can tell."""
    return first_locked(lock_file, _FIRST) is not None


def check_others(lock_file: int, path: str, ours: Surroundings) -> None:
    """
    Raise `UnsupportedSharing` if a process that we cannot share the log with has it open.

    Args:
        lock_file: a descriptor of `lock.mdb`.
        path: the directory, for the error.
    """
    for place in _places(lock_file, _FIRST, _FIRST + _COUNT):
        found = ours.objection(Surroundings.at(place))
        if found is not None:
            raise UnsupportedSharing(
                f"cannot open the log at {path}: a process that has it open runs {found.what}.",
                stored="Nothing was changed.",
                advice=found.advice,
            )


def is_shared(lock_file: int) -> bool:
    """Whether another process shows what it runs in."""
    return first_locked(lock_file, _FIRST, _COUNT) is not None


def show(lock_file: int, ours: Surroundings) -> None:
    """Show others what this process runs in, for as long as the descriptor is open."""
    lock_shared(lock_file, ours.place)


def _places(lock_file: int, first: int, end: int) -> Iterator[int]:
    """The places that others have locked; the kernel tells one of a range."""
    found = first_locked(lock_file, first, end - first) if first < end else None
    if found is not None:
        yield found
        yield from _places(lock_file, first, found)
        yield from _places(lock_file, found + 1, end)


@cache
def _system() -> tuple[int, int, int]:
    """The kernel since its start, the machine, and the C library, which lays out the locks of LMDB."""
    machine = f"{os.uname().machine} {8 * struct.calcsize('P')}" if hasattr(os, "uname") else sys.platform
    try:
        library = _LIBRARIES.index((os.confstr("CS_GNU_LIBC_VERSION") or "").split()[0])
    except unless_interrupted(AttributeError, ValueError, OSError, IndexError):
        library = _LIBRARIES.index("musl") if sys.platform == "linux" else 0
    return _short(_read("/proc/sys/kernel/random/boot_id")), _short(machine.encode()), library


def _clock() -> int:
    try:
        if os.stat("/proc/self/ns/time").st_ino == _FIRST_TIME_NAMESPACE:
            return 0
    except unless_interrupted(OSError):  # a kernel without time namespaces
        return 0
    for line in _read("/proc/self/timens_offsets").splitlines():
        clock, *offset = line.split()
        if clock in (b"monotonic", b"1") and any(map(int, offset)):
            return _short(line) % 63 + 1
    return 0


def _pid_namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except unless_interrupted(OSError):
        return 0


def _short(words: bytes) -> int:
    return zlib.crc32(words)


def _read(path: str) -> bytes:
    try:
        [descriptor] = opening(path, os.O_RDONLY)
    except unless_interrupted(OSError):
        return b""
    try:
        return os.read(descriptor, 4096).strip()
    except unless_interrupted(OSError):
        return b""
    finally:
        os.close(descriptor)
