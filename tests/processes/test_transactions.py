"""Transactions of several processes, through forks and Ctrl-C."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

import eventlog
from tests.processes import interrupt_scenes, transaction_scenes
from tests.processes.child import Child


def test_no_update_is_lost_among_processes(path: Path) -> None:
    """Three processes count in one state, and send each number: the numbers are there once, in order."""
    with eventlog.open(path) as log, ExitStack() as stack:
        children = [stack.enter_context(Child(transaction_scenes.count_up, str(path), 100)) for _ in range(3)]
        for child in children:
            child.hear("ready")
        for child in children:
            child.say()
        for child in children:
            child.hear("done", seconds=60.0)
            assert child.end() == 0
        assert dict(log.state("count").items()) == {"n": 300}
        assert [record.value for record in log.topic("numbers").read()] == list(range(1, 301))
        assert log.verify().is_sound


def test_processors_that_are_killed_do_each_record_once(path: Path) -> None:
    """Members of one group in three processes come and are killed; what they did is there once."""
    with eventlog.open(path) as log, ExitStack() as stack:
        orders = log.topic("orders", value=int, partitions=4, key=int)
        invoices = log.topic("invoices", value=int)
        orders.append_many(range(1000), keys=range(1000))

        def start(most: int) -> Child:
            child = stack.enter_context(Child(transaction_scenes.process_orders, str(path), most))
            child.hear("ready")
            return child

        children = [start(3), start(1)]
        follower = stack.enter_context(log.consumer("invoices"))
        came = 0
        for kill in range(4):
            while came < (kill + 1) * 50:
                came += len(follower.poll(timeout=20.0))
            children.pop(0).kill()
            children.append(start(kill + 1))
        while came < 1000:
            records = follower.poll(timeout=20.0)
            assert records, f"{came} came"
            came += len(records)
        for child in children:
            child.say()
            assert child.hear().startswith("done")
            assert child.end() == 0
        assert sorted(record.value for record in invoices.read()) == list(range(1000))
        assert sum(log.state("count").values()) == 1000
        assert {partition: end for partition, (_, end) in orders.bounds().items()} == dict(log.state("count").items())
        assert log.verify().is_sound


def test_a_fork_leaves_open_transactions_to_the_parent(path: Path) -> None:
    """The child's copies store nothing and say so; the parent's are stored once."""
    with Child(transaction_scenes.forks_with_open_transactions, str(path)) as child:
        child.hear("done", seconds=60.0)
        assert child.end() == 0


@pytest.mark.parametrize(
    "scene",
    [
        transaction_scenes.commits,
        transaction_scenes.commits_beside_a_thread,
        transaction_scenes.consumers,
        transaction_scenes.processors,
    ],
    ids=lambda scene: scene.__name__,
)
@pytest.mark.parametrize("error", ["KeyboardInterrupt", "OutOfTime", "TimeoutError", "LogClosed"])
def test_an_interruption_at_any_place_stores_all_or_nothing(
    path: Path, rng: random.Random, scene: Callable[[str, str], None], error: str
) -> None:
    """Wherever a handler raises, a transaction is stored wholly, once, or never; and the log goes on."""
    arguments = scene.__module__, scene.__name__, str(path), str(rng.random())
    with Child(interrupt_scenes.raising, error, *arguments) as child:
        words = child.hear(seconds=90.0).split()
        assert words[0] == "done"
        assert int(words[1]) > 20, "it was hardly ever interrupted"
        assert child.end() == 0
