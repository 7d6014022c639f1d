"""Rows that nobody of ours wrote: whatever a row says, reading it ends, with an error of ours, and `verify` tells."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest

import eventlog
from eventlog.batches.header import seal
from eventlog.store.lmdb.environment import (
    BATCHES,
    FORMAT,
    GROUPS,
    INDEX,
    MEMBERS,
    MESSAGES,
    OFFSETS,
    ORDER,
    PARTITIONS,
    PRODUCERS,
    PROJECTIONS,
    SEQUENCES,
    SNAPSHOTS,
    STATES,
    TOPICS,
    EngineMapFull,
    engine_failure,
)
from eventlog.store.records.key_rows import entity_prefix, pack_row, version_key
from eventlog.store.records.log_order import order_key
from eventlog.store.records.producer_epochs import sequence_key
from eventlog.store.rows.tables import batch_key, partition_key
from tests.store.test_verification import Change, batch_at, change, gone, to

MEMBER = "0123456789abcdef" * 2


@pytest.fixture
def log(log: eventlog.EventLog) -> eventlog.EventLog:
    """A log with a row in every table whose rows have bounds."""
    accounts = log.topic("accounts", partitions=2, key=str, value=int, index="key")
    for number in range(5):
        accounts.append(number, key="a", partition=0, message_id=f"m{number}")
    accounts.save_snapshot("a", 7, version=2)
    accounts.delete_records({0: 1})
    with log.consumer("accounts", group="billing") as consumer:
        consumer.poll()
        consumer.commit()
    with log.producer(name="till") as producer:
        producer.send(accounts, 1, key="b")
    with log.transaction() as tx:
        tx.state("totals", key=str, value=int)["a"] = 1
    log.projection("sums", lambda state, record: None, key=str, value=int).catch_up()
    member = {"version": 1, "instance_id": None, "topics": ["accounts"], "patterns": [], "process_id": 1}
    member |= {"joined_ms": 5, "joined_epoch": 1, "owned": [], "target": []}
    group = {"version": 1, "epoch": 2, "target_epoch": 2, "topics_version": 1, "newest_topic_id": 1}
    group |= {"partition_counts": [], "assignor": "sticky", "created_ms": 5}
    change(log, MEMBERS, member_key(MEMBER), to(msgpack.packb(member)))
    change(log, GROUPS, b"billing", to(msgpack.packb(group)))
    assert log.verify().problems == ()
    return log


def member_key(member_id: str) -> bytes:
    """The key of a member's row."""
    return b"billing\0" + member_id.encode()


def field(name: str, value: object) -> Change:
    """A row with another value in a field, or without it where that is `gone`."""

    def change_field(data: bytes) -> bytes:
        fields = msgpack.unpackb(data)
        fields[name] = value
        return bytes(msgpack.packb({key: one for key, one in fields.items() if one is not gone}))

    return change_field


Call = Callable[[Any], object]


def topic(call: Callable[[Any], object]) -> Call:
    """A call of the topic."""
    return lambda log: call(log.topic("accounts"))


def join(log: Any) -> None:
    """Become a member of the group."""
    with log.consumer("accounts", group="billing") as consumer:
        consumer.poll()


def read_state(log: Any) -> None:
    """Read a row of the state."""
    log.state("totals").get("a")


def append(log: Any) -> None:
    """Append a record of the key, with an id."""
    log.topic("accounts").append(0, key="a", partition=0, message_id="m0")


def send(log: Any) -> None:
    """Send a record by the named producer."""
    with log.producer(name="till") as producer:
        producer.send("accounts", 1, key="b", partition=1).result()


def delete(log: Any) -> None:
    """Delete a record."""
    log.topic("accounts").delete_records({0: 1})


def read_everything(log: Any) -> None:
    """Read the log in its order."""
    list(log.read_all())


A = entity_prefix(1, b"a")
ENTRY = (0, 1, 5, 1, b"\0" * 8, ())
TOPIC = (TOPICS, b"accounts")
NEVER = 2**40

