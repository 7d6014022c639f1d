"""Fetch: what is there at once, and what comes within the time that a client waits."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID

import eventlog
import eventlog.kafka
from eventlog.batches.kafka_batch import kafka_batch
from eventlog.kafka.protocol import ApiKey, ErrorCode
from tests.kafka.record_batches import record_batch
from tests.kafka.wire import Wire

LONG_MS = 30_000
HEAD_BYTES = 61


def request(
    *parts: tuple[str, int, int], max_wait_ms: int = 0, min_bytes: int = 1, max_bytes: int = 1 << 20, **options: Any
) -> dict[str, Any]:
    """A request of some topics, partitions and offsets."""
    topics: dict[str, list[dict[str, Any]]] = {}
    most = options.pop("partition_max_bytes", 1 << 20)
    for topic, partition, offset in parts:
        one = {"partition": partition, "fetch_offset": offset, "partition_max_bytes": most, "current_leader_epoch": -1}
        topics.setdefault(topic, []).append(one)
    return {
        "max_wait_ms": max_wait_ms,
        "min_bytes": min_bytes,
        "max_bytes": max_bytes,
        "replica_id": -1,
        "session_epoch": -1,
        "topics": [{"topic": name, "partitions": partitions} for name, partitions in topics.items()],
        **options,
    }


def by_id(body: dict[str, Any], log: eventlog.EventLog) -> dict[str, Any]:
    """The same request with the ids of its topics instead of their names."""
    topics = [{"topic_id": log.topic(one["topic"]).uuid, "partitions": one["partitions"]} for one in body["topics"]]
    return {**body, "topics": topics}


def parts(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The partitions of an answer."""
    return [one for topic in answer["responses"] for one in topic["partitions"]]


def batches(records: Any) -> list[tuple[int, int]]:
    """Base offset and number of records of each record batch."""
    data, found, at = bytes(records), [], 0
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at + 8 : at + 12], "big")
        found.append((int.from_bytes(data[at : at + 8], "big"), kafka_batch(data[at:end]).count))
        at = end
    return found


def test_every_version_reads(log: eventlog.EventLog, wire: Wire) -> None:
    """By name, and from version 13 on by id."""
    log.topic("orders").append_many([b"tea", b"milk"])
    for version in range(4, 18):
        body = request(("orders", 0, 0))
        answer = wire.ask(ApiKey.FETCH, version, by_id(body, log) if version >= 13 else body)
        [part] = parts(answer)
        assert (part["error_code"], part["high_watermark"], part["last_stable_offset"]) == (0, 2, 2)
        assert batches(part["records"]) == [(0, 2)]
        assert part["aborted_transactions"] is None
        if version >= 13:
            assert answer["responses"][0]["topic_id"] == log.topic("orders").uuid


def test_nothing_is_an_empty_answer_and_not_a_null(log: eventlog.EventLog, wire: Wire) -> None:
    """Clients take a null for an error."""
    log.topic("orders")
    [part] = parts(wire.ask(ApiKey.FETCH, 11, request(("orders", 0, 0), isolation_level=1)))
    assert (part["error_code"], bytes(part["records"]), part["high_watermark"]) == (0, b"", 0)
    assert part["aborted_transactions"] == []


def test_what_cannot_be_read_has_its_error(log: eventlog.EventLog, wire: Wire) -> None:
    """At once, beside what can."""
    topic = log.topic("orders")
    topic.append_many([b"a", b"b", b"c"])
    topic.delete_records({0: 1})
    asked = [("orders", 0, 0), ("orders", 0, 4), ("orders", 0, 1), ("orders", 1, 0), ("nowhere", 0, 0)]
    answer = wire.ask(ApiKey.FETCH, 11, request(*asked, max_wait_ms=LONG_MS, min_bytes=10_000))
    assert [part["error_code"] for part in parts(answer)] == [
        ErrorCode.OFFSET_OUT_OF_RANGE,
        ErrorCode.OFFSET_OUT_OF_RANGE,
        ErrorCode.NONE,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ]
    assert parts(answer)[2]["log_start_offset"] == 1
    body = request(("orders", 0, 1))
    body["topics"] = [{"topic_id": UUID(int=9), "partitions": body["topics"][0]["partitions"]}]
    assert parts(wire.ask(ApiKey.FETCH, 13, body))[0]["error_code"] == ErrorCode.UNKNOWN_TOPIC_ID
    body = request(("orders", 0, 1))
    body["topics"][0]["partitions"][0]["current_leader_epoch"] = 5
    assert parts(wire.ask(ApiKey.FETCH, 11, body))[0]["error_code"] == ErrorCode.UNKNOWN_LEADER_EPOCH


