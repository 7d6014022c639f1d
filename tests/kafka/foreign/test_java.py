"""Kafka's own Java client against a listener."""

from __future__ import annotations

import pytest

from tests.kafka.foreign.conftest import Check
from tests.kafka.foreign.contract import ADMIN, Client
from tests.kafka.foreign.java_command import java

JAVA = Client(
    name="kafka-clients",
    compressions=("none", "gzip", "snappy", "lz4", "zstd"),
    scenarios=("records", "group", "new_group", "transactions", "exactly_once", "fencing", "admin"),
    admin=tuple(ADMIN),
    fenced="ProducerFencedException",
)


@pytest.mark.parametrize("name", JAVA.scenarios)
def test_the_java_client_finds_what_kafka_has(check: Check, name: str) -> None:
    """Producers, consumers, groups of both protocols, transactions and the admin client, unmodified."""
    check(JAVA, java("Client"), name)
