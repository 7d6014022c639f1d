"""Record batches of Kafka's clients: appended in one commit, each judged by itself, and read by everybody."""

from __future__ import annotations

import gzip
import itertools
import mmap
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog.backend.kafka import KafkaAppend, KafkaFetch, KafkaRefusal
from eventlog.batches.header import KAFKA, read_header
from tests.kafka.record_batches import NOW_MS, Sent, backend_of, fetch, produce, produce_one, producer_id, record_batch

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(autouse=True)
def orders(log: Any) -> Any:
    """A topic with three partitions."""
    return log.topic("orders", partitions=3)


def test_native_readers_get_the_records(log: Any, orders: Any) -> None:
    """With keys, values, headers, times, tombstones and nulls, in the partition's order beside those of others."""
    orders.append(b"before", partition=1)
    sent = [
        Sent(b"one", b"k", NOW_MS + 5, [("trace", b"7"), ("none", None)]),
        Sent(None, b"k", NOW_MS),
        Sent(b"", None, NOW_MS + 9),
    ]
    reply = produce_one(log, record_batch(*sent), partition=1)
    assert (reply.error, reply.base_offset, reply.log_start, reply.append_ms) == (None, 1, 0, -1)
    orders.append(b"behind", partition=1)
    records = list(orders.read(1))
    assert [one.value for one in records] == [b"before", b"one", None, b"", b"behind"]
    assert [one.offset for one in records] == [0, 1, 2, 3, 4]
    assert [one.key for one in records[1:4]] == [b"k", b"k", None]
    assert [one.timestamp_ms for one in records[1:4]] == [NOW_MS + 5, NOW_MS, NOW_MS + 9]
    assert records[1].headers == (("trace", b"7"), ("none", None))
    assert [one.value for _, one in log.read_all()] == [b"before", b"one", None, b"", b"behind"]


def test_the_bytes_are_kept_but_for_base_offset_and_leader_epoch(log: Any) -> None:
    """What another client reads is what the first one sent, checksum and compression included."""
    plain, packed = record_batch(b"a", b"b"), record_batch(b"c" * 500, compression=1)
    assert [reply.base_offset for reply in produce(log, ("orders", 0, plain), ("orders", 0, packed))] == [0, 2]
    answer = fetch(log)
    assert (answer.error, answer.log_start, answer.high_watermark, answer.last_stable) == (None, 0, 3, 3)
    assert list(answer.aborted) == []
    for offset, sent, (last, data) in zip((0, 2), (plain, packed), answer.batches, strict=True):
        header = read_header(data, "a batch")
        assert header.kind == KAFKA
        assert last == offset + header.span - 1
        body = data[header.body_at : -4]
        assert struct.unpack_from(">qii", body)[::2] == (offset, 0)
        assert (body[8:12], body[16:]) == (sent[8:12], sent[16:])


