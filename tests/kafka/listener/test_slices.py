"""Requests that name very much: they cost their client time, and nobody else."""

from __future__ import annotations

import select
from typing import Any

import pytest

import eventlog
import eventlog.kafka
from eventlog.kafka.protocol import ApiKey, ErrorCode
from tests.kafka.wire import Wire

GROUP = {"member_id": None, "member_epoch": -1, "topics": None}


@pytest.mark.parametrize(
    ("key", "version", "asked", "answered", "element", "name"),
    [
        (ApiKey.DESCRIBE_GROUPS, 5, "groups", "groups", str, "group_id"),
        (ApiKey.CONSUMER_GROUP_DESCRIBE, 1, "group_ids", "groups", str, "group_id"),
        (ApiKey.FIND_COORDINATOR, 4, "coordinator_keys", "coordinators", str, "key"),
        (ApiKey.DESCRIBE_TRANSACTIONS, 0, "transactional_ids", "transaction_states", str, "transactional_id"),
        (ApiKey.OFFSET_FETCH, 8, "groups", "groups", lambda one: {"group_id": one, **GROUP}, "group_id"),
        (
            *(ApiKey.DESCRIBE_CONFIGS, 4, "resources", "results"),
            lambda one: {"resource_type": 2, "resource_name": one, "configuration_keys": None},
            "resource_name",
        ),
    ],
)
def test_a_request_that_names_many_is_answered_in_order_each_once(
    wire: Wire, key: int, version: int, asked: str, answered: str, element: Any, name: str
) -> None:
    """However many slices it takes."""
    names = [f"n{number}" for number in range(100)]
    extra = {"key_type": 0} if key == ApiKey.FIND_COORDINATOR else {}
    answer = wire.ask(key, version, {asked: [element(one) for one in [*names, *names]], **extra})
    assert [one[name] for one in answer[answered]] == names


def test_others_are_answered_between_the_slices(kafka: eventlog.kafka.Listener, wire: Wire) -> None:
    """Thousands of groups are looked up meanwhile."""
    with Wire(kafka) as other:
        other.ask(ApiKey.API_VERSIONS, 0, {})
        wire.send(ApiKey.DESCRIBE_GROUPS, 5, {"groups": [f"n{number}" for number in range(5_000)]})
        answered = 0
        while not select.select([wire.socket], [], [], 0)[0]:
            other.ask(ApiKey.API_VERSIONS, 0, {})
            answered += 1
        assert len(wire.receive()["groups"]) == 5_000
    assert answered > 2


def test_others_are_answered_while_groups_are_listed(kafka: eventlog.kafka.Listener, wire: Wire) -> None:
    """There are hundreds of them."""
    wire.ask(ApiKey.METADATA, 9, {"topics": [{"name": "orders"}], "allow_auto_topic_creation": True})
    offset = {"partition_index": 0, "committed_offset": 0, "committed_leader_epoch": -1, "committed_metadata": ""}
    body = {
        "generation_id_or_member_epoch": -1,
        "member_id": "",
        "topics": [{"name": "orders", "partitions": [offset]}],
    }
    names = [f"g{number:03}" for number in range(300)]
    for name in names:
        wire.ask(ApiKey.OFFSET_COMMIT, 8, {"group_id": name, **body})
    with Wire(kafka) as other:
        other.ask(ApiKey.API_VERSIONS, 0, {})
        wire.send(ApiKey.LIST_GROUPS, 4, {"states_filter": []})
        answered = 0
        while not select.select([wire.socket], [], [], 0)[0]:
            other.ask(ApiKey.API_VERSIONS, 0, {})
            answered += 1
        assert [one["group_id"] for one in wire.receive()["groups"]] == names
    assert answered > 2


def test_a_topic_that_is_named_again_and_again_is_described_once(log: eventlog.EventLog, wire: Wire) -> None:
    """A short request would be a long answer."""
    log.topic("wide", partitions=1_000)
    topics = [{"name": "wide"}] * 20_000
    [topic] = wire.ask(ApiKey.METADATA, 9, {"topics": topics})["topics"]
    assert len(topic["partitions"]) == 1_000


def test_a_request_without_records_that_is_too_large_closes_its_connection(kafka: eventlog.kafka.Listener) -> None:
    """A Produce of that size is served."""
    for key, body, is_closed in (
        (ApiKey.METADATA, {"topics": [{"name": "n" * 30_000}] * 140}, True),
        (ApiKey.PRODUCE, {"acks": 0, "timeout_ms": 1, "topic_data": [{"name": "n" * 30_000}] * 140}, False),
    ):
        with Wire(kafka) as wire:
            wire.send(key, 8, {"topic_data": [], **body}, is_answered=False)
            if is_closed:
                assert wire.is_closed()
            else:
                assert wire.ask(ApiKey.METADATA, 8, {"topics": []})["controller_id"] == 1


def test_a_pattern_that_could_take_for_hours_is_refused(wire: Wire) -> None:
    """Python's engine tries all ways in which repetitions can match."""
    wire.ask(ApiKey.INIT_PRODUCER_ID, 4, {"transactional_id": "a" * 40 + "!", "transaction_timeout_ms": 1000})
    body = {"state_filters": [], "producer_id_filters": [], "transactional_id_pattern": "(a+)+"}
    assert wire.ask(ApiKey.LIST_TRANSACTIONS, 2, body)["error_code"] == ErrorCode.INVALID_REGULAR_EXPRESSION
    found = wire.ask(ApiKey.LIST_TRANSACTIONS, 2, {**body, "transactional_id_pattern": "a+!"})["transaction_states"]
    assert [one["transactional_id"] for one in found] == ["a" * 40 + "!"]
