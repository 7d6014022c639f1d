"""
`eventlog tail`: print records, up to the end or forever.

It reads without a group, so it changes no committed offset.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TextIO

import attrs

import eventlog
from eventlog.cli.failure import Failure, check_there
from eventlog.cli.text import record_json, record_line

Start = Literal["earliest", "latest"] | int


@attrs.frozen
class Tail:
    """
    The command, with the choices of the user.

    Args:
        path: of the log; the log and the topic must exist.
        start: of each partition.
        partition: the one to read; None reads all.
        max_records: the most to print; None: no bound.
        follow: wait for more at the end, until `max_records` or Ctrl-C.
        as_json: one JSON object a line.
        out: receives the records; flushed after each batch of output.
    """

    path: Path
    topic: str
    start: Start
    partition: int | None
    max_records: int | None
    follow: bool
    as_json: bool
    out: TextIO

    def run(self) -> None:
        """
        Print the records; blocks at the end only with `follow`.

        Raises:
            Failure: the log has no such topic, and none was created; or a partition does not have the offset `start`,
                and none of its records was printed.
            BrokenPipeError: nobody reads our output any more.
        """
        line = record_json if self.as_json else record_line
        with eventlog.open(self.path, create=False) as log:
            check_there("topic", self.topic, log.topics(), self.path)
            try:
                for records in self._followed(log) if self.follow else self._stored(log):
                    self.out.writelines(f"{line(record)}\n" for record in records)
                    self.out.flush()
            except eventlog.OffsetOutOfRange as error:
                raise Failure(
                    f"OffsetOutOfRange: {error.what} {error.stored} Pass --start with an offset in the range."
                ) from error

    def _stored(self, log: eventlog.EventLog) -> Iterator[Iterator[eventlog.Record[Any, Any]]]:
        topic = log.topic(self.topic)
        yield topic.read(self.partition, start=self.start, max_records=self.max_records)

    def _followed(self, log: eventlog.EventLog) -> Iterator[list[eventlog.Record[Any, Any]]]:
        left = self.max_records
        with self._consumer(log) as consumer:
            while left is None or left > 0:
                records = consumer.poll(timeout=3600.0, max_records=None if left is None else min(left, 500))
                yield records
                left = None if left is None else left - len(records)

    def _consumer(self, log: eventlog.EventLog) -> eventlog.Consumer[Any, Any]:
        if self.partition is None:
            return log.consumer(self.topic, start=self.start)
        consumer = log.consumer(start=self.start)
        consumer.assign([eventlog.TopicPartition(self.topic, self.partition)])
        return consumer
