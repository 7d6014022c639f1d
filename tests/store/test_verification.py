"""Whatever row is spoiled on disk, `verify` says which; and it never takes a sound log for a damaged one."""

from __future__ import annotations

import re
import struct
import threading
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

import eventlog
from eventlog.batches.format import BatchEncoder
from eventlog.batches.header import seal
from eventlog.batches.kafka_batch import kafka_batch
from eventlog.groups.state import CommittedOffset, Member, Subscription
from eventlog.store.groups.rows import pack_member
from eventlog.store.lmdb.environment import (
    BATCHES,
    FORMAT,
    GROUPS,
    INDEX,
    MEMBERS,
    MESSAGE_TIMES,
    MESSAGES,
    OFFSETS,
    ORDER,
    PARTITIONS,
    PRODUCERS,
    PROJECTIONS,
    SEQUENCES,
    SNAPSHOTS,
    STATE,
    STATES,
    TABLES,
    TOPICS,
)
from eventlog.store.records.key_rows import entity_prefix, pack_entries, pack_row, unpack_row, version_key
from eventlog.store.records.log_order import order_key
from eventlog.store.records.message_ids import StoredMessage, time_key
from eventlog.store.records.producer_epochs import SequenceRow, sequence_key
from eventlog.store.rows.tables import PartitionRow, batch_key, pack_offset, partition_key
from eventlog.store.verify.check_index import IndexSums
from tests.golden.shapes import BATCHES_V3
from tests.sealing import sealed, unsealed

Change = Callable[[bytes], bytes | None]


@pytest.fixture
def log(log: eventlog.EventLog) -> eventlog.EventLog:
    """A log with something in most tables: an indexed topic, message ids, snapshots, and deleted records."""
    accounts = log.topic("accounts", partitions=2, key=str, index="key")
    orders = log.topic("orders")
    orders.append_many([b"1", b"2", b"3"])  # positions 0 to 2
    accounts.append_many([b"a1", b"b1", b"a2"], keys=["a", "b", "a"], partition=0, message_ids=["m1", None, "m2"])  # 5
    orders.append(b"4")  # 6
    accounts.append(b"x" * 3000, key="a", partition=1, headers={"h": b"1"})  # 7
    accounts.append(None, key="b", partition=1, message_id="m3")  # 8
    accounts.save_snapshot("a", {"n": 1}, version=2)
    orders.append(b"5")  # 9
    accounts.append(b"c1", key="c", partition=0)  # 10
    with log.consumer("orders", group="billing") as consumer:
        consumer.poll()
        consumer.commit()
    assert log.verify().problems == ()
    return log


def change(log: eventlog.EventLog, table: bytes, key: bytes, how: Change) -> None:
    """Changes, makes or, where `how` gives None, removes a row; its checksum holds."""
    environment = log._store.environment
    transaction = environment.begin_writing()
    stored = transaction.get(key, db=environment.table(table))
    new = how(b"" if stored is None else unsealed(table, key, stored))
    if new is None:
        assert transaction.delete(key, db=environment.table(table)), "there is no such row"
    else:
        transaction.put(key, sealed(table, key, new), db=environment.table(table))
    environment.commit(transaction)
    log._store.committer._writing.forget()


def gone(_: bytes) -> None:
    """A row that is not there any more."""


def to(data: bytes) -> Change:
    """Other bytes."""
    return lambda _: data


def flipped(place: int) -> Change:
    """One other bit."""
    return lambda data: data[:place] + bytes([data[place] ^ 1]) + data[place:][1:]


def a(key: str, version: int) -> bytes:
    """The key of an index row of `accounts`."""
    return entity_prefix(1, key.encode()) + version_key(version)


def entries(*fields: tuple[Any, ...] | None) -> bytes:
    """A sound row of an index with entries of any kind."""
    return pack_row(len(fields), b"".join(msgpack.packb(entry) for entry in fields))


def message(**changed: Any) -> Change:
    """A message row with other fields."""
    return lambda data: StoredMessage.unpack(data)._replace(**changed).pack()


