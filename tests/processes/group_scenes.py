"""
Programs that are members of a group, and end in one way or another.

Each function is the whole program of a child (`tests/processes/child.py`). Knows nothing of pytest.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import eventlog
from tests.processes.child import hear, say
from tests.processes.fork_scenes import in_a_fork

_LONG_SECONDS = 60.0


def _numbers(consumer: eventlog.Consumer[Any, Any]) -> list[int]:
    return sorted(tp.partition for tp in consumer.assignment())


def say_shares(path: str, options: dict[str, Any]) -> None:
    """Is a member for ever, and says what it owns each time that this changes."""
    with eventlog.open(path) as log:
        changed: list[object] = []
        consumer = log.consumer(
            "orders", group="billing", on_assigned=changed.append, on_revoked=changed.append, **options
        )
        owned: list[int] | None = None
        while True:
            consumer.poll(timeout=0.05)
            if _numbers(consumer) != owned:
                owned = _numbers(consumer)
                say(*owned)


def walk_slowly(path: str, options: dict[str, Any]) -> None:
    """Is a member for ever, and says of each record of its loop when it was handed out."""
    with eventlog.open(path) as log:
        consumer = log.consumer("steps", group="billing", **options)
        while True:
            for _ in consumer:
                say(time.monotonic())
                until_s = time.monotonic() + 0.005
                while time.monotonic() < until_s:  # the work
                    pass


def hold_and_hang(path: str, options: dict[str, Any]) -> None:
    """Is a member, takes what there is, and then does nothing until it is told to; then it commits and polls."""
    with eventlog.open(path) as log:
        lost: list[int] = []
        consumer = log.consumer(
            "orders",
            group="billing",
            on_lost=lambda partitions: lost.extend(tp.partition for tp in partitions),
            **options,
        )
        consumer.poll()
        say(*_numbers(consumer))
        hear()
        try:
            consumer.commit()
            say("committed")
        except eventlog.MemberFenced:
            say("fenced")
        consumer.poll()
        say("lost", *sorted(lost))


def end_without_a_word(path: str, ending: str) -> None:
    """Is a member, reads, and ends in one of several ways without closing anything."""
    log = eventlog.open(path)
    consumer = log.consumer("orders", group="billing")
    consumer.poll()
    say(*_numbers(consumer))
    hear()
    if ending == "exception":
        raise RuntimeError("on purpose")
    if ending == "dropped":
        del consumer
        hear()
    if ending == "os._exit":
        os._exit(3)
    if ending == "thread":
        threading.Thread(target=lambda: list(consumer), daemon=True).start()


def fork_as_a_member(path: str) -> None:
    """Forks while it is a member: the child cannot use it, may be one itself, and takes nothing along when it ends."""
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        consumer = log.consumer("orders", group="billing", session_timeout=2.0)
        assert consumer.poll() == []
        member_id = consumer._core.membership.member_id  # type: ignore[union-attr]

        def child() -> None:
            for use in (consumer.poll, consumer.commit, consumer.assignment):
                try:
                    use()
                except eventlog.UsedAfterFork:
                    continue
                raise AssertionError("the parent's member was used")
            with log.consumer("orders", group="billing") as mine:
                assert mine.poll() == []
                assert mine.assignment() == [], "the parent owns everything, and did not poll"
            with log.consumer("orders", group="shipping") as mine:
                assert len(mine.assignment()) == 4

        in_a_fork(child)
        in_a_fork(lambda: consumer.close())
        in_a_fork(log.close)
        in_a_fork(lambda: None)
        assert log._store.members.look([member_id])[member_id].name == "ALIVE"
        with log.consumer("orders", group="billing") as other:
            assert other.poll() == []
            assert other.assignment() == []
            consumer.poll()
            assert consumer._core.membership.member_id == member_id  # type: ignore[union-attr]
            assert len(_numbers(consumer)) == 2
        topic.append(b"tea", partition=_numbers(consumer)[0])
        assert len(consumer.poll(timeout=_LONG_SECONDS)) == 1
        consumer.commit()
        consumer.close()
    say("done")


def die_with_a_child_alive(path: str) -> None:
    """Forks a child that stays and keeps copies of what was open, and waits to be killed."""
    with eventlog.open(path) as log:
        consumer = log.consumer("orders", group="billing", session_timeout=600.0)
        consumer.poll()
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            threading.Event().wait()
        say(child)
        hear()
