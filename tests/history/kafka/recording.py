"""
Where a process of such a history writes down what it does: in a file, and in the journal of the disk if there is one.

So a journal tells what had been called, and what had returned, when the power went.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.history.operations import WRONG, Recorder
from tests.power.journal import ACKNOWLEDGED, Frame, append_frame


class JournaledRecorder(Recorder):
    """A recorder whose lines stand among the writes and syncs of the log's file, too."""

    def __init__(self, folder: Path, name: str, journal: str) -> None:
        self._journal = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        super().__init__(folder, name)

    def _write(self, *fields: object) -> None:
        super()._write(*fields)
        append_frame(self._journal, ACKNOWLEDGED, json.dumps([self.name, *fields], separators=(",", ":")).encode())

    def close(self) -> None:
        """Close both files."""
        super().close()
        os.close(self._journal)


def folder_of(path: Path) -> Path:
    """Where the history of a log is written."""
    return path.with_name("history")


def run_recorded(folder: Path, name: str, work: Callable[[Recorder, threading.Event], None]) -> None:
    """Do the work of a process until SIGTERM; an error that comes out of it is written down."""
    is_over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: is_over.set())
    journal = os.environ.get("EVENTLOG_JOURNAL")
    with Recorder(folder, name) if journal is None else JournaledRecorder(folder, name, journal) as recorder:
        try:
            work(recorder, is_over)
        except BaseException as error:
            lines = "".join(traceback.format_exception(error)[-6:])
            recorder.end(recorder.begin("process"), WRONG, note=lines)
            raise


def put_lines(frames: Iterable[Frame], folder: Path) -> None:
    """Write the lines that stand in some frames of a journal into files, as their recorders did."""
    lines: dict[str, list[bytes]] = {}
    for frame in frames:
        if frame.kind == ACKNOWLEDGED:
            name, *fields = json.loads(frame.data)
            lines.setdefault(name, []).append(json.dumps(fields, separators=(",", ":")).encode() + b"\n")
    for name, written in lines.items():
        (folder / f"{name}.operations").write_bytes(b"".join(written))
