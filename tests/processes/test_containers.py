"""Containers of one host share a log in one volume, though each of them is pid 1; so do users, and networks."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import eventlog
from eventlog.backend.waiting import RECHECK_SECONDS
from tests.processes import container_scenes, group_scenes, reader_scenes
from tests.processes.child import Child
from tests.processes.containers import NETWORK, OTHER_CLOCK, PIDS, container, inner_process, stop, user

GROUP = 54_321
USERS = 54_322, 54_323
AT_ONCE_SECONDS = 5.0
"""Far more than it takes, and far less than any lease here."""


OWNER_DIED = 0x4000_0000


def _mutex(path: Path) -> int:
    """The word of the mutex of LMDB's table of readers: the number of its owner's thread, and marks."""
    with (path / "lock.mdb").open("rb") as file:
        file.seek(8)
        return int.from_bytes(file.read(4), sys.byteorder)


@pytest.fixture
def made(path: Path) -> Path:
    """A log with a topic of four partitions, closed."""
    with eventlog.open(path) as log:
        log.topic("orders", partitions=4)
    return path


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory for a log of two users, which both can find; only their group may enter it."""
    directory = Path(tempfile.mkdtemp(dir="/tmp"))
    os.chown(directory, -1, GROUP)
    directory.chmod(0o770)
    yield directory / "log"
    shutil.rmtree(directory)


# --- processes that are all pid 1 -------------------------------------------------------------------------------------


def test_containers_share_a_log(path: Path) -> None:
    """Two of them and a process of the host append, and read what the others appended."""
    with eventlog.open(path) as log:
        topic = log.topic("orders", value=int)
        prefix = container(*PIDS)
        with (
            Child(container_scenes.append_and_read, str(path), 1, prefix=prefix) as one,
            Child(container_scenes.append_and_read, str(path), 2, prefix=prefix) as two,
        ):
            assert (one.hear(), two.hear()) == ("1", "1"), "both are pid 1"
            one.say()
            one.hear("1")
            two.say()
            two.hear("1 2")
            topic.append(3)
            one.say()
            one.hear("1 2 3 1")
        assert log.verify().is_sound


def test_containers_share_a_group(made: Path) -> None:
    """One of two members is killed, and its partitions move at once."""
    prefix = container(*PIDS)
    options = {"session_timeout": 600.0}
    with Child(group_scenes.say_shares, str(made), options, prefix=prefix) as one:
        one.hear("0 1 2 3")
        with Child(group_scenes.say_shares, str(made), options, prefix=prefix) as two:
            while len(two.hear().split()) != 2:
                pass
            while len(one.hear().split()) != 2:
                pass
            two.kill()
        began_s = time.monotonic()
        while one.hear() != "0 1 2 3":
            pass
        assert time.monotonic() - began_s < AT_ONCE_SECONDS


def test_what_a_container_reads_is_not_written_over_by_another(path: Path) -> None:
    """LMDB would know both readers by pid 1; a writer that took one for dead would use its pages again."""
    prefix = container(*PIDS)
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        for number in range(20):
            topic.append_many([bytes([number]) * 3000] * 100)
    with (
        Child(container_scenes.read_slowly, str(path), prefix=prefix) as reader,
        Child(container_scenes.write_over, str(path), prefix=prefix) as writer,
    ):
        assert (reader.hear(), writer.hear()) == ("1", "1")
        before = reader.hear()
        writer.say()
        writer.hear("0")
        reader.say()
        assert reader.hear() == before
        reader.kill()
        writer.say()
        writer.hear("1")


def test_killed_containers_hold_up_nobody(path: Path) -> None:
    """They die in the midst of reads and writes, with the locks of LMDB in their hands."""
    prefix = container(*PIDS)
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        topic.append_many([bytes(3000)] * 300)
        with Child(container_scenes.write_over, str(path), prefix=prefix) as stays:
            stays.hear("1")
            for _ in range(5):
                with Child(container_scenes.write_over, str(path), prefix=prefix) as goes:
                    goes.hear("1")
                    goes.say()
                    stays.say()
                    stays.is_silent(0.02)
                    goes.kill()
                stays.hear()
                topic.append(b"x")
        assert log.verify().is_sound


@pytest.mark.parametrize("alone", [True, False], ids=["the lock first", "the mutex alone"])
def test_a_container_killed_while_another_enters_the_table_frees_nothing(path: Path, alone: bool) -> None:
    """
    The one has the mutex of the table and is stopped, the other waits to read and is killed; both are thread 1.

    Without our lock the kernel gives the mutex away under its owner, so this would see it.
    """
    prefix = container(*PIDS)
    with eventlog.open(path) as log:
        log.topic("orders").append(b"x")
    with Child(container_scenes.enter_the_table, str(path), alone, prefix=prefix) as waiter:
        waiter.hear("1")
        with Child(container_scenes.hold_the_table, str(path), alone, prefix=prefix) as owner:
            owner.hear("held")
            assert _mutex(path) == 1
            waiter.say()
            assert waiter.is_silent(0.05)
            assert (_mutex(path) == 1) is alone, "a wait for the mutex leaves a mark in it"
            waiter.kill()
            if alone:
                assert _mutex(path) == 1
                owner.say()
                owner.hear("freed")
                assert _mutex(path) == 0
            else:
                while _mutex(path) & OWNER_DIED == 0:
                    pass
    if alone:
        with Child(container_scenes.enter_the_table, str(path), prefix=prefix) as reader:
            reader.hear("1")
            reader.say()
            reader.hear("read")


