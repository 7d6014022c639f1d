"""Faults on demand: errors, delays, lost connections, and a coordinator that is gone."""

from __future__ import annotations

import threading
import time
from typing import Any

import confluent_kafka
import pytest

from eventlog.errors import LogClosed
from eventlog.kafka.protocol import ApiKey, ErrorCode
from tests.kafka.listener.test_produce import outcomes, request
from tests.kafka.record_batches import record_batch
from tests.kafka.wire import Wire

LEADER = ErrorCode.NOT_LEADER_OR_FOLLOWER


def produced(wire: Wire, *parts: tuple[str, int]) -> list[tuple[str, int, int, int]]:
    """Produce a record to each of some partitions: topic, partition, error and offset."""
    answer = wire.ask(ApiKey.PRODUCE, 9, request(*((name, number, record_batch(b"tea")) for name, number in parts)))
    return sorted(outcomes(answer))


def test_requests_fail_as_often_as_was_asked_for(kafka: Any, wire: Wire) -> None:
    """And are handled again then; the fault counts."""
    topic = kafka.log.topic("orders")
    fault = kafka.fail("Produce", error="NOT_LEADER_OR_FOLLOWER", times=2)
    refused = [("orders", 0, LEADER, -1)]
    assert [produced(wire, ("orders", 0)) for _ in range(3)] == [refused, refused, [("orders", 0, 0, 0)]]
    assert fault.count == 2
    assert len(list(topic.read())) == 1


def test_a_fault_of_a_partition_leaves_the_others(kafka: Any, wire: Wire) -> None:
    """Of the same request; two faults each take their own."""
    for name in ("orders", "payments"):
        kafka.log.topic(name, partitions=3)
    parts = [("orders", 0), ("orders", 1), ("orders", 2), ("payments", 1)]
    with kafka.fail("Produce", error="NOT_LEADER_OR_FOLLOWER", times=None, topic="orders", partition=1):
        kafka.fail("Produce", error="CORRUPT_MESSAGE", topic="payments")
        assert produced(wire, *parts) == [
            ("orders", 0, 0, 0),
            ("orders", 1, LEADER, -1),
            ("orders", 2, 0, 0),
            ("payments", 1, ErrorCode.CORRUPT_MESSAGE, -1),
        ]
    assert [one[2] for one in produced(wire, *parts)] == [0, 0, 0, 0]


def test_only_one_client_fails(kafka: Any, wire: Wire) -> None:
    """By its client id."""
    kafka.log.topic("orders")
    kafka.fail("Produce", error="NOT_LEADER_OR_FOLLOWER", client_id="somebody else")
    assert produced(wire, ("orders", 0)) == [("orders", 0, 0, 0)]
    kafka.fail("Produce", error="NOT_LEADER_OR_FOLLOWER", client_id="wire")
    assert produced(wire, ("orders", 0)) == [("orders", 0, LEADER, -1)]


def test_metadata_tells_the_brokers_though_its_topics_fail(kafka: Any, wire: Wire) -> None:
    """A client without any broker would have nobody to ask."""
    kafka.log.topic("orders")
    kafka.fail("Metadata", error="LEADER_NOT_AVAILABLE")
    answer = wire.ask(ApiKey.METADATA, 9, {"topics": None})
    assert [topic["error_code"] for topic in answer["topics"]] == [ErrorCode.LEADER_NOT_AVAILABLE]
    assert len(answer["brokers"]) == 1
    assert wire.ask(ApiKey.METADATA, 9, {"topics": None})["topics"][0]["error_code"] == 0


def test_a_fetch_that_fails_in_part_does_not_wait(kafka: Any, wire: Wire) -> None:
    """An error is told at once, as a broker does."""
    kafka.log.topic("orders", partitions=2)
    kafka.fail("Fetch", error="NOT_LEADER_OR_FOLLOWER", partition=1)
    parts = [{"partition": number, "fetch_offset": 0, "partition_max_bytes": 1000} for number in range(2)]
    body = {"max_wait_ms": 60_000, "min_bytes": 1, "topics": [{"topic": "orders", "partitions": parts}]}
    [topic] = wire.ask(ApiKey.FETCH, 11, body)["responses"]
    assert {one["partition_index"]: one["error_code"] for one in topic["partitions"]} == {0: 0, 1: LEADER}


