"""The guards of share groups: their records, what becomes of these, and where groups stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.security.acls import Operation
from eventlog.kafka.security.guards.groups import GROUP_REFUSED
from eventlog.kafka.security.guards.guard import Access, Body, Restricted, Verdict, split
from eventlog.kafka.security.guards.records import TOPIC_REFUSED, on_partitions

if TYPE_CHECKING:
    from eventlog.kafka.listener.request import Request

_NOTHING: Final[dict[str, Any]] = {"records": [], "acquired_records": [], "current_leader": {}}
_read: Final = on_partitions(Operation.READ, answers="responses", **_NOTHING)
_read_to_acknowledge: Final = on_partitions(Operation.READ, answers="responses", current_leader={})
_read_to_alter: Final = on_partitions(Operation.READ, answers="responses", name="topic_name")


def share_fetch(access: Access, request: Request) -> Verdict:
    """READ on the group, and on each topic; a topic that may be read no more is taken out of the session."""
    body = request.body
    if not access.group(Operation.READ, body["group_id"] or ""):
        return {"error_code": GROUP_REFUSED}
    verdict = _read(access, request)
    forgotten = _forgotten(access, request)
    if not forgotten:
        return verdict
    restricted = verdict if isinstance(verdict, Restricted) else Restricted(body, lambda answer: answer)
    return restricted._replace(
        body={**restricted.body, "forgotten_topics_data": [*body["forgotten_topics_data"], *forgotten]}
    )


def _forgotten(access: Access, request: Request) -> list[Body]:
    """What a session has that its client may not read any more."""
    shares = access.broker.shares
    session = None if shares is None else shares.find(request)
    if session is None:
        return []
    return [
        {"topic_id": topic_id, "partitions": [number]}
        for topic_id, number in session.partitions
        if not access.topic(Operation.READ, access.name_of(topic_id))
    ]


def share_acknowledge(access: Access, request: Request) -> Verdict:
    """READ on the group, and on each topic."""
    if not access.group(Operation.READ, request.body["group_id"] or ""):
        return {"error_code": GROUP_REFUSED}
    return _read_to_acknowledge(access, request)


def describe_offsets(access: Access, request: Request) -> Verdict:
    """DESCRIBE on each group, and on each topic; all topics are those that may be described."""
    rest, refused = [], []
    errors: dict[str, list[Body]] = {}
    for group in request.body["groups"]:
        name, topics = group["group_id"], group["topics"]
        if not access.group(Operation.DESCRIBE, name):
            refused.append({"group_id": name, "topics": [], "error_code": GROUP_REFUSED})
            continue
        denied = [one for one in topics or () if not access.topic(Operation.DESCRIBE, one["topic_name"])]
        errors[name] = [_unseen(topic) for topic in denied]
        kept = None if topics is None else [one for one in topics if one not in denied]
        rest.append({**group, "topics": kept})

    def complete(answer: Body) -> Body:
        groups = [
            {
                **one,
                "topics": [
                    *(topic for topic in one["topics"] if access.topic(Operation.DESCRIBE, topic["topic_name"])),
                    *errors[one["group_id"]],
                ],
            }
            for one in answer["groups"]
        ]
        return {**answer, "groups": [*groups, *refused]}

    return Restricted({**request.body, "groups": rest}, complete)


def _unseen(topic: Body) -> Body:
    parts = [
        {"partition_index": number, "start_offset": -1, "leader_epoch": 0, "lag": -1, "error_code": TOPIC_REFUSED}
        for number in topic["partitions"]
    ]
    return {"topic_name": topic["topic_name"], "partitions": parts}


def alter_offsets(access: Access, request: Request) -> Verdict:
    """READ on the group, and on each topic."""
    if not access.group(Operation.READ, request.body["group_id"]):
        return {"error_code": GROUP_REFUSED}
    return _read_to_alter(access, request)


def delete_offsets(access: Access, request: Request) -> Verdict:
    """DELETE on the group, and READ on each topic."""
    if not access.group(Operation.DELETE, request.body["group_id"]):
        return {"error_code": GROUP_REFUSED}
    given = request.body["topics"]
    denied = [one for one in given if not access.topic(Operation.READ, one["topic_name"])]
    return split(
        request.body,
        given,
        "topics",
        "responses",
        denied,
        lambda topic: {"topic_name": topic["topic_name"], "error_code": ErrorCode.TOPIC_AUTHORIZATION_FAILED},
    )
