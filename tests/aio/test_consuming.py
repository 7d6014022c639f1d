"""Consumers of an event loop: polls, loops, groups, callbacks."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog import aio


def test_a_loop_gets_all_records_and_the_one_in_hand_again() -> None:
    """A loop that is left by `break` has not finished its last record."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            orders = await log.topic("orders", value=int, partitions=2)
            await orders.append_many(list(range(1000)))
            seen = []
            async with log.consumer(orders, group="g") as consumer:
                async for record in consumer:
                    seen.append(record.value)
                    if len(seen) == 500:
                        break
            async with log.consumer(orders, group="g") as consumer:
                async for record in consumer:
                    seen.append(record.value)
                    if len(seen) == 1001:
                        break
            assert len({*seen}) == 1000
            assert seen[499] in seen[500:]

    asyncio.run(main())


def test_a_waiting_poll_is_woken_by_this_process_and_by_another(path: Path) -> None:
    """Within much less than the hundred milliseconds after which it would look by itself."""
    code = "import eventlog, sys; eventlog.open(sys.argv[1]).topic('orders').append(b'far')"

    async def main() -> None:
        async with aio.open(path) as log:
            orders = await log.topic("orders")
            async with log.consumer(orders) as consumer:
                poll = asyncio.create_task(consumer.poll(30.0))
                await asyncio.sleep(0)
                await orders.append(b"near")
                assert [record.value for record in await poll] == [b"near"]
                poll = asyncio.create_task(consumer.poll(30.0))
                process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(path))
                assert [record.value for record in await poll] == [b"far"]
                await process.wait()
                assert await consumer.poll() == []

    asyncio.run(main())


def test_only_consumers_whose_partitions_moved_go_on() -> None:
    """A hundred wait with one FIFO between them, and one append wakes one."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            topics = [await log.topic(f"t{number}") for number in range(100)]
            consumers = [await log.consumer(topic) for topic in topics]
            polls = [asyncio.create_task(consumer.poll(30.0)) for consumer in consumers]
            await asyncio.sleep(0.2)
            assert sum(name.endswith(".fifo") for name in os.listdir(log.path / "waiters")) == 1  # noqa: PTH208
            tries = 0

            def count(*_: object, **__: object) -> bool:
                nonlocal tries
                tries += 1
                return True

            for consumer in consumers:
                consumer._core.is_at_rest = count  # type: ignore[method-assign]
            await topics[7].append(b"x")
            await polls[7]
            assert tries <= 3
            for task in polls:
                task.cancel()
            await asyncio.wait(polls)

    asyncio.run(main())


def test_a_lone_consumer_is_woken_without_a_look_at_the_order_of_the_log() -> None:
    """It looks itself; with another one beside it the order tells which of them is meant."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            orders, others = await log.topic("orders"), await log.topic("others")
            backend, looks = log._home.backend, 0
            look = backend.arrivals

            def counted(*arguments: Any) -> Any:
                nonlocal looks
                looks += 1
                return look(*arguments)

            backend.arrivals = counted  # type: ignore[method-assign]
            async with log.consumer(orders) as consumer:
                for number in range(5):
                    poll = asyncio.create_task(consumer.poll(30.0))
                    await asyncio.sleep(0.01)
                    await orders.append(b"%d" % number)
                    assert [record.value for record in await poll] == [b"%d" % number]
                assert looks < 5  # on a busy machine one may come by time
                before = looks
                async with log.consumer(others) as other:
                    polls = [asyncio.create_task(one.poll(30.0)) for one in (consumer, other)]
                    await asyncio.sleep(0.01)
                    for topic, poll in zip((orders, others), polls, strict=True):
                        await topic.append(b"x")
                        assert len(await poll) == 1
                    assert looks > before
                poll = asyncio.create_task(consumer.poll(30.0))
                await asyncio.sleep(0.01)
                await orders.append(b"y")
                assert len(await poll) == 1

    asyncio.run(main())


