"""`eventlog prune`: let go of the old backups of a directory."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

import eventlog
from eventlog.cli.confirm import confirm, destructive
from eventlog.cli.failure import EXIT_OK
from eventlog.cli.parts import DIRECTORY, command, json_option
from eventlog.cli.progress import Progress
from eventlog.cli.retention import SPAN
from eventlog.cli.text import bytes_text, counted, json_line, table


@command("prune")
@click.argument("backup", type=DIRECTORY, metavar="BACKUP")
@click.option("--keep-last", type=click.IntRange(min=1), metavar="N", help="Keep the newest N backups.")
@click.option(
    "--keep-within", type=SPAN, metavar="TIME", help="Keep those taken within this time before the newest, such as 30d."
)
@destructive
@json_option
def prune(
    *, backup: Path, keep_last: int | None, keep_within: float | None, is_sure: bool, dry_run: bool, as_json: bool
) -> int:
    """
    Let go of the old backups of a directory.

    It shows which backups would be kept, and asks; the options are those of `borg prune` and `restic forget --prune`.
    One is kept if one of the options keeps it; the newest always is. A restore to the first kept backup, or to any
    position or time behind it, brings back what it did before. What was deleted from the log by then goes from the
    files too.
    """
    if keep_last is None and keep_within is None:
        raise click.UsageError("Pass --keep-last or --keep-within: they say what stays.")
    options: dict[str, Any] = {"keep_last": keep_last, "keep_within": keep_within}
    with Progress("reading", None, in_bytes=True) as progress:
        report = eventlog.prune_backup(backup, **options, dry_run=True, progress=progress.done_of)
    rows = [("backup", "end", "taken", "")]
    for moments, word in ((report.forgotten, "forgotten"), (report.kept, "kept")):
        rows += [(str(number), f"{end:,}", _time(taken_ms), word) for number, end, taken_ms in moments]
    if report.forgotten and not dry_run:
        question = f"Forget {counted(len(report.forgotten), 'backup')}, about {bytes_text(report.freed_bytes)}?"
        confirm(question, table(rows), is_sure=is_sure)
        with Progress("pruning", None, in_bytes=True) as progress:
            report = eventlog.prune_backup(backup, **options, progress=progress.done_of)
    if as_json:
        kept, forgotten = ([list(one) for one in moments] for moments in (report.kept, report.forgotten))
        fields = {"kept": kept, "forgotten": forgotten, "files": report.file_count, "freed_bytes": report.freed_bytes}
        sys.stdout.write(json_line(backup=str(backup), dry_run=dry_run, **fields))
        return EXIT_OK
    sys.stdout.writelines(f"{line}\n" for line in table(rows))
    done = f"{counted(len(report.forgotten), 'backup')}, {bytes_text(report.freed_bytes)}"
    sys.stdout.write(f"a dry run, nothing was changed: {done}\n" if dry_run else f"{done} forgotten\n")
    return EXIT_OK


def _time(taken_ms: int) -> str:
    return datetime.fromtimestamp(taken_ms / 1000, UTC).isoformat(timespec="seconds")