CRAFTED: list[tuple[str, bytes, bytes, Change, Call]] = [
    # Without a bound these never end, today or in a thousand years.
    ("partitions-bounds", *TOPIC, field("partitions", NEVER), topic(lambda it: it.bounds())),
    ("partitions-read", *TOPIC, field("partitions", NEVER), topic(lambda it: list(it.read()))),
    ("partitions-poll", *TOPIC, field("partitions", NEVER), join),
    ("partitions-0", *TOPIC, field("partitions", 0), topic(lambda it: it.append(1, key="b"))),
    ("partitions-none", *TOPIC, field("partitions", gone), topic(lambda it: it.bounds())),
    ("topic-id", *TOPIC, field("id", 2**32), topic(lambda it: it.bounds())),
    ("topic-codec", *TOPIC, field("value", {"name": "class"}), topic(lambda it: list(it.read()))),
    ("topic-events", *TOPIC, field("value", {"name": "events", "classes": [{}]}), topic(lambda it: list(it.read()))),
    ("topic-snapshot", *TOPIC, field("snapshot", {"name": 7}), topic(lambda it: it.snapshot("a"))),
    ("topic-record-bytes", *TOPIC, field("max_record_bytes", -1), append),
    ("topic-window", *TOPIC, field("duplicate_window_ms", 2**63), append),
    ("topic-name", TOPICS, b"\xff", lambda _: b"\x80", lambda log: log.topics()),
    ("topic-map", *TOPIC, to(b"\x93\1\2\3"), topic(lambda it: it.bounds())),
    # The counters of the format table.
    ("next-topic", FORMAT, b"next topic id", to(b"\xff" * 4), lambda log: log.topic("another")),
    ("next-topic-long", FORMAT, b"next topic id", to(b"\0" * 9), lambda log: log.topic("another")),
    ("next-producer", FORMAT, b"next producer id", to(b"\xff" * 8), lambda log: log.producer(name="q").__enter__()),
    ("topics-version", FORMAT, b"topics version", to(b"\xff" * 8), lambda log: log.topic("another")),
    ("end-position", FORMAT, b"end position", to(b"\xff" * 8), topic(lambda it: it.append(1, partition=0))),
    ("keyless-count", FORMAT, b"keyless deletions \0\0\0\1", to(b"\xff" * 8), delete),
    ("end-position-short", FORMAT, b"end position", to(b"\xff"), lambda log: log.delete_topic("accounts")),
    # Partitions, batches and their order.
    ("bounds-order", PARTITIONS, partition_key(1, 0), to(struct.pack(">QQq", 9, 3, 1)), topic(lambda it: it.bounds())),
    ("bounds-far", PARTITIONS, partition_key(1, 0), to(struct.pack(">QQq", 99, 99, 1)), topic(lambda it: it.bounds())),
    ("bounds-large", PARTITIONS, partition_key(1, 1), to(struct.pack(">QQq", 1, 2**64 - 1, 1)), read_everything),
    ("batch-last", BATCHES, batch_key(1, 0, 2**64 - 2), to(batch_at(50)), topic(lambda it: it.append(1, partition=0))),
    ("order-last", ORDER, order_key(2**64 - 1), to(batch_key(1, 0, 4)), append),
    ("order-short", ORDER, order_key(0), to(b"\0" * 15), read_everything),
    ("order-span", BATCHES, batch_key(1, 0, 1), to(batch_at(0, 40)), read_everything),
    # The index.
    ("entry-types", INDEX, A + version_key(2), lambda _: row((0, 1, 5, 1, 7, ())), topic(lambda it: it.latest("a"))),
    ("entry-fields", INDEX, A + version_key(2), lambda _: row((0, 1)), topic(lambda it: list(it.history("a")))),
    ("entry-headers", INDEX, A + version_key(2), lambda _: row((*ENTRY[:5], (1,))), topic(lambda it: it.latest("a"))),
    ("index-last", INDEX, A + b"\xff" * 8, lambda _: row(ENTRY), topic(lambda it: list(it.history("a")))),
    ("index-last-keys", INDEX, A + b"\xff" * 8, lambda _: row(ENTRY), topic(lambda it: list(it.keys()))),
    ("index-version", INDEX, A + version_key(0), lambda _: row(ENTRY), topic(lambda it: list(it.history("a")))),
    (
        "index-escape",
        INDEX,
        struct.pack(">I", 1) + b"\0\1zzzzzzzzzz",
        lambda _: row(),
        topic(lambda it: list(it.keys())),
    ),
    ("index-checksum", INDEX, A + version_key(2), to(b"\1\xdd\0\0\0\7........"), topic(lambda it: it.version("a"))),
    ("snapshot", SNAPSHOTS, A, to(b"\0" * 8), topic(lambda it: it.snapshot("a"))),
    ("snapshot-version", SNAPSHOTS, A, to(b"\xff" * 24), topic(lambda it: it.fold("a", max, 0))),
    ("message", MESSAGES, struct.pack(">I", 1) + b"m0", to(b"\1" + b"\xff" * 52), append),
    # Groups.
    ("offset", OFFSETS, b"billing\0" + partition_key(1, 0), to(b"\1" + b"\xff" * 16), join),
    ("offset-key", OFFSETS, b"billing\0abc", to(b"\1" + b"\0" * 16), lambda log: log.groups.describe("billing")),
    ("group-name", OFFSETS, b"\xff\0" + partition_key(1, 0), to(b"\1" + b"\0" * 16), lambda log: log.groups.list()),
    ("group-name-empty", OFFSETS, b"\0" + partition_key(1, 0), to(b"\1" + b"\0" * 16), lambda log: log.groups.list()),
    ("member-id", MEMBERS, member_key("../../../../etc/passwd"), to(b"\x80"), join),
    ("member-id-zero", MEMBERS, member_key(MEMBER[1:] + "\0"), to(b"\x80"), lambda log: log.groups.describe("billing")),
    ("member-pattern", MEMBERS, member_key(MEMBER), field("patterns", [["(", 0]]), join),
    ("member-flags", MEMBERS, member_key(MEMBER), field("patterns", [["a", 2**40]]), join),
    ("member-owned", MEMBERS, member_key(MEMBER), field("owned", [[1, [[0, -7]]]]), join),
    ("member-target", MEMBERS, member_key(MEMBER), field("target", [[1, [NEVER]]]), join),
    ("group-epoch", GROUPS, b"billing", field("epoch", -1), join),
    ("group-counts", GROUPS, b"billing", field("partition_counts", [[1, 2, 3]]), join),
    # States, projections, producers.
    ("state-id", STATES, b"totals", field("id", 2**32 - 1), read_state),
    ("state-codec", STATES, b"totals", field("value", {}), read_state),
    ("state-name", STATES, b"\xff", to(b"\x80"), lambda log: log.states()),
    ("projection-state", PROJECTIONS, b"sums", field("active", {}), lambda log: log.projection("sums")),
    ("projection-name", PROJECTIONS, b"\xff", to(b"\x80"), lambda log: log.projections()),
    ("producer-id", PRODUCERS, b"till", field("id", -1), send),
    ("producer-epoch", PRODUCERS, b"till", field("epoch", 2**63), send),
    ("sequence", SEQUENCES, sequence_key(1, 1, 1), field("ends", [[0, -1]]), send),
]


