"""
`eventlog verify`: read a whole log and check it, in a process of its own.

LMDB ends the process that meets certain damage: by an assertion, by reading beyond the end of a file, maybe without
an end. So a child checks the log, and its death is a line of the report. The child is this command with `--here`; from
time to time it prints how many bytes it has checked.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import attrs
import click

import eventlog
from eventlog.cli.failure import EXIT_DIED, EXIT_FAILED, EXIT_OK
from eventlog.cli.opening import open_log
from eventlog.cli.parts import POSITIVE, command, path_argument
from eventlog.cli.progress import Progress
from eventlog.cli.text import counted, json_line

_READ_BYTES = 65_536
_TICK = "\x1e"
"""Begins a line of the child that says how many bytes it has checked."""
_CHILD = "EVENTLOG_VERIFY_CHILD"
"""The variable that tells the child that somebody waits for its progress."""


@command("verify")
@path_argument
@click.option(
    "--stall-timeout",
    type=POSITIVE,
    default=60,
    metavar="SECONDS",
    help="End the check when it makes no progress for so long (default 60).",
)
@click.option("--here", is_flag=True, help="Check in the process of the command itself, which damage may end.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(*, path: Path, stall_timeout: int, here: bool, as_json: bool) -> int:
    """
    Read a whole log and check it.

    Every page and every batch is read: checksum, lengths, offsets without a gap; and so are the order of the log, the
    rows of indexes, snapshots, message ids, states, projections, groups, their members and committed offsets. It
    prints what it has read, and each place that is damaged, and changes nothing.

    The exit code is 0 for a sound log and 1 for a damaged one. Certain damage ends the process that reads it, so the
    check runs in a process of its own; when that dies or gets stuck, a line says so, and the exit code is 3.
    """
    if here:
        return verify_here(path, as_json=as_json)
    return verify_log(path, stall_timeout=stall_timeout, as_json=as_json)


def verify_here(path: Path, *, as_json: bool) -> int:
    """Read and check every row in this process, and print each damaged place."""

    def go_on(checked_bytes: int) -> None:
        sys.stdout.write(f"{_TICK}{checked_bytes}\n")
        sys.stdout.flush()

    with open_log(path) as log:
        report = log.verify(progress=go_on if _CHILD in os.environ else None)
    if as_json:
        sys.stdout.write(json_line(**attrs.asdict(report), is_sound=report.is_sound))
        return EXIT_OK if report.is_sound else EXIT_FAILED
    sys.stdout.writelines(f"{problem}\n" for problem in report.problems)
    verdict = counted(len(report.problems), "problem") if report.problems else "sound"
    sys.stdout.write(
        f"{counted(report.topic_count, 'topic')}, {counted(report.batch_count, 'batch')}, "
        f"{counted(report.record_count, 'record')}, {report.stored_bytes / 1e6:,.1f} MB: {verdict}\n"
    )
    return EXIT_FAILED if report.problems else EXIT_OK


def verify_log(path: Path, *, stall_timeout: float, as_json: bool) -> int:
    """
    Have a child process check a log, and pass on what it prints.

    Args:
        stall_timeout: the seconds without progress after which the child is given up.
    """
    with tempfile.TemporaryFile() as complaint, Progress("checking", _size_bytes(path), in_bytes=True) as progress:
        child = _start(path, complaint, as_json=as_json)
        try:
            is_stalled = False
            for line in child_lines(child, stall_timeout):
                is_stalled = line is None
                if line and line.startswith(_TICK):
                    progress.done(int(line[1:]))
                elif line:
                    sys.stdout.write(f"{line}\n")
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
        verdict = f"the check made no progress for {stall_timeout:g} s and was ended: not all of the log was read."
        return _give_up(verdict, as_json=as_json)
    if code < 0:
        why = f" ({words.splitlines()[-1]})" if words else ""
        name = signal.Signals(-code).name
        verdict = f"the check died of {name}{why}: the log is damaged, and not all of it was read."
        return _give_up(verdict, as_json=as_json)
    sys.stderr.write(words and f"{words}\n")
    return code


def _give_up(verdict: str, *, as_json: bool) -> int:
    sys.stdout.write(json_line(is_sound=False, problems=[verdict]) if as_json else f"{verdict}\n")
    return EXIT_DIED


def _size_bytes(path: Path) -> int | None:
    try:
        return (path / "data.mdb").stat().st_size
    except OSError:
        return None


def _start(path: Path, complaint: IO[bytes], *, as_json: bool) -> subprocess.Popen[bytes]:
    package = str(Path(eventlog.__file__).parents[1])
    found = os.environ.get("PYTHONPATH")
    return subprocess.Popen(
        [sys.executable, "-m", "eventlog", "verify", "--here", *(["--json"] if as_json else []), "--", str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=complaint,
        env={**os.environ, _CHILD: "1", "PYTHONPATH": package if found is None else os.pathsep.join((package, found))},
    )


def child_lines(child: subprocess.Popen[bytes], stall_timeout: float) -> Iterator[str | None]:
    """The lines of the child; None at the end if it made no progress."""
    assert child.stdout is not None
    with child.stdout as pipe:
        rest = b""
        while True:
            if not select.select([pipe], [], [], min(stall_timeout, threading.TIMEOUT_MAX))[0]:
                yield None
                return
            data = os.read(pipe.fileno(), _READ_BYTES)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            yield from (line.decode(errors="replace") for line in lines)
