"""`eventlog groups`: list groups, describe and watch them; `group_changes.py` resets and deletes them."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import click

import eventlog
from eventlog.cli.failure import EXIT_OK
from eventlog.cli.group_changes import delete_group, delete_offsets, reset_group
from eventlog.cli.group_text import count_of, group_fields, group_lines, group_row
from eventlog.cli.group_values import values_are_failures
from eventlog.cli.opening import open_log
from eventlog.cli.parts import GROUP, command, group_argument, json_option, max_option, path_argument
from eventlog.cli.root import SETTINGS
from eventlog.cli.text import json_line, table, time_text


@click.group("groups", context_settings=dict(SETTINGS), no_args_is_help=True)
def groups() -> None:
    """List, describe, reset and delete consumer groups."""


@command("list")
@path_argument
@json_option
def list_groups(*, path: Path, as_json: bool) -> int:
    """
    List the consumer groups that have members or offsets.

    A line has name, state, live members, and the lag of all partitions together.
    """
    with open_log(path) as log:
        found = list(_described(log, log.groups.list()))
    if as_json:
        sys.stdout.writelines(
            json_line(group=group.name, state=group.state, members=count_of(group, "alive"), lag=group.lag)
            for group in found
        )
        return EXIT_OK
    rows: list[tuple[str, ...]] = [("group", "state", "members", "lag"), *map(group_row, found)]
    sys.stdout.writelines(f"{line}\n" for line in table(rows))
    return EXIT_OK


@command("describe")
@path_argument
@group_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def describe_group(*, path: Path, group: str, as_json: bool) -> int:
    """
    Show where a group stands in each partition, and its members.

    The first line counts the live members, and names how many are away or dead beside them. A committed offset of `-`
    means none: all that the partition holds is lag then. The commit age is how long ago that offset was stored, by a
    commit or a reset; where there is no lag, nobody has anything to commit. Metadata that a program stored beside its
    offsets have a column of their own. `orders[2-4,7]` are the partitions 2, 3, 4
    and 7 of a topic; a pattern is shown as `/pattern/`. The names in JSON are those of `GroupDescription`.
    """
    with open_log(path) as log, values_are_failures():
        found = log.groups.describe(group)
    if as_json:
        sys.stdout.write(json_line(**group_fields(found)))
    else:
        sys.stdout.writelines(f"{line}\n" for line in group_lines(found))
    return EXIT_OK


@command("watch")
@path_argument
@click.argument("names", type=GROUP, metavar="[GROUP]...", nargs=-1)
@click.option(
    "-i",
    "--interval",
    type=click.FloatRange(min=0.1),
    default=1.0,
    metavar="SECONDS",
    help="Seconds between two looks (default 1).",
)
@max_option("looks")
@json_option
def watch_groups(*, path: Path, names: tuple[str, ...], interval: float, max_count: int | None, as_json: bool) -> int:
    """
    Show groups again and again, until --max or Ctrl-C.

    On a terminal the picture stays in its place; elsewhere each look is appended. Without GROUP it shows a line for
    each group, with names what `describe` shows. A group that is not there is left out until it is.
    """
    with open_log(path) as log, _Picture(as_json=as_json) as picture:
        left = max_count
        while True:
            picture.show(list(_described(log, names or log.groups.list())), in_short=not names)
            if left is not None:
                left -= 1
                if left == 0:
                    return EXIT_OK
            time.sleep(interval)


class _Picture:
    """The table of the groups at one moment: a terminal redraws it in place, a file gets one after the other."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._exit = contextlib.ExitStack()
        self._live = None
        if sys.stdout.isatty() and not as_json:
            from rich.live import Live

            self._live = self._exit.enter_context(Live(auto_refresh=False, screen=False))

    def show(self, found: list[eventlog.GroupDescription], *, in_short: bool) -> None:
        """Show the groups as they are now."""
        now_ms = time.time_ns() // 1_000_000
        if self._as_json:
            sys.stdout.writelines(json_line(timestamp_ms=now_ms, **group_fields(group)) for group in found)
        elif self._live is not None:
            from rich.text import Text

            self._live.update(Text("\n".join(self._lines(found, now_ms, in_short=in_short))), refresh=True)
        else:
            sys.stdout.writelines(f"{line}\n" for line in (*self._lines(found, now_ms, in_short=in_short), ""))
        sys.stdout.flush()

    def _lines(self, found: list[eventlog.GroupDescription], now_ms: int, *, in_short: bool) -> Iterator[str]:
        yield time_text(now_ms)
        if in_short:
            yield from table([("group", "state", "members", "lag"), *map(group_row, found)])
        for group in () if in_short else found:
            yield from group_lines(group)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()


def _described(log: eventlog.EventLog, names: list[str] | tuple[str, ...]) -> Iterator[eventlog.GroupDescription]:
    for name in names:
        with contextlib.suppress(eventlog.UnknownGroup), values_are_failures():  # it may be deleted just now
            yield log.groups.describe(name)


for _command in (list_groups, describe_group, watch_groups, reset_group, delete_group, delete_offsets):
    groups.add_command(_command)
