"""What the tests of transactions share: one with some of everything, its end by an error, and all that a log holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import eventlog


class Stop(Exception):
    """Raised inside a block."""


@contextmanager
def stopped(tx: eventlog.Transaction) -> Iterator[eventlog.Transaction]:
    """A block that has to end by `Stop`."""
    is_stopped = False
    try:
        with tx:
            yield tx
    except Stop:
        is_stopped = True
    assert is_stopped


def contents(log: eventlog.EventLog) -> dict[str, object]:
    """All that a log holds for its users: records, offsets and states."""
    return {
        **{name: sorted(map(repr, log.topic(name).read())) for name in log.topics()},
        **{f"state {name}": list(log.state(name).items()) for name in log.states()},
        **{f"group {name}": log.groups.describe(name).offsets for name in log.groups.list()},
    }


def fill(tx: eventlog.Transaction, consumer: Any = None) -> list[eventlog.Delivery]:
    """Some of everything."""
    deliveries = [tx.send("orders", number, key=str(number)) for number in range(20)]
    deliveries += tx.send_many("audit", ["one", "two"])
    state = tx.state("totals", key=str, value=int)
    state["all"] = state.get("all", 0) + 20
    if consumer is not None:
        tx.commit_offsets(consumer)
    return deliveries