def test_a_batch_that_is_refused_leaves_the_others(log: Any, orders: Any) -> None:
    """Each has its own reply, and all that are right are in one commit."""
    before = backend_of(log).last_transaction()
    bad = bytearray(record_batch(b"bad"))
    bad[-1] ^= 1
    replies = produce(
        log, ("orders", 0, record_batch(b"a")), ("orders", 1, bytes(bad)), ("orders", 2, record_batch(b"c"))
    )
    assert [reply.base_offset for reply in replies] == [0, -1, 0]
    assert [type(reply.error) for reply in replies] == [type(None), KafkaRefusal, type(None)]
    assert orders.bounds() == {0: (0, 1), 1: (0, 0), 2: (0, 1)}
    assert backend_of(log).last_transaction() == before + 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "INVALID_RECORD"),
        (record_batch(b"x")[:40], "INVALID_RECORD"),
        (record_batch(b"x", longer=1), "INVALID_RECORD"),
        (record_batch(b"x") + record_batch(b"y"), "INVALID_RECORD"),
        (record_batch(b"x", longer=-1), "CORRUPT_MESSAGE"),
        (record_batch(b"x", longer=-60), "CORRUPT_MESSAGE"),
        (record_batch(b"x", magic=1), "INVALID_RECORD"),
        (record_batch(b"x", magic=3), "CORRUPT_MESSAGE"),
        (record_batch(b"x", data=b"\xff" * 20), "INVALID_RECORD"),
        (record_batch(b"x", compression=1, data=b"no gzip"), "INVALID_RECORD"),
        (record_batch(b"x", compression=1, data=gzip.compress(b"no records", mtime=0)), "INVALID_RECORD"),
        (record_batch(b"x", compression=4, data=b"no zstd"), "INVALID_RECORD"),
        (record_batch(b"x", b"y", count=1), "INVALID_RECORD"),
        (record_batch(b"x", count=0, last=-1), "INVALID_RECORD"),
        (record_batch(b"x", attributes=1 << 5), "INVALID_RECORD"),
        (record_batch(b"x", attributes=7), "UNSUPPORTED_COMPRESSION_TYPE"),
        (record_batch(Sent(b"x", ms=NOW_MS + 1)), "INVALID_TIMESTAMP"),
        (record_batch(b"x", producer=(5, -1, 0)), "INVALID_PRODUCER_EPOCH"),
        (record_batch(b"x", producer=(5, 0, -1)), "INVALID_RECORD"),
        (record_batch(b"x", producer=(5, 0, 0)), "UNKNOWN_PRODUCER_ID"),
    ],
    ids=itertools.count(),
)
def test_what_kafka_refuses_is_refused_with_its_code(data: bytes, code: str, log: Any, orders: Any) -> None:
    """Nothing of it is stored, and the message says what is wrong."""
    error = produce_one(log, data, latest_ms=NOW_MS).error
    assert isinstance(error, KafkaRefusal)
    assert error.code == code
    assert "orders[0]" in error.what
    assert error.stored
    assert error.advice
    assert (error.topic, error.partition) == ("orders", 0)
    assert orders.bounds() == {0: (0, 0), 1: (0, 0), 2: (0, 0)}


def test_a_request_that_is_refused_completely_commits_nothing(log: Any) -> None:
    """It is done before it is submitted."""
    backend = backend_of(log)
    before = backend.last_transaction()
    error = produce_one(log, record_batch(b"x", magic=0)).error
    assert isinstance(error, KafkaRefusal)
    assert backend.last_transaction() == before


def test_the_largest_record_of_a_topic_bounds_a_batch(log: Any) -> None:
    """As max.message.bytes does; one of exactly that size is stored."""
    data = record_batch(b"x" * 1_000)
    log.topic("small", max_record_bytes=len(data))
    log.topic("smaller", max_record_bytes=len(data) - 1)
    first, second = produce(log, ("small", 0, data), ("smaller", 0, data))
    assert first.error is None
    assert isinstance(second.error, eventlog.RecordTooLarge)


def test_topics_and_partitions_that_are_not_there(log: Any) -> None:
    """One that was deleted since the client asked for it, and one that never was."""
    log.topic("gone")
    gone = backend_of(log).require_topic("gone")
    log.delete_topic("gone")
    log.topic("gone")
    backend = backend_of(log)
    parts = [
        KafkaAppend(gone, 0, record_batch(b"x")),
        KafkaAppend(backend.require_topic("orders"), 3, record_batch(b"y")),
    ]
    pending = backend.prepare_produce(parts, lambda: None)
    backend.submit(pending)
    assert backend.wait(pending, 10.0)
    assert [type(reply.error) for reply in pending.replies] == [eventlog.UnknownTopic, eventlog.UnknownPartition]


@pytest.mark.skipif(mmap.PAGESIZE != 4096, reason="the golden logs have pages of 4096 bytes")
def test_a_log_of_format_3_takes_none(tmp_path: Path) -> None:
    """It has no batches of that kind; an upgrade makes it one that has."""
    shutil.copytree(GOLDEN / "log-v3", tmp_path / "log")
    with eventlog.open(tmp_path / "log") as old:
        old.topic("orders")
        with pytest.raises(eventlog.FormatTooOld, match="format 3, without such batches"):
            produce_one(old, record_batch(b"x"))
    with eventlog.open(tmp_path / "log", upgrade=True) as new:
        new.topic("orders")
        assert produce_one(new, record_batch(b"x")).error is None
        assert new.verify().is_sound


