"""What the tests of processors share: a function that bills orders, and what is to be seen of it."""

from __future__ import annotations

from typing import Any

import eventlog
from tests.clients.helpers import values


def make_orders(log: eventlog.EventLog, partitions: int) -> eventlog.Topic[str, int]:
    """Ten numbers, and a topic for what becomes of them."""
    log.topic("invoices", key=str, value=int)
    topic = log.topic("orders", key=str, value=int, partitions=partitions)
    topic.append_many(range(10), keys=[str(number) for number in range(10)])
    return topic


def bill(tx: eventlog.Transaction, record: Any) -> None:
    """Sends the record's number on, and counts it in a state."""
    tx.send("invoices", record.value, key=record.key)
    count = tx.state("count")
    count["all"] = count.get("all", 0) + 1


def invoices(log: eventlog.EventLog) -> list[int]:
    """What was sent on, in order."""
    return values(log.topic("invoices").read())


def committed(log: eventlog.EventLog, group: str = "billing") -> list[int | None]:
    """Where the group stands."""
    return [row.committed for row in log.groups.describe(group).offsets]
