"""`eventlog produce`: each line of stdin becomes a record."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import click

import eventlog
from eventlog.cli.failure import EXIT_OK
from eventlog.cli.inputs import Csv, JsonLines, Lines
from eventlog.cli.parts import (
    HEADER,
    NATURAL,
    SEPARATOR,
    command,
    max_bytes_option,
    path_argument,
    topic_argument,
    topic_options,
)
from eventlog.cli.sending import Sending, Source
from eventlog.cli.text import counted


@command("produce")
@path_argument
@topic_argument
@click.option(
    "-K",
    "--key-separator",
    type=SEPARATOR,
    metavar="TEXT",
    help=r"Part key and value of a line at the first occurrence, for example of : or \t.",
)
@click.option("-k", "--key", "key_text", metavar="KEY", help="The key of all records.")
@click.option("-p", "--partition", type=NATURAL, metavar="N", help="The partition of all records.")
@click.option(
    "-H", "--header", "headers", type=HEADER, multiple=True, metavar="NAME=VALUE", help="A header of all records."
)
@click.option("-Z", "--null-empty", "is_null_empty", is_flag=True, help="Store an empty value as none: a tombstone.")
@click.option("--json", "as_json", is_flag=True, help="Read JSON lines, as `tail --json` and `export` print them.")
@click.option("--csv", "as_csv", is_flag=True, help="Read CSV, with names in the first row.")
@click.option("--key-column", metavar="NAME", help="The column of CSV that is the key, instead of `key`.")
@click.option("--repartition", is_flag=True, help="Let keys choose the partitions, whatever JSON or CSV say.")
@topic_options
@max_bytes_option
def produce(
    *,
    path: Path,
    topic: str,
    key_separator: str | None,
    key_text: str | None,
    partition: int | None,
    headers: tuple[tuple[str, bytes], ...],
    is_null_empty: bool,
    as_json: bool,
    as_csv: bool,
    key_column: str | None,
    repartition: bool,
    partitions: int | None,
    key_codec: str | None,
    value_codec: str | None,
    index: Literal["key"] | None,
    max_bytes: int | None,
) -> int:
    r"""
    Store each line of stdin as a record.

    All of them are durable when the command ends; the last line, on stderr, says how many. A log or a topic that is
    missing is made. A topic of `bytes` takes the line as it is, without its line feed; `str` takes UTF-8, `int` a
    number, and every other codec takes JSON. A line that does not fit ends the command: the lines before it are
    stored, that line and those after it are not.

    With --json, a line is an object with the names of a record; only `value` has to be there. `offset` and `topic` do
    not count, a `partition` does. With --csv, the first row names the columns likewise; without a column `value` each
    row becomes an object of its columns. In CSV, \N stands for no key and no value.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv do not go together.")
    if (as_json or as_csv) and (key_separator is not None or key_text is not None):
        raise click.UsageError("--key and --key-separator are for lines of text, not for --json and --csv.")
    if key_column is not None and not as_csv:
        raise click.UsageError("--key-column goes with --csv.")
    options = {"partitions": partitions, "key": key_codec, "value": value_codec, "index": index}
    with eventlog.open(path, max_bytes=max_bytes) as log:
        sending = Sending(
            log,
            topic,
            options={name: value for name, value in options.items() if value is not None},
            partition=partition,
            by_key=repartition,
            headers=headers,
            noun="row" if as_csv else "line",
        )
        stream = sys.stdin.buffer
        most_bytes = largest_record(log, topic)
        source: Source
        if as_json:
            source = JsonLines(stream, most_bytes)
        elif as_csv:
            source = Csv(stream, key_column, is_null_empty, most_bytes)
        else:
            most_bytes = sending.opened(topic).max_record_bytes
            source = Lines(stream, key_separator, key_text, is_null_empty, most_bytes)
        sending.run(source)
    sys.stderr.write(f"{counted(sending.count, 'record')} stored in topic {topic!r}\n")
    return EXIT_OK


def largest_record(log: eventlog.EventLog, topic: str | None) -> int:
    """The most bytes that a record may have in a topic, or in any of the log."""
    names = log.topics() if topic is None else [name for name in log.topics() if name == topic]
    return max([1 << 20, *(log.topic(name).max_record_bytes for name in names)])
