"""`eventlog groups`: list groups, describe them, reset their offsets, delete them."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Final, Literal, TextIO

import attrs

import eventlog
from eventlog.cli.failure import EXIT_OK, Failure
from eventlog.cli.text import as_text, counted, table, time_text

_PLACE_HEAD: Final[tuple[str, ...]] = ("topic", "partition", "committed", "end", "lag", "commit age", "member")
_MEMBER_HEAD: Final[tuple[str, ...]] = (
    "member", "state", "process", "joined", "instance", "subscribes to", "owns", "waits for",
)  # fmt: skip
_Start = Literal["earliest", "latest"] | int | datetime


def print_groups(path: Path, out: TextIO, *, as_json: bool) -> int:
    """Print a line for each group: name, state, live members, total lag."""
    groups: list[eventlog.GroupDescription] = []
    with eventlog.open(path, create=False) as log:
        for name in log.groups.list():
            with contextlib.suppress(eventlog.UnknownGroup):  # it was deleted just now
                groups.append(log.groups.describe(name))
    if as_json:
        fields = [
            {"group": group.name, "state": group.state, "members": _count(group, "alive"), "lag": group.lag}
            for group in groups
        ]
        out.writelines(f"{json.dumps(line, ensure_ascii=False)}\n" for line in fields)
        return EXIT_OK
    rows: list[tuple[str, ...]] = [("group", "state", "members", "lag")]
    rows += [(group.name, group.state, f"{_count(group, 'alive'):,}", f"{group.lag:,}") for group in groups]
    out.writelines(f"{line}\n" for line in table(rows))
    return EXIT_OK


def print_group(path: Path, name: str, out: TextIO, *, as_json: bool) -> int:
    """
    Print a group: a line for itself, one for each partition, one for each member.

    Raises:
        UnknownGroup: no group has that name.
        Failure: the name is not valid.
    """
    with eventlog.open(path, create=False) as log, _values_are_failures():
        group = log.groups.describe(name)
    if as_json:
        fields = attrs.asdict(group, recurse=False) | {
            "lag": group.lag,
            "members": [attrs.asdict(member, recurse=False) for member in group.members],
            "offsets": [attrs.asdict(place, recurse=False) for place in group.offsets],
        }
        out.write(json.dumps(fields, ensure_ascii=False) + "\n")
        return EXIT_OK
    others = "".join(f", {count:,} {state}" for state in ("away", "dead") if (count := _count(group, state)))
    out.write(
        f"{group.name}: {group.state}, epoch {group.epoch}, assignor {as_text(group.assignor)}, "
        f"{counted(_count(group, 'alive'), 'member')}{others}, lag {group.lag:,}\n"
    )
    if group.offsets:
        now_ms = time.time_ns() // 1_000_000
        _write_table([_PLACE_HEAD, *(_place_row(place, now_ms) for place in group.offsets)], out)
    if group.members:
        _write_table([_MEMBER_HEAD, *map(_member_row, group.members)], out)
    return EXIT_OK


def _count(group: eventlog.GroupDescription, state: str) -> int:
    return sum(member.state == state for member in group.members)


def _write_table(rows: list[tuple[str, ...]], out: TextIO) -> None:
    out.writelines(f"{line}\n" for line in ["", *table(rows)])


def _place_row(place: eventlog.PartitionOffsets, now_ms: int) -> tuple[str, ...]:
    return (
        place.topic,
        str(place.partition),
        "-" if place.committed is None else f"{place.committed:,}",
        f"{place.end:,}",
        f"{place.lag:,}",
        "-" if place.committed_ms is None else age_text(now_ms - place.committed_ms),
        place.member_id or "-",
    )


def _member_row(member: eventlog.MemberDescription) -> tuple[str, ...]:
    wants = [*member.topics, *(f"/{as_text(pattern)}/" for pattern in member.patterns)]
    return (
        member.member_id,
        member.state,
        str(member.process_id),
        time_text(member.joined_ms),
        as_text(member.instance_id),
        " ".join(wants),
        partitions_text(member.partitions),
        partitions_text(member.waits_for),
    )


def age_text(age_ms: int) -> str:
    """
    An age in the largest unit of which at least two have passed.

    Example:
        >>> age_text(12_999), age_text(119_000), age_text(5 * 60_000), age_text(47 * 3_600_000), age_text(-1)
        ('12 s', '119 s', '5 min', '47 h', '0 s')
    """
    seconds = max(age_ms, 0) // 1_000
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:,} {unit}"
    return f"{seconds} s"


def partitions_text(partitions: Iterable[eventlog.TopicPartition]) -> str:
    """
    Sorted partitions in short form; `-` for none.

    Example:
        >>> partitions_text([eventlog.TopicPartition("orders", number) for number in (2, 3, 4, 7)])
        'orders[2-4,7]'
    """
    texts: list[str] = []
    for topic, pairs in groupby(partitions, key=lambda tp: tp.topic):
        runs: list[list[int]] = []
        for _, number in pairs:
            if runs and runs[-1][-1] == number - 1:
                runs[-1][1:] = [number]
            else:
                runs.append([number])
        texts.append(f"{topic}[{','.join('-'.join(map(str, run)) for run in runs)}]")
    return " ".join(texts) or "-"


@attrs.frozen
class Reset:
    """
    The command, with the choices of the user.

    Args:
        to: the new place of the group; None shifts it.
        shift: the distance from the committed offset.
        topics: names, each with some of its partitions or None for all; None takes those with committed offsets.
        force: even if members are alive.
        dry_run: store nothing.
        as_json: one JSON object a line.
    """

    path: Path
    group: str
    to: _Start | None
    shift: int | None
    topics: list[tuple[str, list[int] | None]] | None
    force: bool
    dry_run: bool
    as_json: bool
    out: TextIO

    def run(self) -> int:
        """
        Reset the offsets, and print a line for each partition: the offset before, and the new one.

        Raises:
            Failure: the arguments do not fit the group. Nothing was stored.
            GroupNotEmpty, UnknownGroup, UnknownTopic, UnknownPartition, OffsetOutOfRange: as their names say.
        """
        with eventlog.open(self.path, create=False) as log, _values_are_failures():
            before = self._committed(log)
            offsets = log.groups.reset_offsets(
                self.group,
                to=self.to,
                shift=self.shift,
                topics=None if self.topics is None else [name for name, numbers in self.topics if numbers is None],
                partitions=None if self.topics is None else self._partitions(),
                force=self.force,
                dry_run=self.dry_run,
            )
        if self.as_json:
            for (topic, partition), offset in offsets.items():
                stood = before.get((topic, partition))
                fields = {"topic": topic, "partition": partition, "before": stood, "offset": offset}
                self.out.write(json.dumps(fields) + "\n")
            return EXIT_OK
        rows: list[tuple[str, ...]] = [("topic", "partition", "before", "offset")]
        for (topic, partition), offset in offsets.items():
            stood = before.get((topic, partition))
            rows.append((topic, str(partition), "-" if stood is None else f"{stood:,}", f"{offset:,}"))
        self.out.writelines(f"{line}\n" for line in table(rows))
        if self.dry_run:
            self.out.write("a dry run: nothing was stored\n")
        return EXIT_OK

    def _committed(self, log: eventlog.EventLog) -> dict[tuple[str, int], int | None]:
        """The committed offsets of the group; empty if there is no such group."""
        with contextlib.suppress(eventlog.UnknownGroup):
            places = log.groups.describe(self.group).offsets
            return {(place.topic, place.partition): place.committed for place in places}
        return {}

    def _partitions(self) -> list[tuple[str, int]]:
        return [(name, number) for name, numbers in self.topics or () for number in numbers or ()]


def delete_group(path: Path, name: str, out: TextIO, *, force: bool) -> int:
    """
    Delete a group.

    Raises:
        GroupNotEmpty, UnknownGroup: as their names say. Nothing was deleted.
        Failure: the name is not valid.
    """
    with eventlog.open(path, create=False) as log, _values_are_failures():
        log.groups.delete(name, force=force)
    out.write(f"group {name}: deleted\n")
    return EXIT_OK


def delete_offsets(path: Path, name: str, topic: str, out: TextIO, *, force: bool) -> int:
    """
    Delete the offsets of a group for one topic.

    Raises:
        GroupNotEmpty, UnknownGroup, UnknownTopic: as their names say. Nothing was deleted.
        Failure: a name is not valid.
    """
    with eventlog.open(path, create=False) as log, _values_are_failures():
        log.groups.delete_offsets(name, topic, force=force)
    out.write(f"group {name}: offsets of topic {topic} deleted\n")
    return EXIT_OK


@contextlib.contextmanager
def _values_are_failures() -> Iterator[None]:
    """Turn a `ValueError` of the library into the end of the command."""
    try:
        yield
    except eventlog.EventLogError:
        raise
    except ValueError as error:
        raise Failure(str(error)) from error
