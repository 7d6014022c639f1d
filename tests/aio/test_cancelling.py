"""
Cancellation at every await: nothing is lost, nothing comes twice, and no task or thread is left.

A scripted service runs in a loop that decides by a seed which ready task runs next. At a step that the seed chooses,
one of its tasks is cancelled; then what the documentation says of the cancelled call is compared with the log.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from eventlog import aio
from tests.aio.service import Service, judge

_SEED = int(os.environ["EVENTLOG_SEED"])


class SeededLoop(asyncio.SelectorEventLoop):
    """A loop that runs what is ready in an order of its own, and counts the steps."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng
        self.step_count = 0
        self.at_step: dict[int, Callable[[], object]] = {}

    def _run_once(self) -> None:
        ready: Any = self._ready  # type: ignore[attr-defined]
        if len(ready) > 1:
            handles = list(ready)
            ready.clear()
            self._rng.shuffle(handles)
            ready.extend(handles)
        self.step_count += 1
        action = self.at_step.pop(self.step_count, None)
        if action is not None:
            action()
        super()._run_once()  # type: ignore[misc]


async def _script(loop: SeededLoop, rng: random.Random, victim: int | None, cancel_at: int) -> int:
    """Run the service, and cancel one of its tasks at a step of the loop; the number of steps it took."""
    async with aio.open(":memory:") as log:
        orders = await log.topic("orders", value=int)
        service = Service(log, orders, rng)
        works = service.works(is_cancelled=victim is not None)
        await orders.append(0)
        begin = loop.step_count
        tasks = [asyncio.ensure_future(work()) for work in works]
        if victim is not None:
            loop.at_step[begin + cancel_at] = tasks[victim].cancel
        _, pending = await asyncio.wait(tasks, timeout=30.0)
        assert not pending, "a task hangs"
        took = loop.step_count - begin
        for number, task in enumerate(tasks):
            if task.cancelled():
                assert number == victim
            elif task.exception() is not None:
                raise AssertionError(number) from task.exception()
        await judge(service)
        return took


def _run(seed: int) -> None:
    rng = random.Random(seed)
    victim, cancel_at = rng.randrange(6), rng.randrange(1, 60)
    threads = set(threading.enumerate())
    loop = SeededLoop(rng)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        try:
            runner.run(_script(loop, rng, victim, cancel_at))
            assert not asyncio.all_tasks(loop)
        except BaseException as error:
            error.add_note(f"seed {seed}: task {victim} was cancelled at step {cancel_at}")
            raise
    assert set(threading.enumerate()) <= threads


def test_a_run_without_cancellation_does_everything() -> None:
    """The script itself is sound."""
    rng = random.Random(1)
    loop = SeededLoop(rng)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(_script(loop, rng, None, 0)) > 10


@pytest.mark.timeout(120)
def test_cancellation_at_any_step_loses_nothing_and_doubles_nothing() -> None:
    """Three hundred schedules; a failure prints its seed."""
    for number in range(300):
        _run(_SEED * 100_000 + number)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_cancellation_in_ten_thousand_schedules() -> None:
    """The same, longer."""
    for number in range(10_000):
        _run(_SEED * 100_000 + 1_000 + number)