def topic_id(number: int) -> Change:
    """A topic's row with another id."""
    return lambda data: bytes(msgpack.packb({**msgpack.unpackb(data), "id": number}))


MEMBER = Member("a" * 32, None, Subscription(), 1, 1, 1)


def batch_at(log_position: int, count: int = 1) -> bytes:
    """A sound batch with some position."""
    [batch] = BatchEncoder().encode(None, [b"v"] * count, timestamps_ms=1)
    return seal(batch, largest_so_far_ms=2**40, log_position=log_position)


def batch_of(size: int, key: bytes) -> bytes:
    """A sound batch that says where it belongs, if it is large."""
    return seal(
        BatchEncoder().encode_one(None, b"v" * size, timestamp_ms=1), largest_so_far_ms=1, log_position=0, key=key
    )


def kafka_at(key: bytes) -> bytes:
    """A sound Kafka record batch of the row with a key."""
    body = BATCHES_V3["batch-v3-kafka.bin"].kafka_body or b""
    return seal(kafka_batch(body), largest_so_far_ms=2**40, log_position=20, key=key)


SPOILED: list[tuple[str, bytes, bytes, Change, str]] = [
    # batches and their order
    ("batch-bit", BATCHES, batch_key(2, 0, 3), flipped(70), r"orders\[0\] up to offset 3.*checksum"),
    ("batch-gone", BATCHES, batch_key(2, 0, 3), gone, r"order at position 6.*does not exist"),
    ("batch-key", BATCHES, b"short", to(b"x"), r"'batches', row 73686f7274"),
    (
        "batch-elsewhere",
        BATCHES,
        batch_key(2, 0, 3),
        to(batch_of(3000, batch_key(2, 0, 4))),
        r"orders\[0\] up to offset 3: it says that it is of topic id 2\[0\] up to offset 4",
    ),
    (
        "kafka-elsewhere",
        BATCHES,
        batch_key(2, 0, 3),
        to(kafka_at(batch_key(2, 0, 4))),
        r"orders\[0\] up to offset 3: its Kafka record batch does not begin at offset 1",
    ),
    ("batch-of-no-topic", BATCHES, batch_key(9, 0, 0), to(batch_at(20)), r"topic id 9\[0\].*does not exist"),
    ("batch-of-no-partition", BATCHES, batch_key(2, 7, 0), to(batch_at(20)), r"orders\[7\].*has 1 partitions"),
    ("batch-elsewhere", BATCHES, batch_key(2, 0, 3), to(batch_at(5)), r"up to offset 3.*order leads to another batch"),
    ("batch-beyond", BATCHES, batch_key(2, 0, 3), to(batch_at(2**64 - 1)), r"up to offset 3.*no row in the order"),
    ("order-gone", ORDER, order_key(6), gone, r"orders\[0\] up to offset 3.*positions up to 6, but no row"),
    ("order-other", ORDER, order_key(6), to(batch_key(2, 0, 2)), r"position 6.*begins at position 0, not 4"),
    ("order-nowhere", ORDER, order_key(30), to(batch_key(2, 0, 77)), r"position 30.*does not exist"),
    ("order-value", ORDER, order_key(6), to(b"short"), r"'order', row 0000000000000006"),
    ("order-key", ORDER, b"abc", to(batch_key(2, 0, 3)), r"'order', row 616263"),
    ("order-twice", ORDER, order_key(31), to(batch_key(2, 0, 3)), r"position 31.*begins at position 6, not 31"),
    # the index
    ("index-bit", INDEX, a("a", 1), flipped(12), r"key b'a' from version 1.*not what was written"),
    ("index-short", INDEX, a("a", 1), to(b"\1"), r"key b'a' from version 1.*not what was written"),
    ("index-newer", INDEX, a("a", 1), to(b""), r"key b'a'"),
    ("index-gone", INDEX, a("b", 1), gone, r"accounts\[0\] offset 1.*index.*does not have it under key b'b'"),
    ("index-key", INDEX, entity_prefix(1, b"a")[:-1] + version_key(1), to(entries()), r"key is not what was written"),
    ("index-version-0", INDEX, a("z", 0), to(entries()), r"version 0, but the first is 1"),
    ("index-no-topic", INDEX, entity_prefix(9, b"a") + version_key(1), to(entries()), r"topic id 9.*does not exist"),
    ("index-no-index", INDEX, entity_prefix(2, b"a") + version_key(1), to(entries()), r"orders.*has no index"),
    ("index-overlap", INDEX, a("a", 2), to(entries()), r"from version 2 on: it begins at version 2, .* ends at 4"),
    ("index-fields", INDEX, a("z", 1), to(entries((1, 2))), r"key b'z'.*six fields"),
    ("index-types", INDEX, a("z", 1), to(entries((0, 0, 1, 3, "text", ()))), r"key b'z'.*of the wrong type"),
    ("index-place", INDEX, a("z", 1), to(entries((0, -1, 1, 3, b"v", ()))), r"key b'z'.*no valid partition"),
    (
        "index-out-of-range",
        INDEX,
        a("z", 1),
        to(entries((0, 70, 1, 3, b"v", ()))),
        r"offset 70 of partition 0, where there is no",
    ),
    (
        "index-no-partition",
        INDEX,
        a("z", 1),
        to(entries((7, 0, 1, 3, b"v", ()))),
        r"partition 7, where there is no record",
    ),
    ("index-extra", INDEX, a("z", 1), to(entries((0, 1, 1, 4, b"b1", ()))), r"key b'z'.*: the key of version 1"),
    # snapshots
    ("snapshot-short", SNAPSHOTS, entity_prefix(1, b"a"), to(b"abc"), r"snapshot of key b'a'.*a snapshot"),
    ("snapshot-ahead", SNAPSHOTS, entity_prefix(1, b"a"), to(struct.pack(">Qq", 4, 1)), r"version 4, but .* version 3"),
    ("snapshot-0", SNAPSHOTS, entity_prefix(1, b"a"), to(bytes(16)), r"0 is not a number from 1"),
    ("snapshot-no-topic", SNAPSHOTS, entity_prefix(9, b"a"), to(bytes(16)), r"snapshot of key b'a' of topic id 9"),
    ("snapshot-key", SNAPSHOTS, struct.pack(">I", 1) + b"a", to(bytes(16)), r"its key is not what was written"),
    # message ids
    ("message-short", MESSAGES, struct.pack(">I", 1) + b"m1", to(b"\1bc"), r"message id b'm1'.*not what was written"),
    ("message-gone", MESSAGES, struct.pack(">I", 1) + b"m1", gone, r"message id b'm1' of accounts.*leads to no record"),
    ("message-time-gone", MESSAGES, struct.pack(">I", 1) + b"m1", message(stored_ms=7), r"b'm1'.*never expires"),
    ("message-offset", MESSAGES, struct.pack(">I", 1) + b"m1", message(offset=1), r"b'm1'.*timestamp or position"),
    ("message-end", MESSAGES, struct.pack(">I", 1) + b"m1", message(offset=99), r"b'm1'.*offset 99 .* no record"),
    ("message-partition", MESSAGES, struct.pack(">I", 1) + b"m1", message(partition=5), r"b'm1'.*partition 5"),
    ("message-digest", MESSAGES, struct.pack(">I", 1) + b"m1", message(digest=bytes(8)), r"b'm1'.*another key, value"),
    ("message-version", MESSAGES, struct.pack(">I", 1) + b"m1", message(version=2), r"b'm1'.*version 2 of its key"),
    ("message-version-0", MESSAGES, struct.pack(">I", 1) + b"m1", message(version=0), r"b'm1'.*version 0 of its key"),
    ("message-no-topic", MESSAGES, struct.pack(">I", 9) + b"m1", to(bytes(53)), r"b'm1' of topic id 9.*not exist"),
    ("time-key", MESSAGE_TIMES, b"abc", to(b""), r"'message times', row 616263"),
    ("time-no-topic", MESSAGE_TIMES, time_key(9, 1) + b"m", to(b""), r"'message times', message id b'm' of topic id 9"),
    ("time-value", MESSAGE_TIMES, time_key(1, 1) + b"m1", to(b"x"), r"b'm1'.*not empty"),
    ("time-twice", MESSAGE_TIMES, time_key(1, 1) + b"m1", to(b""), r"b'm1'.*order of time at 1, but was stored"),
    # small tables
    ("topic", TOPICS, b"orders", to(b"\xc1"), r"table 'topics', row b'orders'"),
    ("topic-numbers", TOPICS, b"z", lambda _: b"\x80", r"table 'topics', row b'z'"),
    ("partition-short", PARTITIONS, partition_key(2, 0), to(b"abc"), r"orders\[0\].*bounds of a partition"),
    ("partition-none", PARTITIONS, partition_key(2, 5), to(PartitionRow(1, 1, 1).pack()), r"orders\[5\].*no such"),
    ("partition-order", PARTITIONS, partition_key(1, 1), to(PartitionRow(2, 1, 1).pack()), r"accounts\[1\].*offset 2"),
    ("format-end", FORMAT, b"end position", to(b"abc"), r"'end position': .*requires a buffer of 8 bytes"),
    ("format-old", FORMAT, b"old positions", to(b"abc"), r"'old positions': .*requires a buffer of 8 bytes"),
    ("deletions", FORMAT, b"deletions", to(b"abc"), r"row b'deletions': .*the deletions of the log"),
    ("deletions-key", FORMAT, b"deletions abc", to(bytes(16)), r"row b'deletions abc': .*requires a buffer of 8 bytes"),
    ("format-next", FORMAT, b"next topic id", to(bytes([0, 0, 0, 2])), r"topic id 2: it would be given"),
    ("format-next-gone", FORMAT, b"next topic id", gone, r"topic id 2: it would be given"),
    ("group", GROUPS, b"billing", to(b"\xc1"), r"group 'billing'"),
    ("offset", OFFSETS, b"billing\0" + partition_key(2, 0), to(b"\1"), r"group 'billing'.*committed offset"),
    (
        "offset-topic",
        OFFSETS,
        b"billing\0" + partition_key(9, 0),
        to(pack_offset(CommittedOffset(1, 1))),
        r"for partition 0 of topic id 9",
    ),
    (
        "member-alone",
        MEMBERS,
        b"lost\0" + b"a" * 32,
        to(pack_member(MEMBER)),
        r"group 'lost': it has members and no row",
    ),
    ("state", STATES, b"totals", to(b"\xc1"), r"table 'states', row b'totals'"),
    ("state-key", STATE, b"abc", to(b"v"), r"'state', row 616263: its key has no state id"),
    ("state-row", STATE, struct.pack(">I", 77) + b"k", to(b"v"), r"state id 77, which does not exist"),
    ("producer", PRODUCERS, b"p", to(b"\xc1"), r"table 'producers', row b'p'"),
    ("sequence-key", SEQUENCES, b"abc", to(b"\xc1"), r"table 'sequences', row b'abc'"),
    ("sequence", SEQUENCES, sequence_key(1, 2, 0), to(SequenceRow().pack()), r"producer id 1, which does not exist"),
    ("projection", PROJECTIONS, b"totals", to(b"\xc1"), r"table 'projections', row b'totals'"),
]


