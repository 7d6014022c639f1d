"""
Bills the orders of the log until SIGTERM; `shop-billing@.service` runs it.

systemd makes the directory and names it in `STATE_DIRECTORY`; `READY=1` tells it that the worker is a member of its
group. Started by hand, without systemd, the worker does the same.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import eventlog


def notify(state: str) -> None:
    """Tell systemd how the service does; without systemd nothing happens."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            connection.connect(address.replace("@", "\0", 1) if address[0] == "@" else address)
            connection.send(state.encode())


def bill(tx: eventlog.Transaction, record: eventlog.Record[str, Any]) -> None:
    """Write the invoice of an order, in the commit that says that the order is done."""
    tx.send("invoices", {"order": [record.partition, record.offset], "cents": 250 * record.value}, key=record.key)


def main() -> int:
    """Work until SIGTERM; the exit code is 0 then."""
    with eventlog.open(Path(os.environ.get("STATE_DIRECTORY", "data")) / "log") as log:
        orders = log.topic("orders", partitions=4, key=str, value=int)
        log.topic("invoices", key=str, value="json")
        with log.processor(orders, function=bill, group="billing") as processor:
            signal.signal(signal.SIGTERM, lambda *_: processor.stop())
            notify("READY=1")
            processor.run()
            notify("STOPPING=1")
    return 0


if __name__ == "__main__":
    sys.exit(main())
