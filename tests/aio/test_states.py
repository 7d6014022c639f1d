"""States of an event loop: read where the task is, made by the commit, and scanned in short steps."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog import aio, testing
from eventlog.clients.transaction.transaction import EmbeddedTransaction


@pytest.fixture
def tested() -> Iterator[eventlog.EventLog]:
    """A log that can be given faults."""
    with testing.open() as log:
        yield log


def test_opening_a_new_state_waits_for_no_commit(tested: eventlog.EventLog) -> None:
    """On a full disk it can be opened, read and written; the commit is refused, and makes nothing."""

    async def main() -> None:
        async with testing.for_asyncio(tested) as log:
            with testing.full_disk(tested):
                tx = await log.transaction()
                state = tx.state("balances", key=str, value=int)
                state["alice"] = state.get("alice", 0) + 5
                assert (state["alice"], "bob" in state, list(state), state.get_many(["bob"])) == (
                    5,
                    False,
                    ["alice"],
                    {},
                )
                with pytest.raises(eventlog.DiskFull):
                    await tx.commit()
            assert await log.states() == []

    asyncio.run(main())


def test_a_new_state_is_made_by_the_commit_and_by_nothing_else() -> None:
    """An aborted transaction leaves none; a committed one leaves it with its rows, and it can be deleted again."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            async with log.transaction() as tx:
                tx.state("aborted", key=str, value=int)["a"] = 1
                await tx.abort()
            assert await log.states() == []
            async with log.transaction() as tx:
                tx.state("rows", key=int, value=str)[1] = "one"
                tx.state("others", key=int, value=str)[2] = "two"
                tx.send((await log.topic("orders")), b"tea")
            assert await log.states() == ["others", "rows"]
            assert log.state("rows", key=int, value=str)[1] == "one"
            async with log.transaction() as tx:
                assert tx.state("rows")[1] == "one"
            await log.delete_state("rows")
            with pytest.raises(eventlog.UnknownState):
                log.state("rows")

    asyncio.run(main())


def test_a_row_that_another_stores_in_a_new_state_is_a_conflict(path: Path) -> None:
    """It was read as missing; `transact` does it again, and nothing is lost."""

    async def main() -> None:
        async with aio.open(path) as log:
            calls = 0

            async def deposit(tx: aio.Transaction) -> int:
                nonlocal calls
                calls += 1
                balances = tx.state("balances", key=str, value=int)
                balance = balances.get("alice", 0) + 5
                if calls == 1:
                    async with log.transaction() as other:
                        other.state("balances", key=str, value=int)["alice"] = 100
                balances["alice"] = balance
                return balance

            assert (await log.transact(deposit), calls) == (105, 2)
            assert log.state("balances")["alice"] == 105

            tx = await log.transaction()
            rows = tx.state("more", key=str, value=int)
            assert [key async for key in rows] == []
            async with log.transaction() as other:
                other.state("more", key=str, value=int)["bob"] = 1
            rows["alice"] = 1
            with pytest.raises(eventlog.ConflictError):
                await tx.commit()
            assert dict(log.state("more").items()) == {"bob": 1}

    asyncio.run(main())


def test_other_codecs_of_a_new_state_are_refused() -> None:
    """In the transaction that is to make it at once, and against another transaction at the commit."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            tx = await log.transaction()
            tx.state("rows", key=str, value=int)["a"] = 1
            assert tx.state("rows")["a"] == 1
            with pytest.raises(eventlog.StateMismatch):
                tx.state("rows", key=int, value=int)
            async with log.transaction() as other:
                other.state("rows", key=str, value=str)["a"] = "one"
            with pytest.raises(eventlog.ConflictError, match="other codecs"):
                await tx.commit()
            assert log.state("rows")["a"] == "one"

    asyncio.run(main())


def test_a_processor_makes_its_state_in_its_own_thread(tested: eventlog.EventLog) -> None:
    """The function opens it in the loop, where every commit would be slow to notice."""

    async def main() -> None:
        async with testing.for_asyncio(tested) as log:
            orders = await log.topic("orders", key=str, value=int)
            await orders.append_many([1, 2, 3], key="alice")

            async def count(tx: aio.Transaction, record: eventlog.Record[str, int]) -> None:
                commits = tested._store.last_transaction()  # type: ignore[attr-defined]
                totals = tx.state("totals", key=str, value=int)
                totals[record.key] = totals.get(record.key, 0) + record.value
                assert tested._store.last_transaction() == commits  # type: ignore[attr-defined]

            async with log.processor(orders, function=count, group="counting") as processor:
                assert await processor.run_to_end(10.0) == 3
            assert log.state("totals", key=str, value=int)["alice"] == 6

    asyncio.run(main())


def test_a_scan_lets_other_tasks_come_and_gives_every_row() -> None:
    """Of a view, of a transaction with rows of its own, forward and back; `for` goes through in one go."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            async with log.transaction() as tx:
                rows = tx.state("rows", key=int, value=str)
                for number in range(20_000):
                    rows[number] = "x" * 50
            turns = 0

            async def other() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            ticking = asyncio.create_task(other())
            view = log.state("rows", key=int, value=str)
            assert [key async for key, _ in view.items()] == list(range(20_000))
            assert [key async for key in view.keys(5, 1, is_reversed=True)] == []
            assert [key async for key in view.keys(1, 5, is_reversed=True)] == [4, 3, 2, 1]
            assert list(view.values(1, 3)) == ["x" * 50] * 2
            async with log.transaction() as tx:
                rows = tx.state("rows", key=int, value=str)
                rows[20_000] = "own"
                assert [key async for key in rows] == list(range(20_001))
            ticking.cancel()
            assert turns > 4

    asyncio.run(main())


