"""Long work in an event loop, copies of topics above all: cancelled anywhere, they go on, and lose nothing."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from pathlib import Path

import pytest

import eventlog
from eventlog import aio

_SEED = int(os.environ["EVENTLOG_SEED"])


async def _texts(log: aio.EventLog, count: int) -> aio.Topic[str, str]:
    texts = await log.topic("texts", key=str, value=str, partitions=3)
    await texts.append_many([str(number) for number in range(count)], keys=[f"k{n % 7}" for n in range(count)])
    return texts


def test_a_copy_tells_offsets_and_carries_groups() -> None:
    """As that of a sync log; what is called is called in a thread, and other tasks go on."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            texts = await _texts(log, 100)
            async with log.consumer(texts, group="g", auto_commit=False) as consumer:
                done_count = len(await consumer.poll(1.0, max_records=40))
                await consumer.commit()
            threads, told = set(), []

            def number_of(text: str) -> int:
                threads.add(threading.get_ident())
                return int(text)

            copy = await log.copy_topic(
                texts,
                to="numbers",
                value=int,
                convert=number_of,
                progress=lambda *both: told.append(both),
                max_records=30,
            )
            assert threading.get_ident() not in threads
            assert told == [(30, 100), (60, 100), (90, 100), (100, 100)]
            assert (copy.records, copy.topic.name, copy.offset(0, 1)) == (100, "numbers", 1)
            assert sorted([record.value async for record in copy.topic.read()]) == list(range(100))
            assert await copy.carry_groups() == {
                "g": {tp: offset async for tp, offset in _committed(log, "g", "numbers")}
            }
            async with log.consumer(copy.topic, group="g") as consumer:
                assert len(await consumer.poll(1.0)) == 100 - done_count
            into = await log.topic("more", key=str, value=str, partitions=3)
            assert (await log.copy_topic("texts", to=into)).records == 100
            with pytest.raises(ValueError, match="itself"):
                await log.copy_topic(texts, to=texts)
            with pytest.raises(eventlog.UnknownTopic):
                await log.copy_topic("missing", to="numbers")

    asyncio.run(main())


async def _committed(log: aio.EventLog, group: str, topic: str):  # type: ignore[no-untyped-def]
    for place in (await log.groups.describe(group)).offsets:
        if place.topic == topic:
            yield eventlog.TopicPartition(topic, place.partition), place.committed


def test_a_conversion_that_fails_ends_the_copy_with_its_error() -> None:
    """What was copied before is stored, and the next call goes on."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            await _texts(log, 50)
            with pytest.raises(ZeroDivisionError) as caught:
                await log.copy_topic(
                    "texts", to="new", value=int, convert=lambda text: 1 // (int(text) - 30), max_records=7
                )
            assert any("while copying" in note for note in caught.value.__notes__)
            copy = await log.copy_topic("texts", to="new", value=int, convert=int, max_records=7)
            assert copy.records == 50

    asyncio.run(main())


def test_closing_the_log_ends_a_copy(path: Path) -> None:
    """The task that waits gets `LogClosed`; another log goes on where it ended."""
    held, go_on = threading.Event(), threading.Event()

    def convert(text: str) -> int:
        if text == "20":
            held.set()
            go_on.wait(10.0)
        return int(text)

    async def main() -> None:
        log = await aio.open(path)
        await _texts(log, 50)
        copying = asyncio.create_task(log.copy_topic("texts", to="new", value=int, convert=convert, max_records=5))
        assert await asyncio.to_thread(held.wait, 10.0)
        closing = asyncio.create_task(log.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        go_on.set()
        await closing
        with pytest.raises(eventlog.LogClosed, match="the copy"):
            await copying
        async with aio.open(path) as again:
            assert (await again.copy_topic("texts", to="new", value=int, convert=int)).records == 50

    asyncio.run(main())


def test_nothing_waits_behind_a_verification_and_a_cancelled_task_gives_it_up() -> None:
    """A consumer's first poll and a fold have another thread."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            texts = await log.topic("texts", key=str, value=str, index="key")
            await texts.append_many(["tea", "milk"], key="alice")
            held, go_on, calls = threading.Event(), threading.Event(), []

            def hold(checked_bytes: int) -> None:
                calls.append(checked_bytes)
                held.set()
                go_on.wait(30.0)

            verifying = asyncio.create_task(log.verify(progress=hold))
            assert await asyncio.to_thread(held.wait, 10.0)
            async with log.consumer(texts, group="g") as consumer:
                assert len(await consumer.poll(10.0)) == 2
            assert await texts.fold("alice", lambda count, _: count + 1, 0) == (2, 2)
            assert not verifying.done()
            verifying.cancel()
            await asyncio.sleep(0)
            go_on.set()
            with pytest.raises(asyncio.CancelledError) as caught:
                await verifying
            assert caught.value.__notes__ == ["the verification was interrupted. Nothing was changed."]
            assert len(calls) == 1
            assert (await log.verify()).record_count == 2

    asyncio.run(main())


@pytest.mark.timeout(120)
def test_a_copy_that_is_cancelled_anywhere_loses_and_doubles_nothing(path: Path) -> None:
    """Cancelled again and again at chance moments, while others write; then it is ended, and compared."""
    notes: list[str] = []

    async def main(rng: random.Random, directory: Path) -> int:
        cancelled_count = 0
        async with aio.open(directory, durability="ordered") as log:
            texts = await _texts(log, 60)
            written = 60
            while True:
                convert = rng.choice([int, lambda text: int(text)])
                copying = asyncio.create_task(
                    log.copy_topic(texts, to="new", value=int, convert=convert, max_records=rng.choice([1, 3, 10]))
                )
                for _ in range(rng.randrange(6)):
                    await asyncio.sleep(rng.choice([0, 0, 0.001, 0.003]))
                if written < 90:
                    await texts.append(str(written), key=f"k{written % 7}")
                    written += 1
                if cancelled_count >= 25:
                    break
                copying.cancel()
                try:
                    await copying
                except asyncio.CancelledError as error:
                    cancelled_count += 1
                    notes.extend(getattr(error, "__notes__", []))
            await copying
            copy = await log.copy_topic(texts, to="new", value=int)
            assert copy.records == written
            for partition in range(3):
                old = [int(record.value) async for record in texts.read(partition)]
                assert [record.value async for record in copy.topic.read(partition)] == old
        return cancelled_count

    threads = set(threading.enumerate())
    for number in range(4):
        seed = _SEED * 100 + number
        try:
            assert asyncio.run(main(random.Random(seed), path / str(number))) == 25
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    assert set(threading.enumerate()) <= threads
    assert any("goes on" in note for note in notes), "no copy was cancelled in its middle"
