"""`eventlog schedules`: list, add, move and cancel records that are to be sent later, and send them."""

from __future__ import annotations

import contextlib
import sys
import time
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import click

import eventlog
from eventlog.cli.failure import EXIT_NOT_FOUND, EXIT_OK, EXIT_USAGE, Failure
from eventlog.cli.group_values import values_are_failures
from eventlog.cli.opening import open_log, open_to_change
from eventlog.cli.parts import (
    HEADER,
    MOMENT,
    NATURAL,
    TOPIC,
    command,
    json_option,
    max_option,
    path_argument,
    topic_argument,
)
from eventlog.cli.records import Names, to_json
from eventlog.cli.root import SETTINGS
from eventlog.cli.text import as_text, counted, decoded, json_line, jsonable, time_text

id_argument = click.argument("schedule", metavar="ID")
at_option = click.option("--at", type=MOMENT, metavar="TIME", help="When: ISO 8601 with a zone.")
delay_option = click.option("--delay", type=float, metavar="SECONDS", help="When: so many seconds from now on.")


@click.group("schedules", context_settings=dict(SETTINGS), no_args_is_help=True)
def schedules() -> None:
    """List, add, move and cancel records that are to be sent later, and send them."""


@command("list")
@path_argument
@click.option("-t", "--topic", type=TOPIC, metavar="TOPIC", help="Only those of a topic.")
@click.option("--key", metavar="KEY", help="Only those of a key of the topic.")
@click.option("--start", type=MOMENT, metavar="TIME", help="Only those due then or later.")
@click.option("--end", type=MOMENT, metavar="TIME", help="Only those due before.")
@click.option("--failed", is_flag=True, help="Those that could not be sent, instead of those that wait.")
@max_option("schedules")
@json_option
def list_schedules(
    *,
    path: Path,
    topic: str | None,
    key: str | None,
    start: datetime | None,
    end: datetime | None,
    failed: bool,
    max_count: int | None,
    as_json: bool,
) -> int:
    """
    List the records that are to be sent later, in the order of time.

    A line has the id, the time, the topic, the key and the value; of one that could not be sent, the reason as well.
    The names in JSON are those of `Schedule`.
    """
    if key is not None and topic is None:
        raise click.UsageError("--key goes with --topic, which says how keys are written.")
    with open_log(path) as log, values_are_failures():
        names = Names(log)
        chosen = None
        if key is not None and topic is not None:
            chosen = _typed("key", key, topic, names.codecs(topic)[0])
        found = log.schedules.list(topic, key=chosen, start=start, end=end, failed=failed)
        for schedule in islice(found, max_count):
            sys.stdout.write(json_line(**_fields(schedule, names)) if as_json else _line(schedule))
    return EXIT_OK


@command("add")
@path_argument
@topic_argument
@click.argument("value", metavar="VALUE")
@at_option
@delay_option
@click.option("-k", "--key", "key_text", metavar="KEY", help="The key of the record.")
@click.option("-p", "--partition", type=NATURAL, metavar="N", help="The partition of the record.")
@click.option(
    "-H", "--header", "headers", type=HEADER, multiple=True, metavar="NAME=VALUE", help="A header of the record."
)
@click.option("--message-id", metavar="ID", help="Schedule and store it once, however often this is called.")
@json_option
def add_schedule(
    *,
    path: Path,
    topic: str,
    value: str,
    at: datetime | None,
    delay: float | None,
    key_text: str | None,
    partition: int | None,
    headers: tuple[tuple[str, bytes], ...],
    message_id: str | None,
    as_json: bool,
) -> int:
    """
    Store a record now, and have it sent later.

    VALUE and KEY are written as for `produce`. The line on stdout has the id. This command does not stay: a program
    that has the log open sends the record at its time, or `run`.
    """
    _check_time(at, delay)
    with open_to_change(path) as log, values_are_failures():
        opened = log.topic(topic)
        schedule = opened.schedule(
            _typed("value", value, topic, opened.value),
            at=at,
            delay=delay,
            key=None if key_text is None else _typed("key", key_text, topic, opened.key),
            partition=partition,
            headers=headers,
            message_id=message_id,
        )
        sys.stdout.write(json_line(**_fields(schedule, Names(log))) if as_json else _line(schedule))
    return EXIT_OK


@command("move")
@path_argument
@id_argument
@at_option
@delay_option
@json_option
def move_schedule(*, path: Path, schedule: str, at: datetime | None, delay: float | None, as_json: bool) -> int:
    """Give a schedule another time; one that could not be sent is tried again then."""
    _check_time(at, delay)
    with open_to_change(path) as log, values_are_failures():
        if not log.schedules.move(schedule, at=at, delay=delay):
            raise _gone(schedule, path)
        moved = log.schedules.get(schedule)
    due_ms = None if moved is None else moved.due_ms
    when = "now" if due_ms is None else time_text(due_ms)
    sys.stdout.write(json_line(id=schedule, due_ms=due_ms) if as_json else f"{schedule} is due at {when}\n")
    return EXIT_OK


