"""The log of an event loop on uvloop, which uvicorn takes where it is installed."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import uvloop

from eventlog import aio
from tests.aio.watch import use_everything


def test_everything_works(tmp_path: Path) -> None:
    """Each method that a program has, consumers that wait are woken, and no thread is left."""

    async def main() -> int:
        async with aio.open(tmp_path / "log") as log:
            await use_everything(log, tmp_path / "copy")
            late = await log.topic("late")
            consumers = [await log.consumer(late, start="latest") for _ in range(50)]
            polls = [asyncio.create_task(consumer.poll(60.0)) for consumer in consumers]
            await asyncio.sleep(0.2)
            await late.append(b"x")
            return sum(len(records) for records in await asyncio.gather(*polls))

    threads = set(threading.enumerate())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main()) == 50
    assert set(threading.enumerate()) <= threads
