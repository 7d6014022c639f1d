"""Share groups and transactions of Kafka's clients: what is open, aborted or committed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import eventlog
from eventlog.kafka import Listener
from eventlog.kafka.protocol import ErrorCode
from tests.kafka.shares.member import ACCEPT, RELEASE, Member
from tests.kafka.transactional import Transactional


@pytest.fixture
def member(log: eventlog.EventLog, kafka: Listener) -> Iterator[Member]:
    """A member of a group that reads the first partition."""
    with Member(kafka, "one") as member:
        member.configure(share_auto_offset_reset="earliest")
        member.join("jobs")
        yield member


def offsets(found: list[tuple[int, ...]]) -> list[int]:
    return [offset for _, offset, _ in found]


def send(log: Any, *, is_commit: bool | None, name: str = "mover") -> Transactional:
    """A transaction with two records, ended or left open."""
    producer = Transactional(log, name)
    producer.send(b"x", b"y", topic="jobs")
    if is_commit is not None:
        producer.end(is_commit=is_commit)
    return producer


def test_committed_records_alone_are_seen_where_that_is_asked(log: eventlog.EventLog, member: Member) -> None:
    """Aborted ones and markers are done by themselves; those behind an open transaction wait."""
    member.configure(share_isolation_level="read_committed")
    send(log, is_commit=False)  # 0, 1, and the marker 2
    send(log, is_commit=True, name="other")  # 3, 4, and the marker 5
    producer = send(log, is_commit=None)  # 6, 7
    log.topic("jobs").append("z", partition=0)  # 8
    found = offsets(member.begin())
    assert found == [3, 4]
    assert member.acknowledge((3, 4, ACCEPT)) is ErrorCode.NONE
    assert member.fetch() == []
    producer.commit()  # the marker 9
    assert offsets(member.fetch()) == [6, 7, 8]
    assert member.acknowledge((6, 8, ACCEPT)) is ErrorCode.NONE
    assert member.fetch() == []
    assert member.acknowledge(epoch=-1) is ErrorCode.NONE
    assert log.queues.describe("mailers").partitions[0].start == 10


def test_uncommitted_records_are_seen_by_default_and_never_by_native_workers(
    log: eventlog.EventLog, member: Member
) -> None:
    """As in Kafka; one that comes again of an open transaction waits for a native worker until it is decided."""
    send(log, is_commit=False)  # 0, 1, and the marker 2
    producer = send(log, is_commit=None)  # 3, 4
    assert offsets(member.begin()) == [0, 1, 3, 4]
    assert member.acknowledge((0, 1, ACCEPT), (3, 4, RELEASE)) is ErrorCode.NONE
    assert member.acknowledge(epoch=-1) is ErrorCode.NONE
    with log.queue("jobs", group="mailers") as native:
        assert native.poll(timeout=0.0) == []
        producer.commit()
        jobs = native.poll(timeout=10.0, max_records=9)
        assert [(job.value, job.delivery_count) for job in jobs] == [(b"x", 2), (b"y", 2)]
