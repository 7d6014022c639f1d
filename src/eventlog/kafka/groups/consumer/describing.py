"""The handler of ConsumerGroupDescribe: native groups, whether their members are native or clients of any listener."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from eventlog.backend.groups import GroupDetails
from eventlog.errors import UnknownGroup
from eventlog.groups.state import Group, Life, Member
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.groups.consumer.members import ConsumerMember, ConsumerMembers, consumer_members
from eventlog.kafka.groups.coordinator import check_group
from eventlog.kafka.listener.slices import in_slices
from eventlog.kafka.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

_GROUP_OPERATIONS: Final = 0b1101_0100_1000
_NOT_ASKED: Final = -2_147_483_648
_CONSUMER: Final = 1
"""The type of a member of the new protocol, not of the classic one."""
_NAMES: Final = {"sticky": "uniform"}


def is_native(group: Group) -> bool:
    """Whether a group has, or had last, members by the rules of native groups."""
    return bool(group.assignor) and not group.is_of_kafka


def state_of(details: GroupDetails) -> str:
    """The state of a native group, by Kafka's names."""
    group = details.group
    alive = [member for member in group.members.values() if details.lives[member.id] is Life.ALIVE]
    if not alive:
        return "Empty"
    if group.needs_targets(details.topics_version):
        return "Assigning"
    return "Reconciling" if any(member.owned.keys() != member.target for member in alive) else "Stable"


@in_slices("group_ids", "groups")
def consumer_group_describe(broker: Broker, request: Request) -> dict[str, Any]:
    """Describe native groups."""
    operations = _GROUP_OPERATIONS if request.body["include_authorized_operations"] else _NOT_ASKED
    return {
        "groups": [
            {**_described(broker, name), "group_id": name, "authorized_operations": operations}
            for name in request.body["group_ids"]
        ]
    }


def _described(broker: Broker, name: str) -> dict[str, Any]:
    if check_group(name) is not ErrorCode.NONE:
        return {"error_code": ErrorCode.INVALID_GROUP_ID, "error_message": "This is no name of a group."}
    try:
        details = broker.backend.group_details(name)
    except unless_interrupted(UnknownGroup):
        return {"error_code": ErrorCode.GROUP_ID_NOT_FOUND, "error_message": f"Group {name} not found."}
    if not is_native(details.group):
        return {"error_code": ErrorCode.GROUP_ID_NOT_FOUND, "error_message": f"Group {name} is not a consumer group."}
    members = consumer_members(broker)
    clients = members.by_place()
    alive = [member for member in details.group.members.values() if details.lives[member.id] is not Life.DEAD]
    return {
        "error_code": ErrorCode.NONE,
        "group_state": state_of(details),
        "group_epoch": details.group.epoch,
        "assignment_epoch": details.group.target_epoch,
        "assignor_name": _NAMES.get(details.group.assignor, details.group.assignor),
        "members": [_member(members, details, member, clients.get(member.id)) for member in alive],
    }


def _member(
    members: ConsumerMembers, details: GroupDetails, member: Member, client: ConsumerMember | None
) -> dict[str, Any]:
    usable = member.owned.keys() & member.target
    patterns = [text for text, _ in member.subscription.patterns]
    return {
        "member_id": member.id if client is None else client.id,
        "instance_id": member.instance_id,
        "rack_id": None if client is None else client.rack,
        "member_epoch": details.group.target_epoch if client is None else client.epoch,
        "client_id": f"eventlog process {member.process_id}" if client is None else client.client_id,
        "client_host": "/127.0.0.1" if client is None else client.client_host,
        "subscribed_topic_names": list(member.subscription.topics),
        "subscribed_topic_regex": "|".join(patterns) if patterns else None,
        "assignment": {"topic_partitions": members.named(usable)},
        "target_assignment": {"topic_partitions": members.named(member.target)},
        "member_type": _CONSUMER,
    }
