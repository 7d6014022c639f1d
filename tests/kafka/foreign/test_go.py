"""The client for Go, franz-go, against a listener."""

from __future__ import annotations

import pytest

from tests.kafka.foreign.conftest import Check
from tests.kafka.foreign.contract import ADMIN, Client
from tests.kafka.foreign.toolchains import program

FRANZ = Client(
    name="franz-go",
    compressions=("none", "gzip", "snappy", "lz4", "zstd"),
    scenarios=("records", "group", "new_group", "transactions", "exactly_once", "fencing", "admin"),
    admin=tuple(ADMIN),
    fenced="PRODUCER_FENCED",
)


@pytest.mark.long
@pytest.mark.parametrize("name", FRANZ.scenarios)
def test_franz_go_finds_what_kafka_has(check: Check, name: str) -> None:
    """Producers, consumers, groups of both protocols, transactions and admin."""
    check(FRANZ, [str(program("go") / "client")], name)