@pytest.mark.parametrize(
    ("table", "key", "how", "complaint"), [one[1:] for one in SPOILED], ids=[o[0] for o in SPOILED]
)
def test_a_spoiled_row_is_a_problem(
    log: eventlog.EventLog, table: bytes, key: bytes, how: Change, complaint: str
) -> None:
    """Of the report, and never an error."""
    change(log, table, key, how)
    problems = log.verify().problems
    assert any(re.search(complaint, line, re.DOTALL) for line in problems), problems
    assert len(problems) <= 6, "one row is spoiled, and the others are blamed"


def entry_of(log: eventlog.EventLog, key: bytes) -> list[Any]:
    """The entries of an index row."""
    with log._store.environment.reading() as transaction:
        data = transaction.get(key, db=log._store.environment.table(INDEX))
        assert data is not None
        return [None if entry is None else list(entry) for entry in unpack_row(bytes(data), "a row")]


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        (1, 1, "the key of version 1"),
        (2, 99, "the timestamp of version 1"),
        (3, 2, "the position of version 1"),
        (4, b"other", "the content of version 1"),
        (4, None, "the content of version 1"),
        (5, (("h", b"1"),), "the content of version 1"),
    ],
)
def test_an_entry_that_is_not_its_record_is_a_problem(
    log: eventlog.EventLog, field: int, value: Any, complaint: str
) -> None:
    """Although its row has a checksum that holds."""
    row = entry_of(log, a("a", 1))
    row[0][field] = value
    change(log, INDEX, a("a", 1), to(entries(*row)))
    assert any(complaint in line for line in log.verify().problems)


