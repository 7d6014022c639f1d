"""`eventlog trim`: delete the oldest records of a topic."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

import eventlog
from eventlog.cli.confirm import confirm, destructive
from eventlog.cli.failure import EXIT_OK, check_there
from eventlog.cli.opening import open_to_change
from eventlog.cli.parts import NATURAL, WHERE, Where, command, json_option, path_argument, topic_argument
from eventlog.cli.text import counted, json_line, table


@command("trim")
@path_argument
@topic_argument
@click.option(
    "--before",
    type=WHERE,
    required=True,
    metavar="WHERE",
    help="Delete what lies before: an offset, -N to keep the last N of each partition, a time such as "
    "2026-07-02T15:00+02:00, or latest for everything.",
)
@click.option(
    "-p", "--partition", "partitions", type=NATURAL, multiple=True, metavar="N", help="Only here; may be repeated."
)
@destructive
@json_option
def trim(
    *, path: Path, topic: str, before: Where, partitions: tuple[int, ...], is_sure: bool, dry_run: bool, as_json: bool
) -> int:
    """
    Delete the oldest records of a topic, as `kafka-delete-records` does.

    It shows for each partition the offset that would be the first, and asks; then all partitions change in one
    transaction. The offsets of the other records stay. Appends use the space again; the file does not shrink by
    itself: `eventlog compact` writes a smaller one.
    """
    with open_to_change(path) as log:
        check_there("topic", topic, log.topics(), path)
        opened = log.topic(topic)
        bounds = opened.bounds()
        for number in partitions:
            if number not in bounds:
                opened.read(number)  # raises the error of the library
        firsts: dict[int, int] = {}
        rows: list[tuple[str, ...]] = [("partition", "first", "new first", "end", "deleted")]
        for number, (first, end) in bounds.items():
            if not partitions or number in partitions:
                firsts[number] = new = _first(opened, number, before, first, end)
                rows.append((str(number), f"{first:,}", f"{new:,}", f"{end:,}", f"{max(0, new - first):,}"))
        deleted = sum(max(0, new - bounds[number][0]) for number, new in firsts.items())
        if not dry_run:
            if deleted:
                what = f"Delete {counted(deleted, 'record')} of topic {topic}?"
                confirm(what, table(rows), is_sure=is_sure)
            opened.delete_records(firsts)
    if as_json:
        sys.stdout.writelines(
            json_line(topic=topic, partition=number, before=bounds[number][0], first=new, end=bounds[number][1])
            for number, new in firsts.items()
        )
        return EXIT_OK
    sys.stdout.writelines(f"{line}\n" for line in table(rows))
    sys.stdout.write("a dry run: nothing was deleted\n" if dry_run else f"{counted(deleted, 'record')} deleted\n")
    return EXIT_OK


def _first(topic: eventlog.Topic[Any, Any], partition: int, before: Where, first: int, end: int) -> int:
    """The offset that is to be the first; one that the partition cannot have is left to the library to refuse."""
    if before == "earliest":
        return first
    if before == "latest":
        return end
    if isinstance(before, int):
        return max(first, end + before) if before < 0 else max(first, before)
    for record in topic.read(partition, start=before, max_records=1):  # type: ignore[arg-type]  # a time
        return record.offset
    return end
