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
    from eventlog.testing import LogFactory, ManualClock

_CLOCK = "event_log_clock"


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
