"""Parts that the parsers of the commands share: the path, and the types of arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final, TypeAlias

Command: TypeAlias = Callable[[argparse.Namespace], int]
"""The function that `parse_args()` leaves in `.command`: it runs the command and returns the exit code."""

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""The object to which parsers of commands are added."""

CODECS: Final = ("bytes", "str", "int", "float", "bool", "uuid", "date", "datetime", "decimal", "json", "msgpack")
"""The codecs that need no class."""


def add(
    commands: Commands,
    name: str,
    about: str,
    run: Command,
) -> argparse.ArgumentParser:
    """Add a command that takes a log: its parser, with the path."""
    parser = commands.add_parser(name, help=about, description=about)
    parser.add_argument("path", type=directory, metavar="PATH", help="directory of the log")
    parser.set_defaults(command=run)
    return parser


def add_topic(parser: argparse.ArgumentParser) -> None:
    """Add the name of a topic."""
    parser.add_argument("topic", metavar="TOPIC", help="name of the topic")


def add_max(parser: argparse.ArgumentParser, noun: str) -> None:
    """Add `--max`, the most lines to print."""
    parser.add_argument("--max", type=positive, metavar="N", help=f"stop after N {noun}")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`, output for programs."""
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def directory(text: str) -> Path:
    """A path, which the empty text is not, nor the address of a log elsewhere."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError("a path needs at least one character")
    if "://" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is the address of a log elsewhere; commands take a directory")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{text!a} is not valid in UTF-8") from None
    return Path(text)


def natural(text: str) -> int:
    """A whole number, at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def positive(text: str) -> int:
    """A whole number, at least 1."""
    number = natural(text)
    if number == 0:
        raise argparse.ArgumentTypeError("0 is too small; the least is 1")
    return number


def start(text: str) -> str | int:
    """`earliest`, `latest` or an offset."""
    if text in ("earliest", "latest"):
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither earliest nor latest nor a whole number of at least 0")
    return int(text)


def separator(text: str) -> str:
    """The text between key and value; a tab may be written as a backslash and a t."""
    characters = text.replace("\\t", "\t")
    if not characters or "\n" in characters:
        raise argparse.ArgumentTypeError("a separator needs at least one character, and none may be a line feed")
    return characters


def whole(text: str) -> int:
    """A whole number; it may be negative."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def moment(text: str) -> datetime:
    """A time with a time zone."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in ISO 8601") from None
    if time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no time zone; add Z or, for example, +02:00")
    return time


def partitions(text: str) -> tuple[str, list[int] | None]:
    """A topic with some of its partitions, or None for all."""
    topic, colon, numbers = text.partition(":")
    return topic, [natural(number) for number in numbers.split(",")] if colon else None
