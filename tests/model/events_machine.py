"""
A machine that appends, transacts and crashes, and compares the log with the model of dicts after each step.

A crash is the file as a killed process leaves it: copied while the log is open, and opened again. Knows the public API
alone.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import eventlog
from eventlog import ConflictError, EventLog, MessageIdReused, RecordMetadata, Transaction, WrongVersion
from tests.model.events_model import EventsModel, Stored, TopicModel

KEYS = ["a", "b", "a\0", "", "long" * 60]
STATE_KEYS = ["x", "y", "xy", 3, -1, ("x", 1)]
KEY = st.sampled_from(KEYS)
TOPIC = st.sampled_from(["events", "plain"])
VALUE = st.none() | st.binary(max_size=3) | st.sampled_from([b"v" * 300, b"w" * 1100])
HEADERS = st.sampled_from([(), (("trace", b"1"),)])
MESSAGE_ID = st.none() | st.sampled_from(["m1", "m2", "m3"])
NUMBER = st.integers(0, 5)
EXPECTATION = st.sampled_from(["none", "none", "right", "right", "stale", "ahead"])
SEND = st.tuples(st.just("send"), TOPIC, KEY, VALUE, HEADERS, MESSAGE_ID, EXPECTATION)
STATE_STEP = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(STATE_KEYS), st.integers(0, 3)),
    st.tuples(st.just("add"), st.sampled_from(STATE_KEYS), st.integers(1, 3)),
    st.tuples(st.just("get"), st.sampled_from(STATE_KEYS), st.none()),
    st.tuples(st.just("delete"), st.sampled_from(STATE_KEYS), st.none()),
    st.tuples(st.just("scan"), st.booleans(), NUMBER),
    st.tuples(st.just("prefix"), st.sampled_from(["x", ("x",)]), st.none()),
)
STEPS = st.lists(st.one_of(SEND, STATE_STEP, STATE_STEP), max_size=6)
_NEVER = 1e9
"""Seconds: longer than any test."""
_KINDS = {int: 2, str: 1, tuple: 3}


def order_of(key: Any) -> Any:
    """Keys of several types in the order of their bytes."""
    return (_KINDS[type(key)], key.encode() if isinstance(key, str) else key)


class Refused(Exception):
    """Says what the model expects the log to raise."""

    def __init__(self, kind: type[Exception]) -> None:
        super().__init__(kind.__name__)
        self.kind = kind


class Attempt:
    """One transaction: what it did to the log, and what the model expects of it."""

    def __init__(self, machine: EventsMachine, tx: Transaction) -> None:
        self.machine = machine
        self.tx = tx
        self.sends: list[tuple[Any, ...]] = []
        self.deliveries: list[Any] = []
        self.writes: dict[Any, Any] = {}
        self.checks: list[Callable[[], bool]] = []
        self.reused = False

    def step(self, step: tuple[Any, ...]) -> None:
        """Does one thing in the transaction."""
        kind, *arguments = step
        if kind == "send":
            self._send(*arguments)
            return
        state, stored = self.tx.state("totals"), self.machine.model.states.setdefault("totals", {})
        seen = {key: value for key, value in {**stored, **self.writes}.items() if value is not None}
        key, argument = arguments
        if kind in {"scan", "prefix"}:
            self._scan(kind, key, argument, seen, stored)
            return
        if kind in {"get", "add", "delete"} and key not in self.writes:
            before = stored.get(key)
            self._note(lambda: self.machine.model.states["totals"].get(key) == before)
        if kind == "get":
            assert state.get(key) == seen.get(key)
        elif kind == "put":
            state[key] = self.writes[key] = argument
        elif kind == "add":
            state[key] = self.writes[key] = state.get(key, 0) + argument
            assert self.writes[key] == seen.get(key, 0) + argument
        else:
            assert state.delete(key) == (key in seen)
            if key in seen:
                self.writes[key] = None

    def _note(self, check: Callable[[], bool]) -> None:
        self.checks.append(check)

    def _scan(self, kind: str, argument: Any, most: int | None, seen: dict[Any, Any], stored: dict[Any, Any]) -> None:
        state = self.tx.state("totals")
        if kind == "prefix":
            chosen = [key for key in seen if _begins(key, argument)]
            assert list(state.items(prefix=argument)) == [(key, seen[key]) for key in sorted(chosen, key=order_of)]
            before = {key: value for key, value in stored.items() if _begins(key, argument)}

            def is_unchanged() -> bool:
                now = self.machine.model.states["totals"]
                return {key: value for key, value in now.items() if _begins(key, argument)} == before

            self._note(is_unchanged)
            return
        ordered = sorted(seen, key=order_of, reverse=argument)
        found = list(state.items(is_reversed=argument, max_rows=most))
        assert found == [(key, seen[key]) for key in ordered[:most]]
        if most == 0:
            return
        last = None if most is None or len(ordered) < most else found[-1][0]
        before = _part(stored, last, is_reversed=argument)
        self._note(lambda: _part(self.machine.model.states["totals"], last, is_reversed=argument) == before)

    def _send(
        self, name: str, key: str, value: bytes | None, headers: Any, message_id: str | None, expectation: str
    ) -> None:
        topic = self.machine.model.topics.get(name)
        if topic is None:
            return
        expected = None
        if topic.has_index and expectation != "none":
            pending = sum(1 for one in self.sends if one[0] == name and one[1] == key)
            expected = topic.versions.get(key, 0) + pending + {"right": 0, "stale": -1, "ahead": 1}[expectation]
            if expected < 0:
                return
        delivery = self.tx.send(name, value, key=key, headers=headers, message_id=message_id, expected_version=expected)
        self.sends.append((name, key, value, headers, message_id, expected))
        self.deliveries.append(delivery)

    def judged(self) -> list[tuple[Any, ...]]:
        """Raises what the commit should raise."""
        model = self.machine.model
        pending: dict[tuple[str, str], int] = {}
        ids: dict[tuple[str, str], tuple[Any, ...]] = {}
        for name, key, value, headers, message_id, expected in self.sends:
            topic = model.topics[name]
            content = (key, value, headers)
            if message_id is not None:
                first = ids.get((name, message_id))
                if first is None and message_id in topic.ids:
                    first = topic.ids[message_id].content
                if first is not None:
                    if first != content:
                        raise Refused(MessageIdReused)
                    continue
                ids[name, message_id] = content
            version = topic.versions.get(key, 0) + pending.get((name, key), 0)
            if expected is not None and expected != version:
                raise Refused(WrongVersion)
            pending[name, key] = pending.get((name, key), 0) + 1
        if not all(check() for check in self.checks):
            raise Refused(ConflictError)
        return self.sends

    def commit(self) -> None:
        """Commits, and has the model follow."""
        try:
            self.judged()
        except Refused as refused:
            with pytest.raises(refused.kind):
                self.tx.commit()
            assert all(delivery.exception() is not None for delivery in self.deliveries)
            return
        self.tx.commit()
        metadata = [delivery.result() for delivery in self.deliveries]
        self.machine.follow(self.sends, metadata)
        state = self.machine.model.states.setdefault("totals", {})
        for key, value in self.writes.items():
            if value is None:
                state.pop(key, None)
            else:
                state[key] = value


def _begins(key: Any, prefix: Any) -> bool:
    if isinstance(prefix, tuple):
        return isinstance(key, tuple) and key[: len(prefix)] == prefix
    return isinstance(key, str) and key.startswith(prefix)


def _part(rows: dict[Any, Any], last: Any, *, is_reversed: bool) -> dict[Any, Any]:
    """The rows up to and with the last one that was handed out; all of them when it was no last one."""
    if last is None:
        return dict(rows)
    bound = order_of(last)
    return {
        key: value for key, value in rows.items() if (order_of(key) >= bound if is_reversed else order_of(key) <= bound)
    }


class EventsMachine(RuleBasedStateMachine):
    """Appends, transacts, deletes, reopens and crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="eventlog-model-"))
        self.path = self.directory / "log-0"
        self.model = EventsModel()
        self.copies = 0
        self.log: EventLog = eventlog.open(self.path)
        self.consumer: Any = None

    def teardown(self) -> None:
        """Opens the log once more, and looks at all of it."""
        try:
            self.reopen()
            self.log_is_what_the_model_is()
            assert self.log.verify().problems == ()
        finally:
            self.log.close()
            shutil.rmtree(self.directory)

    @initialize()
    def make_topics(self) -> None:
        """Makes both topics."""
        self.make("events")
        self.make("plain")

    def make(self, name: str) -> None:
        """Makes one topic."""
        index = "key" if name == "events" else None
        partitions = 3 if name == "events" else 2
        self.log.topic(
            name,
            key=str,
            index=index,
            partitions=partitions,
            compaction="key",
            compaction_lag=_NEVER,
            tombstone_retention=_NEVER,
            min_dirty_ratio=0,
        )
        self.model.topics[name] = TopicModel(index is not None, partitions)

    def follow(self, sends: list[tuple[Any, ...]], metadata: list[RecordMetadata]) -> None:
        """Has the model store what was stored, in the order of the positions, and compares the places."""
        begun = self.model.log_position
        fresh = sorted(
            {(one.log_position, number) for number, one in enumerate(metadata) if one.log_position >= begun},
        )
        seen: set[int] = set()
        for log_position, number in fresh:
            if log_position in seen:
                continue
            seen.add(log_position)
            name, key, value, headers, message_id, *_ = sends[number]
            stored = self.model.add(name, metadata[number].partition, key, value, headers, message_id)
            assert stored.log_position == log_position
        places = {record.log_position: record for record in self.model.records}
        for (name, key, value, headers, *_), one in zip(sends, metadata, strict=True):
            if one.log_position in places:
                place = places[one.log_position]
                assert (place.topic, place.partition, place.offset) == (one.topic, one.partition, one.offset)
                assert place.version == one.version
                assert place.content == (key, value, headers)
                assert place.topic == name

    # -- appending -----------------------------------------------------------------------------------------------

    @rule(step=SEND)
    def append(self, step: tuple[Any, ...]) -> None:
        """Appends one record."""
        _, name, key, value, headers, message_id, expectation = step
        topic = self.model.topics.get(name)
        if topic is None:
            return
        expected = None
        version = topic.versions.get(key, 0)
        if topic.has_index and expectation != "none":
            expected = version + {"right": 0, "stale": -1, "ahead": 1}[expectation]
            if expected < 0:
                expected = 0
        handle = self.log.topic(name)
        options = {"key": key, "headers": headers, "message_id": message_id, "expected_version": expected}
        known = topic.ids.get(message_id) if message_id is not None else None
        if known is not None and known.content != (key, value, headers):
            with pytest.raises(MessageIdReused):
                handle.append(value, **options)
            return
        if known is None and expected is not None and expected != version:
            with pytest.raises(WrongVersion) as raised:
                handle.append(value, **options)
            assert (raised.value.expected, raised.value.actual) == (expected, version)
            return
        metadata = handle.append(value, **options)
        if known is not None:
            assert (metadata.partition, metadata.offset, metadata.log_position, metadata.version) == (
                known.partition,
                known.offset,
                known.log_position,
                known.version,
            )
            return
        self.follow([(name, key, value, headers, message_id)], [metadata])

    @rule(name=TOPIC, key=KEY, values=st.lists(VALUE, min_size=1, max_size=40), ahead=st.sampled_from([0, 0, 0, 1]))
    def append_many(self, name: str, key: str, values: list[bytes | None], ahead: int) -> None:
        """Appends several records of one key."""
        topic = self.model.topics.get(name)
        if topic is None:
            return
        handle = self.log.topic(name)
        expected = topic.versions.get(key, 0) + ahead if topic.has_index else None
        if ahead and expected is not None:
            with pytest.raises(WrongVersion):
                handle.append_many(values, key=key, expected_version=expected)
            return
        (found,) = handle.append_many(values, key=key, expected_version=expected)
        assert (found.log_position, found.end - found.first) == (self.model.log_position, len(values))
        for number, value in enumerate(values):
            stored = self.model.add(name, found.partition, key, value, (), None)
            assert stored.offset == found.first + number

    # -- transactions --------------------------------------------------------------------------------------------

    @rule(steps=STEPS, end=st.sampled_from(["commit", "commit", "abort", "raise"]))
    def transact(self, steps: list[tuple[Any, ...]], end: str) -> None:
        """Does several things in one transaction."""
        attempt = Attempt(self, self.log.transaction())
        for step in steps:
            attempt.step(step)
        if end == "commit":
            attempt.commit()
        elif end == "abort":
            attempt.tx.abort()
        else:
            with pytest.raises(ZeroDivisionError):
                with attempt.tx:
                    raise ZeroDivisionError
        assert attempt.tx.is_ended

    @rule(first=STEPS, second=STEPS, third=STEPS)
    def transact_at_once(
        self, first: list[tuple[Any, ...]], second: list[tuple[Any, ...]], third: list[tuple[Any, ...]]
    ) -> None:
        """Has one transaction begin before another and commit after it."""
        slow, fast = Attempt(self, self.log.transaction()), Attempt(self, self.log.transaction())
        for step in first:
            slow.step(step)
        for step in second:
            fast.step(step)
        fast.commit()
        for step in third:
            if step[0] == "send":  # a later read of a state would see what the model shows it in another order
                slow.step(step)
        slow.commit()

    @rule(most=NUMBER, is_committed=st.booleans(), steps=STEPS)
    def consume_and_transact(self, most: int, is_committed: bool, steps: list[tuple[Any, ...]]) -> None:
        """Commits offsets with a transaction, or does not and goes back."""
        if self.consumer is None:
            self.consumer = self.log.consumer(*self.model.topics, group="g", auto_commit=False)
        records = self.consumer.poll(max_records=most + 1)
        attempt = Attempt(self, self.log.transaction())
        attempt.tx.commit_offsets(self.consumer)
        for step in steps:
            attempt.step(step)
        if not is_committed:
            attempt.tx.abort()
            self.consumer.seek_to_committed()
            return
        attempt.commit()
        if attempt.deliveries and attempt.deliveries[0].exception() is not None:
            self.consumer.seek_to_committed()
            return
        if not attempt.deliveries and not self._was_stored(records):
            self.consumer.seek_to_committed()
            return
        for record in records:
            self.model.offsets[record.topic, record.partition] = record.offset + 1

    def _was_stored(self, records: list[Any]) -> bool:
        """Whether the log took the offsets: a refused transaction without records tells in no other way."""
        last = {(record.topic, record.partition): record.offset + 1 for record in records}
        return all(self.consumer.committed(place) == offset for place, offset in last.items())

    def end_consumer(self) -> None:
        """Closes the consumer."""
        if self.consumer is not None:
            self.consumer.close()
            self.consumer = None

    # -- deleting ------------------------------------------------------------------------------------------------

    @rule(name=TOPIC, share=st.sampled_from([0.0, 0.3, 0.6, 1.0, 1.0]))
    def delete_records(self, name: str, share: float) -> None:
        """Deletes the first records of each partition."""
        topic = self.model.topics.get(name)
        if topic is None:
            return
        self.end_consumer()
        cuts = {number: first + int((end - first) * share) for number, (first, end) in topic.bounds().items()}
        self.log.topic(name).delete_records(cuts)
        self._cut(name, topic, cuts)

    @rule(name=TOPIC, most_bytes=st.sampled_from([0, 300, 1_000, 10_000]))
    def clean(self, name: str, most_bytes: int) -> None:
        """Has the cleaner delete the oldest batches of a topic; it never takes a newer one before an older."""
        topic = self.model.topics.get(name)
        if topic is None:
            return
        self.end_consumer()
        stored = self.log.topic(name)
        before = stored.bounds()
        stored.alter(retention_bytes=most_bytes)
        assert self.log.clean().is_finished
        stored.alter(retention_bytes=None)
        cuts = {number: first for number, (first, _) in stored.bounds().items()}
        assert all(before[number][0] <= cut <= before[number][1] for number, cut in cuts.items())
        assert most_bytes > 0 or cuts == {number: end for number, (_, end) in before.items()}
        self._cut(name, topic, cuts)

    @rule(name=TOPIC, drops_tombstones=st.booleans())
    def compact(self, name: str, drops_tombstones: bool) -> None:
        """Has the cleaner keep the newest record of each key."""
        if name not in self.model.topics:
            return
        self.end_consumer()
        stored = self.log.topic(name)
        stored.alter(compaction_lag=0, tombstone_retention=0 if drops_tombstones else _NEVER)
        assert self.log.clean().is_finished
        stored.alter(compaction_lag=_NEVER, tombstone_retention=_NEVER)
        self.model.compact(name, drops_tombstones=drops_tombstones)

    @rule(name=TOPIC)
    def repack(self, name: str) -> None:
        """Has the cleaner merge small batches."""
        if name not in self.model.topics:
            return
        stored = self.log.topic(name)
        stored.alter(repack_after=0)
        assert self.log.clean().record_count == 0
        stored.alter(repack_after=None)

    def _cut(self, name: str, topic: TopicModel, cuts: dict[int, int]) -> None:
        topic.firsts = cuts
        with self.log.consumer(group="g") as consumer:
            for number, cut in cuts.items():
                offset = consumer.committed((name, number))
                if offset is not None and offset < cut:  # else the next poll would say that these are gone
                    consumer.commit({(name, number): cut})
                    if (name, number) in self.model.offsets:
                        self.model.offsets[name, number] = cut

    @precondition(lambda self: "plain" in self.model.topics)
    @rule()
    def delete_a_topic(self) -> None:
        """Deletes a topic and makes it anew."""
        self.end_consumer()
        self.log.delete_topic("plain")
        self.model.drop("plain")
        self.make("plain")

    @precondition(lambda self: "totals" in self.log.states())
    @rule()
    def delete_the_state(self) -> None:
        """Deletes the state."""
        self.log.delete_state("totals")
        self.model.states.pop("totals", None)

    @rule(key=KEY, back=NUMBER, state=NUMBER)
    def save_a_snapshot(self, key: str, back: int, state: int) -> None:
        """Keeps a state of a key at some version."""
        topic = self.model.topics["events"]
        version = topic.versions.get(key, 0) - back
        if version < 1:
            return
        self.log.topic("events").save_snapshot(key, state, version=version)
        if version >= topic.snapshots.get(key, (0, None))[0]:
            topic.snapshots[key] = (version, state)

    # -- opening and crashing ------------------------------------------------------------------------------------

    @rule()
    def reopen(self) -> None:
        """Closes the log and opens it again."""
        self.end_consumer()
        self.log.close()
        self.log = eventlog.open(self.path)

    @rule(steps=STEPS)
    def crash(self, steps: list[tuple[Any, ...]]) -> None:
        """Goes on with the file as a kill leaves it now, in the middle of a transaction and of sending."""
        attempt = Attempt(self, self.log.transaction())
        for step in steps:
            attempt.step(step)
        self.copies += 1
        copy = self.directory / f"log-{self.copies}"
        copy.mkdir()
        shutil.copyfile(self.path / "data.mdb", copy / "data.mdb")
        attempt.tx.abort()
        self.end_consumer()
        self.log.close()
        shutil.rmtree(self.path)
        self.path = copy
        self.log = eventlog.open(copy)

    # -- what is always true -------------------------------------------------------------------------------------

    @invariant()
    def log_is_what_the_model_is(self) -> None:
        """Order, histories, versions, states and offsets agree."""
        model, log = self.model, self.log
        assert log.end_log_position() == model.log_position
        for name in model.topics:
            log.topic(name, key=str)
        found = [
            (log_position, record.topic, record.partition, record.offset, record.key, record.value)
            for log_position, record in log.read_all()
        ]
        assert found == [
            (one.log_position, one.topic, one.partition, one.offset, one.key, one.value) for one in model.living()
        ]
        self._histories_agree()
        state = log.state("totals") if "totals" in log.states() else {}
        stored = model.states.get("totals", {})
        assert dict(state.items()) == stored
        for (name, number), offset in model.offsets.items():
            with log.consumer(group="g") as reader:
                committed = reader.committed((name, number))
                assert committed is not None
                assert model.next_offset(name, number, committed) == model.next_offset(name, number, offset)

    def _histories_agree(self) -> None:
        topic = self.model.topics.get("events")
        if topic is None:
            return
        events = self.log.topic("events")
        assert sorted(events.keys()) == sorted(topic.versions)
        for key, version in topic.versions.items():
            expected = self.model.history("events", key)
            assert events.version(key) == version
            assert [_row(event) for event in events.history(key)] == [_expected(one) for one in expected]
            latest = events.latest(key)
            assert (None if latest is None else _row(latest)) == (_expected(expected[-1]) if expected else None)
            snapshot = events.snapshot(key)
            kept = topic.snapshots.get(key)
            assert (None if snapshot is None else (snapshot.version, snapshot.state)) == kept


def _row(event: Any) -> tuple[Any, ...]:
    return event.version, event.log_position, event.partition, event.offset, event.value, event.headers


def _expected(one: Stored) -> tuple[Any, ...]:
    return one.version, one.log_position, one.partition, one.offset, one.value, one.headers
