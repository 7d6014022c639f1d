"""
`eventlog repair`: make a new log of what can be read of a damaged one, in a process of its own.

The damaged file is read without LMDB, so damage does not end the process that reads it. Should it do so all the same,
the death of the child is a line of the report, as with `eventlog verify`. The child is this command with `--here`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import attrs
import click

import eventlog
from eventlog.cli.failure import EXIT_DIED, EXIT_FAILED, EXIT_OK, EXIT_USAGE, Failure
from eventlog.cli.parts import DIRECTORY, POSITIVE, command, path_argument
from eventlog.cli.progress import Progress
from eventlog.cli.text import counted, json_line
from eventlog.cli.verify import child_lines

_TICK = "\x1e"
_CHILD = "EVENTLOG_REPAIR_CHILD"
"""The variable that tells the child that somebody waits for its progress."""


@command("repair")
@path_argument
@click.argument("new", type=DIRECTORY, metavar="NEW")
@click.option(
    "--unknown-topics",
    is_flag=True,
    help="Make topics `recovered-<id>` of bytes for batches of which only the topic's id is known.",
)
@click.option(
    "--stall-timeout",
    type=POSITIVE,
    default=60,
    metavar="SECONDS",
    help="End the repair when it makes no progress for so long (default 60).",
)
@click.option("--here", is_flag=True, help="Repair in the process of the command itself.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def repair(*, path: Path, new: Path, unknown_topics: bool, stall_timeout: int, here: bool, as_json: bool) -> int:
    """
    Make a new log of what can be read of a damaged one.

    NEW is a directory that does not exist, or is empty. The log at PATH is only read, without a lock:
    close it in all programs first. Records keep their offsets, times and log positions. The command prints the lost
    offsets of each topic, and verifies the new log before it gives it its name.

    The exit code is 0 if nothing is lost, and 1 if something is; then, too, NEW has all the rest. It is 2 if something
    stands at NEW, and 3 if the process that reads the damaged log died or got stuck: then nothing was made.
    """
    if here:
        return repair_here(path, new, unknown_topics=unknown_topics, as_json=as_json)
    return _repair_in_child(path, new, unknown_topics=unknown_topics, stall_timeout=stall_timeout, as_json=as_json)


def repair_here(path: Path, new: Path, *, unknown_topics: bool, as_json: bool) -> int:
    """Repair in this process, and print the report."""
    most = 0

    def go_on(searched_bytes: int) -> None:
        nonlocal most
        most = max(most, searched_bytes)
        sys.stdout.write(f"{_TICK}{most}\n")
        sys.stdout.flush()

    progress = go_on if _CHILD in os.environ else None
    try:
        report = eventlog.repair(path, new, unknown_topics=unknown_topics, progress=progress)
    except ValueError as error:
        raise Failure(str(error), exit_code=EXIT_USAGE) from error
    if as_json:
        sys.stdout.write(json_line(**attrs.asdict(report), is_complete=report.is_complete))
    else:
        sys.stdout.writelines(f"{line}\n" for line in _lines(report))
    return EXIT_OK if report.is_complete else EXIT_FAILED


def _lines(report: eventlog.RepairReport) -> list[str]:
    """The report as lines: what came back, what is lost, and a verdict."""
    lines: list[str] = []
    for partition in report.partitions:
        name = f"{partition.topic}[{partition.partition}]"
        if partition.recovered:
            count = counted(partition.record_count, "record")
            lines.append(f"{name}: {count} at offsets {_ranges(partition.recovered)}")
        if partition.lost:
            lines.append(f"{name}: lost offsets {_ranges(partition.lost)}")
    for table in report.tables:
        count = f"table {table.table!r}: {counted(table.recovered_count, 'row')}"
        if table.lost_count is None:
            lines.append(f"{count}; nothing says how many there were")
        elif table.lost_count:
            lines.append(f"{count}, {table.lost_count} lost")
    for topic_id, batches, records in report.unknown_topics:
        found = f"{counted(batches, 'batch')}, {counted(records, 'record')}"
        lines.append(f"topic id {topic_id}, whose row is lost: {found}")
    if report.unplaced_batch_count:
        lines.append(f"{counted(report.unplaced_batch_count, 'batch')} of which nothing says where they belong")
    lines += report.notes
    lines += (f"in the new log: {problem}" for problem in report.problems)
    records = sum(partition.record_count for partition in report.partitions)
    lost = sum(partition.lost_count for partition in report.partitions)
    verdict = "complete" if report.is_complete else f"{counted(lost, 'offset')} lost" if lost else "not complete"
    return [*lines, f"{counted(records, 'record')}: {verdict}"]


def _ranges(ranges: tuple[tuple[int, int], ...]) -> str:
    return ", ".join(f"{first}" if end == first + 1 else f"{first} to {end - 1}" for first, end in ranges)


def _repair_in_child(path: Path, new: Path, *, unknown_topics: bool, stall_timeout: float, as_json: bool) -> int:
    """Have a child process repair, and pass on what it prints; remove what it leaves when it dies."""
    package, found = str(Path(eventlog.__file__).parents[1]), os.environ.get("PYTHONPATH")
    options = [*(["--json"] if as_json else []), *(["--unknown-topics"] if unknown_topics else [])]
    size_bytes = (path / "data.mdb").stat().st_size if (path / "data.mdb").is_file() else None
    with tempfile.TemporaryFile() as complaint, Progress("searching", size_bytes, in_bytes=True) as progress:
        child = subprocess.Popen(
            [sys.executable, "-m", "eventlog", "repair", "--here", *options, "--", str(path), str(new)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaint,
            env={
                **os.environ,
                _CHILD: "1",
                "PYTHONPATH": package if found is None else os.pathsep.join((package, found)),
            },
        )
        is_stalled = False
        try:
            for line in child_lines(child, stall_timeout):
                is_stalled = line is None
                if line and line.startswith(_TICK):
                    progress.done(int(line[1:]))
                elif line:
                    sys.stdout.write(f"{line}\n")
        finally:
            if is_stalled or sys.exc_info()[0] is not None:
                child.kill()
            code = child.wait()
            shutil.rmtree(new.absolute().parent / f".{new.name}.repair-{child.pid}", ignore_errors=True)
        complaint.seek(0)
        words = complaint.read().decode(errors="replace").strip()
    if is_stalled or code < 0:
        why = f" ({words.splitlines()[-1]})" if words else ""
        end = (
            f"made no progress for {stall_timeout:g} s and was ended"
            if is_stalled
            else f"died of {signal.Signals(-code).name}{why}"
        )
        verdict = f"the repair {end}: nothing was made."
        sys.stdout.write(json_line(is_complete=False, problems=[verdict]) if as_json else f"{verdict}\n")
        return EXIT_DIED
    sys.stderr.write(words and f"{words}\n")
    return code
