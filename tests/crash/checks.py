"""
What must be true of a log after its writers were killed.

Knows nothing of how they were killed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import lmdb.verify

import eventlog
from tests.crash.records import PARTITIONS, TOPIC, Acknowledgement, Stamp, stamp_of


def problems_of(log: eventlog.EventLog, acknowledged: Iterable[Acknowledgement]) -> list[str]:
    """All that is wrong with a log, one line each; empty is good."""
    report = log.verify()
    problems = list(report.problems)
    found: dict[tuple[int, int], Stamp] = {}
    topic = log.topic(TOPIC, partitions=PARTITIONS)
    for partition in range(PARTITIONS):
        problems += _read_partition(topic, partition, found)
    if report.record_count != len(found):
        problems.append(f"verify() counted {report.record_count} records, {len(found)} can be read")
    problems += _missing(found, acknowledged)
    problems += _torn(found.values())
    return problems


def _read_partition(
    topic: eventlog.Topic[bytes, bytes], partition: int, found: dict[tuple[int, int], Stamp]
) -> list[str]:
    problems: list[str] = []
    try:
        problems.extend(_walk(topic, partition, found))
    except eventlog.CorruptBatch as error:
        problems.append(f"partition {partition}: {error}")
    return problems


def _walk(topic: eventlog.Topic[bytes, bytes], partition: int, found: dict[tuple[int, int], Stamp]) -> Iterator[str]:
    expected = 0
    last: dict[int, tuple[int, int]] = {}
    for record in topic.read(partition):
        where = f"partition {partition}, offset {record.offset}"
        if record.offset != expected:
            yield f"{where}: offset {expected} should stand here, a gap"
        expected = record.offset + 1
        stamp = stamp_of(record.value)
        if stamp is None:
            yield f"{where}: other bytes than any writer wrote"
            continue
        if last.get(stamp.writer, (-1, -1)) >= (stamp.call, stamp.index):
            yield f"{where}: {stamp} comes after {last[stamp.writer]} of the same writer"
        last[stamp.writer] = (stamp.call, stamp.index)
        found[partition, record.offset] = stamp


def _missing(found: dict[tuple[int, int], Stamp], acknowledged: Iterable[Acknowledgement]) -> list[str]:
    problems = []
    for one in acknowledged:
        for offset in range(one.first, one.end):
            stamp = found.get((one.partition, offset))
            if stamp is None:
                problems.append(f"partition {one.partition}, offset {offset}: acknowledged, and not there")
            elif (stamp.writer, stamp.call) != (one.writer, one.call):
                problems.append(f"partition {one.partition}, offset {offset}: {stamp}, acknowledged for {one}")
    return problems


def _torn(stamps: Iterable[Stamp]) -> list[str]:
    calls: defaultdict[tuple[int, int], list[Stamp]] = defaultdict(list)
    for stamp in stamps:
        calls[stamp.writer, stamp.call].append(stamp)
    return [
        f"call {call} of writer {writer}: {len(parts)} records are there of {parts[0].count}"
        for (writer, call), parts in calls.items()
        if sorted(part.index for part in parts) != list(range(parts[0].count))
    ]


def file_problems(path: Path) -> list[str]:
    """What LMDB's own check of the file finds; the log must be closed."""
    return [f"data.mdb: {problem}" for problem in lmdb.verify.verify(str(path))]
