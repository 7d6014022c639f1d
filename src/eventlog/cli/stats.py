"""`eventlog stats` and `du`: what is in a log, and how many bytes it takes."""

from __future__ import annotations

import sys
from pathlib import Path

import attrs
import click

import eventlog
from eventlog.cli.failure import EXIT_OK, check_there
from eventlog.cli.opening import open_log
from eventlog.cli.parts import TOPIC, command, json_option, path_argument
from eventlog.cli.text import bytes_text, counted, json_line, table

_OF_THIS_PROCESS = {"commit_count", "commit_s", "longest_commit_s"}


@command("stats")
@path_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def stats(*, path: Path, as_json: bool) -> int:
    """
    Show what is in a log: records, bytes, free space, reads that go on.

    The bytes are those of the batches as they are stored; what else the file holds is the order of the log, indexes,
    states, groups and schedules. Free space is used by later commits. It reads the sizes of batches and no record.
    """
    with open_log(path) as log:
        found, scheduled = log.stats(), log.schedules.describe()
    if as_json:
        fields = {name: value for name, value in attrs.asdict(found).items() if name not in _OF_THIS_PROCESS}
        totals = {name: getattr(found, name) for name in ("record_count", "stored_bytes", "free_bytes")}
        schedules = {name: getattr(scheduled, name) for name in ("waiting", "failed", "stored_bytes", "next_ms")}
        sys.stdout.write(json_line(**fields, **totals, schedules=schedules))
        return EXIT_OK
    rows: list[tuple[str, ...]] = [("topic", "partitions", "records", "batches", "bytes")]
    for topic in found.topics:
        counts = (topic.partition_count, topic.record_count, topic.batch_count, topic.stored_bytes)
        rows.append((topic.topic, *(f"{count:,}" for count in counts)))
    lines = [*table(rows), ""] if found.topics else []
    lines += [
        f"records  {found.record_count:,} in {counted(len(found.topics), 'topic')}",
        f"bytes    {bytes_text(found.stored_bytes)} in batches",
        f"file     {bytes_text(found.file_bytes)}, of which {bytes_text(found.free_bytes)} are free",
        f"commits  {found.commit_number:,} since the log was made",
        f"readers  {_readers(found)}",
    ]
    if scheduled.waiting or scheduled.failed:
        size = bytes_text(scheduled.stored_bytes)
        lines.append(f"later    {scheduled.waiting:,} waiting and {scheduled.failed:,} failed schedules, {size}")
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return EXIT_OK


def _readers(found: eventlog.LogStats) -> str:
    oldest = found.oldest_reader
    if oldest is None:
        return "none is reading"
    verb = "is" if len(found.readers) == 1 else "are"
    process = "" if oldest.process_id is None else f", in process {oldest.process_id}"
    began = counted(oldest.commits_behind, "commit")
    return f"{len(found.readers):,} {verb} reading; the oldest began {began} ago{process}"


@command("du")
@path_argument
@click.argument("names", type=TOPIC, metavar="[TOPIC]...", nargs=-1)
@json_option
def du(*, path: Path, names: tuple[str, ...], as_json: bool) -> int:
    """
    Show how many bytes each topic takes.

    The largest comes first. Without TOPIC there are three more lines: what else the file holds, such as indexes,
    states, groups and schedules; what is free in it; and the file, which is the sum. A line is bytes and name, set
    apart by a tab.
    """
    with open_log(path) as log:
        for name in names:
            check_there("topic", name, log.topics(), path)
        found = log.stats()
    sizes = [(topic.stored_bytes, topic.topic) for topic in found.topics if not names or topic.topic in names]
    sizes.sort(key=lambda one: (-one[0], one[1]))
    others = {"other": found.used_bytes - found.stored_bytes, "free": found.free_bytes, "file": found.file_bytes}
    if as_json:
        sys.stdout.writelines(json_line(topic=name, stored_bytes=size) for size, name in sizes)
        if not names:
            sys.stdout.write(json_line(**{f"{name}_bytes": size for name, size in others.items()}))
        return EXIT_OK
    sys.stdout.writelines(f"{size}\t{name}\n" for size, name in sizes)
    if not names:
        sys.stdout.writelines(f"{size}\t({name})\n" for name, size in others.items())
    return EXIT_OK
