"""`eventlog queues`: list and describe queues, pause, purge and delete them, replay dead letters."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import click

import eventlog
from eventlog.cli.confirm import confirm
from eventlog.cli.failure import EXIT_OK
from eventlog.cli.group_text import age_text
from eventlog.cli.group_values import values_are_failures
from eventlog.cli.opening import open_log, open_to_change
from eventlog.cli.parts import command, json_option, path_argument, topic_argument
from eventlog.cli.root import SETTINGS
from eventlog.cli.text import as_text, counted, json_line, table, time_text

_HEAD = ("queue", "ready", "leased", "delayed", "waiting", "dead", "workers")
queue_argument = click.argument("queue", metavar="QUEUE")
yes_option = click.option("-y", "--yes", "is_sure", is_flag=True, help="Do it without asking.")


@click.group("queues", context_settings=dict(SETTINGS), no_args_is_help=True)
def queues() -> None:
    """List, describe, pause, purge and delete queues, and replay dead letters."""


@command("list")
@path_argument
@json_option
def list_queues(*, path: Path, as_json: bool) -> int:
    """
    List the queues, and what each has to do.

    `ready` jobs may be taken now, `leased` ones are with workers, `delayed` ones rest, `waiting` ones wait for others
    of their keys, and `dead` counts the dead letters since the queue was made.
    """
    with open_log(path) as log:
        found = [log.queues.describe(name) for name in log.queues.list()]
    if as_json:
        sys.stdout.writelines(json_line(**_fields(queue)) for queue in found)
    else:
        sys.stdout.writelines(f"{line}\n" for line in table([_HEAD, *map(_row, found)]))
    return EXIT_OK


@command("describe")
@path_argument
@queue_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def describe_queue(*, path: Path, queue: str, as_json: bool) -> int:
    """
    Show what a queue has to do, how far it has come in each partition, and its workers.

    All before `start` is done, and `next` is handed out next. The age of a worker's oldest job counts from when that
    was first handed out, by whomever. The names in JSON are those of `QueueDescription`.
    """
    with open_log(path) as log, values_are_failures():
        found = log.queues.describe(queue)
    if as_json:
        sys.stdout.write(json_line(**_fields(found)))
    else:
        sys.stdout.writelines(f"{line}\n" for line in _lines(found))
    return EXIT_OK


@command("pause")
@path_argument
@queue_argument
@json_option
def pause_queue(*, path: Path, queue: str, as_json: bool) -> int:
    """Have a queue hand out nothing more, until `resume`."""
    with open_to_change(path) as log, values_are_failures():
        log.queues.pause(queue)
    return _say(f"{queue} is paused", as_json=as_json, queue=queue, is_paused=True)


@command("resume")
@path_argument
@queue_argument
@json_option
def resume_queue(*, path: Path, queue: str, as_json: bool) -> int:
    """Have a queue hand out jobs again."""
    with open_to_change(path) as log, values_are_failures():
        log.queues.resume(queue)
    return _say(f"{queue} goes on", as_json=as_json, queue=queue, is_paused=False)


@command("purge")
@path_argument
@queue_argument
@yes_option
@json_option
def purge_queue(*, path: Path, queue: str, is_sure: bool, as_json: bool) -> int:
    """
    Take all jobs of a queue for done that are not with a worker.

    The records stay in their topics.
    """
    with open_to_change(path) as log, values_are_failures():
        confirm("Take all of these for done?", _lines(log.queues.describe(queue)), is_sure=is_sure)
        count = log.queues.purge(queue)
    return _say(f"{counted(count, 'job')} of {queue} taken for done", as_json=as_json, queue=queue, count=count)


@command("delete")
@path_argument
@queue_argument
@yes_option
@json_option
def delete_queue(*, path: Path, queue: str, is_sure: bool, as_json: bool) -> int:
    """
    Delete a queue: one of that name would begin with the first record.

    Its topics and its dead letters stay.
    """
    with open_to_change(path) as log, values_are_failures():
        confirm("Delete this queue?", _lines(log.queues.describe(queue)), is_sure=is_sure)
        log.queues.delete(queue)
    return _say(f"{queue} is deleted", as_json=as_json, queue=queue)


@command("replay")
@path_argument
@topic_argument
@click.option("--rate", type=click.FloatRange(min=0.001), metavar="N", help="So many a second at most.")
@json_option
def replay_letters(*, path: Path, topic: str, rate: float | None, as_json: bool) -> int:
    """
    Append dead letters to the topics that they came from, each of them once.

    TOPIC is that of the dead letters. It may be interrupted and called again.
    """
    with open_to_change(path) as log, values_are_failures():
        count = log.queues.replay(topic, rate=rate)
    return _say(f"{counted(count, 'dead letter')} of {topic} appended again", as_json=as_json, topic=topic, count=count)


def _say(text: str, *, as_json: bool, **fields: object) -> int:
    """Say what was done."""
    sys.stdout.write(json_line(**fields) if as_json else f"{text}\n")
    return EXIT_OK


def _row(queue: eventlog.QueueDescription) -> tuple[str, ...]:
    numbers = (queue.ready, queue.leased, queue.delayed, queue.waiting, queue.dead, len(queue.workers))
    return (queue.name, *(f"{number:,}" for number in numbers))


def _lines(queue: eventlog.QueueDescription) -> Iterator[str]:
    """A line for the queue, a table of its partitions, a table of its workers."""
    yield (
        f"{queue.name}: {'paused, ' if queue.is_paused else ''}{queue.ready:,} ready, {queue.leased:,} leased, "
        f"{queue.delayed:,} delayed, {queue.waiting:,} waiting, {queue.dead:,} dead, {queue.expired:,} expired"
    )
    limits = f"{queue.attempts:,} attempts, dead letters to {as_text(queue.dead_letters)}"
    if queue.per_key is not None:
        limits += f", {queue.per_key:,} at a time of each key"
    if queue.timeout is not None:
        limits += f", {queue.timeout:g} s for each job"
    yield limits
    if queue.partitions:
        rows = [
            (one.topic, str(one.partition), f"{one.start:,}", f"{one.next:,}", f"{one.end:,}")
            for one in queue.partitions
        ]
        yield from ("", *table([("topic", "partition", "start", "next", "end"), *rows]))
    if queue.workers:
        now_ms = time.time_ns() // 1_000_000
        members = [
            (
                one.member_id,
                one.state,
                str(one.process_id),
                time_text(one.joined_ms),
                f"{one.leased:,}",
                "-" if one.oldest_ms is None else age_text(now_ms - one.oldest_ms),
            )
            for one in queue.workers
        ]
        yield from ("", *table([("worker", "state", "process", "joined", "leased", "oldest"), *members]))


def _fields(queue: eventlog.QueueDescription) -> dict[str, Any]:
    """A queue with the names of `QueueDescription`, for JSON."""
    return attrs.asdict(queue, recurse=False) | {
        "workers": [attrs.asdict(worker, recurse=False) for worker in queue.workers],
        "partitions": [attrs.asdict(partition, recurse=False) for partition in queue.partitions],
    }


for _command in (list_queues, describe_queue, pause_queue, resume_queue, purge_queue, delete_queue, replay_letters):
    queues.add_command(_command)
