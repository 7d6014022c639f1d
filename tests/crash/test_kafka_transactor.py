"""A process with transactions of Kafka's clients is killed: each is seen whole, or not at all."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

import eventlog
from tests.crash import kafka_transactor
from tests.crash.checks import file_problems
from tests.crash.nursery import Nursery
from tests.crash.records import PARTITIONS, TOPIC, Acknowledgement, Stamp, acknowledgements, value_of
from tests.kafka.transactional import Transactional

KILLS = 12
STOPS = 4


def make_topics(log: Any) -> None:
    """The topics of the writers."""
    log.topic(TOPIC, partitions=PARTITIONS)
    log.topic(kafka_transactor.COUNTER).append_many([b""] * 10_000)


@pytest.mark.parametrize("count", [1, 2])
def test_killed_transactions_are_whole(nursery: Nursery, place: Path, rng: random.Random, count: int) -> None:
    """With one producer, and with two in two processes; a reader looks on while they work."""
    acknowledged: list[Acknowledgement] = []
    with eventlog.open(place) as log:
        make_topics(log)
    writers: list[int] = []
    for kill in range(KILLS // count):
        fresh = [kill * count + number for number in range(count)]
        writers += fresh
        victims = [nursery.start("kafka", place, writer=writer, seed=str(rng.random())) for writer in fresh]
        with eventlog.open(place) as log:
            for victim in victims:
                victim.watch(rng.uniform(0.0, 0.03), least_bytes=32 * 2 if rng.random() < 0.7 else 0)
            problems = kafka_transactor.problems_of(log, [], [], may_end_before=True)
            assert problems == [], "while they work"
        for victim in victims:
            acknowledged += acknowledgements(victim.kill())
        with eventlog.open(place) as log:
            problems = kafka_transactor.problems_of(log, [], [], may_end_before=count > 1)
            assert problems == [], "while transactions of the dead are open"
            for writer in fresh:  # the next producer of the id: it aborts what is open
                Transactional(log, f"writer-{writer}")
            assert kafka_transactor.problems_of(log, acknowledged, writers) == []
            assert log.verify().problems == ()
    assert file_problems(place) == []


def test_a_producer_that_was_stopped_is_fenced_by_its_heir(nursery: Nursery, place: Path, rng: random.Random) -> None:
    """It is stopped anywhere, another one takes its id, and nothing is seen of what it does when it is awake again."""
    acknowledged: list[Acknowledgement] = []
    with eventlog.open(place) as log:
        make_topics(log)
    for number in range(STOPS):
        writers = [2 * number, 2 * number + 1]
        with eventlog.open(place) as log:
            old = nursery.start("kafka", place, writer=writers[0], seed=str(rng.random()))
            old.watch(rng.uniform(0.0, 0.03), least_bytes=32)  # it has opened the log
            old.stop()
            problems = kafka_transactor.problems_of(log, [], [], may_end_before=True)
            assert problems == [], "while it is stopped"
            heir = nursery.start("kafka heir", place, writer=writers[1], seed=str(rng.random()))
            heir.watch(rng.uniform(0.0, 0.1))  # nothing comes if the one that is stopped holds the write lock
            old.go_on()
            acknowledged += acknowledgements(old.end())
            heir.watch(0.01, least_bytes=32)
            acknowledged += acknowledgements(heir.kill())
            Transactional(log, f"writer-{writers[0]}")  # aborts what the heir has left open
            assert kafka_transactor.problems_of(log, acknowledged, writers) == []
            assert log.verify().problems == ()
    assert {one.writer for one in acknowledged} >= {2 * number + 1 for number in range(STOPS)}
    assert file_problems(place) == []


@pytest.mark.parametrize("plant", ["part", "aborted", "lost", "offset"])
def test_harness_finds_what_may_not_be_seen(log: Any, plant: str) -> None:
    """A part of a transaction, an aborted one, one that is missing, and an offset of another."""
    make_topics(log)
    number = 2 if plant == "aborted" else 0
    count = PARTITIONS * 2
    values = [value_of(Stamp(7, number, index, count)) for index in range(count)]
    producer = Transactional(log, "writer-7")
    for value in values[: 3 if plant == "part" else count if plant != "lost" else 0]:
        producer.send(value, topic=TOPIC)
    if plant != "lost":
        producer.send_offset("group-7", 5 if plant == "offset" else number, topic=kafka_transactor.COUNTER)
        producer.commit()
    words = {"part": "the records", "aborted": "aborted", "lost": "is not seen", "offset": "was stored with"}
    problems = kafka_transactor.problems_of(log, [Acknowledgement(7, number, 0, 0, 1)], [7])
    assert any(words[plant] in problem for problem in problems), problems
