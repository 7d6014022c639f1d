"""A consumer in a loop of the program: `fileno()`, `poll(0)` and `max_wait()`, without a thread that waits."""

from __future__ import annotations

import asyncio
import os
import select
import selectors
import subprocess
import sys
import threading
import time

import pytest

import eventlog
from eventlog import TopicPartition
from eventlog.backend.waiting import RECHECK_SECONDS
from eventlog.store.wakeup.notifier import Notifier
from tests.clients.helpers import PATIENCE_SECONDS, values

COUNT = 200
QUIET = {"group": "billing", "session_timeout": 10.0}

_APPEND = """
import sys
import eventlog

with eventlog.open(sys.argv[1]) as log:
    topic = log.topic("orders", value=int)
    for number in range(int(sys.argv[2])):
        topic.append(number)
"""


@pytest.fixture
def topic(log):
    """An empty topic of numbers."""
    return log.topic("orders", value=int)


def is_readable(consumer, seconds=0.0):
    """Whether a loop would call us."""
    return bool(select.select([consumer], [], [], seconds)[0])


def drained(consumer):
    """All values until a poll finds nothing."""
    found = []
    while records := consumer.poll(0):
        found += values(records)
    return found


class Loop:
    """A loop of the program by `selectors`: it polls when it is told to, and counts how often."""

    def __init__(self, consumer):
        self.consumer = consumer
        self.values = []
        self.ready_count = 0
        self.poll_count = 0

    def run_until(self, is_done, *, longest_s=None):
        """Run until something is so."""
        deadline_s = time.monotonic() + PATIENCE_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self.consumer, selectors.EVENT_READ)
            while not is_done(self) and time.monotonic() < deadline_s:
                self.poll_count += 1
                records = self.consumer.poll(0)
                self.values += values(records)
                if not records:
                    wait_s = self.consumer.max_wait() if longest_s is None else longest_s
                    self.ready_count += bool(selector.select(wait_s))


# -- readable, and for how long ------------------------------------------------------------------------------------


def test_it_is_readable_until_a_poll_has_found_nothing(log, topic):
    """However the records are cut, and at first whatever is there: nobody has looked yet."""
    topic.append_many(range(10))
    with log.consumer("orders", max_poll_records=4) as consumer:
        assert is_readable(consumer)
        for expected in ([0, 1, 2, 3], [4, 5, 6, 7], [8, 9]):
            assert values(consumer.poll(0)) == expected
            assert is_readable(consumer)
        assert consumer.poll(0) == []
        assert not is_readable(consumer)
        topic.append(10)
        assert is_readable(consumer)
        assert values(consumer.poll(0)) == [10]
        assert is_readable(consumer)
        assert consumer.poll(0) == []
        assert not is_readable(consumer)


def test_it_stays_the_same_descriptor(log, topic):
    """Until the consumer is closed; then there is none."""
    other = log.topic("payments", value=int)
    with log.consumer(group="g") as consumer:
        descriptor = consumer.fileno()
        consumer.assign([("orders", 0)])
        assert drained(consumer) == []
        consumer.assign([("payments", 0)])
        assert drained(consumer) == []
        other.append(1)
        assert is_readable(consumer)
        assert consumer.fileno() == descriptor
    with pytest.raises(eventlog.LogClosed):
        consumer.fileno()


def test_a_commit_that_does_not_concern_it_leaves_it_alone(log, topic):
    """Of another topic, that is."""
    other = log.topic("payments", value=int)
    with log.consumer("orders") as consumer:
        consumer.fileno()
        assert drained(consumer) == []
        other.append(1)
        assert not is_readable(consumer)
        topic.append(1)
        assert is_readable(consumer)


