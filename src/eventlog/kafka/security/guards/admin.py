"""The guards of the APIs of admin clients: topics, configurations, users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.security.acls import Operation, ResourceType
from eventlog.kafka.security.guards.guard import (
    NO_ID,
    Access,
    Body,
    Guard,
    Restricted,
    Verdict,
    on_items,
    split,
    topic_of,
)
from eventlog.kafka.security.guards.records import TOPIC_REFUSED, cluster_operations, may_create

if TYPE_CHECKING:
    from eventlog.kafka.listener.request import Request

_TOPIC: Final = 2
_GROUP: Final = 32
"""The types of configurations that are those of topics and of groups; all others are the cluster's."""
_CONFIGS_SINCE: Final = 5
_MESSAGE: Final = "Authorization failed."


_FIRST_WITH_IDS: Final = 6
"""The first version of DeleteTopics that names topics in `topics`; a decoded body has the fields of all versions."""


def create_topics(access: Access, request: Request) -> Verdict:
    """CREATE on the cluster or on the topic; its configuration is shown to who may describe it."""
    topics = request.body["topics"]
    verdict = split(
        request.body,
        topics,
        "topics",
        "topics",
        [topic for topic in topics if not may_create(access, topic["name"])],
        lambda topic: {"name": topic["name"], "error_code": TOPIC_REFUSED, "error_message": _MESSAGE, "configs": []},
    )
    restricted = verdict if isinstance(verdict, Restricted) else Restricted(request.body, lambda answer: answer)

    def complete(answer: Body) -> Body:
        whole = restricted.complete(answer)
        if request.version >= _CONFIGS_SINCE:
            whole["topics"] = [
                topic if access.topic(Operation.DESCRIBE_CONFIGS, topic["name"]) else _without_configs(topic)
                for topic in whole["topics"]
            ]
        return whole

    return Restricted(restricted.body, complete)


def _without_configs(topic: Body) -> Body:
    if topic.get("error_code"):
        return topic
    hidden = {"num_partitions": -1, "replication_factor": -1, "configs": []}
    return {**topic, **hidden, "topic_config_error_code": TOPIC_REFUSED}


def delete_topics(access: Access, request: Request) -> Verdict:
    """DELETE on each topic."""
    body = request.body
    if request.version >= _FIRST_WITH_IDS:
        denied = [one for one in body["topics"] if not access.topic(Operation.DELETE, topic_of(access, one))]
        return split(body, body["topics"], "topics", "responses", denied, _undeleted)
    names = on_items(
        "topic_names",
        "responses",
        lambda access, name: access.topic(Operation.DELETE, name),
        lambda name: {"name": name, "error_code": TOPIC_REFUSED, "error_message": _MESSAGE},
    )
    return names(access, request)


def _undeleted(topic: Body) -> Body:
    topic_id = topic.get("topic_id", NO_ID)
    name = topic["name"] if topic_id == NO_ID else None  # an id does not tell the name
    return {"name": name, "topic_id": topic_id, "error_code": TOPIC_REFUSED, "error_message": _MESSAGE}


create_partitions: Final[Guard] = on_items(
    "topics",
    "results",
    lambda access, topic: access.topic(Operation.ALTER, topic["name"]),
    lambda topic: {"name": topic["name"], "error_code": TOPIC_REFUSED, "error_message": _MESSAGE},
)


def describe_topic_partitions(access: Access, request: Request) -> Verdict:
    """DESCRIBE on each topic; all topics are those that may be described."""
    asked = request.body["topics"]
    denied = [one for one in asked if not access.topic(Operation.DESCRIBE, one["name"])]
    verdict = split(
        request.body,
        asked,
        "topics",
        "topics",
        denied,
        lambda topic: {"name": topic["name"], "error_code": TOPIC_REFUSED, "partitions": []},
    )
    restricted = verdict if isinstance(verdict, Restricted) else Restricted(request.body, lambda answer: answer)
    if denied and not restricted.body["topics"]:  # an empty list would ask for all
        return restricted.complete({"topics": []})

    def visible(answer: Body) -> Body:
        seen = [one for one in answer["topics"] if access.topic(Operation.DESCRIBE, one["name"])]
        for topic in seen:
            if not topic.get("error_code"):
                topic["topic_authorized_operations"] = access.operations(ResourceType.TOPIC, topic["name"])
        return restricted.complete({**answer, "topics": seen})

    return Restricted(restricted.body, visible)


def _on_resources(operation: Operation, answers: str) -> Guard:
    """A guard of the APIs of configurations."""
    return on_items(
        "resources",
        answers,
        lambda access, resource: _may_configure(access, operation, resource),
        lambda resource: {
            "error_code": _REFUSED.get(resource["resource_type"], ErrorCode.CLUSTER_AUTHORIZATION_FAILED),
            "error_message": _MESSAGE,
            "resource_type": resource["resource_type"],
            "resource_name": resource["resource_name"],
            "configs": [],
        },
    )


_REFUSED: Final = {_TOPIC: TOPIC_REFUSED, _GROUP: ErrorCode.GROUP_AUTHORIZATION_FAILED}


def _may_configure(access: Access, operation: Operation, resource: Body) -> bool:
    if resource["resource_type"] == _TOPIC:
        return access.topic(operation, resource["resource_name"])
    if resource["resource_type"] == _GROUP:
        return access.group(operation, resource["resource_name"])
    return access.cluster(operation)


describe_configs: Final = _on_resources(Operation.DESCRIBE_CONFIGS, "results")
alter_configs: Final = _on_resources(Operation.ALTER_CONFIGS, "responses")


def describe_cluster(access: Access, request: Request) -> Verdict:
    """Everybody may ask; what a client may do with the cluster is its own."""
    if not request.body.get("include_cluster_authorized_operations"):
        return None
    operations = cluster_operations(access)
    return Restricted(request.body, lambda answer: {**answer, "cluster_authorized_operations": operations})


def alter_users(access: Access, request: Request) -> Verdict:
    """ALTER on the cluster."""
    if access.cluster(Operation.ALTER):
        return None
    body = request.body
    names = dict.fromkeys(one["name"] for one in (*body["deletions"], *body["upsertions"]))
    code = ErrorCode.CLUSTER_AUTHORIZATION_FAILED
    return {"results": [{"user": name, "error_code": code, "error_message": _CLUSTER} for name in names]}


_CLUSTER: Final = "Cluster authorization failed."


def create_acls(access: Access, request: Request) -> Verdict:
    """ALTER on the cluster."""
    if access.cluster(Operation.ALTER):
        return None
    refused = {"error_code": ErrorCode.CLUSTER_AUTHORIZATION_FAILED, "error_message": _CLUSTER}
    return {"results": [refused for _ in request.body["creations"]]}


def delete_acls(access: Access, request: Request) -> Verdict:
    """ALTER on the cluster."""
    if access.cluster(Operation.ALTER):
        return None
    refused = {
        "error_code": ErrorCode.CLUSTER_AUTHORIZATION_FAILED,
        "error_message": _CLUSTER,
        "matching_acls": [],
    }
    return {"filter_results": [refused for _ in request.body["filters"]]}


def alter_quotas(access: Access, request: Request) -> Verdict:
    """ALTER_CONFIGS on the cluster."""
    if access.cluster(Operation.ALTER_CONFIGS):
        return None
    code = ErrorCode.CLUSTER_AUTHORIZATION_FAILED
    entries = request.body["entries"]
    return {"entries": [{"error_code": code, "error_message": _CLUSTER, "entity": one["entity"]} for one in entries]}