def test_a_batch_comes_whole_from_any_offset_in_it(log: eventlog.EventLog, wire: Wire) -> None:
    """The client passes over what it did not ask for."""
    log.topic("orders").append_many([b"a", b"b", b"c"])
    [part] = parts(wire.ask(ApiKey.FETCH, 11, request(("orders", 0, 2))))
    assert batches(part["records"]) == [(0, 3)]


def test_bounds_of_bytes_hold_but_for_the_first_batch(log: eventlog.EventLog, wire: Wire) -> None:
    """One batch comes back even if it is larger than each bound, so that reading never gets stuck."""
    topic = log.topic("orders", partitions=2)
    for partition in (0, 1):
        for _ in range(5):
            topic.append(bytes(1000), partition=partition)
    both = [("orders", 0, 0), ("orders", 1, 0)]

    def counts(**bounds: int) -> list[int]:
        return [len(batches(part["records"])) for part in parts(wire.ask(ApiKey.FETCH, 11, request(*both, **bounds)))]

    assert counts() == [5, 5]
    assert counts(partition_max_bytes=2500) == [2, 2]
    assert counts(max_bytes=2500) == [2, 0]
    assert counts(max_bytes=7000) == [5, 1]
    assert counts(max_bytes=1) == [1, 0]
    assert counts(partition_max_bytes=1) == [1, 0]
    assert counts(max_bytes=0) == [1, 0]


def test_a_long_poll_ends_with_its_time(log: eventlog.EventLog, wire: Wire) -> None:
    """Not sooner, and with what there is."""
    log.topic("orders").append(b"tea")
    for offset, min_bytes, found in ((1, 1, 0), (0, 10_000, 1)):
        began_s = monotonic()
        [part] = parts(wire.ask(ApiKey.FETCH, 11, request(("orders", 0, offset), max_wait_ms=60, min_bytes=min_bytes)))
        assert monotonic() - began_s >= 0.055
        assert len(batches(part["records"])) == found


def test_a_fetch_waits_for_no_more_than_it_may_get(log: eventlog.EventLog, wire: Wire) -> None:
    """As Kafka's broker judges it."""
    log.topic("orders").append(b"tea")
    body = request(("orders", 0, 0), max_wait_ms=LONG_MS, min_bytes=1 << 20, max_bytes=10)
    [part] = parts(wire.ask(ApiKey.FETCH, 11, body))
    assert len(batches(part["records"])) == 1


def test_a_fetch_that_waits_for_many_bytes_gets_them(log: eventlog.EventLog, wire: Wire) -> None:
    """It looks more and more seldom, as each look takes longer, and its time ends as it was asked."""
    orders = log.topic("orders")
    wire.send(ApiKey.FETCH, 11, request(("orders", 0, 0), max_wait_ms=LONG_MS, min_bytes=500_000))
    for _ in range(600):
        orders.append(bytes(1_000))
    [part] = parts(wire.receive())
    assert 500_000 <= len(part["records"]) <= 700_000


def test_a_long_poll_is_woken_by_a_native_append(log: eventlog.EventLog, wire: Wire) -> None:
    """And by nothing that comes to another partition or topic."""
    topic, other = log.topic("orders", partitions=2), log.topic("other")
    for number in range(5):
        wire.send(ApiKey.FETCH, 11, request(("orders", 0, number), max_wait_ms=LONG_MS))
        other.append(b"nothing")
        topic.append(b"nothing", partition=1)
        appending = threading.Timer(0.01, lambda: topic.append(b"tea", partition=0))
        appending.start()
        began_s = monotonic()
        [part] = parts(wire.receive())
        assert monotonic() - began_s < LONG_MS / 2000
        assert batches(part["records"]) == [(number, 1)]
        appending.join()


def test_a_long_poll_is_woken_by_a_scheduled_record(log: eventlog.EventLog, wire: Wire) -> None:
    """Which is a record like any other when its time has come."""
    mails = log.topic("mails")
    wire.send(ApiKey.FETCH, 11, request(("mails", 0, 0), max_wait_ms=LONG_MS))
    schedule = mails.schedule(b"hello", delay=0.05)
    [part] = parts(wire.receive())
    assert batches(part["records"]) == [(0, 1)]
    assert next(mails.read()).timestamp_ms >= schedule.due_ms


