"""Schedules in an event loop: added, listed, moved, cancelled and sent without holding it up."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import eventlog
import eventlog.aio
from eventlog import testing
from eventlog.testing import ManualClock

PATIENCE_SECONDS = 60.0


def test_a_task_schedules_and_another_gets_the_record(path: Path) -> None:
    """Also in a transaction; what is cancelled does not come."""

    async def main() -> list[str]:
        async with eventlog.aio.open(path) as log:
            mails = await log.topic("mails", value=str)
            async with log.consumer(mails) as consumer:
                cancelled = await mails.schedule("never", delay=3600.0)
                async with await log.transaction() as tx:
                    moved = tx.schedule(mails, "second", delay=3600.0)
                await mails.schedule("first", delay=0.05)
                assert [one.value async for one in log.schedules.list(mails, key=None)][-1] == "second"
                assert await log.schedules.move(moved.id, delay=0.2)
                assert await log.schedules.cancel(cancelled)
                assert await log.schedules.get(cancelled.id) is None
                values: list[str] = []
                while len(values) < 2:
                    values += [record.value for record in await consumer.poll(PATIENCE_SECONDS)]
            assert (await log.schedules.describe()).waiting == 0
            assert await log.schedules.send_due() == 0
            await log.schedules.run(timeout=0.0)
            return values

    assert asyncio.run(asyncio.wait_for(main(), PATIENCE_SECONDS)) == ["first", "second"]
    with eventlog.open(path) as log:
        assert log.verify().problems == ()


def test_a_loop_leaves_schedules_and_cleaning_to_others(path: Path) -> None:
    """As `eventlog.open` does, by the same options."""
    with testing.open(path, clock=ManualClock(datetime(2020, 1, 1, tzinfo=UTC))) as log:
        topic = log.topic("mails", value=str, retention=1.0)
        topic.append("old")
        topic.schedule("overdue", delay=60.0)

    async def main() -> tuple[list[str], int]:
        async with eventlog.aio.open(path, schedules=False, cleaner=False) as log:
            mails = await log.topic("mails")
            async with log.consumer(mails) as consumer:
                values = [record.value for record in await consumer.poll(PATIENCE_SECONDS)]
                values += [record.value for record in await consumer.poll(0.3)]
            return values, (await log.schedules.describe()).waiting

    assert asyncio.run(asyncio.wait_for(main(), PATIENCE_SECONDS)) == (["old"], 1)
