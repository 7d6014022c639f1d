"""
An idempotent producer of Kafka's protocol that is killed, and goes on as its client does.

It sends batches with sequence numbers to each partition in turn, one at a time. What it does not know after the kill is
whether the last one is stored: so its client sends that again, with the same numbers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import eventlog
from tests.crash.records import PARTITIONS, TOPIC, Acknowledgement, Stamp, acknowledge, stamp_of, value_of
from tests.kafka.record_batches import produce, record_batch

Reply = Callable[[int, int, int, int], None]


def batch_of(producer: int, partition: int, first: int) -> tuple[bytes, int]:
    """The one batch of a producer that begins with a sequence number, and how many records it has."""
    count = 1 + (first * 7 + partition) % 5
    values = [value_of(Stamp(producer, first + number, partition, count)) for number in range(count)]
    return record_batch(*values, producer=(producer, 0, first), compression=first % 2), count


def send(log: Any, producer: int, starts: Sequence[int], rounds: Any, reply: Reply) -> None:
    """Send batches to all partitions, in requests of one or several, from these numbers on."""
    firsts = list(starts)
    for chosen in rounds:
        batches = {partition: batch_of(producer, partition, firsts[partition]) for partition in chosen}
        replies = produce(log, *((TOPIC, partition, data) for partition, (data, _) in batches.items()))
        for (partition, (_, count)), one in zip(batches.items(), replies, strict=True):
            if one.error is not None:
                raise one.error
            reply(partition, firsts[partition], one.base_offset, count)
            firsts[partition] += count


def produce_until_killed(path: Path, pipe: int, writer: int, seed: str) -> None:
    """The writer: its number is its producer id."""
    chance = random.Random(seed)

    def rounds() -> Any:
        while True:
            yield chance.sample(range(PARTITIONS), chance.randrange(1, PARTITIONS + 1))

    def reply(partition: int, first: int, offset: int, count: int) -> None:
        acknowledge(pipe, Acknowledgement(writer, first, partition, offset, offset + count))

    with eventlog.open(path) as log:
        send(log, writer, [0] * PARTITIONS, rounds(), reply)


def problems_of(log: Any, producer: int, acknowledged: list[Acknowledgement]) -> list[str]:
    """What is wrong once the client has gone on: each record is there once, in order, where it was acknowledged."""
    problems = []
    for partition in range(PARTITIONS):
        offsets = {}
        wanted = 0
        for record in log.topic(TOPIC).read(partition):
            stamp = stamp_of(record.value)
            if stamp is None:
                problems.append(f"partition {partition}, offset {record.offset}: the value is torn")
            elif stamp.writer == producer:
                if (stamp.call, stamp.index) != (wanted, partition):
                    problems.append(f"partition {partition}: number {stamp.call} comes where {wanted} is next")
                offsets[stamp.call] = record.offset
                wanted = stamp.call + 1
        for one in acknowledged:
            if one.writer == producer and one.partition == partition:
                places = [offsets.get(one.call + number) for number in range(one.end - one.first)]
                if places != list(range(one.first, one.end)):
                    problems.append(f"partition {partition}: {one} was acknowledged, and is at {places}")
    return problems
