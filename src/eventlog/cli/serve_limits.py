"""The options of `eventlog serve` about what an acknowledgement means, and about how long and how many."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Literal

import click

import eventlog
from eventlog.cli.parts import POSITIVE, Decorated

_DURABILITIES: Final = ("commit", "ordered")
_SECONDS: Final = click.FloatRange(min=0)


def limit_options(function: Decorated) -> Decorated:
    """Add the options to a command: `durability`, and those that `listen` has by the same names."""
    for decorate in (
        click.option(
            "--idle-timeout",
            type=_SECONDS,
            default=600.0,
            metavar="SECONDS",
            help="Close a connection without requests after this time (default 600).",
        ),
        click.option(
            "--max-connections",
            type=POSITIVE,
            default=1000,
            metavar="N",
            help="Close further connections at once (default 1000).",
        ),
        click.option(
            "--rebalance-delay",
            type=_SECONDS,
            default=0.0,
            metavar="SECONDS",
            help="Have the first member of an empty group wait for others (default 0; Kafka has 3).",
        ),
        click.option(
            "--durability",
            type=click.Choice(_DURABILITIES),
            default="commit",
            help="What a power cut costs of the acknowledged records: nothing (commit, the default), or at most the "
            "last commit (ordered), which is quicker.",
        ),
    ):
        function = decorate(function)
    return function


def log_to_serve(stack: ExitStack, path: Path, durability: Literal["commit", "ordered"]) -> Path | eventlog.EventLog:
    """
    What the listener is to serve: the path, which it opens when all options are right, or a log that is open.

    The default needs no open log, so that wrong options make none.
    """
    return path if durability == "commit" else stack.enter_context(eventlog.open(path, durability=durability))


def limits_of(options: dict[str, Any]) -> dict[str, Any]:
    """Take the options that `listen` has by the same names out of those of the command."""
    return {name: options.pop(name) for name in ("rebalance_delay", "max_connections", "idle_timeout")}
