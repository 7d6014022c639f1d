"""Requests and replies of an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

import eventlog
from eventlog import aio
from tests.clients.helpers import PATIENCE_SECONDS


@asynccontextmanager
async def serving(log: aio.EventLog, topic: Any, function: Callable[..., Any], group: str = "g") -> AsyncIterator[Any]:
    """A responder at work in a task."""
    async with log.responder(topic, function=function, group=group) as responder:
        running = asyncio.create_task(responder.run())
        try:
            yield responder
        finally:
            responder.stop()
            await running


def run(main: Callable[[aio.EventLog, aio.Topic[Any, int]], Awaitable[None]]) -> None:
    """Run a coroutine function with a log in memory and a topic for requests."""

    async def whole() -> None:
        async with aio.open(":memory:") as log:
            await main(log, await log.topic("numbers", key=str, value=int))

    asyncio.run(whole())


async def double(_tx: aio.Transaction, record: eventlog.Record[Any, int]) -> int:
    """Twice the value, after a turn of the loop."""
    await asyncio.sleep(0)
    return 2 * record.value


def test_tasks_await_their_own_replies() -> None:
    """Of a coroutine function or of a function; one task reads for all, and ends with the last."""

    async def main(log: aio.EventLog, numbers: aio.Topic[Any, int]) -> None:
        async with serving(log, numbers, double), serving(log, numbers, lambda *_: 7, "other"):
            asked = [log.request(numbers, number, timeout=PATIENCE_SECONDS) for number in range(20)]
            values = [reply.value for reply in await asyncio.gather(*asked)]
            assert all(value in (2 * number, 7) for number, value in enumerate(values))
            replies = await log.gather(numbers, 4, timeout=PATIENCE_SECONDS)
            assert sorted(reply.value for reply in replies) == [7, 8]
        assert [name[:7] for name in await log.topics()] == ["_inbox.", "numbers"]

    run(main)


def test_what_goes_wrong_is_told_as_in_threads() -> None:
    """Nobody there, nobody in time, and an exception."""

    async def main(log: aio.EventLog, numbers: aio.Topic[Any, int]) -> None:
        with pytest.raises(eventlog.NoResponders):
            await log.request(numbers, 1)
        with pytest.raises(eventlog.NoResponders):
            await log.gather(numbers, 1)
        with pytest.raises(eventlog.RequestTimeout, match=r"no live member") as late:
            await log.request(numbers, 1, timeout=0.01, needs_responder=False)
        assert late.value.offset == 0

        async def refuse(*_: object) -> int:
            raise KeyError("tea")

        async with serving(log, numbers, refuse) as responder:
            with pytest.raises(eventlog.RemoteError) as caught:
                await log.request(numbers, 1, timeout=PATIENCE_SECONDS)
            assert (caught.value.type, responder.error_count, responder.late_count) == ("KeyError", 1, 1)
            assert responder.lost_count == 0

    run(main)


def test_a_cancelled_task_takes_nothing_from_the_others() -> None:
    """The task that reads is nobody's; the reply of the cancelled one is passed by."""

    async def main(log: aio.EventLog, numbers: aio.Topic[Any, int]) -> None:
        begun, may_end = asyncio.Event(), asyncio.Event()

        async def slow(_tx: aio.Transaction, record: Any) -> int:
            begun.set()
            await may_end.wait()
            return int(record.value)

        async with serving(log, numbers, slow):
            first, second = (
                asyncio.create_task(log.request(numbers, number, timeout=PATIENCE_SECONDS)) for number in (1, 2)
            )
            await begun.wait()
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            may_end.set()
            assert (await second).value == 2
            third = await log.request(numbers, 3, timeout=PATIENCE_SECONDS, reply_to="numbers")
            assert (third.value, third.topic) == (3, "numbers")

    run(main)


def test_closing_the_log_ends_a_request() -> None:
    """It is told so, and the inbox goes."""

    async def main(log: aio.EventLog, numbers: aio.Topic[Any, int]) -> None:
        waiting = asyncio.create_task(log.request(numbers, 1, needs_responder=False, timeout=PATIENCE_SECONDS))
        async with log.consumer(numbers) as consumer:
            assert await consumer.poll(PATIENCE_SECONDS)
        await log.close()
        with pytest.raises(eventlog.LogClosed, match=r"has no reply yet"):
            await waiting

    run(main)


def test_requests_run_on_trio() -> None:
    """The task that reads is one of trio's own; a cancelled request ends at once."""
    trio = pytest.importorskip("trio")

    async def main() -> None:
        async with aio.open(":memory:") as log:
            numbers = await log.topic("numbers", value=int)

            async def halve(_tx: aio.Transaction, record: eventlog.Record[Any, int]) -> int:
                await trio.lowlevel.checkpoint()
                return record.value // 2

            async with log.responder(numbers, function=halve, group="g") as responder:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(responder.run)
                    reply = await log.request(numbers, 8, timeout=PATIENCE_SECONDS)
                    assert reply.value == 4
                    responder.stop()
            with trio.move_on_after(0.05) as scope:
                await log.request(numbers, 8, timeout=PATIENCE_SECONDS, needs_responder=False)
            assert scope.cancelled_caught
            with pytest.raises(eventlog.RequestTimeout):
                await log.request(numbers, 8, timeout=0.01, needs_responder=False)

    trio.run(main)
