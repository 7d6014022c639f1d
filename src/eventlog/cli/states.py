"""`eventlog states`, `state` and `projections`: the states and projections of a log, their rows, and their lag."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import attrs

import eventlog
from eventlog.cli.failure import EXIT_OK, Failure, check_there
from eventlog.cli.text import as_text, jsonable, table


def print_states(path: Path, out: TextIO, *, as_json: bool) -> int:
    """Print a line for each state: name and number of rows; every row is read to count it."""
    counts: list[tuple[str, int]] = []
    with eventlog.open(path, create=False) as log:
        for name in log.states():
            with contextlib.suppress(eventlog.UnknownState):  # it was deleted just now
                counts.append((name, sum(1 for _ in log.state(name))))
    if as_json:
        out.writelines(_json(state=name, rows=count) for name, count in counts)
        return EXIT_OK
    lines = table([("state", "rows"), *((as_text(name), f"{count:,}") for name, count in counts)])
    out.writelines(f"{line}\n" for line in lines)
    return EXIT_OK


def print_projections(path: Path, out: TextIO, *, as_json: bool) -> int:
    """Print a line for each projection: name, the log position up to which it has folded, its distance to the end."""
    found: list[tuple[str, int, int]] = []
    with eventlog.open(path, create=False) as log:
        for name in log.projections():
            with contextlib.suppress(eventlog.UnknownProjection):  # it was deleted just now
                projection = log.projection(name)
                lag = projection.lag
                found.append((name, projection.log_position, lag))
    if as_json:
        out.writelines(_json(projection=name, log_position=log_position, lag=lag) for name, log_position, lag in found)
        return EXIT_OK
    rows = ((as_text(name), f"{log_position:,}", f"{lag:,}") for name, log_position, lag in found)
    out.writelines(f"{line}\n" for line in table([("projection", "log_position", "lag"), *rows]))
    return EXIT_OK


@attrs.frozen
class StateRows:
    """
    The command, with the choices of the user.

    Args:
        path: of the log; the log and the state must exist.
        name: of the state, or of a projection.
        is_projection: the name is that of a projection.
        prefix: as typed; None: no bound.
        is_reversed: begin with the last key.
        max_rows: the most to print; None: no bound.
        as_json: one JSON object a line.
        out: receives the rows.
    """

    path: Path
    name: str
    is_projection: bool
    prefix: str | None
    is_reversed: bool
    max_rows: int | None
    as_json: bool
    out: TextIO

    def run(self) -> int:
        """
        Print a line for each row.

        Raises:
            Failure: there is no such state, or its keys cannot have that prefix.
        """
        with eventlog.open(self.path, create=False) as log:
            for key, value in self._rows(self._state(log)):
                if self.as_json:
                    self.out.write(_json(key=jsonable(key), value=jsonable(value)))
                else:
                    self.out.write(f"{as_text(key)}\t{as_text(value)}\n")
        return EXIT_OK

    def _state(self, log: eventlog.EventLog) -> eventlog.StateView[Any, Any]:
        if self.is_projection:
            check_there("projection", self.name, log.projections(), self.path)
            return log.projection(self.name).state
        check_there("state", self.name, log.states(), self.path)
        return log.state(self.name)

    def _rows(self, state: eventlog.StateView[Any, Any]) -> Iterator[tuple[Any, Any]]:
        if self.prefix is None:
            return state.items(is_reversed=self.is_reversed, max_rows=self.max_rows)
        for prefix in _prefixes(self.prefix):
            with contextlib.suppress(TypeError, ValueError):
                return state.items(prefix=prefix, is_reversed=self.is_reversed, max_rows=self.max_rows)
        raise Failure(
            f"no key of state {self.name!r} begins with {self.prefix!r}: its keys are of another type. Nothing was "
            "changed. Leave --prefix out to see them."
        )


def _prefixes(text: str) -> Iterator[Any]:
    """The prefixes that a text may mean; the type of the keys decides."""
    with contextlib.suppress(ValueError):
        if isinstance(items := json.loads(text), list):
            yield _tuples(items)
    yield text
    yield text.encode("utf-8", "surrogateescape")


def _tuples(items: list[Any]) -> tuple[Any, ...]:
    return tuple(_tuples(item) if isinstance(item, list) else item for item in items)


def _json(**fields: object) -> str:
    return json.dumps(fields, ensure_ascii=False) + "\n"
