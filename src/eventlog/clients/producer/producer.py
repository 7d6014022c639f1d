"""
The producer: sends records without waiting for the disk.

`send` is the hottest call of the library; how it avoids locks is told in `clients/producer/accumulator.py`, what each
step costs in docs/decisions/0004-send-path.md. Knows nothing of transactions on disk.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from zlib import crc32

from eventlog.accelerators import accelerated_method
from eventlog.api.overriding import override
from eventlog.api.producer import Delivery, Producer
from eventlog.api.topic import Topic
from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import TARGET_BYTES
from eventlog.batches.partitioners import crc32 as crc32_partitioner
from eventlog.batches.partitioners import murmur2 as murmur2_partitioner
from eventlog.clients.delivery import ROW_WIDTH, EmbeddedDelivery
from eventlog.clients.producer.accumulator import SMALL_BYTES, TOKEN_BASE, Accumulator
from eventlog.clients.producer.batch import PartitionBuffer, ProducerBatch
from eventlog.clients.producer.sender import Sender
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.clients.topic_handle import TopicHandle
from eventlog.options import (
    HeadersInput,
    check_columns,
    check_headers,
    check_int,
    check_message_id,
    check_producer_name,
    check_seconds,
    check_timestamp_ms,
)
from eventlog.store.store import Store

if TYPE_CHECKING:  # most producers have no name: `import eventlog` is fast
    from eventlog.clients.producer.idempotence import ProducerEpoch


class _SendPath:
    """A topic as `send` needs it: everything one attribute away."""

    __slots__ = (
        "encode_key",
        "encode_value",
        "is_crc32",
        "is_murmur2",
        "lanes",
        "partition_count",
        "partition_of",
        "plain_key",
        "plain_value",
        "raw_key",
        "raw_value",
        "route",
        "small_bytes",
        "sticky",
    )

    def __init__(self, route: TopicHandle, accumulator: Accumulator) -> None:
        row = route.row
        self.route = route
        self.lanes = accumulator.lanes(row)
        self.partition_count = row.partitions
        self.partition_of = route.partition_of
        self.is_crc32 = route.partition_of is crc32_partitioner
        self.is_murmur2 = route.partition_of is murmur2_partitioner
        self.raw_key = route.key_codec.raw_type
        self.raw_value = route.value_codec.raw_type
        self.plain_key = route.key_codec.plain_type
        self.plain_value = route.value_codec.plain_type
        self.encode_key = route.key_codec.encode
        self.encode_value = route.value_codec.encode
        self.small_bytes = min(
            SMALL_BYTES if row.index is None else route.max_key_bytes // 2 - 1, row.max_record_bytes // 2
        )
        self.sticky = route.keyless_partition(row.partitions)

    def lane_of(self, key: bytes | None) -> PartitionBuffer:
        """The lane of a record; without a key that of the next partition in turn."""
        count = self.partition_count
        if key is None:
            self.sticky = self.route.keyless_partition(count)
            return self.lanes[self.sticky]
        return self.lanes[0 if count == 1 else self.partition_of(key, count)]

    def grow(self, stored: StoredTopic) -> None:
        """Uses more partitions from now on; their lanes must be there before, since `send` takes no lock."""
        self.route.learn(stored)
        self.partition_count = max(self.partition_count, stored.partitions)


class EmbeddedProducer(Producer):
    """The embedded producer: see `eventlog.Producer`."""

    # The accelerator of `send` reads a slot, and nothing else.
    __slots__ = ("__dict__", "__weakref__", "_routes")

    def __init__(
        self,
        store: Store,
        open_topic: Callable[[str], EmbeddedTopic[Any, Any]],
        *,
        name: str | None,
        linger: float,
        batch_bytes: int,
        max_buffered_bytes: int,
        max_block: float,
    ) -> None:
        checked_name = None if name is None else check_producer_name(name)
        linger = check_seconds("linger", linger)
        batch_bytes = check_int("batch_bytes", batch_bytes, least=1024, most=TARGET_BYTES)
        max_buffered_bytes = check_int("max_buffered_bytes", max_buffered_bytes, least=TARGET_BYTES)
        max_block = check_seconds("max_block", max_block)
        self._name = checked_name
        self._session: ProducerEpoch | None = None
        if name is not None:
            from eventlog.clients.producer.idempotence import ProducerEpoch

            self._session = ProducerEpoch(store, name)
        self._store = store
        self._open_topic = open_topic
        self._routes: dict[object, _SendPath] = {}
        self._is_closed = False
        accumulator = Accumulator(
            store,
            linger=linger,
            batch_bytes=batch_bytes,
            max_buffered_bytes=max_buffered_bytes,
            max_block=max_block,
            make_batch=ProducerBatch if self._session is None else self._session.batch,
        )
        self._accumulator = accumulator
        self._sender = Sender(accumulator, store)
        accumulator.on_gone = partial(_forget_topic, self._routes)
        accumulator.on_grown = partial(_grow_topic, self._routes)
        self._finalizer = weakref.finalize(self, self._sender.abandon)
        self._finalizer.atexit = False
        store.on_fork(self)

    @property
    @override
    def name(self) -> str | None:
        return self._name

    @accelerated_method(
        "SendMethod", route=_SendPath, lane=PartitionBuffer, batch=ProducerBatch, delivery=EmbeddedDelivery
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
        try:
            route = self._routes[topic]
        except KeyError:
            route = self._open_route(topic)
        if type(value) is not route.raw_value:
            value = route.encode_value(value)
        if key is None:
            lane = route.lanes[route.sticky]
        else:
            if type(key) is not route.raw_key:
                key = route.encode_key(key)
            count = route.partition_count
            if count == 1:
                lane = route.lanes[0]
            elif route.is_crc32:
                lane = route.lanes[crc32(key) % count]
            else:
                lane = route.lanes[route.partition_of(key, count)]
        batch = lane.batch
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
            if len(rows) == place + ROW_WIDTH and lane.batch is batch:
                return EmbeddedDelivery((batch, place))
            return self._accumulator.settle_late(lane, batch, rows, token)
        return self._send_with_care(route, lane, key, value, headers, partition, timestamp_ms, message_id)

    def _send_with_care(
        self,
        route: _SendPath,
        lane: PartitionBuffer,
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
            lane = route.lanes[partition]
        elif len(lane.batch.rows) >= lane.batch.limit:
            has_grown = self._accumulator.is_idle and self._look_again(route)
            if has_grown or key is None:
                lane = route.lane_of(key)
        return self._accumulator.add(
            lane,
            key,
            value,
            size_bytes=size_bytes,
            headers=checked_headers,
            timestamp_ms=timestamp_ms,
            message_id=checked_id,
        )

    def _look_again(self, route: _SendPath) -> bool:
        """
        Whether somebody gave the topic more partitions while nothing of ours was under way.

        Who is busy does not look, which would cost `send` more than its records do: the next commit tells it.
        """
        self._accumulator.check_usable()
        stored = self._store.topic(route.route.row.name)
        if stored is None or stored.id != route.route.row.id or stored.partitions <= route.partition_count:
            return False
        self._grow(route, stored)
        return True

    def _grow(self, route: _SendPath, stored: StoredTopic) -> None:
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
        nothing = [None] * len(values)
        times = [timestamps_ms] * len(values) if isinstance(timestamps_ms, int) else timestamps_ms
        rows = zip(values, keys or nothing, headers or nothing, times or nothing, strict=True)
        return [
            send(topic, value, key=key, headers=pairs, partition=partition, timestamp_ms=moment)
            for value, key, pairs, moment in rows
        ]

    @override
    def flush(self, timeout: float | None = None) -> None:
        self._accumulator.flush(timeout)

    @override
    def close(self, timeout: float | None = None) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._routes.clear()
            self._finalizer.detach()
            self._sender.end(timeout)

    def _after_fork(self) -> None:
        """Is of no use in the child; the sender leaves the records to the parent."""
        self._is_closed = True
        self._routes.clear()
        self._finalizer.detach()

    def _open_route(self, topic: str | Topic[Any, Any]) -> _SendPath:
        self._accumulator.check_usable()
        handle = self._open_topic(topic) if isinstance(topic, str) else topic
        if not isinstance(handle, EmbeddedTopic):
            raise TypeError(f"a topic is its name or a Topic, not {type(topic).__name__}. The record was not taken.")
        handle._check_store(self._store)
        handle._route.learn(handle._route.look())
        with self._accumulator.lock:
            named = self._routes.get(topic)
            if named is None:
                named = _SendPath(handle._route, self._accumulator)
                self._routes[topic] = named
            return named

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _forget_topic(routes: dict[object, _SendPath], topic: StoredTopic) -> None:
    """Has the next `send` look again for a topic that was deleted: another may have its name by now."""
    for name, route in list(routes.items()):
        if route.route.row.id == topic.id:
            routes.pop(name, None)


def _grow_topic(routes: dict[object, _SendPath], stored: StoredTopic) -> None:
    """Has the next `send` know of new partitions, whatever name it calls the topic by."""
    for route in list(routes.values()):
        if route.route.row.id == stored.id:
            route.grow(stored)
