"""The guards of consumer groups and their offsets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.security.acls import Operation, ResourceType
from eventlog.kafka.security.guards.guard import (
    Access,
    Body,
    Guard,
    Restricted,
    Verdict,
    on_items,
    topic_of,
)
from eventlog.kafka.security.guards.records import on_partitions, refused_topic

if TYPE_CHECKING:
    from eventlog.kafka.listener.request import Request

GROUP_REFUSED: Final = ErrorCode.GROUP_AUTHORIZATION_FAILED
_TRANSACTION: Final = 1
_IN_LISTS_SINCE: Final = 8
_WITH_ERROR_SINCE: Final = 2
_KEYS_SINCE: Final = 4
_NULL_SINCE: Final = 7
"""Since then the name of a protocol may be null."""
_NO_OFFSET: Final = {"committed_offset": -1, "committed_leader_epoch": -1, "metadata": ""}
_read_topics: Final = on_partitions(Operation.READ)


def member(access: Access, request: Request) -> Verdict:
    """READ on the group, for whoever is a member or wants to be."""
    if access.group(Operation.READ, request.body["group_id"]):
        return None
    name = None if request.version >= _NULL_SINCE else ""
    return {"error_code": GROUP_REFUSED, "protocol_name": name, "leader": "", "member_id": ""}


def new_member(access: Access, request: Request) -> Verdict:
    """READ on the group, and DESCRIBE on all topics that a member of the new protocol names."""
    if not access.group(Operation.READ, request.body["group_id"]):
        return {"error_code": GROUP_REFUSED}
    names = request.body.get("subscribed_topic_names") or ()
    if not all(access.topic(Operation.DESCRIBE, name) for name in names):
        return {"error_code": ErrorCode.TOPIC_AUTHORIZATION_FAILED}
    return None


def offset_commit(access: Access, request: Request) -> Verdict:
    """READ on the group and on each topic."""
    if access.group(Operation.READ, request.body["group_id"]):
        return _read_topics(access, request)
    return {"topics": [refused_topic(topic, GROUP_REFUSED) for topic in request.body["topics"]]}


def offset_fetch(access: Access, request: Request) -> Verdict:
    """DESCRIBE on each group, and on each topic; all topics are those that may be described."""
    body = request.body
    if request.version >= _IN_LISTS_SINCE:
        return _offsets_of_groups(access, request)
    if not access.group(Operation.DESCRIBE, body["group_id"]):
        if request.version >= _WITH_ERROR_SINCE:
            return {"error_code": GROUP_REFUSED, "topics": []}
        return {"topics": [_no_offsets(topic, GROUP_REFUSED) for topic in body["topics"] or ()]}
    rest, errors = _allowed(access, body["topics"])
    return Restricted(
        {**body, "topics": rest},
        lambda answer: {**answer, "topics": _seen(access, body["topics"], answer["topics"], errors)},
    )


def _offsets_of_groups(access: Access, request: Request) -> Verdict:
    rest, refused, found = [], [], {}
    for group in request.body["groups"]:
        if not access.group(Operation.DESCRIBE, group["group_id"]):
            refused.append({"group_id": group["group_id"], "topics": [], "error_code": GROUP_REFUSED})
            continue
        topics, errors = _allowed(access, group["topics"])
        found[group["group_id"]] = (group["topics"], errors)
        rest.append({**group, "topics": topics})

    def complete(answer: Body) -> Body:
        groups = [
            {**one, "topics": _seen(access, *(found[one["group_id"]][0], one["topics"], found[one["group_id"]][1]))}
            for one in answer["groups"]
        ]
        return {**answer, "groups": [*groups, *refused]}

    return Restricted({**request.body, "groups": rest}, complete)


def _allowed(access: Access, topics: list[Body] | None) -> tuple[list[Body] | None, list[Body]]:
    """The topics that may be described, and the answers to the others; None are all."""
    if topics is None:
        return None, []
    denied = [one for one in topics if not access.topic(Operation.DESCRIBE, topic_of(access, one))]
    rest = [one for one in topics if not any(one is other for other in denied)]
    return rest, [_no_offsets(topic, ErrorCode.TOPIC_AUTHORIZATION_FAILED) for topic in denied]


def _seen(access: Access, asked: list[Body] | None, found: list[Body], errors: list[Body]) -> list[Body]:
    if asked is None:
        return [topic for topic in found if access.topic(Operation.DESCRIBE, topic_of(access, topic))]
    return [*found, *errors]


def _no_offsets(topic: Body, code: ErrorCode) -> Body:
    return refused_topic(topic, code, partitions="partition_indexes", others=_NO_OFFSET)


def find_coordinator(access: Access, request: Request) -> Verdict:
    """DESCRIBE on the group, or on the transactional id."""
    body = request.body
    is_transaction = body.get("key_type", 0) == _TRANSACTION
    kind = ResourceType.TRANSACTIONAL_ID if is_transaction else ResourceType.GROUP
    code = ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED if is_transaction else GROUP_REFUSED
    message = "Transactional id authorization failed." if is_transaction else "Group authorization failed."
    nowhere = {"error_code": code, "error_message": message, "node_id": -1, "host": "", "port": -1}
    if request.version < _KEYS_SINCE:
        return None if access.may(Operation.DESCRIBE, kind, body["key"]) else nowhere
    guard = on_items(
        "coordinator_keys",
        "coordinators",
        lambda access, key: access.may(Operation.DESCRIBE, kind, key),
        lambda key: {"key": key, **nowhere},
    )
    return guard(access, request)


def describe_groups(access: Access, request: Request) -> Verdict:
    """DESCRIBE on each group."""
    return _with_rights(access, request, _described(access, request, "groups"))


def describe_new_groups(access: Access, request: Request) -> Verdict:
    """DESCRIBE on each group, and on the topics of its members."""
    verdict = _with_rights(access, request, _described(access, request, "group_ids"))
    assert isinstance(verdict, Restricted)

    def complete(answer: Body) -> Body:
        whole = verdict.complete(answer)
        return {**whole, "groups": [_without_hidden(access, group) for group in whole["groups"]]}

    return Restricted(verdict.body, complete)


def _described(access: Access, request: Request, items: str) -> Verdict:
    guard = on_items(
        items,
        "groups",
        lambda access, name: access.group(Operation.DESCRIBE, name),
        lambda name: {"group_id": name, "error_code": GROUP_REFUSED, "members": []},
    )
    return guard(access, request)


def _with_rights(access: Access, request: Request, verdict: Verdict) -> Restricted:
    restricted = verdict if isinstance(verdict, Restricted) else Restricted(request.body, lambda answer: answer)

    def complete(answer: Body) -> Body:
        whole = restricted.complete(answer)
        if request.body.get("include_authorized_operations"):
            for group in whole["groups"]:
                if not group.get("error_code"):
                    group["authorized_operations"] = access.operations(ResourceType.GROUP, group["group_id"])
        return whole

    return Restricted(restricted.body, complete)


def _without_hidden(access: Access, group: Body) -> Body:
    """The group, unless its members have topics that the client may not describe."""
    assigned = [
        part.get("topic_name")
        for member in group.get("members") or ()
        for field in ("assignment", "target_assignment")
        for part in (member.get(field) or {}).get("topic_partitions") or ()
    ]
    if all(access.topic(Operation.DESCRIBE, name) for name in assigned):
        return group
    message = "The group has described topic(s) that the client is not authorized to describe."
    return {
        "group_id": group["group_id"],
        "error_code": ErrorCode.TOPIC_AUTHORIZATION_FAILED,
        "error_message": message,
        "members": [],
    }


def list_groups(access: Access, request: Request) -> Verdict:
    """DESCRIBE on the cluster shows all groups; otherwise those are seen that may be described."""
    if access.cluster(Operation.DESCRIBE):
        return None

    def visible(answer: Body) -> Body:
        seen = [one for one in answer["groups"] if access.group(Operation.DESCRIBE, one["group_id"])]
        return {**answer, "groups": seen}

    return Restricted(request.body, visible)


delete_groups: Final[Guard] = on_items(
    "groups_names",
    "results",
    lambda access, name: access.group(Operation.DELETE, name),
    lambda name: {"group_id": name, "error_code": GROUP_REFUSED},
)


def offset_delete(access: Access, request: Request) -> Verdict:
    """DELETE on the group, and READ on each topic."""
    if access.group(Operation.DELETE, request.body["group_id"]):
        return _read_topics(access, request)
    return {"error_code": GROUP_REFUSED, "topics": []}
