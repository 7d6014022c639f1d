"""The faults of a log under test, which come out of its commits."""

from __future__ import annotations

import errno
import os
import time

from eventlog.options import check_int, check_seconds


class Faults:
    """The faults that a test has asked for; each is that of a disk, and comes out of the log's own commit."""

    def __init__(self) -> None:
        self._failing_count = 0
        self._full_count = 0
        self._pauses_s: list[float] = []

    def fail_next(self, count: int) -> None:
        """Have this number of further commits fail."""
        self._failing_count += check_int("count", count, least=1)

    def fill(self, by: int) -> None:
        """Count one more who wants the disk to be full, or one less."""
        self._full_count += by

    def begin_pause(self, seconds: float) -> None:
        """Have each commit take longer."""
        self._pauses_s.append(check_seconds("seconds", seconds))

    def end_pause(self, seconds: float) -> None:
        """Take one such pause back."""
        self._pauses_s.remove(seconds)

    def before_commit(self) -> None:
        """Do what was asked for: wait, or raise what the disk would."""
        pause_s = sum(self._pauses_s)
        if pause_s:
            time.sleep(pause_s)
        if self._failing_count:
            self._failing_count -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self._full_count:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
