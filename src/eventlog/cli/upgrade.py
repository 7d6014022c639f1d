"""`eventlog upgrade`: make a log of an earlier format one of today's."""

from __future__ import annotations

import sys
from pathlib import Path

import click

import eventlog
from eventlog.cli.failure import EXIT_OK, EXIT_REFUSED, failure_of
from eventlog.cli.parts import DIRECTORY, command, path_argument
from eventlog.cli.text import json_line


@command("upgrade")
@path_argument
@click.option("--keep-copy", type=DIRECTORY, metavar="DIRECTORY", help="Copy the log there first, as it is.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def upgrade(*, path: Path, keep_copy: Path | None, as_json: bool) -> int:
    """
    Make a log of an earlier format one of today's.

    Close the log in all programs first. The log is verified, and rewritten in one transaction: a run that is killed
    leaves it as it was. There is no way back but the copy: an earlier eventlog cannot open the log any more.
    """
    try:
        old_format = eventlog.upgrade(path, keep_copy=keep_copy)
        is_new = old_format != eventlog.upgrade(path)  # what it has now
    except ValueError as error:
        raise failure_of(error, EXIT_REFUSED) from error
    if as_json:
        copy = None if keep_copy is None or not is_new else str(keep_copy)
        sys.stdout.write(json_line(path=str(path), format_before=old_format, copy=copy))
    elif is_new:
        sys.stdout.write(f"{path}: it had format {old_format}, and has today's\n")
    else:
        no_copy = "" if keep_copy is None else ", and no copy was made"
        sys.stdout.write(f"{path}: it has format {old_format}, today's: nothing was changed{no_copy}\n")
    return EXIT_OK
