"""
Partitioners: functions from a key to a partition.

A key must go to the same partition for as long as the topic lives, from every sender, so the name of the partitioner is
stored with the topic. Kafka's clients have the two named ones too: their producers put a key into the same partition.

The producer chooses the partition of a record without a key; an empty key is a key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from struct import unpack_from
from types import MappingProxyType
from typing import Any, TypeAlias
from zlib import crc32 as _crc32

from eventlog.accelerators import accelerated, compiled
from eventlog.errors import FormatTooNew, TopicMismatch
from eventlog.options import CUSTOM_PREFIX, custom_name

Partitioner: TypeAlias = Callable[[bytes, int], int]
"""A function from a key and the number of partitions to a partition."""

DEFAULT_PARTITIONER = "crc32"

# The cache of murmur2 is bounded in keys and in bytes per key: 5 MB at most.
_CACHED_KEYS_COUNT = 16_384
_CACHED_KEY_BYTES = 128


def crc32(key: bytes, partitions: int) -> int:
    """
    Return the partition that librdkafka's `consistent` partitioner would choose.

    This is the default, and the fastest.

    Example:
        >>> crc32(b"user-1", 12)
        8
    """
    return _crc32(key) % partitions


def murmur2(key: bytes, partitions: int) -> int:
    """
    Return the partition that Kafka's Java client would choose by default.

    Without the accelerator it takes microseconds for a key that was not used recently.

    Example:
        >>> murmur2(b"order-42", 12)
        0
    """
    if len(key) > _CACHED_KEY_BYTES:
        return _positive_murmur2(key) % partitions
    return _cached_murmur2(key) % partitions


PARTITIONERS: Mapping[str, Partitioner] = MappingProxyType({"crc32": crc32, "murmur2": murmur2})
"""The partitioners that can be declared by name."""


def partitioner_for(declared: str | Partitioner | None) -> tuple[str, Partitioner]:
    """
    Return the name to store and the function to call for a declared partitioner.

    A function of the caller is stored as "custom:" with its module and qualified name. Lambdas and functions inside
    functions are refused: the next process could not find them, and two of them can share a name and would then split
    keys that belong together. The results of the function are checked at each call.

    Raises:
        ValueError: no partitioner has that name, or the function is not at the top level of a module.
        TypeError: `declared` is neither a name nor a function.

    Example:
        >>> name, function = partitioner_for("murmur2")
        >>> name, function(b"user-1", 12)
        ('murmur2', 8)
    """
    if declared is None:
        declared = DEFAULT_PARTITIONER
    if isinstance(declared, str):
        if declared not in PARTITIONERS:
            raise ValueError(
                f"there is no partitioner {declared[:60]!r}. Nothing was stored. "
                f'Declare "crc32", "murmur2" or a function of (key, partitions).'
            )
        return declared, PARTITIONERS[declared]
    for name, function in PARTITIONERS.items():
        if declared is function:
            return name, function
    if not callable(declared):
        raise TypeError(
            f"a partitioner cannot be {type(declared).__name__}. Nothing was stored. "
            f'Declare "crc32", "murmur2" or a function of (key, partitions).'
        )
    stored = custom_name("partitioner", declared, "topic")
    return stored, _checked(declared, stored)


def partitioner_from_stored(
    name: str, declared: str | Partitioner | None, *, topic: str | None = None
) -> tuple[str, Partitioner]:
    """
    Return the stored name and the function to call for a topic that exists.

    A topic with a custom partitioner can be opened without it, to read or to send to a partition by number; the
    function returned then raises TopicMismatch when called.

    Args:
        name: the result of `partitioner_for` when the topic was created.
        declared: the caller's declaration; None opens what is stored.
        topic: the topic's name, used in messages.

    Raises:
        TopicMismatch: `declared` differs from what is stored. The topic is unchanged.
        FormatTooNew: a newer eventlog stored a partitioner that this one does not know. The topic is unchanged.
        ValueError, TypeError: as for `partitioner_for`.
    """
    where = "the topic" if topic is None else f"topic {topic!r}"
    if name not in PARTITIONERS and not name.startswith(CUSTOM_PREFIX):
        raise FormatTooNew(
            f"cannot open {where}: its partitioner is {name!r}, which this version of eventlog does not know.",
            stored="The topic is unchanged.",
            advice="Upgrade eventlog.",
            topic=topic,
        )
    if declared is None:
        return name, PARTITIONERS[name] if name in PARTITIONERS else _missing(name, where)
    declared_name, function = partitioner_for(declared)
    if declared_name != name:
        raise TopicMismatch(
            f"cannot open {where} with partitioner {declared_name!r}: it was created with {name!r}, and its keys "
            "would change their partitions.",
            stored="The topic is unchanged.",
            advice="Leave partitioner= out to open what is stored.",
            topic=topic,
        )
    return name, function


def partition_column(
    keys: Sequence[bytes | None],
    partitions: int,
    function: Partitioner,
    keyless: Callable[[], int] | int,
) -> list[int]:
    """
    Return the partition of every key.

    Args:
        keys: a column of encoded keys.
        partitions: the topic's number of partitions.
        function: as returned by `partitioner_for`.
        keyless: the partition of records without a key, or a function to call for each of them.

    Example:
        >>> partition_column([b"user-1", None, b"user-2"], 12, crc32, 3)
        [8, 3, 10]
    """
    if not isinstance(keyless, int):
        return [keyless() if key is None else function(key, partitions) for key in keys]
    if function is crc32:
        return [keyless if key is None else _crc32(key) % partitions for key in keys]
    return [keyless if key is None else function(key, partitions) for key in keys]


def part_columns(
    keys: Sequence[Any],
    values: Sequence[Any],
    partitions: int,
    function: Partitioner,
    keyless: int,
    key_type: type | None,
) -> list[tuple[int, list[Any], list[Any]]] | None:
    """
    Split records by partition: return each partition that gets any, with its keys and values in order.

    Returns None without the accelerator, or if it does not support the arguments; use `partition_column` then.

    Args:
        keys: a column of keys that are not encoded yet.
        key_type: bytes or str if keys of exactly this type are encoded as themselves or as UTF-8; else None.
    """
    if compiled is None or key_type is None or (function is not crc32 and function is not murmur2):
        return None
    return _part_columns(keys, values, partitions, function is murmur2, keyless, key_type)


@accelerated("part_columns")
def _part_columns(
    _keys: Sequence[Any],
    _values: Sequence[Any],
    _partitions: int,
    _is_murmur2: bool,  # noqa: FBT001
    _keyless: int,
    _key_type: type,
) -> list[tuple[int, list[Any], list[Any]]] | None:
    """In Python always None: there `partition_column` places the keys of every column, after they are encoded."""
    return None


def _checked(function: Partitioner, name: str) -> Partitioner:
    """Wrap a function of the caller so that a wrong result raises before anything is sent."""

    def checked(key: bytes, partitions: int) -> int:
        partition: object = function(key, partitions)
        if not isinstance(partition, int) or isinstance(partition, bool):
            raise TypeError(
                f"the partitioner {name} returned {type(partition).__name__} for {partitions} "
                f"partitions. Nothing was stored. Return an int."
            )
        if not 0 <= partition < partitions:
            raise ValueError(
                f"the partitioner {name} returned {partition} for {partitions} partitions. "
                f"Nothing was stored. Return 0 to {partitions - 1}."
            )
        return partition

    return checked


def _missing(name: str, where: str) -> Partitioner:
    """Make the stand-in for a custom partitioner that the caller did not pass."""

    def missing(_key: bytes, _partitions: int) -> int:
        raise TopicMismatch(
            f"cannot choose a partition in {where}: it was created with the partitioner {name!r} and opened without "
            "it.",
            stored="Nothing was stored.",
            advice="Open it with partitioner= that function, or send with partition=.",
        )

    return missing


@accelerated("murmur2")
def _positive_murmur2(key: bytes) -> int:
    """Return Kafka's murmur2 of a key, without the sign bit."""
    mask = 0xFFFFFFFF
    multiplier = 0x5BD1E995
    length = len(key)
    mixed = (0x9747B28C ^ length) & mask
    words = length // 4
    for word in unpack_from(f"<{words}I", key):
        stirred = word * multiplier & mask
        mixed = mixed * multiplier & mask ^ (stirred ^ stirred >> 24) * multiplier & mask
    if length % 4:
        rest = int.from_bytes(key[words * 4 :], "little")
        mixed = (mixed ^ rest) * multiplier & mask
    mixed = (mixed ^ mixed >> 13) * multiplier & mask
    return (mixed ^ mixed >> 15) & 0x7FFFFFFF


_cached_murmur2: Callable[[bytes], int] = (
    _positive_murmur2 if compiled is not None else lru_cache(maxsize=_CACHED_KEYS_COUNT)(_positive_murmur2)
)
