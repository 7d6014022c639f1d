"""The costs of a loop: its longest steps, and consumers that wait."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

from eventlog import aio

_MOST_SECONDS = 0.005


class WatchedLoop(asyncio.SelectorEventLoop):
    """A loop that measures how long its steps take."""

    def __init__(self) -> None:
        super().__init__()
        self.steps_s: list[float] = []

    def call_soon(self, callback, *arguments, context=None):  # type: ignore[no-untyped-def, override]
        """Measure a callback, which may be a step of a task."""

        def measured() -> None:
            began_s = time.perf_counter()
            try:
                callback(*arguments)
            finally:
                self.steps_s.append(time.perf_counter() - began_s)

        return super().call_soon(measured, context=context)


def test_no_step_holds_the_loop_up(path: Path) -> None:
    """Writers, members and transactions on a disk: one step in fifty may be late, since others use the machine."""

    async def main() -> None:
        async with aio.open(path) as log:
            orders = await log.topic("orders", value=int, partitions=4)

            async def write(number: int) -> None:
                for value in range(100):
                    await orders.append(number * 100 + value)

            async def consume() -> None:
                async with log.consumer(orders, group="g", auto_commit_interval=0.01) as consumer:
                    until_s = time.monotonic() + 1.0
                    while time.monotonic() < until_s:
                        await consumer.poll(0.05)

            async def transact() -> None:
                for value in range(100):
                    async with log.transaction() as tx:
                        tx.state("rows", key=int, value=int)[value] = value
                        tx.send(orders, value)

            await asyncio.gather(*map(write, range(8)), consume(), consume(), transact())

    loop = WatchedLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())
    steps_s = sorted(loop.steps_s)
    assert len(steps_s) > 500
    assert steps_s[len(steps_s) * 98 // 100] < _MOST_SECONDS, steps_s[-5:]


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
