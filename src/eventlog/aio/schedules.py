"""The schedules of a log, for asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

from eventlog.aio.home import Home
from eventlog.aio.topic import Topic, inner_of
from eventlog.api.schedules import Schedule, ScheduleTotals
from eventlog.clients.admin.schedules import EmbeddedSchedules
from eventlog.options import check_seconds

_AT_ONCE = 500


class Schedules:
    """
    The schedules of a log, for asyncio: see `eventlog.Schedules`.

    A change is made to its end in a cancelled task, too. Get it from `EventLog.schedules`.
    """

    def __init__(self, home: Home, inner: EmbeddedSchedules) -> None:
        self._home = home
        self._inner = inner

    async def list(
        self,
        topic: str | Topic[Any, Any] | None = None,
        *,
        key: object = None,
        start: datetime | float | None = None,
        end: datetime | float | None = None,
        failed: bool = False,
    ) -> AsyncIterator[Schedule[Any, Any]]:
        """Iterate over the schedules, in the order of time: see `eventlog.Schedules.list`."""
        given = None if topic is None else inner_of(topic)
        begin = partial(self._inner.list, given, key=key, start=start, end=end, failed=failed)
        found = await self._home.read(begin, "the list of schedules")
        while page := await self._home.read(lambda: [*islice(found, _AT_ONCE)], "the list of schedules"):
            for schedule in page:
                yield schedule

    async def get(self, schedule: str | Schedule[Any, Any]) -> Schedule[Any, Any] | None:
        """Return a schedule of that id: see `eventlog.Schedules.get`."""
        return await self._home.read(partial(self._inner.get, schedule), "the schedule")

    async def cancel(self, schedule: str | Schedule[Any, Any]) -> bool:
        """Cancel a schedule: see `eventlog.Schedules.cancel`."""
        return await self._home.call(partial(self._inner.cancel, schedule), "the cancellation")

    async def move(
        self, schedule: str | Schedule[Any, Any], *, at: datetime | float | None = None, delay: float | None = None
    ) -> bool:
        """Give a schedule another time: see `eventlog.Schedules.move`."""
        return await self._home.call(partial(self._inner.move, schedule, at=at, delay=delay), "the new time")

    async def describe(self) -> ScheduleTotals:
        """Describe the schedules in numbers."""
        return await self._home.read(self._inner.describe, "the figures")

    async def send_due(self) -> int:
        """Send what is due now: see `eventlog.Schedules.send_due`."""
        return await self._home.call(self._inner.send_due, "the sending")

    async def run(self, *, timeout: float | None = None) -> None:
        """Send what is due, at its time, until the task is cancelled: see `eventlog.Schedules.run`."""
        home = self._home
        home.check()
        seconds = float("inf") if timeout is None else check_seconds("timeout", timeout)
        until_s = home.backend.clock.monotonic() + seconds
        with home.backend.schedules().serving():
            while (left_s := until_s - home.backend.clock.monotonic()) > 0 and not home.is_closed:
                await home.loop.sleep(min(left_s, 1.0))
