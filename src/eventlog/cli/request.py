"""`eventlog request`: send a request, and print its reply."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

import eventlog
from eventlog.cli.failure import EXIT_OK, EXIT_USAGE, check_there, failure_of
from eventlog.cli.opening import open_to_change
from eventlog.cli.parts import (
    GROUP,
    HEADER,
    NATURAL,
    POSITIVE,
    TOPIC,
    command,
    json_option,
    path_argument,
    topic_argument,
)
from eventlog.cli.records import to_json
from eventlog.cli.text import as_text, decoded, json_line, jsonable

_OPTIONS = {"message_id": "--message-id", "timeout": "--timeout", "reply_to=, timeout= or message_id=": "the options"}


@command("request")
@path_argument
@topic_argument
@click.argument("value", metavar="VALUE")
@click.option("-k", "--key", "key_text", metavar="KEY", help="The key of the request.")
@click.option("-p", "--partition", type=NATURAL, metavar="N", help="The partition of the request.")
@click.option("-H", "--header", "headers", type=HEADER, multiple=True, metavar="NAME=VALUE", help="A header.")
@click.option(
    "-t", "--timeout", type=float, default=5.0, show_default=True, metavar="SECONDS", help="How long to wait."
)
@click.option("--message-id", metavar="ID", help="The name of the request: sent again, it is done once.")
@click.option("--reply-to", type=TOPIC, metavar="TOPIC", help="The topic for the reply, where it stays.")
@click.option("--group", type=GROUP, metavar="GROUP", help="The group that has to be there to answer.")
@click.option("--wait", "waits", is_flag=True, help="Wait for a responder, if none is there.")
@click.option("--replies", type=POSITIVE, metavar="N", help="Wait for the replies of N groups (default 1).")
@json_option
def request(
    *,
    path: Path,
    topic: str,
    value: str,
    key_text: str | None,
    partition: int | None,
    headers: tuple[tuple[str, bytes], ...],
    timeout: float,
    message_id: str | None,
    reply_to: str | None,
    group: str | None,
    waits: bool,
    replies: int | None,
    as_json: bool,
) -> int:
    """
    Send a request to a topic, and print the value of its reply.

    VALUE is written as a line of `produce`; - is all of stdin. Without a live member of a group that reads the topic
    the command fails at once, and nothing is stored. An error of the responder fails it, too.

    With --json, a line is an object with the names of a record.
    """
    data = sys.stdin.buffer.read() if value == "-" else value.encode("utf-8", "surrogateescape")
    with open_to_change(path) as log:
        for name in (topic, *([] if reply_to is None else [reply_to])):
            check_there("topic", name, log.topics(), path)
        asked = log.topic(topic)
        codec = asked.value
        if reply_to is not None and log.topic(reply_to).value != "bytes":
            codec = log.topic(reply_to).value
        try:
            found = log.gather(
                asked,
                decoded(data, asked.value),
                expect=replies or 1,
                key=None if key_text is None else decoded(key_text.encode("utf-8", "surrogateescape"), asked.key),
                headers=headers,
                partition=partition,
                timeout=timeout,
                message_id=message_id,
                reply_to=reply_to,
                group=group,
                needs_responder=not waits,
            )
        except (TypeError, ValueError) as error:
            if isinstance(error, eventlog.EventLogError):
                raise
            raise failure_of(error, EXIT_USAGE, _OPTIONS) from error
    for reply in found:
        sys.stdout.write(_json(reply, codec) if as_json else as_text(reply.value) + "\n")
    return EXIT_OK


def _json(reply: eventlog.Record[Any, Any], codec: str) -> str:
    return json_line(
        topic=reply.topic,
        partition=reply.partition,
        offset=reply.offset,
        timestamp_ms=reply.timestamp_ms,
        key=to_json(reply.key, "bytes"),
        value=to_json(reply.value, codec),
        headers=jsonable(reply.headers),
    )
