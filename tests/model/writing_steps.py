"""
The steps that change what a log holds: appends, producers, deletions, topics and partitions.

Knows the public API alone.
"""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from eventlog import OffsetOutOfRange
from tests.model.model import ModelPartition, Row
from tests.model.stage import NUMBER, TIME_MS, TOPICS, Stage

CONTENTS: dict[str, tuple[st.SearchStrategy[Any], st.SearchStrategy[Any]]] = {
    "plain": (st.sampled_from([b"", b"a", b"b"]), st.sampled_from([None, b"", b"tea", b"x" * 30_000])),
    "wide": (st.sampled_from(["a", "b", "c", "d"]), st.none() | st.integers(0, 9) | st.just({"item": "tea"})),
}
HEADERS = st.sampled_from([(), (("trace", b"\1"),), (("a", b""), ("a", None))])
MOST_PARTITIONS = 6


def _rows(topic: str, *, has_keys: bool | None = None, most: int = 6) -> st.SearchStrategy[list[Row]]:
    keys, values = CONTENTS[topic]
    key = st.none() | keys if has_keys is None else keys if has_keys else st.none()
    return st.lists(st.builds(Row, TIME_MS, key, values, HEADERS), max_size=most)


APPENDS = st.sampled_from(sorted(TOPICS)).flatmap(lambda topic: st.tuples(st.just(topic), _rows(topic, most=4)))
COLUMNS = st.tuples(st.sampled_from(sorted(TOPICS)), st.booleans()).flatmap(
    lambda choice: st.tuples(st.just(choice[0]), _rows(choice[0], has_keys=choice[1], most=8))
)


class WritingSteps(Stage):
    """Does to the log what writers do."""

    @rule(appends=APPENDS, log=NUMBER)
    def append(self, appends: tuple[str, list[Row]], log: int) -> None:
        """Appends records one by one."""
        name, rows = appends
        topic = self.topic(name, log)
        for row in rows:
            meta = topic.append(row.value, key=row.key, headers=row.headers, timestamp_ms=row.timestamp_ms)
            assert (meta.topic, meta.timestamp_ms) == (name, row.timestamp_ms)
            self.put(name, meta.partition, meta.offset, row)

    @rule(columns=COLUMNS, log=NUMBER)
    def append_many(self, columns: tuple[str, list[Row]], log: int) -> None:
        """Appends columns: all records with keys, or all without."""
        name, rows = columns
        ranges = self.topic(name, log).append_many(
            [row.value for row in rows],
            keys=[row.key for row in rows],
            headers=[row.headers for row in rows],
            timestamps_ms=[row.timestamp_ms for row in rows],
        )
        assert sum(part.end - part.first for part in ranges) == len(rows)
        partitions = len(self.model.topics[name])
        for part in ranges:
            mine = [
                row
                for row in rows
                if partitions == 1 or row.key is None or zlib.crc32(row.key.encode()) % partitions == part.partition
            ]
            assert part.end - part.first == len(mine)
            for index, row in enumerate(mine):
                self.put(name, part.partition, part.first + index, row)

    @rule(appends=APPENDS, log=NUMBER, closes=st.booleans())
    def produce(self, appends: tuple[str, list[Row]], log: int, closes: bool) -> None:
        """Sends records and waits for them, by `flush()` or by `close()`."""
        name, rows = appends
        self.topic(name, log)
        chosen = self.logs[log % len(self.logs)]
        producer = self.producers.get(chosen) or self.producers.setdefault(chosen, chosen.producer(linger=0.0))
        deliveries = [
            producer.send(name, row.value, key=row.key, headers=row.headers, timestamp_ms=row.timestamp_ms)
            for row in rows
        ]
        if closes:
            self.producers.pop(chosen).close()
        else:
            producer.flush()
        assert all(delivery.done() for delivery in deliveries)
        for delivery, row in zip(deliveries, rows, strict=True):
            meta = delivery.result()
            self.put(name, meta.partition, meta.offset, row)

    @precondition(lambda self: self.model.topics)
    @rule(name=st.sampled_from(sorted(TOPICS)), partition=NUMBER, distance=st.none() | NUMBER, log=NUMBER)
    def delete_records(self, name: str, partition: int, distance: int | None, log: int) -> None:
        """Deletes what is before an offset, or everything; one offset beyond the end is refused."""
        topic = self.topic(name, log)
        number = partition % topic.partitions
        expected = self.model.topics[name][number]
        before = expected.end if distance is None else distance % (expected.end + 2)
        if before > expected.end:
            with pytest.raises(OffsetOutOfRange):
                topic.delete_records({number: before})
        else:
            topic.delete_records({number: before})
            expected.first = max(expected.first, before)

    @rule(name=st.sampled_from(sorted(TOPICS)), log=NUMBER)
    def delete_topic(self, name: str, log: int) -> None:
        """Deletes a topic that nobody consumes; the next of that name begins empty."""
        if name in self.model.topics and not any(
            tp[0] == name for _, _, consumer in self.consumers for tp in consumer.handed
        ):
            self.logs[log % len(self.logs)].delete_topic(name)
            self.model.delete_topic(name)
            self.crew.delete_topic(name)

    @precondition(lambda self: "wide" in self.model.topics)
    @rule(more=st.integers(0, 2), log=NUMBER)
    def create_partitions(self, more: int, log: int) -> None:
        """Adds partitions to a topic that a producer may be busy with, and no group: its members would notice."""
        partitions = self.model.topics["wide"]
        topic = self.topic("wide", log)
        has_group = any(consumer.group is not None for _, _, consumer in self.consumers)
        if len(partitions) + more <= MOST_PARTITIONS and not has_group:
            topic.create_partitions(len(partitions) + more)
            partitions += [ModelPartition() for _ in range(more)]
        with pytest.raises(ValueError, match="none is ever removed"):
            topic.create_partitions(len(partitions) - 1)
