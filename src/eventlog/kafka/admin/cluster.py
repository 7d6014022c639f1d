"""
What there is to say of a cluster of one node: DescribeCluster, DescribeLogDirs, leaders and replicas.

Every partition has one replica, on this node, which leads it. So elections are never needed, and no partition moves.
"""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from eventlog.errors import EventLogError, InvalidTopicName
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.admin.configs import message_of
from eventlog.kafka.admin.topics import check_replicas
from eventlog.kafka.listener.config_values import refused
from eventlog.kafka.listener.failures import code_of
from eventlog.kafka.listener.list_offsets import bounds_of
from eventlog.kafka.listener.metadata import LEADER_EPOCH
from eventlog.kafka.protocol import NO_UUID
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.options import check_topic_name

if TYPE_CHECKING:
    from eventlog.backend.topics import StoredTopic
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

_BROKERS, _CONTROLLERS = 1, 2
_ENTITIES: Final = frozenset({"client-id", "ip", "user"})
"""What Kafka can have quotas for."""
_METADATA_TOPIC: Final = "__cluster_metadata"
_ELECTIONS: Final = (0, 1)
"""Of the preferred replica, and of one that may lack records."""
_CLUSTER_OPERATIONS: Final = 0b1_1111_1010_0000
_TOPIC_OPERATIONS: Final = 0b1101_1111_1000
_MOST_PARTITIONS: Final = 2000
"""Kafka's `max.request.partition.size.limit`."""


def describe_cluster(broker: Broker, request: Request) -> dict[str, Any]:
    """Describe the node that there is."""
    kind = request.body["endpoint_type"]
    if kind == _CONTROLLERS:
        why = "This is the endpoint of a broker, and no controller's."
        return {"error_code": ErrorCode.MISMATCHED_ENDPOINT_TYPE, "error_message": why}
    if kind != _BROKERS:
        why = f"There are no endpoints of the kind {kind}."
        return {"error_code": ErrorCode.UNSUPPORTED_ENDPOINT_TYPE, "error_message": why}
    answer: dict[str, Any] = {
        "cluster_id": broker.cluster_id,
        "controller_id": broker.controller_id,
        "brokers": [{"broker_id": node["node_id"], **node} for node in broker.nodes()],
    }
    if request.body["include_cluster_authorized_operations"]:
        answer["cluster_authorized_operations"] = _CLUSTER_OPERATIONS
    return answer


# --- DescribeQuorum ---------------------------------------------------------------------------------------------------


def describe_quorum(broker: Broker, request: Request) -> dict[str, Any]:
    """
    Describe the quorum of the metadata: the controller votes alone, and the other listeners of the log observe.

    Their offsets are the number of the newest commit, which all of them see at once.
    """
    topics = request.body["topics"]
    names = [(topic["topic_name"], [one["partition_index"] for one in topic["partitions"]]) for topic in topics]
    if names != [(_METADATA_TOPIC, [0])]:
        why = f"The metadata of the cluster is partition 0 of {_METADATA_TOPIC}, and asked for alone."
        refusal = {"error_code": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "error_message": why}
        return {
            "topics": [
                {"topic_name": name, "partitions": [{"partition_index": number, **refusal} for number in numbers]}
                for name, numbers in names
            ]
        }
    nodes, (_, commit) = broker.live_nodes(), broker.backend.fetch_stored([], 0)
    now_ms = broker.backend.clock.now_ms()
    seen = {"log_end_offset": commit, "last_fetch_timestamp": now_ms, "last_caught_up_timestamp": now_ms}
    states = [{"replica_id": one.node_id, "replica_directory_id": NO_UUID, **seen} for one in nodes]
    part = {
        "partition_index": 0,
        "leader_id": nodes[0].node_id,
        "leader_epoch": LEADER_EPOCH,
        "high_watermark": commit,
        "current_voters": states[:1],
        "observers": states[1:],
    }
    voter = nodes[0]
    listener = {"name": voter.security, "host": voter.host, "port": voter.port}
    return {
        "topics": [{"topic_name": _METADATA_TOPIC, "partitions": [part]}],
        "nodes": [{"node_id": voter.node_id, "listeners": [listener]}],
    }


