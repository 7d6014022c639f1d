"""`eventlog import`: the records of a file of JSON lines or CSV."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import BinaryIO, Literal

import click

import eventlog
from eventlog.cli.failure import EXIT_OK
from eventlog.cli.inputs import Csv, JsonLines
from eventlog.cli.parts import TOPIC, command, max_bytes_option, path_argument, topic_options
from eventlog.cli.produce import largest_record
from eventlog.cli.progress import Progress
from eventlog.cli.sending import Sending
from eventlog.cli.text import counted, json_line


@command("import")
@path_argument
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True), metavar="FILE")
@click.option("--topic", type=TOPIC, metavar="TOPIC", help="Store all records here, whatever topics they name.")
@click.option("--csv", "as_csv", is_flag=True, help="The file is CSV: the default for names that end in .csv.")
@click.option("--key-column", metavar="NAME", help="The column of CSV that is the key, instead of `key`.")
@click.option("-Z", "--null-empty", "is_null_empty", is_flag=True, help="An empty cell of CSV is no key and no value.")
@click.option("--repartition", is_flag=True, help="Let keys choose the partitions, whatever the file says.")
@topic_options
@max_bytes_option
@click.option("--json", "as_json", is_flag=True, help="Print how many records were stored as JSON, by topic.")
def import_(
    *,
    path: Path,
    file: Path,
    topic: str | None,
    as_csv: bool,
    key_column: str | None,
    is_null_empty: bool,
    repartition: bool,
    partitions: int | None,
    key_codec: str | None,
    value_codec: str | None,
    index: Literal["key"] | None,
    max_bytes: int | None,
    as_json: bool,
) -> int:
    r"""
    Store the records of a file of JSON lines or CSV.

    FILE is what `eventlog export` has written, or any JSON lines or CSV with the names of a record; `-` is stdin. Each
    record goes to the topic that it names, or to that of --topic. A log or a topic that is missing is made with the
    options that are given. A record that does not fit ends the command: those before it are stored, that one and those
    after it are not.
    """
    as_csv = as_csv or file.suffix == ".csv"
    if key_column is not None and not as_csv:
        raise click.UsageError("--key-column goes with --csv.")
    options = {"partitions": partitions, "key": key_codec, "value": value_codec, "index": index}
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(eventlog.open(path, max_bytes=max_bytes))
        is_stdin = str(file) == "-"
        stream: BinaryIO = sys.stdin.buffer if is_stdin else stack.enter_context(file.open("rb"))
        size_bytes = None if is_stdin else file.stat().st_size
        progress = stack.enter_context(Progress("storing", size_bytes, in_bytes=True))
        sending = Sending(
            log,
            topic,
            options={name: value for name, value in options.items() if value is not None},
            by_key=repartition,
            noun="row" if as_csv else "line",
            tell=bool if is_stdin else lambda: progress.done(stream.tell()),
        )
        most_bytes = largest_record(log, topic)
        sending.run(Csv(stream, key_column, is_null_empty, most_bytes) if as_csv else JsonLines(stream, most_bytes))
    if as_json:
        sys.stdout.writelines(json_line(topic=name, records=count) for name, count in sending.counts.items())
    else:
        for name, count in sending.counts.items():
            sys.stderr.write(f"{counted(count, 'record')} stored in topic {name!r}\n")
        if not sending.counts:
            sys.stderr.write("0 records stored\n")
    return EXIT_OK
