"""The costs of a loop: its longest steps, and consumers that wait."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import eventlog
from eventlog import aio, testing
from tests.aio.watch import Step, use_everything, wait_for_each_commit, watched

_MOST_SECONDS = 0.005
_ATTEMPTS = 3
"""A step that is long is so every time; a virtual machine that was stopped meanwhile is not."""
_DISK_SECONDS = 0.1


def test_no_step_of_the_loop_works_for_five_milliseconds(tmp_path: Path) -> None:
    """The time that its thread works, callback by callback: how busy the machine is makes no difference to it."""

    async def main(directory: Path) -> None:
        async with aio.open(directory / "log") as log:
            await use_everything(log, directory / "copy")

    longest: list[Step] = []
    for attempt in range(_ATTEMPTS):
        with watched() as steps:
            asyncio.run(main(tmp_path / str(attempt)))
        assert len(steps) > 500
        longest = sorted(steps)[-3:]
        if longest[-1].cpu_s < _MOST_SECONDS:
            return
    raise AssertionError(longest)


def test_no_step_of_the_loop_waits_for_the_disk() -> None:
    """With a disk that takes 100 ms for each commit, no callback takes half of that, whatever commits."""

    async def main(tested: eventlog.EventLog) -> list[Step]:
        async with testing.for_asyncio(tested) as log:
            with testing.slow_disk(tested, _DISK_SECONDS), watched() as steps:
                await asyncio.sleep(0)  # the step that began before is not measured
                await wait_for_each_commit(log)
            return steps

    longest: list[Step] = []
    for _ in range(_ATTEMPTS):
        with testing.open() as tested:
            longest = sorted(asyncio.run(main(tested)), key=lambda step: step.wall_s)[-3:]
        if longest[-1].wall_s < _DISK_SECONDS / 2:
            return
    raise AssertionError(longest)


def test_the_watch_finds_a_step_that_works_and_one_that_waits() -> None:
    """A codec that is slow in the loop, and a call of the sync log that waits for the slow disk."""

    class Slow:
        name = "test.slow"
        schema = None

        def encode(self, value: bytes) -> bytes:
            until_s = time.thread_time() + 2 * _MOST_SECONDS
            while time.thread_time() < until_s:
                pass
            return value

        def decode(self, data: bytes) -> bytes:
            return data

    async def main(tested: eventlog.EventLog) -> list[Step]:
        async with testing.for_asyncio(tested) as log:
            slow = await log.topic("slow", value=Slow())
            with testing.slow_disk(tested, _DISK_SECONDS), watched() as steps:
                await asyncio.sleep(0)
                await slow.append(b"x")
                tested.topic("another")
                await asyncio.sleep(0)
            return steps

    with testing.open() as tested:
        steps = asyncio.run(main(tested))
    assert max(step.cpu_s for step in steps) > _MOST_SECONDS
    assert max(step.wall_s for step in steps) > _DISK_SECONDS / 2


def test_a_thousand_waiting_consumers_have_one_fifo_and_no_thread(path: Path) -> None:
    """And take next to no time: a tenth of a core would be ten times what was measured."""

    async def main() -> float:
        async with aio.open(path) as log:
            orders = await log.topic("orders")
            await orders.append(b"x")
            consumers = [await log.consumer(orders, start="latest") for _ in range(1000)]
            threads = threading.active_count()
            polls = [asyncio.create_task(consumer.poll(60.0)) for consumer in consumers]
            await asyncio.sleep(0.5)
            deadline_s = time.monotonic() + 30.0
            while not (fifos := _fifos(path)) and time.monotonic() < deadline_s:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.1)
            assert fifos == 1
            assert threading.active_count() <= threads + 1
            began_s, cpu_s = time.monotonic(), time.process_time()
            await asyncio.sleep(1.0)
            share = (time.process_time() - cpu_s) / (time.monotonic() - began_s)
            await orders.append(b"y")
            assert {len(records) for records in await asyncio.gather(*polls)} == {1}
            return share

    assert asyncio.run(main()) < 0.1


def _fifos(path: Path) -> int:
    return len(list((path / "waiters").glob("*.fifo")))
