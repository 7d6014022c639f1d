"""`eventlog topics` and `compact`: list, create and extend topics, write a smaller copy of a log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, TextIO

import eventlog
from eventlog.cli.failure import EXIT_OK, Failure, check_there
from eventlog.cli.text import as_text, counted, table


def print_topics(path: Path, out: TextIO) -> int:
    """Print a line for each topic: name, partitions, number of records, codecs, index."""
    rows: list[tuple[str, ...]] = [("topic", "partitions", "records", "key", "value", "index")]
    with eventlog.open(path, create=False) as log:
        for name in log.topics():
            topic = log.topic(name)
            records = sum(end - first for first, end in topic.bounds().values())
            row = (name, str(topic.partitions), f"{records:,}", topic.key, topic.value, as_text(topic.index))
            rows.append(row)
    out.writelines(f"{line}\n" for line in table(rows))
    return EXIT_OK


def create_topic(
    path: Path,
    name: str,
    partitions: int | None,
    out: TextIO,
    *,
    key: str | None,
    value: str | None,
    index: Literal["key"] | None,
) -> int:
    """
    Create a topic, and the log if there is none.

    Raises:
        Failure: a topic of that name exists. It is unchanged.
    """
    with eventlog.open(path) as log:
        if name in log.topics():
            raise Failure(f"topic {name!r} exists in {path} already. It is unchanged. `eventlog topics` describes it.")
        topic = log.topic(name, partitions=partitions, key=key, value=value, index=index)
        out.write(f"{name}: made, {counted(topic.partitions, 'partition')}, key {topic.key}, value {topic.value}")
        out.write("\n" if topic.index is None else f", index by {topic.index}\n")
    return EXIT_OK


def create_partitions(path: Path, name: str, total: int, out: TextIO) -> int:
    """
    Raise the number of partitions of a topic, and print the old and the new number.

    Raises:
        Failure: there is no such topic, or it has more partitions. Nothing was changed.
    """
    with eventlog.open(path, create=False) as log:
        check_there("topic", name, log.topics(), path)
        topic = log.topic(name)
        before = topic.partitions
        try:
            topic.create_partitions(total)
        except ValueError as error:
            raise Failure(str(error)) from error
    out.write(f"{name}: {before} -> {total} partitions\n")
    return EXIT_OK


def compact_log(path: Path, destination: Path, out: TextIO) -> int:
    """
    Write a copy without the unused pages.

    The log itself is not changed; others may use it meanwhile.

    Raises:
        Failure: the destination is not empty. It is unchanged.
    """
    with eventlog.open(path, create=False) as log:
        try:
            after_bytes = log.compact(destination)
        except ValueError as error:
            raise Failure(str(error)) from error
    out.write(f"{path}: {disk_bytes(path) / 1e6:,.1f} MB; {destination}: {after_bytes / 1e6:,.1f} MB\n")
    return EXIT_OK


def disk_bytes(directory: Path) -> int:
    """Bytes of the blocks that the files of a directory take; a sparse file is longer than that."""
    stats = [path.stat() for path in directory.rglob("*") if path.is_file()]
    if os.name == "posix":
        return sum(stat.st_blocks * 512 for stat in stats)
    return sum(stat.st_size for stat in stats)
