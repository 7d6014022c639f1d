"""Appends, producers, topics and transactions of an event loop."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

import eventlog
from eventlog import aio


def test_appends_of_many_tasks_share_commits(path: Path) -> None:
    """Sixty-four tasks that append at once are stored by far fewer rounds, and each knows its place."""

    async def main() -> tuple[list[int], int]:
        async with aio.open(path) as log:
            orders = await log.topic("orders")
            before = log._home.backend.committer.round_count  # type: ignore[attr-defined]
            stored = await asyncio.gather(*[orders.append(b"%d" % number) for number in range(64)])
            rounds = log._home.backend.committer.round_count - before  # type: ignore[attr-defined]
            return [metadata.offset for metadata in stored], rounds

    offsets, rounds = asyncio.run(main())
    assert sorted(offsets) == list(range(64))
    assert rounds <= 8
    with eventlog.open(path) as log:
        values = [record.value for record in log.topic("orders").read()]
    assert [values[offset] for offset in offsets] == [b"%d" % number for number in range(64)]


def test_columns_versions_ids_and_histories_are_those_of_a_sync_log() -> None:
    """What `append_many`, `expected_version` and `message_id` promise holds."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            orders = await log.topic("orders", key=str, value=int, partitions=3, index="key")
            ranges = await orders.append_many([1, 2, 3], key="a")
            assert (ranges[0].first, ranges[0].end) == (0, 3)
            assert await orders.append_many([]) == []
            assert (await orders.append(4, key="a", expected_version=3)).version == 4
            with pytest.raises(eventlog.WrongVersion) as raised:
                await orders.append(5, key="a", expected_version=3)
            assert raised.value.key == "a"
            with pytest.raises(eventlog.WrongVersion):
                await orders.append_many([5], key="a", expected_version=3)
            first = await orders.append(6, key="b", message_id="m")
            assert await orders.append(6, key="b", message_id="m") == first
            assert [event.value async for event in orders.history("a")] == [1, 2, 3, 4]
            assert await orders.version("a") == 4
            latest = await orders.latest("a")
            assert latest is not None
            assert latest.value == 4
            assert sorted([key async for key in orders.keys()]) == ["a", "b"]  # noqa: SIM118
            assert (await orders.fold("a", lambda total, value: total + value, 0)) == (10, 4)
            await orders.save_snapshot("a", 10, version=4)
            snapshot = await orders.snapshot("a")
            assert snapshot is not None
            assert snapshot.version == 4

    asyncio.run(main())


def test_records_are_placed_by_the_new_number_of_partitions(path: Path) -> None:
    """An append that met a topic with more partitions is placed again."""

    async def main() -> None:
        async with aio.open(path) as log:
            orders = await log.topic("orders", key=str)
            with eventlog.open(path) as other:
                other.topic("orders").create_partitions(8)
                there = other.topic("orders", key=str)
                wanted = {key: there.append(b"x", key=key).partition for key in map(str, range(40))}
            for key, partition in wanted.items():
                assert (await orders.append(b"y", key=key)).partition == partition
            found = await orders.append_many([b"z"] * 40, keys=list(wanted))
            assert {one.partition for one in found} == set(wanted.values())
            await orders.create_partitions(9)
            assert orders.partitions == 9

    asyncio.run(main())


def test_an_append_to_a_deleted_topic_fails_at_its_await() -> None:
    """Its error is that of the sync log, and the others of its round are stored."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            orders, gone = await log.topic("orders"), await log.topic("gone")
            await log.delete_topic("gone")
            good, bad = await asyncio.gather(orders.append(b"a"), gone.append(b"b"), return_exceptions=True)
            assert isinstance(good, eventlog.RecordMetadata)
            assert isinstance(bad, eventlog.UnknownTopic)
            assert await log.topics() == ["orders"]

    asyncio.run(main())


def test_deliveries_can_be_awaited() -> None:
    """One after the other and all at once; those that are done at once."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            orders = await log.topic("orders", partitions=2)
            async with log.producer() as producer:
                assert (await producer.send(orders, b"a", partition=1)).offset == 0
                deliveries = producer.send_many("orders", [b"b"] * 100, partition=0)
                assert [one.offset for one in await asyncio.gather(*deliveries)] == list(range(100))
                assert (await deliveries[3]).offset == 3
                late = producer.send(orders, b"c")
                await producer.drain()
                await producer.flush()
                assert late.done()
                assert "open" in repr(producer)
            assert "closed" in repr(producer)

    asyncio.run(main())


