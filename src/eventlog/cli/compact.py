"""`eventlog compact`: a copy of a log without its unused space."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from eventlog.cli.failure import EXIT_OK, EXIT_REFUSED, failure_of
from eventlog.cli.opening import open_log
from eventlog.cli.parts import DIRECTORY, command, path_argument
from eventlog.cli.progress import Progress
from eventlog.cli.text import json_line


@command("compact")
@path_argument
@click.argument("destination", type=DIRECTORY, metavar="DESTINATION")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def compact(*, path: Path, destination: Path, as_json: bool) -> int:
    """
    Write a copy of a log without its unused space.

    DESTINATION is a directory that is new or empty. The log itself is not changed and may be written meanwhile; the
    copy is the log at one moment.
    """
    with (
        open_log(path) as log,
        Progress("copying", disk_bytes(path), in_bytes=True, look=lambda: disk_bytes(destination)),
    ):
        try:
            after_bytes = log.compact(destination)
        except ValueError as error:
            raise failure_of(error, EXIT_REFUSED) from error
    before_bytes = disk_bytes(path)
    if as_json:
        sys.stdout.write(json_line(path=str(path), bytes=before_bytes, copy=str(destination), copy_bytes=after_bytes))
    else:
        sys.stdout.write(f"{path}: {before_bytes / 1e6:,.1f} MB; {destination}: {after_bytes / 1e6:,.1f} MB\n")
    return EXIT_OK


def disk_bytes(directory: Path) -> int:
    """Bytes of the blocks that the files of a directory take; a sparse file is longer than that."""
    total = 0
    for path in directory.rglob("*"):
        try:
            stat = path.stat()
        except OSError:
            continue  # it was removed just now
        if path.is_file():
            total += stat.st_blocks * 512 if os.name == "posix" else stat.st_size
    return total
