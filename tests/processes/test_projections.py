"""Several processes run one projection: one at a time folds, and whoever dies leaves nothing half done."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import eventlog
from tests.processes import projection_scenes
from tests.processes.child import LONGEST_SECONDS, Child
from tests.processes.projection_scenes import count


def check(log: eventlog.EventLog) -> None:
    """The state is what the records before the checkpoint make, each counted once."""
    projection = log.projection("totals", count)
    projection.catch_up(timeout=LONGEST_SECONDS)
    expected: Counter[Any] = Counter(record.key for _, record in log.read_all())
    expected["all", "together"] = expected.total()
    assert dict(projection.state.items()) == expected


def test_two_processes_fold_each_record_once(path: Path) -> None:
    """A foreign append wakes who runs; when it stops the other goes on."""
    with eventlog.open(path) as log:
        topic = log.topic("orders", key=str)
        log.projection("totals", count)
        with (
            Child(projection_scenes.run, str(path), 10) as first,
            Child(projection_scenes.run, str(path), 10) as second,
        ):
            for child in (first, second):
                child.hear("runs")
            reader = log.projection("totals")
            for number in range(60):
                topic.append(b"tea", key=f"{number % 7}")
                if number == 30:
                    first.say("stop")
                    first.hear()
            reader.wait(timeout=LONGEST_SECONDS)
            check(log)
            second.say("stop")
            second.hear("stopped 60")


def test_a_writer_reads_what_another_process_folded(path: Path) -> None:
    """Two processes append and wait, a third runs the projection."""
    with eventlog.open(path) as log:
        log.topic("orders", key=str)
        log.projection("totals", count)
        with (
            Child(projection_scenes.run, str(path), 1000) as runner,
            Child(projection_scenes.append_and_wait, str(path), 30) as first,
            Child(projection_scenes.append_and_wait, str(path), 30) as second,
        ):
            runner.hear("runs")
            first.hear("done")
            second.hear("done")
        check(log)


@pytest.mark.parametrize("scene", ["run", "rebuild"])
def test_killed_at_any_moment_nothing_is_lost_or_folded_twice(path: Path, rng: random.Random, scene: str) -> None:
    """Each life of the folder goes on where the last one was killed, and the state is that of the checkpoint."""
    with eventlog.open(path) as log:
        topic = log.topic("orders", key=str)
        projection = log.projection("totals", count)
        for _ in range(8):
            for _ in range(20):
                topic.append_many([b"tea"] * 10, keys=[f"{rng.randrange(20)}" for _ in range(10)])
            if scene == "run":
                child = Child(projection_scenes.run, str(path), 3)
            else:
                child = Child(projection_scenes.rebuild_for_ever, str(path))
            with child:
                child.hear("runs" if scene == "run" else "rebuilds")
                child.is_silent(rng.uniform(0.0, 0.05))
                child.kill()
            at, total = projection.log_position, projection.state.get(("all", "together"), 0)
            assert total == at
        check(log)
        log.projection("totals", count).rebuild(timeout=LONGEST_SECONDS)
        check(log)
        assert log.verify().is_sound


def test_a_killed_folder_frees_its_turn_at_once(path: Path) -> None:
    """Its living child, which inherited every descriptor, keeps nobody waiting."""
    with Child(projection_scenes.die_with_a_child, str(path)) as child:
        child.hear("ready")
        with eventlog.open(path) as log:
            projection = log.projection("totals", count)
            with pytest.raises(TimeoutError):
                projection.catch_up(timeout=0.2)
            child.kill()
            began_s = time.monotonic()
            assert projection.catch_up(timeout=LONGEST_SECONDS) == 1
            assert time.monotonic() - began_s < LONGEST_SECONDS / 2


@pytest.mark.parametrize("scene", [projection_scenes.fork_while_it_runs, projection_scenes.fork_in_the_function])
def test_a_fork_leaves_the_turn_to_the_parent(path: Path, scene: Any) -> None:
    """A child reads, waits and rebuilds with what it inherited, and does not fold in the parent's place."""
    with Child(scene, str(path)) as child:
        child.hear("done")
        assert child.end() == 0
