"""
The steps of consumers: opening, handing out, positions, commits, closing.

Knows the public API alone.
"""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from eventlog import Consumer, OffsetOutOfRange, Record
from tests.model.model import ModelConsumer, Pair, Place
from tests.model.stage import GROUPS, NUMBER, PLACE, TIME_MS, Stage, row_of


class ConsumingSteps(Stage):
    """Does to the log what consumers do that share with nobody."""

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
            assert row_of(record) == self.model.partition(tp).history[record.offset]
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
        tp = self.pair(expected, partition)
        try:
            consumer.commit(None if offset is None else {tp: offset})
        except OffsetOutOfRange as error:
            self.refused(expected, error, offset)
            if offset is None:
                expected.finish()  # where it stands is told, and not stored
            return
        if offset is None:
            expected.finish()
            expected.commit(self.model)
        else:
            assert offset <= self.model.partition(tp).end
            expected.commit(self.model, {tp: offset})

    def refused(self, expected: ModelConsumer, error: OffsetOutOfRange, offset: int | None) -> None:
        """Checks the refusal of a commit: its offset is that of the call or of the consumer, and beyond the end."""
        place = (str(error.topic), int(error.partition or 0))
        assert error.offset == (expected.handed[place] if offset is None else offset)
        assert error.offset > self.model.partition(place).end

    @precondition(lambda self: self.consumers)
    @rule(chosen=NUMBER)
    def close_consumer(self, chosen: int) -> None:
        """Ends a consumer, which commits what it has finished."""
        _, consumer, expected = self.consumers.pop(chosen % len(self.consumers))
        consumer.close()
        expected.close(self.model)
