"""Produce: each partition has its own answer, and all of one request are one commit."""

from __future__ import annotations

import gc
import gzip
import select
import struct
import tracemalloc
from typing import Any

import pytest

import eventlog
import eventlog.kafka
from eventlog import testing
from eventlog.kafka.listener.produce import _Waiting
from eventlog.kafka.protocol import ApiKey, ErrorCode
from tests.clients.helpers import round_count
from tests.kafka.record_batches import NOW_MS, Sent, produce, record, record_batch
from tests.kafka.wire import Wire


def request(*parts: tuple[str, int, bytes | None], acks: int = -1, timeout_ms: int = 10_000) -> dict[str, Any]:
    """A request of these partitions and record batches."""
    topics: dict[str, list[dict[str, Any]]] = {}
    for topic, partition, records in parts:
        topics.setdefault(topic, []).append({"index": partition, "records": records})
    data = [{"name": name, "partition_data": partitions} for name, partitions in topics.items()]
    return {"acks": acks, "timeout_ms": timeout_ms, "topic_data": data}


def outcomes(answer: dict[str, Any]) -> list[tuple[str, int, int, int]]:
    """Topic, partition, error and offset of each part of an answer."""
    return [
        (topic["name"], one["index"], one["error_code"], one["base_offset"])
        for topic in answer["responses"]
        for one in topic["partition_responses"]
    ]


def test_every_version_stores(log: eventlog.EventLog, wire: Wire) -> None:
    """From the first that Kafka 4 takes on."""
    topic = log.topic("orders")
    for number, version in enumerate(range(3, 12)):
        answer = wire.ask(ApiKey.PRODUCE, version, request(("orders", 0, record_batch(b"%d" % version))))
        assert outcomes(answer) == [("orders", 0, 0, number)]
    assert [record.value for record in topic.read()] == [b"%d" % version for version in range(3, 12)]


def test_all_partitions_of_a_request_are_one_commit(log: eventlog.EventLog, wire: Wire) -> None:
    """Of several topics, too."""
    log.topic("orders", partitions=8)
    log.topic("payments", partitions=8)
    before = round_count(log)
    parts = [(name, number, record_batch(b"tea")) for name in ("orders", "payments") for number in range(8)]
    answer = wire.ask(ApiKey.PRODUCE, 9, request(*parts))
    assert outcomes(answer) == [(name, number, 0, 0) for name, number, _ in parts]
    assert round_count(log) == before + 1


def test_each_part_is_judged_alone(log: eventlog.EventLog, wire: Wire) -> None:
    """A damaged batch, an unknown topic, a partition that is not there, no records; the rest is stored."""
    log.topic("orders", partitions=6)
    damaged = bytearray(record_batch(b"tea"))
    damaged[-1] ^= 1
    late = record_batch(Sent(b"late", ms=NOW_MS * 2))
    answer = wire.ask(
        ApiKey.PRODUCE,
        9,
        request(
            ("orders", 0, record_batch(b"tea")),
            ("orders", 1, bytes(damaged)),
            ("orders", 6, record_batch(b"tea")),
            ("orders", -1, record_batch(b"tea")),
            ("orders", 2, None),
            ("orders", 3, b""),
            ("orders", 4, late),
            ("orders", 5, record_batch(b"coffee")),
            ("nowhere", 0, record_batch(b"tea")),
        ),
    )
    assert [one[2] for one in outcomes(answer)] == [
        ErrorCode.NONE,
        ErrorCode.CORRUPT_MESSAGE,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.INVALID_RECORD,
        outcomes(answer)[5][2],
        ErrorCode.INVALID_TIMESTAMP,
        ErrorCode.NONE,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ]
    assert outcomes(answer)[5][2] != 0
    assert sorted(record.value for record in log.topic("orders").read()) == [b"coffee", b"tea"]


def test_requests_that_came_together_are_stored_in_order_by_few_commits(log: eventlog.EventLog, wire: Wire) -> None:
    """The next produce begins while the one before waits for its commit; the answers come in order."""
    topic, count = log.topic("orders"), 30
    before = round_count(log)
    data = b"".join(
        wire.encoded(ApiKey.PRODUCE, 9, request(("orders", 0, record_batch(b"%d" % number)))) for number in range(count)
    )
    wire.socket.sendall(data)
    ids = [struct.unpack_from(">i", wire.receive_bytes())[0] for _ in range(count)]
    assert ids == list(range(1, count + 1))
    assert [record.value for record in topic.read()] == [b"%d" % number for number in range(count)]
    assert round_count(log) - before < count / 2


