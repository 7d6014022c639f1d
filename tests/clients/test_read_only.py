"""What would write is refused by a log that was opened for reading, and says what it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import eventlog
import eventlog.aio
from eventlog.backend import Backend
from eventlog.backend.read_only import READS, WRITES, ReadOnlyBackend


def _sum(state: Any, record: eventlog.Record[Any, Any]) -> None:
    state["all"] = state.get("all", 0) + 1


@pytest.fixture
def stored(path: Path) -> Path:
    """A log with a topic, a state, a projection and a group."""
    with eventlog.open(path) as log:
        orders = log.topic("orders", key=str, value=int, index="key")
        orders.append(1, key="ada")
        orders.save_snapshot("ada", 1, version=1)
        with log.transaction() as tx:
            tx.state("totals", key=str, value=int)["ada"] = 7
        log.projection("sums", _sum, topics=[orders]).catch_up()
        with log.consumer("orders", group="g") as consumer:
            while not consumer.poll(1.0):
                pass
            consumer.commit()
    return path


WRITING: dict[str, Callable[[eventlog.EventLog], object]] = {
    "append to topic 'orders'": lambda log: log.topic("orders").append(1, key="ada"),
    "append": lambda log: log.topic("orders").append_many([1], keys=["ada"]),
    "append ": lambda log: log.topic("orders").append(1, key="ada", message_id="one"),
    "make topic 'cakes'": lambda log: log.topic("cakes"),
    "alter topic 'orders'": lambda log: log.topic("orders").alter(retention=1.0),
    "add partitions to topic 'orders'": lambda log: log.topic("orders").create_partitions(4),
    "delete records of topic 'orders'": lambda log: log.topic("orders").delete_records({0: 1}),
    "save a snapshot of topic 'orders'": lambda log: log.topic("orders").save_snapshot("ada", 1, version=1),
    "delete a snapshot of topic 'orders'": lambda log: log.topic("orders").delete_snapshot("ada"),
    "delete topic 'orders'": lambda log: log.delete_topic("orders"),
    "make a producer": lambda log: log.producer(),
    "begin a transaction": lambda log: log.transaction(),
    "begin a transaction ": lambda log: log.transact(lambda tx: None),
    "join group 'g'": lambda log: log.consumer("orders", group="g"),
    "join group 'g' ": lambda log: log.consumer(group="g"),
    "join group 'g'  ": lambda log: log.processor("orders", function=lambda tx, record: None, group="g"),
    "reset group 'g'": lambda log: log.groups.reset_offsets("g", to="earliest"),
    "delete group 'g'": lambda log: log.groups.delete("g"),
    "delete offsets of group 'g'": lambda log: log.groups.delete_offsets("g", "orders"),
    "delete state 'totals'": lambda log: log.delete_state("totals"),
    "make projection 'other'": lambda log: log.projection("other", _sum),
    "fold projection 'sums'": lambda log: log.projection("sums", _sum).catch_up(),
    "fold projection 'sums' ": lambda log: log.projection("sums", _sum).rebuild(),
    "delete projection 'sums'": lambda log: log.delete_projection("sums"),
    "make topic 'orders-2'": lambda log: log.copy_topic("orders", to="orders-2").run_to_end(),
    "sync it": lambda log: log.sync(),
    "clean it": lambda log: log.clean(),
}


@pytest.mark.parametrize("what", WRITING)
@pytest.mark.parametrize("is_shared", [False, True], ids=["alone", "beside a writing log of this process"])
def test_what_would_write_is_refused(stored: Path, what: str, *, is_shared: bool) -> None:
    """The error names the call, the log and the way out; nothing has changed."""
    before = (stored / "data.mdb").read_bytes()
    other = eventlog.open(stored) if is_shared else None
    with eventlog.open(stored, read_only=True) as log:
        with pytest.raises(eventlog.ReadOnlyLog) as caught:
            WRITING[what](log)
        error = caught.value
        assert error.what == f"cannot {what.strip()}: the log at {stored} was opened with read_only=True."
        assert error.stored == "Nothing was changed."
        assert error.advice == "Open it without read_only=True to write."
        assert not error.retriable
    if other is not None:
        other.close()
    assert (stored / "data.mdb").read_bytes() == before


def test_each_call_of_a_backend_is_known_as_reading_or_writing() -> None:
    """A new call would otherwise be neither let through nor refused."""
    names = {name for kind in Backend.__mro__ for name in (*vars(kind), *getattr(kind, "__annotations__", {}))}
    # The composed protocol exists for type checkers alone, so its parts are asked.
    from eventlog.backend import (
        deferred,
        groups,
        history,
        kafka,
        kafka_transactions,
        maintenance,
        projections,
        queues,
        reading,
        records,
        schedules,
        states,
        topics,
    )
    from eventlog.backend import waiting as waits

    parts = (
        deferred.DeferredRequests,
        groups.GroupBackend,
        history.HistoryBackend,
        kafka.KafkaBackend,
        kafka_transactions.KafkaTransactions,
        maintenance.MaintenanceBackend,
        projections.ProjectionBackend,
        queues.QueuesBackend,
        reading.ReadingBackend,
        records.RecordBackend,
        schedules.SchedulesBackend,
        states.StateBackend,
        states.StateRows,
        topics.TopicBackend,
        waits.WaitingBackend,
    )
    for part in parts:
        names |= {*vars(part), *getattr(part, "__annotations__", {})}
    public = {name for name in names if not name.startswith("_")}
    ours = {name for name in vars(ReadOnlyBackend) if not name.startswith("_")}
    assert READS | set(WRITES) | ours == public
    assert not READS & set(WRITES)


def test_a_log_for_a_loop_reads_and_refuses(stored: Path) -> None:
    """The front door for asyncio does the same."""

    async def main() -> None:
        async with eventlog.aio.open(stored, read_only=True) as log:
            orders = await log.topic("orders")
            assert [record.value async for record in orders.read()] == [1]
            assert [record.value async for _, record in log.read_all()] == [1]
            async with log.consumer("orders") as consumer:
                assert [record.value for record in await consumer.poll(1.0)] == [1]
            assert log.state("totals").get("ada") == 7
            for call in (
                lambda: orders.append(2, key="ada"),
                lambda: orders.append_many([2], keys=["ada"]),
                lambda: log.topic("cakes"),
                lambda: log.producer(),
                lambda: log.consumer("orders", group="g"),
                lambda: log.delete_topic("orders"),
                lambda: log.clean(),
            ):
                with pytest.raises(eventlog.ReadOnlyLog, match="was opened with read_only=True"):
                    await call()
            with pytest.raises(eventlog.ReadOnlyLog):
                async with log.transaction():
                    pass

    asyncio.run(main())


def test_a_loop_hears_of_new_records(stored: Path) -> None:
    """It has no FIFO to watch, so it looks."""

    async def main(writer: eventlog.Topic[Any, Any]) -> None:
        async with eventlog.aio.open(stored, read_only=True) as log, log.consumer("orders", start="latest") as consumer:
            assert await consumer.poll(0.0) == []
            writer.append(2, key="ada")
            assert [record.value for record in await consumer.poll(10.0)] == [2]

    with eventlog.open(stored) as log:
        asyncio.run(main(log.topic("orders")))


def test_a_consumer_that_only_reads_has_no_descriptor(stored: Path) -> None:
    """There is no FIFO; the error says what to do."""
    with eventlog.open(stored, read_only=True) as log, log.consumer("orders") as consumer:
        with pytest.raises(eventlog.NotSupported, match=r"poll\(0\)"):
            consumer.fileno()
        assert [record.value for record in consumer.poll(1.0)] == [1]
