"""The sending of many records that were read, until the end of the input or the first that does not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs

import eventlog
from eventlog.cli.failure import EXIT_FAILED, Failure
from eventlog.cli.inputs import Codecs, CodecsOf, Found

_STEP = 1_000
Source = Callable[[CodecsOf], Iterator[Found]]
"""A function of the codecs of topics that gives the records."""


@attrs.define(eq=False)
class Sending:
    """
    The sending, with the choices of the user.

    Args:
        log: where to.
        topic: of all records; None: each names its own.
        options: of topics that are made, for `EventLog.topic`.
        partition: of all records; None: what the record or its key says.
        by_key: what a record says of its partition does not count.
        headers: of all records, in front of their own.
        noun: what the input consists of, `line` or `row`.
        tell: called now and then.
    """

    log: eventlog.EventLog
    topic: str | None
    options: dict[str, Any] = attrs.field(factory=dict, kw_only=True)
    partition: int | None = attrs.field(default=None, kw_only=True)
    by_key: bool = attrs.field(default=False, kw_only=True)
    headers: tuple[tuple[str, bytes], ...] = attrs.field(default=(), kw_only=True)
    noun: str = attrs.field(default="line", kw_only=True)
    tell: Callable[[], object] = attrs.field(default=bool, kw_only=True)
    counts: dict[str, int] = attrs.field(factory=dict, init=False)
    """How many records were sent, by topic."""
    _topics: dict[str, eventlog.Topic[Any, Any]] = attrs.field(factory=dict, init=False)

    @property
    def count(self) -> int:
        """How many records were sent."""
        return sum(self.counts.values())

    def run(self, source: Source) -> None:
        """
        Send every record; everything is durable when it returns.

        Raises:
            Failure: a record does not fit. Those before it are stored, that one and the rest are not.
        """
        with self.log.producer() as producer:
            try:
                for number, (named, record) in enumerate(source(self.codecs)):
                    topic = self.opened(self._name(named))
                    producer.send(
                        topic,
                        record.value,
                        key=record.key,
                        partition=self._partition(record.partition),
                        headers=[*self.headers, *record.headers] or None,
                        timestamp_ms=record.timestamp_ms,
                    )
                    self.counts[topic.name] = self.counts.get(topic.name, 0) + 1
                    if number % _STEP == 0:
                        self.tell()
            except (TypeError, ValueError, eventlog.UnknownPartition) as error:
                producer.flush()
                raise self._failure(error) from error

    def codecs(self, named: str | None) -> Codecs:
        """The codecs of a topic: those stored, or those that it will have when it is made."""
        name = self._name(named)
        if name in self._topics or name in self.log.topics():
            topic = self.opened(name)
            return Codecs(topic.key, topic.value)
        return Codecs(self.options.get("key") or "bytes", self.options.get("value") or "bytes")

    def opened(self, name: str) -> eventlog.Topic[Any, Any]:
        """The topic of that name; made if there is none."""
        found = self._topics.get(name)
        if found is None:
            found = self._topics[name] = self.log.topic(name, **self.options)
        return found

    def _name(self, named: str | None) -> str:
        if self.topic is not None:
            return self.topic
        if named is None:
            raise ValueError("it names no topic; pass --topic")
        return named

    def _partition(self, named: int | None) -> int | None:
        return self.partition if self.partition is not None or self.by_key else named

    def _failure(self, error: Exception) -> Failure:
        count = self.count
        where = ""
        if self.topic is not None:
            codecs = self.codecs(None)
            where = f" in topic {self.topic!r} (key {codecs.key}, value {codecs.value})"
        why = error.what if isinstance(error, eventlog.EventLogError) else str(error)
        return Failure(
            f"cannot store {self.noun} {count + 1:,}{where}: {why.removesuffix('.')}.",
            stored=f"{self.noun.capitalize()}s stored before it: {count:,}.",
            advice="Mend the input, and leave out what is stored.",
            exit_code=EXIT_FAILED,
        )