def test_a_log_that_was_opened_for_reading_takes_none(path: Path) -> None:
    """And gives all that it has."""
    with eventlog.open(path) as log:
        log.topic("orders")
        produce_one(log, record_batch(b"x"))
    with eventlog.open(path, read_only=True) as reader:
        assert len(fetch(reader).batches) == 1
        with pytest.raises(eventlog.ReadOnlyLog):
            produce_one(reader, record_batch(b"x"))
        with pytest.raises(eventlog.ReadOnlyLog):
            producer_id(reader)


# -- fetch ---------------------------------------------------------------------------------------------------


def test_a_fetch_begins_with_the_batch_that_holds_the_offset(log: Any, orders: Any) -> None:
    """Whole batches, as Kafka's clients expect; those before the offset they skip themselves."""
    produce(log, ("orders", 0, record_batch(b"a", b"b", b"c")), ("orders", 0, record_batch(b"d", b"e")))
    assert [one.last for one in fetch(log, 2).batches] == [2, 4]
    assert [one.last for one in fetch(log, 3).batches] == [4]
    assert fetch(log, 5).batches == []
    assert fetch(log, 5).error is None


def test_a_fetch_outside_of_the_bounds_says_them(log: Any, orders: Any) -> None:
    """Both sides, and in a partition without records."""
    produce_one(log, record_batch(b"a", b"b", b"c"))
    orders.delete_records({0: 2})
    for offset in (1, 4):
        answer = fetch(log, offset)
        assert isinstance(answer.error, eventlog.OffsetOutOfRange)
        assert (answer.log_start, answer.high_watermark) == (2, 3)
    assert fetch(log, 2).error is None
    assert fetch(log, 0, partition=1).error is None
    assert isinstance(fetch(log, 1, partition=1).error, eventlog.OffsetOutOfRange)


def test_a_batch_comes_even_if_it_is_larger_than_the_bounds(log: Any) -> None:
    """The first that is found; then no more than fits, for one partition and for all."""
    for partition in range(3):
        for _ in range(3):
            produce_one(log, record_batch(b"x" * 1000), partition=partition)
    backend = backend_of(log)
    topic_id = backend.require_topic("orders").id

    def counts(max_bytes: int, *bounds: int) -> list[int]:
        requests = [KafkaFetch(topic_id, partition, 0, bound) for partition, bound in enumerate(bounds)]
        return [len(one.batches) for one in backend.fetch_stored(requests, max_bytes)[0]]

    assert counts(1, 1, 1, 1) == [1, 0, 0]
    assert counts(1 << 20, 2500, 1, 1 << 20) == [2, 0, 3]
    assert counts(5000, 3000, 3000, 3000) == [2, 2, 0]
    assert counts(0, 0, 0, 0) == [1, 0, 0]


# -- the index, and the rules of a topic ---------------------------------------------------------------------


def test_records_go_into_the_index_of_a_topic(log: Any) -> None:
    """History and newest record of a key have them, between those of native producers."""
    accounts = log.topic("accounts", key=str, index="key")
    accounts.append(b"0", key="a")
    produce_one(log, record_batch(Sent(b"1", b"a"), Sent(b"x", b"b"), Sent(b"2", b"a"), b"keyless"), "accounts")
    accounts.append(b"3", key="a")
    assert [event.value for event in accounts.history("a")] == [b"0", b"1", b"2", b"3"]
    assert [event.version for event in accounts.history("a")] == [1, 2, 3, 4]
    assert accounts.latest("b").value == b"x"
    assert log.verify().is_sound


def test_a_compacted_topic_wants_keys(log: Any) -> None:
    """As Kafka's does, and as our own producers are told."""
    log.topic("newest", compaction="key")
    error = produce_one(log, record_batch(Sent(b"1", b"a"), b"keyless"), "newest").error
    assert isinstance(error, KafkaRefusal)
    assert error.code == "INVALID_RECORD"
    assert produce_one(log, record_batch(Sent(b"1", b"a")), "newest").error is None
