"""The handler of ShareGroupHeartbeat: a client joins a share group, stays in it and leaves it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from eventlog.backend.kafka import KafkaRefusal
from eventlog.errors import GroupMismatch
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.groups.coordinator import check_group
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.shares.members import MOST_MEMBERS, Assignment, ShareMember
from eventlog.kafka.shares.sessions import ShareGroups, refused, share_groups
from eventlog.kafka.shares.worker import begin_topics, ensure_share_queue

if TYPE_CHECKING:
    from eventlog.backend.topics import StoredTopic
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

_JOINING: Final = 0
_LEAVING: Final = -1
_MOST_ID_LETTERS: Final = 36
"""Kafka takes that many of a member's id."""


async def share_group_heartbeat(broker: Broker, request: Request) -> dict[str, Any]:
    """Have a client join a share group, stay in it, or leave it."""
    body = request.body
    try:
        _check(body)
        shares, epoch = share_groups(broker), body["member_epoch"]
        if epoch == _LEAVING:
            return _leave(broker, shares, body)
        if epoch == _JOINING:
            return await _join(broker, shares, request)
        return await _follow(broker, shares, request)
    except unless_interrupted(KafkaRefusal) as error:
        return {"error_code": ErrorCode[error.code], "error_message": error.what, "member_id": None}
    except unless_interrupted(GroupMismatch) as error:
        return {"error_code": ErrorCode.GROUP_ID_NOT_FOUND, "error_message": str(error), "member_id": None}


def _check(body: dict[str, Any]) -> None:
    """Refuse what no client may ask."""
    topics, epoch = body["subscribed_topic_names"], body["member_epoch"]
    if check_group(body["group_id"]) is not ErrorCode.NONE:
        raise refused("GroupId is a name of 1 to 249 bytes of printable characters.", "INVALID_REQUEST")
    if not 1 <= len(body["member_id"]) <= _MOST_ID_LETTERS:
        raise refused(f"MemberId is a text of 1 to {_MOST_ID_LETTERS} letters.", "INVALID_REQUEST")
    if epoch < _LEAVING:
        raise refused(f"MemberEpoch is {epoch}, which is not supported.", "INVALID_REQUEST")
    if epoch == _JOINING and not topics:
        raise refused("SubscribedTopicNames must be set in first request.", "INVALID_REQUEST")


def _known(broker: Broker, shares: ShareGroups, body: dict[str, Any]) -> ShareMember:
    member = shares.members.get(body["group_id"], body["member_id"])
    if member is not None:
        return member
    if broker.backend.queues().queue(body["group_id"]) is None:
        raise refused(f"Group {body['group_id']} not found.", "GROUP_ID_NOT_FOUND")
    raise refused("The member is not known here: it must join again.", "UNKNOWN_MEMBER_ID")


def _leave(broker: Broker, shares: ShareGroups, body: dict[str, Any]) -> dict[str, Any]:
    member = _known(broker, shares, body)
    shares.members.remove(member, is_dead=False)
    return {
        "error_code": ErrorCode.NONE,
        "member_id": member.id,
        "member_epoch": _LEAVING,
        "heartbeat_interval_ms": 0,
        "assignment": None,
    }


async def _join(broker: Broker, shares: ShareGroups, request: Request) -> dict[str, Any]:
    body, members = request.body, shares.members
    group, member_id = body["group_id"], body["member_id"]
    member = members.get(group, member_id)
    if member is None:
        if broker.is_stopping:
            raise refused("The listener stops.", "NOT_COORDINATOR")
        if len(members.of_group(group)) >= MOST_MEMBERS:
            raise refused(f"The group has {MOST_MEMBERS} members already.", "GROUP_MAX_SIZE_REACHED")
        if broker.room.is_full():
            raise refused("The listener has room for no more members.", "COORDINATOR_NOT_AVAILABLE")
        await broker.call(partial(ensure_share_queue, broker.backend, shares.configs, group))
        member = members.get(group, member_id)
    if member is None:
        member = ShareMember(
            group,
            member_id,
            client_id=request.client_id or "",
            client_host=f"/{request.connection.peer.rpartition(':')[0]}",
            rack=body["rack_id"],
        )
        members.add(member)
    return await _step(broker, shares, request, member, is_full=True)


async def _follow(broker: Broker, shares: ShareGroups, request: Request) -> dict[str, Any]:
    body = request.body
    member, epoch = _known(broker, shares, body), body["member_epoch"]
    if epoch not in (member.epoch, member.epoch_before):
        raise refused(
            f"The member has epoch {member.epoch}, not {epoch}: it must give up its records and join again.",
            "FENCED_MEMBER_EPOCH",
        )
    return await _step(broker, shares, request, member, is_full=epoch != member.epoch)


async def _step(
    broker: Broker, shares: ShareGroups, request: Request, member: ShareMember, *, is_full: bool
) -> dict[str, Any]:
    """Take in what a client says, and tell it what it has now."""
    body, members = request.body, shares.members
    member.connection = request.connection
    is_first = not member.topics
    wanted = body["subscribed_topic_names"]
    names = member.topics if wanted is None else tuple(sorted(set(wanted)))
    is_other, member.topics = names != member.topics, names
    topics = members.topics_of(member)
    new = [topic for topic in topics if topic.id not in member.begun]
    if new:
        await _begin(broker, shares, member, new, is_late=not is_first and not is_other)
    if members.get(member.group, member.id) is not member:
        raise refused("The member has left meanwhile.", "UNKNOWN_MEMBER_ID")
    has: Assignment = tuple((topic.uuid, topic.partitions) for topic in topics)
    is_changed = has != member.told or (is_other and not is_first)
    if is_changed:
        member.told = has
        if not is_first:
            members.note_change(member.group)
    if member.epoch != members.epoch(member.group):
        member.epoch_before, member.epoch = member.epoch, members.epoch(member.group)
    interval_ms = members.keep(member)
    return {
        "error_code": ErrorCode.NONE,
        "member_id": member.id,
        "member_epoch": member.epoch,
        "heartbeat_interval_ms": interval_ms,
        "assignment": {"topic_partitions": members.named(has)} if is_changed or is_full else None,
    }


async def _begin(
    broker: Broker, shares: ShareGroups, member: ShareMember, topics: list[StoredTopic], *, is_late: bool
) -> None:
    """Have the queue begin with topics that are new to it."""

    def begin() -> None:
        queue = ensure_share_queue(broker.backend, shares.configs, member.group)
        begin_topics(broker.backend, shares.configs, queue, topics, is_late=is_late)

    await broker.call(begin)
    member.begun |= {topic.id for topic in topics}
