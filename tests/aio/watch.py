"""A watch on an event loop: what each of its callbacks costs, and programs that use all of `eventlog.aio`."""

from __future__ import annotations

import asyncio
import gc
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import anyio.lowlevel

import eventlog
from eventlog import aio

_MANY_ROWS = 20_000


class Step(NamedTuple):
    """One callback of a loop: the time that its thread worked for it, and the time that went by."""

    cpu_s: float
    wall_s: float
    name: str


@contextmanager
def watched() -> Iterator[list[Step]]:
    """
    The steps of all loops that run meanwhile: callbacks, timers, descriptors, and parts of tasks.

    Python's collector is off: what it takes depends on what else the process has made.
    """
    steps: list[Step] = []
    handle: Any = asyncio.events.Handle
    run = handle._run

    def measured(self: Any) -> None:
        name = _name(self._callback)  # before: afterwards there may be none
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        run(self)
        steps.append(Step(time.thread_time() - cpu_s, time.perf_counter() - wall_s, name))

    handle._run = measured
    gc.collect()
    gc.disable()
    try:
        yield steps
    finally:
        gc.enable()
        handle._run = run


def _name(callback: Any) -> str:
    task = getattr(callback, "__self__", None)
    return str(task.get_coro() if isinstance(task, asyncio.Task) else callback)


async def use_everything(log: aio.EventLog, copy: Path) -> None:
    """Write, read, fold, copy and wait by each method that a program has, at sizes that one finds."""
    orders = await log.topic("orders", key=str, value="json", partitions=4, index="key")
    numbers = await log.topic("numbers", value=int, partitions=4)
    await orders.append({"item": "tea"}, key="alice", message_id="first")
    await orders.append_many([{"item": number} for number in range(500)], keys=[f"k{n % 20}" for n in range(500)])
    async with anyio.create_task_group() as group:
        for number in range(64):
            group.start_soon(numbers.append, number)
    await _read(log, orders)
    await _send_and_consume(log, orders, numbers)
    await _transact(log, orders)

    async def bill(tx: aio.Transaction, record: eventlog.Record[str, Any]) -> None:
        totals = tx.state("totals", key=str, value=int)
        totals[record.key] = totals.get(record.key, 0) + 1
        tx.send(numbers, 1)

    async with log.processor(orders, function=bill, group="billing", max_records=200) as processor:
        await processor.run_to_end(30.0)
    await log.groups.wait("billing", timeout=30.0)
    await log.groups.list()
    await log.groups.reset_offsets("billing", to="earliest")
    async with await log.projection("counts", _count, topics=[orders], key=str, value=int) as projection:
        await projection.catch_up()
        await projection.wait(timeout=30.0)
        assert projection.state["alice"] >= 1
    assert (await log.copy_topic(orders, to="orders2", value="json")).offset(0, 0) == 0
    await orders.create_partitions(5)
    await log.verify()
    await log.compact(copy)
    await log.delete_topic("orders2")


def _count(state: eventlog.State[str, int], record: eventlog.Record[str, Any]) -> None:
    state[record.key] = state.get(record.key, 0) + 1


async def _read(log: aio.EventLog, orders: aio.Topic[str, Any]) -> None:
    assert len([record async for record in orders.read()]) == 501
    assert [batch async for batch in orders.read_batches()]
    assert [event async for event in orders.history("alice")]
    assert [key async for key in orders.keys()]  # noqa: SIM118
    assert await orders.latest("alice")
    await orders.fold("k1", lambda count, _: count + 1, 0)
    await orders.save_snapshot("k1", 1, version=1)
    await orders.snapshot("k1")
    assert [pair async for pair in log.read_all()]
    assert [pair async for pair in log.follow(timeout=0.01)]
    await log.topics()
    await log.end_log_position()


async def _send_and_consume(log: aio.EventLog, orders: aio.Topic[str, Any], numbers: aio.Topic[Any, int]) -> None:
    async with log.producer() as producer:
        deliveries = [producer.send(numbers, number) for number in range(200)]
        await deliveries[-1]
    async with log.producer(name="one") as producer:
        await producer.send(numbers, 1)
    async with log.consumer(orders, group="reading", auto_commit_interval=0.01) as consumer:
        async with log.consumer(orders, group="reading") as other:
            await other.poll(1.0)
            await consumer.poll(1.0)
        for _ in range(5):
            await consumer.poll(0.05)
        await consumer.commit()
        await consumer.seek_to_beginning()
        await consumer.poll_batches(0.05)
        async with log.transaction(consumer) as tx:
            tx.send(numbers, 2)
    async with log.consumer(re.compile("num.*"), start="earliest") as consumer:
        count = 0
        async for _ in consumer:
            count += 1
            if count == 200:
                break


async def _transact(log: aio.EventLog, orders: aio.Topic[str, Any]) -> None:
    for size in (1, _MANY_ROWS):
        async with log.transaction() as tx:
            rows = tx.state("rows", key=int, value=int)
            for number in range(size):
                rows[number] = number
                if number % 100 == 0:
                    tx.send(orders, {"row": number}, key="rows")
                    await anyio.lowlevel.checkpoint()

    async def change(tx: aio.Transaction) -> int:
        rows = tx.state("rows")
        del rows[0]
        return len(await rows.load(range(5000)))

    assert await log.transact(change) == 4999
    view = log.state("rows", key=int, value=int)
    assert len([key async for key in view]) == _MANY_ROWS - 1
    async with log.transaction() as tx:
        assert len([value async for value in tx.state("rows").values()]) == _MANY_ROWS - 1
        await tx.abort()


async def wait_for_each_commit(log: aio.EventLog) -> None:
    """Have everything committed that commits, once: by tasks at the same time, since the disk is slow."""
    orders = await log.topic("orders", key=str, value=int, partitions=2, index="key")
    await asyncio.gather(*[orders.append(number, key="alice") for number in range(10)])

    async def produce() -> None:
        async with log.producer() as producer:
            await producer.send(orders, 1, key="bob")

    async def consume() -> None:
        async with log.consumer(orders, group="reading", auto_commit_interval=0.05) as consumer:
            for _ in range(10):
                await consumer.poll(0.05, max_records=2)
            await consumer.commit()

    async def transact() -> None:
        async with log.transaction() as tx:
            rows = tx.state("new", key=str, value=int)
            rows["a"] = rows.get("a", 0) + 1
        async with log.transaction() as tx:
            tx.state("new")["b"] = 2
            tx.send(orders, 2, key="carl")

    async def process() -> None:
        def count(tx: aio.Transaction, record: eventlog.Record[str, int]) -> None:
            tx.state("totals", key=str, value=int)[record.key] = record.value

        async with log.processor(orders, function=count, group="billing") as processor:
            await processor.run_to_end(30.0)

    async def project() -> None:
        async with await log.projection("counts", _count, topics=[orders], key=str, value=int) as projection:
            await projection.catch_up()

    async def care() -> None:
        await orders.save_snapshot("alice", 1, version=1)
        await log.copy_topic(orders, to="orders2", value=int)
        await log.groups.reset_offsets("late", to="earliest", topics=[orders])
        await log.delete_topic("orders2")

    await asyncio.gather(produce(), consume(), consume(), transact(), process(), project(), care())
