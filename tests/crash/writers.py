"""
The writers: each writes until it is killed, and acknowledges what is stored, never before.

Knows nothing of the kill, or of what is checked afterwards.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

import eventlog
from tests.crash.records import PARTITIONS, TOPIC, Acknowledgement, Stamp, acknowledge, value_of

Writer = Callable[[Path, int, int, str], None]
_IN_FLIGHT = 128


def append_one_by_one(path: Path, pipe: int, writer: int, seed: str) -> None:
    """Appends single records."""
    chance = random.Random(seed)
    with eventlog.open(path) as log:
        topic = log.topic(TOPIC, partitions=PARTITIONS)
        for call in itertools.count():
            stamp = Stamp(writer, call, 0, 1)
            stored = topic.append(value_of(stamp), partition=chance.randrange(PARTITIONS))
            acknowledge(pipe, Acknowledgement(writer, call, stored.partition, stored.offset, stored.offset + 1))


def append_columns(path: Path, pipe: int, writer: int, seed: str) -> None:
    """Appends records of several partitions in one call; each call is stored whole or not at all."""
    chance = random.Random(seed)
    with eventlog.open(path) as log:
        topic = log.topic(TOPIC, partitions=PARTITIONS)
        for call in itertools.count():
            count = chance.choice((2, 3, 10, 300))
            values = [value_of(Stamp(writer, call, index, count)) for index in range(count)]
            ranges = topic.append_many(values, keys=[b"%d" % chance.randrange(99) for _ in values])
            for stored in ranges:
                acknowledge(pipe, Acknowledgement(writer, call, stored.partition, stored.first, stored.end))


def send(path: Path, pipe: int, writer: int, seed: str) -> None:
    """Sends through a producer; a record counts when its delivery says so."""
    chance = random.Random(seed)
    with eventlog.open(path) as log:
        log.topic(TOPIC, partitions=PARTITIONS)
        waiting: deque[tuple[int, eventlog.Delivery]] = deque()
        with log.producer(linger=chance.choice((0.0, 0.001))) as producer:
            for call in itertools.count():
                stamp = Stamp(writer, call, 0, 1)
                waiting.append((call, producer.send(TOPIC, value_of(stamp), partition=chance.randrange(PARTITIONS))))
                while waiting and (waiting[0][1].done() or len(waiting) > _IN_FLIGHT):
                    number, delivery = waiting.popleft()
                    stored = delivery.result()
                    acknowledge(
                        pipe, Acknowledgement(writer, number, stored.partition, stored.offset, stored.offset + 1)
                    )


def mix(path: Path, pipe: int, writer: int, seed: str) -> None:
    """Does all three at once in three threads of one process, each under a writer's number that no other has."""
    threads = [
        threading.Thread(target=way, args=(path, pipe, 1_000 * writer + place, f"{seed}:{place}"), daemon=True)
        for place, way in enumerate((append_one_by_one, append_columns, send))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def acknowledge_too_early(path: Path, pipe: int, writer: int, seed: str) -> None:
    """Acknowledges a record and then does not store it: what the check is there to find."""
    with eventlog.open(path) as log:
        topic = log.topic(TOPIC, partitions=PARTITIONS)
        end = topic.bounds()[0][1]
        acknowledge(pipe, Acknowledgement(writer, 0, 0, end, end + 1))
        threading.Event().wait()


WRITERS: dict[str, Writer] = {
    way.__name__: way for way in (append_one_by_one, append_columns, send, mix, acknowledge_too_early)
}
