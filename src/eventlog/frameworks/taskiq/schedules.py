"""The source of schedules: what is to be sent at a time, or again and again, as rows of a state."""

from __future__ import annotations

import os

from taskiq import ScheduledTask, ScheduleSource

import eventlog
from eventlog.frameworks.taskiq.home import Home
from eventlog.interruptions import unless_interrupted
from eventlog.options import Durability, check_topic_name


class EventLogScheduleSource(ScheduleSource):
    """
    A source of schedules on a log, for `taskiq scheduler` and `schedule_by_cron` and its like.

    Args:
        path: the directory of the log; that of the broker will do.
        name: the name of its state.
        durability: as `eventlog.open`.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, name: str = "taskiq.schedules", durability: Durability = "commit"
    ) -> None:
        self._name = check_topic_name(name)
        self._home = Home("source of schedules", path, durability)

    async def startup(self) -> None:
        """Open the log."""
        await self._home.open()

    async def shutdown(self) -> None:
        """Close the log."""
        await self._home.close()

    async def get_schedules(self) -> list[ScheduledTask]:
        """Return all schedules."""
        try:
            rows = self._home.log.state(self._name, key=str, value=str)
        except unless_interrupted(eventlog.UnknownState):
            return []
        return [ScheduledTask.model_validate_json(text) async for text in rows.values()]

    async def add_schedule(self, schedule: ScheduledTask) -> None:
        """Store a schedule; one with the same id is replaced."""
        async with self._home.log.transaction() as transaction:
            rows = transaction.state(self._name, key=str, value=str)
            rows[schedule.schedule_id] = schedule.model_dump_json()

    async def delete_schedule(self, schedule_id: str) -> None:
        """Delete a schedule, if there is one of this id."""
        async with self._home.log.transaction() as transaction:
            transaction.state(self._name, key=str, value=str).delete(schedule_id)

    async def post_send(self, task: ScheduledTask) -> None:
        """Delete a schedule for one time, which was sent."""
        if task.time is not None:
            await self.delete_schedule(task.schedule_id)
