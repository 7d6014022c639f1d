"""
The log of the site, and the way of events into it.

`publish()` loses nothing; `publish_and_hope()` is the shorter form, and loses events in a crash.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from django.conf import settings
from django.db import transaction

import eventlog
from examples.django_site.shop.models import OutboxRow


@cache
def log() -> eventlog.EventLog:
    """The log, opened by its first use in each process."""
    return eventlog.open(settings.SHOP_LOG)


@cache
def orders() -> eventlog.Topic[str, Any]:
    """The topic of the orders."""
    return log().topic("orders", partitions=4, key=str, value="json")


def publish_and_hope(key: str, value: dict[str, Any]) -> None:
    """Append an event after the commit; it is lost if the process dies between the two, or the append fails."""
    transaction.on_commit(lambda: orders().append(value, key=key))


def publish(key: str, value: dict[str, Any]) -> None:
    """Have an event in the log if the present transaction commits, whatever happens after that."""
    OutboxRow.objects.create(key=key, value=value)
    transaction.on_commit(relay, robust=True)  # at once, as a rule; else the next relay takes it


def relay() -> int:
    """Move the outbox to the log; the number of events. A repeated append is recognised by its message id."""
    count = 0
    while True:
        with transaction.atomic():
            rows = list(OutboxRow.objects.select_for_update().order_by("id")[:100])
            if not rows:
                return count
            orders().append_many(
                [row.value for row in rows],
                keys=[row.key for row in rows],
                message_ids=[str(row.message_id) for row in rows],
            )
            OutboxRow.objects.filter(id__in=[row.id for row in rows]).delete()
        count += len(rows)
