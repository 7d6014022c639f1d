"""Queues in an event loop: jobs taken, acknowledged and given back without holding it up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import eventlog
import eventlog.aio

PATIENCE_SECONDS = 60.0


def test_tasks_share_the_jobs_of_a_queue(path: Path) -> None:
    """Each job is done once; a worker that waits is woken by a new record, and by one that is given back."""

    async def main() -> None:
        done: list[int] = []
        async with eventlog.aio.open(path) as log:
            topic = await log.topic("jobs", value=int)

            async def work() -> None:
                async with log.queue(topic, group="g", backoff=(0.0, 0.0)) as queue:
                    async for job in queue:
                        with job:
                            await asyncio.sleep(0)
                            assert job.value != 3 or job.delivery_count > 1
                            done.append(job.value)
                            if len(done) == 20:
                                ended.set()

            ended = asyncio.Event()
            workers = [asyncio.create_task(work()) for _ in range(3)]
            for number in range(20):
                await topic.append(number)
            await asyncio.wait_for(ended.wait(), PATIENCE_SECONDS)
            for worker in workers:
                worker.cancel()
            assert all(
                isinstance(one, asyncio.CancelledError)
                for one in await asyncio.gather(*workers, return_exceptions=True)
            )
            assert sorted(done) == list(range(20))
        with eventlog.open(path) as log:
            found = log.queues.describe("g")
            assert (found.ready, found.leased, found.delayed, found.workers) == (0, 0, 0, ())
            assert log.verify().problems == ()

    asyncio.run(main())


def test_a_cancelled_poll_hands_nothing_out(path: Path) -> None:
    """What it took comes with the next one."""

    async def main() -> None:
        async with eventlog.aio.open(path) as log:
            topic = await log.topic("jobs", value=int)
            await topic.append_many(range(2))
            async with log.queue(topic, group="g") as queue:
                poll = asyncio.create_task(queue.poll(timeout=PATIENCE_SECONDS))
                await asyncio.sleep(0)
                poll.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await poll
                found = [job for _ in range(2) for job in await queue.poll(timeout=PATIENCE_SECONDS)]
                assert [(job.value, job.delivery_count) for job in found] == [(0, 1), (1, 1)]

    asyncio.run(main())


def test_a_transaction_accepts_a_job(path: Path) -> None:
    """Stored with its records; a job that is another's by then refuses all of it."""

    async def main() -> None:
        async with eventlog.aio.open(path) as log:
            topic, done = await log.topic("jobs", value=int), await log.topic("done", value=int)
            await topic.append_many(range(2))
            async with log.queue(topic, group="g", timeout=1000.0) as queue:
                first, second = await queue.poll(max_records=2)
                async with log.transaction() as tx:
                    tx.send(done, first.value)
                    tx.accept(first)
                assert first.state == "accepted"
                with pytest.raises(eventlog.NotSupported, match=r"await queue\.renew"):
                    second.renew()
                await queue.renew(second, 5.0)
                assert 4.0 < second.remaining <= 5.0
                queue._inner._worker.drop()
                async with log.queue(topic, group="g") as other:
                    assert [job.value for job in await other.poll(timeout=PATIENCE_SECONDS)] == [1]
                tx = await log.transaction()
                tx.send(done, second.value)
                tx.accept(second)
                with pytest.raises(eventlog.LeaseLost):
                    await tx.commit()
            assert [record.value async for record in done.read()] == [0]

    asyncio.run(main())


def test_wakeup_and_close_end_a_wait(path: Path) -> None:
    """Of a loop, and of a poll; two tasks do not poll one queue."""

    async def main() -> None:
        async with eventlog.aio.open(path) as log:
            topic = await log.topic("jobs", value=int)
            queue = await log.queue(topic, group="g")

            async def loop() -> list[int]:
                return [job.value async for job in queue]

            for end in (queue.wakeup, None):
                waits = asyncio.create_task(loop())
                await asyncio.sleep(0)  # it begins, and polls
                assert queue._poller is waits
                with pytest.raises(eventlog.ConcurrentUse):
                    await queue.poll()
                await queue.commit()
                end() if end is not None else await queue.close()
                assert await asyncio.wait_for(waits, PATIENCE_SECONDS) == []
            assert queue.is_closed
            with pytest.raises(eventlog.LogClosed):
                await queue.poll()

    asyncio.run(main())


def test_tasks_of_a_run_do_all_jobs(path: Path) -> None:
    """Each as a worker of its own; what fails is done again, and at last a dead letter."""

    async def main() -> tuple[list[int], int, list[int]]:
        done: list[int] = []
        workers: set[object] = set()
        async with eventlog.aio.open(path) as log:
            topic = await log.topic("jobs", value=int)
            await topic.append_many(range(20))
            queue = await log.queue(topic, group="g", attempts=2, backoff=(0.0, 0.0))

            async def work(job: eventlog.Job[Any, int]) -> None:
                workers.add(asyncio.current_task())
                await asyncio.sleep(0)
                done.append(job.value)
                if len(done) == 21:
                    queue.wakeup()
                if job.value == 7:
                    raise ValueError("seven")

            await queue.run(work, tasks=3)
            letters = await log.topic("dlq.g")
            found = [record.value async for record in letters.read()]
            await queue.close()
        return sorted(done), len(workers), found

    done, workers, letters = asyncio.run(asyncio.wait_for(main(), PATIENCE_SECONDS))
    assert done == sorted([*range(20), 7])
    assert workers == 3
    assert letters == [7]


@pytest.mark.parametrize("end", ["close", "wakeup", "cancel"])
def test_a_run_that_waits_ends(path: Path, end: str) -> None:
    """By closing the queue in a job, by another task, or when its task is cancelled; what was done is stored."""

    async def main() -> int:
        async with eventlog.aio.open(path) as log:
            topic = await log.topic("jobs", value=str)
            await topic.append("tea")
            queue = await log.queue(topic, group="g")
            begun = asyncio.Event()

            async def work(_job: eventlog.Job[Any, str]) -> None:
                begun.set()
                if end == "close":
                    await queue.close()

            run = asyncio.create_task(queue.run(work, tasks=2))
            await begun.wait()
            if end == "wakeup":
                queue.wakeup()
            elif end == "cancel":
                run.cancel()
            [ended] = await asyncio.gather(run, return_exceptions=True)
            assert isinstance(ended, asyncio.CancelledError) == (end == "cancel")
            await queue.close()
            async with log.queue(topic, group="g") as other:
                return len(await other.poll())

    assert asyncio.run(asyncio.wait_for(main(), PATIENCE_SECONDS)) == 0
