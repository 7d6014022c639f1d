"""
The commands by name: a command's module is imported when it runs; `eventlog --help` loads none of them.

The texts here are the first sentences of the commands' own help; `tests/cli/test_help.py` compares them.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Final

import click

SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "topics": ("eventlog.cli.topics:topics", "List, create, describe, alter and delete topics."),
    "produce": ("eventlog.cli.produce:produce", "Store each line of stdin as a record."),
    "request": ("eventlog.cli.request:request", "Send a request to a topic, and print the value of its reply."),
    "reply": ("eventlog.cli.reply:reply", "Answer the requests of a topic, until Ctrl-C or SIGTERM."),
    "tail": ("eventlog.cli.tail:tail", "Print the records of topics."),
    "order": ("eventlog.cli.order:order", "Print the records of all topics in log order."),
    "history": ("eventlog.cli.history:history", "Print the records of one key, of a topic with an index."),
    "export": ("eventlog.cli.export:export", "Write the records of topics as JSON lines or CSV."),
    "import": ("eventlog.cli.import_:import_", "Store the records of a file of JSON lines or CSV."),
    "clean": (
        "eventlog.cli.retention:clean",
        "Delete now what the topics no longer keep, and compact and repack them.",
    ),
    "copy-topic": ("eventlog.cli.copy_topic:copy_topic", "Copy the records of a topic into another one."),
    "trim": ("eventlog.cli.trim:trim", "Delete the oldest records of a topic, as `kafka-delete-records` does."),
    "redact": (
        "eventlog.cli.redact:redact",
        "Make tombstones of the records of a key, for good.",
    ),
    "groups": ("eventlog.cli.groups:groups", "List, describe, reset and delete consumer groups."),
    "queues": (
        "eventlog.cli.queues:queues",
        "List, describe, pause, purge and delete queues, and replay dead letters.",
    ),
    "schedules": (
        "eventlog.cli.schedules:schedules",
        "List, add, move and cancel records that are to be sent later, and send them.",
    ),
    "states": ("eventlog.cli.states:states", "List the states of a log, and count their rows."),
    "state": ("eventlog.cli.states:state", "Print the rows of a state, in the order of their keys."),
    "projections": ("eventlog.cli.states:projections", "List the projections of a log."),
    "serve": ("eventlog.cli.serve:serve", "Serve a log to Kafka clients, until Ctrl-C or SIGTERM."),
    "users": ("eventlog.cli.users:users", "List, set and delete the users of a Kafka listener."),
    "acls": ("eventlog.cli.acls:acls", "List, add and remove the access control lists of a Kafka listener."),
    "stats": ("eventlog.cli.stats:stats", "Show what is in a log: records, bytes, free space, reads that go on."),
    "du": ("eventlog.cli.stats:du", "Show how many bytes each topic takes."),
    "verify": ("eventlog.cli.verify:verify", "Read a whole log and check it."),
    "repair": ("eventlog.cli.repair:repair", "Make a new log of what can be read of a damaged one."),
    "backup": ("eventlog.cli.backup:backup", "Write a backup of a log, or add to one."),
    "restore": ("eventlog.cli.backup:restore", "Make a log of a backup."),
    "prune": ("eventlog.cli.prune:prune", "Let go of the old backups of a directory."),
    "compact": ("eventlog.cli.compact:compact", "Write a copy of a log without its unused space."),
    "upgrade": ("eventlog.cli.upgrade:upgrade", "Make a log of an earlier format one of today's."),
    "bench": ("eventlog.cli.bench:bench", "Measure how fast this machine and this directory are."),
    "completion": ("eventlog.cli.completion:completion", "Print the completion script of a shell."),
}
"""For each command: where it is, and its help in one sentence."""


class LazyGroup(click.Group):
    """A group of commands that are imported when they run."""

    def __init__(self, name: str, places: Mapping[str, tuple[str, str]], *, help: str) -> None:  # noqa: A002
        super().__init__(name, help=help, context_settings=dict(SETTINGS), no_args_is_help=True)
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of that name."""
        if cmd_name not in self._places:
            return None
        module, _, attribute = self._places[cmd_name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names, or name one that is spelled nearly so."""
        if args and args[0] not in self._places and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self._places, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._places.items()])


def _show_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001
    if value and not ctx.resilient_parsing:
        from eventlog.cli.main import version_text

        click.echo(version_text())
        ctx.exit()


root = LazyGroup("eventlog", COMMANDS, help="Topics, partitions and offsets in a directory. No server.")
root.params.append(
    click.Option(
        ["--version"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_show_version,
        help="Show the version, and whether the compiled part is in use.",
    )
)
