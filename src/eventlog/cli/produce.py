"""`eventlog produce`: each line of stdin becomes a record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

import attrs

import eventlog
from eventlog.cli.failure import Failure
from eventlog.cli.text import counted, decoded


@attrs.frozen
class Produce:
    """
    The command, with the choices of the user.

    Args:
        path: of the log; created if it is missing.
        topic: created if it is missing, with keys and values of bytes.
        partitions: of a new topic; None takes the stored number, or the default.
        key_separator: the text between key and value in a line; None: a line is a value without a key.
        lines: where the records come from.
        report: receives the last line, the count.
    """

    path: Path
    topic: str
    partitions: int | None
    key_separator: str | None
    lines: BinaryIO
    report: TextIO

    def run(self) -> None:
        """
        Send line by line until the end of the input; everything is durable when it returns.

        Raises:
            Failure: a line does not fit the topic. The lines before it are stored, that line and the rest are not.
        """
        with eventlog.open(self.path) as log:
            topic = log.topic(self.topic, partitions=self.partitions)
            count = 0
            with log.producer() as producer:
                for line in self._lines(topic.max_record_bytes):
                    try:
                        key, value = self._split(line)
                        producer.send(topic, decoded(value, topic.value), key=decoded(key, topic.key))
                    except (TypeError, ValueError) as error:
                        producer.flush()
                        raise Failure(
                            f"cannot store line {count + 1:,} in topic {self.topic!r} (key {topic.key}, value "
                            f"{topic.value}): {str(error).removesuffix('.')}. Lines stored before it: {count:,}."
                        ) from error
                    count += 1
        self.report.write(f"{counted(count, 'record')} stored in topic {self.topic!r}\n")

    def _lines(self, max_record_bytes: int) -> Iterator[bytes]:
        """The lines, cut a little above the size of a record: input without a line feed must not fill the memory."""
        limit_bytes = max_record_bytes + len(self.key_separator or "") * 4 + 2
        while line := self.lines.readline(limit_bytes):
            yield line.removesuffix(b"\n")

    def _split(self, line: bytes) -> tuple[bytes | None, bytes]:
        if self.key_separator is None:
            return None, line
        key, separator, value = line.partition(self.key_separator.encode())
        if not separator:
            raise ValueError(f"it has no key: the separator {self.key_separator!r} is missing")
        return key, value
