"""The handlers of groups' administration: ListGroups, DescribeGroups, DeleteGroups."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from eventlog.backend.groups import GroupDetails
from eventlog.errors import EventLogError, UnknownGroup
from eventlog.groups.state import Life, Member
from eventlog.interruptions import unless_interrupted
from eventlog.kafka import protocol
from eventlog.kafka.groups.classic.group import ClassicGroup
from eventlog.kafka.groups.classic.values import State
from eventlog.kafka.groups.consumer.describing import is_native, state_of
from eventlog.kafka.groups.coordinator import GroupCoordinator, check_group, coordinator
from eventlog.kafka.groups.subscriptions import CONSUMER
from eventlog.kafka.listener.failures import code_of
from eventlog.kafka.listener.slices import in_slices, one_by_one
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.shares.describing import SHARE, delete_share_group, share_state
from eventlog.named_tuples import NamedTuple

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

_FIRST_UNKNOWN_ERROR: Final = 6
_GROUP_OPERATIONS: Final = 0b1101_0100_1000
"""READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS and ALTER_CONFIGS, as bits."""
_NOT_ASKED: Final = -2_147_483_648
_CLASSIC: Final = "classic"
_DEAD: Final = "Dead"
_DESCRIBED: Final = {
    "Empty": State.EMPTY.value,
    "Assigning": State.PREPARING.value,
    "Reconciling": State.PREPARING.value,
    "Stable": State.STABLE.value,
}
"""The states of native groups, for clients that know those of classic groups alone."""
_OF_LISTENERS_HERE: Final = "/127.0.0.1"


class _Shown(NamedTuple):
    """What a list shows of a group."""

    name: str
    state: str
    protocol_type: str
    group_type: str


# -- ListGroups ------------------------------------------------------------------------------------------------


async def list_groups(broker: Broker, request: Request) -> dict[str, Any]:
    """List the groups of the log: of clients of any listener, of native consumers, those with offsets alone, queues."""
    states = {state.lower() for state in request.body["states_filter"]}
    types = {kind.lower() for kind in request.body["types_filter"]}
    groups = coordinator(broker)
    names = sorted({*broker.backend.group_names(), *groups.names(), *broker.backend.queues().queue_names()})
    found = await one_by_one(names, partial(_shown, broker, groups))
    shown = [one for one in found if one is not None]
    return {
        "error_code": ErrorCode.NONE,
        "groups": [
            {
                "group_id": one.name,
                "protocol_type": one.protocol_type,
                "group_state": one.state,
                "group_type": one.group_type,
            }
            for one in shown
            if (not states or one.state.lower() in states) and (not types or one.group_type.lower() in types)
        ],
    }


def _shown(broker: Broker, groups: GroupCoordinator, name: str) -> _Shown | None:
    group = groups.find(name)
    if group is not None and groups.claim_of(name) is not None:
        return _Shown(name, group.state.value, group.protocol_type or "", _CLASSIC)
    try:
        details = broker.backend.group_details(name)
    except unless_interrupted(UnknownGroup):
        state = share_state(broker, name)
        return None if state is None else _Shown(name, state, SHARE, SHARE)
    if is_native(details.group):
        return _Shown(name, state_of(details), CONSUMER, CONSUMER)
    had_consumers = details.group.is_of_kafka if group is None else group.protocol_type == CONSUMER
    return _Shown(name, _state_elsewhere(details), CONSUMER if had_consumers else "", _CLASSIC)


def _state_elsewhere(details: GroupDetails) -> str:
    """The state of a classic group that another listener has, as far as its claim shows it."""
    if Life.ALIVE not in details.lives.values():
        return State.EMPTY.value
    is_settled = details.group.target_epoch == details.group.epoch
    return State.STABLE.value if is_settled else State.PREPARING.value


# -- DescribeGroups --------------------------------------------------------------------------------------------


@in_slices("groups", "groups")
def describe_groups(broker: Broker, request: Request) -> dict[str, Any]:
    """Describe groups and their members, native ones too."""
    operations = _GROUP_OPERATIONS if request.body["include_authorized_operations"] else _NOT_ASKED
    return {
        "groups": [
            {**_described(broker, request, name), "group_id": name, "authorized_operations": operations}
            for name in request.body["groups"]
        ]
    }


def _described(broker: Broker, request: Request, name: str) -> dict[str, Any]:
    groups = coordinator(broker)
    code = check_group(name)
    if code is not ErrorCode.NONE:
        return {"error_code": code, "group_state": _DEAD}
    group = groups.find(name)
    if group is not None and groups.claim_of(name) is not None:
        return _described_here(group)
    if groups.elsewhere(name) is not None:
        return {"error_code": ErrorCode.NOT_COORDINATOR, "group_state": ""}
    try:
        details = broker.backend.group_details(name)
    except unless_interrupted(UnknownGroup) as error:
        if group is not None:
            return _described_here(group)
        is_told = request.version >= _FIRST_UNKNOWN_ERROR
        return {
            "error_code": ErrorCode.GROUP_ID_NOT_FOUND if is_told else ErrorCode.NONE,
            "error_message": str(error),
            "group_state": _DEAD,
        }
    alive = [member for member in details.group.members.values() if details.lives[member.id] is Life.ALIVE]
    had_consumers = bool(details.group.assignor) if group is None else group.protocol_type == CONSUMER
    return {
        "error_code": ErrorCode.NONE,
        "group_state": _DESCRIBED[state_of(details)] if is_native(details.group) else _state_elsewhere(details),
        "protocol_type": CONSUMER if had_consumers else "",
        "protocol_data": details.group.assignor if alive else "",
        "members": [_native_member(details, member) for member in alive],
    }


def _described_here(group: ClassicGroup) -> dict[str, Any]:
    """A group of this listener; metadata and assignments are those of a stable generation."""
    name = group.protocol_name if group.state is State.STABLE else None
    return {
        "error_code": ErrorCode.NONE,
        "group_state": group.state.value,
        "protocol_type": group.protocol_type or "",
        "protocol_data": name or "",
        "members": [
            {
                "member_id": member.id,
                "group_instance_id": member.instance_id,
                "client_id": member.client_id,
                "client_host": member.client_host,
                "member_metadata": b"" if name is None else member.protocols[name],
                "member_assignment": b"" if name is None else member.assignment,
            }
            for member in group.members
        ],
    }


def _native_member(details: GroupDetails, member: Member) -> dict[str, Any]:
    """A native consumer, as a client of this machine that says what consumers of Kafka say."""
    owned: dict[str, list[int]] = {}
    for topic_id, number in sorted(member.owned):
        if topic_id in details.topics:
            owned.setdefault(details.topics[topic_id].name, []).append(number)
    assigned = [{"topic": topic, "partitions": numbers} for topic, numbers in owned.items()]
    return {
        "member_id": member.id,
        "group_instance_id": member.instance_id,
        "client_id": f"eventlog process {member.process_id}",
        "client_host": _OF_LISTENERS_HERE,
        "member_metadata": _message("ConsumerProtocolSubscription", {"topics": list(member.subscription.topics)}),
        "member_assignment": _message("ConsumerProtocolAssignment", {"assigned_partitions": assigned}),
    }


def _message(name: str, message: dict[str, Any]) -> bytes:
    return b"".join((b"\0\0", *protocol.codec(name, 0).encode(message)))


# -- DeleteGroups ----------------------------------------------------------------------------------------------


async def delete_groups(broker: Broker, request: Request) -> dict[str, Any]:
    """Delete groups without members, and their offsets."""
    names = dict.fromkeys(request.body["groups_names"])
    return {
        "results": [{"group_id": name, "error_code": await _delete(broker, name)} for name in names],
    }


async def _delete(broker: Broker, name: str) -> ErrorCode:
    groups = coordinator(broker)
    code = check_group(name)
    if code is not ErrorCode.NONE:
        return code
    if groups.claim_of(name) is not None:
        return ErrorCode.NON_EMPTY_GROUP
    if broker.backend.queues().queue(name) is not None:
        return await delete_share_group(broker, name)
    if groups.elsewhere(name) is not None:
        return ErrorCode.NOT_COORDINATOR
    is_forgotten = groups.forget(name)
    try:
        await broker.call(partial(broker.backend.delete_group, name, is_forced=False))
    except unless_interrupted(EventLogError) as error:
        code = code_of(error)
        is_there = is_forgotten and code is ErrorCode.GROUP_ID_NOT_FOUND
        return ErrorCode.NONE if is_there else code
    return ErrorCode.NONE