def test_a_long_poll_is_woken_by_another_client(log: eventlog.EventLog, kafka: eventlog.kafka.Listener) -> None:
    """Its answer comes behind the long poll on that connection, and at once on another one."""
    log.topic("orders")
    data = {"index": 0, "records": record_batch(b"tea")}
    produce = {"acks": -1, "timeout_ms": 1000, "topic_data": [{"name": "orders", "partition_data": [data]}]}
    with Wire(kafka) as reader, Wire(kafka) as writer:
        reader.send(ApiKey.FETCH, 11, request(("orders", 0, 0), max_wait_ms=LONG_MS))
        reader.send(ApiKey.API_VERSIONS, 0, {})
        writer.ask(ApiKey.PRODUCE, 9, produce)
        [part] = parts(reader.receive())
        assert batches(part["records"]) == [(0, 1)]
        assert reader.receive()["error_code"] == 0


def test_a_long_poll_is_woken_by_another_process(path: Path) -> None:
    """As soon as that has committed."""
    program = (
        "import eventlog, sys\n"
        "with eventlog.open(sys.argv[1]) as log:\n"
        "    topic = log.topic('orders'); print(flush=True); sys.stdin.readline(); topic.append(b'tea')\n"
    )
    with eventlog.open(path) as log, eventlog.kafka.listen(log) as kafka, Wire(kafka) as wire:
        log.topic("orders")
        with subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdout.readline()
            wire.send(ApiKey.FETCH, 11, request(("orders", 0, 0), max_wait_ms=LONG_MS))
            child.stdin.write(b"\n")
            child.stdin.flush()
            [part] = parts(wire.receive())
            assert batches(part["records"]) == [(0, 1)]


def test_many_long_polls_are_woken_for_their_own_partitions(
    log: eventlog.EventLog, kafka: eventlog.kafka.Listener
) -> None:
    """Of more topics than one FIFO is subscribed to by name."""
    topics = [log.topic(f"topic-{number}") for number in range(30)]
    wires = [Wire(kafka) for _ in topics]
    try:
        for wire, topic in zip(wires, topics, strict=True):
            wire.send(ApiKey.FETCH, 11, request((topic.name, 0, 0), max_wait_ms=LONG_MS))
        for wire, topic in reversed(list(zip(wires, topics, strict=True))):
            topic.append(b"tea")
            assert batches(parts(wire.receive())[0]["records"]) == [(0, 1)]
    finally:
        for wire in wires:
            wire.close()


def test_a_stop_ends_a_long_poll(log: eventlog.EventLog) -> None:
    """With an answer, and long before its time."""
    log.topic("orders")
    kafka = eventlog.kafka.listen(log)
    with Wire(kafka) as wire:
        wire.ask(ApiKey.API_VERSIONS, 0, {})
        wire.send(ApiKey.FETCH, 11, request(("orders", 0, 0), max_wait_ms=LONG_MS))
        while not kafka._core.broker._polls._polls:
            pass
        began_s = monotonic()
        kafka.close()
        assert monotonic() - began_s < 5.0
        assert bytes(parts(wire.receive())[0]["records"]) == b""


def test_a_peer_that_goes_takes_its_long_poll_along(log: eventlog.EventLog, kafka: eventlog.kafka.Listener) -> None:
    """Nothing waits for it any more."""
    log.topic("orders")
    polls = kafka._core.broker._polls._polls
    with Wire(kafka) as wire:
        wire.send(ApiKey.FETCH, 11, request(("orders", 0, 0), max_wait_ms=LONG_MS))
        while not polls:
            pass
    end_s = monotonic() + 10.0
    while polls:
        assert monotonic() < end_s


def test_what_is_built_of_native_batches_is_kept_within_a_bound(
    log: eventlog.EventLog, kafka: eventlog.kafka.Listener, wire: Wire
) -> None:
    """Ten readers of one end build it once; a batch that was rewritten is built again."""
    topic = log.topic("orders")
    for _ in range(20):
        topic.append(bytes(1000))
    kept = kafka._core.broker.record_batches
    first = wire.ask(ApiKey.FETCH, 11, request(("orders", 0, 0)))
    size = kept.kept_bytes
    assert 20_000 < size < 30_000
    assert wire.ask(ApiKey.FETCH, 11, request(("orders", 0, 0))) == first
    assert kept.kept_bytes == size
    kept._most_bytes = 5000
    topic.append(bytes(1000))
    wire.ask(ApiKey.FETCH, 11, request(("orders", 0, 0)))
    assert kept.kept_bytes <= 5000
