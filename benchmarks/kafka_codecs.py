"""
The codecs of Kafka's protocol beside kio: what a listener decodes and encodes for every request of a client.

`python -m benchmarks.kafka_codecs` prints CPU time for each message, and what the first use of a codec costs. kio
decodes in Rust and encodes in Python. The messages: a Produce request of one batch of 16 KiB, a Fetch response of four
partitions with such a batch each, and a Metadata response of ten topics with twelve partitions.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from typing import Any

import attrs
from kio.index import load_payload_module
from kio.serial import entity_reader, entity_writer
from kio.static.constants import EntityType

from eventlog.kafka import protocol
from eventlog.kafka.protocol import ApiKey, Codec
from eventlog.kafka.protocol.schema import load

RECORDS = bytes(16_384)
_ROUNDS = 7


def produce_request() -> dict[str, Any]:
    """One batch for one partition."""
    partitions = [{"index": 0, "records": RECORDS}]
    return {"acks": -1, "timeout_ms": 30_000, "topic_data": [{"name": "topic-0", "partition_data": partitions}]}


def fetch_response() -> dict[str, Any]:
    """One batch of each of four partitions."""
    partitions = [
        {
            "partition_index": number,
            "high_watermark": 1_000,
            "last_stable_offset": 1_000,
            "log_start_offset": 0,
            "aborted_transactions": None,
            "records": RECORDS,
        }
        for number in range(4)
    ]
    return {"responses": [{"topic": "topic-0", "partitions": partitions}]}


def metadata_response() -> dict[str, Any]:
    """Ten topics of twelve partitions."""
    partitions = [
        {"partition_index": number, "leader_id": 1, "replica_nodes": [1], "isr_nodes": [1], "offline_replicas": []}
        for number in range(12)
    ]
    topics = [{"name": f"topic-{number}", "partitions": partitions} for number in range(10)]
    brokers = [{"node_id": 1, "host": "127.0.0.1", "port": 9092}]
    return {"brokers": brokers, "cluster_id": "cluster", "controller_id": 1, "topics": topics}


@attrs.frozen
class Case:
    """One message in one version."""

    api_key: ApiKey
    version: int
    kind: EntityType
    build: Callable[[], dict[str, Any]]

    @property
    def name(self) -> str:
        """The message by Kafka's name."""
        return f"{protocol.APIS[self.api_key].name}{self.kind.name.capitalize()}"


CASES = (
    Case(ApiKey.PRODUCE, 11, EntityType.request, produce_request),
    Case(ApiKey.FETCH, 12, EntityType.response, fetch_response),
    Case(ApiKey.METADATA, 12, EntityType.response, metadata_response),
)


def cpu_us(call: Callable[[], object], count: int) -> float:
    """CPU time of one call in microseconds, of the best round."""
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.process_time_ns()
        for _ in range(count):
            call()
        best = min(best, time.process_time_ns() - began)
    return best / count / 1000


def first_use_us(name: str, version: int, direction: str) -> float:
    """CPU time of the first use of a codec in microseconds: to read the definition, and to generate and compile."""

    def make() -> None:
        load.cache_clear()
        Codec(name, version)._compiled(direction)

    return cpu_us(make, 5)


def measure(case: Case) -> None:
    """Print the lines of one message."""
    codec = protocol.codec(case.name, case.version)
    built = case.build()
    data = b"".join(codec.encode(built))
    entity_type = getattr(load_payload_module(case.api_key, case.version, case.kind), case.name)
    read, write = entity_reader(entity_type), entity_writer(entity_type)
    entity, _ = read(data, 0)
    count = 200 if case.api_key == ApiKey.METADATA else 4_000
    title = f"{case.name} {case.version}"
    pairs: tuple[tuple[str, Callable[[], object], Callable[[], object]], ...] = (
        ("decode", lambda: codec.decode(data), lambda: read(data, 0)),
        ("encode", lambda: codec.encode(built), lambda: write(io.BytesIO(), entity)),
    )
    for what, ours, theirs in pairs:
        mine, other = cpu_us(ours, count), cpu_us(theirs, count)
        print(f"{title:26} {what:16} {mine:6.1f} us {other:6.1f} us {other / mine:6.2f}")
    print(f"{title:26} {'build and encode':16} {cpu_us(lambda: codec.encode(case.build()), count):6.1f} us")
    for direction in ("decode", "encode"):
        cost = first_use_us(case.name, case.version, direction)
        print(f"{title:26} first {direction:10} {cost:6.0f} us")


def main() -> int:
    """Print the table."""
    print(f"{'message':26} {'what':16} {'ours':>9} {'kio':>9} {'ratio':>6}")
    for case in CASES:
        measure(case)
    return 0


if __name__ == "__main__":
    sys.exit(main())
