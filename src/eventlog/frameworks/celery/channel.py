"""A channel of kombu: what one consumer and its producers do with a connection."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from queue import Empty
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

from amqp.protocol import queue_declare_ok_t
from kombu.exceptions import ChannelError
from kombu.log import get_logger
from kombu.transport import virtual
from kombu.transport.virtual.base import NotEquivalentError
from kombu.utils.uuid import uuid

from eventlog import Consumer, Job, LogClosed, Queue
from eventlog.frameworks.celery.readers import PrivateQueue
from eventlog.frameworks.celery.tasks import TaskQueue
from eventlog.interruptions import unless_interrupted

if TYPE_CHECKING:
    from eventlog.frameworks.celery.broker import Broker
    from eventlog.frameworks.celery.transport import Transport

logger = get_logger(__name__)

_MOST_AT_ONCE: Final = 100
"""How many messages are taken at a time by who has set no prefetch count."""


class QoS(virtual.QoS):
    """What a channel has in hand: an acknowledgement is one of the log's."""

    def ack(self, delivery_tag: str) -> None:
        """Say that a message is done; any thread may."""
        super().ack(delivery_tag)
        self.channel.settle(delivery_tag, "accept")

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Give a message back, or make it a dead letter."""
        self._quick_ack(delivery_tag)
        self.channel.settle(delivery_tag, "release" if requeue else "reject")

    def restore_unacked(self) -> list[Any]:
        """Give all back that is in hand."""
        self._flush()
        for delivery_tag in list(self._delivered):
            self.channel.settle(delivery_tag, "release")
        self._delivered.clear()
        return []


class Channel(virtual.Channel):
    """The channel of a connection to a log."""

    QoS = QoS
    supports_fanout = True
    do_restore = False  # closing the queues gives back what is in hand
    body_encoding = None

    def __init__(self, connection: Transport, **options: Any) -> None:
        super().__init__(connection, **options)
        self._tasks: dict[str, TaskQueue] = {}
        self._private: dict[str, PrivateQueue] = {}
        self._consumed_private: set[str] = set()
        """The private queues that this channel consumes, which end with it."""
        self._jobs: dict[str, Job[bytes, bytes]] = {}
        self._inbox: deque[tuple[str, dict[str, Any], Job[bytes, bytes] | None]] = deque()
        self._taken = 0
        """How many messages of shared queues are in the inbox."""
        self.has_settled = False
        """Whether anything is to be stored."""
        self._delivering: int | None = None
        """The thread that is in the middle of a delivery."""

    @property
    def broker(self) -> Broker:
        """The log of the connection."""
        broker: Broker = self.connection.broker
        return broker

    # -- declaring -----------------------------------------------------------------------------------------------

    def exchange_declare(
        self, exchange: str | None = None, type: str | None = "direct", *, passive: bool = False, **options: Any
    ) -> None:
        """Make an exchange known to all processes."""
        kind = type or "direct"
        name = exchange or f"amq.{kind}"
        known = self.broker.routing.exchange_type(name)
        if known is None and passive:
            raise _not_found("exchange", name)
        if known is None:
            self.broker.routing.declare_exchange(name, kind)
        elif known != kind and not passive:
            raise NotEquivalentError(
                f"exchange {name!r} is of type {known!r}, not {kind!r}. Nothing was changed. Declare it by its type."
            )

    def exchange_delete(self, exchange: str, if_unused: bool = False, nowait: bool = False) -> None:
        """Forget an exchange."""
        self.broker.routing.delete_exchange(exchange)

    def queue_declare(
        self,
        queue: str | None = None,
        passive: bool = False,
        durable: bool = True,
        exclusive: bool = False,
        auto_delete: bool = False,
        **options: Any,
    ) -> Any:
        """Make a queue known to all processes; how many messages it has."""
        name = queue or f"amq.gen-{uuid()}"
        if passive:
            if not self.broker.is_known(name):
                raise _not_found("queue", name)
        elif exclusive or (auto_delete and not durable):
            self.broker.declare_private(name)
        else:
            self.broker.declare_shared(name, auto_delete=auto_delete)
        return queue_declare_ok_t(name, self._size(name), 0)

    def queue_bind(
        self, queue: str, exchange: str | None = None, routing_key: str = "", arguments: Any = None, **options: Any
    ) -> None:
        """Have a queue get what an exchange sends by a routing key."""
        self.broker.bind(exchange or "amq.direct", queue, routing_key or "")
        if (reader := self._private.pop(queue, None)) is not None:
            reader.close()

    def queue_unbind(
        self, queue: str, exchange: str | None = None, routing_key: str = "", arguments: Any = None, **options: Any
    ) -> None:
        """End a binding."""
        self.broker.routing.unbind(exchange or "amq.direct", queue, routing_key or "")

    def list_bindings(self) -> Iterator[tuple[str, str, str]]:
        """Queue, exchange and routing key of each binding."""
        return ((queue, exchange, key) for exchange, queue, key in self.broker.routing.bindings())

    def queue_delete(
        self,
        queue: str,
        if_unused: bool = False,
        if_empty: bool = False,
        **options: Any,
    ) -> None:
        """Delete a queue with its messages."""
        if if_empty and self._size(queue):
            return
        self._let_go(queue)
        if (tasks := self._tasks.pop(queue, None)) is not None:
            tasks.close()
        self.broker.delete(queue)

    def _has_queue(self, queue: str, **options: Any) -> bool:
        return self.broker.is_known(queue)

    def _size(self, queue: str) -> int:
        return self.broker.size(queue)

    def _purge(self, queue: str) -> int:
        return self.broker.purge(queue)

    # -- publishing ----------------------------------------------------------------------------------------------

    def basic_publish(self, message: dict[str, Any], exchange: str, routing_key: str, **options: Any) -> None:
        """Store a message for all queues that get it, in one commit."""
        self._inplace_augment_message(message, exchange, routing_key)
        priority = self._get_message_priority(message)
        if not self.broker.publish(exchange, routing_key or "", message, priority) and self.deadletter_queue:
            self.broker.publish("", self.deadletter_queue, message, priority)

    # -- taking --------------------------------------------------------------------------------------------------

    def basic_consume(self, queue: str, *arguments: Any, **options: Any) -> Any:
        """Begin to deliver the messages of a queue."""
        found = super().basic_consume(queue, *arguments, **options)
        if self.broker.is_private(queue):
            self._consumed_private.add(queue)
        self.connection.wake()
        return found

    def basic_cancel(self, consumer_tag: str) -> Any:
        """Deliver no more; what was taken and not delivered is given back."""
        queue = self._tag_to_queue.get(consumer_tag)
        found = super().basic_cancel(consumer_tag)
        if queue is not None and queue not in self._active_queues:
            self._let_go(queue)
            if self.connection is not None:
                self.connection.wake()
        return found

    def basic_qos(self, prefetch_size: int = 0, prefetch_count: int = 0, apply_global: bool = False) -> None:
        """Set how many messages may be in hand."""
        super().basic_qos(prefetch_size, prefetch_count, apply_global)
        self.connection.wake()

    def _let_go(self, queue: str) -> None:
        """Give back what was taken of a queue and not delivered."""
        kept = [entry for entry in self._inbox if entry[0] != queue]
        for _, _, job in (entry for entry in self._inbox if entry[0] == queue):
            if job is not None:
                job.release()
                self._taken -= 1
        self._inbox = deque(kept)
        if (reader := self._private.pop(queue, None)) is not None:
            reader.close()

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:
        if self.broker.is_private(queue):
            for message in self._reader(queue).take():
                self._inbox.append((queue, message, None))
            for place, (name, message, _) in enumerate(self._inbox):
                if name == queue:
                    del self._inbox[place]
                    return message
            raise Empty
        for message, job in self._task_queue(queue).take(1):
            self._jobs[message["properties"]["delivery_tag"]] = job
            return message
        raise Empty

    def basic_get(self, queue: str, no_ack: bool = False, **options: Any) -> Any:
        """Take one message; None if there is none."""
        message = super().basic_get(queue, no_ack=no_ack, **options)
        if message is not None and no_ack:
            self.settle(message.delivery_tag, "accept")
            self.store()
        return message

    def _reader(self, queue: str) -> PrivateQueue:
        if queue not in self._private:
            self._private[queue] = PrivateQueue(self.broker, queue)
        return self._private[queue]

    def _task_queue(self, queue: str) -> TaskQueue:
        if queue not in self._tasks:
            self._tasks[queue] = TaskQueue(self.broker, queue)
        return self._tasks[queue]

    @property
    def _room(self) -> int:
        """How many more messages may be taken."""
        most = self.qos.can_consume_max_estimate()
        return (_MOST_AT_ONCE if most is None else min(most, _MOST_AT_ONCE)) - self._taken

    @property
    def has_messages(self) -> bool:
        """Whether anything was taken that is not delivered yet."""
        return bool(self._inbox)

    def fill(self) -> None:
        """Take what may be taken, the queues in turn, and store what has become of messages before."""
        self.has_settled = False
        queues = [queue for queue in self._active_queues if queue not in self._consumed_private]
        for queue in self._consumed_private.intersection(self._active_queues):
            self._inbox.extend((queue, message, None) for message in self._reader(queue).take())
        if queues:  # who was first is last
            self._active_queues.remove(queues[0])
            self._active_queues.append(queues[0])
        for queue in queues:
            tasks = self._task_queue(queue)
            if (room := self._room) <= 0:
                tasks.commit()
                continue
            for message, job in tasks.take(room):
                self._inbox.append((queue, message, job))
                self._taken += 1
        for name, tasks in self._tasks.items():
            if name not in queues:
                tasks.commit()

    def deliver(self) -> bool:
        """Deliver one message that was taken; whether there was one."""
        if not self._inbox:
            return False
        queue, message, job = self._inbox.popleft()
        tag = message["properties"]["delivery_tag"]
        if job is not None:
            self._taken -= 1
            self._jobs[tag] = job
        before, self._delivering = self._delivering, get_ident()
        try:
            self.connection._deliver(message, queue)
        finally:
            self._delivering = before
        if job is not None and tag in self._jobs and tag not in self.qos._delivered:
            self.settle(tag, "accept")  # its consumer acknowledges nothing
        return True

    def drain_events(self, timeout: float | None = None, callback: Any = None) -> None:
        """Deliver one message, if there is one."""
        if not self._inbox:
            self.fill()
        if not self.deliver():
            raise Empty

    # -- what becomes of messages ----------------------------------------------------------------------------------

    def settle(self, delivery_tag: str, what: str) -> None:
        """
        Note what becomes of a message; any thread may.

        It is stored with the next look, and at once while a message is delivered: then the task may be in the middle of
        this call, and one that ends its worker must not be there again unless it is acknowledged late.
        """
        job = self._jobs.pop(delivery_tag, None)
        if job is None:
            return
        try:
            getattr(job, what)()
        except unless_interrupted(LogClosed):
            logger.warning("message %s was given back before it was acknowledged: its channel is closed", job.id)
            return
        self.has_settled = True
        if self._delivering == get_ident():
            self.store()
        elif self.connection is not None:
            self.connection.wake()

    def store(self) -> None:
        """Store what has become of messages."""
        self.has_settled = False
        for tasks in self._tasks.values():
            tasks.commit()

    # -- waiting ---------------------------------------------------------------------------------------------------

    def watched(self) -> Iterator[Queue[bytes, bytes] | Consumer[bytes, bytes]]:
        """What becomes readable when there may be a message that may be delivered."""
        for reader in self._private.values():
            yield reader.consumer
        if self._room > 0:
            for queue in self._active_queues:
                if queue in self._tasks:
                    yield from self._tasks[queue].workers

    @property
    def is_active(self) -> bool:
        """Whether anything is to be delivered or stored."""
        return bool(self._consumers or self._tasks)

    # -- the end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Store what has become of messages, and give back all others."""
        if not self.closed and self.connection is not None:
            for queue in [*self._tasks, *self._private]:
                self._let_go(queue)
            for tasks in self._tasks.values():
                tasks.close()
            self._tasks.clear()
            for queue in self._consumed_private:
                self.broker.delete(queue)
        super().close()


def _not_found(what: str, name: str) -> ChannelError:
    return ChannelError(f"NOT_FOUND - no {what} {name!r}", (50, 10), "Channel.declare", "404")
