"""Metadata: nodes, topics, partitions, and topics that are made because a client asks for them."""

from __future__ import annotations

from uuid import UUID

import pytest

import eventlog
import eventlog.kafka
from eventlog.kafka.protocol import ApiKey, ErrorCode
from tests.kafka.wire import Wire

NO_ID = UUID(int=0)


def test_every_version_describes_a_topic(log: eventlog.EventLog, wire: Wire) -> None:
    """By its name; all partitions are led by the one node there is."""
    log.topic("orders", partitions=3)
    for version in range(14):
        answer = wire.ask(ApiKey.METADATA, version, {"topics": [{"name": "orders"}]})
        assert [broker["node_id"] for broker in answer["brokers"]] == [1]
        [topic] = answer["topics"]
        assert (topic["error_code"], topic["name"]) == (0, "orders")
        assert sorted(one["partition_index"] for one in topic["partitions"]) == [0, 1, 2]
        assert {one["leader_id"] for one in topic["partitions"]} == {1}
        assert {tuple(one["isr_nodes"]) for one in topic["partitions"]} == {(1,)}


def test_all_topics_are_asked_for_by_null_and_in_version_0_by_an_empty_list(log: eventlog.EventLog, wire: Wire) -> None:
    """An empty list is no topic from version 1 on."""
    for name in ("a", "b"):
        log.topic(name)
    for version, asked in ((0, []), (1, None), (4, None), (12, None)):
        answer = wire.ask(ApiKey.METADATA, version, {"topics": asked})
        assert [topic["name"] for topic in answer["topics"]] == ["a", "b"]
    for version in range(1, 14):
        assert wire.ask(ApiKey.METADATA, version, {"topics": []})["topics"] == []


def test_a_topic_is_found_by_its_id(log: eventlog.EventLog, wire: Wire) -> None:
    """The id is the topic's own, in every process; one that is not there has an error."""
    uuid = log.topic("orders").uuid
    for version in (12, 13):
        asked = [{"topic_id": uuid, "name": None}, {"topic_id": UUID(int=5), "name": None}]
        found, missing = wire.ask(ApiKey.METADATA, version, {"topics": asked})["topics"]
        assert (found["name"], found["topic_id"], found["error_code"]) == ("orders", uuid, 0)
        assert (missing["name"], missing["error_code"]) == (None, ErrorCode.UNKNOWN_TOPIC_ID)
    log.delete_topic("orders")
    [topic] = wire.ask(ApiKey.METADATA, 12, {"topics": [{"topic_id": uuid, "name": None}]})["topics"]
    assert topic["error_code"] == ErrorCode.UNKNOWN_TOPIC_ID


def test_a_topic_is_created_when_a_client_asks_for_it(log: eventlog.EventLog) -> None:
    """With the listener's count of partitions, for bytes; it is there in the same answer, and in the log."""
    with eventlog.kafka.listen(log, partitions=4) as kafka, Wire(kafka) as wire:
        for version in (1, 3, 4, 12):
            name = f"fresh-{version}"
            [topic] = wire.ask(ApiKey.METADATA, version, {"topics": [{"name": name}]})["topics"]
            assert (topic["error_code"], len(topic["partitions"])) == (0, 4)
            assert log.topic(name).partitions == 4
            log.topic(name).append(b"bytes")


def test_a_topic_is_not_created_when_either_side_says_no(log: eventlog.EventLog) -> None:
    """The client by its request, the listener by its option."""
    asked = {"topics": [{"name": "fresh"}], "allow_auto_topic_creation": False}
    with eventlog.kafka.listen(log) as kafka, Wire(kafka) as wire:
        for version in range(4, 14):
            [topic] = wire.ask(ApiKey.METADATA, version, asked)["topics"]
            assert topic["error_code"] == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    with eventlog.kafka.listen(log, auto_create_topics=False) as kafka, Wire(kafka) as wire:
        [topic] = wire.ask(ApiKey.METADATA, 12, {"topics": [{"name": "fresh"}]})["topics"]
        assert topic["error_code"] == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert log.topics() == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "x" * 250, "\u00e4"])
def test_an_illegal_name_is_an_invalid_topic(log: eventlog.EventLog, wire: Wire, name: str) -> None:
    """In the answer, beside the topics that are there; nothing is created."""
    log.topic("orders")
    answer = wire.ask(ApiKey.METADATA, 9, {"topics": [{"name": name}, {"name": "orders"}]})
    assert [topic["error_code"] for topic in answer["topics"]] == [ErrorCode.INVALID_TOPIC_EXCEPTION, 0]
    assert log.topics() == ["orders"]


def test_kafka_own_topics_are_not_made(log: eventlog.EventLog, wire: Wire) -> None:
    """Committed offsets are no topic here."""
    [topic] = wire.ask(ApiKey.METADATA, 12, {"topics": [{"name": "__consumer_offsets"}]})["topics"]
    assert topic["error_code"] == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert log.topics() == []


def test_a_topic_that_cannot_be_created_has_the_reason(log: eventlog.EventLog) -> None:
    """On a full disk, the others are described."""
    from eventlog import testing

    with testing.open() as log, eventlog.kafka.listen(log) as kafka, Wire(kafka) as wire:
        log.topic("orders")
        with testing.full_disk(log):
            answer = wire.ask(ApiKey.METADATA, 12, {"topics": [{"name": "fresh"}, {"name": "orders"}]})
        assert [topic["error_code"] for topic in answer["topics"]] == [ErrorCode.KAFKA_STORAGE_ERROR, 0]


def test_the_cluster_has_the_log_id(log: eventlog.EventLog, wire: Wire) -> None:
    """In Kafka's form, 22 letters of base64; operations are named where they are asked for."""
    answer = wire.ask(ApiKey.METADATA, 8, {"topics": None, "include_cluster_authorized_operations": True})
    assert len(answer["cluster_id"]) == 22
    assert answer["controller_id"] == 1
    assert answer["cluster_authorized_operations"] > 0
