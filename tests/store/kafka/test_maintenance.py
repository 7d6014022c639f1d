"""Batches of Kafka's clients under everything that rewrites, copies, cuts or mends a log; and served again after it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import attrs
import lz4.frame
import pytest

import eventlog
from eventlog import testing
from eventlog.batches.header import read_header
from eventlog.batches.kafka_batch import HEAD_BYTES, KafkaHead, accept, read_records
from eventlog.batches.kafka_builder import record_batch_of
from tests.clients.helpers import rewrite_batch
from tests.kafka.record_batches import NOW_MS, Sent, fetch, produce_one, producer_id, record_batch
from tests.kafka.transactional import Transactional, fetch_committed, kept_offsets


def served(log: Any, topic: str, partition: int) -> list[tuple[Any, ...]]:
    """The records that a client of Kafka's gets of a partition: what its batches say, read from the bytes alone."""
    answer = fetch(log, log.topic(topic).bounds()[partition][0], topic, partition, max_bytes=1 << 30)
    assert answer.error is None
    found, end = [], 0
    for last, data in answer.batches:
        sent = bytes(record_batch_of(data, last, "a batch"))
        _, head = accept(sent)
        assert head.base_offset >= end
        end = head.base_offset + head.last_delta + 1
        assert end == last + 1
        for ms, key, value, headers, delta in zip(*read_records(sent, "a batch"), strict=True):
            found.append((head.base_offset + delta, ms, key, value, tuple(headers)))
    assert not answer.batches or end == answer.high_watermark
    return found


def read(log: Any, topic: str, partition: int) -> list[tuple[Any, ...]]:
    """The same by a native reader."""
    records = log.topic(topic).read(partition)
    return [(one.offset, one.timestamp_ms, one.key, one.value, tuple(one.headers)) for one in records]


def check(log: Any, *topics: str) -> None:
    """Both readers find the same, and `verify` finds nothing wrong."""
    assert log.verify().problems == ()
    for topic in topics:
        for partition, (first, _) in log.topic(topic).bounds().items():
            native = read(log, topic, partition)
            assert [one for one in served(log, topic, partition) if one[0] >= first] == native


def write(log: Any, topic: str, chance: random.Random, count: int = 25, *, keys: int = 6) -> None:
    """Batches of native producers and of Kafka's in turns, of every compression."""
    for number in range(count):
        rows = [
            Sent(
                None if chance.random() < 0.2 else b"%d " % number * chance.choice([1, 1, 30]),
                b"key %d" % chance.randrange(keys),
                NOW_MS + chance.randrange(50),
                [("n", b"%d" % number), ("none", None)] if chance.random() < 0.2 else [],
            )
            for _ in range(chance.randrange(1, 9))
        ]
        partition = chance.randrange(2)
        if chance.random() < 0.4:
            log.topic(topic).append_many(
                [row.value for row in rows],
                keys=[row.key for row in rows],
                headers=[row.headers for row in rows],
                partition=partition,
            )
            continue
        compression = chance.choice([0, 1, 3])
        plain = record_batch(*rows)
        packed = lz4.frame.compress(plain[HEAD_BYTES:])
        more = {"data": packed} if compression == 3 else {}
        assert produce_one(log, record_batch(*rows, compression=compression, **more), topic, partition).error is None


@pytest.mark.parametrize("index", [None, "key"])
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_compaction_keeps_the_newest_of_each_key(index: Any, compression: Any, rng: random.Random) -> None:
    """With offset, time and headers; what is gone is a gap for clients of Kafka's, as after Kafka's own cleaner."""
    with testing.open(clock=testing.ManualClock()) as log:
        options = {"compaction": "key", "min_dirty_ratio": 0.0, "index": index, "compression": compression}
        topic: Any = log.topic("users", partitions=2, **options)
        for _ in range(3):
            write(log, "users", rng)
            before = {partition: read(log, "users", partition) for partition in range(2)}
            bounds = topic.bounds()
            log.clean()
            assert topic.bounds() == bounds
            for partition in range(2):
                newest = {one[2]: one for one in before[partition]}
                assert read(log, "users", partition) == sorted(newest.values())
            check(log, "users")


