"""
The shop: `POST /orders/{customer}` stores an order, a task bills it, `GET /orders` streams all orders as they come.

`uvicorn examples.fastapi_service.service:app` runs it. docs/how-to/fastapi.md tells why it is written like this.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException, Query
from fastapi.responses import StreamingResponse

import eventlog.aio

CENTS = 250


class Shop:
    """What the requests and the task of one process share: the open log, and the consumers that wait for orders."""

    def __init__(self, log: eventlog.aio.EventLog, orders: Any, invoices: Any) -> None:
        self.log = log
        self.orders = orders
        self.invoices = invoices
        self.is_stopping = False
        self._waiting: set[eventlog.aio.Consumer[Any, Any]] = set()

    def stop(self) -> None:
        """End the streams and the billing: every consumer is woken, and its loop looks at `is_stopping`."""
        self.is_stopping = True
        for consumer in self._waiting:
            consumer.wakeup()

    @asynccontextmanager
    async def consumer(self, **options: Any) -> AsyncIterator[eventlog.aio.Consumer[Any, Any]]:
        """A consumer of the orders that `stop()` wakes."""
        async with self.log.consumer(self.orders, **options) as consumer:
            self._waiting.add(consumer)
            try:
                yield consumer
            finally:
                self._waiting.discard(consumer)

    async def bill(self) -> None:
        """Write an invoice for each order, exactly once, whatever happens to this process."""
        async with self.consumer(group="billing") as consumer:
            while not self.is_stopping:
                if records := await consumer.poll(60.0):
                    async with self.log.transaction(consumer) as tx:
                        for record in records:
                            invoice = {"order": record.offset, "cents": CENTS * record.value["cups"]}
                            tx.send(self.invoices, invoice, key=record.key)

    async def events(self, start: int) -> AsyncIterator[str]:
        """The orders from an offset on, and each new one, as server-sent events; their ids are the offsets."""
        async with self.consumer(start=start) as consumer:
            while not self.is_stopping:
                records = await consumer.poll(15.0)
                for record in records:
                    order = {"customer": record.key, **record.value}
                    yield f"id: {record.offset}\ndata: {json.dumps(order)}\n\n"
                if not records:
                    yield ": nothing new\n\n"  # keeps proxies from closing the connection


def is_served() -> bool:
    """Whether a server runs us, in the thread that gets the signals; a TestClient has a thread of its own."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def before_the_server_stops(function: Callable[[], object]) -> Iterator[None]:
    """Call a function in the loop at SIGTERM and Ctrl-C, and then the server's own handler of the signal."""
    loop = asyncio.get_running_loop()
    handlers: dict[signal.Signals, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(function)
        handler = handlers[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    if is_served():
        for number in (signal.SIGTERM, signal.SIGINT):
            handlers[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def stop_the_server(task: asyncio.Task[None]) -> None:
    """End the process when its task has failed: it is better started again than left half alive."""
    if is_served() and not task.cancelled() and task.exception() is not None:
        signal.raise_signal(signal.SIGTERM)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the log before the first request, and close it after the last."""
    async with eventlog.aio.open(os.environ.get("SHOP_LOG", "data/shop")) as log:
        orders = await log.topic("orders", key=str, value="json")
        invoices = await log.topic("invoices", key=str, value="json")
        shop = app.state.shop = Shop(log, orders, invoices)
        with before_the_server_stops(shop.stop):
            billing = app.state.billing = asyncio.create_task(shop.bill())
            billing.add_done_callback(stop_the_server)
            yield
        shop.stop()
        await billing


app = FastAPI(lifespan=lifespan)


@app.post("/orders/{customer}", status_code=201)
async def take(
    customer: str,
    cups: Annotated[int, Query(ge=0, lt=1_000_000)],
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=100)] = None,
) -> dict[str, int]:
    """Store an order; a client that got no answer sends it again with the same `Idempotency-Key`."""
    try:
        metadata = await app.state.shop.orders.append({"cups": cups}, key=customer, message_id=idempotency_key)
    except eventlog.MessageIdReused:
        raise HTTPException(422, "another order has this Idempotency-Key") from None
    return {"offset": metadata.offset}


@app.get("/orders")
async def stream(last_event_id: Annotated[int | None, Header()] = None) -> StreamingResponse:
    """Stream the orders; a browser that comes back says in `Last-Event-ID` which one it had last."""
    shop = app.state.shop
    first, end = (await shop.orders.bounds())[0]
    start = first if last_event_id is None else max(first, last_event_id + 1)
    if start > end:
        raise HTTPException(400, f"there is no order {last_event_id}; the next one will be {end}")
    return StreamingResponse(shop.events(start), media_type="text/event-stream", headers={"Cache-Control": "no-store"})
