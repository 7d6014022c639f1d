"""
librdkafka's own mock broker, with as many partitions as a row wants.

`test.mock.num.brokers` makes topics of four partitions and has no setting for it, so we call the C functions that
it calls itself, in the library that confluent-kafka brings along. The broker is a thread of this process and keeps
its records in memory (the last 5 MB of a partition).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from benchmarks.measure import Skipped

_PRODUCER_TYPE = 0


def load_confluent() -> ModuleType:
    """The `confluent_kafka` module, or `Skipped` with what to install."""
    try:
        import confluent_kafka
    except ImportError as error:
        raise Skipped("confluent-kafka is not installed; run: pip install confluent-kafka") from error
    return confluent_kafka


@contextmanager
def mock_broker(partitions_by_topic: Mapping[str, int], *, first_rebalance_ms: int = 3_000) -> Iterator[str]:
    """
    Runs a mock cluster of one broker with these topics; gives its address.

    Args:
        first_rebalance_ms: how long the first member of a group waits for others (`group.initial.rebalance.delay.ms`).

    Raises:
        Skipped: confluent-kafka is missing, or its library is not where its wheels put it. Nothing was started.
    """
    library = _library(load_confluent())
    reason = ctypes.create_string_buffer(512)
    handle = library.rd_kafka_new(_PRODUCER_TYPE, _silent(library), reason, len(reason))
    if not handle:
        raise Skipped(f"librdkafka gave no handle: {reason.value.decode()}")
    cluster = library.rd_kafka_mock_cluster_new(handle, 1)
    try:
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, first_rebalance_ms)
        for topic, partitions in partitions_by_topic.items():
            if library.rd_kafka_mock_topic_create(cluster, topic.encode(), partitions, 1) != 0:
                raise Skipped(f"the mock broker refused topic {topic!r} with {partitions} partitions")
        yield library.rd_kafka_mock_cluster_bootstraps(cluster).decode()
    finally:
        library.rd_kafka_mock_cluster_destroy(cluster)
        library.rd_kafka_destroy(handle)


def _silent(library: ctypes.CDLL) -> int:
    """A configuration that keeps the handle, which never connects anywhere, from saying so."""
    configuration: int = library.rd_kafka_conf_new()
    library.rd_kafka_conf_set(configuration, b"log_level", b"0", None, 0)
    return configuration


def _library(confluent: ModuleType) -> ctypes.CDLL:
    """The loaded librdkafka with the types of the functions we call."""
    libraries = Path(str(confluent.__file__)).parent.parent / "confluent_kafka.libs"
    found = sorted(libraries.glob("librdkafka*"))
    if not found:
        raise Skipped(f"no librdkafka in {libraries}; install confluent-kafka from a Linux wheel")
    library = ctypes.CDLL(str(found[0]))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    signatures: dict[str, tuple[object, list[object]]] = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_set": (number, [pointer, text, text, text, ctypes.c_size_t]),
        "rd_kafka_new": (pointer, [number, pointer, text, ctypes.c_size_t]),
        "rd_kafka_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_new": (pointer, [pointer, number]),
        "rd_kafka_mock_cluster_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_topic_create": (number, [pointer, text, number, number]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
