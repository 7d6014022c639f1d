"""
A machine that does the same to a log on disk and to the model, in any order, and compares.

Hypothesis chooses the steps; a history that fails is shrunk and printed as code. Knows the public API alone.
"""

from __future__ import annotations

import shutil

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from eventlog import EventLog, OffsetOutOfRange
from eventlog.clock import from_ms
from tests.model.consuming_steps import ConsumingSteps
from tests.model.model import Place
from tests.model.stage import GROUPS, NUMBER, PLACE, TIME_MS, TOPICS, row_of
from tests.model.writing_steps import WritingSteps

SHIFT = st.lists(
    st.tuples(st.sampled_from(["poll"] * 4 + ["join", "commit", "settle", "leave"]), NUMBER), min_size=4, max_size=20
)
"""What the members of a group do, one after the other."""


class LogMachine(WritingSteps, ConsumingSteps):
    """Writes and consumes, reads, has a crew work, opens and closes; and what is always true."""

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
        assert [(record.offset, row_of(record)) for record in found] == expected.rows(first, stop)[:most]

    @precondition(lambda self: self.model.topics)
    @rule(name=st.sampled_from(sorted(TOPICS)), time_ms=TIME_MS, record=st.none() | NUMBER, log=NUMBER)
    def read_from_a_time(self, name: str, time_ms: int, record: int | None, log: int) -> None:
        """Reads all partitions from a time on, in columns; the time may be that of a record."""
        topic = self.topic(name, log)
        rows = [row for expected in self.model.topics[name] for row in expected.history[expected.first :]]
        timestamp_ms = rows[record % len(rows)].timestamp_ms if rows and record is not None else time_ms
        found = list(topic.read_batches(start=from_ms(timestamp_ms)))
        records = [record for batch in found for record in batch.records()]
        assert [(record.partition, record.offset, row_of(record)) for record in records] == [
            (number, offset, row)
            for number, expected in enumerate(self.model.topics[name])
            for offset, row in expected.rows(expected.offset_of_time(timestamp_ms), expected.end)
        ]

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
            found = [(record.partition, record.offset, row_of(record)) for record in self.topic(name).read()]
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
