"""
Metadata: the nodes, and the topics with their partitions, which are created when a client may ask for that.

Every listener of a log leads all partitions: what one stores the others read at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from eventlog.errors import EventLogError, InvalidTopicName
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.listener.failures import code_of
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.options import check_topic_name

if TYPE_CHECKING:
    from eventlog.backend.topics import StoredTopic
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

LEADER_EPOCH: Final = 0
"""The epoch of every partition's leader: none of them ever moves."""
_NO_ID: Final = UUID(int=0)
_BY_ID_SINCE: Final = 12
_TOPIC_OPERATIONS: Final = 0b1101_1111_1000
_CLUSTER_OPERATIONS: Final = 0b1_1111_1010_0000
"""What a client may do to a topic and to the cluster where nobody is refused: Kafka's numbers of operations as bits."""


def metadata(broker: Broker, request: Request) -> dict[str, Any] | Awaitable[dict[str, Any]]:
    """Describe the nodes, and the topics that were asked for, or all."""
    asked = request.body["topics"]
    if asked is None or (not asked and request.version == 0):
        return _answer(broker, request, [_described(broker, request, topic) for topic in broker.backend.topics()])
    asked = _distinct(asked)
    refused = [topic for topic in asked if not _is_askable(topic, request.version)]
    if refused:  # not one of the others is described either, as with Kafka
        return {"topics": [_refused(topic) for topic in asked], "controller_id": -1}
    missing = [] if not _may_create(broker, request) else _missing(broker, asked)
    if missing:
        return _create(broker, request, asked, missing)
    return _answer(broker, request, _asked(broker, request, asked))


def _distinct(asked: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Topics as a request or an answer has them, each once."""
    return list({(topic["name"], topic.get("topic_id", _NO_ID)): topic for topic in asked}.values())


def _is_askable(topic: dict[str, Any], version: int) -> bool:
    """Whether a version can ask for a topic so: by an id from version 12 on, though two before it have the field."""
    topic_id = topic.get("topic_id", _NO_ID)
    return version >= _BY_ID_SINCE if topic_id != _NO_ID else topic["name"] is not None


def _refused(topic: dict[str, Any]) -> dict[str, Any]:
    name, topic_id = topic["name"] or "", topic.get("topic_id", _NO_ID)
    return {"error_code": ErrorCode.INVALID_REQUEST, "name": name, "topic_id": topic_id, "partitions": []}


def _may_create(broker: Broker, request: Request) -> bool:
    return broker.options.auto_create_topics and bool(request.body.get("allow_auto_topic_creation", True))


def _missing(broker: Broker, asked: Sequence[dict[str, Any]]) -> list[str]:
    """The valid names of topics that are not there; Kafka's own topics are none of ours."""
    names = dict.fromkeys(topic["name"] for topic in asked if topic.get("topic_id", _NO_ID) == _NO_ID)
    return [
        name for name in names if _is_valid(name) and not name.startswith("__") and broker.backend.topic(name) is None
    ]


def _is_valid(name: str) -> bool:
    try:
        check_topic_name(name)
    except unless_interrupted(InvalidTopicName):
        return False
    return True


async def _create(
    broker: Broker, request: Request, asked: Sequence[dict[str, Any]], missing: Sequence[str]
) -> dict[str, Any]:
    """Create topics, and describe all that were asked for; what cannot be created has its own error."""
    creations = [broker.create_topic(name) for name in missing]
    outcomes = await asyncio.gather(*creations, return_exceptions=True)
    failed: dict[str, ErrorCode] = {}
    for name, outcome in zip(missing, outcomes, strict=True):
        if isinstance(outcome, EventLogError):
            failed[name] = code_of(outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
    return _answer(broker, request, _asked(broker, request, asked, failed))


def _asked(
    broker: Broker, request: Request, asked: Sequence[dict[str, Any]], failed: dict[str, ErrorCode] | None = None
) -> list[dict[str, Any]]:
    return _distinct([_one(broker, request, topic, failed or {}) for topic in _distinct(asked)])


def _one(broker: Broker, request: Request, asked: dict[str, Any], failed: dict[str, ErrorCode]) -> dict[str, Any]:
    name, topic_id = asked["name"], asked.get("topic_id", _NO_ID)
    if topic_id != _NO_ID:  # the name does not count
        topic = broker.topic_of_id(topic_id)
        if topic is None:
            return {"error_code": ErrorCode.UNKNOWN_TOPIC_ID, "name": None, "topic_id": topic_id, "partitions": []}
        return _described(broker, request, topic)
    name = name or ""
    topic = broker.backend.topic(name) if _is_valid(name) else None
    if topic is not None:
        return _described(broker, request, topic)
    if not _is_valid(name):
        code = ErrorCode.INVALID_TOPIC_EXCEPTION
    else:
        code = failed.get(name, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    return {"error_code": code, "name": name, "topic_id": _NO_ID, "partitions": []}


def _described(broker: Broker, request: Request, topic: StoredTopic) -> dict[str, Any]:
    node = [broker.node_id]
    described: dict[str, Any] = {
        "name": topic.name,
        "topic_id": topic.uuid,
        "is_internal": False,
        "partitions": [
            {
                "partition_index": number,
                "leader_id": broker.node_id,
                "leader_epoch": LEADER_EPOCH,
                "replica_nodes": node,
                "isr_nodes": node,
                "offline_replicas": [],
            }
            for number in range(topic.partitions)
        ],
    }
    if request.body.get("include_topic_authorized_operations"):
        described["topic_authorized_operations"] = _TOPIC_OPERATIONS
    return described


def _answer(broker: Broker, request: Request, topics: list[dict[str, Any]]) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "brokers": broker.nodes(),
        "cluster_id": broker.cluster_id,
        "controller_id": broker.controller_id,
        "topics": topics,
    }
    if request.body.get("include_cluster_authorized_operations"):
        answer["cluster_authorized_operations"] = _CLUSTER_OPERATIONS
    return answer