def test_poll_batches_positions_and_pauses() -> None:
    """What a sync consumer offers is awaited here."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            orders = await log.topic("orders", value=int, partitions=2)
            await orders.append_many([1, 2, 3], partition=0)
            await orders.append_many([4, 5], partition=1)
            async with log.consumer("orders") as consumer:
                assert sum(map(len, await consumer.poll_batches(5.0))) == 5
                assert await consumer.position(("orders", 0)) == 3
                assert set((await consumer.lag()).values()) == {0}
                await consumer.seek(("orders", 0), 1)
                await consumer.pause(("orders", 1))
                assert len(await consumer.paused()) == 1
                assert [record.value for record in await consumer.poll(5.0)] == [2, 3]
                await consumer.seek_to_beginning()
                await consumer.resume()
                assert len(await consumer.poll(5.0, max_records=2)) == 2
                await consumer.seek_to_end()
                await consumer.seek_to_time(0)
                assert len(await consumer.poll(5.0)) == 5
                with pytest.raises(ValueError, match="group"):
                    await consumer.commit()
            async with log.consumer(group="by hand") as consumer:
                await consumer.assign([("orders", 1)])
                assert [one.partition for one in await consumer.assignment()] == [1]
                await consumer.poll(5.0)
                await consumer.commit()
                assert await consumer.committed(("orders", 1)) == 2
                await consumer.commit({("orders", 1): 1})
                await consumer.seek_to_committed()
                assert [record.value for record in await consumer.poll(5.0)] == [5]
                assert consumer.group == "by hand"
                assert "by hand" in repr(consumer)

    asyncio.run(main())


def test_a_waiting_poll_hears_of_a_seek_and_of_wakeup() -> None:
    """Other tasks may use a consumer that waits; only one may poll."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            orders = await log.topic("orders")
            await orders.append(b"a")
            async with log.consumer(orders) as consumer:
                await consumer.poll(5.0)
                poll = asyncio.create_task(consumer.poll(30.0))
                await asyncio.sleep(0.01)
                with pytest.raises(eventlog.ConcurrentUse):
                    await consumer.poll()
                await consumer.seek(("orders", 0), 0)
                assert len(await poll) == 1
                poll = asyncio.create_task(consumer.poll(30.0))
                await asyncio.sleep(0.01)
                consumer.wakeup()
                assert await poll == []

                async def walk() -> list[bytes]:
                    return [record.value async for record in consumer]

                walking = asyncio.create_task(walk())
                await asyncio.sleep(0.01)
                consumer.wakeup()
                assert await walking == []

    asyncio.run(main())


def test_a_wait_for_the_next_record_may_be_given_up_and_asked_for_again() -> None:
    """A timeout around one record, and a task that was cancelled before it began."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            orders = await log.topic("orders", value=int)
            async with log.consumer(orders, group="g", auto_commit=False) as consumer:
                records = aiter(consumer)
                await orders.append(1)
                assert (await anext(records)).value == 1
                for _ in range(3):
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(anext(records), 0.001)
                await orders.append_many([2, 3, 4])
                task = asyncio.ensure_future(anext(records))
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert [(await anext(records)).value for _ in range(2)] == [2, 3]
                await consumer.commit()
                assert await consumer.committed(("orders", 0)) == 3
                assert (await anext(records)).value == 4
                consumer.wakeup()
                assert [record async for record in records] == []
                await orders.append(5)
                assert [record async for record in records] == [], "what has ended stays ended"
                assert [record.value async for record in _one_of(consumer)] == [5]

    asyncio.run(main())


async def _one_of(consumer: aio.Consumer[Any, int]) -> AsyncIterator[eventlog.Record[Any, int]]:
    async for record in consumer:
        yield record
        return


def test_members_share_and_callbacks_may_be_coroutines() -> None:
    """Partitions move between two members in one loop; what the callbacks do is done before they move."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            orders = await log.topic("orders", value=int, partitions=4)
            calls: list[tuple[str, int]] = []

            async def assigned(partitions: list[eventlog.TopicPartition]) -> None:
                await asyncio.sleep(0)
                calls.append(("assigned", len(partitions)))

            async def revoked(partitions: list[eventlog.TopicPartition]) -> None:
                await orders.append(99)
                await one.commit()
                calls.append(("revoked", len(partitions)))

            async with log.consumer(orders, group="g", on_assigned=assigned, on_revoked=revoked) as one:
                await one.poll()
                assert calls == [("assigned", 4)]
                async with log.consumer(
                    orders, group="g", on_assigned=lambda found: calls.append(("two", len(found)))
                ) as two:
                    async with asyncio.timeout(10):
                        while len(await two.assignment()) < 2:
                            await one.poll(0.01)
                            await two.poll(0.01)
                    assert ("revoked", 2) in calls
                    assert ("two", 2) in calls
                async with asyncio.timeout(10):
                    while len(await one.assignment()) < 4:
                        await one.poll(0.05)
            assert calls[-1] == ("revoked", 4)

    asyncio.run(main())


