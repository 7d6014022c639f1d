"""A coroutine function where nobody awaits: it is refused at the call, since it would do nothing and say so nowhere."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

import eventlog
from eventlog import aio


async def work(*_):
    """What nobody awaits."""


class Working:
    """An object that is called, and one that folds."""

    async def __call__(self, *_):
        """What nobody awaits."""

    async def apply(self, *_):
        """What nobody awaits."""


@pytest.mark.parametrize("function", [work, partial(work, 1), Working(), Working().apply, 7])
def test_it_is_refused_and_so_is_what_is_no_function(log, function):
    """By each method that calls a function of the user's; nothing was changed."""
    topic = log.topic("orders", key=str, value=int, index="key")
    topic.append(1, key="a")
    for call in (
        lambda: topic.fold("a", function, 0),
        lambda: log.transact(function),
        lambda: log.processor(topic, function=function, group="g"),
        lambda: log.processor(topic, function=print, on_failure=function, group="g"),
        lambda: log.consumer(topic, group="g", on_assigned=function),
        lambda: log.consumer(topic, group="g", on_revoked=function),
        lambda: log.consumer(topic, group="g", on_lost=function),
        lambda: log.projection("p", function, topics=[topic]),
        lambda: log.copy_topic(topic, to="copy", convert=function),
        lambda: log.copy_topic(topic, to="copy", progress=function),
    ):
        with pytest.raises(TypeError, match=r"function.* Nothing was"):
            call()
    assert (log.topics(), log.groups.list(), log.projections()) == (["orders"], [], [])


def test_a_loop_awaits_some_of_them_and_refuses_the_others():
    """What is called in a thread is a plain function there, too."""

    async def main():
        async with aio.open(":memory:") as log:
            topic = await log.topic("orders", key=str, value=int, index="key")
            await topic.append(1, key="a")
            for call in (
                lambda: topic.fold("a", work, 0),
                lambda: log.projection("p", work, topics=[topic]),
                lambda: log.copy_topic(topic, to="copy", value=int, convert=work),
                lambda: log.transact(7),
                lambda: log.processor(topic, function=7, group="g"),
                lambda: log.consumer(topic, group="g", on_revoked=7),
                lambda: log.consumer(topic, group="g", on_assigned=7),
            ):
                with pytest.raises(TypeError, match="function"):
                    await call()
            assert await log.transact(work) is None
            async with log.consumer(topic, group="g", on_assigned=work) as consumer:
                assert len(await consumer.poll(10.0)) == 1

    asyncio.run(main())


def test_what_may_be_a_time_says_so(log):
    """A date, or the name of a place that the whole log does not have."""
    topic = log.topic("orders", key=str, value=int, index="key")
    for call in (
        lambda: topic.history("a", end="2024"),
        lambda: topic.fold("a", max, 0, end=1.5),
        lambda: log.read_all(end="2024"),
        lambda: log.follow("earliest"),
        lambda: log.follow(True),
    ):
        with pytest.raises(TypeError, match="a datetime with a time zone"):
            call()
    assert isinstance(log.follow("latest"), eventlog.Follower)
