"""A scripted service whose tasks can be cancelled anywhere, and the judgement of what it leaves; for any loop."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel

import eventlog
from eventlog import aio


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
        except anyio.get_cancelled_exc_class() as error:
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
                await anyio.lowlevel.checkpoint()
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

    def works(self, *, is_cancelled: bool) -> list[Callable[[], Awaitable[None]]]:
        """What its tasks do, of which one may be cancelled."""
        return [
            lambda: self.append(1),
            lambda: self.append(2),
            lambda: self.send(3),
            lambda: self.transact(4),
            lambda: self.consume(3 if is_cancelled else 5),
            lambda: self.iterate(3),
        ]


async def judge(service: Service) -> None:
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
