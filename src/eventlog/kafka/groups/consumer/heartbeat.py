"""The handler of ConsumerGroupHeartbeat: a client joins, keeps step and leaves by one kind of request."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from eventlog.errors import GroupMismatch
from eventlog.groups.rules import Verdict
from eventlog.groups.state import Subscription
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.groups.consumer.members import (
    HEARTBEAT_S,
    SESSION_S,
    ConsumerMember,
    ConsumerMembers,
    consumer_members,
)
from eventlog.kafka.groups.consumer.patterns import refusal_of
from eventlog.kafka.groups.consumer.place import Place, PlaceRefused
from eventlog.kafka.groups.coordinator import check_group
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.options import check_instance_id, check_topic_name

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

_JOINING: Final = 0
_LEAVING: Final = -1
_STEPPING_ASIDE: Final = -2
_ASSIGNORS: Final = {"uniform": "sticky", "range": "range"}
"""Kafka's server-side assignors, and ours that do the same."""
_FIRST_OWN_ID: Final = 1


class _Refused(Exception):
    """Raised for a request that is answered by an error."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


async def consumer_group_heartbeat(broker: Broker, request: Request) -> dict[str, Any]:
    """Have a client join, keep step with its group, or leave it."""
    body = request.body
    try:
        _check(request)
        epoch = body["member_epoch"]
        if epoch < _JOINING:
            return await _leave(consumer_members(broker), body)
        if epoch == _JOINING:
            return await _join(broker, request)
        return await _follow(consumer_members(broker), request)
    except unless_interrupted(_Refused) as refused:
        return {"error_code": refused.code, "error_message": str(refused), "member_id": body["member_id"] or None}
    except unless_interrupted(GroupMismatch) as error:
        message = str(error)
        return {"error_code": ErrorCode.GROUP_ID_NOT_FOUND, "error_message": message, "member_id": None}


def _check(request: Request) -> None:
    """Refuse what no client may ask."""
    body = request.body
    epoch, invalid = body["member_epoch"], ErrorCode.INVALID_REQUEST
    if check_group(body["group_id"]) is not ErrorCode.NONE:
        raise _Refused(invalid, "GroupId is a name of 1 to 249 bytes of printable characters.")
    if not body["member_id"] and (epoch != _JOINING or request.version >= _FIRST_OWN_ID):
        raise _Refused(invalid, "MemberId can't be empty.")
    if epoch < _STEPPING_ASIDE:
        raise _Refused(invalid, f"MemberEpoch is {epoch}, which is not supported.")
    if epoch == _STEPPING_ASIDE and body["instance_id"] is None:
        raise _Refused(invalid, "InstanceId can't be null.")
    if epoch == _JOINING:
        _check_join(body)
    _check_wishes(body)


def _check_join(body: dict[str, Any]) -> None:
    """Refuse a first request that leaves something out."""
    invalid = ErrorCode.INVALID_REQUEST
    if body["rebalance_timeout_ms"] == -1:
        raise _Refused(invalid, "RebalanceTimeoutMs must be provided in first request.")
    if body["topic_partitions"] is None or body["topic_partitions"]:
        raise _Refused(invalid, "TopicPartitions must be empty when (re-)joining.")
    if not body["subscribed_topic_names"] and not body["subscribed_topic_regex"]:
        raise _Refused(invalid, "SubscribedTopicNames or SubscribedTopicRegex must be set in first request.")


def _check_wishes(body: dict[str, Any]) -> None:
    """Refuse topics, patterns, names and assignors that nobody could have."""
    if body["server_assignor"] is not None and body["server_assignor"] not in _ASSIGNORS:
        raise _Refused(ErrorCode.UNSUPPORTED_ASSIGNOR, f"ServerAssignor is one of {', '.join(_ASSIGNORS)}.")
    if body["subscribed_topic_regex"]:
        reason = refusal_of(body["subscribed_topic_regex"])
        if reason is not None:
            raise _Refused(ErrorCode.INVALID_REGULAR_EXPRESSION, f"SubscribedTopicRegex is not taken: {reason}.")
    try:
        for name in body["subscribed_topic_names"] or ():
            check_topic_name(name)
        if body["instance_id"] is not None:
            check_instance_id(body["instance_id"])
    except unless_interrupted(ValueError) as error:
        raise _Refused(ErrorCode.INVALID_REQUEST, str(error)) from error


# -- joining ---------------------------------------------------------------------------------------------------


async def _join(broker: Broker, request: Request) -> dict[str, Any]:
    body, members = request.body, consumer_members(broker)
    group = body["group_id"]
    known = members.get(group, body["member_id"])
    if known is not None:  # it begins again, and has given everything up
        async with known.turn:
            known.connection = request.connection
            return await _step(members, known, body, is_full=True)
    if broker.is_stopping:
        raise _Refused(ErrorCode.NOT_COORDINATOR, "The listener stops.")
    if broker.room.is_full():
        raise _Refused(ErrorCode.COORDINATOR_NOT_AVAILABLE, "The listener has room for no more members.")
    topics, pattern = tuple(sorted(set(body["subscribed_topic_names"] or ()))), body["subscribed_topic_regex"] or ""
    place = Place(
        broker.backend,
        group,
        Subscription(topics, ((pattern, 0),) if pattern else ()),
        _ASSIGNORS[body["server_assignor"] or "uniform"],
        body["instance_id"],
        SESSION_S,
    )
    member = ConsumerMember(
        group,
        body["member_id"] or str(uuid4()),
        place,
        client_id=request.client_id or "",
        client_host=f"/{request.connection.peer.rpartition(':')[0]}",
    )
    member.topics, member.pattern, member.instance_id = topics, pattern, body["instance_id"]
    member.rack, member.connection = body["rack_id"], request.connection
    member.rebalance_timeout_s = body["rebalance_timeout_ms"] / 1000
    async with member.turn:
        members.add(member)
        try:
            member.take(await members.call(place.join))
        except unless_interrupted(PlaceRefused) as refused:
            members.forget(member)
            raise _refusal(refused) from refused
        except BaseException:
            members.forget(member)
            raise
    if members.get(group, member.id) is not member:  # the listener stopped meanwhile
        await members.call(place.leave)
        raise _Refused(ErrorCode.NOT_COORDINATOR, "The listener stops.")
    members.renew(member)
    return _answer(members, member, has_assignment=True)


def _refusal(refused: PlaceRefused) -> _Refused:
    if refused.verdict is Verdict.INSTANCE_IN_USE:
        return _Refused(ErrorCode.UNRELEASED_INSTANCE_ID, "Another live member has this instance id.")
    if refused.node is not None:
        return _Refused(ErrorCode.GROUP_ID_NOT_FOUND, "The group has members of the classic protocol.")
    return _Refused(ErrorCode.UNSUPPORTED_ASSIGNOR, "The group has native members with an assignor of their own.")


# -- keeping step ----------------------------------------------------------------------------------------------


async def _follow(members: ConsumerMembers, request: Request) -> dict[str, Any]:
    body = request.body
    member = _known(members, body)
    async with member.turn:
        member.connection = request.connection
        epoch, reported = body["member_epoch"], members.reported(body["topic_partitions"])
        is_repeated = epoch == member.epoch_before and (reported is None or reported <= member.told)
        if epoch != member.epoch and not is_repeated:
            raise _Refused(
                ErrorCode.FENCED_MEMBER_EPOCH,
                f"The member has epoch {member.epoch}, not {epoch}: it must give up its partitions and join again.",
            )
        is_full = (
            body["rebalance_timeout_ms"] != -1
            and reported is not None
            and not (body["subscribed_topic_names"] is None and body["subscribed_topic_regex"] is None)
        )
        return await _step(members, member, body, is_full=is_full or is_repeated)


def _known(members: ConsumerMembers, body: dict[str, Any]) -> ConsumerMember:
    group, instance_id = body["group_id"], body["instance_id"]
    member = members.get(group, body["member_id"])
    if member is None and instance_id is not None and members.by_instance(group, instance_id) is not None:
        raise _Refused(ErrorCode.FENCED_INSTANCE_ID, "Another member has this instance id.")
    if member is None:
        raise _Refused(ErrorCode.UNKNOWN_MEMBER_ID, "The member is not known here: it must join again.")
    return member


async def _step(
    members: ConsumerMembers, member: ConsumerMember, body: dict[str, Any], *, is_full: bool
) -> dict[str, Any]:
    """Take in what a client says, and tell it what it has now."""
    is_there = await _take_wishes(members, member, body)
    reported = members.reported(body["topic_partitions"])
    has_news = member.must_give_up and reported is not None
    is_changed = False
    if is_there and (has_news or not member.place.is_at_rest()):
        share = await members.call(partial(member.place.keep_step, reported, member.told))
        is_there = share is not None
        is_changed = share is not None and member.take(share)
    if not is_there:
        members.forget(member)
        await members.call(member.place.drop)
        raise _Refused(ErrorCode.UNKNOWN_MEMBER_ID, "The group has removed the member: it must join again.")
    members.renew(member)
    return _answer(members, member, has_assignment=is_changed or is_full)


async def _take_wishes(members: ConsumerMembers, member: ConsumerMember, body: dict[str, Any]) -> bool:
    """Note what has changed in what the client wants; whether it is a member still."""
    if body["rebalance_timeout_ms"] != -1:
        member.rebalance_timeout_s = body["rebalance_timeout_ms"] / 1000
    before = member.subscription
    if body["subscribed_topic_names"] is not None:
        member.topics = tuple(sorted(set(body["subscribed_topic_names"])))
    if body["subscribed_topic_regex"] is not None:
        member.pattern = body["subscribed_topic_regex"]
    if member.subscription == before:
        return True
    is_there: bool = await members.call(partial(member.place.subscribe, member.subscription))
    return is_there


def _answer(members: ConsumerMembers, member: ConsumerMember, *, has_assignment: bool) -> dict[str, Any]:
    return {
        "error_code": ErrorCode.NONE,
        "member_id": member.id,
        "member_epoch": member.epoch,
        "heartbeat_interval_ms": int(HEARTBEAT_S * 1000),
        "assignment": {"topic_partitions": members.named(member.told)} if has_assignment else None,
    }


# -- leaving ---------------------------------------------------------------------------------------------------


async def _leave(members: ConsumerMembers, body: dict[str, Any]) -> dict[str, Any]:
    member = _known(members, body)
    async with member.turn:
        members.forget(member)
        if body["member_epoch"] == _STEPPING_ASIDE:
            await members.call(member.place.step_aside)
        else:
            await members.call(member.place.leave)
    return {
        "error_code": ErrorCode.NONE,
        "member_id": member.id,
        "member_epoch": body["member_epoch"],
        "heartbeat_interval_ms": 0,
        "assignment": None,
    }
