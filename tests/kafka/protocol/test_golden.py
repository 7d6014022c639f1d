"""
Bytes that real clients sent to a real Kafka 4.4, and its answers.

They were captured between confluent-kafka 2.x, aiokafka and kafka-python and the broker, one exchange for each API and
version that a client used while it produced, consumed in a group, and made a topic.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from eventlog.kafka import protocol
from eventlog.kafka.protocol import ApiKey
from tests.kafka.protocol.messages import plain

FILE = Path(__file__).parent / "golden" / "real_clients.json"
EXCHANGES = json.loads(FILE.read_text("ascii"))


def _id(exchange: dict[str, Any]) -> str:
    return f"{exchange['client']}-{exchange['api']}-{exchange['version']}"


def _request(exchange: dict[str, Any]) -> tuple[protocol.RequestHeader, bytes]:
    data = bytes.fromhex(exchange["request"])
    return protocol.decode_request_header(data), data


@pytest.mark.parametrize("exchange", EXCHANGES, ids=map(_id, EXCHANGES))
def test_requests_and_responses_come_back_byte_for_byte(exchange: dict[str, Any]) -> None:
    """What is decoded is encoded as the client and the broker had it."""
    header, data = _request(exchange)
    key, version = header.api_key, header.api_version
    assert (protocol.APIS[ApiKey(key)].name, version) == (exchange["api"], exchange["version"])
    rest = header.body_at
    assert protocol.encode_request_header(key, version, header.correlation_id, header.client_id) == data[:rest]
    request = protocol.decode_request(key, version, data, rest)
    assert b"".join(protocol.encode_request(key, version, request)) == data[rest:]
    data = bytes.fromhex(exchange["response"])
    correlation_id, rest = protocol.decode_response_header(key, version, data)
    assert correlation_id == header.correlation_id
    assert protocol.encode_response_header(key, version, correlation_id) == data[:rest]
    response = protocol.decode_response(key, version, data, rest)
    assert b"".join(protocol.encode_response(key, version, response)) == data[rest:]


def _body(client: str, api: str) -> dict[str, Any]:
    exchange = next(each for each in EXCHANGES if each["client"] == client and each["api"] == api)
    header, data = _request(exchange)
    body: dict[str, Any] = plain(protocol.decode_request(header.api_key, header.api_version, data, header.body_at))
    return body


def test_fields_mean_what_the_clients_meant() -> None:
    """The values that the programs gave their clients are found under their names."""
    produce = _body("confluent-kafka", "Produce")
    assert (produce["acks"], produce["topic_data"][0]["name"]) == (-1, "golden-c")
    assert b"tea" in produce["topic_data"][0]["partition_data"][0]["records"]
    topic = _body("confluent-kafka", "CreateTopics")["topics"][0]
    assert (topic["name"], topic["num_partitions"], topic["replication_factor"]) == ("golden-c", 2, 1)
    assert topic["configs"] == [{"name": "retention.ms", "value": "1000000"}]
    join = _body("kafka-python", "JoinGroup")
    assert (join["group_id"], join["protocol_type"]) == ("gk", "consumer")
    subscription = join["protocols"][0]["metadata"]
    version = int.from_bytes(subscription[:2], "big")
    codec = protocol.codec("ConsumerProtocolSubscription", version)
    assert codec.decode(subscription, 2)["topics"] == ["golden-k"]
    commit = _body("aiokafka", "OffsetCommit")
    assert commit["topics"][0]["partitions"][0]["committed_offset"] == 1
