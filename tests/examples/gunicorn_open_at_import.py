"""A WSGI application that opens the log when it is imported: with `--preload` that is before the fork."""

from __future__ import annotations

import json
import os

import eventlog

log = eventlog.open(os.environ["SHOP_LOG"])
orders = log.topic("orders", partitions=4, key=str, value=int)
orders.append(0, key="master", message_id="master")


def application(environ, start_response):
    """As the shop of the example, without its invoices."""
    _, customer, cups = environ["PATH_INFO"].split("/")
    stored = orders.append(int(cups), key=customer, message_id=environ["HTTP_IDEMPOTENCY_KEY"])
    start_response("201 Created", [])
    return [json.dumps([stored.partition, stored.offset]).encode()]
