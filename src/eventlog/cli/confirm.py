"""
What commands do that destroy something: they show it, and ask.

`--dry-run` shows and does not ask; `--yes` asks nothing. Where nobody can be asked and `--yes` is not given, nothing
happens and the exit code is that of a wrong usage.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

from eventlog.cli.failure import EXIT_USAGE, Failure
from eventlog.cli.parts import Decorated
from eventlog.cli.text import json_line, table

_YES = {"y", "yes"}


def destructive(function: Decorated) -> Decorated:
    """The options of a command that destroys something: `--yes` and `--dry-run`."""
    yes = click.option("-y", "--yes", "is_sure", is_flag=True, help="Do it without asking.")
    dry = click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
    decorated: Decorated = dry(yes(function))
    return decorated


def confirm(question: str, plan: Iterable[str], *, is_sure: bool) -> None:
    """
    Show on stderr what is going to happen, and ask.

    Args:
        plan: the lines to show.
        is_sure: neither show nor ask.

    Raises:
        Failure: the answer is no, or nobody can be asked.
    """
    if is_sure:
        return
    sys.stderr.writelines(f"{line}\n" for line in plan)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        can_look = any("--dry-run" in option.opts for option in click.get_current_context().command.params)
        raise Failure(
            "this needs a yes, and there is no terminal to ask.",
            stored="Nothing was changed.",
            advice="Pass --yes, or look first with --dry-run." if can_look else "Pass --yes.",
            exit_code=EXIT_USAGE,
        )
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in _YES:
        raise Failure("the answer was no.", stored="Nothing was changed.")


def show_plan(rows: Sequence[tuple[str, ...]], fields: Iterable[dict[str, Any]], *, as_json: bool) -> None:
    """Print what a command would do, or has done: a table, or JSON."""
    if as_json:
        sys.stdout.writelines(json_line(**one) for one in fields)
    else:
        sys.stdout.writelines(f"{line}\n" for line in table(rows))
