"""A process that takes record batches of Kafka's producers is killed: each batch is stored once, and none is lost."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

import eventlog
from tests.crash import kafka_producer
from tests.crash.checks import file_problems
from tests.crash.nursery import Nursery
from tests.crash.records import PARTITIONS, TOPIC, Acknowledgement, acknowledgements
from tests.kafka.record_batches import KafkaAppended, fetch, produce_one, producer_id

KILLS = 12


def go_on(log: Any, producer: int, acknowledged: list[Acknowledgement]) -> list[Acknowledgement]:
    """What a client does when the connection is gone: it sends again what was not acknowledged, and then more."""
    starts = [0] * PARTITIONS
    for one in acknowledged:
        if one.writer == producer:
            starts[one.partition] = max(starts[one.partition], one.call + one.end - one.first)
    more: list[Acknowledgement] = []

    def reply(partition: int, first: int, offset: int, count: int) -> None:
        more.append(Acknowledgement(producer, first, partition, offset, offset + count))

    kafka_producer.send(log, producer, starts, [range(PARTITIONS)] * 3, reply)
    return more


@pytest.mark.parametrize("count", [1, 2])
def test_what_a_killed_listener_had_not_answered_is_stored_once(
    nursery: Nursery, place: Path, rng: random.Random, count: int
) -> None:
    """After each of many kills in the middle of produce; with one process that takes batches, and with two."""
    acknowledged: list[Acknowledgement] = []
    with eventlog.open(place) as log:
        log.topic(TOPIC, partitions=PARTITIONS)
    for _ in range(KILLS // count):
        with eventlog.open(place) as log:
            producers = [producer_id(log) for _ in range(count)]
        victims = [nursery.start("produce", place, writer=producer, seed=str(rng.random())) for producer in producers]
        for victim in victims:
            victim.watch(rng.uniform(0.0, 0.03), least_bytes=32 * 5 if rng.random() < 0.7 else 0)
        for victim in victims:
            acknowledged += acknowledgements(victim.kill())
        with eventlog.open(place) as log:
            for producer in producers:
                acknowledged += go_on(log, producer, acknowledged)
                assert kafka_producer.problems_of(log, producer, acknowledged) == []
            assert log.verify().problems == ()
    assert file_problems(place) == []


def test_harness_finds_a_batch_that_is_stored_twice(log: Any) -> None:
    """As it would be if the row of a producer were not in the commit of its batch."""
    log.topic(TOPIC, partitions=PARTITIONS)
    producer = producer_id(log)
    found: list[Acknowledgement] = []

    def reply(partition: int, first: int, offset: int, count: int) -> None:
        found.append(Acknowledgement(producer, first, partition, offset, offset + count))

    kafka_producer.send(log, producer, [0] * PARTITIONS, [[0], [0], [0]], reply)
    assert kafka_producer.problems_of(log, producer, found) == []
    data, _ = kafka_producer.batch_of(producer, 0, 0)
    assert produce_one(log, data, TOPIC) == KafkaAppended(None, 0, 0)
    environment = log._store.environment
    transaction = environment.begin_writing()
    transaction.drop(environment.table(b"sequences"), delete=False)
    environment.commit(transaction)
    assert produce_one(log, data, TOPIC).base_offset == fetch(log, 0, TOPIC).high_watermark - found[0].end
    assert any("comes where" in problem for problem in kafka_producer.problems_of(log, producer, found))
    assert any("acknowledged" in problem for problem in kafka_producer.problems_of(log, producer, found))
