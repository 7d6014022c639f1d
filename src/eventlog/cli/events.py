"""`eventlog history` and `order`: the records of one key, and those of the whole log in log order."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TextIO

import attrs

import eventlog
from eventlog.cli.failure import EXIT_OK, Failure, check_there
from eventlog.cli.text import as_text, decoded, record_json, time_text


@attrs.frozen
class History:
    """
    The command, with the choices of the user.

    Args:
        path: of the log; the log and the topic must exist.
        topic: it must have an index.
        key: as typed.
        start: the first version.
        end: the version to stop before; None: no bound.
        is_reversed: begin with the last.
        max_records: the most to print; None: no bound.
        as_json: one JSON object a line.
        out: receives the records.
    """

    path: Path
    topic: str
    key: str
    start: int
    end: int | None
    is_reversed: bool
    max_records: int | None
    as_json: bool
    out: TextIO

    def run(self) -> int:
        """
        Print a line for each record.

        Raises:
            Failure: there is no such topic, it has no index, or the key is not valid or has no records.
        """
        with eventlog.open(self.path, create=False) as log:
            check_there("topic", self.topic, log.topics(), self.path)
            topic = log.topic(self.topic)
            if topic.index is None:
                raise Failure(
                    f"topic {self.topic!r} has no index, so it cannot be read by key. Nothing was changed. "
                    "Create a topic with `eventlog topics --create TOPIC --index key`, or read it with `eventlog tail`."
                )
            try:
                key = decoded(self.key.encode("utf-8", "surrogateescape"), topic.key)
                version = topic.version(key)
            except (TypeError, ValueError) as error:
                raise Failure(
                    f"{self.key!r} is not a key of topic {self.topic!r} (key {topic.key}). Nothing was changed."
                ) from error
            if version == 0:
                raise Failure(f"topic {self.topic!r} has no record with the key {self.key!r}. Nothing was changed.")
            events = topic.history(
                key, start=self.start, end=self.end, is_reversed=self.is_reversed, max_records=self.max_records
            )
            line = _event_json if self.as_json else _event_line
            self.out.writelines(f"{line(event)}\n" for event in events)
        return EXIT_OK


def _event_line(event: eventlog.Event[Any, Any]) -> str:
    place = f"{event.partition}:{event.offset}"
    return "\t".join((str(event.version), place, time_text(event.timestamp_ms), as_text(event.value)))


def _event_json(event: eventlog.Event[Any, Any]) -> str:
    return record_json(event, version=event.version, log_position=event.log_position)


@attrs.frozen
class Order:
    """
    The command, with the choices of the user.

    Args:
        path: of the log; the log and the topics must exist.
        start: the first log position.
        end: the log position to stop before; None: no bound.
        topics: the topics to read; None reads all.
        max_records: the most to print; None: no bound.
        as_json: one JSON object a line.
        out: receives the records.
    """

    path: Path
    start: int
    end: int | None
    topics: list[str] | None
    max_records: int | None
    as_json: bool
    out: TextIO

    def run(self) -> int:
        """
        Print a line for each record.

        Raises:
            Failure: there is no such topic.
        """
        with eventlog.open(self.path, create=False) as log:
            for name in self.topics or ():
                check_there("topic", name, log.topics(), self.path)
            records = log.read_all(self.start, end=self.end, topics=self.topics, max_records=self.max_records)
            line = _place_json if self.as_json else _place_line
            self.out.writelines(f"{line(log_position, record)}\n" for log_position, record in records)
        return EXIT_OK


def _place_line(log_position: int, record: eventlog.Record[Any, Any]) -> str:
    place = f"{record.topic}[{record.partition}]:{record.offset}"
    time = time_text(record.timestamp_ms)
    return "\t".join((str(log_position), place, time, as_text(record.key), as_text(record.value)))


def _place_json(log_position: int, record: eventlog.Record[Any, Any]) -> str:
    return record_json(record, log_position=log_position)
