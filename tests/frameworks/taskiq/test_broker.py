"""The broker, the result backend and the source of schedules of taskiq, in one process."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from taskiq import ScheduledTask, SendTaskError, TaskiqScheduler
from taskiq.api import run_receiver_task
from taskiq.depends.progress_tracker import TaskProgress
from taskiq.serializers import PickleSerializer

import eventlog
from eventlog.frameworks.taskiq import EventLogBroker, EventLogResultBackend, EventLogScheduleSource


async def add(one: int, other: int = 1) -> int:
    """Add two numbers."""
    return one + other


async def fail(message: str) -> None:
    """Raise an error."""
    raise LookupError(message)


@asynccontextmanager
async def started(path, *, results=None, **options):
    """A broker that is started, with these tasks."""
    broker = EventLogBroker(path, **options)
    broker.with_result_backend(results or EventLogResultBackend(path))
    broker.register_task(add, "add")
    broker.register_task(fail, "fail")
    await broker.startup()
    try:
        yield broker
    finally:
        await broker.shutdown()


@asynccontextmanager
async def working(broker):
    """A worker in this process."""
    worker = asyncio.create_task(run_receiver_task(broker))
    try:
        yield
    finally:
        worker.cancel()
        await asyncio.wait([worker])


async def messages(broker, count):
    """The numbers in some messages as a worker gets them, each acknowledged."""
    found, listener = [], broker.listen()
    async for message in listener:
        found.append(broker.formatter.loads(message.data).args[0])
        await message.ack()
        if len(found) == count:
            break
    await listener.aclose()
    return found


def described(path):
    """What there is to do."""
    with eventlog.open(path) as log:
        queue = log.queues.describe("taskiq")
        return queue.ready, queue.leased, queue.delayed


def test_tasks_are_executed_and_their_results_read(path):
    """A value, and an error that is raised where the result is wanted."""

    async def main():
        async with started(path) as broker, working(broker):
            tasks = [await broker.find_task("add").kiq(number, other=2) for number in range(5)]
            bad = await broker.find_task("fail").kiq("no")
            results = [await task.wait_result(check_interval=0.01, timeout=20) for task in tasks]
            assert [result.return_value for result in results] == [2, 3, 4, 5, 6]
            error = (await bad.wait_result(check_interval=0.01, timeout=20)).error
            assert (type(error), error.args) == (LookupError, ("no",))

    asyncio.run(main())
    assert described(path) == (0, 0, 0)


def test_higher_priorities_come_first_and_delays_hold_nothing_up(path):
    """By the labels `priority` and `delay`; a queue by `queue_name`."""

    async def main():
        async with started(path, queues=("default", "mail")) as broker:
            for number, labels in enumerate(
                [{"priority": -1}, {"delay": 0.3}, {}, {"priority": 9}, {"queue_name": "mail", "priority": 1}]
            ):
                await broker.find_task("add").kicker().with_labels(**labels).kiq(number)
            return await messages(broker, 5)

    found = asyncio.run(main())
    assert sorted(found[:2]) == [3, 4]
    assert found[2:] == [2, 0, 1]


def test_what_is_not_acknowledged_is_given_back(path):
    """By `shutdown()`, and it is the next worker's."""

    async def main():
        async with started(path) as broker:
            await broker.find_task("add").kiq(1)
            listener = broker.listen()
            await anext(listener)
            assert described(path) == (0, 1, 0)
        assert described(path) == (1, 0, 0)
        async with started(path) as broker:
            return await messages(broker, 1)

    assert asyncio.run(main()) == [1]


def test_tasks_that_end_together_share_a_commit(path):
    """Hundreds of acknowledgements at once take few commits, and each of them is stored when it returns."""

    async def main():
        async with started(path) as broker:
            for number in range(100):
                await broker.find_task("add").kiq(number)
            listener = broker.listen()
            taken = [await anext(listener) for _ in range(100)]
            before = described(path)
            commits = []
            queue = broker._queue
            commit = queue.commit
            queue.commit = lambda: commits.append(1) or commit()
            await asyncio.gather(*(message.ack() for message in taken))
            return before, described(path), len(commits)

    before, after, commit_count = asyncio.run(main())
    assert (before, after) == ((0, 100, 0), (0, 0, 0))
    assert commit_count <= 3


@pytest.mark.parametrize("labels", [{"queue_name": "other"}, {"delay": -1}, {"delay": "soon"}, {"priority": "high"}])
def test_a_wrong_label_is_told_where_the_task_is_sent(path, labels):
    """Nothing is stored."""

    async def main():
        async with started(path) as broker:
            with pytest.raises(SendTaskError) as raised:
                await broker.find_task("add").kicker().with_labels(**labels).kiq(1)
            assert isinstance(raised.value.__cause__, ValueError)

    asyncio.run(main())
    with eventlog.open(path) as log:
        assert all(not list(log.topic(name).read()) for name in log.topics())


def test_a_broker_that_was_not_started_says_so(path):
    """So do the other parts; the advice is to start it."""
    broker = EventLogBroker(path)
    task = broker.register_task(add, "add again")
    with pytest.raises(SendTaskError) as raised:
        asyncio.run(task.kiq(1))
    assert "broker.startup()" in str(raised.value.__cause__)
    with pytest.raises(RuntimeError, match="was not started"):
        asyncio.run(EventLogScheduleSource(path).get_schedules())
    with pytest.raises(ValueError, match="queues are names"):
        EventLogBroker(path, queues="default")


def test_results_expire_and_any_serializer_will_do(path):
    """What is pruned is as what never was; progress is kept beside results."""

    async def main():
        results = EventLogResultBackend(path, serializer=PickleSerializer())
        async with started(path, results=results) as broker, working(broker):
            task = await broker.find_task("add").kiq(1)
            result = await task.wait_result(check_interval=0.01, timeout=20)
            assert result.return_value == 2
            assert await task.get_progress() is None
            await results.set_progress(task.task_id, TaskProgress(state="half", meta={"done": 1}))
            assert (await task.get_progress()).meta == {"done": 1}

            short = EventLogResultBackend(path, results_ttl=0.0)
            await short.startup()
            await short.set_result("another", result)
            assert not await short.is_result_ready("another")
            with pytest.raises(LookupError, match="another"):
                await short.get_result("another")
            assert await short.prune() == 0
            await short.shutdown()
            assert await task.is_ready()

    asyncio.run(main())


def test_schedules_are_kept_and_those_for_one_time_sent_once(path):
    """By the scheduler of taskiq, which deletes what it has sent."""

    async def main():
        async with started(path) as broker:
            source = EventLogScheduleSource(path)
            scheduler = TaskiqScheduler(broker, [source])
            await source.startup()
            assert await source.get_schedules() == []
            task = broker.find_task("add")
            nightly = await task.schedule_by_cron(source, "0 3 * * *", 7)
            once = await task.schedule_by_time(source, datetime.now(UTC), 8)
            schedules = {one.schedule_id: one for one in await source.get_schedules()}
            assert set(schedules) == {nightly.schedule_id, once.schedule_id}
            for schedule in schedules.values():
                await scheduler.on_ready(source, schedule)
            assert [one.cron for one in await source.get_schedules()] == ["0 3 * * *"]
            assert isinstance(schedules[nightly.schedule_id], ScheduledTask)
            await nightly.unschedule()
            assert await source.get_schedules() == []
            await source.shutdown()
            return await messages(broker, 2)

    assert sorted(asyncio.run(main())) == [7, 8]
