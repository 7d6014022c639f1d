"""The log of one connection: its topics, what is published, and what is asked of queues."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from typing import Any, Final
from uuid import uuid4

import eventlog
from eventlog import EventLog, Queue, Topic
from eventlog.frameworks.celery.messages import to_record
from eventlog.frameworks.celery.options import BrokerOptions
from eventlog.frameworks.celery.routing import Routing

MAX_MESSAGE_BYTES: Final = 256 << 20
BROADCAST_SECONDS: Final = 3600.0
"""How long the messages of private queues are kept: who reads one is at most that far behind."""
_RUN: Final = uuid4().hex
_LEGAL: Final = re.compile(r"[A-Za-z0-9._-]{1,200}")


class Broker:
    """What a connection has of a log."""

    def __init__(self, path: str, options: BrokerOptions) -> None:
        self.log: EventLog = eventlog.open(path)
        self.options = options
        self.routing = Routing(self.log, options.now_ms)
        self._topics: dict[str, Topic[bytes, bytes]] = {}
        self._shared: set[str] = set()
        self._priorities: dict[str, set[int]] = {}

    @property
    def owner(self) -> str:
        """A name of this process."""
        return f"{os.getpid()}-{_RUN}"

    def close(self) -> None:
        """Close the log."""
        self.log.close()

    # -- topics --------------------------------------------------------------------------------------------------

    def queue_topic(self, queue: str, priority: int = 0) -> Topic[bytes, bytes]:
        """The topic of a shared queue for one priority; its queue in the log has the same name."""
        name = f"kombu.queue{f'-{priority}' if priority else ''}.{_legal(queue)}"
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = self.log.topic(
                name, key=bytes, value=bytes, until_read_by=[name], max_record_bytes=MAX_MESSAGE_BYTES
            )
            if name not in self.log.queues.list():
                self.open_queue(topic).close()
        return topic

    def exchange_topic(self, exchange: str) -> Topic[bytes, bytes]:
        """The topic of what an exchange sends to private queues."""
        name = f"kombu.exchange.{_legal(exchange)}" if exchange else "kombu.exchange"
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = self.log.topic(
                name, key=bytes, value=bytes, retention=BROADCAST_SECONDS, max_record_bytes=MAX_MESSAGE_BYTES
            )
        return topic

    def open_queue(self, topic: Topic[bytes, bytes]) -> Queue[bytes, bytes]:
        """A worker of the queue that has this topic; all priorities of a queue have one topic of dead letters."""
        queue = topic.name.removeprefix("kombu.").partition(".")[2]
        return self.log.queue(
            topic,
            group=topic.name,
            attempts=self.options.attempts,
            dead_letters=f"dlq.kombu.queue.{queue}",
            session_timeout=self.options.session_timeout,
        )

    def end_of(self, exchange: str) -> int:
        """The end of an exchange's topic."""
        return self.exchange_topic(exchange).bounds()[0][1]

    # -- declaring -----------------------------------------------------------------------------------------------

    def declare_shared(self, queue: str, *, auto_delete: bool = False) -> None:
        """Make a queue that any number of workers share."""
        if queue not in self._shared:
            self.routing.declare_shared(queue, auto_delete=auto_delete)
            self.queue_topic(queue)
            self._shared.add(queue)

    def declare_private(self, queue: str) -> None:
        """Make a queue that one connection reads."""
        self.routing.declare_private(queue, self.owner, {"": self.end_of("")})

    def bind(self, exchange: str, queue: str, routing_key: str) -> None:
        """Bind a queue to an exchange, from now on."""
        row = self.routing.queue(queue)
        if row is not None and row.get("auto_delete") and self.routing.exchange_type(exchange) == "fanout":
            row = self.routing.declare_private(queue, self.owner, {"": self.end_of("")})  # a Broadcast of Celery's
        if row is not None and "owner" in row and exchange not in row["starts"]:
            self.routing.declare_private(queue, self.owner, {exchange: self.end_of(exchange)})
        self.routing.bind(exchange, queue, routing_key)

    def priorities(self, queue: str) -> Sequence[int]:
        """The priorities of which a queue has had messages, the lowest first."""
        row = self.routing.queue(queue)
        return [0] if row is None else row.get("priorities", [0])

    # -- publishing ----------------------------------------------------------------------------------------------

    def publish(self, exchange: str, routing_key: str, message: dict[str, Any], priority: int) -> bool:
        """Store a message for all queues that get it, in one commit; whether any does."""
        if not exchange and routing_key in self._shared:
            queues, is_private = [routing_key], False
        else:
            queues, is_private = self.routing.routes(exchange, routing_key)
        topics = [self._topic_of(queue, priority) for queue in queues]
        if is_private:
            topics.append(self.exchange_topic(exchange))
        value, headers = to_record(message)
        if len(topics) == 1:
            topics[0].append(value, headers=headers)
        elif topics:
            with self.log.transaction() as transaction:
                for topic in topics:
                    transaction.send(topic, value, headers=headers)
        return bool(topics)

    def _topic_of(self, queue: str, priority: int) -> Topic[bytes, bytes]:
        self.declare_shared(queue)
        if priority and priority not in self._priorities.setdefault(queue, set()):
            topic = self.queue_topic(queue, priority)
            self.routing.add_priority(queue, priority)
            self._priorities[queue].add(priority)
            return topic
        return self.queue_topic(queue, priority)

    # -- what is asked of queues -----------------------------------------------------------------------------------

    def is_known(self, queue: str) -> bool:
        """Whether somebody has declared a queue."""
        return self.routing.queue(queue) is not None

    def is_private(self, queue: str) -> bool:
        """Whether a queue is one connection's."""
        row = self.routing.queue(queue)
        return row is not None and "owner" in row

    def size(self, queue: str) -> int:
        """How many messages of a queue wait."""
        return sum(self.log.queues.describe(name).ready for name in self._names(queue))

    def purge(self, queue: str) -> int:
        """Take all messages of a queue for done that nobody has in hand; how many these were."""
        return sum(self.log.queues.purge(name) for name in self._names(queue))

    def delete(self, queue: str) -> None:
        """Delete a queue with its messages."""
        names = self._names(queue)
        self.routing.delete_queue(queue)
        for name in names:
            self.log.queues.delete(name)
            self.log.delete_topic(name)
            self._topics.pop(name, None)
        self._shared.discard(queue)
        self._priorities.pop(queue, None)

    def _names(self, queue: str) -> list[str]:
        row = self.routing.queue(queue)
        if row is None or "owner" in row:
            return []
        return [self.queue_topic(queue, priority).name for priority in row["priorities"]]


def _legal(name: str) -> str:
    """A name as a part of a topic's: itself where that may be."""
    if _LEGAL.fullmatch(name):
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)[:180]}.{digest}"
