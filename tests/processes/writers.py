"""
What other processes do to a log in these tests.

Each function is the whole program of a child (`tests/processes/child.py`). Knows nothing of what is checked.
"""

from __future__ import annotations

import threading

import eventlog
from eventlog.store.store import Store
from tests.processes.child import hear, say


def store_of(log: eventlog.EventLog) -> Store:
    """The store under a log, for what users cannot do."""
    return log._store


def append_when_told(path: str, writer: str) -> None:
    """Appends one record for each line it hears, and says its offset."""
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        say("ready")
        number = 0
        while hear() != "end":
            say(topic.append(f"{writer} {number}".encode()).offset)
            number += 1


def append_for_ever(path: str, writer: str) -> None:
    """Appends without a pause, and says so once."""
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        topic.append(f"{writer} 0".encode())
        say("ready")
        for number in range(1, 10_000_000):
            topic.append(f"{writer} {number}".encode())


def append_so_many(path: str, writer: str, count: int) -> None:
    """Appends `count` records, one by one."""
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        say("ready")
        hear()
        for number in range(count):
            topic.append(f"{writer} {number}".encode())
        say("done")
        hear()


def hold_the_write_lock(path: str) -> None:
    """Begins a write transaction, as no program should, and ends it when told."""
    with eventlog.open(path) as log:
        environment = store_of(log).environment
        transaction = environment.begin_writing()
        say("ready")
        hear()
        environment.abort(transaction)
        say("done")
        hear()


def hold_a_snapshot(path: str) -> None:
    """Begins a read transaction, as no program should, and never ends it."""
    with eventlog.open(path) as log, store_of(log).environment.reading():
        say("ready")
        threading.Event().wait()
