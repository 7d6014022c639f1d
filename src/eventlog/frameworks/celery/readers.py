"""A private queue of kombu: a reader of what some exchanges send, from the moment on that it was declared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from eventlog import Consumer
from eventlog.frameworks.celery.broker import Broker
from eventlog.frameworks.celery.messages import to_message
from eventlog.frameworks.celery.routing import matches

_REFRESH_SECONDS: Final = 60.0


class PrivateQueue:
    """The reader of one private queue."""

    def __init__(self, broker: Broker, name: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._broker = broker
        self._monotonic = monotonic
        self._refresh_at_s = monotonic() + _REFRESH_SECONDS
        row = broker.routing.queue(name) or {}
        starts: dict[str, int] = row.get("starts", {})
        topics = {exchange: broker.exchange_topic(exchange) for exchange in starts}
        self._exchanges = {topic.name: exchange for exchange, topic in topics.items()}
        self._bound = [
            (exchange, broker.routing.exchange_type(exchange) or "direct", routing_key)
            for exchange, queue, routing_key in broker.routing.bindings()
            if queue == name
        ]
        self.consumer: Consumer[bytes, bytes] = broker.log.consumer(
            *topics.values(), start="latest", on_out_of_range="earliest"
        )
        for exchange, start in starts.items():
            self.consumer.seek((topics[exchange].name, 0), start)
        self._count = 0

    def take(self) -> Iterator[dict[str, Any]]:
        """Take the messages that have come."""
        if self._monotonic() >= self._refresh_at_s:
            self._refresh_at_s = self._monotonic() + _REFRESH_SECONDS
            self._broker.routing.refresh(self.name)
        while records := self.consumer.poll(0):
            for record in records:
                message = to_message(record)
                key = message["properties"]["delivery_info"].get("routing_key") or ""
                if self._is_for_us(self._exchanges[record.topic], key):
                    self._count += 1
                    message["properties"]["delivery_tag"] = f"{self.name}-{self._count}"
                    yield message

    def _is_for_us(self, exchange: str, key: str) -> bool:
        if not exchange:
            return key == self.name
        return any(exchange == one and matches(kind, bound, key) for one, kind, bound in self._bound)

    def close(self) -> None:
        """End reading."""
        self.consumer.close()
