"""Committed offsets over connections: every version, who may commit, what native consumers see of it."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

import eventlog
from eventlog.kafka import Listener, listen
from eventlog.kafka.protocol.api_keys import ApiKey
from eventlog.kafka.protocol.errors import ErrorCode
from tests.kafka.groups.members import GroupMember, assignment

NONE = ErrorCode.NONE
UNKNOWN = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


@pytest.mark.parametrize("version", range(2, 11))
def test_offsets_are_committed_and_fetched_in_every_version(
    log: eventlog.EventLog, member: GroupMember, version: int
) -> None:
    """Offset, leader epoch and metadata come back as they were stored, as far as the versions have them."""
    topic_id = log.topic("orders").uuid
    assert member.commit({0: 5, 2: 7}, version=version, metadata="m", epoch=3, topic_id=topic_id) == [NONE, NONE]
    asked = {"partition_indexes": [0, 1, 2], **({"topic_id": topic_id} if version >= 10 else {"name": "orders"})}
    body = (
        {"groups": [{"group_id": "billing", "topics": [asked]}]}
        if version >= 8
        else {"group_id": "billing", "topics": [asked]}
    )
    answer = member.ask(ApiKey.OFFSET_FETCH, version, body)
    topic = (answer["groups"][0] if version >= 8 else answer)["topics"][0]
    assert topic["topic_id"] == topic_id if version >= 10 else topic["name"] == "orders"
    assert [one["committed_offset"] for one in topic["partitions"]] == [5, -1, 7]
    assert [one["metadata"] for one in topic["partitions"]] == ["m", "", "m"]
    epoch = 3 if version >= 6 else -1
    assert [one["committed_leader_epoch"] for one in topic["partitions"]] == [epoch, -1, epoch]


def test_all_offsets_of_several_groups_are_fetched_at_once(member: GroupMember, other: GroupMember) -> None:
    """Without topics, a group's answer has all that it has committed."""
    other.group = "shipping"
    member.commit({0: 1})
    other.commit({1: 2})
    groups = [{"group_id": name, "topics": None} for name in ("billing", "shipping", "nobody", "")]
    answer = member.ask(ApiKey.OFFSET_FETCH, 9, {"groups": groups})
    found = {
        group["group_id"]: [
            (topic["name"], one["partition_index"], one["committed_offset"])
            for topic in group["topics"]
            for one in topic["partitions"]
        ]
        for group in answer["groups"]
    }
    assert found == {"billing": [("orders", 0, 1)], "shipping": [("orders", 1, 2)], "nobody": [], "": []}
    assert answer["groups"][3]["error_code"] == ErrorCode.INVALID_GROUP_ID


def test_each_partition_of_a_commit_is_judged_alone(log: eventlog.EventLog, member: GroupMember) -> None:
    """What cannot be stored has its error, and the rest is stored; offsets beyond the end are taken, as in Kafka."""
    assert member.commit({0: 10**12, 3: 1, -1: 1, 1: -5}) == [NONE, UNKNOWN, UNKNOWN, ErrorCode.OFFSET_OUT_OF_RANGE]
    assert member.commit({0: 1}, topic="refunds") == [UNKNOWN]
    assert member.commit({0: 1}, topic="a/b") == [UNKNOWN]
    assert member.commit({1: 4}, metadata="m" * 4097) == [ErrorCode.OFFSET_METADATA_TOO_LARGE]
    assert member.commit({2: 4}, metadata=None) == [NONE]
    assert member.commit({0: 1}, version=10, topic_id=UUID(int=7)) == [ErrorCode.UNKNOWN_TOPIC_ID]
    assert member.committed(0, 1, 2, 3) == [10**12, -1, 4, -1]
    assert log.verify().problems == (), "an offset beyond the end is no damage, if it was meant"


def test_only_members_of_the_generation_commit(member: GroupMember, other: GroupMember) -> None:
    """A simple consumer or an admin may commit for a group that has no members."""
    assert other.commit({0: 1}) == [NONE]
    assert member.join() is NONE
    assert member.commit({0: 2}) == [ErrorCode.REBALANCE_IN_PROGRESS]
    member.sync()
    assert member.commit({0: 2}) == [NONE]
    assert other.commit({0: 3}) == [ErrorCode.UNKNOWN_MEMBER_ID]
    member.generation = 7
    assert member.commit({0: 4}) == [ErrorCode.ILLEGAL_GENERATION]
    assert member.committed(0) == [2]
    member.generation = 1
    assert member.leave() is NONE
    assert other.commit({0: 5}) == [NONE]