def test_a_request_without_acknowledgement_has_no_answer(log: eventlog.EventLog, wire: Wire) -> None:
    """The next request is answered, and the records are stored before."""
    topic = log.topic("orders")
    for _ in range(3):
        wire.send(ApiKey.PRODUCE, 9, request(("orders", 0, record_batch(b"tea")), acks=0), is_answered=False)
    answer = wire.ask(ApiKey.PRODUCE, 9, request(("orders", 0, record_batch(b"coffee"))))
    assert outcomes(answer) == [("orders", 0, 0, 3)]
    assert [record.value for record in topic.read()] == [b"tea", b"tea", b"tea", b"coffee"]


def test_a_failure_without_acknowledgement_closes_the_connection(kafka: eventlog.kafka.Listener, wire: Wire) -> None:
    """There is no other way to tell the client, which then asks for the topics again."""
    wire.send(ApiKey.PRODUCE, 9, request(("nowhere", 0, record_batch(b"tea")), acks=0), is_answered=False)
    assert wire.is_closed()


def test_an_acknowledgement_that_there_is_not_is_refused(log: eventlog.EventLog, wire: Wire) -> None:
    """Nothing is stored."""
    topic = log.topic("orders")
    answer = wire.ask(ApiKey.PRODUCE, 9, request(("orders", 0, record_batch(b"tea")), acks=2))
    assert outcomes(answer) == [("orders", 0, ErrorCode.INVALID_REQUIRED_ACKS, -1)]
    assert list(topic.read()) == []


def test_a_batch_of_an_idempotent_producer_is_stored_once(log: eventlog.EventLog, wire: Wire) -> None:
    """Sent again it has its offset; one that is missing is told."""
    topic = log.topic("orders")
    producer_id = wire.ask(ApiKey.INIT_PRODUCER_ID, 4, {"transactional_id": None})["producer_id"]
    assert producer_id != wire.ask(ApiKey.INIT_PRODUCER_ID, 0, {"transactional_id": None})["producer_id"]
    first, second, fourth = (record_batch(b"%d" % number, producer=(producer_id, 0, number)) for number in (0, 1, 3))
    found = [wire.ask(ApiKey.PRODUCE, 9, request(("orders", 0, data))) for data in (first, second, first, fourth)]
    assert [outcomes(answer)[0][2:] for answer in found] == [
        (0, 0), (0, 1), (0, 0), (ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, -1),
    ]  # fmt: skip
    assert [record.value for record in topic.read()] == [b"0", b"1"]


def test_a_full_disk_and_a_broken_one_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """By an error that has the client try again; nothing is stored meanwhile."""
    with testing.open() as log, eventlog.kafka.listen(log) as kafka, Wire(kafka) as wire:
        topic = log.topic("orders")
        with testing.full_disk(log):
            answer = wire.ask(ApiKey.PRODUCE, 9, request(("orders", 0, record_batch(b"tea"))))
            assert outcomes(answer) == [("orders", 0, ErrorCode.KAFKA_STORAGE_ERROR, -1)]
        answer = wire.ask(ApiKey.PRODUCE, 9, request(("orders", 0, record_batch(b"tea"))))
        assert outcomes(answer) == [("orders", 0, 0, 0)]
        testing.fail_next_commit(log)
        for _ in range(2):
            answer = wire.ask(ApiKey.PRODUCE, 9, request(("orders", 0, record_batch(b"coffee"))))
            assert outcomes(answer) == [("orders", 0, ErrorCode.KAFKA_STORAGE_ERROR, -1)]
        assert [record.value for record in topic.read()] == [b"tea"]