# --- DescribeLogDirs --------------------------------------------------------------------------------------------------


def describe_log_dirs(broker: Broker, request: Request) -> Awaitable[dict[str, Any]]:
    """Tell where the log is, and how large its topics are."""
    return broker.read(partial(_describe_log_dirs, broker, request.body["topics"]))


def _describe_log_dirs(broker: Broker, asked: list[dict[str, Any]] | None) -> dict[str, Any]:
    wanted = None if asked is None else {each["topic"]: set(each["partitions"]) for each in asked}
    sizes = {topic.topic: topic.stored_bytes for topic in broker.backend.stats().topics}
    topics = []
    for topic in broker.backend.topics():
        if wanted is None or topic.name in wanted:
            numbers = [n for n in range(topic.partitions) if wanted is None or n in wanted[topic.name]]
            topics.append({"name": topic.name, "partitions": _sizes(broker, topic, numbers, sizes)})
    path = str(broker.log.path)
    found = {"error_code": ErrorCode.NONE, "log_dir": path, "topics": topics}
    try:
        usage = shutil.disk_usage(path)
    except unless_interrupted(OSError):  # it is in memory
        return {"results": [found]}
    return {"results": [{**found, "total_bytes": usage.total, "usable_bytes": usage.free}]}


def _sizes(broker: Broker, topic: StoredTopic, numbers: list[int], sizes: Mapping[str, int]) -> list[dict[str, Any]]:
    """The sizes of partitions: a topic's size is known, and is shared out by the numbers of records."""
    counts = {}
    for number in range(topic.partitions):
        bounds = bounds_of(broker.backend, topic, number)
        counts[number] = bounds.high_watermark - bounds.log_start
    total, stored = sum(counts.values()), sizes.get(topic.name, 0)
    return [
        {
            "partition_index": number,
            "partition_size": stored * counts[number] // total if total else 0,
            "offset_lag": 0,
            "is_future_key": False,
        }
        for number in numbers
    ]


# --- DescribeTopicPartitions ------------------------------------------------------------------------------------------


def describe_topic_partitions(broker: Broker, request: Request) -> dict[str, Any]:
    """Describe topics by their names, a limited number of partitions at a time."""
    body = request.body
    names = sorted({each["name"] for each in body["topics"]}) or [topic.name for topic in broker.backend.topics()]
    cursor = body["cursor"]
    if cursor is not None and cursor["partition_index"] < 0:
        return {"topics": [_missing(name, ErrorCode.INVALID_REQUEST) for name in names], "next_cursor": None}
    left = max(1, min(body["response_partition_limit"], _MOST_PARTITIONS))
    topics: list[dict[str, Any]] = []
    for name in names:
        first = 0
        if cursor is not None:
            if name < cursor["topic_name"]:
                continue
            if name == cursor["topic_name"]:
                first = cursor["partition_index"]
        if left == 0:
            return {"topics": topics, "next_cursor": {"topic_name": name, "partition_index": 0}}
        described, count = _topic_partitions(broker, name, first, left)
        topics.append(described)
        left -= count
        if first + count < broker_partitions(broker, name):
            return {"topics": topics, "next_cursor": {"topic_name": name, "partition_index": first + count}}
    return {"topics": topics, "next_cursor": None}


def broker_partitions(broker: Broker, name: str) -> int:
    """The number of partitions of a topic; 0 of one that is not there."""
    topic = _topic(broker, name)
    return 0 if topic is None else topic.partitions


def _topic(broker: Broker, name: str) -> StoredTopic | None:
    try:
        return broker.backend.topic(name)
    except unless_interrupted(EventLogError, ValueError):
        return None


def _topic_partitions(broker: Broker, name: str, first: int, most: int) -> tuple[dict[str, Any], int]:
    topic = _topic(broker, name)
    if topic is None:
        missing = _missing(name, _code_of_missing(name))
        return {**missing, "topic_authorized_operations": _TOPIC_OPERATIONS}, 0
    node = [broker.node_id]
    numbers = range(first, min(topic.partitions, first + most))
    described = {
        "name": name,
        "topic_id": topic.uuid,
        "is_internal": False,
        "topic_authorized_operations": _TOPIC_OPERATIONS,
        "partitions": [
            {
                "partition_index": number,
                "leader_id": broker.node_id,
                "leader_epoch": LEADER_EPOCH,
                "replica_nodes": node,
                "isr_nodes": node,
                "eligible_leader_replicas": [],
                "last_known_elr": [],
                "offline_replicas": [],
            }
            for number in numbers
        ],
    }
    return described, len(numbers)