def test_wakeup_makes_it_readable_once(log, topic):
    """The poll that finds nothing says that it was heard."""
    with log.consumer("orders") as consumer:
        consumer.fileno()
        assert drained(consumer) == []
        consumer.wakeup()
        assert is_readable(consumer)
        assert consumer.poll(0) == []
        assert not is_readable(consumer)
        began_s = time.monotonic()
        assert consumer.poll(0.05) == []
        assert time.monotonic() - began_s >= 0.05, "the wakeup was taken by the poll before"


@pytest.mark.parametrize("change", ["seek", "seek_to_beginning", "resume", "assign"])
def test_what_the_program_changes_makes_it_readable(log, topic, change):
    """There is more to read then, though nothing was committed."""
    topic.append_many(range(3))
    tp = TopicPartition("orders", 0)
    with log.consumer() as consumer:
        consumer.assign([tp])
        consumer.fileno()
        if change == "resume":
            consumer.pause(tp)
        elif change == "assign":
            consumer.assign([])
        assert len(drained(consumer)) == (0 if change in {"resume", "assign"} else 3)
        assert not is_readable(consumer)
        calls = {
            "seek": lambda: consumer.seek(tp, 1),
            "seek_to_beginning": consumer.seek_to_beginning,
            "resume": lambda: consumer.resume(tp),
            "assign": lambda: consumer.assign([tp]),
        }
        calls[change]()
        assert is_readable(consumer)
        assert drained(consumer) == ([1, 2] if change == "seek" else [0, 1, 2])
        assert not is_readable(consumer)


def test_an_error_leaves_it_readable(log, topic):
    """The loop comes again, and is told again."""
    topic.append_many(range(3))
    with log.consumer("orders") as consumer:
        consumer.fileno()
        assert drained(consumer) == [0, 1, 2]
        assert not is_readable(consumer)
        consumer.seek(("orders", 0), 17)
        for _ in range(3):
            assert is_readable(consumer)
            with pytest.raises(eventlog.OffsetOutOfRange):
                consumer.poll(0)
        consumer.seek(("orders", 0), 2)
        assert drained(consumer) == [2]
        assert not is_readable(consumer)


def test_a_poll_that_waits_goes_on_as_before(log, topic):
    """A program may do both."""
    with log.consumer("orders") as consumer:
        consumer.fileno()
        assert drained(consumer) == []
        thread = threading.Timer(0.02, topic.append, [1])
        thread.start()
        assert values(consumer.poll(PATIENCE_SECONDS)) == [1]
        thread.join()
        assert is_readable(consumer)
        assert consumer.poll(0.01) == []
        assert not is_readable(consumer)


@pytest.mark.parametrize("moment", ["before the descriptor is cleared", "after it is cleared", "before the last look"])
def test_a_commit_between_finding_nothing_and_waiting_is_not_lost(log, topic, monkeypatch, moment):
    """The poll finds it, or the descriptor says that there is something."""
    with log.consumer("orders") as consumer:
        descriptor = consumer.fileno()
        assert drained(consumer) == []
        consumer.wakeup()
        waiter = consumer._waiter
        drain, look, left = waiter.drain, consumer._core._look, [1]

        def append():
            if left:
                topic.append(left.pop())

        def drain_amid():
            if moment == "before the descriptor is cleared":
                append()
            was_ready = drain()
            if moment == "after it is cleared":
                append()
            return was_ready

        def look_amid(*arguments, **options):
            if moment == "before the last look" and not is_readable(descriptor):
                append()
            return look(*arguments, **options)

        monkeypatch.setattr(waiter, "drain", drain_amid)
        monkeypatch.setattr(consumer._core, "_look", look_amid)
        found = values(consumer.poll(0))
        assert found == [1] or is_readable(consumer)
        assert found + drained(consumer) == [1]
        assert not is_readable(consumer)


