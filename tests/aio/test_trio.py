"""The log of an event loop under trio: all of it, cancelled anywhere, from other loops, and in small."""

from __future__ import annotations

import ast
import asyncio
import os
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel

import eventlog
from eventlog import aio, testing
from eventlog.testing import aio as kit
from tests.aio.service import Service, judge
from tests.aio.watch import use_everything

_SEED = int(os.environ["EVENTLOG_SEED"])


def test_everything_works(tmp_path: Path) -> None:
    """Each method that a program has, and no thread is left."""

    async def main() -> None:
        async with aio.open(tmp_path / "log") as log:
            await use_everything(log, tmp_path / "copy")

    threads = set(threading.enumerate())
    trio.run(main)
    assert set(threading.enumerate()) <= threads


class Steps(trio.abc.Instrument):
    """A count of the steps of all tasks, which cancels a scope at one of them."""

    def __init__(self, cancel_at: int) -> None:
        self.scope = trio.CancelScope()
        self._left = cancel_at

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count."""
        self._left -= 1
        if not self._left:
            self.scope.cancel()


async def _script(rng: random.Random, victim: int | None, steps: Steps) -> None:
    """Run the service, and cancel one of its tasks at a step of the run."""
    async with aio.open(":memory:") as log:
        orders = await log.topic("orders", value=int)
        service = Service(log, orders, rng)
        await orders.append(0)
        works = service.works(is_cancelled=victim is not None)

        async def run(number: int) -> None:
            if number == victim:
                trio.lowlevel.add_instrument(steps)
                with steps.scope:
                    await works[number]()
            else:
                await works[number]()

        with trio.fail_after(30.0):
            async with trio.open_nursery() as nursery:
                for number in range(len(works)):
                    nursery.start_soon(run, number)
        await judge(service)


@pytest.mark.timeout(120)
def test_cancellation_at_any_step_loses_nothing_and_doubles_nothing() -> None:
    """Two hundred schedules of the service that runs on asyncio too; a failure prints its seed."""
    threads = set(threading.enumerate())
    cancelled_count = 0
    for seed in range(_SEED * 1000, _SEED * 1000 + 200):
        rng = random.Random(seed)
        victim, steps = rng.randrange(6), Steps(rng.randrange(1, 60))
        try:
            trio.run(_script, rng, victim, steps)
        except BaseException as error:
            error.add_note(f"seed {seed}: task {victim} was cancelled")
            raise
        cancelled_count += steps.scope.cancelled_caught
    assert cancelled_count > 20
    assert set(threading.enumerate()) <= threads


def test_a_processor_is_cancelled_with_its_function_and_keeps_the_errors_of_records() -> None:
    """Nothing of its transaction is stored, and the record comes again; an error of a function goes to `on_failure`."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            orders, bills = await log.topic("orders", value=int), await log.topic("bills", value=int)
            await orders.append_many([1, 2])
            begun, failed = trio.Event(), []

            async def hang(tx: aio.Transaction, record: eventlog.Record[Any, int]) -> None:
                tx.send(bills, -1)
                begun.set()
                await trio.sleep_forever()

            async def fail(tx: aio.Transaction, record: eventlog.Record[Any, int]) -> None:
                await trio.lowlevel.checkpoint()
                if record.value == 1:
                    raise ArithmeticError
                tx.send(bills, record.value)

            async def give_up(tx: aio.Transaction, record: eventlog.Record[Any, int], error: Exception) -> None:
                failed.append((record.value, type(error)))

            async with log.processor(orders, function=hang, group="g") as processor:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(processor.run)
                    await begun.wait()
                    nursery.cancel_scope.cancel()
            async with log.processor(
                orders, function=fail, group="g", attempts=2, retry_pause=0.0, on_failure=give_up
            ) as processor:
                assert await processor.run_to_end(10.0) == 2
            assert [record.value async for record in bills.read()] == [2]
            assert failed == [(1, ArithmeticError)]

    trio.run(main)