@pytest.mark.long
def test_containers_that_are_stopped_anywhere_keep_the_table(path: Path) -> None:
    """The same, at whatever moment the one is stopped that reads without a pause."""
    prefix, rng = container(*PIDS), random.Random(0xC0)
    with eventlog.open(path) as log:
        log.topic("orders").append(b"x")
    found, waiters = 0, []
    with (
        contextlib.ExitStack() as stack,
        Child(container_scenes.enter_the_table_again_and_again, str(path), prefix=prefix) as owner,
    ):
        owner.hear("1")
        number = inner_process(owner)
        for _ in range(2000):
            if not waiters:
                waiters.append(stack.enter_context(Child(container_scenes.enter_the_table, str(path), prefix=prefix)))
                waiters[0].hear("1")
            assert owner.is_silent(rng.random() / 1000)
            stop(number)
            if _mutex(path):
                found += 1
                waiter = waiters.pop()
                waiter.say()
                assert waiter.is_silent(0.05)
                waiter.kill()
                assert _mutex(path) == 1
            os.kill(number, signal.SIGCONT)
    assert found, "no stop came within the mutex"


def test_a_process_without_an_id_shares_with_its_own_namespace(path: Path) -> None:
    """There its pid is its own. Beside others, one of the two has to give way, whoever comes first."""
    prefix = container(*PIDS)
    with (
        Child(container_scenes.append_without_ids, str(path), 1) as one,
        Child(container_scenes.append_and_read, str(path), 2) as two,
    ):
        one.hear()
        two.hear()
        one.say()
        one.hear("1")
        two.say()
        two.hear("1 2")
        with Child(container_scenes.open_and_say, str(path), prefix=prefix) as other:
            assert other.hear().startswith("UnsupportedSharing")
    with Child(container_scenes.append_and_read, str(path), 3, prefix=prefix) as one:
        one.hear()
        with Child(container_scenes.open_without_ids_and_say, str(path), prefix=prefix) as other:
            words = other.hear()
    assert words.startswith("UnsupportedSharing")
    assert "in the pid namespace" in words
    assert "pid: host" in words


def test_a_container_with_another_monotonic_clock_is_refused(made: Path) -> None:
    """Leases are moments of that clock."""
    prefix = container(*OTHER_CLOCK)
    with eventlog.open(made), Child(container_scenes.open_and_say, str(made), prefix=prefix) as other:
        words = other.hear()
    assert words.startswith("UnsupportedSharing")
    assert "time namespace" in words


# --- networks and users -----------------------------------------------------------------------------------------------


def test_a_reader_of_another_network_is_woken_at_once(made: Path) -> None:
    """The bell is a file."""
    prefix = container(*NETWORK)
    with (
        eventlog.open(made) as log,
        Child(reader_scenes.say_each_record, str(made), prefix=prefix) as child,
    ):
        topic = log.topic("orders")
        child.hear("ready")
        times_s = []
        for number in range(21):
            began_s = time.perf_counter()
            topic.append(b"%d" % number)
            child.hear(str(number))
            times_s.append(time.perf_counter() - began_s)
    assert statistics.median(times_s) < RECHECK_SECONDS / 2


def test_users_share_a_log_and_a_group(shared: Path) -> None:
    """One user made it with `mode=0o660`; another takes over its partitions when it is killed, at once."""
    one_user, two_user = (user(number, GROUP) for number in USERS)
    options = {"session_timeout": 600.0}
    with Child(container_scenes.make_shared, str(shared), prefix=one_user) as maker:
        maker.hear("made")
    with Child(group_scenes.say_shares, str(shared), options, prefix=one_user) as one:
        one.hear("0 1 2 3")
        with Child(group_scenes.say_shares, str(shared), options, prefix=two_user) as two:
            while len(two.hear().split()) != 2:
                pass
            one.kill()
            began_s = time.monotonic()
            while two.hear() != "0 1 2 3":
                pass
            assert time.monotonic() - began_s < AT_ONCE_SECONDS


def test_a_reader_of_another_user_is_woken_at_once(shared: Path) -> None:
    """Its FIFO belongs to the group too."""
    one_user, two_user = (user(number, GROUP) for number in USERS)
    with Child(container_scenes.make_shared, str(shared), prefix=one_user) as maker:
        maker.hear("made")
    with (
        Child(reader_scenes.say_each_record, str(shared), prefix=two_user) as reader,
        Child(container_scenes.append_what_comes, str(shared), prefix=one_user) as writer,
    ):
        reader.hear("ready")
        times_s = []
        for number in range(21):
            began_s = time.perf_counter()
            writer.say(str(number))
            reader.hear(str(number))
            times_s.append(time.perf_counter() - began_s)
    assert statistics.median(times_s) < RECHECK_SECONDS / 2
