"""
A transactional producer of Kafka's protocol that is killed in the middle of its transactions.

Each transaction has some records in every partition and the offset of a group, which is its number. A part of them is
aborted. After the kill nobody may see a part of a transaction, nor one that was aborted or not ended; what was
acknowledged as committed is there, and the group's offset is that of the last one that is seen.
"""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import eventlog
from eventlog.backend.kafka import KafkaRefusal
from tests.crash.records import PARTITIONS, TOPIC, Acknowledgement, Stamp, acknowledge, stamp_of, value_of
from tests.kafka.record_batches import backend_of
from tests.kafka.transactional import Transactional

COUNTER = "counter"
"""A topic of many records, so that any number can be an offset of it."""
_EACH = 2
"""The records of a transaction in a partition, each a batch of its own."""


def is_committed(number: int) -> bool:
    """Whether a transaction is one to be committed; the others are aborted."""
    return number % 3 != 2


def transact_until_killed(path: Path, pipe: int, writer: int, seed: str) -> None:
    """The writer; its number is in its transactional id. It ends when another producer of that id has fenced it."""
    with contextlib.suppress(KafkaRefusal):
        _transact(path, pipe, writer, seed, f"writer-{writer}")


def take_over_until_killed(path: Path, pipe: int, writer: int, seed: str) -> None:
    """The same with the transactional id of the writer before."""
    _transact(path, pipe, writer, seed, f"writer-{writer - 1}")


def _transact(path: Path, pipe: int, writer: int, seed: str, name: str) -> None:
    chance, number = random.Random(seed), 0
    with eventlog.open(path) as log:
        producer = Transactional(log, name, bumps=bool(chance.randrange(2)))
        while True:
            places = [(partition, index) for partition in range(PARTITIONS) for index in range(_EACH)]
            chance.shuffle(places)
            for partition, index in places:
                stamp = Stamp(writer, number, partition * _EACH + index, PARTITIONS * _EACH)
                producer.send(value_of(stamp), topic=TOPIC, partition=partition)
            producer.send_offset(f"group-{writer}", number, topic=COUNTER)
            producer.end(is_commit=is_committed(number))
            acknowledge(pipe, Acknowledgement(writer, number, 0, 0, 1))
            number += 1


def problems_of(
    log: Any, acknowledged: list[Acknowledgement], writers: list[int], *, may_end_before: bool = False
) -> list[str]:
    """
    What is wrong with what readers see of the writers.

    Args:
        may_end_before: reading may end before a part of a transaction, in some partitions: where another one is open,
            or because writers go on while we read.
    """
    seen: dict[tuple[int, int], list[int]] = {}
    problems = []
    for partition in range(PARTITIONS):
        for record in log.topic(TOPIC).read(partition):
            stamp = stamp_of(record.value)
            if stamp is None:
                problems.append(f"partition {partition}, offset {record.offset}: the value is torn")
            else:
                seen.setdefault((stamp.writer, stamp.call), []).append(stamp.index)
    for (writer, number), indexes in seen.items():
        if not is_committed(number):
            problems.append(f"writer {writer}: its aborted transaction {number} is seen")
        elif not may_end_before and sorted(indexes) != list(range(PARTITIONS * _EACH)):
            problems.append(f"writer {writer}: of transaction {number} the records {sorted(indexes)} are seen")
    problems += [
        f"writer {one.writer}: its committed transaction {one.call} is not seen"
        for one in acknowledged
        if one.writer in writers and is_committed(one.call) and (one.writer, one.call) not in seen
    ]
    topic = backend_of(log).require_topic(COUNTER)
    for writer in writers:
        last = max((number for other, number in seen if other == writer), default=None)
        [offset] = backend_of(log).committed(f"group-{writer}", [(topic.id, 0)])
        if offset != last:
            problems.append(f"writer {writer}: the offset {offset} was stored with transaction {last}")
    return problems