def row(*entries: tuple[Any, ...]) -> bytes:
    """A row of the index with entries of any kind, and a checksum that holds."""
    return pack_row(len(entries), b"".join(msgpack.packb(entry) for entry in entries))


@pytest.mark.parametrize(("table", "key", "how", "call"), [one[1:] for one in CRAFTED], ids=[one[0] for one in CRAFTED])
@pytest.mark.timeout(20)
def test_a_crafted_row_is_refused_where_it_is_read(
    log: eventlog.EventLog, table: bytes, key: bytes, how: Change, call: Call
) -> None:
    """By an error of ours, at once, and `verify` says which row it is."""
    change(log, table, key, how)
    with pytest.raises(eventlog.CorruptBatch) as caught:
        call(log)
    assert caught.value.stored
    assert caught.value.advice
    assert not log.verify().is_sound


def test_a_row_that_cannot_be_read_leaves_nothing_half_done(log: eventlog.EventLog) -> None:
    """A deletion that meets it among its writes deletes nothing, and leaves the others of its round alone."""
    rows_before = len(list(log.topic("accounts").read()))
    change(log, FORMAT, b"old positions", to(b"\xff" * 3))
    with pytest.raises(eventlog.CorruptBatch):
        log.delete_topic("accounts")
    with pytest.raises(eventlog.CorruptBatch):
        log.topic("accounts").delete_records({0: 3})
    assert log.topics() == ["accounts"]
    assert len(list(log.topic("accounts").read())) == rows_before
    assert log.topic("another").append(b"tea").offset == 0


