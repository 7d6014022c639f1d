"""A pipe that ends the wait of the thread that drains a connection: an acknowledgement of another thread does that."""

from __future__ import annotations

import os

from eventlog.interruptions import suppress


class Wakeup:
    """A descriptor that is readable from `wake` until `clear`; any thread may wake."""

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        os.set_blocking(self._write_end, False)
        self._is_set = False

    def fileno(self) -> int:
        """The descriptor; -1 once it is closed."""
        return self._read_end

    def wake(self) -> None:
        """Make it readable."""
        if not self._is_set:
            self._is_set = True
            with suppress(OSError):
                os.write(self._write_end, b"\0")

    def clear(self) -> None:
        """Make it unreadable; look at what woke us after this, not before."""
        self._is_set = False
        with suppress(OSError):
            os.read(self._read_end, 4096)

    def close(self) -> None:
        """Close both ends."""
        self._is_set = True  # nobody writes to what another file may be by then
        for end in (self._write_end, self._read_end):
            if end >= 0:
                os.close(end)
        self._read_end = self._write_end = -1
