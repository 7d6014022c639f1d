"""
The producer: sends records without waiting for the disk.

`send` is the hottest call of the library; `clients/producer/accumulator.py` describes how it avoids locks, and
docs/decisions/0004-send-path.md what each step costs.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any
from zlib import crc32

from eventlog.accelerators import accelerated_method
from eventlog.api.overriding import override
from eventlog.api.producer import Delivery, Producer
from eventlog.api.topic import Topic
from eventlog.backend import Backend, refusal
from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import TARGET_BYTES
from eventlog.clients.delivery import ROW_WIDTH, EmbeddedDelivery
from eventlog.clients.producer.accumulator import TOKEN_BASE, Accumulator
from eventlog.clients.producer.batch import PartitionBuffer, ProducerBatch
from eventlog.clients.producer.handoff import Handoff
from eventlog.clients.producer.send_path import SendPath
from eventlog.clients.producer.sender import Sender
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.options import (
    HeadersInput,
    check_columns,
    check_headers,
    check_int,
    check_message_id,
    check_producer_name,
    check_seconds,
    check_timestamp_ms,
    records_of,
)


class EmbeddedProducer(Producer):
    """The embedded producer: see `eventlog.Producer`."""

    # The accelerator of `send` reads a slot, and nothing else.
    __slots__ = ("__dict__", "__weakref__", "_routes")

    def __init__(
        self,
        backend: Backend,
        open_topic: Callable[[str], EmbeddedTopic[Any, Any]],
        *,
        name: str | None = None,
        linger: float = 0.005,
        batch_bytes: int = TARGET_BYTES,
        max_buffered_bytes: int = 32 << 20,
        max_block: float = 60.0,
        is_loops: bool = False,
    ) -> None:
        self._name = None if name is None else check_producer_name(name)
        linger = check_seconds("linger", linger)
        batch_bytes = check_int("batch_bytes", batch_bytes, least=1024, most=TARGET_BYTES)
        max_buffered_bytes = check_int("max_buffered_bytes", max_buffered_bytes, least=TARGET_BYTES)
        max_block = check_seconds("max_block", max_block)
        if backend.is_read_only:
            raise refusal("make a producer", backend)
        self._backend = backend
        self._open_topic = open_topic
        self._routes: dict[object, SendPath] = {}
        self._opened: SendPath | None = None
        """The path that was looked at for the record in hand."""
        self._is_closed = self._is_closing = False
        handoff = Handoff(is_loops=is_loops)
        self._accumulator = Accumulator(
            backend,
            handoff,
            self._routes,
            linger=linger,
            batch_bytes=batch_bytes,
            max_buffered_bytes=max_buffered_bytes,
            max_block=max_block,
            producer=None if name is None else backend.begin_producer(name),
        )
        self._sender = Sender(backend, self._accumulator, handoff)
        self._finalizer = weakref.finalize(self, self._sender.abandon)
        self._finalizer.atexit = False
        backend.on_fork(self)

    @property
    @override
    def name(self) -> str | None:
        return self._name

    @accelerated_method(
        "SendMethod", route=SendPath, buffer=PartitionBuffer, batch=ProducerBatch, delivery=EmbeddedDelivery
    )
    @override
    def send(
        self,
        topic: str | Topic[Any, Any],
        value: Any = None,
        *,
        key: Any = None,
        headers: HeadersInput | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        message_id: str | bytes | None = None,
    ) -> Delivery:
        route = self._routes.get(topic)
        if route is None:
            route = self._open_route(topic)
        if type(value) is not route.raw_value:
            value = route.encode_value(value)
        if key is None:
            buffer = route.buffers[route.sticky]
        else:
            if type(key) is not route.raw_key:
                key = route.encode_key(key)
            count = route.partition_count
            if count == 1:
                buffer = route.buffers[0]
            elif route.is_crc32:
                buffer = route.buffers[crc32(key) % count]
            else:
                buffer = route.buffers[route.partition_of(key, count)]
        batch = buffer.batch
        rows = batch.rows
        place = len(rows)
        if (
            place < batch.limit
            and headers is None
            and partition is None
            and timestamp_ms is None
            and message_id is None
            and value is not None
            and len(value) < route.small_bytes
            and (key is None or len(key) < route.small_bytes)
        ):
            token = place + TOKEN_BASE
            rows += (key, value, token)
            if len(rows) == place + ROW_WIDTH and buffer.batch is batch:
                return EmbeddedDelivery((batch, place))
            return self._accumulator.settle_late(buffer, batch, rows, token)
        return self._send_with_care(route, buffer, key, value, headers, partition, timestamp_ms, message_id)

    def _send_with_care(
        self,
        route: SendPath,
        buffer: PartitionBuffer,
        key: bytes | None,
        value: bytes | None,
        headers: HeadersInput | None,
        partition: int | None,
        timestamp_ms: int | None,
        message_id: str | bytes | None,
    ) -> Delivery:
        checked_headers = check_headers(headers)
        size_bytes = route.route.check_size(key, value, checked_headers)
        checked_id = None if message_id is None else check_message_id(message_id)
        if timestamp_ms is not None:
            check_timestamp_ms(timestamp_ms)
        if partition is not None:
            route.route.check_partition(partition)
            if partition >= route.partition_count:
                self._grow(route, route.route.row)
            buffer = route.buffers[partition]
        elif len(buffer.batch.rows) >= buffer.batch.limit:
            count = route.partition_count
            opened, self._opened = self._opened, None
            if route is not opened and self._accumulator.is_idle:
                self._look_again(route)
            if key is None or route.partition_count > count:
                buffer = route.buffer_of(key)
        return self._accumulator.add(
            buffer,
            key,
            value,
            size_bytes=size_bytes,
            headers=checked_headers,
            timestamp_ms=timestamp_ms,
            message_id=checked_id,
        )

    def _look_again(self, route: SendPath) -> None:
        """
        Learn whether somebody gave the topic more partitions while nothing of ours was under way.

        A busy producer does not look, which would cost `send` more than its records do: the next commit tells it.
        """
        self._accumulator.check_usable()
        stored = route.route.look()
        if stored is not None and stored.id == route.route.row.id and stored.partitions > route.partition_count:
            self._grow(route, stored)

    def _grow(self, route: SendPath, stored: StoredTopic) -> None:
        self._accumulator.grow(stored)
        route.grow(stored)  # it is not among the others any more if the topic was deleted meanwhile

    @override
    def send_many(
        self,
        topic: str | Topic[Any, Any],
        values: Iterable[Any],
        *,
        keys: Iterable[Any] | None = None,
        headers: Iterable[HeadersInput | None] | None = None,
        partition: int | None = None,
        timestamps_ms: int | Iterable[int] | None = None,
    ) -> list[Delivery]:
        values, keys, headers, timestamps_ms = check_columns(values, keys, headers, timestamps_ms)
        send = self.send
        if headers is None and timestamps_ms is None and partition is None:
            if keys is None:
                return [send(topic, value) for value in values]
            return [send(topic, value, key=key) for value, key in zip(values, keys, strict=True)]
        return [
            send(topic, value, key=key, headers=pairs, partition=partition, timestamp_ms=moment)
            for value, key, pairs, moment in records_of(values, keys, headers, timestamps_ms)
        ]

    @override
    def flush(self, timeout: float | None = None) -> None:
        self._accumulator.flush(timeout)

    @override
    def close(self, timeout: float | None = None) -> None:
        if self._is_closing or (self._is_closed and self._sender.has_ended):
            return
        if self._is_interrupted:
            self._close_later()
            return
        self._is_closed = self._is_closing = True
        try:
            self._routes.clear()
            self._sender.end(timeout)
        finally:
            self._is_closing = False
            if self._sender.has_ended:  # an interruption may have come before
                self._finalizer.detach()

    @property
    def _is_interrupted(self) -> bool:
        """Whether this very thread is in the middle of one of our calls."""
        return self._accumulator.is_interrupted()

    def _close_later(self) -> None:
        """Take no more records, and have the sender thread store the others: a signal handler waits for nothing."""
        self._accumulator.refuse_closed()
        self._routes.clear()
        self._sender.abandon_later()

    def _after_fork(self) -> None:
        """End the producer in the child; the sender leaves the records to the parent."""
        self._is_closed = True
        self._routes.clear()
        self._finalizer.detach()

    def _open_route(self, topic: str | Topic[Any, Any]) -> SendPath:
        self._accumulator.check_usable()
        known = self._accumulator.resting.pop(topic, None)
        if known is not None and self._is_current(known):
            self._routes[topic] = self._opened = known
            return known
        handle = self._open_topic(topic) if isinstance(topic, str) else topic
        if not isinstance(handle, EmbeddedTopic):
            raise TypeError(f"a topic is its name or a Topic, not {type(topic).__name__}. The record was not taken.")
        handle._check_store(self._backend)
        handle._route.learn(handle._route.look())
        if handle._route.row.compression is not None:
            _ = handle._route.compressor  # now, and not when the first batch is full: is its library installed?
        with self._accumulator.lock:
            if not isinstance(topic, str):
                self._accumulator.handle_ids.add(handle._route.row.id)
            named = self._routes.get(topic)
            if named is None:
                self._sender.start()
                named = SendPath(handle._route, self._accumulator.buffers(handle._route.row))
                self._routes[topic] = named
            self._opened = named
            return named

    def _is_current(self, path: SendPath) -> bool:
        """Whether the topic of a name is still the same, or is gone, which the commit tells; learns of partitions."""
        stored = path.route.look()
        if stored is not None and stored.partitions > path.partition_count and stored.id == path.route.row.id:
            self._grow(path, stored)
        return stored is None or stored.id == path.route.row.id

    def __repr__(self) -> str:
        name = "" if self._name is None else f" {self._name!r}"
        return f"<Producer{name}: {'closed' if self._is_closed else 'open'}>"