def test_the_delivery_of_a_sync_producer_can_be_awaited(log: eventlog.EventLog) -> None:
    """Its sender thread stores it, and the loop goes on meanwhile."""
    with log.producer(linger=60.0) as producer:

        async def main() -> eventlog.RecordMetadata:
            return await producer.send(log.topic("orders"), b"tea")

        assert asyncio.run(main()).offset == 0


def test_a_cancelled_task_does_not_cancel_its_delivery() -> None:
    """The record is stored, and the delivery says so."""

    async def main() -> None:
        async with aio.open(":memory:") as log, log.producer(linger=60.0) as producer:
            await log.topic("orders")
            delivery = producer.send("orders", b"tea")

            async def wait() -> None:
                await delivery

            task = asyncio.create_task(wait())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            assert (await delivery).offset == 0

    asyncio.run(main())


def test_a_full_buffer_refuses_and_drain_makes_room() -> None:
    """`send` never waits, so a program that is faster than the disk waits for `drain()`."""

    async def main() -> None:
        async with aio.open(":memory:") as log, log.producer(max_buffered_bytes=65_520, linger=60.0) as producer:
            orders = await log.topic("orders")
            value, count = b"x" * 4000, 0

            def fill() -> None:
                nonlocal count
                for count in range(10_000):  # noqa: B007
                    producer.send(orders, value)

            with pytest.raises(eventlog.BufferFull):
                fill()
            await producer.drain()
            assert (await producer.send(orders, value)).offset == count

    asyncio.run(main())


def test_a_named_producer_fences_the_older_one() -> None:
    """As that of a sync log."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            await log.topic("orders")
            older = await log.producer(name="till")
            async with log.producer(name="till") as newer:
                assert newer.name == "till"
                assert (await newer.send("orders", b"b")).offset == 0
                with pytest.raises(eventlog.ProducerFenced):
                    await older.send("orders", b"a")
            await older.close()

    asyncio.run(main())


def test_a_transaction_stores_records_offsets_and_states_together() -> None:
    """Nothing is seen before its commit; an error in the block stores nothing."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            orders = await log.topic("orders", value=int)
            await orders.append_many([1, 2, 3])
            async with log.consumer(orders, group="sum", auto_commit=False) as consumer:
                records = await consumer.poll(5.0)
                async with log.transaction(consumer) as tx:
                    total = tx.state("total", key=str, value=int)
                    total["all"] = sum(record.value for record in records)
                    delivery = tx.send("orders", 6)
                    tx.send_many("orders", [7, 8])
                    assert not tx.is_ended
                assert delivery.result().offset == 3
                assert (await delivery).offset == 3
                assert await consumer.committed(("orders", 0)) == 3
                failed: list[eventlog.Delivery] = []

                async def fail() -> None:
                    async with log.transaction() as tx:
                        failed.append(tx.send("orders", 9))
                        raise ZeroDivisionError

                with pytest.raises(ZeroDivisionError):
                    await fail()
                with pytest.raises(eventlog.TransactionEnded):
                    await failed[0]
            assert log.state("total", key=str, value=int)["all"] == 6
            assert await log.states() == ["total"]
            assert [record.value async for record in orders.read()] == [1, 2, 3, 6, 7, 8]

    asyncio.run(main())


