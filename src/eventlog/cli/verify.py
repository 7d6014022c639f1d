"""
`eventlog verify`: read a whole log and check it, in a process of its own.

LMDB ends the process that meets certain damage: by an assertion, by reading beyond the end of a file, maybe without
an end. So a child checks the log, and its death is a line of the report. The child is this command with `--here`; its
empty lines say that it goes on.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TextIO

import eventlog
from eventlog.cli.failure import EXIT_DIED, EXIT_FAILED, EXIT_OK, Failure
from eventlog.cli.text import counted

_READ_BYTES = 65_536
_COMPLAINT = "eventlog: "
_CHILD = "EVENTLOG_VERIFY_CHILD"
"""The variable that tells the child that somebody waits for its progress."""


def verify_here(path: Path, out: TextIO) -> int:
    """Read and check every row in this process, and print each damaged place."""

    def go_on(_: int) -> None:
        out.write("\n")
        out.flush()

    with eventlog.open(path, create=False) as log:
        report = log.verify(progress=go_on if _CHILD in os.environ else None)
    out.writelines(f"{problem}\n" for problem in report.problems)
    verdict = counted(len(report.problems), "problem") if report.problems else "sound"
    out.write(
        f"{counted(report.topic_count, 'topic')}, {counted(report.batch_count, 'batch')}, "
        f"{counted(report.record_count, 'record')}, {report.stored_bytes / 1e6:,.1f} MB: {verdict}\n"
    )
    return EXIT_FAILED if report.problems else EXIT_OK


def verify_log(path: Path, out: TextIO, *, stall_timeout: float) -> int:
    """
    Have a child process check a log, and pass on what it prints.

    Args:
        stall_timeout: the seconds without progress after which the child is given up.

    Raises:
        Failure: the child has complained, for example that there is no log.
    """
    with tempfile.TemporaryFile() as complaint:
        child = _start(path, complaint)
        try:
            is_stalled = False
            for line in _lines(child, stall_timeout):
                is_stalled = line is None
                if line:
                    out.write(f"{line}\n")
            if is_stalled:
                child.kill()
            code = child.wait()
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        complaint.seek(0)
        words = complaint.read().decode(errors="replace").strip()
    if is_stalled:
        out.write(f"the check made no progress for {stall_timeout:g} s and was ended: not all of the log was read.\n")
        return EXIT_DIED
    if code < 0:
        why = f" ({words.splitlines()[-1]})" if words else ""
        name = signal.Signals(-code).name
        out.write(f"the check died of {name}{why}: the log is damaged, and not all of it was read.\n")
        return EXIT_DIED
    if code and words.startswith(_COMPLAINT):
        raise Failure(words.removeprefix(_COMPLAINT), exit_code=code)
    sys.stderr.write(words and f"{words}\n")
    return code


def _start(path: Path, complaint: IO[bytes]) -> subprocess.Popen[bytes]:
    package = str(Path(eventlog.__file__).parents[1])
    found = os.environ.get("PYTHONPATH")
    return subprocess.Popen(
        [sys.executable, "-m", "eventlog.cli", "verify", "--here", "--", str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=complaint,
        env={**os.environ, _CHILD: "1", "PYTHONPATH": package if found is None else os.pathsep.join((package, found))},
    )


def _lines(child: subprocess.Popen[bytes], stall_timeout: float) -> Iterator[str | None]:
    """The lines of the child; None at the end if it made no progress."""
    assert child.stdout is not None
    with child.stdout as pipe:
        rest = b""
        while True:
            if not select.select([pipe], [], [], stall_timeout)[0]:
                yield None
                return
            data = os.read(pipe.fileno(), _READ_BYTES)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            yield from (line.decode(errors="replace") for line in lines)
