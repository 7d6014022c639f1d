"""
Programs that only read a log, in processes of their own.

Each function is the whole program of a child (`tests/processes/child.py`). Knows nothing of pytest.
"""

from __future__ import annotations

import os
import time
from typing import Any

import eventlog
from tests.processes.child import hear, say

_NOBODY = 65_534
KEYS = ("ada", "bob", "eve")


def become(user: str) -> None:
    """Become a user without rights, or stay who we are."""
    if user == "nobody":
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)


def look_around(log: eventlog.EventLog) -> dict[str, Any]:
    """Everything that a log lets its readers see, in values that JSON has."""
    orders: eventlog.Topic[str, int] = log.topic("orders", key=str, value=int)
    consumer: eventlog.Consumer[str, int] = log.consumer()
    consumer.assign([("orders", partition) for partition in range(2)])
    consumer.seek_to_beginning()
    polled = 0
    while records := consumer.poll(0.0):
        polled += len(records)
    consumer.close()
    sums = log.projection("sums", lambda state, record: None, topics=[orders])
    return {
        "topics": log.topics(),
        "read": [record.value for record in orders.read()],
        "read_all": [(position, record.value) for position, record in log.read_all()],
        "follow": [record.value for _, record in log.follow(timeout=0.0)],
        "polled": polled,
        "history": {key: [record.value for record in orders.history(key)] for key in KEYS},
        "snapshot": orders.snapshot("ada").state if orders.snapshot("ada") else None,  # type: ignore[union-attr]
        "states": {name: dict(log.state(name).items()) for name in log.states()},
        "sums": dict(sums.state.items()),
        "groups": [(one.name, [place.committed for place in one.offsets]) for one in map(log.groups.describe, ["g"])],
        "records": log.stats().record_count,
        "sound": log.verify().is_sound,
        "uuid": str(log.uuid),
    }


def fill(log: eventlog.EventLog) -> None:
    """A log with something of everything."""
    orders = log.topic("orders", key=str, value=int, partitions=2, index="key")
    for number in range(60):
        orders.append(number, key=KEYS[number % 3])
    orders.save_snapshot("ada", {"sum": 3}, version=2)
    with log.transaction() as tx:
        tx.state("totals", key=str, value=int)["ada"] = 7

    def add(state: Any, record: eventlog.Record[str, int]) -> None:
        state[record.key] = state.get(record.key, 0) + record.value

    log.projection("sums", add, topics=[orders]).catch_up()
    with log.consumer("orders", group="g") as consumer:
        while not consumer.poll(1.0):
            pass
        consumer.commit()


def look(path: str, user: str) -> None:
    """Says what can be seen of a log."""
    become(user)
    with eventlog.open(path, read_only=True) as log:
        say(repr(look_around(log)))


def follow(path: str, user: str) -> None:
    """Says each record as it comes: those of a consumer, and those of a follower."""
    become(user)
    with eventlog.open(path, read_only=True) as log:
        consumer: eventlog.Consumer[Any, Any] = log.consumer("orders", start="latest")
        assert consumer.poll(0.0) == []
        follower = log.follow("latest", timeout=20.0)
        say("ready")
        polled: list[Any] = []
        while not polled:
            polled = consumer.poll(5.0)
        say(polled[0].value)
        _, record = next(iter(follower))
        say(record.value)


def read_beside_a_writer(path: str, user: str) -> None:
    """Reads while another process writes and frees pages, and says how often; any error ends it."""
    become(user)
    with eventlog.open(path, read_only=True) as log:
        say("ready")
        looks = 0
        end_s = time.monotonic() + 1.5
        while time.monotonic() < end_s:
            try:
                values = [record.value for record in log.topic("orders").read(0)]
            except eventlog.OffsetOutOfRange:  # the next records were deleted meanwhile
                continue
            assert values == list(range(values[0], values[0] + len(values))) if values else True
            assert log.state("totals").get("all") is not None
            end = log.end_log_position()
            assert all(position < end for position, _ in log.read_all(max(0, end - 200), end=end))
            looks += 1
        say(looks)
        hear()


def read_before_and_after_a_fork(path: str, user: str) -> None:
    """A forked child reads as its parent does."""
    become(user)
    with eventlog.open(path, read_only=True) as log:
        count = sum(1 for _ in log.read_all())
        child = os.fork()
        if child == 0:
            os._exit(0 if sum(1 for _ in log.read_all()) == count and log.verify().is_sound else 1)
        _, status = os.waitpid(child, 0)
        assert sum(1 for _ in log.read_all()) == count
        say(os.waitstatus_to_exitcode(status))


def try_to_open(path: str, user: str) -> None:
    """Says the error of opening a log for reading."""
    become(user)
    try:
        eventlog.open(path, read_only=True)
    except eventlog.EventLogError as error:
        say(type(error).__name__)
        say(error)
