"""
Others who have the log open while a call fails: a process that says what it sees and writes on, a thread that reads.

`Witness` is the side of the process in which calls fail. Knows nothing of failing calls.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import eventlog
from tests.faults.story import PROBE, Picture, picture
from tests.processes.child import Child, hear, say


def digest(found: Picture) -> str:
    """What tells two pictures apart."""
    return hashlib.sha256(repr(found).encode()).hexdigest()


def watch() -> None:
    """The program of the other process: opens logs, looks at them and writes to them, as it is told."""
    log: eventlog.EventLog | None = None
    while True:
        word, _, rest = hear().partition(" ")
        try:
            if word == "open":
                log = eventlog.open(rest)
            assert log is not None
            if word == "look":
                say(digest(picture(log)))
                continue
            if word == "append":
                log.topic(PROBE).append(b"probe")
            if word == "close":
                log.close()
        except Exception as error:
            say(type(error).__name__, str(error).replace("\n", " "))
        else:
            say("done")


class Witness:
    """
    The other process, for one log after the other.

    Each method returns what went wrong, or nothing.
    """

    def __init__(self) -> None:
        self._child = Child(watch)

    def open(self, path: Path) -> str:
        """Opens a log."""
        return self._told(f"open {path}")

    def close(self) -> str:
        """Closes it."""
        return self._told("close")

    def append(self) -> str:
        """Appends a probe."""
        return self._told("append")

    def look(self) -> str:
        """The digest of what it sees, or what went wrong."""
        self._child.say("look")
        return self._child.hear()

    def _told(self, words: str) -> str:
        self._child.say(words)
        answer = self._child.hear()
        return "" if answer == "done" else answer


class Reader:
    """
    A thread that reads a log for as long as the block lasts, whatever fails meanwhile.

    `problems` is what it was refused, and records that were not what they had been.
    """

    def __init__(self, log: eventlog.EventLog) -> None:
        self.problems: list[str] = []
        self.round_count = 0
        self._log = log
        self._is_over = threading.Event()
        self._seen: dict[tuple[str, int, int], bytes] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over.is_set() and not self.problems:
            try:
                self._read()
            except Exception as error:
                self.problems.append(f"{type(error).__name__}: {error}")

    def _read(self) -> None:
        self._log.topics()
        self._log.end_log_position()
        self._log.states()
        for _, record in self._log.read_all():
            place = (record.topic, record.partition, record.offset)
            if self._seen.setdefault(place, record.value) != record.value:
                self.problems.append(f"{place} was {self._seen[place][:20]!r} and is {record.value[:20]!r}")
        self.round_count += 1

    def end(self) -> None:
        """Stops reading."""
        self._is_over.set()
        self._thread.join()
