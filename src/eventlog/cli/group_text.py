"""Groups as text: what `eventlog groups` prints of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Final

import attrs

import eventlog
from eventlog.cli.text import as_text, counted, table, time_text

_PLACE_HEAD: Final[tuple[str, ...]] = ("topic", "partition", "committed", "end", "lag", "commit age", "member")
_MEMBER_HEAD: Final[tuple[str, ...]] = (
    "member", "state", "process", "joined", "instance", "subscribes to", "owns", "waits for",
)  # fmt: skip
_LISTENER: Final = "kafka node "
"""How the name begins that a listener gives for the assignor, where Kafka's clients divide partitions themselves."""


def group_row(group: eventlog.GroupDescription) -> tuple[str, ...]:
    """The line of a group in a list."""
    return group.name, group.state, f"{count_of(group, 'alive'):,}", f"{group.lag:,}"


def group_lines(group: eventlog.GroupDescription) -> Iterator[str]:
    """A line for the group, a table of its partitions, a table of its members."""
    others = "".join(f", {count:,} {state}" for state in ("away", "dead") if (count := count_of(group, state)))
    is_of_listener = (group.assignor or "").startswith(_LISTENER)
    yield (
        f"{group.name}: {group.state}, epoch {group.epoch}, "
        f"{'clients of' if is_of_listener else 'assignor'} {as_text(group.assignor)}, "
        f"{counted(count_of(group, 'alive'), 'member')}{others}, lag {group.lag:,}"
    )
    if group.offsets:
        now_ms = time.time_ns() // 1_000_000
        rows = [_PLACE_HEAD, *(_place_row(place, now_ms) for place in group.offsets)]
        if any(place.metadata for place in group.offsets):
            notes = ["metadata", *(as_text(place.metadata or None) for place in group.offsets)]
            rows = [(*row, note) for row, note in zip(rows, notes, strict=True)]
        yield from ("", *table(rows))
    if group.members:
        yield from ("", *table([_MEMBER_HEAD, *map(_member_row, group.members)]))


def group_fields(group: eventlog.GroupDescription) -> dict[str, Any]:
    """A group with the names of `GroupDescription`, for JSON."""
    return attrs.asdict(group, recurse=False) | {
        "lag": group.lag,
        "members": [attrs.asdict(member, recurse=False) for member in group.members],
        "offsets": [attrs.asdict(place, recurse=False) for place in group.offsets],
    }


def count_of(group: eventlog.GroupDescription, state: str) -> int:
    """How many members are in a state."""
    return sum(member.state == state for member in group.members)


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