def test_versions_in_another_order_than_the_log_are_a_problem(log: eventlog.EventLog) -> None:
    """Both records are there, each in the place of the other."""
    row = entry_of(log, a("a", 1))
    change(log, INDEX, a("a", 1), to(entries(row[1], row[0], row[2])))
    assert any("version 2 has position 3, but the one before it 5" in line for line in log.verify().problems)


def test_a_record_that_is_in_the_index_twice_is_a_problem(log: eventlog.EventLog) -> None:
    """Under one key, the second time as a later version."""
    row = entry_of(log, a("a", 1))
    change(log, INDEX, a("a", 1), to(entries(*row, row[2])))
    assert any("version 4 has position 7, but the one before it 7" in line for line in log.verify().problems)


def test_a_deleted_record_that_is_still_in_the_index_is_a_problem(log: eventlog.EventLog) -> None:
    """Nobody may read it any more."""
    row = entry_of(log, a("a", 1))
    log.topic("accounts", key=str).delete_records({0: 3})
    assert log.verify().problems == ()
    change(log, INDEX, a("a", 1), to(entries(*row)))
    assert any(
        "version 1 is at offset 0 of partition 0, where there is no record" in line for line in log.verify().problems
    )


def test_a_row_behind_an_empty_one_is_a_problem(log: eventlog.EventLog) -> None:
    """An empty row says where a key goes on, so it is the last."""
    log.topic("accounts", key=str).delete_records({0: 4})
    change(log, INDEX, a("c", 5), to(entries()))
    assert any("after an empty row" in line for line in log.verify().problems)


