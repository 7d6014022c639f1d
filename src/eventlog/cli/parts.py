"""Parts that the commands share: the path, the types of arguments, and options that many commands have."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import click
from click.shell_completion import CompletionItem

import eventlog
from eventlog.cli.opening import open_log
from eventlog.cli.root import SETTINGS
from eventlog.options import LEAST_LOG_BYTES

if TYPE_CHECKING:
    ParamType: TypeAlias = click.ParamType[Any]
else:  # it is no generic class in every click that we take
    ParamType = click.ParamType

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Where: TypeAlias = str | int | datetime
"""`earliest`, `latest`, an offset, a number of records before the end if it is negative, or a time."""

CODECS: Final = ("bytes", "str", "int", "float", "bool", "uuid", "date", "datetime", "decimal", "json", "msgpack")
"""The codecs that need no class."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Directory(ParamType):
    """A path of this machine, which the empty text is not, nor the address of a log elsewhere."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if not value or "\0" in value:
            self.fail("a path needs at least one character", param, ctx)
        if "://" in value:
            self.fail(f"{value!r} is the address of a log elsewhere; commands take a directory", param, ctx)
        try:
            value.encode()
        except UnicodeEncodeError:
            self.fail(f"{value!a} is not valid in UTF-8", param, ctx)
        return Path(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="dir")]


class _Named(ParamType):
    """The name of something in the log, which a shell can complete."""

    def __init__(self, noun: str, names: Callable[[eventlog.EventLog], list[str]]) -> None:
        self.name = noun
        self._names = names

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        path = ctx.params.get("path")
        if not isinstance(path, Path):
            return []
        try:
            with open_log(path) as log:
                names = self._names(log)
        except (eventlog.EventLogError, OSError):
            return []  # a shell that completes has no place for an error
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class _Count(click.IntRange):
    """The most of something; more than can be counted is as good as no bound."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return min(int(super().convert(value, param, ctx)), sys.maxsize)


class _Moment(ParamType):
    """A time in ISO 8601 with a zone."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return moment(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _Where(ParamType):
    """A place in each partition, in the words of Kafka and kcat."""

    name = "where"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Where:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]  # it was converted before
        words = {"earliest": "earliest", "beginning": "earliest", "latest": "latest", "end": "latest"}
        if value in words:
            return words[value]
        if value.removeprefix("-").isdecimal():
            return int(value)
        try:
            if value.startswith("s@"):
                return _EPOCH + timedelta(milliseconds=int(value[2:]))
            return moment(value)
        except (ValueError, OverflowError) as error:
            self.fail(
                f"{value!r} is neither earliest nor latest nor an offset nor a number before the end nor a time "
                f"({error})",
                param,
                ctx,
            )


class _Separator(ParamType):
    """The text between key and value; a tab may be written as a backslash and a t."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        characters: str = value.replace("\\t", "\t")
        if not characters or "\n" in characters:
            self.fail("a separator needs at least one character, and none may be a line feed", param, ctx)
        return characters


class _Header(ParamType):
    """A header, as kcat has it: name=value."""

    name = "header"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, bytes]:
        name, separator, text = value.partition("=")
        if not separator:
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        return name, text.encode("utf-8", "surrogateescape")


class _Partitions(ParamType):
    """A topic with some of its partitions, or None for all."""

    name = "partitions"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        topic, colon, numbers = value.partition(":")
        if not colon:
            return topic, None
        for number in numbers.split(","):
            if not number.isdecimal():
                self.fail(f"{number!r} is not a whole number of at least 0", param, ctx)
        return topic, [int(number) for number in numbers.split(",")]


def moment(text: str) -> datetime:
    """
    A time with a time zone.

    Raises:
        ValueError: it is no time in ISO 8601, or has no zone.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time in ISO 8601") from None
    if time.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; add Z or, for example, +02:00")
    return time


NATURAL: Final = click.IntRange(min=0)
POSITIVE: Final = click.IntRange(min=1)
DIRECTORY: Final = _Directory()
MOMENT: Final = _Moment()
WHERE: Final = _Where()
HEADER: Final = _Header()
SEPARATOR: Final = _Separator()
PARTITIONS: Final = _Partitions()
TOPIC: Final = _Named("topic", lambda log: log.topics())
GROUP: Final = _Named("group", lambda log: log.groups.list())
STATE: Final = _Named("state", lambda log: [*log.states(), *log.projections()])

path_argument = click.argument("path", type=DIRECTORY, metavar="PATH")
topic_argument = click.argument("topic", type=TOPIC, metavar="TOPIC")
group_argument = click.argument("group", type=GROUP, metavar="GROUP")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")


def command(name: str) -> Callable[[Callable[..., int]], click.Command]:
    """Make a command of a function that returns the exit code."""
    return click.command(name, context_settings=dict(SETTINGS))


def max_option(noun: str) -> Callable[[Decorated], Decorated]:
    """The option `--max`, the most lines to print."""
    return click.option("-c", "--max", "max_count", type=_Count(min=1), metavar="N", help=f"Stop after N {noun}.")


max_bytes_option = click.option(
    "--max-bytes",
    type=click.IntRange(min=LEAST_LOG_BYTES),
    metavar="N",
    help="Store nothing more once the file of the log would have more than N bytes.",
)


def topic_options(function: Decorated) -> Decorated:
    """The options of a topic that a command may make."""
    for decorate in (
        click.option("--index", type=click.Choice(["key"]), help="Of a new topic: index it by key, with versions."),
        click.option("--value-codec", type=click.Choice(CODECS), metavar="CODEC", help="Of the values of a new topic."),
        click.option("--key-codec", type=click.Choice(CODECS), metavar="CODEC", help="Of the keys of a new topic."),
        click.option("--partitions", type=POSITIVE, metavar="N", help="Partitions of a new topic (default 1)."),
    ):
        function = decorate(function)
    return function
