"""
A machine that does the same to a log on disk and to the model, in any order, and compares.

Hypothesis chooses the steps; a history that fails is shrunk and printed as code. Knows the public API alone.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import zlib
from contextlib import nullcontext, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import eventlog
from eventlog import Consumer, DeliveryError, EventLog, OffsetOutOfRange, Producer, Record, Topic, UnknownTopic
from eventlog.clock import from_ms
from tests.model.crew import Crew
from tests.model.model import ModelConsumer, ModelLog, ModelPartition, Pair, Place, Row

TOPICS: dict[str, dict[str, Any]] = {
    "plain": {"partitions": 1, "key": bytes, "value": bytes},
    "wide": {"partitions": 3, "key": str, "value": "json"},
}
CONTENTS: dict[str, tuple[st.SearchStrategy[Any], st.SearchStrategy[Any]]] = {
    "plain": (st.sampled_from([b"", b"a", b"b"]), st.sampled_from([None, b"", b"tea", b"x" * 30_000])),
    "wide": (st.sampled_from(["a", "b", "c", "d"]), st.none() | st.integers(0, 9) | st.just({"item": "tea"})),
}
MEMORY = Path("/dev/shm")
"""Where it is there: this is about what a log does and not about the disk, and syncs are free."""
GROUPS = ["billing", "shipping"]
MOST_PARTITIONS = 6

TIME_MS = st.integers(-3, 20)
HEADERS = st.sampled_from([(), (("trace", b"\1"),), (("a", b""), ("a", None))])
NUMBER = st.integers(0, 30)
PLACE = st.sampled_from(["earliest", "latest"]) | NUMBER
SHIFT = st.lists(
    st.tuples(st.sampled_from(["poll"] * 4 + ["join", "commit", "settle", "leave"]), NUMBER), min_size=2, max_size=10
)
"""What the members of a group do, one after the other."""


def _rows(topic: str, *, has_keys: bool | None = None, most: int = 6) -> st.SearchStrategy[list[Row]]:
    keys, values = CONTENTS[topic]
    key = st.none() | keys if has_keys is None else keys if has_keys else st.none()
    return st.lists(st.builds(Row, TIME_MS, key, values, HEADERS), max_size=most)


APPENDS = st.sampled_from(sorted(TOPICS)).flatmap(lambda topic: st.tuples(st.just(topic), _rows(topic, most=4)))
COLUMNS = st.tuples(st.sampled_from(sorted(TOPICS)), st.booleans()).flatmap(
    lambda choice: st.tuples(st.just(choice[0]), _rows(choice[0], has_keys=choice[1], most=8))
)


def _row(record: Record[Any, Any]) -> Row:
    return Row(record.timestamp_ms, record.key, record.value, record.headers)


class LogMachine(RuleBasedStateMachine):
    """Holds the log open once or twice, consumers of each, and the model of what they must see."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="eventlog-model-", dir=MEMORY if MEMORY.is_dir() else None))
        self.copies = itertools.count()
        self.path = self.directory / "log"
        self.model = ModelLog()
        self.logs: list[EventLog] = []
        self.producers: dict[EventLog, Producer] = {}
        self.stale: set[tuple[EventLog, str]] = set()
        """Topics that were deleted since a producer may have sent to them: it learns of that by one failed batch."""
        self.consumers: list[tuple[EventLog, Consumer[Any, Any], ModelConsumer]] = []
        self.crew = Crew(self.model, _row)

    @initialize()
    def open(self) -> None:
        """Opens the log, once more than it is open."""
        self.logs.append(eventlog.open(self.path))

    def teardown(self) -> None:
        """Closes everything, and looks at all of it once more from the beginning."""
        try:
            if self.logs:
                self.reopen()
                self.everything_is_there()
                self.log_is_sound()
        finally:
            for log in self.logs:
                log.close()
            shutil.rmtree(self.directory)

    def topic(self, name: str, log: int = 0) -> Topic[Any, Any]:
        """Opens a topic in one of the logs; it is created when it is not there."""
        chosen = self.logs[log % len(self.logs)]
        if name not in self.model.topics:
            self.model.topics[name] = [ModelPartition() for _ in range(TOPICS[name]["partitions"])]
            return chosen.topic(name, **TOPICS[name])
        return chosen.topic(name)

    def put(self, name: str, partition: int, offset: int, row: Row) -> None:
        """Says to the model what the log said that it stored."""
        expected = self.model.topics[name][partition]
        assert offset == expected.end, "offsets are dense, and none is given twice"
        if row.key is not None and TOPICS[name]["partitions"] > 1:
            count = len(self.model.topics[name])
            assert partition == zlib.crc32(row.key.encode()) % count, "a key has one partition"
        expected.history.append(row)

    # -- writing -------------------------------------------------------------------------------------------------

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
        may_fail = (chosen, name) in self.stale
        if rows:
            self.stale.discard((chosen, name))
        with suppress(DeliveryError) if may_fail else nullcontext():
            if closes:
                self.producers.pop(chosen).close()
            else:
                producer.flush()
        assert all(delivery.done() for delivery in deliveries)
        for delivery, row in zip(deliveries, rows, strict=True):
            if may_fail and isinstance(delivery.exception(), UnknownTopic):
                continue
            meta = delivery.result()
            self.put(name, meta.partition, meta.offset, row)

    @precondition(lambda self: self.model.topics)
    @rule(name=st.sampled_from(sorted(TOPICS)), partition=NUMBER, distance=NUMBER, log=NUMBER)
    def delete_records(self, name: str, partition: int, distance: int, log: int) -> None:
        """Deletes what is before an offset; one offset beyond the end is refused."""
        topic = self.topic(name, log)
        number = partition % topic.partitions
        expected = self.model.topics[name][number]
        before = distance % (expected.end + 2)
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
            self.stale |= {(owner, name) for owner in self.producers}

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

    # -- reading -------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.model.topics)
    @rule(
        name=st.sampled_from(sorted(TOPICS)),
        partition=NUMBER,
        start=PLACE,
        end=st.none() | PLACE,
        most=st.none() | NUMBER,
    )
    def read(self, name: str, partition: int, start: Place, end: Place | None, most: int | None) -> None:
        """Reads one partition from a place to another."""
        topic = self.topic(name)
        number = partition % topic.partitions
        expected = self.model.topics[name][number]
        first, stop = expected.place(start), expected.place("latest" if end is None else end)
        if not (expected.holds(first) and expected.holds(stop)):
            with pytest.raises(OffsetOutOfRange):
                topic.read(number, start=start, end=end, max_records=most)
            return
        found = list(topic.read(number, start=start, end=end, max_records=most))
        assert [(record.offset, _row(record)) for record in found] == expected.rows(first, stop)[:most]

    @precondition(lambda self: self.model.topics)
    @rule(name=st.sampled_from(sorted(TOPICS)), moment=TIME_MS.map(from_ms), log=NUMBER)
    def read_from_a_time(self, name: str, moment: datetime, log: int) -> None:
        """Reads all partitions from a time on, in columns."""
        found = list(self.topic(name, log).read_batches(start=moment))
        records = [record for batch in found for record in batch.records()]
        timestamp_ms = round(moment.timestamp() * 1000)
        assert [(record.partition, record.offset, _row(record)) for record in records] == [
            (number, offset, row)
            for number, expected in enumerate(self.model.topics[name])
            for offset, row in expected.rows(expected.offset_of_time(timestamp_ms), expected.end)
        ]

    # -- consuming -----------------------------------------------------------------------------------------------

    @precondition(lambda self: self.model.topics and len(self.consumers) < 3)
    @rule(
        group=st.sampled_from([None, *GROUPS]),
        start=st.just("earliest") | PLACE,
        auto_commits=st.booleans(),
        both=st.booleans(),
        log=NUMBER,
    )
    def open_consumer(self, group: str | None, start: Place, auto_commits: bool, both: bool, log: int) -> None:
        """Opens a consumer of one topic or of all, unless its group has one."""
        if group is not None and any(consumer.group == group for _, _, consumer in self.consumers):
            return
        chosen = self.logs[log % len(self.logs)]
        topics = sorted(self.model.topics)[: None if both else 1]
        places = {tp: self.model.committed.get((group or "", tp)) for tp in self.model.pairs(topics)}
        offsets = {
            tp: self.model.partition(tp).place(start) if committed is None else committed
            for tp, committed in places.items()
        }
        options: dict[str, Any] = {"group": group, "start": start, "auto_commit": auto_commits}
        # A topic that is younger than what its group was assigned last begins at its first record.
        unsure = [tp for tp in places if places[tp] is None and start != "earliest" and group in self.model.groups]
        if group is not None:
            self.model.groups.add(group)
        try:
            consumer = chosen.consumer(*topics, auto_commit_interval=1e6, fetch_max_bytes=50_000, **options)
        except OffsetOutOfRange:
            assert not all(self.model.partition(tp).holds(offsets[tp]) for tp in places if places[tp] is None)
            for tp in unsure:
                with chosen.consumer(group=group) as other:
                    offset = other.committed(tp)
                if offset is not None:
                    assert offset == self.model.partition(tp).first
                    self.model.committed[str(group), tp] = offset
            return
        for tp in unsure:
            if consumer.position(tp) != offsets[tp]:
                offsets[tp] = self.model.partition(tp).first
        for tp, stored in places.items():
            assert stored is not None or self.model.partition(tp).holds(offsets[tp])
            if group is not None and start != "earliest" and stored is None:
                self.model.committed[group, tp] = offsets[tp]  # so that no later owner begins at a later end
        self.consumers.append(
            (chosen, consumer, ModelConsumer(group, auto_commits, offsets, dict(offsets), dict(places), start))
        )

    def adopt(self, consumer: Consumer[Any, Any], expected: ModelConsumer) -> None:
        """Says to the model which partitions a consumer has found since it was asked last."""
        for tp in consumer.assignment():
            if tp not in expected.handed:
                expected.adopt(self.model, (tp.topic, tp.partition))

    def hand(self, expected: ModelConsumer, records: list[Record[Any, Any]]) -> None:
        """Says to the model what was handed out, record by record."""
        for record in records:
            tp = (record.topic, record.partition)
            assert tp not in expected.paused
            assert record.offset == expected.handed[tp], "no record is left out, and none comes twice"
            assert _row(record) == self.model.partition(tp).history[record.offset]
            expected.handed[tp] += 1

    @precondition(lambda self: self.consumers)
    @rule(chosen=NUMBER, most=st.integers(1, 5), in_columns=st.booleans())
    def poll(self, chosen: int, most: int, in_columns: bool) -> None:
        """Takes the next records; none means that every partition is at its end."""
        _, consumer, expected = self.consumers[chosen % len(self.consumers)]
        expected.finish()
        try:
            if in_columns:
                records = [record for batch in consumer.poll_batches() for record in batch.records()]
            else:
                records = consumer.poll(max_records=most)
                assert len(records) <= most
        except OffsetOutOfRange:
            self.adopt(consumer, expected)
            assert not all(self.model.partition(tp).holds(expected.handed[tp]) for tp in expected.active())
            return
        self.adopt(consumer, expected)
        self.hand(expected, records)
        if not records:
            assert set(expected.handed) == set(self.model.pairs({name for name, _ in expected.handed}))
            assert all(expected.handed[tp] == self.model.partition(tp).end for tp in expected.active())

    @precondition(lambda self: self.consumers)
    @rule(chosen=NUMBER, most=NUMBER)
    def loop(self, chosen: int, most: int) -> None:
        """Walks through some records and leaves the loop; the one in hand is not finished."""
        _, consumer, expected = self.consumers[chosen % len(self.consumers)]
        active = expected.active()
        if not all(self.model.partition(tp).holds(expected.handed[tp]) for tp in active):
            return
        count = min(most, sum(self.model.partition(tp).end - expected.handed[tp] for tp in active))
        records = list(itertools.islice(consumer, count))
        assert len(records) == count
        self.adopt(consumer, expected)
        self.hand(expected, records)
        if records:
            expected.finish()
            expected.finished[records[-1].topic, records[-1].partition] = records[-1].offset

    @precondition(lambda self: self.consumers)
    @rule(
        chosen=NUMBER,
        partition=NUMBER,
        offset=NUMBER | TIME_MS,
        how=st.sampled_from(["offset", "time", "first", "end"]),
    )
    def seek(self, chosen: int, partition: int, offset: int, how: str) -> None:
        """Goes to an offset, whether it is there or not, to a time, or to an end."""
        _, consumer, expected = self.consumers[chosen % len(self.consumers)]
        tp = self.pair(expected, partition)
        there = self.model.partition(tp)
        if how == "offset":
            consumer.seek(tp, abs(offset))
            expected.seek(tp, abs(offset))
        elif how == "time":
            consumer.seek_to_time(offset, tp)
            expected.seek(tp, there.offset_of_time(offset))
        elif how == "first":
            consumer.seek_to_beginning(tp)
            expected.seek(tp, there.first)
        else:
            consumer.seek_to_end(tp)
            expected.seek(tp, there.end)

    @staticmethod
    def pair(expected: ModelConsumer, partition: int) -> Pair:
        """One of the partitions of a consumer."""
        return list(expected.handed)[partition % len(expected.handed)]

    @precondition(lambda self: self.consumers)
    @rule(chosen=NUMBER, partition=NUMBER, pauses=st.booleans())
    def pause_or_resume(self, chosen: int, partition: int, pauses: bool) -> None:
        """Has a partition wait, or go on."""
        _, consumer, expected = self.consumers[chosen % len(self.consumers)]
        tp = self.pair(expected, partition)
        if pauses:
            consumer.pause(tp)
            expected.paused.add(tp)
        else:
            consumer.resume(tp)
            expected.paused.discard(tp)
        assert set(consumer.paused()) == expected.paused

    @precondition(lambda self: any(consumer.group for _, _, consumer in self.consumers))
    @rule(chosen=NUMBER, partition=NUMBER, offset=st.none() | NUMBER)
    def commit(self, chosen: int, partition: int, offset: int | None) -> None:
        """Commits what was handed out, or an offset of one's own."""
        groups = [(consumer, expected) for _, consumer, expected in self.consumers if expected.group]
        consumer, expected = groups[chosen % len(groups)]
        if offset is None:
            consumer.commit()
            expected.finish()
            expected.commit(self.model)
        else:
            tp = self.pair(expected, partition)
            consumer.commit({tp: offset})
            expected.commit(self.model, {tp: offset})

    @precondition(lambda self: self.consumers)
    @rule(chosen=NUMBER)
    def close_consumer(self, chosen: int) -> None:
        """Ends a consumer, which commits what it has finished."""
        _, consumer, expected = self.consumers.pop(chosen % len(self.consumers))
        consumer.close()
        expected.close(self.model)

    # -- groups of several members -------------------------------------------------------------------------------

    @rule(steps=SHIFT, log=NUMBER)
    def work_as_the_crew(self, steps: list[tuple[str, int]], log: int) -> None:
        """Has the members of a group that reads everything do several things in turn."""
        for step, number in [("join", 0), *steps]:
            if step == "join":
                self.crew.join(self.logs[(log + number) % len(self.logs)])
            elif step == "settle":
                self.crew.settle()
            elif self.crew.hands:
                {"poll": self.crew.poll, "commit": self.crew.commit, "leave": self.crew.leave}[step](number)

    # -- opening and closing -------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.logs) == 1)
    @rule()
    def open_again(self) -> None:
        """Has the same path open twice."""
        self.open()

    def close_log(self, log: EventLog) -> None:
        """Closes one log, and by that its producer and consumers."""
        log.close()
        self.logs.remove(log)
        self.producers.pop(log, None)
        self.stale = {(owner, name) for owner, name in self.stale if owner is not log}
        for owner, _, expected in self.consumers:
            if owner is log:
                expected.close(self.model)
        self.consumers = [entry for entry in self.consumers if entry[0] is not log]
        self.crew.close_log(log)

    @precondition(lambda self: len(self.logs) == 2)
    @rule(log=NUMBER)
    def close_one(self, log: int) -> None:
        """Closes one of two; the other goes on."""
        self.close_log(self.logs[log % 2])

    @rule()
    def reopen(self) -> None:
        """Closes the log wholly and opens it again."""
        for log in list(self.logs):
            self.close_log(log)
        self.open()

    @rule(log=NUMBER)
    def compact_and_switch(self, log: int) -> None:
        """Goes on with a compacted copy."""
        copy = self.directory / f"copy-{next(self.copies)}"
        for consumer in range(len(self.consumers)):
            self.close_consumer(consumer - consumer)
        while self.crew.hands:
            self.crew.leave(0)
        self.logs[log % len(self.logs)].compact(copy)
        for old in list(self.logs):
            self.close_log(old)
        shutil.rmtree(self.path)
        self.path = copy
        self.open()

    # -- always true ---------------------------------------------------------------------------------------------

    @invariant()
    def bounds_are_those_of_the_model(self) -> None:
        """Each log that is open sees the same topics with the same bounds."""
        for log in self.logs:
            assert log.topics() == sorted(self.model.topics)
            for name, partitions in self.model.topics.items():
                assert log.topic(name).bounds() == {
                    number: (expected.first, expected.end) for number, expected in enumerate(partitions)
                }

    @invariant()
    def consumers_stand_where_the_model_says(self) -> None:
        """Positions and lags are exact between any two steps."""
        for _, consumer, expected in self.consumers:
            assert {tp: consumer.position(tp) for tp in expected.handed} == expected.handed
            assert consumer.lag() == {
                tp: max(self.model.partition(tp).end - handed, 0) for tp, handed in expected.handed.items()
            }

    @rule()
    def everything_is_there(self) -> None:
        """Every record and every committed offset is what the model says."""
        for name, partitions in self.model.topics.items():
            found = [(record.partition, record.offset, _row(record)) for record in self.topic(name).read()]
            assert found == [
                (number, offset, row)
                for number, expected in enumerate(partitions)
                for offset, row in expected.rows(expected.first, expected.end)
            ]
        for group in GROUPS:
            with self.logs[-1].consumer(group=group, auto_commit=False) as consumer:
                for tp in self.model.pairs(self.model.topics):
                    assert consumer.committed(tp) == self.model.committed.get((group, tp))
        self.crew.check_committed(self.logs[-1])

    @rule()
    def log_is_sound(self) -> None:
        """A check of every batch finds nothing."""
        report = self.logs[0].verify()
        assert report.problems == ()
        assert report.topic_count == len(self.model.topics)
        assert report.record_count >= sum(
            partition.end - partition.first for partitions in self.model.topics.values() for partition in partitions
        )
