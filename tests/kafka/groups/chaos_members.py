"""
Members of a chaotic group that are clients of Kafka: confluent-kafka in processes of its own, by either protocol.

They write down what they do in the words of the native members (`tests.groups.history`), so that the same checker
judges them. A program here commits what it was handed, by itself, and gives partitions up as Kafka's clients do.
"""

from __future__ import annotations

import os
import random
import threading
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import confluent_kafka

import eventlog
from tests.groups.history import (
    Asking,
    Assigned,
    ByMember,
    Closed,
    Closing,
    Committed,
    Committing,
    Failed,
    Fenced,
    Handed,
    Joining,
    Lost,
    Offset,
    Place,
    Revoked,
    Scribe,
    now_ns,
)
from tests.groups.workers import GROUP, TOPICS, runs_of
from tests.processes.child import hear, say

FENCED = {
    confluent_kafka.KafkaError.ILLEGAL_GENERATION,
    confluent_kafka.KafkaError.UNKNOWN_MEMBER_ID,
    confluent_kafka.KafkaError.REBALANCE_IN_PROGRESS,
    confluent_kafka.KafkaError.STALE_MEMBER_EPOCH,
    confluent_kafka.KafkaError.FENCED_MEMBER_EPOCH,
    confluent_kafka.KafkaError._STATE,
    confluent_kafka.KafkaError._ASSIGNMENT_LOST,
}
UNANSWERED = {
    confluent_kafka.KafkaError._TRANSPORT,
    confluent_kafka.KafkaError._TIMED_OUT,
    confluent_kafka.KafkaError._WAIT_COORD,
    confluent_kafka.KafkaError.NOT_COORDINATOR,
    confluent_kafka.KafkaError.COORDINATOR_NOT_AVAILABLE,
}
"""The listener died or stops: nobody knows what became of the commit."""
_PATIENCE_S = 10.0

OPTIONS = {
    "eager": {"partition.assignment.strategy": "range,roundrobin"},
    "cooperative": {"partition.assignment.strategy": "cooperative-sticky"},
    "new": {"group.protocol": "consumer"},
}


class KafkaMember:
    """One consumer of the group, in one thread, and all that it says."""

    def __init__(self, servers: str, scribe: Scribe, name: str, kind: str, session_s: float) -> None:
        self._scribe = scribe
        self._name = name
        self._kind = kind
        self._chance = random.Random(name)
        self._pause = threading.Event()
        self._next: dict[Place, int] = {}
        self._committed: dict[Place, int] = {}
        self._is_closing = False
        timing = {} if kind == "new" else {"session.timeout.ms": int(session_s * 1000), "heartbeat.interval.ms": 100}
        self._options: dict[str, Any] = {
            "bootstrap.servers": servers,
            "group.id": GROUP,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
            "reconnect.backoff.ms": 20,
            "retry.backoff.ms": 20,
            "log_level": 2,  # lines of refused connections fill the pipe to the parent, and hold the member up
            **timing,
            **OPTIONS[kind],
        }

    def close(self) -> None:
        """From another thread: lets it leave the group and end."""
        self._is_closing = True

    def run(self) -> None:
        """Joins, reads, commits, leaves; every error is written down."""
        try:
            self._write(Joining, os.getpid(), 1, False, None)
            consumer = confluent_kafka.Consumer(self._options)
            consumer.subscribe(
                list(TOPICS), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            say("joined", self._name)
            while not self._is_closing:
                self._read(consumer)
            self._write(Closing)
            consumer.close()
            self._write(Closed)
        except BaseException as error:
            self._write(Failed, "".join(traceback.format_exception(error)[-4:]))
            raise

    def _read(self, consumer: confluent_kafka.Consumer) -> None:
        self._write(Asking)
        message = consumer.poll(self._chance.choice((0.0, 0.05, 0.2)))
        if message is None:
            self._commit(consumer)
            return
        if message.error() is not None:
            if message.error().fatal():
                raise confluent_kafka.KafkaException(message.error())
            return
        place = (message.topic(), message.partition())
        key, value = message.key().decode(), int.from_bytes(message.value(), "big", signed=True)
        self._write(Handed, runs_of([eventlog.Record(*place, message.offset(), message.timestamp()[1], key, value)]))
        self._next[place] = message.offset() + 1
        if self._chance.random() < 0.02:
            self._pause.wait(self._chance.uniform(0.01, 0.1))
        if self._chance.random() < 0.1:
            self._commit(consumer)

    def _commit(self, consumer: confluent_kafka.Consumer) -> None:
        new = {place: offset for place, offset in self._next.items() if self._committed.get(place) != offset}
        if not new:
            return
        self._write(Committing, [Offset(*place, offset) for place, offset in new.items()])
        offsets = [confluent_kafka.TopicPartition(*place, offset) for place, offset in new.items()]
        try:
            outcome = consumer.commit(offsets=offsets, asynchronous=False)
            codes = {one.error.code() for one in outcome or () if one.error is not None}
        except confluent_kafka.KafkaException as error:
            codes = {error.args[0].code()}
        if not codes:
            self._write(Committed)
            self._committed.update(new)
        elif codes <= FENCED:
            self._write(Fenced)
        elif codes <= FENCED | UNANSWERED:
            pass
        else:
            raise AssertionError(f"the commit failed: {codes}")

    # -- callbacks -------------------------------------------------------------------------------------------

    def _on_assign(self, consumer: confluent_kafka.Consumer, partitions: list[confluent_kafka.TopicPartition]) -> None:
        found = consumer.committed(partitions, timeout=_PATIENCE_S) if partitions else []
        for one in found:
            one.offset = max(one.offset, 0)
        starts = [Offset(one.topic, one.partition, one.offset) for one in found]
        if self._kind == "eager":
            consumer.assign(found)
        else:
            consumer.incremental_assign(found)
        self._write(Assigned, starts)
        self._next.update({start.place: start.offset for start in starts})
        self._committed.update({start.place: start.offset for start in starts})

    def _on_revoke(self, consumer: confluent_kafka.Consumer, partitions: list[confluent_kafka.TopicPartition]) -> None:
        if self._chance.random() < 0.7:
            self._commit(consumer)
        self._write(Revoked, [(one.topic, one.partition) for one in partitions])
        self._forget(partitions)

    def _on_lost(self, consumer: confluent_kafka.Consumer, partitions: list[confluent_kafka.TopicPartition]) -> None:
        self._write(Lost, [(one.topic, one.partition) for one in partitions])
        self._forget(partitions)

    def _forget(self, partitions: Iterable[confluent_kafka.TopicPartition]) -> None:
        for one in partitions:
            self._next.pop((one.topic, one.partition), None)
            self._committed.pop((one.topic, one.partition), None)

    def _write(self, kind: Callable[..., ByMember], *fields: object) -> None:
        self._scribe.write(kind(now_ns(), self._name, *fields))


def consume_by_kafka(servers: str, folder: str, name: str, kind: str, session_s: float) -> None:
    """Runs one member until the parent says to close."""
    scribe = Scribe(Path(folder) / f"{name}.events")
    member = KafkaMember(servers, scribe, name, kind, session_s)
    thread = threading.Thread(target=member.run)
    thread.start()
    hear()
    member.close()
    thread.join()
    say("closed")