def test_transact_tries_again_after_a_conflict() -> None:
    """With a function, and with a coroutine function; all increments arrive."""

    async def main() -> None:
        async with aio.open(":memory:") as log:

            async def add(tx: aio.Transaction) -> int:
                counts = tx.state("counts", key=str, value=int)
                number = counts.get("a", 0)
                await asyncio.sleep(0)
                counts["a"] = number + 1
                return number

            numbers = await asyncio.gather(*[log.transact(add, attempts=100) for _ in range(8)])
            assert sorted(numbers) == list(range(8))
            assert await log.transact(lambda tx: tx.state("counts", key=str, value=int)["a"]) == 8

    asyncio.run(main())


def test_nothing_is_left_when_the_log_is_closed(path: Path) -> None:
    """No thread, no task, and the log is closed for all that came from it."""
    threads = set(threading.enumerate())

    async def main() -> None:
        log = await aio.open(path)
        orders = await log.topic("orders")
        consumer = await log.consumer(orders, group="g")
        producer = await log.producer()
        delivery = producer.send(orders, b"a")
        await log.close()
        await log.close()
        assert (await delivery).offset == 0
        assert log.is_closed
        assert consumer.is_closed
        for call in (orders.append(b"b"), consumer.poll(), log.topics()):
            with pytest.raises(eventlog.LogClosed):
                await call
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
    assert set(threading.enumerate()) == threads


def test_a_log_belongs_to_its_loop() -> None:
    """Another loop is told so, and so is a thread without one."""

    async def open_it() -> tuple[aio.EventLog, aio.Topic[bytes, bytes]]:
        log = await aio.open(":memory:")
        return log, await log.topic("orders")

    async def append(topic: aio.Topic[bytes, bytes]) -> None:
        with pytest.raises(eventlog.ConcurrentUse):
            await topic.append(b"a")

    with asyncio.Runner() as runner:
        log, topic = runner.run(open_it())
        thread = threading.Thread(target=lambda: asyncio.run(append(topic)))
        thread.start()
        thread.join()
        runner.run(log.close())


def test_what_cannot_be_opened_leaves_no_thread(tmp_path: Path) -> None:
    """The error is that of `eventlog.open`."""
    threads = set(threading.enumerate())

    async def main() -> None:
        with pytest.raises(eventlog.NotALog):
            await aio.open(tmp_path / "missing", create=False)
        with pytest.raises(ValueError, match="durability"):
            await aio.open(tmp_path / "log", durability="never")  # type: ignore[arg-type]

    asyncio.run(main())
    assert {thread for thread in threading.enumerate() if thread.is_alive()} - threads == set()


@pytest.mark.parametrize("name", ["zstd", "lz4"])
def test_a_compressed_topic_is_told_altered_and_read(name: str) -> None:
    """Small and large records, columns, and a producer; what is stored before another compression stays."""
    columns = [b"/products/%d" % (number % 9) for number in range(500)]

    async def main() -> None:
        async with aio.open(":memory:") as log:
            views = await log.topic("views", compression=name)  # type: ignore[arg-type]
            assert views.compression == name
            await views.append_many(columns)
            await asyncio.gather(*(views.append(b"%d" % number * 900) for number in range(5)))
            await views.append(b"large" * 10_000)
            await views.append(b"large" * 10_000, message_id="m")
            async with log.producer() as producer:
                for value in columns:
                    producer.send("views", value)
                await producer.flush()
            assert (await log.stats()).stored_bytes < 8_000
            with pytest.raises(eventlog.TopicMismatch):
                await log.topic("views", compression="lz4" if name == "zstd" else "zstd")
            await views.alter(compression=None)
            await views.append(b"large" * 10_000)
            assert views.compression is None
            assert (await log.stats()).stored_bytes > 50_000
            found = [record.value async for record in views.read()]
            assert (found[:500], found[-1], len(found)) == (columns, b"large" * 10_000, 1_008)
            assert sorted(found[500:505]) == [b"%d" % number * 900 for number in range(5)]

    asyncio.run(main())
