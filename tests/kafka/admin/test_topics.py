"""CreateTopics, DeleteTopics and CreatePartitions; the codes are those that a Kafka 4.4 gave to the same requests."""

from __future__ import annotations

from uuid import UUID

import pytest

import eventlog
from eventlog.kafka.protocol import NO_UUID, ApiKey, ErrorCode
from tests.kafka.admin.requests import code_of_creation, create, delete
from tests.kafka.wire import Wire


def test_every_version_creates_a_topic(log: eventlog.EventLog, wire: Wire) -> None:
    """It is there in the log when the answer comes."""
    for version in range(2, 8):
        created = create(wire, f"teas-{version}", version=version, num_partitions=3)
        assert created["error_code"] == ErrorCode.NONE
        assert log.topic(f"teas-{version}").partitions == 3


def test_a_created_topic_is_described_in_the_answer(log: eventlog.EventLog, wire: Wire) -> None:
    """With its id, its counts and all of its configs."""
    created = create(wire, "teas", num_partitions=-1, replication_factor=3, configs={"retention.ms": "5000"})
    assert created["topic_id"] == log.topic("teas").uuid
    assert (created["num_partitions"], created["replication_factor"]) == (2, 1)
    configs = {config["name"]: (config["value"], config["config_source"]) for config in created["configs"]}
    assert configs["retention.ms"] == ("5000", 1)
    assert configs["cleanup.policy"] == ("delete", 5)


def test_a_dry_run_creates_nothing(log: eventlog.EventLog, wire: Wire) -> None:
    """It answers as if it had."""
    created = create(wire, "teas", is_dry=True, num_partitions=4)
    assert (created["error_code"], created["num_partitions"]) == (ErrorCode.NONE, 4)
    assert code_of_creation(wire, "teas", is_dry=True, num_partitions=0) == ErrorCode.INVALID_PARTITIONS
    assert log.topics() == []


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "x" * 250, "__consumer_offsets"])
def test_a_name_that_no_topic_can_have_is_refused(log: eventlog.EventLog, wire: Wire, name: str) -> None:
    """Kafka's rule for names is ours; its own topics are none of ours."""
    assert code_of_creation(wire, name) == ErrorCode.INVALID_TOPIC_EXCEPTION
    assert log.topics() == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"num_partitions": 0}, ErrorCode.INVALID_PARTITIONS),
        ({"num_partitions": -2}, ErrorCode.INVALID_PARTITIONS),
        ({"num_partitions": 100_001}, ErrorCode.POLICY_VIOLATION),
        ({"replication_factor": 0}, ErrorCode.INVALID_REPLICATION_FACTOR),
        ({"replication_factor": -2}, ErrorCode.INVALID_REPLICATION_FACTOR),
        ({"assignments": [{"partition_index": 0, "broker_ids": [1]}]}, ErrorCode.INVALID_REQUEST),
        ({"configs": {"foo": "1"}}, ErrorCode.INVALID_CONFIG),
        ({"configs": {"retention.ms": "x"}}, ErrorCode.INVALID_CONFIG),
        ({"configs": {"retention.ms": "-2"}}, ErrorCode.INVALID_CONFIG),
        ({"configs": {"retention.ms": None}}, ErrorCode.INVALID_CONFIG),
        ({"configs": {"cleanup.policy": "shred"}}, ErrorCode.INVALID_CONFIG),
        ({"configs": {"min.cleanable.dirty.ratio": "1.5"}}, ErrorCode.INVALID_CONFIG),
        ({"configs": {"preallocate": "yes"}}, ErrorCode.INVALID_CONFIG),
        ({"configs": {"compression.type": "rar"}}, ErrorCode.INVALID_CONFIG),
        ({"configs": {"message.timestamp.type": "LogAppendTime"}}, ErrorCode.INVALID_CONFIG),
    ],
)
def test_what_no_topic_can_have_is_refused(
    log: eventlog.EventLog, wire: Wire, fields: dict[str, object], code: ErrorCode
) -> None:
    """Counts, factors and configs are judged before anything is stored."""
    created = create(wire, "teas", **fields)
    assert created["error_code"] == code
    assert created["error_message"]
    assert log.topics() == []


