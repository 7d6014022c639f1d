"""A log under test for an event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from eventlog.api.event_log import EventLog

if TYPE_CHECKING:  # what a loop needs is imported by the first test that has one
    from eventlog.aio.log import EventLog as LoopLog
    from eventlog.aio.opener import Opening


def for_asyncio(log: EventLog) -> Opening[LoopLog]:
    """
    The same log for the running event loop, by `async with`: a log of `eventlog.aio` with the clock and the faults.

    The faults, `produced()`, `Member` and `crash()` take either; `crash()` returns a log without a loop, for which
    this is called again. Closing the log of the loop closes the other.

    Example:
        >>> import asyncio
        >>> from eventlog import testing
        >>> async def test(event_log):
        ...     async with testing.for_asyncio(event_log) as log:
        ...         orders = await log.topic("orders", value=str)
        ...         await orders.append("tea")
        ...         return testing.produced(orders).values
        >>> asyncio.run(test(testing.open()))
        ['tea']
    """
    from eventlog.aio.opening import over

    return over(str(log.path), lambda: log)


def opening_for_test(log: EventLog) -> tuple[Opening[LoopLog], Callable[[], None]]:
    """The same, and a function that ends what was opened and not closed, when the loop of the test has ended."""
    from eventlog.aio.opener import Opening

    opened: list[LoopLog] = []

    async def open_it() -> LoopLog:
        opened.append(await for_asyncio(log))
        return opened[-1]

    def end() -> None:
        for one in opened:
            one._abandon()

    return Opening(open_it), end
