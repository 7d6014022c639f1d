"""`eventlog order`: the records of the whole log in log order."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import click

import eventlog
from eventlog.cli.failure import EXIT_OK, check_there
from eventlog.cli.opening import open_log
from eventlog.cli.parts import NATURAL, TOPIC, ParamType, command, json_option, max_option, path_argument
from eventlog.cli.records import Names
from eventlog.cli.text import record_line


class _Position(ParamType):
    """A log position, or `latest`."""

    name = "position"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | Literal["latest"]:
        if isinstance(value, int):
            return value
        if value in ("latest", "end"):
            return "latest"
        if not value.isdecimal():
            self.fail(f"{value!r} is neither latest nor a whole number of at least 0", param, ctx)
        return int(value)


@command("order")
@path_argument
@click.option("-f", "--follow", is_flag=True, help="Wait for more at the end, until --max or Ctrl-C.")
@click.option(
    "-o",
    "--start",
    type=_Position(),
    default="0",
    metavar="N",
    help="The first log position (default 0), or latest for what comes from now on.",
)
@click.option("--end", type=NATURAL, metavar="N", help="The log position to stop before, the end of the log at most.")
@click.option("--topic", "topics", type=TOPIC, multiple=True, metavar="TOPIC", help="Only this topic; may be repeated.")
@max_option("records")
@json_option
def order(
    *,
    path: Path,
    follow: bool,
    start: int | Literal["latest"],
    end: int | None,
    topics: tuple[str, ...],
    max_count: int | None,
    as_json: bool,
) -> int:
    """
    Print the records of all topics in log order.

    That is the order in which they were stored, over all topics and partitions. It stops at the end. A line is the log
    position, `topic[partition]:offset`, time in UTC, key and value, set apart by tabs; with --json the names are those
    of `tail`, and `log_position`.
    """
    if follow and end is not None:
        raise click.UsageError("--follow has no --end.")
    with open_log(path) as log:
        for name in topics:
            check_there("topic", name, log.topics(), path)
        names = Names(log)

        def line(log_position: int, record: eventlog.Record[Any, Any]) -> str:
            if as_json:
                return names.json_line(record, log_position=log_position)
            return record_line(record, log_position, f"{record.topic}[{record.partition}]:{record.offset}") + "\n"

        if follow:
            with log.follow(start, topics=topics or None) as follower:
                _print_flushed((line(*one) for one in follower), max_count)
            return EXIT_OK
        first = log.end_log_position() if start == "latest" else start
        found = log.read_all(first, end=end, topics=topics or None, max_records=max_count)
        sys.stdout.writelines(line(*one) for one in found)
    return EXIT_OK


def _print_flushed(lines: Iterable[str], left: int | None) -> None:
    for text in lines:
        sys.stdout.write(text)
        sys.stdout.flush()
        if left is not None:
            left -= 1
            if left == 0:
                return
