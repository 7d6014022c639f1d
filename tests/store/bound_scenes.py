"""Programs that use a log with a bound beside another; each function is the whole program of a child."""

from __future__ import annotations

import resource

import eventlog
from tests.processes.child import hear, say


def append_within(path: str, max_bytes: int | None) -> None:
    """Append values of the size that it hears, as many as it hears, and say how many were stored, and why no more."""
    with eventlog.open(path, max_bytes=max_bytes) as log:
        topic = log.topic("orders")
        say("ready")
        while (line := hear()) != "end":
            size, most = map(int, line.split())
            count = 0
            try:
                for _ in range(most):
                    topic.append(bytes(size))
                    count += 1
                say(count, "stored")
            except eventlog.StorageError as error:
                say(count, type(error).__name__)


def churn_until_killed(path: str, max_bytes: int, seed: int) -> None:
    """Append, delete half when the log is full, commit offsets; say what is acknowledged."""
    log = eventlog.open(path, max_bytes=max_bytes)
    topic = log.topic("orders")
    number = topic.bounds()[0][1]
    say("ready")
    while True:
        try:
            value = b"%d " % number + bytes((seed * 7919 + number * 104_729) % 30_000)
            assert topic.append(value).offset == number
            number += 1
            say("stored", number)
        except eventlog.LogFull:
            first, end = topic.bounds()[0]
            say("deletes", (first + end) // 2)
            topic.delete_records({0: (first + end) // 2})
            say("deleted", (first + end) // 2)


def fill_below_the_limit(path: str, limit_bytes: int) -> None:
    """Have a limit for files from the beginning; fill the log, delete half, append, five times."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        for cycle in range(5):
            say(*_fill(topic, 60_000 if cycle % 2 else 3000))
            first, end = topic.bounds()[0]
            topic.delete_records({0: (first + end) // 2})
            topic.append(bytes(50_000))
            say("deleted, on")
        say("sound" if log.verify().is_sound else "damaged")


def meet_a_limit_late(path: str) -> None:
    """Fill a log, and lower the limit to the size of its file; delete, and raise the limit again."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        topic.append_many([bytes(60_000)] * 40)
        size = log.stats().file_bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
        _fill(topic, 60_000)
        say("full")
        try:
            topic.delete_records({0: 20})
        except eventlog.DiskFull as error:
            say("first", topic.bounds()[0][0], "ulimit" in str(error))
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        end = topic.bounds()[0][1]
        topic.delete_records({0: 20})
        say("raised, on" if topic.append(bytes(60_000)).offset == end else "wrong")
        say("sound" if log.verify().is_sound else "damaged")


def _fill(topic: eventlog.Topic[bytes, bytes], size: int) -> tuple[str, str]:
    try:
        while True:
            topic.append(bytes(size))
    except eventlog.StorageError as error:
        return type(error).__name__, "File too large" if "File too large" in str(error) else str(error)
