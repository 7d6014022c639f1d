"""`eventlog states`, `state` and `projections`: the states and projections of a log, their rows, and their lag."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import eventlog
from eventlog.cli.failure import EXIT_OK, EXIT_USAGE, Failure, check_there
from eventlog.cli.opening import open_log
from eventlog.cli.parts import STATE, command, json_option, max_option, path_argument
from eventlog.cli.text import as_text, json_line, jsonable, table


@command("states")
@path_argument
@json_option
def states(*, path: Path, as_json: bool) -> int:
    """
    List the states of a log, and count their rows.

    It reads all keys to count them.
    """
    counts: list[tuple[str, int]] = []
    with open_log(path) as log:
        for name in log.states():
            with contextlib.suppress(eventlog.UnknownState):  # it was deleted just now
                counts.append((name, sum(1 for _ in log.state(name))))
    if as_json:
        sys.stdout.writelines(json_line(state=name, rows=count) for name, count in counts)
        return EXIT_OK
    lines = table([("state", "rows"), *((as_text(name), f"{count:,}") for name, count in counts)])
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return EXIT_OK


@command("projections")
@path_argument
@json_option
def projections(*, path: Path, as_json: bool) -> int:
    """
    List the projections of a log.

    A line has name, log position, and lag: how many log positions there are between that and the end of the log.
    Everything before the log position is in the projection's state.
    """
    found: list[tuple[str, int, int]] = []
    with open_log(path) as log:
        for name in log.projections():
            with contextlib.suppress(eventlog.UnknownProjection):  # it was deleted just now
                projection = log.projection(name)
                lag = projection.lag
                found.append((name, projection.log_position, lag))
    if as_json:
        sys.stdout.writelines(
            json_line(projection=name, log_position=log_position, lag=lag) for name, log_position, lag in found
        )
        return EXIT_OK
    rows = ((as_text(name), f"{log_position:,}", f"{lag:,}") for name, log_position, lag in found)
    sys.stdout.writelines(f"{line}\n" for line in table([("projection", "log_position", "lag"), *rows]))
    return EXIT_OK


@command("state")
@path_argument
@click.argument("name", type=STATE, metavar="NAME")
@click.option("--projection", "is_projection", is_flag=True, help="NAME is a projection: print its state.")
@click.option(
    "--prefix",
    metavar="TEXT",
    help="Only keys that begin so: text, or for keys that are tuples a JSON list of the first items.",
)
@click.option("--reverse", "is_reversed", is_flag=True, help="The last key first.")
@max_option("rows")
@json_option
def state(
    *,
    path: Path,
    name: str,
    is_projection: bool,
    prefix: str | None,
    is_reversed: bool,
    max_count: int | None,
    as_json: bool,
) -> int:
    """
    Print the rows of a state, in the order of their keys.

    A line is key and value, set apart by a tab; a tuple is shown as a JSON list. In JSON they are `key` and `value`.
    """
    with open_log(path) as log:
        view = _view(log, path, name, is_projection=is_projection)
        for key, value in _rows(view, name, prefix, is_reversed=is_reversed, max_rows=max_count):
            if as_json:
                sys.stdout.write(json_line(key=jsonable(key), value=jsonable(value)))
            else:
                sys.stdout.write(f"{as_text(key)}\t{as_text(value)}\n")
    return EXIT_OK


def _view(log: eventlog.EventLog, path: Path, name: str, *, is_projection: bool) -> eventlog.StateView[Any, Any]:
    if is_projection:
        check_there("projection", name, log.projections(), path)
        return log.projection(name).state
    check_there("state", name, log.states(), path)
    return log.state(name)


def _rows(
    state: eventlog.StateView[Any, Any], name: str, text: str | None, *, is_reversed: bool, max_rows: int | None
) -> Iterator[tuple[Any, Any]]:
    if text is None:
        return state.items(is_reversed=is_reversed, max_rows=max_rows)
    for prefix in _prefixes(text):
        with contextlib.suppress(TypeError, ValueError):
            return state.items(prefix=prefix, is_reversed=is_reversed, max_rows=max_rows)
    raise Failure(
        f"no key of state {name!r} begins with {text!r}: its keys are of another type.",
        stored="Nothing was changed.",
        advice="Leave --prefix out to see them.",
        exit_code=EXIT_USAGE,
    )


def _prefixes(text: str) -> Iterator[Any]:
    """The prefixes that a text may mean; the type of the keys decides."""
    with contextlib.suppress(ValueError, RecursionError):
        if isinstance(items := json.loads(text), list):
            yield _tuples(items)
    yield text
    yield text.encode("utf-8", "surrogateescape")


def _tuples(items: list[Any]) -> tuple[Any, ...]:
    return tuple(_tuples(item) if isinstance(item, list) else item for item in items)
