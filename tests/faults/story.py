"""
What a program does in a run in which a call fails: a bit of everything, one commit after the other.

Each step stores something in one commit at most, so that a log in which a step failed looks as before it, or as after
it. What was acknowledged is noted: the places and values of records. Knows nothing of failing calls.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import eventlog

PROBE = "probe"
"""A topic for what is tried after the run; it is no part of the picture."""
_GROUP = "billing"
_SESSION: dict[str, Any] = {"auto_commit": False, "session_timeout": 60.0}
"""Of members on a busy machine, who commit when they are told to."""
_BEGINNING = ("open", "make_orders", "make_accounts", "make_state", "make_projection")
_MIDDLE = (
    *("append", "append_many", "append_large", "append_event", "append_event_again", "send", "send_named"),
    *("join", "commit", "transact", "share", "process", "delete_records", "save_snapshot", "catch_up"),
    *("add_partitions", "sync", "compact", "reset_offsets", "rebuild", "remake_topic"),
)
_END = ("leave", "delete_state", "send_at_last", "close")

Picture = dict[str, Any]
Acknowledged = tuple[str, int, int, bytes]
"""A record that is stored, as the log said: topic, partition, offset and value."""


def steps_of(seed: int) -> tuple[str, ...]:
    """The names of the steps: all of them for seed 0, and a choice in any order for others."""
    if seed == 0:
        return (*_BEGINNING, *_MIDDLE, *_END)
    chance = random.Random(f"steps:{seed}")
    return (*_BEGINNING, *chance.choices(_MIDDLE, k=chance.randrange(3, 15)), *_END)


class Story:
    """
    One run over a log that is not there yet.

    Call `step()` with the names of `steps_of` in their order. Whatever it raises, the story may go on or be left.
    """

    def __init__(self, path: Path, seed: int, *, durability: str = "commit") -> None:
        self.path = path
        self.log: eventlog.EventLog | None = None
        self.acknowledged: list[Acknowledged] = []
        self.deliveries: list[tuple[eventlog.Delivery, str, bytes]] = []
        self._chance = random.Random(seed)
        self._durability = durability
        self._number = 0
        self._consumer: eventlog.Consumer[Any, Any] | None = None
        self._producer: eventlog.Producer | None = None

    def step(self, name: str) -> None:
        """Does one step."""
        action: Callable[[], None] = getattr(self, f"_{name}")
        action()

    @property
    def _open_log(self) -> eventlog.EventLog:
        assert self.log is not None
        return self.log

    @property
    def _orders(self) -> eventlog.Topic[Any, Any]:
        return self._open_log.topic("orders")

    @property
    def _accounts(self) -> eventlog.Topic[Any, Any]:
        return self._open_log.topic("accounts")

    def _value(self, size_bytes: int = 20) -> bytes:
        self._number += 1
        return b"%d " % self._number + bytes(size_bytes)

    def _key(self) -> str:
        return self._chance.choice(("alice", "bob", "carol"))

    def _note(self, topic: str, meta: eventlog.RecordMetadata, value: bytes) -> None:
        self.acknowledged.append((topic, meta.partition, meta.offset, value))

    # -- the beginning ---------------------------------------------------------------------------------------

    def _open(self) -> None:
        durability: Any = self._durability
        self.log = eventlog.open(self.path, durability=durability)

    def _make_orders(self) -> None:
        self._open_log.topic("orders", partitions=2, key=str)

    def _make_accounts(self) -> None:
        self._open_log.topic("accounts", key=str, index="key")

    def _make_state(self) -> None:
        with self._open_log.transaction() as tx:
            tx.state("totals", key=str, value=int)

    def _make_projection(self) -> None:
        self._projection()

    def _projection(self) -> eventlog.Projection:
        def count(state: Any, record: Any) -> None:
            state[record.key] = state.get(record.key, 0) + 1

        return self._open_log.projection("counts", count, topics=["orders"], on_out_of_range="earliest")

    # -- records ---------------------------------------------------------------------------------------------

    def _append(self) -> None:
        value = self._value()
        self._note("orders", self._orders.append(value, key=self._key()), value)

    def _append_many(self) -> None:
        self._append_columns([self._value(self._chance.randrange(500)) for _ in range(self._chance.randrange(2, 60))])

    def _append_large(self) -> None:
        self._append_columns([self._value(150_000), self._value(70_000)])

    def _append_columns(self, values: list[bytes]) -> None:
        partition = self._chance.randrange(2)
        ranges = self._orders.append_many(values, keys=[self._key() for _ in values], partition=partition)
        offsets = [offset for part in ranges for offset in range(part.first, part.end)]
        assert len(offsets) == len(values)
        self.acknowledged += [("orders", partition, *pair) for pair in zip(offsets, values, strict=True)]

    def _append_event(self) -> None:
        key, value, accounts = self._key(), self._value(), self._accounts
        meta = accounts.append(value, key=key, expected_version=accounts.version(key), message_id=value[:5])
        self._note("accounts", meta, value)

    def _append_event_again(self) -> None:
        value = b"the same each time"
        self._note("accounts", self._accounts.append(value, key="alice", message_id="one"), value)

    def _send(self) -> None:
        with self._open_log.producer(linger=60.0) as producer:
            self._send_some(producer)
            producer.flush()

    def _send_named(self) -> None:
        with self._open_log.producer(name="till", linger=60.0) as producer:
            self._send_some(producer)
            producer.flush()

    def _send_at_last(self) -> None:
        self._producer = self._open_log.producer(linger=60.0)  # kept: closing the log stores what it was sent
        self._send_some(self._producer)

    def _send_some(self, producer: eventlog.Producer) -> None:
        for _ in range(self._chance.randrange(1, 30)):
            value = self._value()
            self.deliveries.append((producer.send("orders", value, key=self._key()), "orders", value))

    def _delete_records(self) -> None:
        orders = self._orders
        self._orders.delete_records({number: (first + end) // 2 for number, (first, end) in orders.bounds().items()})

    def _save_snapshot(self) -> None:
        if version := self._accounts.version("alice"):
            self._accounts.save_snapshot("alice", {"number": self._number}, version=version)

    # -- groups ----------------------------------------------------------------------------------------------

    def _member(self) -> eventlog.Consumer[Any, Any]:
        if self._consumer is None:
            self._consumer = self._open_log.consumer("orders", group=_GROUP, **_SESSION)
        return self._consumer

    def _join(self) -> None:
        self._take_in(self._member())

    def _take_in(self, consumer: eventlog.Consumer[Any, Any]) -> None:
        """Polls, beginning anew where records were deleted meanwhile."""
        try:
            consumer.poll(timeout=0.0)
        except eventlog.OffsetOutOfRange:
            consumer.seek_to_beginning()

    def _commit(self) -> None:
        member = self._member()
        self._take_in(member)
        member.commit()

    def _share(self) -> None:
        member = self._member()
        self._take_in(member)
        with self._open_log.consumer("orders", group=_GROUP, **_SESSION) as other:
            self._take_in(member)
            self._take_in(other)
        self._take_in(member)

    def _transact(self) -> None:
        member, value = self._member(), self._value()
        self._take_in(member)
        with self._open_log.transaction() as tx:
            delivery = tx.send("orders", value, key="alice")
            tx.send("accounts", self._value(), key="alice")
            totals = tx.state("totals", key=str, value=int)
            totals["alice"] = totals.get("alice", 0) + 1
            tx.commit_offsets(member)
        self._note("orders", delivery.result(), value)

    def _process(self) -> None:
        def tell(tx: eventlog.Transaction, record: Any) -> None:
            tx.send("orders", b"told", key="bob")
            processor.stop()  # after one transaction: a step is stored whole, or not at all

        options: dict[str, Any] = {"max_records": 1_000, "session_timeout": 60.0}
        with self._open_log.processor("accounts", function=tell, group="telling", **options) as processor:
            processor.run_to_end(timeout=20.0)

    def _reset_offsets(self) -> None:
        self._leave()
        self._open_log.groups.reset_offsets(_GROUP, to="earliest", topics=["orders"])

    def _leave(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()

    # -- states, projections, care ---------------------------------------------------------------------------

    def _catch_up(self) -> None:
        with self._projection() as projection:
            projection.catch_up(timeout=20.0)

    def _rebuild(self) -> None:
        with self._projection() as projection:
            projection.rebuild(timeout=20.0)

    def _add_partitions(self) -> None:
        orders = self._orders
        orders.create_partitions(orders.partitions + 1)

    def _remake_topic(self) -> None:
        log = self._open_log
        if "scratch" in log.topics():
            log.delete_topic("scratch")
        else:
            log.topic("scratch", partitions=3)

    def _delete_state(self) -> None:
        self._open_log.delete_state("totals")

    def _sync(self) -> None:
        self._open_log.sync()

    def _compact(self) -> None:
        self._number += 1
        self._open_log.compact(self.path.with_name(f"{self.path.name}-copy-{self._number}"))

    def _close(self) -> None:
        self._open_log.close()


def picture(log: eventlog.EventLog) -> Picture:
    """All that a log shows, but for times and what is in the topic of probes."""
    names = [name for name in log.topics() if name != PROBE]
    states = {name: list(log.state(name).items()) for name in log.states()}
    return {
        "topics": {name: _topic_picture(log.topic(name)) for name in names},
        "order": [(record.topic, record.offset) for _, record in log.read_all() if record.topic != PROBE],
        "offsets": {group: found for group in log.groups.list() if (found := _offsets(log, group))},
        "states": states,
        "projections": {name: _projection_picture(log, name) for name in log.projections()},
    }


def _topic_picture(topic: eventlog.Topic[Any, Any]) -> Picture:
    bounds = topic.bounds()
    found: Picture = {
        "bounds": bounds,
        "records": {number: [(one.offset, one.key, one.value) for one in topic.read(number)] for number in bounds},
    }
    if topic.index is not None:
        keys = list(topic.keys())
        found["history"] = {key: [(one.version, one.value) for one in topic.history(key)] for key in keys}
        snapshots = {key: topic.snapshot(key) for key in keys}
        found["snapshots"] = {key: one and (one.version, one.state) for key, one in snapshots.items()}
    return found


def _offsets(log: eventlog.EventLog, group: str) -> list[tuple[str, int, int]]:
    found = [(one.topic, one.partition, one.committed) for one in log.groups.describe(group).offsets]
    return [(topic, partition, at) for topic, partition, at in found if at is not None and topic != PROBE]


def _projection_picture(log: eventlog.EventLog, name: str) -> Any:
    return list(log.projection(name).state.items())
