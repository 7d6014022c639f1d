"""
The same key always finds the same partition, and the one where Kafka's clients would put it.

The golden values come from confluent-kafka's `murmur2` and from librdkafka's `consistent`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.batches.partitioners import (
    PARTITIONERS,
    crc32,
    murmur2,
    partition_column,
    partitioner_for,
    partitioner_from_stored,
)
from eventlog.errors import FormatTooNew, TopicMismatch

MURMUR2_OF_12 = [
    (b"", 9),
    (b"a", 4),
    (b"ab", 2),
    (b"abc", 3),
    (b"abcd", 8),
    (b"21", 0),
    (b"foobar", 6),
    (b"user-1", 8),
    (b"user-2", 8),
    (b"order-42", 0),
    (b"\xff\x00", 7),
    (b"\x80" * 7, 7),
    ("gr\u00fcn".encode(), 5),
    (b"k" * 128, 3),
    (b"k" * 129, 3),
]

CRC32_OF_12 = [
    (b"", 0),
    (b"a", 3),
    (b"user-1", 8),
    (b"user-2", 10),
    (b"order-42", 10),
    (b"\xff\x00", 9),
    (b"k" * 129, 3),
]


def by_length(key: bytes, partitions: int) -> int:
    """Stands for a function of the caller's."""
    return len(key) % partitions


def by_first_byte(key: bytes, partitions: int) -> int:
    """Stands for another one."""
    return key[0] % partitions


def always_twelve(key: bytes, partitions: int) -> int:
    """Stands for one that looks beyond the partitions."""
    return 12


def always_minus_one(key: bytes, partitions: int) -> int:
    """Stands for one that forgot that a hash can be negative."""
    return -1


def a_fraction(key: bytes, partitions: int) -> float:
    """Stands for one that forgot to divide whole numbers."""
    return len(key) / partitions


def a_truth(key: bytes, partitions: int) -> bool:
    """Stands for one that answers a question instead."""
    return True


class Region:
    """Stands for a partitioner that is an object."""

    def __call__(self, key: bytes, partitions: int) -> int:
        return 0

    @staticmethod
    def of(key: bytes, partitions: int) -> int:
        return 1


@pytest.mark.parametrize(("key", "partition"), MURMUR2_OF_12)
def test_murmur2_puts_keys_where_kafkas_java_client_does(key: bytes, partition: int) -> None:
    """The second call is answered from memory and says the same."""
    assert [murmur2(key, 12), murmur2(key, 12)] == [partition, partition]


def test_murmur2_is_positive_murmur2() -> None:
    """The sign bit is cut off, as Kafka does; taking the absolute value would give other partitions."""
    assert murmur2(b"abcd", 2**31 - 1) == 823_834_100
    assert murmur2(b"user-2", 2**31 - 1) == 1_822_501_856


@pytest.mark.parametrize(("key", "partition"), CRC32_OF_12)
def test_crc32_puts_keys_where_librdkafka_does(key: bytes, partition: int) -> None:
    """The default partitioner is librdkafka's `consistent`."""
    assert crc32(key, 12) == partition


@given(st.binary(max_size=300), st.integers(1, 1000))
def test_named_partitioners_stay_within_the_partitions(key: bytes, partitions: int) -> None:
    """Any key has a partition, whatever their number."""
    for function in PARTITIONERS.values():
        assert 0 <= function(key, partitions) < partitions


def test_crc32_is_the_default() -> None:
    """Who declares nothing gets the fast one."""
    assert partitioner_for(None) == ("crc32", crc32)


@pytest.mark.parametrize("name", ["crc32", "murmur2"])
def test_named_partitioners_are_found_by_name_and_by_function(name: str) -> None:
    """Declaring the function of a named partitioner is declaring its name."""
    function = PARTITIONERS[name]
    assert partitioner_for(name) == partitioner_for(function) == (name, function)


def test_a_function_is_stored_by_module_and_name() -> None:
    """The stored name tells a reader where to look for the function."""
    name, function = partitioner_for(by_length)
    assert name == f"custom:{__name__}.by_length"
    assert function(b"12345", 4) == 1


def test_a_static_method_has_a_lasting_name() -> None:
    """The name includes the class."""
    name, function = partitioner_for(Region.of)
    assert name == f"custom:{__name__}.Region.of"
    assert function(b"", 4) == 1


def _inner() -> Callable[[bytes, int], int]:
    def inside(key: bytes, partitions: int) -> int:
        return 0

    return inside


@pytest.mark.parametrize(
    "declared",
    [lambda key, partitions: 0, _inner(), functools.partial(by_length), Region()],
    ids=["lambda", "inner function", "partial", "object"],
)
def test_a_function_without_a_lasting_name_is_refused(declared: Callable[[bytes, int], int]) -> None:
    """Two lambdas share a name; a topic could not tell them apart, and keys would move."""
    with pytest.raises(ValueError, match=r"not defined at the top level.*Nothing was stored\. Declare a function"):
        partitioner_for(declared)


