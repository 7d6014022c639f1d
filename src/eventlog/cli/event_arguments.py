"""The arguments of the commands that read events, states and projections."""

from __future__ import annotations

import argparse
import sys

from eventlog.cli.argument_parts import Commands, add, add_json, add_max, add_topic, natural, positive


def add_history(commands: Commands) -> None:
    """Add `eventlog history`."""

    def run(arguments: argparse.Namespace) -> int:
        from eventlog.cli.events import History

        return History(
            path=arguments.path,
            topic=arguments.topic,
            key=arguments.key,
            start=arguments.start,
            end=arguments.end,
            is_reversed=arguments.reverse,
            max_records=arguments.max,
            as_json=arguments.json,
            out=sys.stdout,
        ).run()

    parser = add(commands, "history", "print the records of one key, of a topic with an index", run)
    add_topic(parser)
    parser.add_argument("key", metavar="KEY", help="text, a number or JSON, according to the keys of the topic")
    parser.add_argument("--start", type=positive, default=1, metavar="N", help="the first version (default: 1)")
    parser.add_argument("--end", type=positive, metavar="N", help="the version to stop before (default: none)")
    parser.add_argument("--reverse", action="store_true", help="print the last one first")
    add_max(parser, "records")
    add_json(parser)


def add_order(commands: Commands) -> None:
    """Add `eventlog order`."""

    def run(arguments: argparse.Namespace) -> int:
        from eventlog.cli.events import Order

        return Order(
            path=arguments.path,
            start=arguments.start,
            end=arguments.end,
            topics=arguments.topic,
            max_records=arguments.max,
            as_json=arguments.json,
            out=sys.stdout,
        ).run()

    parser = add(commands, "order", "print the records of all topics, in log order", run)
    parser.add_argument("--start", type=natural, default=0, metavar="N", help="the first log position (default: 0)")
    parser.add_argument("--end", type=natural, metavar="N", help="the log position to stop before (default: none)")
    parser.add_argument("--topic", action="append", metavar="TOPIC", help="only this topic, may be repeated")
    add_max(parser, "records")
    add_json(parser)


def add_states(commands: Commands) -> None:
    """Add `eventlog states`."""

    def run(arguments: argparse.Namespace) -> int:
        from eventlog.cli.states import print_states

        return print_states(arguments.path, sys.stdout, as_json=arguments.json)

    parser = add(commands, "states", "list the states of a log, and count their rows", run)
    add_json(parser)


def add_state(commands: Commands) -> None:
    """Add `eventlog state`."""

    def run(arguments: argparse.Namespace) -> int:
        from eventlog.cli.states import StateRows

        return StateRows(
            path=arguments.path,
            name=arguments.name,
            is_projection=arguments.projection,
            prefix=arguments.prefix,
            is_reversed=arguments.reverse,
            max_rows=arguments.max,
            as_json=arguments.json,
            out=sys.stdout,
        ).run()

    parser = add(commands, "state", "print the rows of a state, in the order of their keys", run)
    parser.add_argument("name", metavar="NAME", help="name of the state")
    parser.add_argument("--projection", action="store_true", help="NAME is a projection")
    parser.add_argument(
        "--prefix",
        metavar="TEXT",
        help="only keys with this prefix; for tuples, a JSON list of the first items",
    )
    parser.add_argument("--reverse", action="store_true", help="print the last key first")
    add_max(parser, "rows")
    add_json(parser)


def add_projections(commands: Commands) -> None:
    """Add `eventlog projections`."""

    def run(arguments: argparse.Namespace) -> int:
        from eventlog.cli.states import print_projections

        return print_projections(arguments.path, sys.stdout, as_json=arguments.json)

    parser = add(commands, "projections", "list the projections of a log: log position and lag", run)
    add_json(parser)
