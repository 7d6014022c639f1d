"""
The pytest plugin of eventlog: fixtures that hand out logs.

pytest imports this module in every run, so it imports nothing of eventlog before a fixture is used. It stands outside
of the package for the same reason: `import eventlog` takes longer than most test files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import eventlog
    from eventlog.aio import EventLog as LoopLog
    from eventlog.aio.opener import Opening
    from eventlog.kafka import Listener
    from eventlog.testing import LogFactory, ManualClock

_CLOCK = "event_log_clock"
_MARKER = "eventlog_kafka"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker of the listener's options known."""
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(*names, topics=(), **options): the topics that `kafka_listener` begins with, by name or with "
        "their counts of partitions, and options of `eventlog.kafka.listen`",
    )


@pytest.fixture
def event_log_clock() -> ManualClock:
    """The clock of the test's logs, which the test moves: `event_log_clock.advance(60.0)`."""
    from eventlog.testing import ManualClock

    return ManualClock()


@pytest.fixture
def event_log_factory(request: pytest.FixtureRequest) -> Iterator[LogFactory]:
    """A maker of logs, in memory or on disk; they are closed and removed when the test is over."""
    from eventlog.testing import LogFactory

    clock = request.getfixturevalue(_CLOCK) if _CLOCK in request.fixturenames else None
    with LogFactory(clock) as factory:
        yield factory


@pytest.fixture
def event_log(event_log_factory: LogFactory) -> eventlog.EventLog:
    """A new log in memory, of this test alone."""
    return event_log_factory()


@pytest.fixture
def aio_event_log(event_log: eventlog.EventLog) -> Iterator[Opening[LoopLog]]:
    """
    The log of `event_log` for the loop of an async test: `async with aio_event_log as log`, or `await aio_event_log`.

    It is no async fixture, so it serves every plugin that runs async tests, and `asyncio.run()` too.
    """
    from eventlog.testing.loops import opening_for_test

    opening, end = opening_for_test(event_log)
    yield opening
    end()


@pytest.fixture
def kafka_listener(request: pytest.FixtureRequest, event_log: eventlog.EventLog) -> Iterator[Listener]:
    """
    A Kafka listener of this test alone, over the log of `event_log`, at a free port of this machine.

    `@pytest.mark.eventlog_kafka("orders", topics={"payments": 8}, auto_create_topics=False)` makes topics first, and
    passes further options to `eventlog.kafka.listen`. What a module and a class ask for,
    their tests have, too. It is ready in a few milliseconds, with no container.
    """
    from eventlog.testing.kafka_listener import kafka_as_marked

    marks = [(mark.args, mark.kwargs) for mark in request.node.iter_markers(_MARKER)]
    with kafka_as_marked(event_log, marks) as listener:
        yield listener


@pytest.fixture
def kafka_bootstrap(kafka_listener: Listener) -> str:
    """The address of `kafka_listener` for a client: `bootstrap.servers`, `bootstrap_servers=`."""
    return kafka_listener.bootstrap_servers
