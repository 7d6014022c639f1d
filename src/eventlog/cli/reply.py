"""`eventlog reply`: answer the requests of a topic, by a command, a text or what they say."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import eventlog
from eventlog.cli.failure import EXIT_OK, check_there
from eventlog.cli.opening import open_to_change
from eventlog.cli.parts import GROUP, command, json_option, max_option, path_argument, topic_argument
from eventlog.cli.records import Names, to_json
from eventlog.cli.text import decoded, json_text, record_line

_Answer = Callable[[eventlog.Record[Any, Any]], Any]
_MOST_ERROR_CHARACTERS = 1_000


class CommandFailed(Exception):
    """A command that ended with another code than 0; its requester sees the name of this class, and the text."""


class _Line(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # it is no generic class in every click
    """A command as a shell splits it into words."""

    name = "command"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        try:
            words = shlex.split(value)
        except ValueError as error:
            self.fail(f"{value!r} cannot be split into words: {error}", param, ctx)
        if not words:
            self.fail("a command needs at least one word", param, ctx)
        return words


@command("reply")
@path_argument
@topic_argument
@click.argument("value", metavar="[VALUE]", required=False)
@click.option("--command", "words", type=_Line(), metavar="COMMAND", help="Answer by what a command prints.")
@click.option("--echo", is_flag=True, help="Answer by the request's own value.")
@click.option(
    "--group", type=GROUP, default="reply", show_default=True, metavar="GROUP", help="The group that shares requests."
)
@max_option("requests")
@json_option
def reply(
    *,
    path: Path,
    topic: str,
    value: str | None,
    words: list[str] | None,
    echo: bool,
    group: str,
    max_count: int | None,
    as_json: bool,
) -> int:
    """
    Answer the requests of a topic, until Ctrl-C or SIGTERM.

    The reply is VALUE, written as a line of `produce`; or the request's own value with --echo; or what a command
    prints, which gets the request's value on its stdin. A command that fails is an error of the responder, with what
    it wrote to stderr. Each request is printed as `tail` prints it. The reply is stored with the group's position: a
    request is answered once. Several of these commands share the work by partition.
    """
    if (value is not None) + (words is not None) + echo != 1:
        raise click.UsageError("say how to answer by exactly one of VALUE, --command and --echo.")
    with open_to_change(path) as log:
        check_there("topic", topic, log.topics(), path)
        asked = log.topic(topic)
        answer = _answer(asked.value, value, words)
        line = Names(log).json_line if as_json else record_line

        def function(_tx: eventlog.Transaction, record: eventlog.Record[Any, Any]) -> Any:
            nonlocal max_count
            sys.stdout.write(line(record).removesuffix("\n") + "\n")
            sys.stdout.flush()
            if max_count is not None:
                max_count -= 1
                if max_count <= 0:
                    responder.stop()
            return answer(record)

        with log.responder(asked, function=function, group=group) as responder:
            responder.run()
    return EXIT_OK


def _answer(codec: str, value: str | None, words: list[str] | None) -> _Answer:
    """The function that answers, in values of a codec."""
    if words is not None:
        return lambda record: decoded(_output(words, record.value, codec), codec)
    if value is not None:
        said = decoded(value.encode("utf-8", "surrogateescape"), codec)
        return lambda _: said
    return lambda record: record.value


def _output(words: list[str], value: Any, codec: str) -> bytes:
    """What a command prints, without the line feed at its end."""
    data = value if isinstance(value, bytes) else _typed(value, codec)
    done = subprocess.run(words, input=data, capture_output=True, check=False)
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()[-_MOST_ERROR_CHARACTERS:]
        raise CommandFailed(f"{words[0]} ended with {done.returncode}: {said}")
    return done.stdout.removesuffix(b"\n")


def _typed(value: Any, codec: str) -> bytes:
    """A value as it is typed for `produce`."""
    if value is None:
        return b""
    shown = value if isinstance(value, str) else to_json(value, codec)
    return (shown if isinstance(shown, str) else json_text(shown)).encode()
