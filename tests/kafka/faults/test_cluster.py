"""Brokers that only seem to be others: leaders and coordinators move, and clients follow."""

from __future__ import annotations

from typing import Any

import confluent_kafka
import pytest

from eventlog.errors import UnknownTopic
from eventlog.kafka.protocol import ApiKey, ErrorCode
from tests.kafka.faults.test_faults import produced
from tests.kafka.wire import Wire

REFUSED = ErrorCode.NOT_LEADER_OR_FOLLOWER


def leaders(wire: Wire) -> dict[tuple[str, int], tuple[int, int]]:
    """The leader of each partition, and its epoch."""
    answer = wire.ask(ApiKey.METADATA, 9, {"topics": None})
    return {
        (topic["name"], part["partition_index"]): (part["leader_id"], part["leader_epoch"])
        for topic in answer["topics"]
        for part in topic["partitions"]
    }


def test_only_the_leader_takes_records(kafka: Any, wire: Wire) -> None:
    """Partition by partition, and again after a move."""
    kafka.log.topic("orders", partitions=2)
    other = kafka.add_broker()
    assert (other.node_id, other.address) == (2, f"127.0.0.1:{other.port}")
    kafka.move_leader("orders", 1, to=2)
    with Wire(other) as second:
        assert leaders(second) == leaders(wire) == {("orders", 0): (1, 0), ("orders", 1): (2, 1)}
        parts = [("orders", 0), ("orders", 1)]
        assert produced(wire, *parts) == [("orders", 0, 0, 0), ("orders", 1, REFUSED, -1)]
        assert produced(second, *parts) == [("orders", 0, REFUSED, -1), ("orders", 1, 0, 0)]
        kafka.move_leader("orders", 1, to=1)
        assert produced(second, ("orders", 1)) == [("orders", 1, REFUSED, -1)]
        assert produced(wire, ("orders", 1)) == [("orders", 1, 0, 1)]
        assert leaders(wire)["orders", 1] == (1, 2)


@pytest.mark.parametrize(
    ("known", "code"),
    [(0, ErrorCode.FENCED_LEADER_EPOCH), (1, ErrorCode.NONE), (2, ErrorCode.UNKNOWN_LEADER_EPOCH), (-1, 0)],
)
def test_epochs_of_leaders_are_judged(kafka: Any, known: int, code: int) -> None:
    """KIP-320: a client with an older or a newer epoch is told."""
    kafka.log.topic("orders")
    other = kafka.add_broker()
    kafka.move_leader("orders", 0, to=other.node_id)
    part = {"partition_index": 0, "current_leader_epoch": known, "timestamp": -1}
    with Wire(other) as second:
        answer = second.ask(ApiKey.LIST_OFFSETS, 5, {"topics": [{"name": "orders", "partitions": [part]}]})
    assert answer["topics"][0]["partitions"][0]["error_code"] == code


def test_a_broker_stops_and_the_first_one_leads(kafka: Any, wire: Wire) -> None:
    """Its connections break; at the same address it starts again."""
    kafka.log.topic("orders")
    other = kafka.add_broker(7)
    kafka.move_leader("orders", 0, to=7)
    with Wire(other) as second:
        assert produced(second, ("orders", 0)) == [("orders", 0, 0, 0)]
        kafka.stop_broker(7)
        assert second.is_closed()
    assert leaders(wire) == {("orders", 0): (1, 2)}
    assert len(wire.ask(ApiKey.METADATA, 9, {"topics": []})["brokers"]) == 1
    kafka.start_broker(7)
    with Wire(other) as second:
        assert leaders(second) == {("orders", 0): (1, 2)}


def test_clients_follow_their_leaders_and_their_coordinator(kafka: Any) -> None:
    """Nothing is lost and nothing comes twice while they move."""
    topic = kafka.log.topic("orders", partitions=2)
    other = kafka.add_broker()
    options = {"bootstrap.servers": kafka.bootstrap_servers, "retry.backoff.ms": 10, "log_level": 0}
    producer = confluent_kafka.Producer({**options, "enable.idempotence": True, "linger.ms": 0})
    consumer = confluent_kafka.Consumer(
        {**options, "group.id": "g", "auto.offset.reset": "earliest", "topic.metadata.refresh.interval.ms": 200}
    )
    consumer.subscribe(["orders"])
    found: list[int] = []
    try:
        for number in range(40):
            if number in (10, 20, 30):
                to = other.node_id if number != 20 else 1
                kafka.move_leader("orders", 0, to=to)
                kafka.move_group_coordinator(to=to)
            if number == 35:
                kafka.stop_broker(other.node_id)
            producer.produce("orders", b"%d" % number, partition=number % 2)
            producer.poll(0)
        assert producer.flush(20) == 0
        while len(found) < 40:
            message = consumer.poll(20)
            assert message is not None, f"only {len(found)} came"
            if message.error() is None:
                found.append(int(message.value()))
    finally:
        consumer.close()
    assert sorted(found) == list(range(40))
    assert sorted(int(record.value) for record in topic.read()) == list(range(40))


def test_wrong_arguments_of_a_cluster(kafka: Any) -> None:
    """They are told by name."""
    kafka.log.topic("orders")
    kafka.add_broker(3)
    for number in (1, 3):
        with pytest.raises(ValueError, match=f"there is a broker {number}"):
            kafka.add_broker(number)
    with pytest.raises(ValueError, match="no broker 9 that runs"):
        kafka.move_leader("orders", 0, to=9)
    with pytest.raises(ValueError, match="partition"):
        kafka.move_leader("orders", 5, to=3)
    with pytest.raises(UnknownTopic):
        kafka.move_leader("nothing", 0, to=3)
    for call in (kafka.stop_broker, kafka.start_broker):
        with pytest.raises(ValueError, match="no broker 1 was added"):
            call(1)
    kafka.stop_broker(3)
    kafka.stop_broker(3)
    with pytest.raises(ValueError, match="no broker 3 that runs"):
        kafka.move_group_coordinator(to=3)