def test_native_consumers_go_on_from_offsets_of_kafka_and_back(log: eventlog.EventLog, member: GroupMember) -> None:
    """They are the same offsets."""
    for value in (b"tea", b"milk", b"salt"):
        log.topic("orders").append(value, partition=0)
    assert member.commit({0: 2, 1: 0, 2: 0}, metadata="half", epoch=0) == [NONE] * 3
    place = log.groups.describe("billing").offsets[0]
    assert (place.committed, place.metadata, place.leader_epoch) == (2, "half", 0)
    with log.consumer("orders", group="billing") as consumer:
        assert [record.value for record in consumer.poll(1.0)] == [b"salt"]
        consumer.commit()
    assert member.committed(0) == [3]


def test_members_of_kafka_hold_the_group_against_native_programs(log: eventlog.EventLog, member: GroupMember) -> None:
    """Offsets of a live group cannot be changed natively, unless by force: then its members are told."""
    assert member.join() is NONE
    member.sync({member.member_id: assignment(orders=[0, 1, 2])})
    assert member.commit({0: 0}) == [NONE]
    with pytest.raises(eventlog.GroupNotEmpty):
        log.groups.reset_offsets("billing", to="earliest")
    with pytest.raises(eventlog.GroupNotEmpty):
        log.groups.delete_offsets("billing", "orders")
    log.groups.reset_offsets("billing", to="earliest", force=True)
    assert member.commit({0: 0}) == [ErrorCode.UNKNOWN_MEMBER_ID]
    assert member.heartbeat() is ErrorCode.UNKNOWN_MEMBER_ID
    member.member_id = ""
    assert member.join() is NONE
    assert member.committed(0) == [0]


def test_offsets_are_deleted_unless_somebody_reads_the_topic(
    log: eventlog.EventLog, member: GroupMember, other: GroupMember
) -> None:
    """Partition by partition, also while the group has members that read something else."""
    log.topic("refunds")
    member.commit({0: 1, 1: 2})
    member.commit({0: 3}, topic="refunds")

    def delete(topic: str, *partitions: int) -> list[int]:
        asked = {"name": topic, "partitions": [{"partition_index": number} for number in partitions]}
        answer = other.ask(ApiKey.OFFSET_DELETE, 0, {"group_id": "billing", "topics": [asked]})
        assert answer["error_code"] == NONE
        return [one["error_code"] for one in answer["topics"][0]["partitions"]]

    assert delete("orders", 0, 9) == [NONE, UNKNOWN]
    assert delete("nothing", 0) == [UNKNOWN]
    assert member.committed(0, 1) == [-1, 2]
    assert member.join() is NONE
    member.sync()
    assert delete("orders", 1) == [ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC]
    assert delete("refunds", 0) == [NONE]
    assert member.committed(1) == [2]
    assert member.committed(0, topic="refunds") == [-1]
    answer = other.ask(ApiKey.OFFSET_DELETE, 0, {"group_id": "nobody", "topics": []})
    assert answer["error_code"] == ErrorCode.GROUP_ID_NOT_FOUND


def test_offsets_outlive_the_listener(path: Path) -> None:
    """They are stored when the answer comes."""
    with eventlog.open(path) as log:
        log.topic("orders")
        with listen(log) as kafka, GroupMember(kafka) as member:
            assert member.join() is NONE
            member.sync()
            assert member.commit({0: 9}) == [NONE]
        with listen(log) as kafka, GroupMember(kafka) as member:
            assert member.committed(0) == [9]


def test_stale_listener_cannot_commit(log: eventlog.EventLog, kafka: Listener, member: GroupMember) -> None:
    """A group that somebody has deleted by force has no members any more, whatever the listener remembers."""
    assert member.join() is NONE
    member.sync()
    assert member.commit({0: 1}) == [NONE]
    log.groups.delete("billing", force=True)
    assert member.commit({0: 2}) == [ErrorCode.UNKNOWN_MEMBER_ID]
    assert log.groups.list() == []
    assert kafka.port
