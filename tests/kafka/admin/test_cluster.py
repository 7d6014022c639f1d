"""The one node, its directory, leaders and replicas; and DeleteRecords. The codes are those of a Kafka 4.4."""

from __future__ import annotations

from pathlib import Path

import eventlog
import eventlog.kafka
from eventlog.kafka.protocol import ApiKey, ErrorCode
from tests.kafka.admin.requests import create
from tests.kafka.wire import Wire


def test_the_cluster_is_this_node(kafka: eventlog.kafka.Listener, wire: Wire) -> None:
    """Its id stays that of the log."""
    for version in range(3):
        answer = wire.ask(ApiKey.DESCRIBE_CLUSTER, version, {"include_cluster_authorized_operations": True})
        [node] = answer["brokers"]
        assert (node["broker_id"], node["host"], node["port"]) == (1, kafka.host, kafka.port)
        assert answer["controller_id"] == 1
        assert len(answer["cluster_id"]) == 22
        assert answer["cluster_authorized_operations"] > 0
    answer = wire.ask(ApiKey.DESCRIBE_CLUSTER, 1, {"endpoint_type": 2})
    assert answer["error_code"] == ErrorCode.MISMATCHED_ENDPOINT_TYPE


def test_the_metadata_has_one_voter(log: eventlog.EventLog, kafka: eventlog.kafka.Listener, wire: Wire) -> None:
    """The controller; other listeners of the log observe, and have seen every commit."""
    asked = {"topics": [{"topic_name": "__cluster_metadata", "partitions": [{"partition_index": 0}]}]}
    with eventlog.kafka.listen(log):
        before = -1
        for version in range(3):
            log.topic(f"teas-{version}")
            answer = wire.ask(ApiKey.DESCRIBE_QUORUM, version, asked)
            [part] = answer["topics"][0]["partitions"]
            assert (part["error_code"], part["leader_id"]) == (0, 1)
            assert [one["replica_id"] for one in part["current_voters"]] == [1]
            assert [one["replica_id"] for one in part["observers"]] == [2]
            ends = {one["log_end_offset"] for one in (*part["current_voters"], *part["observers"])}
            assert ends == {part["high_watermark"]}
            assert part["high_watermark"] > before
            before = part["high_watermark"]
        [node] = answer["nodes"]
        assert [(one["host"], one["port"]) for one in node["listeners"]] == [(kafka.host, kafka.port)]


def test_the_log_dir_is_that_of_the_log(path: Path) -> None:
    """With the sizes of partitions, as far as they are known."""
    with eventlog.open(path) as log, eventlog.kafka.listen(log) as kafka, Wire(kafka) as wire:
        log.topic("teas", partitions=2).append(b"x" * 1000, partition=1)
        log.topic("cups")
        for version in range(1, 5):
            [result] = wire.ask(ApiKey.DESCRIBE_LOG_DIRS, version, {"topics": None})["results"]
            assert result["log_dir"] == str(path)
            sizes = {
                topic["name"]: [one["partition_size"] for one in topic["partitions"]] for topic in result["topics"]
            }
            assert sizes["cups"] == [0]
            assert sizes["teas"][0] == 0
            assert 1000 < sizes["teas"][1] < 2000
        assert result["total_bytes"] > result["usable_bytes"] > 0
        body = {"topics": [{"topic": "teas", "partitions": [1, 9]}]}
        [result] = wire.ask(ApiKey.DESCRIBE_LOG_DIRS, 4, body)["results"]
        [topic] = result["topics"]
        assert [one["partition_index"] for one in topic["partitions"]] == [1]


