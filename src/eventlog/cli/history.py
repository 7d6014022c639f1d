"""`eventlog history`: the records of one key."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

import eventlog
from eventlog.cli.failure import EXIT_NOT_FOUND, EXIT_OK, EXIT_REFUSED, EXIT_USAGE, Failure, check_there
from eventlog.cli.opening import open_log
from eventlog.cli.parts import POSITIVE, command, json_option, max_option, path_argument, topic_argument
from eventlog.cli.records import Names
from eventlog.cli.text import as_text, decoded, time_text


@command("history")
@path_argument
@topic_argument
@click.argument("key_text", metavar="KEY")
@click.option("--start", type=POSITIVE, default=1, metavar="N", help="The first version (default 1).")
@click.option("--end", type=POSITIVE, metavar="N", help="The version to stop before.")
@click.option("--reverse", "is_reversed", is_flag=True, help="The last one first.")
@max_option("records")
@json_option
def history(
    *,
    path: Path,
    topic: str,
    key_text: str,
    start: int,
    end: int | None,
    is_reversed: bool,
    max_count: int | None,
    as_json: bool,
) -> int:
    """
    Print the records of one key, of a topic with an index.

    They come in the order of their versions. KEY is text where the topic's keys are `str` or `bytes`, a number where
    they are `int`, else JSON. A line is version, `partition:offset`, time in UTC and value, set apart by tabs; with
    --json the names are those of `tail`, and `version` and `log_position`. A key without any record is an error, so
    that a typing mistake does not look like an empty account.
    """
    with open_log(path) as log:
        check_there("topic", topic, log.topics(), path)
        opened = log.topic(topic)
        if opened.index is None:
            raise Failure(
                f"topic {topic!r} has no index, so it cannot be read by key.",
                stored="Nothing was changed.",
                advice="Create one with `eventlog topics create --index key`, or read this with `eventlog tail --key`.",
                exit_code=EXIT_REFUSED,
            )
        try:
            key = decoded(key_text.encode("utf-8", "surrogateescape"), opened.key)
            version = opened.version(key)
        except (TypeError, ValueError) as error:
            raise Failure(
                f"{key_text!r} is not a key of topic {topic!r} (key {opened.key}).",
                stored="Nothing was changed.",
                exit_code=EXIT_USAGE,
            ) from error
        if version == 0:
            raise Failure(
                f"topic {topic!r} has no record with the key {key_text!r}.",
                stored="Nothing was changed.",
                exit_code=EXIT_NOT_FOUND,
            )
        events = opened.history(key, start=start, end=end, is_reversed=is_reversed, max_records=max_count)
        names = Names(log)
        for event in events:
            if as_json:
                numbers = {"version": event.version, "log_position": event.log_position}
                sys.stdout.write(names.json_line(event, **numbers))
            else:
                sys.stdout.write(_line(event))
    return EXIT_OK


def _line(event: eventlog.Event[Any, Any]) -> str:
    place = f"{event.partition}:{event.offset}"
    return "\t".join((str(event.version), place, time_text(event.timestamp_ms), as_text(event.value))) + "\n"
