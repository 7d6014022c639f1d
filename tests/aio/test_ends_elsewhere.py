"""Closing from places where nobody can wait for it, and what a loop hears of files, forks and forgotten awaits."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path

import pytest

import eventlog
import eventlog.aio

_SOON_SECONDS = 10.0


def _run(main):
    return asyncio.run(asyncio.wait_for(main, _SOON_SECONDS))


def test_another_loop_cannot_close(path: Path) -> None:
    """It would wait for ever, for what is done in the loop of the log."""
    failures = []

    def close_elsewhere(*closing) -> None:
        for one in closing:
            try:
                _run(one.close())
            except eventlog.ConcurrentUse as error:
                failures.append(error)

    async def main() -> None:
        async with eventlog.aio.open(path) as log:
            topic = await log.topic("orders")
            clients = [
                await log.producer(),
                await log.consumer(topic),
                await log.processor(topic, function=print, group="g"),
                await log.projection("p", lambda state, record: None, topics=[topic], key=str, value=int),
            ]
            thread = threading.Thread(target=close_elsewhere, args=(log, *clients))
            thread.start()
            await asyncio.to_thread(thread.join)
            assert len(failures) == 5
            assert (await topic.append(b"tea")).offset == 0, "nothing was closed"

    _run(main())


def test_a_loop_that_has_ended_cannot_close(path: Path) -> None:
    """A log that outlived its loop says so."""

    async def opened():
        return await eventlog.aio.open(path)

    log = _run(opened())
    with pytest.raises(eventlog.ConcurrentUse, match="another event loop"):
        _run(log.close())


def test_the_function_of_a_processor_may_close_the_log(path: Path) -> None:
    """It does not wait for its own end; what it has done is stored."""

    async def main() -> None:
        log = await eventlog.aio.open(path)
        topic = await log.topic("orders", value=int)
        await topic.append_many([1, 2, 3])

        async def work(tx, record) -> None:
            await log.close()

        processor = await log.processor(topic, function=work, group="g")
        assert await processor.run() == 1
        await log.close()
        assert log.is_closed

    _run(main())
    with eventlog.open(path) as log:
        assert log.groups.describe("g").lag == 2


def test_the_function_of_a_processor_may_close_the_processor(path: Path) -> None:
    """The run ends after the record in hand."""

    async def main() -> None:
        async with eventlog.aio.open(path) as log:
            topic = await log.topic("orders", value=int)
            await topic.append_many([1, 2, 3])

            async def work(tx, record) -> None:
                await processor.close()

            processor = await log.processor(topic, function=work, group="g")
            assert await processor.run() == 1

    _run(main())


def test_a_callback_may_close_the_log(path: Path) -> None:
    """The poll that called it goes on to its end, which is that the log is closed."""

    async def main() -> None:
        log = await eventlog.aio.open(path)
        topic = await log.topic("orders", value=int)

        async def close(partitions) -> None:
            await log.close()

        consumer = await log.consumer(topic, group="g", on_assigned=close)
        assert await consumer.poll(5.0) == []
        with pytest.raises(eventlog.LogClosed):
            await consumer.poll(5.0)
        await log.close()
        assert log.is_closed

    _run(main())


def test_a_task_that_polls_again_and_again_does_not_hold_up_the_close(path: Path) -> None:
    """The polls after it are refused, as they are once it is closed; a loop ends."""

    async def main() -> None:
        async with eventlog.aio.open(path) as log:
            topic = await log.topic("orders", value=int)
            await topic.append_many(range(1000))

            async def poll() -> None:
                while True:
                    await polled.poll(0.05, max_records=1)

            async def walk() -> None:
                async for _ in walked:
                    await asyncio.sleep(0)

            polled, walked = await log.consumer(topic, group="g"), await log.consumer(topic, group="h")
            tasks = [asyncio.create_task(poll()), asyncio.create_task(walk())]
            await asyncio.sleep(0.05)
            async with asyncio.timeout(2.0):
                await polled.close()
                await walked.close()
            with pytest.raises(eventlog.LogClosed):
                await tasks[0]
            await tasks[1]

    _run(main())


def test_files_that_change_are_no_business_of_the_loop(path: Path) -> None:
    """Who waits gets the error; the loop's handler of errors hears nothing, and the consumer goes on afterwards."""
    heard = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: heard.append(context))
        async with eventlog.aio.open(path, durability="ordered") as log:
            topic = await log.topic("orders", value=int)
            async with log.consumer(topic) as consumer:
                waiting = asyncio.create_task(consumer.poll(30.0))
                await asyncio.sleep(0.2)
                await asyncio.to_thread(path.rename, path.with_name("elsewhere"))
                with pytest.raises(eventlog.FilesChanged):
                    await waiting
                await asyncio.to_thread(path.with_name("elsewhere").rename, path)
                await topic.append(1)
                assert [record.value for record in await consumer.poll(5.0)] == [1]

    _run(main())
    assert heard == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_fork_beside_a_loop_leaves_all_logs_to_the_parent(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No error on the way, which would leave the next log as it is; a child uses both."""
    unheard = []
    monkeypatch.setattr(sys, "unraisablehook", unheard.append)

    async def main() -> None:
        async with eventlog.aio.open(path) as log:
            topic = await log.topic("orders", value=int)
            async with log.consumer(topic, group="g") as consumer:
                await consumer.poll(0.0)
                with eventlog.open(path.with_name("other")) as other:
                    child = os.fork()
                    if child == 0:
                        try:
                            other.topic("teas").append(b"1")
                            with eventlog.open(path) as again:
                                again.topic("orders").append(1)
                            os._exit(len(unheard))
                        finally:
                            os._exit(9)
                    ended = await asyncio.to_thread(os.waitpid, child, 0)
                    assert os.waitstatus_to_exitcode(ended[1]) == 0
                assert [record.value for record in await consumer.poll(5.0)] == [1]

    _run(main())


def test_a_forgotten_await_is_told() -> None:
    """The most frequent slip of a newcomer."""

    async def main() -> None:
        async with eventlog.aio.open(":memory:") as log:
            await log.topic("orders")
            with pytest.raises(AttributeError, match="Write `await` before the call"):
                await log.consumer("orders").poll()

    _run(main())


def test_a_thread_that_could_not_start_starts_later(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is Python's; nothing was begun, and the next call works."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            await eventlog.aio.open(path)
        monkeypatch.setattr(threading.Thread, "start", start)
        async with eventlog.aio.open(path) as log:
            topic = await log.topic("orders", value=int)
            await topic.append_many([1, 2])
            done = []
            async with log.processor(
                topic, function=lambda tx, record: done.append(record.value), group="g"
            ) as working:
                monkeypatch.setattr(threading.Thread, "start", refuse)
                with pytest.raises(RuntimeError, match="can't start new thread"):
                    await working.run_to_end(5.0)
                monkeypatch.setattr(threading.Thread, "start", start)
                assert await working.run_to_end(5.0) == 2
            assert done == [1, 2]

    _run(main())