def test_a_gap_in_the_order_is_a_problem_where_nothing_was_deleted(log: eventlog.EventLog) -> None:
    """What was deleted leaves gaps, but only below the end of then."""
    change(log, ORDER, order_key(6), gone)
    change(log, BATCHES, batch_key(2, 0, 3), gone)
    assert any("no batch has the positions from 6 to 7" in line for line in log.verify().problems)
    change(log, FORMAT, b"end position", to(struct.pack(">Q", 6)))
    assert any("no batch has the positions from 6 to 7" in line for line in log.verify().problems)
    change(log, FORMAT, b"end position", to(struct.pack(">Q", 7)))
    assert not any("no batch has" in line for line in log.verify().problems)


def test_positions_in_two_batches_are_a_problem(log: eventlog.EventLog) -> None:
    """The second of them says so."""
    change(log, BATCHES, batch_key(2, 0, 3), lambda data: batch_at(5, 2))
    change(log, ORDER, order_key(6), to(batch_key(2, 0, 3)))
    assert any("begins at position 5, but the one before it ends at 6" in line for line in log.verify().problems)


def test_two_topics_of_one_id_are_a_problem(log: eventlog.EventLog) -> None:
    """Each would read the records of the other."""
    change(log, TOPICS, b"orders", topic_id(1))
    assert "topic id 1: two of them have it." in log.verify().problems


