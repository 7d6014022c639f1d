"""A listener over an empty log in memory, and members of share groups."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import eventlog
from eventlog.kafka import Listener, listen
from tests.kafka.shares.member import Member


@pytest.fixture
def kafka(log: eventlog.EventLog) -> Iterator[Listener]:
    """A listener over `log`, which has a topic of two partitions."""
    log.topic("jobs", partitions=2)
    with listen(log) as listener:
        yield listener


@pytest.fixture
def one(kafka: Listener) -> Iterator[Member]:
    """A member of a share group that begins with the first record."""
    with Member(kafka, "one") as member:
        member.configure(share_auto_offset_reset="earliest")
        member.join("jobs")
        yield member


@pytest.fixture
def two(kafka: Listener, one: Member) -> Iterator[Member]:
    """Another one."""
    with Member(kafka, "two") as member:
        member.join("jobs")
        yield member
