"""A log under test for an event loop."""

from __future__ import annotations

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
