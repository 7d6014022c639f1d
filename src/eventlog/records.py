"""The values that users receive: records, one by one or in columns, and the place where each was stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import repeat
from typing import Any, Generic, TypeVar, get_type_hints

import attrs

from eventlog.accelerators import accelerated
from eventlog.clock import from_ms
from eventlog.named_tuples import NamedTuple

K = TypeVar("K")
V = TypeVar("V")

Headers = tuple[tuple[str, bytes | None], ...]
"""The headers of one record: names may repeat, order is kept, a value may be absent."""


def publish(value: Any) -> None:
    """
    Have a class or function say that it is of `eventlog`.

    What asks for the types of an attrs class (`typing.get_type_hints`, cattrs) would look for their names there; so
    they are looked up before.
    """
    if attrs.has(value):
        types = get_type_hints(value)
        value.__annotations__ = {name: types[name] for name in value.__annotations__}
    value.__module__ = "eventlog"


class TopicPartition(NamedTuple):
    """
    One partition of one topic.

    A plain `(topic, partition)` pair works everywhere too.

    Example:
        >>> TopicPartition("orders", 3) == ("orders", 3)
        True
    """

    topic: str
    partition: int


# Not frozen: a frozen class of seven fields takes 2.8 times as long to build, and building records is most of
# what consuming costs (docs/decisions/0002-record-class.md).
@attrs.define(slots=True, weakref_slot=False)
class Record(Generic[K, V]):
    """
    One record as a consumer receives it.

    It holds its own copy of the data. Treat it as immutable; nothing enforces that.

    `headers` is a tuple of `(name, value)` pairs. A tombstone has the value None, a record without a key the key
    None.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     meta = log.topic("orders").append(b"tea", key=b"alice")
        ...     record = next(log.topic("orders").read())
        >>> record.key, record.value, record.offset
        (b'alice', b'tea', 0)
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: K
    value: V
    headers: Headers = ()

    @property
    def time(self) -> datetime:
        """The record's timestamp as a `datetime` in UTC."""
        return from_ms(self.timestamp_ms)


@attrs.define(slots=True, weakref_slot=False)
class Event(Record[K, V]):
    """
    One record of a topic with an index, found by its key.

    `version` is its number among the records of that key, from 1; `log_position` is its place in the order of the
    whole log (`EventLog.read_all`).

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     accounts = log.topic("accounts", key=str, index="key")
        ...     meta = accounts.append(b"opened", key="alice", expected_version=0)
        ...     event = accounts.latest("alice")
        >>> event.value, event.version, event.log_position
        (b'opened', 1, 0)
    """

    version: int = 0
    log_position: int = 0


@attrs.frozen
class Snapshot(Generic[V]):
    """
    A saved state of one key, and the version of the last record it includes.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     accounts = log.topic("accounts", key=str, index="key")
        ...     meta = accounts.append(b"opened", key="alice")
        ...     accounts.save_snapshot("alice", {"balance": 0}, version=1)
        ...     snapshot = accounts.snapshot("alice")
        >>> snapshot.state, snapshot.version
        ({'balance': 0}, 1)
    """

    state: V
    version: int
    timestamp_ms: int


# Not frozen, for the same reason: every append makes one.
@attrs.define(slots=True, weakref_slot=False, unsafe_hash=True)
class RecordMetadata:
    """
    The place where one record was stored.

    Treat it as immutable; nothing enforces that.

    `log_position` is its place in the order of the whole log (`EventLog.read_all`), None when the backend has no such
    order. `version` is its number among the records of its key when the topic has an index, else None.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     log.topic("orders").append(b"tea").offset
        0
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    log_position: int | None = None
    version: int | None = None


@attrs.frozen
class PartitionRange:
    """
    The offsets under which a column of records was stored in one partition: `first` to `end`, `end` exclusive.

    `log_position` is the place of the first of them in the order of the whole log; the others follow it. It is None
    when the backend has no such order.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     log.topic("orders").append_many([b"tea", b"milk"])
        [PartitionRange(topic='orders', partition=0, first=0, end=2, log_position=0)]
    """

    topic: str
    partition: int
    first: int
    end: int
    log_position: int | None = None


@accelerated("RecordMaker", Record)
def _make_records(topic: str, partition: int, *columns: Sequence[Any]) -> list[Record[Any, Any]]:
    """The records of some columns: offsets, times, keys, values and headers."""
    if len(set(map(len, columns))) > 1:
        raise ValueError("the columns differ in length")
    return list(map(Record, repeat(topic), repeat(partition), *columns))


@attrs.define(slots=True, weakref_slot=False, eq=False)
class RecordBatch(Generic[K, V]):
    """
    Consecutive records of one partition in columns, without an object for each record.

    All columns have the same length and order. This is the fastest way to read: `batch.values` is the very
    sequence that was decoded.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     ranges = log.topic("orders").append_many([b"tea", b"milk"], keys=[b"a", b"b"])
        ...     batch = next(log.topic("orders").read_batches())
        >>> list(batch.keys), list(batch.values), list(batch.offsets)
        ([b'a', b'b'], [b'tea', b'milk'], [0, 1])
    """

    topic: str
    partition: int
    offsets: Sequence[int]
    timestamps_ms: Sequence[int]
    keys: Sequence[K]
    values: Sequence[V]
    headers: Sequence[Headers]

    def __len__(self) -> int:
        return len(self.values)

    def records(self) -> list[Record[K, V]]:
        """Return the same records as objects, in order."""
        return _make_records(
            self.topic, self.partition, self.offsets, self.timestamps_ms, self.keys, self.values, self.headers
        )

    def slice(self, start: int, stop: int) -> RecordBatch[K, V]:
        """Return the records from index `start` to `stop` (exclusive) as a batch of their own."""
        if start == 0 and stop >= len(self.values):
            return self
        part = slice(start, stop)
        return RecordBatch(
            self.topic,
            self.partition,
            self.offsets[part],
            self.timestamps_ms[part],
            self.keys[part],
            self.values[part],
            self.headers[part],
        )
