"""The bodies of requests that many scripts send."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from eventlog.kafka.protocol import NO_UUID, ApiKey
from tests.kafka.differential.talk import Connection, Talk

UNKNOWN_ID = UUID("11111111-2222-3333-4444-555555555555")
ILLEGAL_NAMES = ("", ".", "a/b", "\xe4", "x" * 250)


def produce(
    topic: str | tuple[str, UUID],
    partitions: dict[int, bytes | None],
    *,
    acks: int = -1,
    transaction: str | None = None,
) -> dict[str, Any]:
    """A request to produce to one topic, by name and, from version 13 on, by id."""
    name, topic_id = topic if isinstance(topic, tuple) else (topic, NO_UUID)
    parts = [{"index": number, "records": records} for number, records in partitions.items()]
    return {
        "transactional_id": transaction,
        "acks": acks,
        "timeout_ms": 10_000,
        "topic_data": [{"name": name, "topic_id": topic_id, "partition_data": parts}],
    }


def fetch(
    topic: str | tuple[str, UUID],
    partitions: dict[int, int],
    *,
    isolation: int = 0,
    max_wait_ms: int = 0,
    min_bytes: int = 1,
    max_bytes: int = 1 << 24,
    partition_max_bytes: int = 1 << 20,
    session: tuple[int, int] = (0, -1),
    **of_partitions: Any,
) -> dict[str, Any]:
    """A request to fetch from offsets of one topic, without a session."""
    name, topic_id = topic if isinstance(topic, tuple) else (topic, NO_UUID)
    parts = [
        {"partition": number, "fetch_offset": offset, "partition_max_bytes": partition_max_bytes, **of_partitions}
        for number, offset in partitions.items()
    ]
    return {
        "replica_id": -1,
        "max_wait_ms": max_wait_ms,
        "min_bytes": min_bytes,
        "max_bytes": max_bytes,
        "isolation_level": isolation,
        "session_id": session[0],
        "session_epoch": session[1],
        "topics": [{"topic": name, "topic_id": topic_id, "partitions": parts}],
    }


def list_offsets(topic: str, times: dict[int, int], *, isolation: int = 0, **of_partitions: Any) -> dict[str, Any]:
    """A request for the offsets of times in some partitions of one topic."""
    parts = [{"partition_index": number, "timestamp": time, **of_partitions} for number, time in times.items()]
    topics = [{"name": topic, "partitions": parts}]
    return {"replica_id": -1, "isolation_level": isolation, "topics": topics, "timeout_ms": 10_000}


def show(connection: Connection, label: str, topic: str, partitions: int = 2) -> None:
    """Take down all that a topic holds, and its bounds."""
    connection.ask(f"{label}: all records", ApiKey.FETCH, fetch(topic, dict.fromkeys(range(partitions), 0)))
    for name, time in (("first", -2), ("end", -1)):
        connection.ask(
            f"{label}: {name}", ApiKey.LIST_OFFSETS, list_offsets(topic, dict.fromkeys(range(partitions), time))
        )


def fill(talk: Talk, topic: str, *batches: bytes, partition: int = 0) -> None:
    """Produce batches to a partition, one after the other."""
    with talk.aside() as connection:
        for data in batches:
            answer = connection.quietly(ApiKey.PRODUCE, produce(topic, {partition: data}))
            code = answer["responses"][0]["partition_responses"][0]["error_code"]
            if code:
                raise ValueError(f"script {talk.script}: a batch was refused with error {code}")
