"""`eventlog export`: the records of a log as JSON lines or CSV, which `eventlog import` reads."""

from __future__ import annotations

import contextlib
import csv
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import click

import eventlog
from eventlog.cli.failure import EXIT_OK, EXIT_REFUSED, Failure, check_there
from eventlog.cli.inputs import COLUMNS, NULL
from eventlog.cli.opening import open_log
from eventlog.cli.parts import TOPIC, command, path_argument
from eventlog.cli.progress import Progress
from eventlog.cli.records import Names, to_json
from eventlog.cli.text import counted, json_text, jsonable

_STEP = 1_000
_PLAIN = ("bytes", "str", "int", "float", "bool", "uuid", "date", "datetime", "decimal")


@command("export")
@path_argument
@click.argument("topics", type=TOPIC, metavar="[TOPIC]...", nargs=-1)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write here, instead of stdout.")
@click.option("--overwrite", is_flag=True, help="Replace the file of --output if it is there.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines, as `tail --json`; this is the default.")
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV, with names in the first row.")
def export(
    *, path: Path, topics: tuple[str, ...], output: Path | None, overwrite: bool, as_json: bool, as_csv: bool
) -> int:
    r"""
    Write the records of topics as JSON lines or CSV.

    Without TOPIC all topics are written. The records are in log order, up to the end that the log has now. A file is
    there when it is whole: until then it has `.partial` behind its name. `eventlog import` reads what this writes.

    In CSV, \N stands for no key and no value; a cell that begins with \x is bytes in hexadecimal digits, where they
    are no text; any other text that begins with a backslash has one more.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv do not go together.")
    if output is not None and output.exists() and not overwrite:
        raise Failure(
            f"{output} exists.",
            stored="It is unchanged.",
            advice="Choose another name, or pass --overwrite.",
            exit_code=EXIT_REFUSED,
        )
    with open_log(path) as log:
        topics = tuple(dict.fromkeys(topics))
        for name in topics:
            check_there("topic", name, log.topics(), path)
        total = sum(end - first for name in topics or log.topics() for first, end in log.topic(name).bounds().values())
        with _output(output) as stream, Progress("writing", total) as progress:
            count = 0
            for line in _lines(log, topics, as_csv=as_csv):
                stream.write(line)
                count += 1
                if count % _STEP == 0:
                    progress.done(count)
    if output is not None and str(output) != "-":
        count -= as_csv  # the names
        sys.stderr.write(f"{counted(count, 'record')} written to {output}\n")
    return EXIT_OK


def _lines(log: eventlog.EventLog, topics: tuple[str, ...], *, as_csv: bool) -> Iterator[str]:
    records = (record for _, record in log.read_all(topics=topics or None))
    names = Names(log)
    if not as_csv:
        yield from map(names.json_line, records)
        return
    line = _csv_line()
    yield line(list(COLUMNS))
    for record in records:
        key_codec, value_codec = names.codecs(record.topic)
        headers = json_text(jsonable(record.headers)) if record.headers else ""
        yield line(
            [
                record.topic,
                str(record.partition),
                str(record.offset),
                str(record.timestamp_ms),
                cell(record.key, key_codec),
                cell(record.value, value_codec),
                headers,
            ]
        )


def cell(value: Any, codec: str) -> str:
    r"""
    A key or a value as a cell of CSV, from which `inputs.cell_bytes` makes the same.

    Example:
        >>> cell(b"tea", "bytes"), cell(None, "bytes"), cell(b"\xff", "bytes"), cell({"cups": 2}, "json")
        ('tea', '\\N', '\\xff', '{"cups": 2}')
    """
    if value is None:
        return NULL
    if codec not in _PLAIN:
        return json_text(to_json(value, codec))
    if isinstance(value, bytes):
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError:
            return f"\\x{value.hex()}"
    else:
        text = str(value)
    return f"\\{text}" if text.startswith("\\") else text


def _csv_line() -> Callable[[list[str]], str]:
    """A function that makes a line of cells; csv writes to files alone."""
    buffer = io.StringIO()
    plain = csv.writer(buffer, lineterminator="\n")
    quoted = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def line(cells: list[str]) -> str:
        buffer.seek(0)
        buffer.truncate()
        # A carriage return without quotes would be the end of a line for those who read it.
        (quoted if any("\r" in one for one in cells) else plain).writerow(cells)
        return buffer.getvalue()

    return line


@contextlib.contextmanager
def _output(path: Path | None) -> Iterator[TextIO]:
    """The stream to write to; a file gets its name when it is whole."""
    if path is None or str(path) == "-":
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # it is read by a program, whatever this terminal shows
        yield sys.stdout
        return
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
