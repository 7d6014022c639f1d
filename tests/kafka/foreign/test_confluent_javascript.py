"""The client @confluentinc/kafka-javascript, which is librdkafka within Node, against a listener."""

from __future__ import annotations

import pytest

from tests.kafka.foreign.conftest import Check
from tests.kafka.foreign.contract import Client
from tests.kafka.foreign.toolchains import program

CONFLUENT = Client(
    name="@confluentinc/kafka-javascript",
    compressions=("none", "gzip", "snappy", "lz4"),  # zstd where its headers were there at the build
    scenarios=("records", "group", "new_group", "transactions", "exactly_once"),
)


@pytest.mark.long
@pytest.mark.parametrize("name", CONFLUENT.scenarios)
def test_the_client_of_confluent_for_node_finds_what_kafka_has(check: Check, name: str) -> None:
    """Producers, consumers, groups of both protocols and transactions."""
    check(CONFLUENT, ["node", str(program("confluent-javascript") / "confluent.mjs")], name)
