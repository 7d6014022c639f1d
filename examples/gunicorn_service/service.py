"""
The shop: `POST /CUSTOMER/CUPS` stores an order, a thread of each worker bills its share, `GET /` has the invoices.

`gunicorn --config examples/gunicorn_service/gunicorn_conf.py examples.gunicorn_service.service:application` runs it,
and `--preload` may be added. docs/how-to/gunicorn.md tells why it is written like this.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import eventlog

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


def bill(tx: eventlog.Transaction, record: eventlog.Record[str, Any]) -> None:
    """Write the invoice of an order, in the commit that says that the order is done."""
    tx.send("invoices", {"order": [record.partition, record.offset], "cents": 250 * record.value}, key=record.key)


class Application:
    """The WSGI application. Importing it opens nothing; each worker calls `open()` after the fork."""

    def open(self) -> None:
        """Open the log, and begin to bill."""
        self.log = eventlog.open(os.environ.get("SHOP_LOG", "data/shop"))
        self.orders = self.log.topic("orders", partitions=4, key=str, value=int)
        self.invoices = self.log.topic("invoices", key=str, value="json")
        self.processor = self.log.processor(self.orders, function=bill, group="billing")
        self.thread = threading.Thread(target=self._work)
        self.thread.start()

    def close(self) -> None:
        """Finish the order in hand, and close the log."""
        self.processor.stop()
        self.thread.join()
        self.log.close()

    def _work(self) -> None:
        try:
            self.processor.run()
        except BaseException:
            os.kill(os.getpid(), signal.SIGTERM)  # a worker that cannot bill is better replaced
            raise

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        if environ["REQUEST_METHOD"] == "POST":
            status, answer = self._take(environ)
        else:
            status, answer = "200 OK", [record.value for record in self.invoices.read()]
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]

    def _take(self, environ: WSGIEnvironment) -> tuple[str, object]:
        try:
            path = environ["PATH_INFO"].encode("latin-1").decode("utf-8")  # WSGI passes bytes as text
            _, customer, cups = path.split("/")
            message_id = environ.get("HTTP_IDEMPOTENCY_KEY")  # a client that got no answer sends it again
            stored = self.orders.append(int(cups), key=customer, message_id=message_id)
        except (ValueError, TypeError, eventlog.MessageIdReused) as error:
            return "400 Bad Request", f"POST /CUSTOMER/CUPS, and an Idempotency-Key for one order alone: {error}"
        return "201 Created", [stored.partition, stored.offset]


application = Application()
