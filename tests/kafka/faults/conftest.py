"""A listener over an empty log in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import eventlog
import eventlog.kafka
from tests.kafka.wire import Wire


@pytest.fixture
def kafka(log: eventlog.EventLog) -> Iterator[eventlog.kafka.Listener]:
    """A listener over `log`."""
    with eventlog.kafka.listen(log) as listener:
        yield listener


@pytest.fixture
def wire(kafka: eventlog.kafka.Listener) -> Iterator[Wire]:
    """A connection to it."""
    with Wire(kafka) as wire:
        yield wire
