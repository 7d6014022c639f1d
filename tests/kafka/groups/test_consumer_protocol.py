"""The new protocol of consumer groups, over connections, and together with native members."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import eventlog
from eventlog.kafka import Listener, listen
from eventlog.kafka.groups.consumer import members as consumer_members
from eventlog.kafka.protocol.api_keys import ApiKey
from eventlog.kafka.protocol.errors import ErrorCode
from tests.kafka.groups.consumers import ConsumerClient, settle
from tests.kafka.groups.members import GroupMember

NONE = ErrorCode.NONE


@pytest.fixture
def client(kafka: Listener) -> Iterator[ConsumerClient]:
    """A client that is no member yet."""
    with ConsumerClient(kafka) as client:
        yield client


@pytest.fixture
def second(kafka: Listener) -> Iterator[ConsumerClient]:
    """Another one."""
    with ConsumerClient(kafka) as client:
        yield client


@pytest.mark.parametrize("version", [0, 1])
def test_member_joins_beats_and_leaves(client: ConsumerClient, version: int) -> None:
    """Alone it gets everything with the first answer; the older version has the listener make its id."""
    if version == 0:
        client.member_id = ""
    assert client.join(version=version) is NONE
    assert (client.epoch > 0, bool(client.member_id), client.partitions) == (True, True, [0, 1, 2])
    assert client.report(version=version) is NONE
    assert client.answer["assignment"] is None
    assert client.leave() is NONE
    client.epoch = 1
    assert client.beat() is ErrorCode.UNKNOWN_MEMBER_ID


def test_partitions_move_in_two_steps(client: ConsumerClient, second: ConsumerClient) -> None:
    """The newcomer gets them once the owner says that it has stopped using them, and not before."""
    client.join()
    assert client.report() is NONE
    assert second.join() is NONE
    assert second.partitions == []
    epoch = client.epoch
    assert client.beat() is NONE
    assert client.epoch == epoch
    assert len(client.partitions) == 2
    assert second.beat() is NONE
    assert second.partitions == []
    assert client.report() is NONE
    assert client.epoch > epoch
    assert second.beat() is NONE
    assert len(second.partitions) == 1
    assert sorted(client.partitions + second.partitions) == [0, 1, 2]


def test_partitions_of_one_that_leaves_go_to_the_others(client: ConsumerClient, second: ConsumerClient) -> None:
    """At their next heartbeat."""
    client.join()
    second.join()
    settle(client, second)
    assert client.leave() is NONE
    assert second.beat() is NONE
    assert second.partitions == [0, 1, 2]


def test_epochs_are_fenced(client: ConsumerClient, second: ConsumerClient) -> None:
    """The one before is taken once more, if only the answer was lost."""
    client.join()
    assert client.report() is NONE
    before = client.epoch
    assert second.join() is NONE
    client.beat()
    client.report(is_obedient=False)
    assert client.answer["member_epoch"] > before
    assert client.report() is NONE
    assert client.answer["assignment"] is not None
    client.epoch = 999
    assert client.beat() is ErrorCode.FENCED_MEMBER_EPOCH
    assert client.join() is NONE


def test_commits_are_fenced_by_ownership(
    log: eventlog.EventLog, client: ConsumerClient, second: ConsumerClient
) -> None:
    """A member commits for what it owns, in its present epoch."""
    client.join()
    client.report()
    assert client.commit({0: 1, 1: 1, 2: 1}) == [NONE] * 3
    stale = ErrorCode.STALE_MEMBER_EPOCH
    assert client.commit({0: 2}, epoch=client.epoch + 1) == [stale]
    second.join()
    settle(client, second)
    [lost] = second.partitions
    assert client.commit({lost: 5}) == [stale]
    assert second.commit({lost: 6}) == [NONE]
    second.leave()
    assert second.commit({lost: 7}, epoch=1) == [ErrorCode.UNKNOWN_MEMBER_ID]
    assert log.groups.describe("billing").offsets[lost].committed == 6


def test_native_and_kafka_members_share_a_group(log: eventlog.EventLog, client: ConsumerClient) -> None:
    """They divide the partitions by the same rules, and none is read by two of them."""
    for number in range(3):
        log.topic("orders").append(b"tea", partition=number)
    with log.consumer("orders", group="billing") as consumer:
        assert len(consumer.poll(1.0)) == 3
        assert client.join() is NONE
        assert client.partitions == []
        consumer.poll(0.0)
        assert client.beat() is NONE
        assert len(client.partitions) == 1
        native = sorted(tp.partition for tp in consumer.assignment())
        assert sorted(native + client.partitions) == [0, 1, 2]
        described = log.groups.describe("billing")
        assert (described.state, described.assignor, len(described.members)) == ("stable", "sticky", 2)
        [owned] = client.partitions
        assert log.groups.describe("billing").offsets[owned].committed == 1
        assert client.commit({owned: 1}) == [NONE]
    assert client.beat() is NONE
    assert client.partitions == [0, 1, 2]


def test_static_member_keeps_its_place(kafka: Listener, second: ConsumerClient) -> None:
    """It steps aside, comes back under another id, and has what it had; nobody else got it."""
    with ConsumerClient(kafka, instance_id="a") as first, ConsumerClient(kafka, instance_id="a") as successor:
        first.join()
        second.join()
        settle(first, second)
        had = first.partitions
        assert successor.join() is ErrorCode.UNRELEASED_INSTANCE_ID
        assert first.leave(-2) is NONE
        assert second.beat() is NONE
        assert successor.join() is NONE
        settle(successor, second)
        assert successor.partitions == had
        first.epoch = 1
        assert first.beat() is ErrorCode.FENCED_INSTANCE_ID


def test_topics_by_regular_expression(log: eventlog.EventLog, kafka: Listener) -> None:
    """Topics that appear later are found at the next heartbeat; what is not safe to match is refused."""
    log.topic("refunds-eu", partitions=2)
    with ConsumerClient(kafka, topics=None, regex="refunds-.*") as client:
        assert client.join() is NONE
        assert client.partitions == [0, 1]
        log.topic("refunds-us")
        assert client.beat() is NONE
        assert client.partitions == [0, 0, 1]
        assert client.beat(subscribed_topic_regex="refunds-us") is NONE
        assert client.partitions == [0]
        for pattern in ("(a+)+$", "a(", "(?=x)a", ".*.*.*x", "a" * 2_000):
            assert client.beat(subscribed_topic_regex=pattern) is ErrorCode.INVALID_REGULAR_EXPRESSION


def test_subscription_can_change(log: eventlog.EventLog, client: ConsumerClient) -> None:
    """It gives up the one topic and gets the other."""
    log.topic("refunds", partitions=2)
    client.join()
    client.report()
    assert client.beat(subscribed_topic_names=["refunds"]) is NONE
    settle(client)
    assert [*client.owned] == [log.topic("refunds").uuid]


def test_invalid_requests_are_refused(client: ConsumerClient) -> None:
    """Each by Kafka's error, and nobody is a member afterwards."""
    invalid = ErrorCode.INVALID_REQUEST
    assert client.beat() is invalid
    assert client.join(server_assignor="mine") is ErrorCode.UNSUPPORTED_ASSIGNOR
    assert client.join(instance_id="") is invalid
    client.topics = ()
    assert client.join() is invalid
    client.topics = ("orders",)
    assert client.leave(-2) is invalid
    assert client.leave(-3) is invalid
    client.epoch = 4
    assert client.beat() is ErrorCode.UNKNOWN_MEMBER_ID