def test_a_poll_by_the_timer_that_finds_something_makes_it_readable(log, topic, monkeypatch):
    """There may be more; its notification was lost, or comes late."""
    with log.consumer("orders", max_poll_records=2) as consumer:
        consumer.fileno()
        assert drained(consumer) == []
        monkeypatch.setattr(Notifier, "find_waiting", lambda _: False)
        topic.append_many(range(3))
        assert not is_readable(consumer)
        assert values(consumer.poll(0)) == [0, 1]
        assert is_readable(consumer)
        assert values(consumer.poll(0)) == [2]
        assert consumer.poll(0) == []
        assert not is_readable(consumer)


# -- loops ---------------------------------------------------------------------------------------------------------


def test_a_selector_loop_reads_what_another_thread_appends(log, topic):
    """All of it in order, and it wakes up no more often than there are commits."""
    with log.consumer("orders") as consumer:
        loop = Loop(consumer)
        thread = threading.Thread(target=lambda: [topic.append(number) for number in range(COUNT)])
        thread.start()
        loop.run_until(lambda loop: len(loop.values) == COUNT, longest_s=PATIENCE_SECONDS)
        thread.join()
        assert loop.values == list(range(COUNT))
        assert loop.ready_count <= COUNT + 1
        assert loop.poll_count <= 2 * COUNT + 2


def test_a_selector_loop_reads_what_another_process_appends(path):
    """The notification comes through the directory of the log."""
    with eventlog.open(path) as log:
        log.topic("orders", value=int)
        with log.consumer("orders") as consumer:
            loop = Loop(consumer)
            with subprocess.Popen([sys.executable, "-c", _APPEND, str(path), str(COUNT)]) as child:
                loop.run_until(lambda loop: len(loop.values) == COUNT, longest_s=PATIENCE_SECONDS)
            assert child.returncode == 0
        assert loop.values == list(range(COUNT))
        assert loop.poll_count <= 2 * COUNT + 2


def test_an_idle_loop_wakes_up_ten_times_a_second(log, topic):
    """Not more: what is readable is read, and what is not is left alone."""
    with log.consumer("orders") as consumer:
        loop = Loop(consumer)
        until_s = time.monotonic() + 5 * RECHECK_SECONDS
        loop.run_until(lambda _: time.monotonic() >= until_s)
        assert loop.ready_count <= 1, "at first, when nobody had looked"
        assert loop.poll_count <= 8


def test_a_lost_notification_costs_a_loop_a_tenth_of_a_second(log, topic, monkeypatch):
    """And no record: `max_wait()` has it look by itself."""
    monkeypatch.setattr(Notifier, "find_waiting", lambda _: False)
    with log.consumer("orders") as consumer:
        consumer.fileno()
        assert drained(consumer) == []
        topic.append(1)
        assert not is_readable(consumer)
        assert consumer.max_wait() <= RECHECK_SECONDS
        assert drained(consumer) == [1]


