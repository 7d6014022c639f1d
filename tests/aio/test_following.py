"""What a loop has of the log as a whole: following it, reading as of then, waiting for a group, and its faults."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

import eventlog
from eventlog import aio, testing
from eventlog.clock import from_ms


def run(story: Callable[[aio.EventLog], Awaitable[None]]) -> None:
    """Runs a story with a log of its own."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            await asyncio.wait_for(story(log), 30.0)

    asyncio.run(main())


def test_it_follows_the_log_across_topics() -> None:
    """It reads the stored records, then the new ones that another task appends."""

    async def story(log: aio.EventLog) -> None:
        orders = await log.topic("orders", value=str)
        await orders.append("tea")
        found = []

        async def write() -> None:
            payments = await log.topic("payments", value=str)
            await payments.append("cash")
            await orders.append("milk")

        writing = None
        async for position, record in log.follow():
            found.append((position, record.topic, record.value))
            writing = writing or asyncio.create_task(write())
            if len(found) == 3:
                break
        assert writing is not None
        await writing
        assert found == [(0, "orders", "tea"), (1, "payments", "cash"), (2, "orders", "milk")]
        assert [position async for position, _ in log.follow(1, topics=[orders], timeout=0.0)] == [2]
        assert [position async for position, _ in log.follow("latest", timeout=0.01)] == []

    run(story)


def test_it_is_stopped_and_asked_again() -> None:
    """`stop()` ends a wait; after a timeout and a cancelled wait the follower goes on where it was."""

    async def story(log: aio.EventLog) -> None:
        orders = await log.topic("orders", value=int)
        await orders.append_many([0, 1, 2])
        async with log.follow(timeout=0.01) as follower:
            assert [(await anext(follower))[1].value for _ in range(2)] == [0, 1]
            assert follower.log_position == 2
            assert [record.value async for _, record in follower] == [2]
            await orders.append(3)
            assert [record.value async for _, record in follower] == [3]

        follower = log.follow(4)
        for number in (4, 5):
            waiting = asyncio.ensure_future(anext(follower))
            await asyncio.sleep(0.01 * (number - 4))  # cancelled in its wait, or before it begins
            with pytest.raises(eventlog.ConcurrentUse) if number == 5 else nullcontext():
                if number == 5:
                    await anext(follower)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await orders.append(number)
            assert (await anext(follower))[1].value == number

        waiting = asyncio.ensure_future(anext(follower))
        await asyncio.sleep(0.01)
        thread = threading.Thread(target=follower.stop)
        thread.start()
        with pytest.raises(StopAsyncIteration):
            await waiting
        thread.join()
        assert follower.log_position == 6
        await follower.close()

    run(story)


def test_it_begins_at_a_time_wherever_it_is_cancelled() -> None:
    """The first record of the time is looked for in the thread for reads, or by who asks for the position before."""

    async def story(log: aio.EventLog) -> None:
        orders = await log.topic("orders", value=int)
        await orders.append_many(range(6), timestamps_ms=[0, 1_000, 500, 3_000, 2_000, 4_000])
        assert log.follow(from_ms(2_000)).log_position == 3
        for steps in range(6):
            follower = log.follow(from_ms(2_000), timeout=0.0)
            waiting = asyncio.ensure_future(anext(follower))
            for _ in range(steps):
                await asyncio.sleep(0)
            waiting.cancel()
            found = [(await asyncio.gather(waiting, return_exceptions=True))[0]]
            found = [one[1].value for one in found if isinstance(one, tuple)]
            assert found + [record.value async for _, record in follower] == [3, 4, 5]

    run(story)


def test_a_cancelled_read_loses_nothing() -> None:
    """Cancelled at any moment of a read, the follower hands out what comes next all the same."""

    async def story(log: aio.EventLog) -> None:
        orders = await log.topic("orders", value=int)
        follower = log.follow()
        found: list[int] = []
        for number in range(60):
            await orders.append(number)
            waiting = asyncio.ensure_future(anext(follower))
            for _ in range(number % 6):
                await asyncio.sleep(0)
            waiting.cancel()
            try:
                found.append((await waiting)[1].value)
            except asyncio.CancelledError:
                found.append((await anext(follower))[1].value)
        assert found == list(range(60))

    run(story)


def test_closing_the_log_ends_it_and_so_does_a_cancel() -> None:
    """No task hangs."""

    async def main() -> None:
        async with aio.open(":memory:") as log:

            async def follow() -> list[object]:
                return [record async for record in log.follow()]

            cancelled, ended = asyncio.create_task(follow()), asyncio.create_task(follow())
            waited = asyncio.create_task(log.groups.wait("nobody"))
            await asyncio.sleep(0.05)
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
        assert await asyncio.wait_for(ended, 10.0) == []
        with pytest.raises(eventlog.LogClosed):
            await asyncio.wait_for(waited, 10.0)

    asyncio.run(main())


