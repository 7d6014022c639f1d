"""
The arguments of the `eventlog` command: the parser of each subcommand, and the call that runs it.

The module of a command is imported when that command runs; `eventlog --help` loads none of them.
"""

from __future__ import annotations

import argparse
import sys

import eventlog
from eventlog.cli.argument_parts import (
    CODECS,
    Command,
    Commands,
    add,
    add_topic,
    directory,
    moment,
    natural,
    partitions,
    positive,
    separator,
    start,
    whole,
)
from eventlog.cli.event_arguments import add_history, add_order, add_projections, add_state, add_states
from eventlog.cli.failure import EXIT_OK, EXIT_USAGE, Failure


def build_parser() -> argparse.ArgumentParser:
    """
    Make the parser of all commands.

    Example:
        >>> build_parser().parse_args(["tail", "data/shop", "orders", "--start", "7"]).start
        7
    """
    parser = argparse.ArgumentParser(
        prog="eventlog", description="Topics, partitions and offsets in a directory. No server."
    )
    how = "compiled" if eventlog.is_compiled() else "pure Python"
    parser.add_argument("--version", action="version", version=f"eventlog {eventlog.__version__} ({how})")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_topics(commands)
    _add_produce(commands)
    _add_tail(commands)
    add_history(commands)
    add_order(commands)
    add_states(commands)
    add_state(commands)
    add_projections(commands)
    _add_groups(commands)
    _add_verify(commands)
    _add_compact(commands)
    return parser


def _add_topics(commands: Commands) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from eventlog.cli.admin import create_partitions, create_topic, print_topics

        path, name, total = arguments.path, arguments.alter, arguments.partitions
        declared = {option: getattr(arguments, option) for option in ("key", "value", "index")}
        if arguments.create is not None and name is None:
            return create_topic(path, arguments.create, total, sys.stdout, **declared)
        if (name is None) != (total is None):
            raise Failure(
                "--alter needs --partitions, and --partitions needs --alter or --create. Nothing was changed.",
                exit_code=EXIT_USAGE,
            )
        if any(declared.values()) or arguments.create is not None:
            raise Failure(
                "--key, --value and --index need --create, and --create does not go with --alter. Nothing was changed.",
                exit_code=EXIT_USAGE,
            )
        if name is not None:
            return create_partitions(path, name, total, sys.stdout)
        return print_topics(path, sys.stdout)

    parser = add(commands, "topics", "list the topics of a log, create one, or add partitions to one", run)
    parser.add_argument("--create", metavar="TOPIC", help="create this topic")
    parser.add_argument("--alter", metavar="TOPIC", help="raise the number of partitions of this topic")
    parser.add_argument("--partitions", type=positive, metavar="N", help="its number of partitions in all")
    for role in ("key", "value"):
        parser.add_argument(
            f"--{role}", choices=CODECS, metavar="CODEC", help=f"of the {role}s of a new topic (default: bytes)"
        )
    parser.add_argument("--index", choices=("key",), help="of a new topic: index it by key, with versions")


def _add_verify(commands: Commands) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from eventlog.cli.verify import verify_here, verify_log

        if arguments.here:
            return verify_here(arguments.path, sys.stdout)
        return verify_log(arguments.path, sys.stdout, stall_timeout=arguments.stall_timeout)

    parser = add(commands, "verify", "read a whole log and check it; exit code 1 if it is damaged", run)
    parser.add_argument(
        "--stall-timeout",
        type=positive,
        default=60,
        metavar="SECONDS",
        help="end the check if it makes no progress for so long (default: 60); exit code 3",
    )
    parser.add_argument("--here", action="store_true", help="check in this process, which damage may end")


def _add_compact(commands: Commands) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from eventlog.cli.admin import compact_log

        return compact_log(arguments.path, arguments.destination, sys.stdout)

    parser = add(commands, "compact", "copy a log without its unused space", run)
    parser.add_argument("destination", type=directory, metavar="DESTINATION", help="the copy: a new or empty directory")


def _add_produce(commands: Commands) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from eventlog.cli.produce import Produce

        Produce(
            path=arguments.path,
            topic=arguments.topic,
            partitions=arguments.partitions,
            key_separator=arguments.key_separator,
            lines=sys.stdin.buffer,
            report=sys.stderr,
        ).run()
        return EXIT_OK

    parser = add(commands, "produce", "store each line of stdin as a record", run)
    add_topic(parser)
    parser.add_argument(
        "--key-separator",
        type=separator,
        metavar="TEXT",
        help=r"the text between key and value in a line, for example : or \t",
    )
    parser.add_argument(
        "--partitions",
        type=positive,
        metavar="N",
        help="of the topic, if it is new (default: 1)",
    )