def test_an_unknown_name_is_refused() -> None:
    """The message lists what there is."""
    with pytest.raises(ValueError, match=r"no partitioner 'random'.*\"crc32\", \"murmur2\" or a function"):
        partitioner_for("random")


def test_what_can_not_be_called_is_refused() -> None:
    """A number is neither a name nor a function."""
    with pytest.raises(TypeError, match=r"cannot be int.*\"crc32\", \"murmur2\" or a function"):
        partitioner_for(12)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [always_twelve, always_minus_one])
def test_a_result_beyond_the_partitions_is_refused(wrong: Callable[[bytes, int], int]) -> None:
    """A record cannot be put where no partition is."""
    _, function = partitioner_for(wrong)
    with pytest.raises(ValueError, match=rf"{wrong.__name__} returned (12|-1) for 12 partitions.*Return 0 to 11"):
        function(b"k", 12)


@pytest.mark.parametrize("wrong", [a_fraction, a_truth])
def test_a_result_that_is_no_whole_number_is_refused(wrong: Callable[[bytes, int], int]) -> None:
    """A bool would pass as 0 or 1, and is a mistake all the same."""
    _, function = partitioner_for(wrong)
    with pytest.raises(TypeError, match=rf"{wrong.__name__} returned (float|bool) for 12 partitions.*Return an int"):
        function(b"k", 12)


@pytest.mark.parametrize("name", ["crc32", "murmur2"])
def test_a_stored_name_opens_with_nothing_declared_or_the_same(name: str) -> None:
    """Who opens a topic need not repeat how it was created."""
    expected = (name, PARTITIONERS[name])
    assert partitioner_from_stored(name, None) == expected
    assert partitioner_from_stored(name, name) == expected


def test_a_stored_function_opens_with_the_same_function() -> None:
    """It is recognised by its name."""
    name, function = partitioner_from_stored(f"custom:{__name__}.by_length", by_length)
    assert (name, function(b"12345", 4)) == (f"custom:{__name__}.by_length", 1)


@pytest.mark.parametrize(
    ("stored", "declared"),
    [
        ("crc32", "murmur2"),
        ("crc32", by_length),
        (f"custom:{__name__}.by_length", "crc32"),
        (f"custom:{__name__}.by_length", by_first_byte),
    ],
)
def test_another_partitioner_than_the_stored_is_a_mismatch(
    stored: str, declared: str | Callable[[bytes, int], int]
) -> None:
    """Keys would move to other partitions; the message names both."""
    declared_name, _ = partitioner_for(declared)
    with pytest.raises(TopicMismatch) as caught:
        partitioner_from_stored(stored, declared, topic="orders")
    message = str(caught.value)
    assert f"'{declared_name}'" in message
    assert f"'{stored}'" in message
    assert "topic 'orders'" in message
    assert "unchanged" in message


def test_a_topic_with_a_function_of_its_own_opens_without_it() -> None:
    """Reading needs no partitioner; placing a key raises, and says what would help."""
    stored = "custom:shop.by_region"
    name, function = partitioner_from_stored(stored, None, topic="orders")
    assert name == stored
    with pytest.raises(TopicMismatch, match=r"'orders'.*'custom:shop\.by_region'.*Nothing was stored.*partition="):
        function(b"k", 12)


def test_a_stored_name_from_the_future_asks_for_an_upgrade() -> None:
    """A partitioner we do not know is not a mistake of the caller's."""
    with pytest.raises(FormatTooNew, match=r"the topic: its partitioner is 'xxhash'.*Upgrade"):
        partitioner_from_stored("xxhash", None)


@pytest.mark.parametrize("function", [crc32, murmur2, by_length])
@given(keys=st.lists(st.none() | st.binary(max_size=20)), partitions=st.integers(4, 20))
def test_a_column_is_placed_as_its_keys_one_by_one(
    function: Callable[[bytes, int], int], keys: list[bytes | None], partitions: int
) -> None:
    """The fast ways give what the plain one gives; keyless records go where the caller says."""
    plain = [3 if key is None else function(key, partitions) for key in keys]
    assert partition_column(keys, partitions, function, 3) == plain
    assert partition_column(keys, partitions, function, lambda: 3) == plain


def test_keyless_records_of_a_column_may_each_go_elsewhere() -> None:
    """What places records without a key is asked once for each of them, in order."""
    places = iter([1, 2])
    assert partition_column([None, b"user-1", None], 12, crc32, lambda: next(places)) == [1, 8, 2]