def test_repacking_merges_small_batches(rng: random.Random) -> None:
    """Of both kinds with each other; nothing is lost."""
    clock = testing.ManualClock()
    with testing.open(clock=clock) as log:
        log.topic("users", partitions=2, repack_after=10.0)
        write(log, "users", rng, 80)
        before = {partition: read(log, "users", partition) for partition in range(2)}
        clock.advance(10**9)
        log.clean()
        assert {partition: read(log, "users", partition) for partition in range(2)} == before
        for partition in range(2):
            assert len(fetch(log, 0, "users", partition, max_bytes=1 << 30).batches) <= 2
        check(log, "users")


def test_a_key_is_redacted_in_batches_of_every_kind(rng: random.Random) -> None:
    """Its values and headers are gone from what Kafka's clients are given, too."""
    with eventlog.open(":memory:") as log:
        log.topic("users", partitions=2, index="key")
        write(log, "users", rng)
        secret = record_batch(
            Sent(b"secret", b"key 1", NOW_MS, [("who", b"secret")]), Sent(b"kept", b"key 2"), compression=1
        )
        produce_one(log, secret, "users")
        before = {partition: read(log, "users", partition) for partition in range(2)}
        log.topic("users").redact(b"key 1")
        for partition in range(2):
            wanted = [(*one[:3], None, ()) if one[2] == b"key 1" else one for one in before[partition]]
            assert read(log, "users", partition) == wanted
        check(log, "users")


def test_records_are_deleted_from_the_middle_of_a_batch(log: Any) -> None:
    """The batch stays whole, and its first records are not read; so it is with Kafka's own segments."""
    topic = log.topic("orders")
    produce_one(log, record_batch(*[b"%d" % number for number in range(5)]))
    topic.delete_records({0: 3})
    assert [one.offset for one in topic.read(0)] == [3, 4]
    answer = fetch(log, 3)
    assert (answer.log_start, [last for last, _ in answer.batches]) == (3, [4])
    check(log, "orders")
    topic.delete_records({0: 5})
    assert fetch(log, 5).batches == []
    assert produce_one(log, record_batch(b"next")).base_offset == 5


@attrs.frozen
class Story:
    """A log on disk with batches of both kinds, and what it holds."""

    path: Path
    producer: int
    records: dict[int, list[tuple[Any, ...]]]


@pytest.fixture
def story(tmp_path: Path, rng: random.Random) -> Story:
    """An example."""
    with eventlog.open(tmp_path / "log") as log:
        log.topic("users", partitions=2, index="key")
        write(log, "users", rng)
        producer = producer_id(log)
        for sequence in range(3):
            data = record_batch(Sent(b"%d" % sequence, b"numbered"), producer=(producer, 0, sequence))
            assert produce_one(log, data, "users").error is None
        return Story(tmp_path / "log", producer, {number: read(log, "users", number) for number in range(2)})


def same(story: Story, path: Path) -> None:
    """A copy has all of it, knows the producer, and goes on."""
    with eventlog.open(path) as log:
        assert {number: read(log, "users", number) for number in range(2)} == story.records
        check(log, "users")
        data = record_batch(Sent(b"2", b"numbered"), producer=(story.producer, 0, 2))
        offset = [one[0] for one in story.records[0] if one[2:4] == (b"numbered", b"2")]
        assert produce_one(log, data, "users").base_offset == offset[0]
        data = record_batch(Sent(b"3", b"numbered"), producer=(story.producer, 0, 3))
        assert produce_one(log, data, "users").base_offset == story.records[0][-1][0] + 1
        assert producer_id(log) > story.producer
        assert log.verify().problems == ()


def test_a_compact_copy_has_all_of_it(story: Story, tmp_path: Path) -> None:
    """Batches, index and producers."""
    with eventlog.open(story.path) as log:
        log.compact(tmp_path / "copy")
    same(story, tmp_path / "copy")