def _add_tail(commands: Commands) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from eventlog.cli.tail import Tail

        Tail(
            path=arguments.path,
            topic=arguments.topic,
            start=arguments.start,
            partition=arguments.partition,
            max_records=arguments.max,
            follow=arguments.follow,
            as_json=arguments.json,
            out=sys.stdout,
        ).run()
        return EXIT_OK

    parser = add(commands, "tail", "print the records of a topic", run)
    add_topic(parser)
    parser.add_argument("--follow", "-f", action="store_true", help="wait for more at the end")
    parser.add_argument(
        "--start",
        type=start,
        default="earliest",
        metavar="WHERE",
        help="earliest (default), latest, or an offset, in each partition",
    )
    parser.add_argument("--partition", type=natural, metavar="N", help="read only this one (default: all)")
    parser.add_argument("--max", type=positive, metavar="N", help="stop after N records")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_groups(commands: Commands) -> None:
    about = "list, describe, reset and delete consumer groups"
    actions = commands.add_parser("groups", help=about, description=about).add_subparsers(
        metavar="ACTION", required=True
    )

    def run_list(arguments: argparse.Namespace) -> int:
        from eventlog.cli.groups import print_groups

        return print_groups(arguments.path, sys.stdout, as_json=arguments.json)

    def run_describe(arguments: argparse.Namespace) -> int:
        from eventlog.cli.groups import print_group

        return print_group(arguments.path, arguments.group, sys.stdout, as_json=arguments.json)

    def run_delete(arguments: argparse.Namespace) -> int:
        from eventlog.cli.groups import delete_group

        return delete_group(arguments.path, arguments.group, sys.stdout, force=arguments.force)

    def run_delete_offsets(arguments: argparse.Namespace) -> int:
        from eventlog.cli.groups import delete_offsets

        return delete_offsets(arguments.path, arguments.group, arguments.topic, sys.stdout, force=arguments.force)

    parser = add(actions, "list", "all groups: state, members, lag", run_list)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser = _add_group(actions, "describe", "the offsets and members of a group", run_describe)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    _add_reset(actions)
    parser = _add_group(actions, "delete", "delete a group with all its offsets", run_delete)
    _add_force(parser)
    parser = _add_group(actions, "delete-offsets", "delete a group's offsets of one topic", run_delete_offsets)
    add_topic(parser)
    _add_force(parser)


def _add_reset(actions: Commands) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from eventlog.cli.groups import Reset

        return Reset(
            path=arguments.path,
            group=arguments.group,
            to=arguments.to,
            shift=arguments.shift_by,
            topics=arguments.topic,
            force=arguments.force,
            dry_run=arguments.dry_run,
            as_json=arguments.json,
            out=sys.stdout,
        ).run()

    parser = _add_group(actions, "reset", "change the committed offsets of a group", run)
    where = parser.add_mutually_exclusive_group(required=True)
    for end in ("earliest", "latest"):
        where.add_argument(f"--to-{end}", dest="to", action="store_const", const=end, help=f"to the {end} offset")
    where.add_argument(
        "--to-offset", dest="to", type=natural, metavar="N", help="to an offset that all its partitions have"
    )
    where.add_argument(
        "--to-datetime",
        dest="to",
        type=moment,
        metavar="WHEN",
        help="to the first record of a time or later, for example 2026-07-02T15:00+02:00",
    )
    where.add_argument("--shift-by", type=whole, metavar="N", help="forward, or back if negative; stops at the ends")
    parser.add_argument(
        "--topic",
        type=partitions,
        action="append",
        metavar="TOPIC[:N,N]",
        help="only these, may be repeated (default: all with committed offsets)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the new offsets, and store nothing")
    _add_force(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_group(actions: Commands, name: str, about: str, run: Command) -> argparse.ArgumentParser:
    parser = add(actions, name, about, run)
    parser.add_argument("group", metavar="GROUP", help="name of the group")
    return parser


def _add_force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--force", action="store_true", help="even if members are alive: they are fenced and start over"
    )