def test_a_fault_meets_a_session_of_fetches(kafka: Any, wire: Wire) -> None:
    """A request in it names no partition, and is one of all that the session has."""
    kafka.log.topic("orders", partitions=2)
    parts = [{"partition": number, "fetch_offset": 0, "partition_max_bytes": 1000} for number in range(2)]
    body = {"min_bytes": 1, "topics": [{"topic": "orders", "partitions": parts}], "session_epoch": 0}
    number = wire.ask(ApiKey.FETCH, 11, body)["session_id"]
    kafka.fail("Fetch", error="NOT_LEADER_OR_FOLLOWER", partition=1, times=1)
    body = {"min_bytes": 1, "topics": [], "session_id": number}
    for epoch, errors in ((1, {1: LEADER}), (2, {1: 0}), (3, {})):
        topics = wire.ask(ApiKey.FETCH, 11, {**body, "session_epoch": epoch})["responses"]
        found = {one["partition_index"]: one["error_code"] for topic in topics for one in topic["partitions"]}
        assert found == errors


def test_a_delay_does_not_hold_up_the_end_of_the_listener(kafka: Any, wire: Wire) -> None:
    """A request that waits goes on then."""
    kafka.log.topic("orders")
    fault = kafka.delay("Produce", seconds=60.0)
    wire.send(ApiKey.PRODUCE, 9, request(("orders", 0, record_batch(b"tea"))))
    assert fault.wait(timeout=10.0)
    began_s = time.monotonic()
    kafka.close()
    assert time.monotonic() - began_s < 4.0


def test_a_delay_is_a_delay(kafka: Any, wire: Wire) -> None:
    """And ends with its block."""
    kafka.log.topic("orders")
    began_s = time.monotonic()
    with kafka.delay("Produce", seconds=0.05) as fault:
        assert produced(wire, ("orders", 0)) == [("orders", 0, 0, 0)]
    assert time.monotonic() - began_s >= 0.05
    produced(wire, ("orders", 0))
    assert fault.count == 1


@pytest.mark.parametrize(("when", "stored"), [("before", 0), ("after", 1)])
def test_a_dropped_connection(kafka: Any, wire: Wire, when: str, stored: int) -> None:
    """The request is lost, or its answer is."""
    topic = kafka.log.topic("orders")
    kafka.drop_connection("Produce", when=when)
    wire.send(ApiKey.PRODUCE, 9, request(("orders", 0, record_batch(b"tea"))))
    assert wire.is_closed()
    assert len(list(topic.read())) == stored


def test_an_idempotent_producer_stores_once_whatever_is_lost(kafka: Any) -> None:
    """Requests and answers: the client sends again, and the sequence numbers tell."""
    topic = kafka.log.topic("orders")
    lost = [kafka.drop_connection("Produce", when=when, times=2) for when in ("before", "after")]
    failed = kafka.fail("Produce", error="NOT_ENOUGH_REPLICAS", times=2)
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": kafka.bootstrap_servers, "enable.idempotence": True, "retry.backoff.ms": 5,
         "reconnect.backoff.ms": 5, "reconnect.backoff.max.ms": 20, "linger.ms": 0, "log_level": 0}
    )  # fmt: skip
    for number in range(20):
        producer.produce("orders", b"%d" % number)
        producer.poll(0)
    assert producer.flush(20) == 0
    assert [record.value for record in topic.read()] == [b"%d" % number for number in range(20)]
    assert [fault.count for fault in (*lost, failed)] == [2, 2, 2]