def test_a_backup_restores_all_of_it(story: Story, tmp_path: Path) -> None:
    """Also to an earlier position, where nobody knows the sequences of then: producers begin where they like."""
    with eventlog.open(story.path) as log:
        end = log.end_log_position()
        log.backup(tmp_path / "backup")
    assert eventlog.restore(tmp_path / "backup", tmp_path / "newest").problems == ()
    same(story, tmp_path / "newest")
    for position in (end // 3, end - 1):
        new = tmp_path / f"at-{position}"
        assert eventlog.restore(tmp_path / "backup", new, position=position).problems == ()
        with eventlog.open(new) as log:
            assert log.end_log_position() == position
            for partition in range(2):
                found = read(log, "users", partition)
                assert found == story.records[partition][: len(found)]
            check(log, "users")
            data = record_batch(Sent(b"again", b"numbered"), producer=(story.producer, 0, 3))
            assert produce_one(log, data, "users").error is None


def test_a_repair_brings_back_all_of_a_log_that_is_sound(story: Story, tmp_path: Path) -> None:
    """Row by row."""
    report = eventlog.repair(story.path, tmp_path / "new")
    assert report is not None
    same(story, tmp_path / "new")


def test_a_repair_leaves_out_a_damaged_batch(tmp_path: Path) -> None:
    """And no other: what follows it is found, and its offsets belong to nobody."""
    with eventlog.open(tmp_path / "log") as log:
        log.topic("orders")
        for number in range(5):
            produce_one(log, record_batch(b"%d" % number, b"x"))
        rewrite_batch(log.topic("orders"), 5, lambda data: data[:-20] + bytes(20))
        log.compact(tmp_path / "copy")  # else the page of before, which is still in the file, is found
    eventlog.repair(tmp_path / "copy", tmp_path / "new")
    with eventlog.open(tmp_path / "new") as log:
        assert [one[3] for one in read(log, "orders", 0)] == [b"0", b"x", b"1", b"x", b"3", b"x", b"4", b"x"]
        assert [one[0] for one in read(log, "orders", 0)] == [0, 1, 2, 3, 6, 7, 8, 9]
        assert log.verify().problems == ()


@pytest.mark.parametrize("compression", [0, 1])
def test_every_flipped_bit_of_a_batch_is_noticed(log: Any, compression: int) -> None:
    """No reader, native or Kafka's, is given what was not written, or is led past it."""
    topic = log.topic("orders")
    produce_one(log, record_batch(b"one", b"two", compression=compression))
    for bit in range(8 * len(fetch(log).batches[0].data)):

        def flip(data: bytes, bit: int = bit) -> bytes:
            return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]

        rewrite_batch(topic, 1, flip)
        with pytest.raises((eventlog.CorruptBatch, eventlog.FormatTooNew)):
            list(topic.read(0))
        answer = fetch(log)
        if answer.error is None:
            with pytest.raises((eventlog.CorruptBatch, eventlog.FormatTooNew)):
                record_batch_of(answer.batches[0].data, 1, "a batch")
        if bit % 50 == 0:
            assert not log.verify().is_sound
        rewrite_batch(topic, 1, flip)
    assert log.verify().is_sound


def test_a_key_is_redacted_in_transactions_too(log: Any) -> None:
    """What is open or aborted has personal data as well, and stays out of sight; the ends of transactions stay."""
    topic = log.topic("orders")
    commit_key = b"\0\0\0\1"  # that of the control batch which commits
    sent = [Sent(b"secret", commit_key, NOW_MS + 5, [("who", b"secret")]), Sent(b"kept", b"k", NOW_MS)]
    producers = [Transactional(log, f"till-{number}") for number in range(3)]
    for producer in producers:
        producer.send(*sent)
    producers[0].abort()
    producers[1].commit()
    before = [(last, read_header(data, "it").kind) for last, data in fetch(log).batches]
    assert topic.redact(commit_key).record_count == 3
    answer = fetch(log)
    assert [(last, read_header(data, "it").kind) for last, data in answer.batches] == before
    assert not any(b"secret" in data for _, data in answer.batches)
    assert log.verify().problems == ()
    wanted = [(2, NOW_MS + 5, commit_key, None, ()), (3, NOW_MS, b"k", b"kept", ())]
    assert read(log, "orders", 0) == wanted
    producers[2].commit()
    assert read(log, "orders", 0) == [*wanted, (4, NOW_MS + 5, commit_key, None, ()), (5, NOW_MS, b"k", b"kept", ())]
    answer = fetch_committed(log)
    assert kept_offsets(answer) == [3, 5]
    stored = [accept_stored(bytes(record_batch_of(data, last, "it"))) for last, data in answer.batches[:3]]
    assert [(head.producer_id, head.sequence) for head in stored] == [(one.producer_id, 0) for one in producers]


def accept_stored(data: bytes) -> KafkaHead:
    """The header of a record batch whose checksum holds."""
    return accept(data)[1]