def test_a_commit_that_takes_longer_than_the_client_waits_is_told(disk_log: eventlog.EventLog) -> None:
    """The records may be stored, and here they are."""
    with testing.LogFactory() as new_log:
        log = new_log(on_disk=True)
        topic = log.topic("orders")
        with eventlog.kafka.listen(log) as kafka, Wire(kafka) as wire:
            with testing.slow_disk(log, 0.3):
                answer = wire.ask(ApiKey.PRODUCE, 9, request(("orders", 0, record_batch(b"tea")), timeout_ms=20))
            assert outcomes(answer) == [("orders", 0, ErrorCode.REQUEST_TIMED_OUT, -1)]
            answer = wire.ask(ApiKey.PRODUCE, 9, request(("orders", 0, record_batch(b"coffee"))))
            assert outcomes(answer) == [("orders", 0, 0, 1)]
        assert [record.value for record in topic.read()] == [b"tea", b"coffee"]


def test_records_of_a_client_that_has_gone_are_not_kept() -> None:
    """It may have said that it waits for weeks."""
    with testing.LogFactory() as new_log:
        log = new_log(on_disk=True)
        topic = log.topic("orders")
        with eventlog.kafka.listen(log) as kafka:
            with testing.slow_disk(log, 0.1), Wire(kafka) as wire:
                body = request(("orders", 0, record_batch(b"tea")), timeout_ms=2**31 - 1)
                wire.send(ApiKey.PRODUCE, 9, body)
                while not log._store.is_committing:  # type: ignore[attr-defined]
                    pass
            with Wire(kafka) as wire:
                answer = wire.ask(ApiKey.PRODUCE, 9, request(("orders", 0, record_batch(b"coffee"))))
                assert outcomes(answer) == [("orders", 0, 0, 1)]
            assert [record.value for record in topic.read()] == [b"tea", b"coffee"]
            gc.collect()
            assert [one for one in gc.get_objects() if type(one) is _Waiting] == []


def test_records_that_become_very_many_hold_up_nobody(kafka: eventlog.kafka.Listener, log: eventlog.EventLog) -> None:
    """A batch of 31 KiB becomes 31 MiB; others are answered between the batches, and the order is kept."""
    log.topic("orders", partitions=4)
    large = record(0, Sent(b"\0" * (31 << 20)), NOW_MS)
    bomb = record_batch(Sent(b"tea"), compression=1, data=gzip.compress(large, mtime=0))
    with Wire(kafka) as wire, Wire(kafka) as other:
        other.ask(ApiKey.API_VERSIONS, 0, {})
        wire.send(ApiKey.PRODUCE, 9, request(*[("orders", partition, bomb) for partition in (0, 1, 2, 0, 3)]))
        wire.send(ApiKey.PRODUCE, 9, request(("orders", 3, record_batch(b"behind"))))
        answered = 0
        while not select.select([wire.socket], [], [], 0)[0]:
            other.ask(ApiKey.API_VERSIONS, 0, {})
            answered += 1
        assert outcomes(wire.receive()) == [
            ("orders", 0, 0, 0), ("orders", 1, 0, 0), ("orders", 2, 0, 0), ("orders", 0, 0, 1), ("orders", 3, 0, 0),
        ]  # fmt: skip
        assert outcomes(wire.receive()) == [("orders", 3, 0, 1)]
    assert answered > 2


def test_what_refused_records_became_is_not_kept(log: eventlog.EventLog) -> None:
    """An error has no frames that hold it: a request of many such batches took all memory there is."""
    log.topic("orders")
    bomb = record_batch(Sent(b"tea"), compression=1, data=gzip.compress(b"\0" * (33 << 20), mtime=0))
    tracemalloc.start()
    try:
        replies = produce(log, *[("orders", 0, bomb)] * 3)
        assert [type(one.error).__name__ for one in replies] == ["KafkaRefusal"] * 3
        assert tracemalloc.get_traced_memory()[0] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_stop_answers_what_is_in_hand(path: Any) -> None:
    """The commit that goes on when the listener is closed is acknowledged."""
    with testing.LogFactory() as new_log:
        log = new_log(on_disk=True)
        topic = log.topic("orders")
        kafka = eventlog.kafka.listen(log)
        with Wire(kafka) as wire:
            wire.ask(ApiKey.API_VERSIONS, 0, {})
            with testing.slow_disk(log, 0.2):
                wire.send(ApiKey.PRODUCE, 9, request(("orders", 0, record_batch(b"tea"))))
                while kafka._core.server.connection_count and not log._store.is_committing:  # type: ignore[attr-defined]
                    pass
                kafka.close()
                assert outcomes(wire.receive()) == [("orders", 0, 0, 0)]
        assert [record.value for record in topic.read()] == [b"tea"]