def test_it_waits_for_a_group() -> None:
    """A commit of another task ends the wait; too little time is an error with the lag."""

    async def story(log: aio.EventLog) -> None:
        orders = await log.topic("orders", value=str)
        await orders.append("tea")
        with pytest.raises(eventlog.GroupBehind):
            await log.groups.wait("billing", timeout=0.0)

        async def serve() -> None:
            async with log.consumer(orders, group="billing", auto_commit=False) as consumer:
                while not await consumer.poll(timeout=5.0):
                    pass
                await asyncio.sleep(0.02)
                await consumer.commit()

        serving = asyncio.create_task(serve())
        await log.groups.wait("billing", timeout=20.0)
        await log.groups.wait("billing", topics=[orders], timeout=20.0)
        await serving

    run(story)


def test_the_kit_works_in_a_loop(event_log, event_log_clock) -> None:
    """Clock, faults, members, a crash: sync and in a loop alike."""

    async def main() -> None:
        async with testing.for_asyncio(event_log) as log:
            orders = await log.topic("orders", value=str)
            assert (await orders.append("tea")).timestamp_ms == event_log_clock.now_ms()
            with testing.full_disk(log), pytest.raises(eventlog.DiskFull):
                await orders.append("milk")
            with testing.Member(log, "orders", group="billing") as member:
                await log.groups.wait("billing", timeout=20.0)
            assert [record.value for record in member.records] == ["tea"]
            again = testing.crash(log)
            with pytest.raises(eventlog.LogClosed):
                await orders.append("salt")
        async with testing.for_asyncio(again) as log:
            orders = await log.topic("orders", value=str)
            await orders.append("rice")
            assert testing.produced(orders).values == ["tea", "rice"]

    asyncio.run(main())


def test_it_reads_as_of_then_and_deletes_a_snapshot() -> None:
    """The same options, and the same answers."""

    async def story(log: aio.EventLog) -> None:
        accounts = await log.topic("accounts", key=str, value="json", index="key")
        for number in range(3):
            await accounts.append(number + 1, key="a", timestamp_ms=number * 1000)
        assert [event.value async for event in accounts.history("a", end=from_ms(1500))] == [1, 2]
        assert [record.value async for _, record in log.read_all(end=from_ms(500))] == [1]
        await accounts.save_snapshot("a", 100, version=2)
        assert await accounts.fold("a", lambda total, value: total + value, 0) == (103, 3)
        assert await accounts.fold("a", lambda total, value: total + value, 0, snapshot=False) == (6, 3)
        assert await accounts.fold("a", lambda total, value: total + value, 0, end_log_position=1) == (1, 1)
        await accounts.delete_snapshot("a")
        assert await accounts.snapshot("a") is None

    run(story)


def test_a_cancelled_read_goes_on_where_it_was(path: Path) -> None:
    """Items that a thread had read for the cancelled task are handed out by the next call."""

    async def main() -> None:
        async with aio.open(path) as log:
            numbers = await log.topic("numbers", value=int)
            for first in range(0, 4000, 1000):
                await numbers.append_many(range(first, first + 1000))
            items = numbers.read()
            found = [await anext(items) for _ in range(20)]
            cancelled_count = 0
            while True:
                items._is_slow = True  # type: ignore[attr-defined] # the next chunk is read by the thread
                asking = asyncio.ensure_future(anext(items, None))
                await asyncio.sleep(0)
                if asking.cancel():
                    cancelled_count += 1
                try:
                    item = await asking
                except asyncio.CancelledError:
                    item = await anext(items, None)
                if item is None:
                    break
                found.append(item)
            assert [record.value for record in found] == list(range(4000))
            assert cancelled_count > 2

    asyncio.run(main())


def test_one_task_at_a_time_reads_an_iterator() -> None:
    """Another one is refused while the thread reads, and nothing is lost by that."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            numbers = await log.topic("numbers", value=int)
            await numbers.append_many(range(100))
            items = numbers.read()
            items._is_slow = True  # type: ignore[attr-defined]
            asking = asyncio.ensure_future(anext(items))
            await asyncio.sleep(0)
            with pytest.raises(eventlog.ConcurrentUse, match="iterator"):
                await anext(items)
            assert (await asking).value == 0
            assert [record.value async for record in items] == list(range(1, 100))

    asyncio.run(main())