@pytest.mark.parametrize(
    ("assignments", "code"),
    [
        ([(0, [1]), (1, [1])], ErrorCode.NONE),
        ([(1, [1])], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        ([(0, [7])], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        ([(0, [1, 1])], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        ([(0, [])], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
    ],
)
def test_replicas_are_assigned_to_the_one_node(
    wire: Wire, assignments: list[tuple[int, list[int]]], code: ErrorCode
) -> None:
    """The assignments say how many partitions there are."""
    asked = [{"partition_index": number, "broker_ids": nodes} for number, nodes in assignments]
    created = create(wire, "teas", num_partitions=-1, replication_factor=-1, assignments=asked)
    assert created["error_code"] == code
    if code == ErrorCode.NONE:
        assert created["num_partitions"] == 2


def test_a_topic_that_exists_is_not_created_again(log: eventlog.EventLog, wire: Wire) -> None:
    """Nor one that a native program has made, nor one that a request names twice."""
    log.topic("teas", partitions=4)
    assert code_of_creation(wire, "teas") == ErrorCode.TOPIC_ALREADY_EXISTS
    topics = [{"name": "cups", "num_partitions": count, "replication_factor": 1} for count in (1, 2)]
    [answer] = wire.ask(ApiKey.CREATE_TOPICS, 7, {"topics": topics})["topics"]
    assert answer["error_code"] == ErrorCode.INVALID_REQUEST
    assert log.topics() == ["teas"]


# --- deletion ---------------------------------------------------------------------------------------------------------


def test_every_version_deletes_topics(log: eventlog.EventLog, wire: Wire) -> None:
    """Those that are there; the others have an error each."""
    for version in range(1, 7):
        log.topic("teas").append(b"green")
        codes = delete(wire, "teas", "cups", version=version)
        assert sorted(codes) == [ErrorCode.NONE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]
        assert log.topics() == []


def test_a_topic_is_deleted_by_its_id(log: eventlog.EventLog, wire: Wire) -> None:
    """The id of a deleted topic is unknown from then on."""
    topic_id = log.topic("teas").uuid
    body = {"topics": [{"name": None, "topic_id": topic_id}]}
    [answer] = wire.ask(ApiKey.DELETE_TOPICS, 6, body)["responses"]
    assert (answer["name"], answer["error_code"]) == ("teas", ErrorCode.NONE)
    assert log.topics() == []
    [answer] = wire.ask(ApiKey.DELETE_TOPICS, 6, body)["responses"]
    assert answer["error_code"] == ErrorCode.UNKNOWN_TOPIC_ID


def test_a_deletion_that_names_no_topic_or_one_twice_is_refused(log: eventlog.EventLog, wire: Wire) -> None:
    """By its name and its id at once is twice as well."""
    topic_id = log.topic("teas").uuid
    for asked in (
        [{"name": "teas", "topic_id": topic_id}],
        [{"name": None, "topic_id": NO_UUID}],
        [{"name": "teas", "topic_id": NO_UUID}, {"name": "teas", "topic_id": NO_UUID}],
        [{"name": "teas", "topic_id": NO_UUID}, {"name": None, "topic_id": topic_id}],
    ):
        answers = wire.ask(ApiKey.DELETE_TOPICS, 6, {"topics": asked})["responses"]
        assert {answer["error_code"] for answer in answers} == {ErrorCode.INVALID_REQUEST}
    body = {"topics": [{"name": None, "topic_id": UUID(int=7)}]}
    [answer] = wire.ask(ApiKey.DELETE_TOPICS, 6, body)["responses"]
    assert answer["error_code"] == ErrorCode.UNKNOWN_TOPIC_ID
    assert log.topics() == ["teas"]


# --- partitions -------------------------------------------------------------------------------------------------------


def _partitions(wire: Wire, name: str, count: int, *, version: int = 3, **fields: object) -> ErrorCode:
    body = {"topics": [{"name": name, "count": count, "assignments": fields.pop("assignments", None)}], **fields}
    [result] = wire.ask(ApiKey.CREATE_PARTITIONS, version, body)["results"]
    return ErrorCode(result["error_code"])


def test_partitions_are_added(log: eventlog.EventLog, wire: Wire) -> None:
    """Every version does it, and a native program sees them."""
    topic = log.topic("teas")
    for version in range(4):
        assert _partitions(wire, "teas", version + 2, version=version) == ErrorCode.NONE
        assert log.topic("teas").partitions == version + 2
    assert topic.partitions == 5


def test_a_topic_without_a_name_is_an_unknown_one(wire: Wire) -> None:
    """As with Kafka; no row of the log could have that name."""
    assert _partitions(wire, "", 2) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    topics = [{"name": "", "partitions": [{"partition_index": 0, "offset": -1}]}]
    [topic] = wire.ask(ApiKey.DELETE_RECORDS, 2, {"topics": topics, "timeout_ms": 1_000})["topics"]
    assert [one["error_code"] for one in topic["partitions"]] == [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]


def test_partitions_are_never_removed(log: eventlog.EventLog, wire: Wire) -> None:
    """As many or fewer are refused, and so is what is not there."""
    log.topic("teas", partitions=3)
    for count in (3, 2, 0, -1):
        assert _partitions(wire, "teas", count) == ErrorCode.INVALID_PARTITIONS
    assert _partitions(wire, "teas", 100_001) == ErrorCode.POLICY_VIOLATION
    assert _partitions(wire, "cups", 3) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert _partitions(wire, "teas", 5, validate_only=True) == ErrorCode.NONE
    short = [{"broker_ids": [1]}]
    assert _partitions(wire, "teas", 5, assignments=short) == ErrorCode.INVALID_REPLICA_ASSIGNMENT
    assert _partitions(wire, "teas", 4, assignments=[{"broker_ids": [9]}]) == ErrorCode.INVALID_REPLICA_ASSIGNMENT
    assert log.topic("teas").partitions == 3
    assert _partitions(wire, "teas", 4, assignments=short) == ErrorCode.NONE
