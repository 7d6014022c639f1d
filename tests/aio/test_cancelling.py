"""
Cancellation at every await: nothing is lost, nothing comes twice, and no task or thread is left.

A scripted service runs in a loop that decides by a seed which ready task runs next. At a step that the seed chooses,
one of its tasks is cancelled; then what the documentation says of the cancelled call is compared with the log.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import eventlog
from eventlog import aio

_SEED = int(os.environ["EVENTLOG_SEED"])


class SeededLoop(asyncio.SelectorEventLoop):
    """A loop that runs what is ready in an order of its own, and counts the steps."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng
        self.step_count = 0
        self.at_step: dict[int, Callable[[], object]] = {}

    def _run_once(self) -> None:
        ready: Any = self._ready  # type: ignore[attr-defined]
        if len(ready) > 1:
            handles = list(ready)
            ready.clear()
            self._rng.shuffle(handles)
            ready.extend(handles)
        self.step_count += 1
        action = self.at_step.pop(self.step_count, None)
        if action is not None:
            action()
        super()._run_once()  # type: ignore[misc]


class Service:
    """Writers, a reader that commits what it has worked on, and what each of them knows."""

    def __init__(self, log: aio.EventLog, orders: aio.Topic[str, int], rng: random.Random) -> None:
        self.log = log
        self.orders = orders
        self.rng = rng
        self.acknowledged: list[int] = []
        self.maybe: set[int] = set()
        self.deliveries: dict[int, eventlog.Delivery] = {}
        self.received: list[int] = []

    async def append(self, number: int) -> None:
        """Append one record, and note whether that was acknowledged."""
        self.maybe.add(number)
        await self.orders.append(number)
        self.acknowledged.append(number)

    async def send(self, number: int) -> None:
        """Send a record, and wait for it."""
        async with self.log.producer() as producer:
            self.deliveries[number] = producer.send(self.orders, number)
            await self.deliveries[number]

    async def transact(self, number: int) -> None:
        """Store a record and a row together."""
        self.maybe.add(number)
        try:
            async with self.log.transaction() as tx:
                tx.state("rows", key=int, value=int)[number] = number
                tx.send(self.orders, number)
        except asyncio.CancelledError as error:
            notes = getattr(error, "__notes__", [])
            if any(note.endswith("was done.") for note in notes):
                self.acknowledged.append(number)
            raise
        self.acknowledged.append(number)

    async def consume(self, count: int) -> None:
        """Poll until so many were received; each poll's records are committed before the next."""
        async with self.log.consumer(self.orders, group="g", auto_commit=False) as consumer:
            while len(self.received) < count:
                records = await consumer.poll(5.0, max_records=3)
                self.received += [record.value for record in records]
                await asyncio.sleep(0)
                await self._commit(consumer)

    async def _commit(self, consumer: aio.Consumer[str, int]) -> None:
        commit = asyncio.current_task()
        assert commit is not None
        await consumer.commit()

    async def iterate(self, count: int) -> None:
        """Read on in a loop, where a record is finished when the next is asked for."""
        if count <= 0:
            return
        async with self.log.consumer(self.orders, group="other") as consumer:
            async for _ in consumer:
                count -= 1
                if not count:
                    break


async def _script(loop: SeededLoop, rng: random.Random, victim: int | None, cancel_at: int) -> int:
    """Run the service, and cancel one of its tasks at a step of the loop; the number of steps it took."""
    async with aio.open(":memory:") as log:
        orders = await log.topic("orders", value=int)
        service = Service(log, orders, rng)
        works: list[Callable[[], Awaitable[None]]] = [
            lambda: service.append(1),
            lambda: service.append(2),
            lambda: service.send(3),
            lambda: service.transact(4),
            lambda: service.consume(5 if victim is None else 3),
            lambda: service.iterate(3),
        ]
        await orders.append(0)
        begin = loop.step_count
        tasks = [asyncio.ensure_future(work()) for work in works]
        if victim is not None:
            loop.at_step[begin + cancel_at] = tasks[victim].cancel
        _, pending = await asyncio.wait(tasks, timeout=30.0)
        assert not pending, "a task hangs"
        took = loop.step_count - begin
        for number, task in enumerate(tasks):
            if task.cancelled():
                assert number == victim
            elif task.exception() is not None:
                raise AssertionError(number) from task.exception()
        await _judge(service)
        return took


async def _judge(service: Service) -> None:
    """Compare what the tasks know with what is stored."""
    stored = Counter([record.value async for record in service.orders.read()])
    assert not [number for number, count in stored.items() if count > 1], "stored twice"
    for number in (0, *service.acknowledged):
        assert stored[number] == 1, f"{number} is lost"
    for number, delivery in service.deliveries.items():
        assert (await delivery).offset >= 0
        assert stored[number] == 1, f"{number} is lost"
    rows = dict(service.log.state("rows", key=int, value=int).items()) if "rows" in await service.log.states() else {}
    assert (4 in rows) == (stored[4] == 1), "half a transaction"
    assert 4 not in service.maybe or (stored[4] == 1) == (4 in service.acknowledged), "the note is wrong"
    assert len(set(service.received)) == len(service.received), "received twice"
    again: list[int] = []
    async with service.log.consumer(service.orders, group="g", auto_commit=False) as consumer:
        while records := await consumer.poll(0.0):
            again += [record.value for record in records]
    assert set(service.received) | set(again) == set(stored), "passed by"


def _run(seed: int) -> None:
    rng = random.Random(seed)
    victim, cancel_at = rng.randrange(6), rng.randrange(1, 60)
    threads = set(threading.enumerate())
    loop = SeededLoop(rng)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        try:
            runner.run(_script(loop, rng, victim, cancel_at))
            assert not asyncio.all_tasks(loop)
        except BaseException as error:
            error.add_note(f"seed {seed}: task {victim} was cancelled at step {cancel_at}")
            raise
    assert set(threading.enumerate()) <= threads


def test_a_run_without_cancellation_does_everything() -> None:
    """The script itself is sound."""
    rng = random.Random(1)
    loop = SeededLoop(rng)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(_script(loop, rng, None, 0)) > 10


@pytest.mark.timeout(120)
def test_cancellation_at_any_step_loses_nothing_and_doubles_nothing() -> None:
    """Three hundred schedules; a failure prints its seed."""
    for number in range(300):
        _run(_SEED * 100_000 + number)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_cancellation_in_ten_thousand_schedules() -> None:
    """The same, longer."""
    for number in range(10_000):
        _run(_SEED * 100_000 + 1_000 + number)
