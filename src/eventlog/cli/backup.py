"""`eventlog backup` and `eventlog restore`: copies of a log that grow with it, and a log made of one."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import attrs
import click

import eventlog
from eventlog.cli.failure import EXIT_FAILED, EXIT_OK, EXIT_REFUSED, failure_of
from eventlog.cli.opening import open_log
from eventlog.cli.parts import DIRECTORY, MOMENT, command, path_argument
from eventlog.cli.progress import Progress
from eventlog.cli.text import counted, json_line

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@command("backup")
@path_argument
@click.argument("target", type=DIRECTORY, metavar="TARGET")
@click.option("--incremental", is_flag=True, help="Add what came since to the backups in TARGET, if there are any.")
@click.option("--check", is_flag=True, help="Read all of TARGET afterwards, and check it.")
@json_option
def backup(*, path: Path, target: Path, incremental: bool, check: bool, as_json: bool) -> int:
    """
    Write a backup of a log, or add to one.

    TARGET is a directory that does not exist or is empty; with --incremental also one that holds backups of this log.
    Programs may read and write the log meanwhile. A backup that is interrupted has added nothing, and the next one
    removes what it left. `eventlog restore` makes a log of it.
    """
    with Progress("copying", None) as progress, open_log(path) as log:
        try:
            report = log.backup(target, incremental=incremental, progress=progress.done_of)
        except ValueError as error:
            raise failure_of(error, EXIT_REFUSED, {"incremental=True": "--incremental"}) from error
    contents = _checked(target) if check else None
    if as_json:
        fields = {} if contents is None else {"checked": attrs.asdict(contents)}
        sys.stdout.write(json_line(path=str(path), target=str(target), **attrs.asdict(report), **fields))
        return EXIT_OK
    added = f"{counted(report.batch_count, 'batch')}, {report.stored_bytes / 1e6:,.1f} MB"
    sys.stdout.write(f"{target}: backup {report.number}, log positions {report.since:,} to {report.end:,}: {added}\n")
    if contents is not None:
        sys.stdout.write(_contents_line(target, contents))
    return EXIT_OK


@command("restore")
@click.argument("backup", type=DIRECTORY, metavar="BACKUP")
@click.argument("new", type=DIRECTORY, metavar="NEW", required=False)
@click.option("--to", "time", type=MOMENT, metavar="WHEN", help="End before the first record of this time or a later.")
@click.option("--position", type=click.IntRange(min=0), metavar="N", help="End before this log position.")
@click.option("--check", is_flag=True, help="Read all of BACKUP and check it; make no log.")
@json_option
def restore(
    *, backup: Path, new: Path | None, time: datetime | None, position: int | None, check: bool, as_json: bool
) -> int:
    """
    Make a log of a backup.

    NEW is a directory that does not exist or is empty. Without --to and --position it is the log as it was at the last
    backup. With one of them the records end there; what has no log position (committed offsets, states, projections)
    is that of the last backup before, and is folded and read from there on. The new log is verified before it gets its
    name. Let all programs open the new one, not both: it has the same id.

    The exit code is 1 if the verification found something; then NEW has all that could be restored.
    """
    if check and (new is not None or time is not None or position is not None):
        raise click.UsageError("--check takes a BACKUP alone: it makes no log.")
    if time is not None and position is not None:
        raise click.UsageError("--to and --position exclude each other.")
    if check:
        contents = _checked(backup)
        sys.stdout.write(json_line(**attrs.asdict(contents)) if as_json else _contents_line(backup, contents))
        return EXIT_OK
    if new is None:
        raise click.UsageError("Missing argument 'NEW'.")
    with Progress("restoring", None, in_bytes=True) as progress:
        try:
            report = eventlog.restore(backup, new, position=position, time=time, progress=progress.done_of)
        except ValueError as error:
            raise failure_of(error, EXIT_REFUSED) from error
    if as_json:
        sys.stdout.write(json_line(new=str(new), **attrs.asdict(report), is_exact=report.is_exact))
    else:
        sys.stdout.writelines(f"{line}\n" for line in _lines(new, report))
    return EXIT_FAILED if report.problems else EXIT_OK


def _checked(path: Path) -> eventlog.BackupContents:
    with Progress("checking", None, in_bytes=True) as progress:
        return eventlog.check_backup(path, progress=progress.done_of)


def _contents_line(path: Path, contents: eventlog.BackupContents) -> str:
    return (
        f"{path}: {counted(len(contents.moments), 'backup')} up to log position {contents.end:,}, "
        f"{counted(contents.file_count, 'file')}, {counted(contents.batch_count, 'batch')}, "
        f"{contents.stored_bytes / 1e6:,.1f} MB: sound\n"
    )


def _lines(new: Path, report: eventlog.RestoreReport) -> list[str]:
    taken = datetime.fromtimestamp(report.tables_ms / 1000, UTC).isoformat(timespec="seconds")
    lines = [f"{new}: {counted(report.record_count, 'record')} up to log position {report.end:,}"]
    lines += [f"left out, because it is of a later moment: {one}" for one in report.left_out]
    if report.cut_offsets:
        lines.append(f"{counted(report.cut_offsets, 'committed offset')} beyond an end: set to it")
    lines += report.notes
    lines += (f"in the new log: {problem}" for problem in report.problems)
    verdict = f"the log as it was backed up on {taken}" if report.is_exact else f"with the tables of {taken}"
    return [*lines, verdict]
