"""
The thread that renews the leases of this process's members.

A program may be busy with one record for minutes; this thread shows that its process lives. It only sets the times of
files: no transaction, no lock of the log, nothing that a writer could hold up. It is a daemon and ends with its last
member.
"""

from __future__ import annotations

import threading

from eventlog.interruptions import suppress
from eventlog.store.groups.liveness import LivenessFile
from eventlog.uninterruptible import WeakMembers, start_thread

_LONGEST_SECONDS = 1.0


class HeartbeatThread:
    """
    The thread that prolongs the leases of the members of one open log.

    Any thread may call anything.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._files: WeakMembers[LivenessFile] = WeakMembers()
        self._members = threading.RLock()  # the garbage collector may stop us inside of it, in any thread
        self._wakeup = threading.Lock()  # no event: Ctrl-C could leave its lock taken, and nobody would beat any more
        self._wakeup.acquire()
        self._thread: threading.Thread | None = None

    def add(self, file: LivenessFile) -> None:
        """Prolong a member's lease from now on."""
        with self._members:
            self._files.add(file)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="eventlog-heartbeat", daemon=True)
                start_thread(thread)
                self._thread = thread  # not before: interrupted in between, it would never be started
            else:
                self._wake()

    def remove(self, file: LivenessFile) -> None:
        """Prolong it no longer."""
        with self._members:
            self._files.discard(file)

    @property
    def is_interrupted(self) -> bool:
        """Whether this very thread adds or removes a member: then the heartbeat thread may wait for it."""
        owned: bool = self._members._is_owned()  # type: ignore[attr-defined]
        return owned

    def stop(self) -> None:
        """End the thread, and wait for its end; members that did not leave look dead from now on."""
        with self._members:
            files = list(self._files)
            thread = self._thread
        for file in files:
            file.abandon()
        with self._members:
            self._files = WeakMembers()
        self._wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_LONGEST_SECONDS)  # it only touches files, and may wait for a lock that this thread holds

    def _wake(self) -> None:
        with suppress(RuntimeError):  # it was woken before, and has not noticed yet
            self._wakeup.release()

    def _run(self) -> None:
        while True:
            with self._members:
                files = list(self._files)
                if not files:
                    self._thread = None
                    return
            for file in files:
                with suppress(OSError):  # then the lease ends, and the member learns it when it confirms
                    file.beat()
            pause_s = min((file.pause_s for file in files), default=_LONGEST_SECONDS)
            del files[:]  # else we keep alive what the program dropped
            file = None  # type: ignore[assignment]
            self._wakeup.acquire(timeout=pause_s)

    def after_fork(self) -> None:
        """Begin again in the child, without the parent's members (`Members.after_fork` closes their files)."""
        self._reset()
