"""
NATS JetStream: nats-server on the loopback with file storage, and nats-py.

The server acknowledges what is in the page cache and syncs every two minutes, so nothing here is durable. Keys are
left out, in its favour. Single records go out by `publish_async()`, each with its acknowledgement; in bulk as plain
messages, the last of 1,000 with an acknowledgement, whose sequence says that all of them are stored. Objects are the
messages that an ordered consumer hands to a callback, its fastest way. The server's CPU and memory are counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import attrs

from benchmarks.compare.peer import TIMEOUT_S, TOPIC, Contents, Peer, Place, Wait
from benchmarks.compare.servers import HOST, free_port, running

_BATCH_RECORDS = 1_000
_PENDING_RECORDS = 1_000_000
_PENDING_BYTES = 1 << 30


@attrs.define
class _Store:
    address: str
    loop: asyncio.AbstractEventLoop
    client: Any
    stream: Any

    def run(self, work: Any) -> Any:
        """Runs a coroutine to its end."""
        return self.loop.run_until_complete(work)

    def send(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        del keys

        async def publish() -> None:
            publish_async = self.stream.publish_async
            for value in values:
                await publish_async(TOPIC, value)

        self.run(publish())

    def flush(self) -> None:
        self.run(self.stream.publish_async_completed())

    def send_batch(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        del keys

        async def publish() -> None:
            for first in range(0, len(values), _BATCH_RECORDS):
                part = values[first : first + _BATCH_RECORDS]
                for value in part[:-1]:
                    await self.client.publish(TOPIC, value)
                await self.stream.publish(TOPIC, part[-1], timeout=TIMEOUT_S)

        self.run(publish())

    def append(self, value: bytes, key: bytes) -> None:
        del key
        self.run(self.stream.publish(TOPIC, value, timeout=TIMEOUT_S))

    def objects(self) -> Iterator[Sequence[Any]]:
        left = self.count()
        with _subscribed(self.loop, self.stream) as wait:
            while left:
                part = wait()
                yield part
                left -= len(part)

    def value_of(self, record: Any) -> bytes:
        value: bytes = record.data
        return value

    def count(self) -> int:
        return int(self.run(self.stream.stream_info(TOPIC)).state.messages)

    def contents(self) -> Contents:
        state = self.run(self.stream.stream_info(TOPIC)).state
        if not state.messages:
            return Contents(0, None, None)
        first = self.run(self.stream.get_msg(TOPIC, state.first_seq))
        last = self.run(self.stream.get_msg(TOPIC, state.last_seq))
        return Contents(state.messages, first.data, last.data)

    @contextmanager
    def tail(self) -> Iterator[Wait]:
        with _connected(self.address) as (loop, _, stream), _subscribed(loop, stream) as wait:
            yield lambda: [message.data for message in wait()]


@contextmanager
def _subscribed(loop: asyncio.AbstractEventLoop, stream: Any) -> Iterator[Callable[[], list[Any]]]:
    """Waits for messages, from the first one on: those that a callback has gathered, which is faster than asking."""
    gathered: list[Any] = []
    came = asyncio.Event()

    async def gather(message: Any) -> None:
        gathered.append(message)
        came.set()

    def wait() -> list[Any]:
        with suppress(TimeoutError):
            loop.run_until_complete(asyncio.wait_for(came.wait(), TIMEOUT_S))
        part = gathered.copy()
        gathered.clear()
        came.clear()
        return part

    limits = {"pending_msgs_limit": _PENDING_RECORDS, "pending_bytes_limit": _PENDING_BYTES}
    subscription = loop.run_until_complete(stream.subscribe(TOPIC, cb=gather, ordered_consumer=True, **limits))
    try:
        yield wait
    finally:
        loop.run_until_complete(subscription.unsubscribe())


@contextmanager
def _connected(address: str) -> Iterator[tuple[asyncio.AbstractEventLoop, Any, Any]]:
    """A loop of the calling thread and a connection of its own."""
    import nats

    loop = asyncio.new_event_loop()
    try:
        client = loop.run_until_complete(nats.connect(address))
        try:
            yield loop, client, client.jetstream(timeout=TIMEOUT_S, publish_async_max_pending=_BATCH_RECORDS)
        finally:
            loop.run_until_complete(_close(client))
    finally:
        loop.close()


async def _close(client: Any) -> None:
    """Closes a connection, and ends the tasks that nats-py leaves behind its subscriptions."""
    await client.close()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


@contextmanager
def _serve(place: Place) -> Iterator[Place]:
    port = free_port()
    command = ["nats-server", "-a", HOST, "-p", str(port), "-js", "-sd", str(place.directory)]
    with running(command, port=port, directory=place.directory) as process_id:
        yield attrs.evolve(place, address=f"nats://{HOST}:{port}", process_id=process_id)


@contextmanager
def _open(place: Place) -> Iterator[_Store]:
    with _connected(place.address) as (loop, client, stream):
        loop.run_until_complete(stream.add_stream(name=TOPIC, subjects=[TOPIC], storage="file"))
        yield _Store(place.address, loop, client, stream)


_NOT_DURABLE = "acknowledges from the page cache, syncs every 2 minutes"

PEER = Peer(
    name="NATS JetStream",
    notes=__doc__,
    keeps_in="server, page cache",
    open=_open,
    serve=_serve,
    packages={"nats-py": "nats"},
    programs={"nats-server": "nats-server"},
    lacks={
        "durable_single": _NOT_DURABLE,
        "durable_threads": _NOT_DURABLE,
        "consume_columns": "a message is a record",
    },
)
