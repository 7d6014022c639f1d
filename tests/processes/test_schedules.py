"""Processes schedule and send records, and are killed and stopped: each record is sent exactly once."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from random import Random

import eventlog
from tests.processes.child import Child
from tests.processes.schedule_scenes import (
    TOPIC,
    schedule_in_a_fork,
    schedule_on,
    schedule_one,
    serve,
    wait_for_one,
)


def sent(log: eventlog.EventLog) -> Counter[str]:
    """How often each value is in the topic, once nothing waits."""
    with log.consumer(TOPIC) as consumer:
        while log.schedules.describe().waiting:
            consumer.poll(timeout=0.05)
    assert log.verify().problems == ()
    assert log.schedules.describe().failed == 0
    return Counter(record.value for record in log.topic(TOPIC).read())


def check(found: Counter[str], acknowledged: set[str]) -> list[str]:
    """What is wrong: a record that is there twice, one that was acknowledged and is not, half a transaction."""
    wrong = [f"{value} is there {count} times" for value, count in found.items() if count > 1]
    wrong += [f"{value} was acknowledged, and is lost" for value in acknowledged - found.keys()]
    values = {value.removeprefix("sent-") for value in found if value.startswith("sent-")}
    both = {value for value in found if not value.startswith("sent-") and int(value.split("-")[1]) % 5 == 4}
    return wrong + [f"{value} is half of a transaction" for value in values ^ both]


def test_each_record_is_sent_once_whoever_is_killed(path: Path, rng: Random) -> None:
    """Two servers and two schedulers, all of which send, die at random moments; nothing is lost or sent twice."""
    acknowledged: set[str] = set()
    for turn in range(2):
        with ExitStack() as stack:
            scenes: list[tuple[Callable[..., object], tuple[str, ...]]] = [
                (schedule_on, (str(path), f"a{turn}")),
                (schedule_on, (str(path), f"b{turn}")),
                (serve, (str(path),)),
                (serve, (str(path),)),
            ]
            children = [stack.enter_context(Child(scene, *arguments)) for scene, arguments in scenes]
            for child in children:
                child.hear("ready")
            for _ in range(rng.randrange(20, 60)):
                acknowledged.update(child.hear() for child in children[:2])
            for child in rng.sample(children, 4):
                child.kill()
    with eventlog.open(path) as log:
        found = sent(log)
    assert check(found, acknowledged) == []
    assert len(found) >= len(acknowledged) > 0


def test_the_checker_finds_what_is_wrong() -> None:
    """A record twice, one lost, half a transaction."""
    assert check(Counter({"a-0": 1, "a-4": 1, "sent-a-4": 1}), {"a-0"}) == []
    assert check(Counter({"a-0": 2}), set()) == ["a-0 is there 2 times"]
    assert check(Counter(), {"a-0"}) == ["a-0 was acknowledged, and is lost"]
    assert check(Counter({"sent-a-4": 1}), set()) == ["a-4 is half of a transaction"]


def test_who_waits_sends_what_a_dead_process_has_scheduled(path: Path) -> None:
    """It had the log open before anything was scheduled, and only waits for records."""
    with eventlog.open(path) as log:
        log.topic(TOPIC, key=str, value=str, partitions=3)
    with Child(wait_for_one, str(path)) as waiting, Child(schedule_one, str(path), "hello", 2.0) as scheduling:
        waiting.hear("ready")
        scheduling.hear("scheduled")
        scheduling.kill()
        waiting.hear("hello")


def test_a_server_that_is_stopped_holds_up_others_for_a_second(path: Path) -> None:
    """It keeps the lock; they send without it."""
    with Child(serve, str(path)) as server, Child(schedule_one, str(path), "first", 0.0) as scheduling:
        server.hear("ready")
        scheduling.hear("scheduled")
        with eventlog.open(path) as log, log.consumer(TOPIC) as consumer:
            assert [record.value for record in consumer.poll(timeout=20.0)] == ["first"]
            scheduling.kill()
            os.kill(server.process_id, signal.SIGSTOP)
            log.topic(TOPIC).schedule("second", delay=0.0)
            assert [record.value for record in consumer.poll(timeout=20.0)] == ["second"]
            os.kill(server.process_id, signal.SIGCONT)
        with eventlog.open(path, schedules=False) as log:
            assert set(sent(log).values()) == {1}


def test_a_forked_child_schedules_and_sends(path: Path) -> None:
    """With a thread of its own; what the parent has scheduled stays."""
    with Child(schedule_in_a_fork, str(path)) as child:
        child.hear("child")
        child.hear("parent")