def test_thousands_of_problems_are_counted(log: eventlog.EventLog) -> None:
    """The first are named."""
    environment = log._store.environment
    transaction = environment.begin_writing()
    for number in range(1500):
        key = b"bad %d" % number
        transaction.put(key, sealed(ORDER, key, b""), db=environment.table(ORDER))
    environment.commit(transaction)
    problems = log.verify().problems
    assert len(problems) == 1001
    assert problems[-1] == "and 500 more problems."


def test_every_table_can_be_filled_with_nonsense(log: eventlog.EventLog, rng: Any) -> None:
    """`verify` reads on."""
    for table in TABLES:
        if table != FORMAT:
            for _ in range(30):
                change(log, table, rng.randbytes(rng.randrange(1, 40)), to(rng.randbytes(rng.randrange(60))))
    assert len(log.verify().problems) > 100


def test_every_row_can_be_mutated(log: eventlog.EventLog, rng: Any) -> None:
    """One bit or more of each, one after the other: never an error."""
    environment = log._store.environment
    rows = []
    for table in TABLES:
        with environment.reading() as transaction, transaction.cursor(db=environment.table(table)) as cursor:
            rows += [(table, bytes(key), unsealed(table, bytes(key), bytes(data))) for key, data in cursor.iternext()]
    rows = [row for row in rows if row[2]]
    for table, key, data in rows:
        if key == b"eventlog":
            continue
        for _ in range(5):
            change(log, table, key, flipped(rng.randrange(len(data))))
            log.verify()
        change(log, table, key, to(data))
    assert log.verify().problems == ()


# --- sound logs -----------------------------------------------------------------------------------------------------


def test_a_log_that_is_written_to_and_deleted_from_meanwhile_is_sound(path: Any) -> None:
    """Every check looks at one commit, so none takes half a change for damage."""
    with eventlog.open(path) as log:
        accounts = log.topic("accounts", partitions=2, key=int, index="key", duplicate_window=0.001)
        orders = log.topic("orders")
        is_over = threading.Event()

        def write() -> None:
            number = 0
            while not is_over.is_set():
                number += 1
                accounts.append_many(
                    [b"v" * (number % 3 * 700)] * 20,
                    keys=[one % 7 for one in range(20)],
                    message_ids=[f"{number}-{one}" for one in range(20)],
                )
                orders.append(b"v")
                if number % 5 == 0:
                    ends = {partition: end for partition, (_, end) in accounts.bounds().items()}
                    accounts.delete_records({partition: end - 5 for partition, end in ends.items() if end > 5})
                    log.topic(f"t{number}", index="key").append_many([b"1", b"2"], keys=[b"a", b"b"])
                if number % 10 == 0:
                    log.delete_topic(f"t{number}")

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(40):
                assert log.verify().problems == ()
        finally:
            is_over.set()
            writer.join()
        assert log.verify().problems == ()


def test_sums_that_differ_alone_are_no_problem(log: eventlog.EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then every record is looked up, and found."""
    monkeypatch.setattr(IndexSums, "unequal_topics", lambda self: [1, 2, 99])
    assert log.verify().problems == ()


def test_progress_is_told_outside_of_transactions(log: eventlog.EventLog) -> None:
    """It may do with the log what it likes."""
    seen: list[int] = []

    def progress(stored_bytes: int) -> None:
        seen.append(stored_bytes)
        log.topic("progress").append(b"tea")

    report = log.verify(progress=progress)
    assert seen
    assert seen == sorted(seen)
    assert report.problems == ()


def test_entries_of_another_policy_are_no_problem(log: eventlog.EventLog) -> None:
    """An eventlog that keeps larger or smaller values in the index wrote the same."""
    row = entry_of(log, a("a", 1))
    row[2][4:] = [b"x" * 3000, (("h", b"1"),)]
    row[0][4:] = [None, None]
    change(log, INDEX, a("a", 1), to(entries(*row)))
    assert log.verify().problems == ()
    assert pack_entries(0, (0,), (0,), (0,), (b"v",), ((),)) == [msgpack.packb((0, 0, 0, 0, b"v", ()))]
