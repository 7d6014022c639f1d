"""A client written in Rust, krafka, against a listener."""

from __future__ import annotations

import pytest

from tests.kafka.foreign.conftest import Check
from tests.kafka.foreign.contract import Client
from tests.kafka.foreign.toolchains import program

KRAFKA = Client(
    name="krafka",
    compressions=("none", "gzip", "snappy", "lz4", "zstd"),
    scenarios=("records", "new_group", "transactions", "exactly_once", "fencing"),
    fenced="Fenced",
)


@pytest.mark.long
@pytest.mark.parametrize("name", KRAFKA.scenarios)
def test_krafka_finds_what_kafka_has(check: Check, name: str) -> None:
    """Producers, consumers, groups of the new protocol and transactions."""
    check(KRAFKA, [str(program("rust") / "target" / "debug" / "client")], name)
