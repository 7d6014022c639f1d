"""Members in processes of their own: killed, stopped, forked or just ended, they hold nothing up for long."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import eventlog
from tests.processes import group_scenes
from tests.processes.child import LONGEST_SECONDS, Child

AT_ONCE_SECONDS = 5.0
"""Far more than it takes, and far less than any lease here."""


@pytest.fixture
def log(path: Path) -> Iterator[eventlog.EventLog]:
    """A log with four partitions of a few numbers each."""
    with eventlog.open(path) as log:
        topic = log.topic("orders", partitions=4, value=int)
        for number in range(4):
            topic.append_many(range(10 * number, 10 * number + 5), partition=number)
        yield log


def numbers(words: str) -> list[int]:
    """What a child said that it owns."""
    return [int(word) for word in words.split()]


def seconds_until_owned(consumer: eventlog.Consumer[Any, Any], count: int) -> float:
    """How long it takes until a member has so many partitions, while it polls."""
    began_s = time.monotonic()
    while len(consumer.assignment()) != count:
        consumer.poll(timeout=0.05)
        assert time.monotonic() - began_s < LONGEST_SECONDS, f"it has {consumer.assignment()}"
    return time.monotonic() - began_s


def shared(child: Child, consumer: eventlog.Consumer[Any, Any]) -> None:
    """Waits until a child and a member of ours have two partitions each."""
    seconds_until_owned(consumer, 2)
    while len(numbers(child.hear())) != 2:
        pass


def test_members_of_two_processes_share(log: eventlog.EventLog, path: Path) -> None:
    """And a third, and then two again."""
    options = {"session_timeout": 600.0}
    with Child(group_scenes.say_shares, str(path), options) as one:
        assert numbers(one.hear()) == [0, 1, 2, 3]
        with Child(group_scenes.say_shares, str(path), options) as other:
            with log.consumer("orders", group="billing", **options) as mine:
                seconds_until_owned(mine, 1)
                assert len(log.groups.describe("billing").members) == 3
            one_has = other_has = [0]
            while sorted(one_has + other_has) != [0, 1, 2, 3]:
                one_has = numbers(one.hear()) if one.is_silent(0.01) is False else one_has
                other_has = numbers(other.hear()) if other.is_silent(0.01) is False else other_has


def test_partitions_of_a_killed_member_move_at_once(log: eventlog.EventLog, path: Path) -> None:
    """Whatever its lease says: the kernel frees its lock."""
    with (
        log.consumer("orders", group="billing") as mine,
        Child(group_scenes.say_shares, str(path), {"session_timeout": 600.0}) as child,
    ):
        shared(child, mine)
        child.kill()
        assert seconds_until_owned(mine, 4) < AT_ONCE_SECONDS


def test_a_killed_static_member_comes_back_to_its_place(log: eventlog.EventLog, path: Path) -> None:
    """Nobody gets its partitions before its lease is over."""
    options = {"session_timeout": 600.0, "instance_id": "left"}
    moved: list[object] = []
    with log.consumer("orders", group="billing", on_assigned=moved.append) as mine:
        with Child(group_scenes.say_shares, str(path), options) as child:
            shared(child, mine)
            had = {tp.partition for tp in mine.assignment()}
            child.kill()
        moved.clear()
        with Child(group_scenes.say_shares, str(path), options) as child:
            assert set(numbers(child.hear())) == {0, 1, 2, 3} - had
            mine.poll(timeout=0.05)
            assert moved == []


@pytest.mark.parametrize("ending", ["exit", "exception", "os._exit", "dropped", "thread"])
def test_a_member_that_was_abandoned_holds_nothing_up(log: eventlog.EventLog, path: Path, ending: str) -> None:
    """Nobody closed it, and its partitions move all the same; what it was handed comes again."""
    with Child(group_scenes.end_without_a_word, str(path), ending) as child:
        assert numbers(child.hear()) == [0, 1, 2, 3]
        with log.consumer("orders", group="billing") as mine:
            mine.poll()
            assert mine.assignment() == []
            child.say()
            assert seconds_until_owned(mine, 4) < AT_ONCE_SECONDS
            if ending == "dropped":
                child.say()
            child.end()
    with log.consumer(group="billing") as hand:
        committed = [hand.committed(("orders", number)) for number in range(4)]
    assert set(committed) <= {None, 0, 5}


@pytest.mark.parametrize("silent", ["process", "program"])
def test_a_silent_member_loses_its_partitions_and_is_told(log: eventlog.EventLog, path: Path, silent: str) -> None:
    """A stopped process or a program that does not poll: its commit is refused, its next poll says what it lost."""
    options = {"session_timeout": 0.5} if silent == "process" else {"max_poll_interval": 0.3}
    with Child(group_scenes.hold_and_hang, str(path), options | {"auto_commit": False}) as child:
        assert numbers(child.hear()) == [0, 1, 2, 3]
        if silent == "process":
            child.send(signal.SIGSTOP)
        with log.consumer("orders", group="billing", auto_commit=False) as mine:
            seconds_until_owned(mine, 4)
            child.send(signal.SIGCONT)
            child.say()
            child.hear("fenced")
            child.hear("lost 0 1 2 3")
            assert [mine.committed(tp) for tp in mine.assignment()] == [None] * 4


@pytest.mark.parametrize("how", ["removed", "renamed"])
def test_who_lost_its_sign_of_life_makes_it_again(log: eventlog.EventLog, path: Path, how: str) -> None:
    """With its next beat: whoever joins later finds it alive, and takes nothing from it."""
    log.topic("steps", value=int).append_many(range(3000))
    options = {"session_timeout": 2.0, "auto_commit": False}
    with Child(group_scenes.walk_slowly, str(path), options) as child:
        child.hear()
        (member,) = log.groups.describe("billing").members
        sign = path / "members" / member.member_id
        sign.unlink() if how == "removed" else sign.rename(sign.with_name("elsewhere"))
        until_s = time.monotonic() + AT_ONCE_SECONDS
        while not sign.exists():
            assert time.monotonic() < until_s
            child.hear()
        with log.consumer("steps", group="billing", **options) as mine:
            until_s = time.monotonic() + 1.0
            while time.monotonic() < until_s:
                assert mine.poll(timeout=0.05) == []
            assert member.member_id in {one.member_id for one in log.groups.describe("billing").members}
            child.hear()


@pytest.mark.parametrize("how", ["removed", "renamed"])
def test_who_lost_its_sign_of_life_hands_out_nothing_that_others_took(
    log: eventlog.EventLog, path: Path, how: str
) -> None:
    """Who looks before the next beat takes it for dead, and its partition; it stops in the middle of a batch."""
    log.topic("steps", value=int).append_many(range(3000))
    options = {"session_timeout": 2.0, "auto_commit": False}
    with Child(group_scenes.walk_slowly, str(path), options) as child:
        child.hear()
        (member,) = log.groups.describe("billing").members
        sign = path / "members" / member.member_id
        sign.unlink() if how == "removed" else sign.rename(sign.with_name("elsewhere"))
        with log.consumer("steps", group="billing", **options) as mine:
            while not mine.poll(timeout=0.01):
                pass
            taken_s, late = time.monotonic(), 0
            while time.monotonic() < taken_s + 2.0:
                while not child.is_silent(0.05):
                    late += float(child.hear()) > taken_s + 1.0
                mine.poll(timeout=0.01)
            assert late == 0, f"{late} records of a partition that another member has"
            assert len(mine.assignment()) == 1
            assert len(log.groups.describe("billing").members) == 2


def test_a_fork_leaves_the_parents_membership_alone(log: eventlog.EventLog, path: Path) -> None:
    """The child's end, however it comes, frees nothing of the parent's."""
    with eventlog.open(path.parent / "fork") as other:
        other.topic("orders", partitions=4)
    with Child(group_scenes.fork_as_a_member, str(path.parent / "fork")) as child:
        child.hear("done", seconds=60.0)
        assert child.end() == 0, child.errors()


def test_a_living_fork_keeps_no_dead_member_alive(log: eventlog.EventLog, path: Path) -> None:
    """A parent that is killed frees its lock, though its child had copies of everything."""
    with log.consumer("orders", group="billing") as mine:
        with Child(group_scenes.die_with_a_child_alive, str(path)) as parent:
            grandchild = int(parent.hear())
            try:
                parent.kill()
                assert seconds_until_owned(mine, 4) < AT_ONCE_SECONDS
            finally:
                os.kill(grandchild, signal.SIGKILL)