def test_an_asyncio_loop_reads_what_threads_append(log, topic):
    """By `add_reader`, and a timer for what comes with time; no thread of its own."""
    found, polls = [], []

    async def consume(consumer):
        loop, is_done = asyncio.get_running_loop(), asyncio.Event()

        def on_ready():
            nonlocal timer
            timer.cancel()
            polls.append(1)
            found.extend(values(consumer.poll(0)))
            if len(found) == COUNT:
                is_done.set()
            timer = loop.call_later(consumer.max_wait(), on_ready)

        timer = loop.call_soon(on_ready)
        loop.add_reader(consumer.fileno(), on_ready)
        threads = [
            loop.run_in_executor(None, lambda: [topic.append(number) for number in range(COUNT // 2)]) for _ in range(2)
        ]
        await asyncio.wait_for(is_done.wait(), PATIENCE_SECONDS)
        loop.remove_reader(consumer.fileno())
        timer.cancel()
        await asyncio.gather(*threads)

    before = threading.active_count()
    with log.consumer("orders") as consumer:
        assert threading.active_count() == before
        began_s = time.monotonic()
        asyncio.run(consume(consumer))
        spent_s = time.monotonic() - began_s
    assert sorted(found) == sorted([*range(COUNT // 2)] * 2)
    assert len(polls) <= 2 * COUNT + 3 + spent_s / RECHECK_SECONDS


# -- groups --------------------------------------------------------------------------------------------------------


def test_members_in_one_loop_share_a_topic(log):
    """Joining, giving up and leaving need no thread that waits; the callbacks run in the loop."""
    topic = log.topic("orders", value=int, partitions=4)
    told = []

    def note(what):
        return lambda partitions: told.append((what, len(partitions)))

    options = {**QUIET, "on_assigned": note("assigned"), "on_revoked": note("revoked")}
    with selectors.DefaultSelector() as selector, log.consumer("orders", **options) as one:
        selector.register(one, selectors.EVENT_READ)

        def run_until(*consumers, is_done):
            deadline_s = time.monotonic() + PATIENCE_SECONDS
            while not is_done() and time.monotonic() < deadline_s:
                for consumer in consumers:
                    consumer.poll(0)
                selector.select(min(consumer.max_wait() for consumer in consumers))

        run_until(one, is_done=lambda: told == [("assigned", 4)])
        two = log.consumer("orders", **options)
        selector.register(two, selectors.EVENT_READ)
        run_until(one, two, is_done=lambda: len(told) == 3)
        assert told == [("assigned", 4), ("revoked", 2), ("assigned", 2)]
        topic.append(1, partition=two.assignment()[0].partition)
        assert is_readable(two)
        assert values(two.poll(0)) == [1]
        selector.unregister(two)
        two.close()
        assert is_readable(one), "the group has changed"
        run_until(one, is_done=lambda: len(one.assignment()) == 4)
        selector.unregister(one)


def test_the_death_of_a_member_is_noticed_by_the_next_poll(log, topic):
    """The loop is not woken by it; `max_wait()` has it look in time."""
    log.topic("shared", value=int, partitions=2)
    with log.consumer("shared", **QUIET) as one:
        two = log.consumer("shared", **QUIET)
        one.fileno()
        deadline_s = time.monotonic() + PATIENCE_SECONDS
        while len(one.assignment()) != 1 and time.monotonic() < deadline_s:
            assert one.poll(0) == two.poll(0) == []
        two._core.membership._lease.abandon()
        began_s = time.monotonic()
        while len(one.assignment()) != 2 and time.monotonic() < deadline_s:
            select.select([one], [], [], one.max_wait())
            assert one.poll(0) == []
        assert time.monotonic() - began_s < PATIENCE_SECONDS / 2
        two._core.membership.drop()


def test_offsets_to_commit_are_a_duty_of_the_loop(log, topic):
    """They are committed by a poll that the timer brings."""
    topic.append_many(range(3))
    with log.consumer("orders", group="billing", auto_commit_interval=0.02) as consumer:
        consumer.fileno()
        assert drained(consumer) == [0, 1, 2]
        assert consumer.max_wait() <= 0.02
        deadline_s = time.monotonic() + PATIENCE_SECONDS
        while consumer.committed(("orders", 0)) != 3 and time.monotonic() < deadline_s:
            select.select([consumer], [], [], consumer.max_wait())
            assert consumer.poll(0) == []
        assert consumer.committed(("orders", 0)) == 3
        assert consumer.max_wait() > 0.02


# -- where there are no FIFOs --------------------------------------------------------------------------------------


def test_without_fifos_it_says_what_to_do(log, topic, monkeypatch):
    """And the consumer works on."""
    monkeypatch.delattr(os, "mkfifo")
    topic.append(1)
    with log.consumer("orders") as consumer:
        with pytest.raises(eventlog.NotSupported, match=r"no FIFOs.*poll\(0\) every few milliseconds") as caught:
            consumer.fileno()
        assert caught.value.feature == "fileno"
        assert isinstance(caught.value, NotImplementedError)
        assert values(consumer.poll(0)) == [1]
        assert consumer.poll(0.01) == []
