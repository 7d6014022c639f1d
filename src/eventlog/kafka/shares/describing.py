"""The handler of ShareGroupDescribe, and what lists of groups show of share groups: queues with their workers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from eventlog.backend.queues import QueueDetails, WorkerDetails
from eventlog.errors import EventLogError, UnknownGroup
from eventlog.groups.state import Life
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.groups.coordinator import check_group
from eventlog.kafka.listener.failures import code_of
from eventlog.kafka.listener.slices import in_slices
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.shares.members import ShareMember
from eventlog.kafka.shares.sessions import ShareGroups, share_groups

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

SHARE: Final = "share"
"""Kafka's name of the type, and of the protocol type."""
EMPTY, STABLE = "Empty", "Stable"
_GROUP_OPERATIONS: Final = 0b1101_0100_1000
_NOT_ASKED: Final = -2_147_483_648
_ASSIGNOR: Final = "simple"


def share_state(broker: Broker, name: str) -> str | None:
    """The state of a share group by Kafka's name of it; None if there is none of that name."""
    if broker.backend.queues().queue(name) is None:
        return None
    return STABLE if has_share_members(broker, name) else EMPTY


def has_share_members(broker: Broker, name: str) -> bool:
    """Whether a share group has members here, or its queue has live workers anywhere."""
    shares = share_groups(broker)
    if shares.members.of_group(name) or shares.of_group(name):
        return True
    queues = broker.backend.queues()
    queue = queues.queue(name)
    return queue is not None and Life.ALIVE in broker.backend.look_at_members(queues.worker_ids(queue)).values()


async def delete_share_group(broker: Broker, name: str) -> ErrorCode:
    """Delete the queue of a share group that nobody works for."""
    if has_share_members(broker, name):
        return ErrorCode.NON_EMPTY_GROUP
    try:
        await broker.call(partial(broker.backend.queues().delete_queue, name))
    except unless_interrupted(EventLogError) as error:
        return code_of(error)
    return ErrorCode.NONE


@in_slices("group_ids", "groups")
def share_group_describe(broker: Broker, request: Request) -> dict[str, Any]:
    """Describe share groups, native workers among their members."""
    operations = _GROUP_OPERATIONS if request.body["include_authorized_operations"] else _NOT_ASKED
    return {
        "groups": [
            {**_described(broker, name), "group_id": name, "authorized_operations": operations}
            for name in request.body["group_ids"]
        ]
    }


def _described(broker: Broker, name: str) -> dict[str, Any]:
    if check_group(name) is not ErrorCode.NONE:
        return {"error_code": ErrorCode.INVALID_GROUP_ID}
    try:
        details = broker.backend.queues().queue_details(name)
    except unless_interrupted(UnknownGroup):
        return {"error_code": ErrorCode.GROUP_ID_NOT_FOUND, "error_message": f"Group {name} not found."}
    shares = share_groups(broker)
    epoch = max(1, shares.members.epoch(name))
    members = [_member(shares, member) for member in shares.members.of_group(name)]
    members += _others(broker, shares, details, epoch)
    return {
        "error_code": ErrorCode.NONE,
        "group_state": STABLE if members else EMPTY,
        "group_epoch": epoch,
        "assignment_epoch": epoch,
        "assignor_name": _ASSIGNOR,
        "members": members,
    }


def _member(shares: ShareGroups, member: ShareMember) -> dict[str, Any]:
    return {
        "member_id": member.id,
        "rack_id": member.rack,
        "member_epoch": member.epoch,
        "client_id": member.client_id,
        "client_host": member.client_host,
        "subscribed_topic_names": list(member.topics),
        "assignment": {"topic_partitions": shares.members.named(member.told, has_names=True)},
    }


def _others(broker: Broker, shares: ShareGroups, details: QueueDetails, epoch: int) -> list[dict[str, Any]]:
    """The workers that are no sessions of this listener: native ones, and those of others."""
    own = shares.by_worker()
    topics: dict[str, list[int]] = {}
    for one in details.partitions:
        topics.setdefault(one.topic, []).append(one.partition)
    assigned = [
        {"topic_id": topic.uuid, "topic_name": name, "partitions": numbers}
        for name, numbers in topics.items()
        if (topic := broker.backend.topic(name)) is not None
    ]
    return [
        {
            "member_id": worker.member_id,
            "rack_id": None,
            "member_epoch": epoch,
            "client_id": _named(worker),
            "client_host": "/127.0.0.1",
            "subscribed_topic_names": list(topics),
            "assignment": {"topic_partitions": assigned},
        }
        for worker in details.workers
        if worker.member_id not in own and worker.life is not Life.DEAD
    ]


def _named(worker: WorkerDetails) -> str:
    return f"eventlog process {worker.process_id}"