def _missing(name: str, code: ErrorCode) -> dict[str, Any]:
    return {"error_code": code, "name": name, "topic_id": NO_UUID, "partitions": []}


def _code_of_missing(name: str) -> ErrorCode:
    try:
        check_topic_name(name)
    except unless_interrupted(InvalidTopicName):
        return ErrorCode.INVALID_TOPIC_EXCEPTION
    return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


# --- leaders and replicas ---------------------------------------------------------------------------------------------


def elect_leaders(broker: Broker, request: Request) -> dict[str, Any]:
    """Answer that no election is needed."""
    asked, kind = request.body["topic_partitions"], request.body["election_type"]
    results = []
    for each in asked or ():
        count = broker_partitions(broker, each["topic"])
        elected = [_elected(kind, number, count) for number in each["partitions"]]
        results.append({"topic": each["topic"], "partition_result": elected})
    code = ErrorCode.NONE if kind in _ELECTIONS else ErrorCode.INVALID_REQUEST
    return {"error_code": code, "replica_election_results": results}


def _elected(kind: int, number: int, count: int) -> dict[str, Any]:
    if kind not in _ELECTIONS:
        return {
            "partition_id": number,
            "error_code": ErrorCode.INVALID_REQUEST,
            "error_message": f"There is no election of the kind {kind}.",
        }
    if 0 <= number < count:
        return {
            "partition_id": number,
            "error_code": ErrorCode.ELECTION_NOT_NEEDED,
            "error_message": "The leader is the only replica.",
        }
    return {
        "partition_id": number,
        "error_code": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        "error_message": f"No such partition as {number}.",
    }


def alter_partition_reassignments(broker: Broker, request: Request) -> dict[str, Any]:
    """Accept that a partition is to be where it is; nothing can be moved, and no move can be cancelled."""
    responses = []
    for each in request.body["topics"]:
        count = broker_partitions(broker, each["name"])
        partitions = [_reassigned(broker, one, count) for one in each["partitions"]]
        responses.append({"name": each["name"], "partitions": partitions})
    return {"error_code": ErrorCode.NONE, "error_message": None, "responses": responses}


def _reassigned(broker: Broker, asked: dict[str, Any], count: int) -> dict[str, Any]:
    number, replicas = asked["partition_index"], asked["replicas"]
    answer = {"partition_index": number, "error_code": ErrorCode.NONE, "error_message": None}
    try:
        if not 0 <= number < count:
            raise refused("There is no such partition.", "UNKNOWN_TOPIC_OR_PARTITION")
        if replicas is None:
            return {**answer, "error_code": ErrorCode.NO_REASSIGNMENT_IN_PROGRESS}
        check_replicas(broker, replicas)
    except unless_interrupted(EventLogError) as error:
        return {**answer, "error_code": code_of(error), "error_message": message_of(error)}
    return answer


def list_partition_reassignments(broker: Broker, request: Request) -> dict[str, Any]:  # noqa: ARG001 - a handler
    """Answer that no partition moves."""
    return {"error_code": ErrorCode.NONE, "error_message": None, "topics": []}


def describe_client_quotas(broker: Broker, request: Request) -> dict[str, Any]:  # noqa: ARG001 - a handler
    """Answer that nobody has a quota; of what there can be none of nothing is known, as with Kafka."""
    kinds = {component["entity_type"] for component in request.body["components"]}
    if kinds <= _ENTITIES:
        return {"error_code": ErrorCode.NONE, "error_message": "", "entries": []}
    code = ErrorCode.INVALID_REQUEST if "" in kinds else ErrorCode.UNSUPPORTED_VERSION
    why = f"Quotas are of {', '.join(sorted(_ENTITIES))}."
    return {"error_code": code, "error_message": why, "entries": None}
