"""`eventlog groups reset`, `delete` and `delete-offsets`: they show what they would change, and ask."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import click

import eventlog
from eventlog.cli.confirm import confirm, destructive
from eventlog.cli.failure import EXIT_OK
from eventlog.cli.group_text import group_fields, group_lines
from eventlog.cli.group_values import values_are_failures
from eventlog.cli.opening import open_to_change
from eventlog.cli.parts import (
    GROUP,
    MOMENT,
    NATURAL,
    PARTITIONS,
    Decorated,
    command,
    group_argument,
    json_option,
    path_argument,
    topic_argument,
)
from eventlog.cli.text import json_line, table

force_option = click.option("--force", is_flag=True, help="Even if members are alive: they are fenced and start over.")
_Where = Literal["earliest", "latest"] | int | Any
_Offsets = Mapping[eventlog.TopicPartition, int]


def _where_options(function: Decorated) -> Decorated:
    for decorate in (
        click.option("--shift-by", type=int, metavar="N", help="Forward, or back if negative; stops at the ends."),
        click.option(
            "--to-datetime", type=MOMENT, metavar="WHEN", help="The first record of a time or later, or the end."
        ),
        click.option("--to-offset", type=NATURAL, metavar="N", help="An offset that each of the partitions has."),
        click.option("--to-latest", is_flag=True, help="The end of each partition."),
        click.option("--to-earliest", is_flag=True, help="The first offset of each partition."),
    ):
        function = decorate(function)
    return function


@command("reset")
@path_argument
@group_argument
@_where_options
@click.option(
    "--topic",
    "topics",
    type=PARTITIONS,
    multiple=True,
    metavar="TOPIC[:N,N]",
    help="Only this topic, or these partitions of it; may be repeated. With it a group that is not there is made.",
)
@force_option
@click.option("-y", "--yes", "--execute", "is_sure", is_flag=True, help="Do it without asking.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
@json_option
def reset_group(
    *,
    path: Path,
    group: str,
    to_earliest: bool,
    to_latest: bool,
    to_offset: int | None,
    to_datetime: Any,
    shift_by: int | None,
    topics: tuple[tuple[str, list[int] | None], ...],
    force: bool,
    is_sure: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """
    Change the committed offsets of a group.

    It shows for each partition where the group stood and where it would stand, and asks; then all change in one
    transaction. Exactly one option says where to: --to-earliest, --to-latest, --to-offset, --to-datetime or
    --shift-by. Without --topic it changes the partitions that the group has offsets for, or that its members own.
    With live members, or when one partition does not have the offset, it is an error and nothing is stored.
    """
    given: list[tuple[_Where | None, int | None]] = []
    given += [("earliest", None)] if to_earliest else []
    given += [("latest", None)] if to_latest else []
    given += [(one, None) for one in (to_offset, to_datetime) if one is not None]
    given += [(None, shift_by)] if shift_by is not None else []
    if len(given) != 1:
        raise click.UsageError(
            "exactly one of --to-earliest, --to-latest, --to-offset, --to-datetime and --shift-by is needed."
        )
    reset = _Reset(group, *given[0], topics or None, force=force)
    with open_to_change(path) as log, values_are_failures():
        before = _committed(log, group)
        after = reset.run(log, dry_run=True) if dry_run or not is_sure else {}
        if not dry_run:
            confirm(f"Reset group {group}?", _table(before, after), is_sure=is_sure)
            after = reset.run(log, dry_run=False)
    if as_json:
        for (topic, partition), offset in after.items():
            stood = before.get((topic, partition))
            sys.stdout.write(json_line(topic=topic, partition=partition, before=stood, offset=offset))
        return EXIT_OK
    sys.stdout.writelines(f"{line}\n" for line in _table(before, after))
    if dry_run:
        sys.stdout.write("a dry run: nothing was stored\n")
    return EXIT_OK


@attrs.frozen
class _Reset:
    """What to reset, and where to."""

    group: str
    to: _Where | None
    shift: int | None
    topics: tuple[tuple[str, list[int] | None], ...] | None
    force: bool = attrs.field(kw_only=True)

    def run(self, log: eventlog.EventLog, *, dry_run: bool) -> _Offsets:
        """Reset the offsets, or return what they would be."""
        partitions = [(name, number) for name, numbers in self.topics or () for number in numbers or ()]
        return log.groups.reset_offsets(
            self.group,
            to=self.to,
            shift=self.shift,
            topics=None if self.topics is None else [name for name, numbers in self.topics if numbers is None],
            partitions=None if self.topics is None else partitions,
            force=self.force,
            dry_run=dry_run,
        )


def _table(before: dict[tuple[str, int], int | None], after: _Offsets) -> list[str]:
    rows: list[tuple[str, ...]] = [("topic", "partition", "before", "offset")]
    for (topic, partition), offset in after.items():
        stood = before.get((topic, partition))
        rows.append((topic, str(partition), "-" if stood is None else f"{stood:,}", f"{offset:,}"))
    return table(rows)


def _committed(log: eventlog.EventLog, group: str) -> dict[tuple[str, int], int | None]:
    """The committed offsets of the group; empty if there is no such group."""
    with contextlib.suppress(eventlog.UnknownGroup):
        places = log.groups.describe(group).offsets
        return {(place.topic, place.partition): place.committed for place in places}
    return {}


@command("delete")
@path_argument
@click.argument("names", type=GROUP, metavar="GROUP...", nargs=-1, required=True)
@force_option
@destructive
@json_option
def delete_group(
    *, path: Path, names: tuple[str, ...], force: bool, is_sure: bool, dry_run: bool, as_json: bool
) -> int:
    """
    Delete groups with all their offsets.

    It shows them, and asks. With live members it is an error, unless --force is given: then they are fenced, and make
    the group again.
    """
    with open_to_change(path) as log, values_are_failures():
        found = [log.groups.describe(name) for name in dict.fromkeys(names)]
        lines = [line for group in found for line in group_lines(group)]
        if not dry_run:
            confirm(f"Delete {', '.join(group.name for group in found)}?", lines, is_sure=is_sure)
            for group in found:
                log.groups.delete(group.name, force=force)
    if as_json:
        sys.stdout.writelines(json_line(**group_fields(group)) for group in found)
    elif dry_run:
        sys.stdout.writelines(f"{line}\n" for line in (*lines, "a dry run: nothing was deleted"))
    else:
        sys.stdout.writelines(f"group {group.name}: deleted\n" for group in found)
    return EXIT_OK


@command("delete-offsets")
@path_argument
@group_argument
@topic_argument
@force_option
@destructive
@json_option
def delete_offsets(
    *, path: Path, group: str, topic: str, force: bool, is_sure: bool, dry_run: bool, as_json: bool
) -> int:
    """
    Delete a group's offsets of one topic.

    It shows them, and asks. When a live member subscribes to the topic it is an error, unless --force is given: then
    all members are fenced.
    """
    with open_to_change(path) as log, values_are_failures():
        places = [place for place in log.groups.describe(group).offsets if place.topic == topic]
        rows: list[tuple[str, ...]] = [("topic", "partition", "committed", "lag")]
        for place in places:
            stood = "-" if place.committed is None else f"{place.committed:,}"
            rows.append((place.topic, str(place.partition), stood, f"{place.lag:,}"))
        if not dry_run:
            confirm(f"Delete the offsets of group {group} in topic {topic}?", table(rows), is_sure=is_sure)
            log.groups.delete_offsets(group, topic, force=force)
    if as_json:
        sys.stdout.writelines(json_line(**attrs.asdict(place, recurse=False)) for place in places)
    elif dry_run:
        sys.stdout.writelines(f"{line}\n" for line in (*table(rows), "a dry run: nothing was deleted"))
    else:
        sys.stdout.write(f"group {group}: offsets of topic {topic} deleted\n")
    return EXIT_OK