def test_a_column_of_something_else_is_a_damaged_batch(log: eventlog.EventLog) -> None:
    """Although the checksum holds: codecs get bytes or None, nothing else."""
    batch = eventlog.batches.format.EncodedBatch(1, 1, 5, 5, msgpack.packb((0, (7,), (b"v",), None, None)))
    change(log, BATCHES, batch_key(1, 1, 0), to(seal(batch, largest_so_far_ms=5, log_position=5)))
    with pytest.raises(eventlog.CorruptBatch, match="column of keys holds something other than bytes"):
        list(log.topic("accounts").read())


def test_a_key_that_no_codec_reads_is_told(log: eventlog.EventLog) -> None:
    """As a value is: by `DecodeError`, with the topic."""
    change(log, INDEX, entity_prefix(1, b"\xff") + version_key(1), lambda _: row(ENTRY))
    with pytest.raises(eventlog.DecodeError, match="cannot read the key") as caught:
        list(log.topic("accounts").keys())
    assert caught.value.topic == "accounts"


@pytest.mark.timeout(20)
def test_the_history_of_a_record_behind_deleted_ones_ends(log: eventlog.EventLog) -> None:
    """Rows of the index that were removed leave a gap, and a reader that begins in it comes out of it."""
    deep = log.topic("deep", partitions=2, index="key")
    for partition in (0, 1, 0):
        for _ in range(6):
            deep.append(b"x" * 900, key=b"k", partition=partition)
    deep.delete_records({1: 6})
    assert [event.version for event in deep.history(b"k", start=9, max_records=1)] == [13]
    assert [event.version for event in deep.history(b"k", start=9)] == [*range(13, 19)]


@pytest.mark.parametrize("number", [2, 4])
def test_records_that_are_gone_are_not_passed_over(log: eventlog.EventLog, number: int) -> None:
    """What is before them is read, then they are named; who wants to goes on behind them."""
    orders = log.topic("orders", value=int)
    for value in range(5):
        orders.append(value)
    change(log, BATCHES, batch_key(2, 0, number), gone)
    if number == 4:  # it was the last: the end is where the one before it ends, and nothing tells but `verify`
        assert list(orders.read())[-1].value == 3
        assert not log.verify().is_sound
        return
    got = []
    with pytest.raises(eventlog.CorruptBatch, match=r"offsets 2 to 2 of orders\[0\]: no batch has them") as caught:
        got.extend(record.value for record in orders.read())
    assert (caught.value.topic, caught.value.partition, caught.value.offset) == ("orders", 0, 2)
    with log.consumer("orders") as consumer:
        assert [record.value for record in consumer.poll()] == [0, 1]
        with pytest.raises(eventlog.CorruptBatch, match="offsets 2 to 2"):
            consumer.poll()
        consumer.seek(("orders", 0), 3)
        assert [record.value for record in consumer.poll()] == [3, 4]


def test_an_error_of_lmdb_that_comes_as_a_system_error_is_one() -> None:
    """As from a cursor that has deleted a row and cannot move on; other errors are none."""
    cause = EngineMapFull("mdb_cursor_get")
    error = SystemError("returned a result with an exception set")
    error.__cause__ = cause
    assert engine_failure(error) is cause
    assert engine_failure(cause) is cause
    assert engine_failure(SystemError()) is None
    assert engine_failure(ValueError()) is None


def test_a_projection_that_is_ahead_of_its_log_is_rebuilt(path: Path) -> None:
    """A changed bit in the end of the log, or in a checkpoint, is no error of a lock."""
    with eventlog.open(path) as log:
        orders = log.topic("orders")
        for _ in range(3):
            orders.append(b"tea")
        projection = log.projection("sums", lambda state, record: None, key=str, value=int)
        projection.catch_up()
        change(log, PROJECTIONS, b"sums", lambda data: data.replace(b"\xa8position\x03", b"\xa8position\x7f"))
        assert not log.verify().is_sound
        assert log.projection("sums", lambda state, record: None, key=str, value=int).rebuild() == 3
        assert log.verify().is_sound