def test_callbacks_may_be_coroutine_functions_and_closing_is_bounded_by_nobody_else() -> None:
    """They run in the task that polls, or when a cancelled task closes the consumer."""

    async def main() -> list[str]:
        told: list[str] = []

        async def assigned(partitions: list[eventlog.TopicPartition]) -> None:
            await trio.lowlevel.checkpoint()
            told.append("assigned")

        async def revoked(partitions: list[eventlog.TopicPartition]) -> None:
            await trio.sleep(0.01)
            told.append("revoked")

        async with aio.open(":memory:") as log:
            await log.topic("orders")
            with trio.CancelScope() as scope:
                async with log.consumer("orders", group="g", on_assigned=assigned, on_revoked=revoked) as consumer:
                    await consumer.poll(0.0)
                    scope.cancel()
                    await consumer.poll(60.0)
            assert (scope.cancelled_caught, consumer.is_closed) == (True, True)
        return told

    assert trio.run(main) == ["assigned", "revoked"]


def test_waiting_consumers_share_one_fifo_and_wake(path: Path) -> None:
    """As on asyncio: no thread for any of them."""

    async def main() -> None:
        async with aio.open(path) as log:
            orders = await log.topic("orders")
            await orders.append(b"x")
            consumers = [await log.consumer(orders, start="latest") for _ in range(100)]
            threads, counts = threading.active_count(), []

            async def poll(consumer: aio.Consumer[Any, Any]) -> None:
                counts.append(len(await consumer.poll(60.0)))

            async with trio.open_nursery() as nursery:
                for consumer in consumers:
                    nursery.start_soon(poll, consumer)
                await trio.sleep(0.3)
                assert sum(name.endswith(".fifo") for name in os.listdir(path / "waiters")) == 1  # noqa: PTH208
                assert threading.active_count() <= threads + 1
                await orders.append(b"y")
            assert counts == [1] * 100

    trio.run(main)


def test_a_delivery_of_a_sync_producer_can_be_awaited(log: eventlog.EventLog) -> None:
    """Its thread wakes the run."""

    async def main() -> list[int]:
        with log.producer() as producer:
            deliveries = [producer.send(log.topic("orders"), b"tea") for _ in range(5)]
            return [(await delivery).offset for delivery in deliveries]

    assert trio.run(main) == [0, 1, 2, 3, 4]


def test_a_log_of_one_loop_is_refused_in_another() -> None:
    """From asyncio in another thread, and after the run has ended; closing it there is harmless."""

    async def use(topic: aio.Topic[Any, Any]) -> None:
        with pytest.raises(eventlog.ConcurrentUse):
            await topic.append(b"x")

    async def main() -> aio.Topic[Any, Any]:
        with testing.open() as tested:
            async with testing.for_asyncio(tested) as log:
                topic = await log.topic("orders")
                await trio.to_thread.run_sync(lambda: asyncio.run(use(topic)))
                await topic.append(b"x")
                return topic

    topic = trio.run(main)

    async def late() -> None:
        with pytest.raises(eventlog.LogClosed):
            await topic.append(b"x")

    trio.run(late)


def test_the_kit_serves_trio() -> None:
    """A second member, waiting for records, and a crash."""

    async def main() -> None:
        async with kit.open() as log:
            orders = await log.topic("orders", partitions=2, value=str)
            async with log.consumer(orders, group="billing") as ours, trio.open_nursery() as nursery:
                nursery.start_soon(ours.poll, 10.0)
                async with kit.Member(log, orders, group="billing") as other:
                    [tp] = await other.wait_for_partitions(1)
                    await orders.append("tea", partition=tp.partition)
                    await log.groups.wait("billing", timeout=10.0)
                    assert [record.value for record in other.records] == ["tea"]
                nursery.cancel_scope.cancel()
            assert len(await kit.produced(orders).wait(1)) == 1
            async with kit.crash(log) as again:
                assert kit.produced(await again.topic("orders", value=str)).values == ["tea"]

    trio.run(main)


def test_a_program_on_asyncio_does_not_import_trio() -> None:
    """It costs whoever has it, and nobody else."""
    code = (
        "import asyncio, sys, eventlog.aio\n"
        "async def main():\n"
        "    async with eventlog.aio.open(':memory:') as log: await log.topics()\n"
        "asyncio.run(main()); print('trio' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"


def test_the_layer_asks_no_kind_of_loop_by_its_name() -> None:
    """What it needs of a loop is in `clients/awaiting/`, once for each kind."""
    sources = list(Path(aio.__file__).parent.glob("*.py"))
    assert len(sources) > 10
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {"asyncio", "trio", "anyio"} & {name.split(".")[0] for name in names}, source.name
