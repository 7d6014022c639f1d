"""
The way of a record into a topic: its codecs, its partition, its bounds.

Shared by `Topic`, which stores at once, and `Producer`, which batches. Knows nothing of their bytes.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from eventlog.backend import Backend
from eventlog.backend.records import wrong_version
from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import Compressors
from eventlog.batches.partitioners import partitioner_from_stored
from eventlog.codecs import Upcasters, codec_from_stored
from eventlog.errors import KeyRequired, RecordTooLarge, UnknownPartition, WrongVersion
from eventlog.options import check_int
from eventlog.records import Headers

if TYPE_CHECKING:
    from eventlog.batches.compression import Compressor


class TopicHandle:
    """
    A topic as a writer sees it.

    Any thread may use it. `row` is the topic as it was stored when somebody last looked: others may have raised its
    number of partitions since, so what is stored has the last word (`store/records/topics.py`).
    """

    def __init__(
        self,
        row: StoredTopic,
        backend: Backend,
        *,
        key: object = None,
        value: object = None,
        partitioner: str | Callable[[bytes, int], int] | None = None,
        snapshot: object = None,
        upcasters: Upcasters | None = None,
    ) -> None:
        self.row = row
        self.look: Callable[[], StoredTopic | None] = partial(backend.topic, row.name)
        """Reads the topic as it is stored now, None when it was deleted."""
        self.max_key_bytes = backend.max_key_bytes
        self._index_key_bytes = backend.index_key_bytes
        self.key_codec = codec_from_stored(row.key, key, topic=row.name, role="key")
        self.value_codec = codec_from_stored(row.value, value, topic=row.name, role="value", upcasters=upcasters)
        self.snapshot = snapshot
        self.partitioner_name, self.partition_of = partitioner_from_stored(row.partitioner, partitioner, topic=row.name)
        self._keyless = itertools.count()
        self._compressors = Compressors()

    def learn(self, stored: StoredTopic | None) -> StoredTopic:
        """
        Takes over what is stored when it has more partitions, or is compressed otherwise.

        None and other topics of the name teach nothing.
        """
        row = self.row
        if stored is not None and stored.id == row.id and stored.partitions >= row.partitions:
            if stored.partitions > row.partitions or stored.compression != row.compression:
                self.row = stored
        return self.row

    @property
    def compressor(self) -> Compressor | None:
        """
        The compressor of its batches, None if they are not compressed.

        Raises:
            MissingLibrary: the library is not installed.
        """
        row = self.row
        return self._compressors.of(row.id, row.compression, row.name)

    def with_key(self, error: WrongVersion) -> WrongVersion:
        """The same error with the key instead of its bytes."""
        key = self.key_codec.decode(error.key) if isinstance(error.key, bytes) else error.key
        clear = wrong_version(self.row.name, key, error.expected, error.actual)
        clear.__suppress_context__ = True
        return clear

    def partition(self, key: bytes | None, partition: int | None, count: int) -> int:
        """The partition of a record among `count`: the one asked for, that of its key, or the next in turn."""
        if partition is not None:
            return self.check_partition(partition)
        if count == 1:
            return 0
        if key is None:
            return self.keyless_partition(count)
        return self.partition_of(key, count)

    def keyless_partition(self, count: int) -> int:
        """The next partition in turn, among `count`."""
        return next(self._keyless) % count

    def check_partition(self, partition: int) -> int:
        """The number, when the topic has such a partition; looks at what is stored before it says no."""
        check_int("partition", partition, least=0)
        if partition >= self.row.partitions and partition >= self.learn(self.look()).partitions:
            raise UnknownPartition(
                f"topic {self.row.name!r} has no partition {partition}: it has {self.row.partitions}, from 0 to "
                f"{self.row.partitions - 1}.",
                stored="Nothing was changed.",
                advice="Pass one of them, or leave partition= out.",
                topic=self.row.name,
                partition=partition,
            )
        return partition

    def check_size(self, key: bytes | None, value: bytes | None, headers: Headers = ()) -> int:
        """The size of a record in bytes, when the topic's bound allows it."""
        row = self.row
        if key is None and row.compaction.by is not None:
            self.refuse_keyless()
        if row.index is not None and key is not None and 2 * len(key) > self.max_key_bytes:
            self._check_indexed(key)
        size = (0 if key is None else len(key)) + (0 if value is None else len(value))
        for name, content in headers:
            size += len(name.encode()) + len(content or b"")
        if size > row.max_record_bytes:
            raise RecordTooLarge(
                f"cannot append a record of {size} bytes to topic {self.row.name!r}: its bound is "
                f"{self.row.max_record_bytes} bytes of key, value and headers.",
                stored="Nothing was stored.",
                advice="Send less, or create the topic with a larger max_record_bytes=.",
                topic=self.row.name,
            )
        return size

    def refuse_keyless(self) -> NoReturn:
        """Raise the error for a record without a key, which a compacted topic would keep without end."""
        name = self.row.name
        raise KeyRequired(
            f"cannot append a record without a key to topic {name!r}: it is compacted, which keeps the newest record "
            "of each key.",
            stored="Nothing was stored.",
            advice="Pass key=, or append to a topic without compaction=.",
            topic=name,
        )

    @property
    def small_bytes(self) -> int:
        """The size below which no key and no value can be too large, so that `check_size` need not be asked."""
        if self.row.compaction.by is not None:
            return 0  # whether there is a key is asked of each
        bound = self.row.max_record_bytes // 2
        return bound if self.row.index is None else min(bound, self.max_key_bytes // 2 - 1)

    def size_together(self, keys: Sequence[bytes | None] | None, values: Sequence[bytes | None]) -> int:
        """
        The size of several records without headers in bytes.

        Raises:
            ValueError, TypeError: if one of them is to be looked at alone, by `check_size`.
        """
        if self.row.compaction.by is not None:
            raise ValueError("whether there is a key is asked of each")
        sizes = list(map(len, values))  # type: ignore[arg-type]  # None raises TypeError
        if keys is not None:
            key_sizes = list(map(len, keys))  # type: ignore[arg-type]
            if self.row.index is not None and 2 * max(key_sizes, default=0) > self.max_key_bytes:
                raise ValueError("a key may be too long for the index")
            sizes = list(map(operator.add, sizes, key_sizes))
        if max(sizes, default=0) > self.row.max_record_bytes:
            raise ValueError("a record is too large")
        return sum(sizes)

    def _check_indexed(self, key: bytes) -> None:
        """Raises when a key is too long for an index; one of half the length cannot be."""
        if self._index_key_bytes(key) > self.max_key_bytes:
            raise RecordTooLarge(
                f"cannot append a record with a key of {len(key)} bytes to topic {self.row.name!r}: it has an index, "
                f"whose keys have at most {self.max_key_bytes} bytes, a zero byte counting as two.",
                stored="Nothing was stored.",
                advice="Hash the key, or shorten it.",
                topic=self.row.name,
            )

    def encode_values(self, values: Sequence[Any]) -> Sequence[bytes | None]:
        """A column of values as bytes."""
        encoded: Sequence[bytes | None] = self.value_codec.encode_column(values)
        return encoded

    def encode_keys(self, keys: Sequence[Any]) -> Sequence[bytes | None]:
        """A column of keys as bytes."""
        encoded: Sequence[bytes | None] = self.key_codec.encode_column(keys)
        return encoded

    def check_each(self, keys: Sequence[Any] | None, values: Sequence[Any]) -> None:
        """Raises the codec's `TypeError` for the first key or value that does not fit."""
        for codec, column in ((self.key_codec, keys or ()), (self.value_codec, values)):
            for item in column:
                codec.encode(item)


def check_library(compression: str, purpose: str) -> None:
    """Raise `MissingLibrary` if the library of a compression is not installed; `purpose` is what needs it."""
    from eventlog.batches.compression import library

    library(compression, purpose)
