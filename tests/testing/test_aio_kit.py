"""The kit for tests of programs with an event loop: it waits without holding the loop up."""

from __future__ import annotations

import asyncio
import threading

import pytest

import eventlog
from eventlog import aio, testing
from eventlog.testing import aio as kit


def test_a_member_joins_works_and_leaves_beside_tasks_that_poll() -> None:
    """The loop's own consumer gives partitions up while the test waits for the other member."""

    async def main() -> None:
        async with kit.open() as log:
            orders = await log.topic("orders", partitions=2, value=str)
            ours: list[str] = []

            async def work() -> None:
                async with log.consumer(orders, group="billing", auto_commit_interval=0.01) as consumer:
                    async for record in consumer:
                        ours.append(record.value)  # noqa: PERF401 - they are looked at meanwhile

            working = asyncio.create_task(work())
            async with kit.Member(log, orders, group="billing") as other:
                [tp] = await other.wait_for_partitions(1)
                await orders.append("tea", partition=tp.partition)
                await orders.append("milk", partition=1 - tp.partition)
                await log.groups.wait("billing", timeout=10.0)
                assert [record.value for record in other.records] == ["tea"]
            assert (other.error, other.partitions, ours) == (None, [], ["milk"])
            await orders.append("salt", partition=tp.partition)
            await log.groups.wait("billing", timeout=10.0)
            assert ours == ["milk", "salt"]
            working.cancel()

    asyncio.run(main())


def test_a_member_dies_and_its_work_comes_to_us() -> None:
    """Nothing is committed, and the group finds out by itself."""

    async def main() -> None:
        async with kit.open() as log:
            orders = await log.topic("orders", partitions=2, value=str)
            async with log.consumer(orders, group="billing") as ours:
                other = kit.Member(log, orders, group="billing", auto_commit=False)
                polling = asyncio.create_task(ours.poll(10.0))
                [tp] = await other.wait_for_partitions(1)
                await orders.append("tea", partition=tp.partition)
                while not other.records:  # noqa: ASYNC110 - it has no event for it
                    await asyncio.sleep(0.001)
                await other.die()
                assert [record.value for record in await polling] == ["tea"]
                await other.die()
                await other.leave()

    threads = set(threading.enumerate())
    asyncio.run(main())
    assert set(threading.enumerate()) <= threads


def test_waiting_in_vain_is_told() -> None:
    """For a member and for records; nothing else is held up meanwhile."""

    async def main() -> None:
        async with kit.open() as log:
            orders = await log.topic("orders", value=str)
            async with kit.Member(log, orders, group="g") as member:
                with pytest.raises(TimeoutError, match=r"has . partitions after 0.01 s, not 7"):
                    await member.wait_for_partitions(7, timeout=0.01)
            await orders.append("tea")
            sent = kit.produced(orders)
            with pytest.raises(TimeoutError, match=r"has 1 of 2 records after 0.01 s: \['tea'\]"):
                await sent.wait(2, timeout=0.01)
            waiting = asyncio.create_task(sent.wait(3))
            await orders.append("milk")
            assert not waiting.done()
            await orders.append("salt")
            assert [record.value for record in await waiting] == sent.values == ["tea", "milk", "salt"]
            with kit.produced(orders) as later:
                await orders.append("rice")
            assert (later.values, len(sent), sent[0].value) == (["rice"], 4, "tea")

    asyncio.run(main())


def test_a_crash_ends_what_waits_and_loses_what_was_not_committed() -> None:
    """A task gets an error, an unfinished producer's records are gone, and the log that is opened again works."""

    async def main() -> None:
        log = await kit.open()
        orders = await log.topic("orders", value=str)
        await orders.append("tea")
        consumer = await log.consumer(orders, group="g", start="latest")
        waiting = asyncio.create_task(consumer.poll(60.0))
        producer = await log.producer(linger=60.0)
        producer.send(orders, "never stored")
        await asyncio.sleep(0.05)
        async with kit.crash(log) as again:
            with pytest.raises(eventlog.LogClosed):
                await asyncio.wait_for(waiting, 10.0)
            with pytest.raises(eventlog.LogClosed):
                await orders.append("milk")
            orders = await again.topic("orders", value=str)
            assert kit.produced(orders).values == ["tea"]
            await orders.append("milk")
        await log.close()

    threads = set(threading.enumerate())
    asyncio.run(main())
    assert set(threading.enumerate()) <= threads


def test_faults_come_out_of_what_is_awaited() -> None:
    """A commit that fails, and a full disk."""

    async def main() -> None:
        async with kit.open() as log:
            orders = await log.topic("orders", value=str)
            with kit.full_disk(log), pytest.raises(eventlog.DiskFull):
                await orders.append("tea")
            await orders.append("tea")
            kit.fail_next_commit(log)
            with pytest.raises(eventlog.StorageError):
                await orders.append("milk")
            async with kit.crash(log) as again:
                assert kit.produced(await again.topic("orders", value=str)).values == ["tea"]

    asyncio.run(main())


@pytest.mark.parametrize("is_closed", [True, False])
def test_the_fixture_is_the_log_of_the_test(aio_event_log, event_log, event_log_clock, is_closed) -> None:
    """With its clock and its faults; what is left open is ended when the test is over."""

    async def main() -> aio.EventLog:
        log: aio.EventLog = await aio_event_log
        orders = await log.topic("orders", value=str)
        metadata = await orders.append("tea")
        assert metadata.timestamp_ms == event_log_clock.now_ms()
        assert testing.produced(event_log.topic("orders", value=str)).values == ["tea"]
        asyncio.get_running_loop().create_task((await log.consumer(orders)).poll(60.0))
        await asyncio.sleep(0)
        if is_closed:
            await log.close()
        return log

    assert asyncio.run(main()).is_closed == is_closed
