"""
Parts of the Django site as processes of their own that kill themselves at a chosen moment.

`python -m tests.examples.django_scenes NAME` plays one. The moments are Django's own hooks, so nothing of the site is
replaced: what was registered with `on_commit` before runs first, and signals are sent around each row.
"""

# ruff: noqa: E402 - models can be imported after `setup()` only
from __future__ import annotations

import os
import signal
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "examples.django_site.settings")
django.setup()

from django.core.management import call_command
from django.db import transaction
from django.db.models.signals import post_save, pre_delete
from django.test import Client

from examples.django_site.shop import events
from examples.django_site.shop.models import Invoice, Order, OutboxRow


def die(*_, **__):
    """As `kill -9` from outside would."""
    os.kill(os.getpid(), signal.SIGKILL)


def place(customer, count=1):
    """Orders over the whole way of a request."""
    for cups in range(1, count + 1):
        response = Client(SERVER_NAME="localhost").post(f"/orders/{customer}", {"cups": cups})
        assert response.status_code == 201, response.content
        print(f"placed order {response.json()['order']}", flush=True)


def orders():
    """A database, and five orders with all that follows."""
    call_command("migrate", verbosity=0)
    place("alice", 5)


def many_orders():
    """Orders until somebody ends this."""
    while True:
        place("alice", 10)
        place("bob", 10)


def hoping():
    """An order whose append fails, then one of the short form, killed between the commit and the append."""
    events.log().close()
    place("carol")
    with transaction.atomic():
        Order.objects.create(customer="hoping", cups=1)
        transaction.on_commit(die)
        events.publish_and_hope("hoping", {"cups": 1})


def publishing():
    """The outbox, killed at the same moment."""
    with transaction.atomic():
        order = Order.objects.create(customer="bob", cups=1)
        transaction.on_commit(die)
        events.publish("bob", {"order": order.id, "cups": 1})


def relaying():
    """Killed between the append and the deletion from the outbox."""
    pre_delete.connect(die, sender=OutboxRow)
    events.relay()


def billing_done():
    """The consumer, killed right after the database has committed its first invoice."""
    post_save.connect(lambda **_: transaction.on_commit(die), sender=Invoice, weak=False)
    call_command("runconsumer")


def billing_not_done():
    """Killed right before."""
    post_save.connect(die, sender=Invoice)
    call_command("runconsumer")


def billing_told_to_stop():
    """The consumer, told to stop in the midst of its work on a record."""
    post_save.connect(lambda **_: os.kill(os.getpid(), signal.SIGTERM), sender=Invoice, weak=False)
    call_command("runconsumer")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
