"""Requests of Kafka's clients, and their answers: each side is a client as it is, or a program of ours."""

from __future__ import annotations

import threading
import time
from typing import Any

import confluent_kafka
import pytest

import eventlog
from eventlog.kafka import Listener

PATIENCE_S = 20.0
PROTOCOLS = {
    "classic": {"heartbeat.interval.ms": 50},
    "new": {"group.protocol": "consumer"},
}


def consumer(kafka: Listener, **options: Any) -> confluent_kafka.Consumer:
    """A consumer of confluent-kafka."""
    return confluent_kafka.Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
            "topic.metadata.refresh.interval.ms": 100,
            **options,
        }
    )


def polled(consumer: confluent_kafka.Consumer) -> confluent_kafka.Message:
    """The next message."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            return message
    raise AssertionError("no message came")


def test_a_client_of_kafka_asks_and_a_program_answers(log: eventlog.EventLog, kafka: Listener) -> None:
    """By the headers of Spring's ReplyingKafkaTemplate: the reply goes to the partition that they name."""
    prices = log.topic("prices", key=str, value=int)
    log.topic("answers", partitions=3)
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka.bootstrap_servers})
    headers = [("kafka_correlationId", b"\0\1one"), ("kafka_replyTopic", b"answers")]
    partition = ("kafka_replyPartition", b"\0\0\0\2")
    for number, more in ((7, [partition]), (-1, [("kafka_replyPartition", b"1")])):
        producer.produce("prices", number.to_bytes(8, "big", signed=True), b"tea", headers=[*headers, *more])
    assert producer.flush(PATIENCE_S) == 0

    def price(_tx: eventlog.Transaction, record: eventlog.Record[str, int]) -> int:
        if record.value < 0:
            raise ValueError("less than none")
        return 3 * record.value

    with log.responder(prices, function=price, group="pricing", reply="json") as responder:
        assert responder.run_to_end(PATIENCE_S) == 2
    replies = consumer(kafka, **{"group.id": "asker", "isolation.level": "read_committed"})
    replies.assign([confluent_kafka.TopicPartition("answers", number, 0) for number in (1, 2)])
    found = {message.partition(): message for message in (polled(replies), polled(replies))}
    replies.close()
    assert (found[2].value(), found[2].key()) == (b"21", b"tea")
    assert dict(found[2].headers())["kafka_correlationId"] == b"\0\1one"
    assert (found[1].value(), dict(found[1].headers())["eventlog_errorType"]) == (None, b"ValueError")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_program_asks_and_a_client_of_kafka_answers(log: eventlog.EventLog, kafka: Listener, protocol: str) -> None:
    """It is seen as a live member of its group, and replies to the inbox; when it has left, nobody is there."""
    prices = log.topic("prices", value=int)
    with pytest.raises(eventlog.NoResponders):
        log.request(prices, 1)
    asked: list[Any] = []

    def ask() -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not asked and time.monotonic() < deadline_s:
            try:
                asked.append(log.request(prices, 14, timeout=PATIENCE_S, reply="json", group="pricing"))
            except eventlog.NoResponders:
                continue  # it has not joined yet
            except BaseException as error:
                asked.append(error)

    responder = consumer(kafka, **{"group.id": "pricing", **PROTOCOLS[protocol]})
    responder.subscribe(["prices"])
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    request = polled(responder)
    headers = dict(request.headers())
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka.bootstrap_servers})
    producer.produce(
        headers["kafka_replyTopic"].decode(),
        b"%d" % (3 * int.from_bytes(request.value(), "big", signed=True)),
        headers=[("kafka_correlationId", headers["kafka_correlationId"])],
    )
    assert producer.flush(PATIENCE_S) == 0
    thread.join(PATIENCE_S)
    assert [getattr(one, "value", one) for one in asked] == [42]
    responder.close()
    with pytest.raises(eventlog.NoResponders):
        log.request(prices, 1)
