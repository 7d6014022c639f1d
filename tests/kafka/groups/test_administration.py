"""The administration of groups over connections: list, describe, delete; of Kafka's members and of native ones."""

from __future__ import annotations

from typing import Any

import eventlog
from eventlog.cli.group_text import group_lines
from eventlog.kafka import Listener
from eventlog.kafka.protocol.api_keys import ApiKey
from eventlog.kafka.protocol.errors import ErrorCode
from tests.kafka.groups.members import GroupMember, assignment, subscription

NONE = ErrorCode.NONE


def listed(client: GroupMember, version: int = 5, **filters: Any) -> dict[str, tuple[str, str, str]]:
    """The groups that are listed."""
    answer = client.ask(ApiKey.LIST_GROUPS, version, filters)
    return {one["group_id"]: (one["group_state"], one["protocol_type"], one["group_type"]) for one in answer["groups"]}


def described(client: GroupMember, name: str = "billing", version: int = 6) -> dict[str, Any]:
    """The description of a group."""
    answer = client.ask(ApiKey.DESCRIBE_GROUPS, version, {"groups": [name]})
    group: dict[str, Any] = answer["groups"][0]
    return group


def deleted(client: GroupMember, *names: str, version: int = 2) -> list[ErrorCode]:
    """The outcome of each deletion."""
    answer = client.ask(ApiKey.DELETE_GROUPS, version, {"groups_names": list(names)})
    return [ErrorCode(one["error_code"]) for one in answer["results"]]


def test_groups_are_listed_with_their_states(log: eventlog.EventLog, member: GroupMember, other: GroupMember) -> None:
    """Those of Kafka's members, of native ones, and those that have offsets alone."""
    other.group = "offsets"
    other.commit({0: 1})
    assert member.join() is NONE
    with log.consumer("orders", group="native"):
        found = listed(other)
        assert found["billing"] == ("CompletingRebalance", "consumer", "classic")
        assert found["native"] == ("Stable", "consumer", "consumer")
        assert found["offsets"] == ("Empty", "", "classic")
        member.sync()
        assert listed(other, states_filter=["stable"]).keys() == {"billing", "native"}
        assert listed(other, types_filter=["Classic"]).keys() == {"billing", "offsets"}
        assert listed(other, 0).keys() == {"billing", "native", "offsets"}
    member.leave()
    member.commit({0: 1})
    member.member_id, member.generation = "", -1
    member.commit({0: 1})
    assert listed(other)["billing"] == ("Empty", "consumer", "classic")


def test_group_is_described_in_every_version(member: GroupMember) -> None:
    """Members, metadata and assignments are those of the stable generation."""
    member.instance_id = "a"
    assert member.join() is NONE
    mine = assignment(orders=[0, 1, 2])
    member.sync({member.member_id: mine})
    for version in range(7):
        group = described(member, version=version)
        assert (group["error_code"], group["group_state"], group["protocol_data"]) == (NONE, "Stable", "range")
        [one] = group["members"]
        assert one["member_id"] == member.member_id
        assert one["group_instance_id"] == ("a" if version >= 4 else None)
        assert (one["client_id"], one["client_host"]) == ("wire", "/127.0.0.1")
        assert bytes(one["member_metadata"]) == subscription("orders")
        assert bytes(one["member_assignment"]) == mine


def test_group_that_is_not_there_is_dead(member: GroupMember) -> None:
    """Newer clients are told by an error (KIP-1043)."""
    assert described(member, version=5)["group_state"] == "Dead"
    assert described(member, version=5)["error_code"] == NONE
    assert described(member)["error_code"] == ErrorCode.GROUP_ID_NOT_FOUND


def test_native_members_are_described(log: eventlog.EventLog, member: GroupMember) -> None:
    """A Kafka client's tools show what they have."""
    with log.consumer("orders", group="billing"):
        group = described(member)
    assert (group["group_state"], group["protocol_type"], group["protocol_data"]) == ("Stable", "consumer", "sticky")
    [one] = group["members"]
    assert bytes(one["member_metadata"]) == subscription("orders")
    assert bytes(one["member_assignment"]) == assignment(orders=[0, 1, 2])


def test_native_administration_shows_the_group(log: eventlog.EventLog, member: GroupMember) -> None:
    """One live member, the listener, which stands for its clients, with the partitions that they have."""
    assert member.join() is NONE
    member.sync({member.member_id: assignment(orders=[0, 2])})
    group = log.groups.describe("billing")
    assert group.state == "stable"
    assert group.assignor is not None
    assert group.assignor.startswith("kafka node ")
    assert next(group_lines(group)).startswith(f"billing: stable, epoch {group.epoch}, clients of kafka node 1 at ")
    [one] = group.members
    assert one.state == "alive"
    assert one.topics == ("orders",)
    assert [tp.partition for tp in one.partitions] == [0, 2]
    member.leave()
    assert log.groups.list() == []


def test_topics_that_cannot_be_are_not_shown(log: eventlog.EventLog, kafka: Listener) -> None:
    """A client may subscribe to whatever it likes; the rows of the group hold names of topics alone."""
    with GroupMember(kafka, topics=("orders", "a/b", "")) as member:
        assert member.join() is NONE
        member.sync({member.member_id: assignment(orders=[0])})
        assert log.groups.describe("billing").members[0].topics == ("orders",)
    log.verify()


def test_groups_without_members_are_deleted(log: eventlog.EventLog, member: GroupMember) -> None:
    """With their offsets; those with members are not, of whichever kind."""
    member.commit({0: 1})
    assert deleted(member, "billing", "nobody", "") == [
        NONE,
        ErrorCode.GROUP_ID_NOT_FOUND,
        ErrorCode.INVALID_GROUP_ID,
    ]
    assert member.committed(0) == [-1]
    assert member.join() is NONE
    with log.consumer("orders", group="native"):
        assert deleted(member, "billing", "native", version=0) == [ErrorCode.NON_EMPTY_GROUP] * 2
    member.leave()
    assert deleted(member, "billing") == [NONE]
