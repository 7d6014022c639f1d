"""
`eventlog tail`: print records, up to the end or forever.

It reads without a group, so it changes no committed offset.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from heapq import nlargest
from pathlib import Path
from typing import Any

import attrs
import click

import eventlog
from eventlog.cli.failure import EXIT_OK, EXIT_USAGE, Failure, check_there
from eventlog.cli.opening import open_log
from eventlog.cli.parts import (
    NATURAL,
    TOPIC,
    WHERE,
    Where,
    command,
    json_option,
    max_option,
    path_argument,
)
from eventlog.cli.records import Names
from eventlog.cli.text import as_text, decoded, record_line

_Record = eventlog.Record[Any, Any]
_LONG_SECONDS = 3600.0
_NEWEST = "Only the newest N records, by their time; --key and --grep choose among these."


@command("tail")
@path_argument
@click.argument("topics", type=TOPIC, metavar="TOPIC...", nargs=-1, required=True)
@click.option("-f", "--follow", is_flag=True, help="Wait for more at the end, until --max or Ctrl-C.")
@click.option("-n", "--lines", "last", type=NATURAL, metavar="N", help=_NEWEST)
@click.option(
    "-o",
    "--start",
    "--offset",
    "start",
    type=WHERE,
    metavar="WHERE",
    help="Where to begin in each partition: earliest (default), latest, an offset, -N for the last N of each "
    "partition, a time such as 2026-07-02T15:00+02:00, or s@MS for one in milliseconds since 1970.",
)
@click.option("--end", type=WHERE, metavar="WHERE", help="Where to stop in each partition, as for --start.")
@click.option("-p", "--partition", type=NATURAL, metavar="N", help="Read only this partition of each topic.")
@click.option("--key", "key_text", metavar="KEY", help="Only records with this key, as it is typed for `produce`.")
@click.option("--grep", metavar="TEXT", help="Only records whose key or value contains this text, as it is printed.")
@max_option("records")
@json_option
def tail(
    *,
    path: Path,
    topics: tuple[str, ...],
    follow: bool,
    last: int | None,
    start: Where | None,
    end: Where | None,
    partition: int | None,
    key_text: str | None,
    grep: str | None,
    max_count: int | None,
    as_json: bool,
) -> int:
    """
    Print the records of topics.

    It stops at the end, reads without a group and moves nobody's position. A line is `partition:offset`, with several
    topics `topic[partition]:offset`, time in UTC, key and value, set apart by tabs; `-` stands for no key and for no
    value. Control characters are escaped. Records of one partition come in the order of their offsets; between
    partitions there is none: `eventlog order` has one.

    With --json, bytes are text when they are UTF-8, else {"base64": ".."}; `eventlog produce --json` reads it back.
    """
    if follow and end is not None:
        raise click.UsageError("--follow has no --end.")
    if last is not None and (start is not None or end is not None):
        raise click.UsageError("--lines goes with neither --start nor --end.")
    with open_log(path) as log:
        topics = tuple(dict.fromkeys(topics))
        for name in topics:
            check_there("topic", name, log.topics(), path)
        read = Tail(log, topics, partition=partition, start="earliest" if start is None else start, end=end)
        found = read.followed(last) if follow else read.stored(last)
        if key_text is not None or grep is not None:
            wants = _filter(log, topics, key_text, grep)
            found = ((one for one in records if wants(one)) for records in found)
        line = Names(log).json_line if as_json else _line_of(topics)
        _print(found, line, max_count)
    return EXIT_OK


def _print(found: Iterable[Iterable[_Record]], line: Callable[[_Record], str], left: int | None) -> None:
    """Print records and flush after each part, so that a reader of the pipe sees what is there."""
    for records in found:
        for record in records:
            sys.stdout.write(line(record))
            if left is not None:
                left -= 1
                if left == 0:
                    return
        sys.stdout.flush()


def _line_of(topics: tuple[str, ...]) -> Callable[[_Record], str]:
    if len(topics) == 1:
        return lambda record: record_line(record) + "\n"
    return lambda record: record_line(record, f"{record.topic}[{record.partition}]:{record.offset}") + "\n"


def _filter(
    log: eventlog.EventLog, topics: tuple[str, ...], key_text: str | None, grep: str | None
) -> Callable[[_Record], bool]:
    keys: dict[str, Any] = {}
    for name in topics if key_text is not None else ():
        codec = log.topic(name).key
        try:
            keys[name] = decoded((key_text or "").encode("utf-8", "surrogateescape"), codec)
        except (TypeError, ValueError) as error:
            raise Failure(
                f"{key_text!r} is not a key of topic {name!r} (key {codec}).",
                stored="Nothing was changed.",
                exit_code=EXIT_USAGE,
            ) from error

    def wants(record: _Record) -> bool:
        if keys and record.key != keys[record.topic]:
            return False
        return grep is None or grep in as_text(record.key) or grep in as_text(record.value)

    return wants


@attrs.frozen
class Tail:
    """
    What to read.

    Args:
        topics: they exist.
        partition: the one to read of each; None reads all.
        start: of each partition.
        end: of each partition; None: what is there now.
    """

    log: eventlog.EventLog
    topics: tuple[str, ...]
    partition: int | None = attrs.field(kw_only=True)
    start: Where = attrs.field(kw_only=True)
    end: Where | None = attrs.field(kw_only=True)

    def stored(self, last: int | None) -> Iterator[Iterable[_Record]]:
        """The stored records, topic by topic; with `last`, only the newest records of all topics."""
        if last is not None:
            yield self._newest(last, {})
            return
        for name in self.topics:
            topic = self.log.topic(name)
            if _is_before_end(self.start) or _is_before_end(self.end):
                for number, bounds in self._bounds(topic).items():
                    start, end = _place(self.start, bounds), _place(self.end, bounds)
                    yield topic.read(number, start=_known(start), end=end)
            else:
                yield topic.read(self.partition, start=_known(self.start), end=_known(self.end))

    def followed(self, last: int | None) -> Iterator[Iterable[_Record]]:
        """What is stored, and then what is appended; it never ends by itself."""
        with self._consumer("latest" if last is not None else self.start) as consumer:
            if last is not None:
                yield self._newest(last, {place: consumer.position(place) for place in consumer.assignment()})
            while True:
                yield consumer.poll(timeout=_LONG_SECONDS)

    def _consumer(self, start: Where) -> eventlog.Consumer[Any, Any]:
        before_end = -start if isinstance(start, int) and _is_before_end(start) else 0
        known: Any = "latest" if before_end else _known(start)
        if self.partition is None:
            consumer = self.log.consumer(*self.topics, start=known)
        else:
            consumer = self.log.consumer(start=known)
            consumer.assign([eventlog.TopicPartition(name, self.partition) for name in self.topics])
        if before_end:
            for name in self.topics:
                for number, (first, end) in self._bounds(self.log.topic(name)).items():
                    consumer.seek((name, number), max(first, end - before_end))
        return consumer

    def _bounds(self, topic: eventlog.Topic[Any, Any]) -> dict[int, tuple[int, int]]:
        """The bounds of the partitions to read."""
        bounds = topic.bounds()
        if self.partition is None:
            return bounds
        if self.partition not in bounds:
            topic.read(self.partition)  # raises the error of the library
        return {self.partition: bounds[self.partition]}

    def _newest(self, count: int, ends: dict[eventlog.TopicPartition, int]) -> list[_Record]:
        """The newest records by their time, the oldest of them first; those before `ends` where there are any."""
        found: list[_Record] = []
        for name in self.topics:
            topic = self.log.topic(name)
            for number, (first, end) in self._bounds(topic).items():
                end = ends.get(eventlog.TopicPartition(name, number), end)
                records = list(topic.read(number, start=max(first, end - count), end=max(first, end)))
                found = nlargest(count, [*found, *records], key=lambda one: (one.timestamp_ms, one.offset))
        return sorted(found, key=lambda one: (one.timestamp_ms, one.topic, one.partition, one.offset))


def _is_before_end(where: Where | None) -> bool:
    """Whether a place is told as a number of records before the end."""
    return isinstance(where, int) and where < 0


def _place(where: Where | None, bounds: tuple[int, int]) -> Any:
    """The place in one partition: a negative number is one before its end."""
    if isinstance(where, int) and where < 0:
        return max(bounds[0], bounds[1] + where)
    return where


def _known(where: Where | None) -> Any:
    """The place in the terms of the library, whose words it has already."""
    return where
