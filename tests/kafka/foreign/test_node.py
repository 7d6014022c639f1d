"""Clients for Node against a listener."""

from __future__ import annotations

import pytest

from tests.kafka.foreign.conftest import Check
from tests.kafka.foreign.contract import ADMIN, Client
from tests.kafka.foreign.toolchains import program

KAFKAJS = Client(
    name="kafkajs",
    compressions=("none", "gzip", "snappy"),
    scenarios=("records", "group", "transactions", "exactly_once", "fencing", "admin"),
    admin=tuple(event for event in ADMIN if event not in {"offset_deleted", "log_dirs"}),
    fenced="INVALID_PRODUCER_EPOCH",  # in the versions that it asks for
)
PLATFORMATIC = Client(
    name="platformatic",
    compressions=("none", "gzip", "snappy", "lz4"),  # zstd with newer versions of Node
    # It begins each transactional id at epoch 0, so that a second producer of one is refused by Kafka too: no fencing.
    scenarios=("records", "group", "new_group", "transactions", "exactly_once", "admin"),
    admin=tuple(event for event in ADMIN if event != "unknown"),
)


@pytest.mark.long
@pytest.mark.parametrize(
    ("client", "name"),
    [
        pytest.param(client, name, id=f"{client.name}-{name}")
        for client in (KAFKAJS, PLATFORMATIC)
        for name in client.scenarios
    ],
)
def test_a_client_for_node_finds_what_kafka_has(check: Check, client: Client, name: str) -> None:
    """Producers, consumers, groups, transactions and admin, with libraries written in JavaScript alone."""
    check(client, ["node", str(program("node") / f"{client.name}.mjs")], name)