def test_a_poll_inside_a_callback_is_refused() -> None:
    """As in a sync consumer; the group keeps its assignment, and the callback is called again."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            await log.topic("orders")
            refused = 0

            async def assigned(_: object) -> None:
                nonlocal refused
                if not refused:
                    refused = 1
                    await consumer.poll()

            async with log.consumer("orders", group="g", on_assigned=assigned) as consumer:
                with pytest.raises(eventlog.ConcurrentUse):
                    await consumer.poll()
                await consumer.poll()
                assert refused == 1

    asyncio.run(main())


def test_offsets_are_committed_by_time_and_at_the_end(path: Path) -> None:
    """The next consumer of the group begins behind what was finished."""

    async def main() -> None:
        async with aio.open(path) as log:
            orders = await log.topic("orders", value=int)
            await orders.append_many(list(range(100)))
            async with log.consumer(orders, group="g", auto_commit_interval=0.0) as consumer:
                count = 0
                async for _ in consumer:
                    count += 1
                    if count == 50:
                        break
            async with log.consumer(orders, group="g") as consumer:
                records = await consumer.poll(5.0)
                assert records[0].value == 49
            described = await log.groups.describe("g")
            assert described.name in await log.groups.list()
            assert await log.groups.reset_offsets("g", to="latest") == {eventlog.TopicPartition("orders", 0): 100}
            await log.groups.delete_offsets("g", orders)
            await log.groups.delete("g") if "g" in await log.groups.list() else None

    asyncio.run(main())


def test_a_cancelled_poll_has_handed_out_nothing() -> None:
    """Whether it waited, or another thread was about to give it records."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            orders = await log.topic("orders", value=int)
            async with log.consumer(orders, group="g") as consumer:
                for number in range(20):
                    poll = asyncio.create_task(consumer.poll(30.0))
                    for _ in range(number % 5):
                        await asyncio.sleep(0)
                    if number % 2:
                        await orders.append(number)
                    poll.cancel()
                    await asyncio.wait([poll])
                    if not poll.cancelled():
                        await consumer.seek(("orders", 0), poll.result()[0].offset)
                values = []
                while len(values) < 10:
                    values += [record.value for record in await consumer.poll(5.0)]
                assert values == list(range(1, 20, 2))

    asyncio.run(main())


def test_a_cancelled_commit_is_stored_and_says_so() -> None:
    """The task is cancelled when the outcome is known."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            orders = await log.topic("orders")
            await orders.append(b"a")
            async with log.consumer(orders, group="g", auto_commit=False) as consumer:
                await consumer.poll(5.0)
                task = asyncio.create_task(consumer.commit())
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError) as raised:
                    await task
                assert await consumer.committed(("orders", 0)) == 1
                assert raised.value is not None

                async def commit() -> None:
                    async with log.transaction() as tx:
                        tx.send(orders, b"b")

                task = asyncio.create_task(commit())
                for _ in range(3):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
                bounds = await orders.bounds()
                assert bounds[0][1] == (1 if not task.cancelled() else bounds[0][1])

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_child_is_told_that_the_log_is_the_parents(path: Path) -> None:
    """And the parent's goes on."""
    code = """
import asyncio, os, sys
import eventlog
from eventlog import aio

async def use(topic):
    try:
        await topic.append(b"child")
    except eventlog.UsedAfterFork:
        return 0
    return 1

async def main():
    async with aio.open(sys.argv[1]) as log:
        topic = await log.topic("orders")
        async with log.consumer(topic) as consumer:
            await topic.append(b"a")
            child = os.fork()
            if not child:
                try:
                    asyncio._set_running_loop(None)
                    os._exit(asyncio.new_event_loop().run_until_complete(use(topic)))
                finally:
                    os._exit(2)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert len(await consumer.poll(5.0)) == 1
            await topic.append(b"b")
            return code

sys.exit(asyncio.run(main()))
"""
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=60).returncode == 0


def test_consumers_that_hang_share_the_time_to_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every callback has begun before the first of them has used its time up; the log is closed in the end."""
    monkeypatch.setattr("eventlog.aio.consumer.CLOSE_SECONDS", 0.2)
    said: list[str] = []

    async def main() -> None:
        log = await aio.open(":memory:")
        await log.topic("orders")

        def hangs(name: str) -> Callable[..., Coroutine[Any, Any, None]]:
            async def revoked(partitions: object) -> None:
                said.append(f"{name} begins")
                try:
                    if name != "d":
                        await asyncio.Event().wait()
                finally:
                    said.append(f"{name} ends")

            return revoked

        consumers = [await log.consumer("orders", group=name, on_revoked=hangs(name)) for name in "abcd"]
        for consumer in consumers:
            await consumer.poll(timeout=0)
        with pytest.raises(TimeoutError):
            await log.close()
        assert log.is_closed
        assert all(consumer.is_closed for consumer in consumers)

    asyncio.run(main())
    assert sorted(said[:5]) == ["a begins", "b begins", "c begins", "d begins", "d ends"]
    assert sorted(said[5:]) == ["a ends", "b ends", "c ends"]