@command("cancel")
@path_argument
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@json_option
def cancel_schedules(*, path: Path, ids: tuple[str, ...], as_json: bool) -> int:
    """Cancel schedules: they will not be sent."""
    with open_to_change(path) as log, values_are_failures():
        for schedule in ids:
            if not log.schedules.cancel(schedule):
                raise _gone(schedule, path)
            sys.stdout.write(json_line(id=schedule, state="cancelled") if as_json else f"{schedule} is cancelled\n")
    return EXIT_OK


@command("describe")
@path_argument
@json_option
def describe_schedules(*, path: Path, as_json: bool) -> int:
    """Count the schedules, and say when the first of them is due."""
    with open_log(path) as log:
        found = log.schedules.describe()
    if as_json:
        sys.stdout.write(
            json_line(
                waiting=found.waiting, failed=found.failed, stored_bytes=found.stored_bytes, next_ms=found.next_ms
            )
        )
        return EXIT_OK
    late_s = 0 if found.next_ms is None else time.time() - found.next_ms / 1000
    when = "" if found.next_ms is None else f", the first at {time_text(found.next_ms)}"
    overdue = f" ({late_s:,.0f} s ago)" if late_s >= 1 else ""
    sys.stdout.write(f"{found.waiting:,} waiting{when}{overdue}, {found.failed:,} failed\n")
    return EXIT_OK


@command("run")
@path_argument
@click.option("--once", is_flag=True, help="Send what is due now, and end.")
@json_option
def run_schedules(*, path: Path, once: bool, as_json: bool) -> int:
    """
    Send what is due, at its time, until Ctrl-C or SIGTERM.

    It is for a log that no other program has open all the time. Several of these, and other programs, send each record
    once. With --once it sends what is overdue and says how many records that were.
    """
    if once:
        with open_to_change(path) as log:
            count = log.schedules.send_due()
        sys.stdout.write(json_line(sent=count) if as_json else f"{counted(count, 'record')} sent\n")
        return EXIT_OK
    with eventlog.open(path, create=False, cleaner=False) as log:
        sys.stdout.write(json_line(path=str(path)) if as_json else f"sending what is scheduled in {path}\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):  # SIGTERM, too
            log.schedules.run()
    return EXIT_OK


def _check_time(at: datetime | None, delay: float | None) -> None:
    if (at is None) == (delay is None):
        raise click.UsageError("A schedule has either --at or --delay.")


def _typed(part: str, text: str, topic: str, codec: str) -> Any:
    """The key or the value that the user typed, for the codec of a topic."""
    try:
        return decoded(text.encode("utf-8", "surrogateescape"), codec)
    except (TypeError, ValueError) as error:
        raise Failure(
            f"{as_text(text)} is not a {part} of topic {topic!r} ({part} {codec}): {error}.",
            stored="No record was scheduled.",
            exit_code=EXIT_USAGE,
        ) from error


def _gone(schedule: str, path: Path) -> Failure:
    return Failure(
        f"{schedule} is not scheduled in {path}: it was sent or cancelled.",
        stored="It was left as it was.",
        advice="`eventlog schedules list` has those that wait.",
        exit_code=EXIT_NOT_FOUND,
    )


def _line(schedule: eventlog.Schedule[Any, Any]) -> str:
    cells = [schedule.id, time_text(schedule.due_ms), schedule.topic, as_text(schedule.key), as_text(schedule.value)]
    if schedule.error is not None:
        cells.append(as_text(schedule.error))
    return "\t".join(cells) + "\n"


def _fields(schedule: eventlog.Schedule[Any, Any], names: Names) -> dict[str, Any]:
    """A schedule with the names of `Schedule`, for JSON."""
    key_codec, value_codec = names.codecs(schedule.topic)
    return {
        "id": schedule.id,
        "topic": schedule.topic,
        "partition": schedule.partition,
        "key": to_json(schedule.key, key_codec),
        "value": to_json(schedule.value, value_codec),
        "headers": jsonable(schedule.headers),
        "due_ms": schedule.due_ms,
        "scheduled_ms": schedule.scheduled_ms,
        "message_id": jsonable(schedule.message_id),
        "state": schedule.state,
        "error": schedule.error,
    }


for _command in (
    list_schedules,
    describe_schedules,
    add_schedule,
    move_schedule,
    cancel_schedules,
    run_schedules,
):
    schedules.add_command(_command)