def test_topics_are_described_a_page_at_a_time(log: eventlog.EventLog, wire: Wire) -> None:
    """The cursor of one answer begins the next; all pages together are all partitions."""
    log.topic("cups", partitions=1)
    log.topic("teas", partitions=5)
    for limit in (1, 2, 3, 5, 6, 2000):
        seen, cursor = [], None
        while True:
            body = {
                "topics": [{"name": name} for name in ("teas", "cups")],
                "response_partition_limit": limit,
                "cursor": cursor,
            }
            answer = wire.ask(ApiKey.DESCRIBE_TOPIC_PARTITIONS, 0, body)
            page = [
                (topic["name"], one["partition_index"]) for topic in answer["topics"] for one in topic["partitions"]
            ]
            assert 0 < len(page) <= limit
            seen += page
            cursor = answer["next_cursor"]
            if cursor is None:
                break
        assert seen == [("cups", 0), *(("teas", number) for number in range(5))]
    [topic] = wire.ask(ApiKey.DESCRIBE_TOPIC_PARTITIONS, 0, {"topics": [{"name": "pots"}]})["topics"]
    assert topic["error_code"] == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_no_election_is_needed(log: eventlog.EventLog, wire: Wire) -> None:
    """The leader is the only replica there is."""
    log.topic("teas")
    for version in range(3):
        body = {"election_type": 0, "topic_partitions": [{"topic": "teas", "partitions": [0, 9]}]}
        [result] = wire.ask(ApiKey.ELECT_LEADERS, version, body)["replica_election_results"]
        codes = [one["error_code"] for one in result["partition_result"]]
        assert codes == [ErrorCode.ELECTION_NOT_NEEDED, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]
    assert wire.ask(ApiKey.ELECT_LEADERS, 2, {"topic_partitions": None})["replica_election_results"] == []
    assert wire.ask(ApiKey.ELECT_LEADERS, 2, {"election_type": 9})["error_code"] == ErrorCode.INVALID_REQUEST


def test_a_partition_stays_where_it_is(log: eventlog.EventLog, wire: Wire) -> None:
    """To have it there is accepted; there is no other place, and no move to cancel."""
    log.topic("teas")
    for name, number, replicas, code in (
        ("teas", 0, [1], ErrorCode.NONE),
        ("teas", 0, [2], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        ("teas", 0, [1, 1], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        ("teas", 0, [], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        ("teas", 0, None, ErrorCode.NO_REASSIGNMENT_IN_PROGRESS),
        ("teas", 9, [1], ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ("cups", 0, None, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ):
        body = {"topics": [{"name": name, "partitions": [{"partition_index": number, "replicas": replicas}]}]}
        [response] = wire.ask(ApiKey.ALTER_PARTITION_REASSIGNMENTS, 1, body)["responses"]
        assert response["partitions"][0]["error_code"] == code
    assert wire.ask(ApiKey.LIST_PARTITION_REASSIGNMENTS, 0, {"topics": None})["topics"] == []


# --- DeleteRecords ----------------------------------------------------------------------------------------------------


def _delete(wire: Wire, name: str, offset: int, partition: int = 0, version: int = 2) -> tuple[ErrorCode, int]:
    asked = {"name": name, "partitions": [{"partition_index": partition, "offset": offset}]}
    [topic] = wire.ask(ApiKey.DELETE_RECORDS, version, {"topics": [asked]})["topics"]
    [one] = topic["partitions"]
    return ErrorCode(one["error_code"]), one["low_watermark"]


def test_the_oldest_records_are_deleted(log: eventlog.EventLog, wire: Wire) -> None:
    """The answer has the first offset that is left, also where nothing was to be done."""
    teas = log.topic("teas")
    teas.append_many([b"a", b"b", b"c", b"d"])
    assert _delete(wire, "teas", 1, version=0) == (ErrorCode.NONE, 1)
    assert _delete(wire, "teas", 3, version=1) == (ErrorCode.NONE, 3)
    assert _delete(wire, "teas", 2) == (ErrorCode.NONE, 3)
    assert [record.value for record in teas.read(0)] == [b"d"]
    assert _delete(wire, "teas", -1) == (ErrorCode.NONE, 4)
    assert _delete(wire, "teas", 5) == (ErrorCode.OFFSET_OUT_OF_RANGE, -1)
    assert _delete(wire, "teas", -2) == (ErrorCode.OFFSET_OUT_OF_RANGE, -1)
    assert _delete(wire, "teas", 0, partition=7) == (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1)
    assert _delete(wire, "cups", 0) == (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1)


def test_records_of_a_compacted_topic_are_not_deleted(log: eventlog.EventLog, wire: Wire) -> None:
    """A topic whose policy has no `delete` loses no key, as in Kafka; one without a policy may lose all."""
    create(wire, "teas", configs={"cleanup.policy": "compact"})
    create(wire, "cups", configs={"cleanup.policy": ""})
    log.topic("teas").append(b"green", key=b"a")
    log.topic("cups").append(b"blue")
    assert _delete(wire, "teas", 1) == (ErrorCode.POLICY_VIOLATION, -1)
    assert _delete(wire, "cups", 1)[0] == ErrorCode.NONE
    assert len(list(log.topic("teas").read(0))) == 1
