"""
Columns of records as a user gives them: checked, and put into partitions.

Pure: every backend's `append_many` begins here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from eventlog.backend.topics import StoredTopic
from eventlog.batches.partitioners import part_columns, partition_column
from eventlog.clients.topic_handle import TopicHandle
from eventlog.options import HeadersInput, check_column, check_headers, check_int, check_message_id, check_timestamp_ms
from eventlog.records import Headers


class Columns:
    """Records as they were given, some or all of them."""

    __slots__ = ("headers", "keys", "message_ids", "timestamps_ms", "values")

    def __init__(
        self,
        keys: Sequence[Any] | None,
        values: Sequence[Any],
        timestamps_ms: int | Sequence[int],
        headers: Sequence[Headers] | None,
        message_ids: Sequence[bytes | None] | None,
    ) -> None:
        self.keys = keys
        self.values = values
        self.timestamps_ms = timestamps_ms
        self.headers = headers
        self.message_ids = message_ids

    @property
    def is_plain(self) -> bool:
        """Whether there are only keys and values, and one time for all."""
        return isinstance(self.timestamps_ms, int) and self.headers is None and self.message_ids is None

    def ids(self) -> Iterator[tuple[int, bytes]]:
        """The places of the records that have a message id, and the ids."""
        return ((index, one) for index, one in enumerate(self.message_ids or ()) if one is not None)

    def taken(self, places: Sequence[int]) -> Columns:
        """Some of the records."""
        times = self.timestamps_ms
        return Columns(
            None if self.keys is None else [self.keys[place] for place in places],
            [self.values[place] for place in places],
            times if isinstance(times, int) else [times[place] for place in places],
            None if self.headers is None else [self.headers[place] for place in places],
            None if self.message_ids is None else [self.message_ids[place] for place in places],
        )


Placed: TypeAlias = "list[tuple[int, Columns, Sequence[int]]]"
"""The records of each partition, with their places in the columns that were given, where they have ids."""


def place_columns(handle: TopicHandle, row: StoredTopic, columns: Columns, partition: int | None) -> Placed:
    """
    The records of each partition of a topic as it is in `row`: of the one asked for, or by key.

    Records without a key go to one partition, the next in turn.
    """
    if partition is not None or row.partitions == 1 or columns.keys is None:
        chosen = handle.partition(None, partition, row.partitions)
        return [(chosen, columns, range(len(columns.values)))]
    keyless = handle.keyless_partition(row.partitions)
    if columns.is_plain:
        parts = part_columns(
            columns.keys, columns.values, row.partitions, handle.partition_of, keyless, handle.key_codec.plain_type
        )
        if parts is not None:
            times = columns.timestamps_ms
            return [(number, Columns(keys, values, times, None, None), ()) for number, keys, values in parts]
    encoded = handle.encode_keys(columns.keys)
    places: dict[int, list[int]] = {}
    for index, number in enumerate(partition_column(encoded, row.partitions, handle.partition_of, keyless)):
        places.setdefault(number, []).append(index)
    return [(number, columns.taken(some), some) for number, some in sorted(places.items())]


# -- checks --------------------------------------------------------------------------------------------------


def same_key(keys: Sequence[Any] | None, key: object, count: int) -> Sequence[Any] | None:
    """The column of keys, when `key=` is the key of all records."""
    if key is None:
        return keys
    if keys is not None:
        raise ValueError(
            "key= is the key of all records and keys= has one for each: give one of them. Nothing was stored."
        )
    return [key] * count


def check_header_column(headers: Sequence[HeadersInput | None] | None) -> Sequence[Headers] | None:
    """The headers of each record; None when no record has any."""
    column = None if headers is None else [check_headers(pairs) for pairs in headers]
    return column if column is not None and any(column) else None


def check_times(timestamps_ms: int | Sequence[int]) -> int | Sequence[int]:
    """One timestamp for all records, or one for each."""
    if isinstance(timestamps_ms, int):
        return check_timestamp_ms(timestamps_ms)
    return [check_timestamp_ms(moment) for moment in timestamps_ms]


def check_message_ids(message_ids: Iterable[str | bytes | None] | None, count: int) -> list[bytes | None] | None:
    """The message ids as bytes; None when no record has one."""
    if message_ids is None:
        return None
    column = check_column("message_ids", message_ids)
    if len(column) != count:
        raise ValueError(
            f"message_ids has {len(column)} entries and values has {count}. Nothing was stored. Give one for each "
            "value, or None."
        )
    identities = [None if one is None else check_message_id(one) for one in column]
    return identities if any(identities) else None


def check_expected(row: StoredTopic, expected_version: object, key: bytes | None) -> int:
    """The expected version, when the topic counts versions and there is a key to count them for."""
    version = check_int("expected_version", expected_version, least=0)
    if row.index is None:
        raise ValueError(
            f"topic {row.name!r} counts no versions: it was made without an index. Nothing was stored. Make a topic "
            f'with log.topic(..., index="key"), or leave expected_version= out.'
        )
    if key is None:
        raise ValueError(
            "expected_version= is the version of one key, and there is none. Nothing was stored. Pass key=."
        )
    return version