def test_members_wait_for_a_coordinator(kafka: Any) -> None:
    """And read on when there is one."""
    kafka.log.topic("orders").append(b"tea")
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": kafka.bootstrap_servers, "group.id": "g", "auto.offset.reset": "earliest",
         "retry.backoff.ms": 20, "log_level": 0}
    )  # fmt: skip
    try:
        with kafka.stop_group_coordinator() as fault:
            consumer.subscribe(["orders"])
            assert consumer.poll(0.2) is None
            assert fault.wait(timeout=10.0)
        message = consumer.poll(20)
        assert message is not None
        assert message.value() == b"tea"
    finally:
        consumer.close()


def test_a_fault_shows_what_it_does(kafka: Any, wire: Wire) -> None:
    """In a debugger, and when an assertion about it fails."""
    kafka.log.topic("orders")
    fault = kafka.fail("Produce", error="CORRUPT_MESSAGE", times=3, topic="orders")
    produced(wire, ("orders", 0))
    assert repr(fault) == "<eventlog.kafka.Fault Produce, CORRUPT_MESSAGE, topic='orders', struck 1 of 3>"
    with kafka.delay("Fetch", seconds=0.5, client_id="a") as slow:
        assert repr(slow) == "<eventlog.kafka.Fault Fetch, 0.5 s later, client_id='a', struck 0 of any>"
    assert repr(slow).endswith(", removed>")
    with kafka.stop_group_coordinator() as gone:
        assert "kinds of requests, COORDINATOR_NOT_AVAILABLE or NOT_COORDINATOR, struck 0 of any" in repr(gone)


def test_any_thread_may_wait_for_a_fault(kafka: Any, wire: Wire) -> None:
    """Until it has struck, or for a while."""
    kafka.log.topic("orders")
    fault = kafka.fail("Produce", error="NOT_LEADER_OR_FOLLOWER")
    assert not fault.wait(timeout=0.01)
    thread = threading.Thread(target=produced, args=(wire, ("orders", 0)))
    thread.start()
    assert fault.wait(timeout=10.0)
    thread.join()


def test_wrong_arguments_change_nothing(kafka: Any, wire: Wire) -> None:
    """They are told by name."""
    with pytest.raises(ValueError, match=r"Produce, .*not 'produce'"):
        kafka.fail("produce", error="NOT_LEADER_OR_FOLLOWER")
    with pytest.raises(ValueError, match="error of Kafka's, not 'NOPE'"):
        kafka.fail("Produce", error="NOPE")
    with pytest.raises(ValueError, match="not 'NONE'"):
        kafka.fail("Produce", error="NONE")
    with pytest.raises(ValueError, match="Did you mean 'NOT_LEADER_OR_FOLLOWER'"):
        kafka.fail("Produce", error="not_leader_or_folower")
    with pytest.raises(ValueError, match="Did you mean 'Produce'"):
        kafka.fail("Prodce", error="CORRUPT_MESSAGE")
    with pytest.raises(TypeError, match="topic is text, not 5"):
        kafka.fail("Produce", error="CORRUPT_MESSAGE", topic=5)
    with pytest.raises(TypeError, match="client_id is text, not b'a'"):
        kafka.delay("Produce", seconds=1.0, client_id=b"a")
    with pytest.raises(ValueError, match="Heartbeat requests name no topic"):
        kafka.fail("Heartbeat", error="UNKNOWN_MEMBER_ID", topic="orders")
    with pytest.raises(ValueError, match="Metadata requests name no partition"):
        kafka.fail("Metadata", error="UNKNOWN_TOPIC_OR_PARTITION", partition=0)
    with pytest.raises(ValueError, match="times"):
        kafka.fail("Produce", error="CORRUPT_MESSAGE", times=0)
    with pytest.raises(ValueError, match="'before' or 'after'"):
        kafka.drop_connection("Produce", when="never")
    with pytest.raises(ValueError, match="seconds"):
        kafka.delay("Produce", seconds=-1.0)
    kafka.log.topic("orders")
    assert produced(wire, ("orders", 0)) == [("orders", 0, 0, 0)]
    kafka.close()
    with pytest.raises(LogClosed):
        kafka.fail("Produce", error="CORRUPT_MESSAGE")
