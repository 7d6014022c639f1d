"""
`eventlog produce`: each line of stdin becomes a record.

Knows nothing of argument parsing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import attrs

import eventlog
from eventlog.cli.failure import Failure


@attrs.frozen
class Produce:
    """
    Holds what the user chose, and runs the command.

    Args:
        path: of the log; made when missing.
        topic: made when missing, with keys and values of bytes.
        partitions: of a topic that is made; None takes what is stored, or the default.
        key_separator: what parts key and value in a line; None: a line is a value without a key.
        lines: where the records come from.
        report: where the last line, the count, goes.
    """

    path: Path
    topic: str
    partitions: int | None
    key_separator: str | None
    lines: BinaryIO
    report: TextIO

    def run(self) -> None:
        """
        Sends line by line until the end of the input; all is durable when it returns.

        Raises:
            Failure: a line that does not fit. The lines before it are stored, it and those after it are not.
        """
        with eventlog.open(self.path) as log:
            topic = log.topic(self.topic, partitions=self.partitions)
            count = 0
            with log.producer() as producer:
                for number, key, value in self._split():
                    try:
                        producer.send(topic, _decoded(value, topic.value), key=_decoded(key, topic.key))
                    except (TypeError, ValueError) as error:
                        producer.flush()
                        raise Failure(
                            f"can not store line {number} in topic {self.topic!r} (key {topic.key}, value "
                            f"{topic.value}): {error}. {count:,} lines before it are stored."
                        ) from error
                    count += 1
        self.report.write(f"{count:,} records stored in topic {self.topic!r}\n")

    def _split(self) -> Iterator[tuple[int, bytes | None, bytes]]:
        separator = None if self.key_separator is None else self.key_separator.encode()
        for number, line in enumerate(self.lines, start=1):
            value = line.removesuffix(b"\n")
            if separator is None:
                yield number, None, value
                continue
            key, found, value = value.partition(separator)
            if not found:
                raise Failure(
                    f"line {number} has no key: {self.key_separator!r} is not in it. "
                    f"{number - 1:,} lines before it are stored."
                )
            yield number, key, value


def _decoded(data: bytes | None, codec: str) -> Any:
    """What the codec takes, out of the bytes of a line. Codecs of structured values take JSON."""
    if data is None or codec == "bytes":
        return data
    if codec == "str":
        return data.decode("utf-8")
    if codec == "int":
        return int(data)
    return json.loads(data)
