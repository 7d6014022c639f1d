"""
The page docs/reference/cli.md, made from the help of the commands.

`python -m tests.docs.cli_page` writes it; `test_reference.py` fails when it is not what this would write. What a
command prints in an example, and what all commands share, stands here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from eventlog.cli.root import root
from tests.docs.cli_texts import AFTER, HEAD, TAIL

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md"
_COLUMNS = 100


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(_section(name, context) for name, context in commands()), TAIL])


def commands() -> Iterator[tuple[str, click.Context]]:
    """Each command by its full name, in the order of the help; groups of commands come before theirs."""
    yield from _below("eventlog", root, None)


def _below(name: str, command: click.Command, parent: click.Context | None) -> Iterator[tuple[str, click.Context]]:
    own = name.rpartition(" ")[2]
    context = click.Context(command, parent, info_name=own, terminal_width=_COLUMNS, **command.context_settings)
    yield name, context
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from _below(f"{name} {child}", found, context)


def _section(name: str, context: click.Context) -> str:
    after = AFTER.get(name, "")
    return f"## `{name}`\n\n```text\n{context.get_help()}\n```\n" + (f"\n{after}" if after else "")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE.name}")
