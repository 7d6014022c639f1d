"""
What the parsers of the commands have in common: the path, and the kinds of arguments.

Knows nothing of single commands.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final, TypeAlias

Command: TypeAlias = Callable[[argparse.Namespace], int]
"""What `parse_args()` leaves in `.command`: runs it and gives the exit code."""

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What parsers of commands are added to."""

CODECS: Final = ("bytes", "str", "int", "json", "msgpack")
"""The codecs that need no class."""


def add(
    commands: Commands,
    name: str,
    about: str,
    run: Command,
) -> argparse.ArgumentParser:
    """Adds a command of a log: its parser, with the path."""
    parser = commands.add_parser(name, help=about, description=about)
    parser.add_argument("path", type=Path, metavar="PATH", help="directory of the log")
    parser.set_defaults(command=run)
    return parser


def add_topic(parser: argparse.ArgumentParser) -> None:
    """Adds the name of a topic."""
    parser.add_argument("topic", metavar="TOPIC", help="name of the topic")


def add_max(parser: argparse.ArgumentParser, noun: str) -> None:
    """Adds a bound of what is printed."""
    parser.add_argument("--max", type=positive, metavar="N", help=f"stop after N {noun}")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds the form for programs."""
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def natural(text: str) -> int:
    """A number from 0 on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return int(text)


def positive(text: str) -> int:
    """A number from 1 on."""
    number = natural(text)
    if number == 0:
        raise argparse.ArgumentTypeError("0 is too few")
    return number


def start(text: str) -> str | int:
    """A word for a place in a partition, or an offset."""
    return text if text in ("earliest", "latest") else natural(text)


def separator(text: str) -> str:
    """What parts key and value; a tab may be written as a backslash and a t."""
    characters = text.replace("\\t", "\t")
    if not characters or "\n" in characters:
        raise argparse.ArgumentTypeError("a separator is at least one character, and no line end")
    return characters


def whole(text: str) -> int:
    """A whole number, negative ones too."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def moment(text: str) -> datetime:
    """A time with its zone."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time of ISO 8601") from None
    if time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no time zone; end it in Z, or in +02:00")
    return time


def partitions(text: str) -> tuple[str, list[int] | None]:
    """A topic, and some of its partitions or None for all."""
    topic, colon, numbers = text.partition(":")
    return topic, [natural(number) for number in numbers.split(",")] if colon else None