def test_a_scan_of_a_transaction_reads_nothing_ahead() -> None:
    """It sees what is written meanwhile, and what comes behind the last row that was handed out is no conflict."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            async with log.transaction() as tx:
                tx.state("rows", key=int, value=int).put(1, 1)
                for number in range(2, 100):
                    tx.state("rows")[number] = number
            tx = await log.transaction()
            rows = tx.state("rows", key=int, value=int)
            seen: list[Any] = []
            async for key, value in rows.items():
                seen.append((key, value))
                if key == 1:
                    rows[2] = 20
                    del rows[3]
                if key == 4:
                    break
            assert seen == [(1, 1), (2, 20), (4, 4)]
            async with log.transaction() as other:
                other.state("rows")[50] = 0
            await tx.commit()
            tx = await log.transaction()
            rows = tx.state("rows", key=int, value=int)
            async for key in rows.keys(prefix=None, max_rows=3):
                rows[1000] = key
            async with log.transaction() as other:
                other.state("rows")[2] = 0
            with pytest.raises(eventlog.ConflictError):
                await tx.commit()

    asyncio.run(main())


def test_loaded_rows_are_remembered_and_checked() -> None:
    """A transaction reads them once; if somebody changes one, it is a conflict."""

    async def main() -> None:
        async with aio.open(":memory:") as log:
            async with log.transaction() as tx:
                rows = tx.state("rows", key=int, value=int)
                for number in range(1000):
                    rows[number] = number
            assert await log.state("rows", key=int, value=int).load([1, 5000]) == {1: 1}
            tx = await log.transaction()
            rows = tx.state("rows", key=int, value=int)
            loaded = await rows.load(iter(range(1000)))
            assert loaded == {number: number for number in range(1000)}
            async with log.transaction() as other:
                other.state("rows")[7] = 70
            assert rows[7] == 7
            rows[2000] = 1
            with pytest.raises(eventlog.ConflictError):
                await tx.commit()
            async with log.transaction() as tx:
                rows = tx.state("rows", key=int, value=int)
                assert rows.delete(7)
                assert not rows.delete(7)
                with pytest.raises(KeyError):
                    del rows[7]
            assert 7 not in log.state("rows")

    asyncio.run(main())


@pytest.mark.parametrize("is_consumed", [False, True])
def test_a_large_transaction_is_made_ready_in_a_thread(monkeypatch: pytest.MonkeyPatch, is_consumed: bool) -> None:
    """Beyond 1 MiB; its consumer can be polled by another task meanwhile, and everything is stored."""
    threads: list[int] = []
    prepared = EmbeddedTransaction._prepared

    def noting(self: EmbeddedTransaction) -> Any:
        threads.append(threading.get_ident())
        return prepared(self)

    monkeypatch.setattr(EmbeddedTransaction, "_prepared", noting)

    async def main() -> None:
        async with aio.open(":memory:") as log:
            orders = await log.topic("orders", value=int)
            await orders.append_many(range(10))
            async with log.consumer(orders, group="g", auto_commit=False) as consumer:
                await consumer.poll(1.0, max_records=5)
                for size in (1, 5000):
                    tx = await log.transaction(consumer if is_consumed and size > 1 else None)
                    rows = tx.state("rows", key=int, value=str)
                    for number in range(size):
                        rows[number] = "x" * 100
                    tx.send(orders, size)
                    await asyncio.gather(tx.commit(), consumer.poll(1.0, max_records=1))
                assert await consumer.committed(("orders", 0)) == (6 if is_consumed else None)
            assert len(list(log.state("rows"))) == 5000
            tx = await log.transaction()
            for number in range(5000):
                tx.state("rows")[number] = "y" * 100
            await tx.abort()
            assert log.state("rows")[0] == "x" * 100

    asyncio.run(main())
    assert [thread == threading.get_ident() for thread in threads] == [True, False]
