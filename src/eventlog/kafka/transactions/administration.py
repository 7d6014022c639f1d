"""The handlers of those who look at transactions: ListTransactions, DescribeTransactions, DescribeProducers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from eventlog.errors import EventLogError
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.groups.consumer.patterns import refusal_of
from eventlog.kafka.groups.offsets import find_topic
from eventlog.kafka.listener.failures import code_of
from eventlog.kafka.listener.slices import in_slices
from eventlog.kafka.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from eventlog.backend.kafka_transactions import ProducerView, TransactionView
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

_STATES: Final = frozenset(
    [
        *("Empty", "Ongoing", "PrepareCommit", "PrepareAbort"),
        *("CompleteCommit", "CompleteAbort", "Dead", "PrepareEpochFence"),
    ]
)
"""Kafka's states; ours have no Prepare, because a transaction ends in one commit."""


def list_transactions(broker: Broker, request: Request) -> dict[str, Any]:
    """Name the transactional ids, all or those that filters let through."""
    body = request.body
    states, producers = set(body["state_filters"]), set(body["producer_id_filters"])
    least_ms, pattern = body["duration_filter"], body["transactional_id_pattern"]
    if pattern and refusal_of(pattern) is not None:
        return {"error_code": ErrorCode.INVALID_REGULAR_EXPRESSION}
    wanted = re.compile(pattern) if pattern else None
    unknown = sorted(states - _STATES)
    if states and not states & _STATES:
        return {"error_code": ErrorCode.NONE, "unknown_state_filters": unknown}
    now_ms = broker.backend.clock.now_ms()
    found = [
        one
        for one in broker.backend.kafka_transactions()
        if (not states or one.state in states)
        and (not producers or one.producer_id in producers)
        and (least_ms < 0 or (one.started_ms >= 0 and now_ms - one.started_ms > least_ms))
        and (wanted is None or wanted.fullmatch(one.transactional_id))
    ]
    return {
        "error_code": ErrorCode.NONE,
        "unknown_state_filters": unknown,
        "transaction_states": [
            {
                "transactional_id": one.transactional_id,
                "producer_id": one.producer_id,
                "transaction_state": one.state,
            }
            for one in found
        ],
    }


@in_slices("transactional_ids", "transaction_states")
def describe_transactions(broker: Broker, request: Request) -> dict[str, Any]:
    """Describe transactional ids, each with the partitions of its open transaction."""
    return {"transaction_states": [_described(broker, name) for name in request.body["transactional_ids"]]}


def _described(broker: Broker, name: str) -> dict[str, Any]:
    if not name:
        return _unknown(name, ErrorCode.INVALID_REQUEST)
    found = broker.backend.kafka_transaction(name)
    if found is None:
        return _unknown(name, ErrorCode.TRANSACTIONAL_ID_NOT_FOUND)
    return {
        "error_code": ErrorCode.NONE,
        "transactional_id": name,
        "transaction_state": found.state,
        "transaction_timeout_ms": found.timeout_ms,
        "transaction_start_time_ms": found.started_ms,
        "producer_id": found.producer_id,
        "producer_epoch": found.epoch,
        "topics": _topics(found),
    }


def _unknown(name: str, code: ErrorCode) -> dict[str, Any]:
    return {
        "error_code": code,
        "transactional_id": name,
        "transaction_state": "",
        "transaction_timeout_ms": 0,
        "transaction_start_time_ms": 0,
        "producer_id": 0,
        "producer_epoch": 0,
        "topics": [],
    }


def _topics(found: TransactionView) -> list[dict[str, Any]]:
    topics: dict[str, list[int]] = {}
    for name, _, partition in found.partitions:
        topics.setdefault(name, []).append(partition)
    return [{"topic": name, "partitions": sorted(partitions)} for name, partitions in sorted(topics.items())]


def describe_producers(broker: Broker, request: Request) -> dict[str, Any]:
    """Name the producers that partitions know, and where their open transactions begin."""
    asked = [(one, *find_topic(broker, one, by_id=False)) for one in request.body["topics"]]
    there = {
        (topic.id, number)
        for one, topic, _ in asked
        if topic is not None
        for number in one["partition_indexes"]
        if 0 <= number < topic.partitions
    }
    failed, known = ErrorCode.NONE, dict[tuple[int, int], list[dict[str, int]]]()
    try:
        views = broker.backend.kafka_producers(there)
        known = {place: [_producer(one) for one in found] for place, found in views.items()}
    except unless_interrupted(EventLogError) as error:
        failed = code_of(error)
    topics = []
    for one, topic, missing in asked:
        partitions = []
        for number in one["partition_indexes"]:
            code = missing
            if topic is not None:
                code = failed if 0 <= number < topic.partitions else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            producers = [] if topic is None else known.get((topic.id, number), [])
            partitions.append(
                {
                    "partition_index": number,
                    "error_code": code,
                    "error_message": None,
                    "active_producers": producers,
                }
            )
        topics.append({"name": one["name"], "partitions": partitions})
    return {"topics": topics}


def _producer(one: ProducerView) -> dict[str, int]:
    return {
        "producer_id": one.producer_id,
        "producer_epoch": one.epoch,
        "last_sequence": one.last_sequence,
        "last_timestamp": one.last_ms,
        "coordinator_epoch": one.coordinator_epoch,
        "current_txn_start_offset": one.transaction_first,
    }
