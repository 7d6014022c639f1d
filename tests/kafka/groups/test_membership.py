"""Groups over connections: every version, requests that wait, connections that end, timers of the listener."""

from __future__ import annotations

import pytest

import eventlog
from eventlog.kafka import Listener, listen
from eventlog.kafka.protocol.api_keys import ApiKey
from eventlog.kafka.protocol.errors import ErrorCode
from tests.kafka.groups.members import GroupMember, assignment

NONE = ErrorCode.NONE


@pytest.mark.parametrize("version", range(10))
def test_member_joins_syncs_and_leaves_in_every_version(kafka: Listener, version: int) -> None:
    """Each version of a request goes with the nearest of the others."""
    with GroupMember(kafka, instance_id="a" if version >= 5 else None) as member:
        assert member.join(version) is NONE
        assert (member.generation, member.is_leader) == (1, True)
        assert [one["member_id"] for one in member.members] == [member.member_id]
        mine = assignment(orders=[0, 1, 2])
        assert member.sync({member.member_id: mine}, min(version, 5)) == (NONE, mine)
        assert member.heartbeat(min(version, 4)) is NONE
        assert member.leave(min(version, 5)) is NONE
        assert member.heartbeat() is ErrorCode.UNKNOWN_MEMBER_ID


@pytest.mark.parametrize("version", range(7))
def test_coordinator_is_found_in_every_version(kafka: Listener, member: GroupMember, version: int) -> None:
    """A listener has every group that no other has."""
    batched = version >= 4
    answer = member.ask(
        ApiKey.FIND_COORDINATOR,
        version,
        {"coordinator_keys": ["billing", "a\nb"], "key_type": 0} if batched else {"key": "billing", "key_type": 0},
    )
    first = answer["coordinators"][0] if batched else answer
    assert (first["error_code"], first["host"], first["port"]) == (NONE, kafka.host, kafka.port)
    if batched:
        assert answer["coordinators"][1]["error_code"] == ErrorCode.INVALID_GROUP_ID


def test_share_groups_have_no_coordinator(member: GroupMember) -> None:
    """What is not served here is refused by name."""
    answer = member.ask(ApiKey.FIND_COORDINATOR, 6, {"coordinator_keys": ["g:t:0"], "key_type": 2})
    assert answer["coordinators"][0]["error_code"] == ErrorCode.INVALID_REQUEST


def test_two_members_divide_the_partitions(member: GroupMember, other: GroupMember) -> None:
    """The second join waits for the first member's, and the follower's sync for the leader's."""
    assert member.join() is NONE
    member.sync({member.member_id: assignment(orders=[0, 1, 2])})
    other.begin_join()
    while member.heartbeat() is NONE:
        pass  # the join of the other is on its way
    assert member.join() is NONE
    assert other.receive_join() is NONE
    assert (member.generation, other.generation) == (2, 2)
    assert {one["member_id"] for one in member.members} == {member.member_id, other.member_id}
    other.send_sync()
    shares = {member.member_id: assignment(orders=[0]), other.member_id: assignment(orders=[1, 2])}
    assert member.sync(shares) == (NONE, shares[member.member_id])
    assert other.receive_sync() == (NONE, shares[other.member_id])
    assert member.heartbeat() is other.heartbeat() is NONE


def test_silent_member_is_removed_by_the_clock(kafka: Listener, member: GroupMember) -> None:
    """Nobody has to ask for that: a waiting join of another is answered when the session has ended."""
    with GroupMember(kafka, session_ms=500) as silent:
        assert silent.join() is NONE
        silent.sync()
        assert member.join() is NONE
    assert [one["member_id"] for one in member.members] == [member.member_id]


def test_member_that_died_while_it_joined_is_not_waited_for(kafka: Listener, member: GroupMember) -> None:
    """Its connection has ended, and its session is short; the rebalance timeout is not."""
    assert member.join() is NONE
    member.sync()
    with GroupMember(kafka, session_ms=1_000, rebalance_ms=60_000) as dying:
        dying.begin_join()
        while member.heartbeat() is NONE:
            pass
    assert member.join() is NONE
    while len(member.members) > 1:  # the listener had our join in hand before it saw the other's end
        member.sync()
        while member.heartbeat() is NONE:
            pass
        assert member.join() is NONE


def test_join_is_retried_over_another_connection(kafka: Listener, member: GroupMember) -> None:
    """The member has the same id, and one answer."""
    assert member.join() is NONE
    member.sync()
    with GroupMember(kafka) as first, GroupMember(kafka) as second:
        first.begin_join()
        while member.heartbeat() is NONE:
            pass
        second.member_id = first.member_id
        second.send_join()
        assert first.receive_join() is ErrorCode.REBALANCE_IN_PROGRESS
        assert member.join() is NONE
        assert second.receive_join() is NONE
        assert len(member.members) == 2


def test_initial_delay_is_an_option(log: eventlog.EventLog) -> None:
    """Members that come within it are in the first generation."""
    with listen(log, rebalance_delay=1.0) as kafka, GroupMember(kafka) as one, GroupMember(kafka) as two:
        one.begin_join()
        two.begin_join()
        assert one.receive_join() is two.receive_join() is NONE
        assert one.generation == two.generation == 1


def test_bad_names_and_sessions_are_refused(kafka: Listener) -> None:
    """Each by the error that Kafka has for it."""
    with GroupMember(kafka, "") as nameless, GroupMember(kafka, session_ms=0) as hasty:
        nameless.send_join()
        assert nameless.receive_join() is ErrorCode.INVALID_GROUP_ID
        assert nameless.heartbeat() is ErrorCode.INVALID_GROUP_ID
        hasty.send_join()
        assert hasty.receive_join() is ErrorCode.INVALID_SESSION_TIMEOUT


def test_unknown_groups_have_no_members(member: GroupMember) -> None:
    """Whatever is asked of a group that nobody has joined."""
    member.member_id, member.generation = "nobody", 3
    unknown = ErrorCode.UNKNOWN_MEMBER_ID
    assert member.heartbeat() is member.leave() is member.leave(0) is unknown
    assert member.sync() == (unknown, b"")
    member.send_join()
    assert member.receive_join() is unknown
    member.generation = 3
    assert member.commit({0: 1}) == [ErrorCode.GROUP_ID_NOT_FOUND]
    member.generation = -1
    assert member.commit({0: 1}) == [ErrorCode.NONE], "without a generation anybody may, as with Kafka"


def test_stop_of_the_listener_answers_who_waits(log: eventlog.EventLog) -> None:
    """They are sent to look for another coordinator, and the group is free at once."""
    kafka = listen(log)
    with GroupMember(kafka) as member, GroupMember(kafka) as other:
        assert member.join() is NONE
        member.sync()
        other.begin_join()
        while member.heartbeat() is NONE:
            pass
        kafka.close()
        assert other.receive_join() is ErrorCode.NOT_COORDINATOR
    assert log.groups.list() == []
