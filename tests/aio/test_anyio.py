"""The log of an event loop inside anyio: its task groups, timeouts and cancel scopes."""

from __future__ import annotations

import anyio
import pytest

from eventlog import aio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Both of anyio's backends."""
    return str(request.param)


@pytest.mark.anyio
async def test_a_scope_that_is_cancelled_loses_nothing() -> None:
    """Anyio cancels a scope again and again until it is left; a commit is done to its end all the same."""
    async with aio.open(":memory:") as log:
        orders = await log.topic("orders", value=int)
        async with log.consumer(orders, group="g", auto_commit=False) as consumer:
            with anyio.move_on_after(0.01):
                await consumer.poll(60.0)
            async with anyio.create_task_group() as group:
                for number in range(10):
                    group.start_soon(orders.append, number)
            assert sorted(record.value for record in await consumer.poll(5.0)) == list(range(10))
            with anyio.CancelScope() as scope:
                scope.cancel()
                await consumer.commit()
            assert scope.cancelled_caught
            assert await consumer.committed(("orders", 0)) == 10
        with anyio.fail_after(5.0):
            async with log.producer() as producer:
                assert (await producer.send(orders, 10)).offset == 10
