"""The handlers of the classic protocol's requests: FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Final

from eventlog.kafka.groups.claims import Node
from eventlog.kafka.groups.classic.values import JoinRequest, SyncRequest
from eventlog.kafka.groups.coordinator import check_group, coordinator
from eventlog.kafka.groups.subscriptions import subscribed_topics
from eventlog.kafka.listener.slices import in_slices
from eventlog.kafka.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

_OF_GROUP: Final = 0
_OF_TRANSACTION: Final = 1
_FIRST_BATCHED_FIND: Final = 4
_FIRST_GIVEN_ID: Final = 4
_FIRST_NULL_NAME: Final = 7
_FIRST_SKIPPED_ASSIGNMENT: Final = 9
_FIRST_BATCHED_LEAVE: Final = 3
_LEAST_SESSION_MS: Final = 1
_MOST_SESSION_MS: Final = 1_800_000
"""Kafka's `group.max.session.timeout.ms`; its least, 6 s, would make every test of a killed member slow."""


@in_slices("coordinator_keys", "coordinators")
def find_coordinator(broker: Broker, request: Request) -> dict[str, Any]:
    """Tell which listener has a group: another one that has members of it, or this one."""
    kind = request.body["key_type"]
    if request.version >= _FIRST_BATCHED_FIND:
        keys = request.body["coordinator_keys"]
        return {"coordinators": [{"key": key, **_found(broker, kind, key)} for key in keys]}
    return _found(broker, kind, request.body["key"])


def _found(broker: Broker, kind: int, key: str) -> dict[str, Any]:
    groups = coordinator(broker)
    if kind not in (_OF_GROUP, _OF_TRANSACTION):
        return _refused(ErrorCode.INVALID_REQUEST, "only groups and transactions have a coordinator here")
    if kind == _OF_TRANSACTION:
        return _placed(groups.node)
    code = check_group(key)
    if code is not ErrorCode.NONE:
        return _refused(code, "a group has a name of 1 to 249 bytes of printable characters")
    return _placed(groups.elsewhere(key) or groups.node)


def _placed(node: Node) -> dict[str, Any]:
    return {
        "error_code": ErrorCode.NONE,
        "error_message": None,
        "node_id": node.node_id,
        "host": node.host,
        "port": node.port,
    }


def _refused(code: ErrorCode, message: str) -> dict[str, Any]:
    return {"error_code": code, "error_message": message, "node_id": -1, "host": "", "port": -1}


async def join_group(broker: Broker, request: Request) -> dict[str, Any]:
    """Have a client join a group."""
    body, version = request.body, request.version
    session_ms = body["session_timeout_ms"]
    protocols = tuple((one["name"], bytes(one["metadata"])) for one in body["protocols"])
    if not _LEAST_SESSION_MS <= session_ms <= _MOST_SESSION_MS:
        return _join_refused(version, ErrorCode.INVALID_SESSION_TIMEOUT, body["member_id"])
    rebalance_ms = body["rebalance_timeout_ms"]
    answer = await coordinator(broker).join(
        body["group_id"],
        JoinRequest(
            body["member_id"],
            body["group_instance_id"],
            request.client_id or "",
            f"/{request.connection.peer.rpartition(':')[0]}",
            body["protocol_type"],
            protocols,
            subscribed_topics(body["protocol_type"], protocols),
            session_ms / 1000,
            max(rebalance_ms if rebalance_ms >= 0 else session_ms, 0) / 1000,
            asks_for_id=version >= _FIRST_GIVEN_ID,
            skips_assignment=version >= _FIRST_SKIPPED_ASSIGNMENT,
        ),
    )
    if answer.error is not ErrorCode.NONE:
        return _join_refused(version, answer.error, answer.member_id)
    return {
        "error_code": answer.error,
        "generation_id": answer.generation,
        "protocol_type": answer.protocol_type,
        "protocol_name": answer.protocol_name,
        "leader": answer.leader,
        "skip_assignment": answer.skip_assignment,
        "member_id": answer.member_id,
        "members": [
            {"member_id": member_id, "group_instance_id": instance_id, "metadata": metadata}
            for member_id, instance_id, metadata in answer.members
        ],
    }


def _join_refused(version: int, code: ErrorCode, member_id: str) -> dict[str, Any]:
    name = None if version >= _FIRST_NULL_NAME else ""
    return {"error_code": code, "member_id": member_id, "protocol_name": name}


async def sync_group(broker: Broker, request: Request) -> dict[str, Any]:
    """Give a client its assignment."""
    body = request.body
    answer = await coordinator(broker).sync(
        body["group_id"],
        SyncRequest(
            body["member_id"],
            body["group_instance_id"],
            body["generation_id"],
            body["protocol_type"],
            body["protocol_name"],
            tuple((one["member_id"], bytes(one["assignment"])) for one in body["assignments"]),
        ),
    )
    return {
        "error_code": answer.error,
        "protocol_type": answer.protocol_type,
        "protocol_name": answer.protocol_name,
        "assignment": answer.assignment,
    }


async def heartbeat(broker: Broker, request: Request) -> dict[str, Any]:
    """Take a sign of life."""
    body = request.body
    code = await coordinator(broker).heartbeat(
        body["group_id"], body["member_id"], body["group_instance_id"], body["generation_id"]
    )
    return {"error_code": code}


def leave_group(broker: Broker, request: Request) -> Awaitable[dict[str, Any]]:
    """Remove one member, or several."""
    return _leave_one(broker, request) if request.version < _FIRST_BATCHED_LEAVE else _leave(broker, request)


async def _leave_one(broker: Broker, request: Request) -> dict[str, Any]:
    body = request.body
    code, results = await coordinator(broker).leave(body["group_id"], [(body["member_id"], None)])
    return {"error_code": results[0] if results else code}


async def _leave(broker: Broker, request: Request) -> dict[str, Any]:
    body = request.body
    identities = [(one["member_id"], one["group_instance_id"]) for one in body["members"]]
    code, results = await coordinator(broker).leave(body["group_id"], identities)
    return {
        "error_code": code,
        "members": [
            {"member_id": member_id, "group_instance_id": instance_id, "error_code": result}
            for (member_id, instance_id), result in zip(identities, results, strict=bool(results))
        ],
    }
