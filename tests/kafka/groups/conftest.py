"""A listener over an empty log in memory, and members of groups."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import eventlog
from eventlog.kafka import Listener, listen
from tests.kafka.groups.members import GroupMember


@pytest.fixture
def kafka(log: eventlog.EventLog) -> Iterator[Listener]:
    """A listener over `log`, which has a topic of three partitions."""
    log.topic("orders", partitions=3)
    with listen(log) as listener:
        yield listener


@pytest.fixture
def member(kafka: Listener) -> Iterator[GroupMember]:
    """A client that is no member yet."""
    with GroupMember(kafka) as member:
        yield member


@pytest.fixture
def other(kafka: Listener) -> Iterator[GroupMember]:
    """Another one."""
    with GroupMember(kafka) as member:
        yield member