def test_classic_and_new_members_exclude_each_other(client: ConsumerClient, member: GroupMember) -> None:
    """A group is of one kind as long as it has members."""
    assert member.join() is NONE
    assert client.join() is ErrorCode.GROUP_ID_NOT_FOUND
    member.leave()
    assert client.join() is NONE
    member.member_id = ""
    member.send_join()
    assert member.receive_join() is ErrorCode.INCONSISTENT_GROUP_PROTOCOL


def test_silent_member_is_removed(
    client: ConsumerClient, second: ConsumerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session ends by the listener's clock."""
    monkeypatch.setattr(consumer_members, "SESSION_S", 1.0)
    client.join()
    second.join()
    while second.partitions != [0, 1, 2]:
        assert second.report() is NONE
    assert client.beat() is ErrorCode.UNKNOWN_MEMBER_ID


def test_member_whose_connection_ended_is_waited_for_less_long(
    kafka: Listener, second: ConsumerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that was killed; one that is alive has another connection by then."""
    monkeypatch.setattr(consumer_members, "ORPHAN_S", 1.0)
    with ConsumerClient(kafka) as client:
        client.join()
    with ConsumerClient(kafka) as again:
        again.member_id, again.epoch = client.member_id, client.epoch
        assert second.join() is NONE
        settle(again, second)
        assert len(again.partitions) + len(second.partitions) == 3
    while second.partitions != [0, 1, 2]:
        assert second.report() is NONE


def test_member_that_gives_nothing_up_is_removed(kafka: Listener, second: ConsumerClient) -> None:
    """After its own rebalance timeout, however alive it is."""
    with ConsumerClient(kafka, rebalance_ms=200) as stubborn:
        stubborn.join()
        second.join()
        while stubborn.beat() is NONE:
            assert second.report() is NONE
        assert stubborn.answer["error_code"] == ErrorCode.UNKNOWN_MEMBER_ID
        assert second.report() is NONE
        assert second.partitions == [0, 1, 2]


def test_group_is_described(log: eventlog.EventLog, client: ConsumerClient, member: GroupMember) -> None:
    """Clients by the ids that they have, native members by theirs."""
    client.join()
    client.report()
    with log.consumer("orders", group="billing"):
        answer = member.ask(ApiKey.CONSUMER_GROUP_DESCRIBE, 1, {"group_ids": ["billing", "nobody"]})
        group, nobody = answer["groups"]
        assert (group["error_code"], group["group_state"], group["assignor_name"]) == (NONE, "Reconciling", "uniform")
        mine = next(one for one in group["members"] if one["member_id"] == client.member_id)
        assert (mine["client_id"], mine["subscribed_topic_names"]) == ("wire", ["orders"])
        assert [one["topic_name"] for one in mine["assignment"]["topic_partitions"]] == ["orders"]
        assert len(group["members"]) == 2
        assert nobody["error_code"] == ErrorCode.GROUP_ID_NOT_FOUND
    listed = member.ask(ApiKey.LIST_GROUPS, 5, {})["groups"]
    assert [(one["group_id"], one["group_type"]) for one in listed] == [("billing", "consumer")]


def test_members_of_two_listeners_share_a_group(log: eventlog.EventLog, kafka: Listener) -> None:
    """No listener coordinates it alone: the log does."""
    with listen(log) as other, ConsumerClient(kafka) as here, ConsumerClient(other) as there:
        here.join()
        there.join()
        settle(here, there)
        assert sorted(here.partitions + there.partitions) == [0, 1, 2]
        there.leave()
        assert here.beat() is NONE
        assert here.partitions == [0, 1, 2]


def test_stop_of_the_listener_frees_the_partitions(log: eventlog.EventLog) -> None:
    """Its members leave with it."""
    log.topic("orders", partitions=3)
    with listen(log) as kafka, ConsumerClient(kafka) as client:
        client.join()
    with log.consumer("orders", group="billing") as consumer:
        assert len(consumer.assignment()) == 3
