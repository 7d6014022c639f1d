"""Processors and projections of an event loop, and waiting for a group."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import eventlog
from eventlog import aio
from eventlog.aio.apart import Apart
from tests.clients.helpers import PATIENCE_SECONDS


def test_a_processor_calls_coroutine_functions_in_the_loop() -> None:
    """What they send is stored with the offsets; a record that fails goes to `on_failure`."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            orders, bills = await log.topic("orders", value=int), await log.topic("bills", value=int)
            await orders.append_many([1, 2, 3])
            loop_thread = threading.get_ident()
            failed = []

            async def bill(tx: aio.Transaction, record: eventlog.Record[Any, int]) -> None:
                await asyncio.sleep(0)
                assert threading.get_ident() == loop_thread
                if record.value == 2:
                    raise ArithmeticError
                tx.send(bills, record.value * 10)

            async def give_up(tx: aio.Transaction, record: eventlog.Record[Any, int], error: Exception) -> None:
                failed.append((record.value, type(error)))

            async with log.processor(
                orders, function=bill, group="billing", attempts=2, retry_pause=0.0, on_failure=give_up
            ) as processor:
                assert await processor.run_to_end(10.0) == 3
                running = asyncio.create_task(processor.run())
                await orders.append(4)
                await log.groups.wait("billing", timeout=10.0)
                processor.stop()
                assert await running == 1
            assert sorted([record.value async for record in bills.read()]) == [10, 30, 40]
            assert failed == [(2, ArithmeticError)]

    asyncio.run(main())


def test_a_cancelled_processor_stores_nothing_of_the_record_in_hand() -> None:
    """Its function is cancelled, which is no failure of the record: it comes again, and is tried once."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            orders = await log.topic("orders", value=int)
            bills = await log.topic("bills", value=int)
            await orders.append(1)
            begun, calls = asyncio.Event(), 0

            async def work(tx: aio.Transaction, record: eventlog.Record[Any, int]) -> None:
                nonlocal calls
                calls += 1
                tx.send("bills", 99)
                begun.set()
                if calls == 1:
                    await asyncio.sleep(3600)
                processor.stop()

            async with log.processor(orders, function=work, group="g", attempts=1) as processor:
                running = asyncio.create_task(processor.run())
                await begun.wait()
                running.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await running
                assert (await bills.bounds())[0] == (0, 0)
                async with asyncio.timeout(10):
                    assert await processor.run() == 1
                assert calls == 2
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_a_wait_for_a_group_tells_what_is_missing() -> None:
    """In time, and when the log is closed."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            orders = await log.topic("orders")
            await orders.append(b"a")
            async with log.consumer(orders, group="g"):
                with pytest.raises(eventlog.GroupBehind) as raised:
                    await log.groups.wait("g", timeout=0.01)
                assert raised.value.lags == {eventlog.TopicPartition("orders", 0): 1}
            waiting = asyncio.create_task(log.groups.wait("g", topics=[orders]))
            await asyncio.sleep(0.01)
            assert not waiting.done()
        with pytest.raises(eventlog.LogClosed):
            await waiting

    asyncio.run(main())


def test_a_projection_runs_and_is_waited_for() -> None:
    """A writer reads its own writes; a cancelled run ends, and the next goes on."""

    def count(state: Any, record: eventlog.Record[Any, Any]) -> None:
        state[record.key] = state.get(record.key, 0) + 1

    async def main() -> None:
        async with aio.open(":memory:") as log:
            orders = await log.topic("orders", key=str)
            projection = await log.projection("counts", count, topics=[orders], key=str, value=int)
            await orders.append(b"x", key="a")
            assert await projection.catch_up() == 1
            for number in range(2):
                running = asyncio.create_task(projection.run())
                metadata = await orders.append(b"x", key="a")
                await projection.wait(metadata.log_position, timeout=10.0)
                assert projection.state["a"] == number + 2
                running.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await running
            await orders.append(b"x", key="b")
            with pytest.raises(TimeoutError):
                await projection.wait(timeout=0.01)
            assert projection.lag == 1
            assert await projection.rebuild() == 4
            assert await log.projections() == [projection.name]
            await projection.close()
            await log.delete_projection("counts")

    asyncio.run(main())


def test_what_a_long_job_has_committed_for_a_task_is_told_at_once() -> None:
    """A processor's thread may lead the commit of a record of the loop, and run on for hours."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            orders = await log.topic("orders", key=str)
            processor = await log.processor(orders, function=lambda *_: None, group="g")
            projection = await log.projection("counts", lambda *_: None, topics=[orders], key=str, value=int)
            for worker in (processor._worker, projection._worker, Apart[None](log._home, "it", "")._worker):
                told, may_end = asyncio.Event(), threading.Event()

                def work(told: asyncio.Event = told, may_end: threading.Event = may_end) -> None:
                    log._home.outbox.put(told.set)
                    assert may_end.wait(PATIENCE_SECONDS)

                working = worker.call(work)
                await asyncio.wait_for(told.wait(), PATIENCE_SECONDS)
                may_end.set()
                await working
                worker.stop()
                worker.join()

    asyncio.run(main())
