"""
The requests of transactional producers, and their answers: those that Apache Kafka 4.4.0 gave, recorded.

`tests/kafka/transactions/script.py` has the requests, and prints the answers of any broker.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import eventlog
import eventlog.kafka
from eventlog import testing
from eventlog.kafka.protocol import ApiKey, ErrorCode
from eventlog.testing import ManualClock
from tests.kafka.record_batches import backend_of
from tests.kafka.transactional import Transactional
from tests.kafka.transactions.script import SCRIPTS, Script, run
from tests.kafka.wire import Wire

EXPECTED: dict[str, list[tuple[Any, ...]]] = {
    "first_protocol": [
        ("end", 49),
        ("init", 0, "same", 0),
        ("describe", (0, "Empty", 0, ()), (105, "", 0, ())),
        ("end", 48),
        ("end", 48),
        ("produce", 48, -1),
        ("produce", 120, -1),
        ("add", ((0, 0), (1, 0))),
        ("produce", 0, 0),
        ("produce", 0, 0),
        ("produce", 48, -1),
        ("describe", (0, "Ongoing", 0, (("T", (0, 1)),)), (105, "", 0, ())),
        ("fetch", 1, 0, (), (0,)),
        ("fetch", 1, 0, (), ()),
        ("offsets", 48),
        ("group", 0),
        ("offsets", 0),
        ("end", 0),
        ("end", 0),
        ("end", 48),
        ("describe", (0, "CompleteCommit", 0, ()), (105, "", 0, ())),
        ("fetch", 2, 2, (), (0, 1)),
        ("fetch", 1, 1, (), (0,)),
        ("add", ((0, 0),)),
        ("produce", 0, 2),
        ("end", 0),
        ("end", 0),
        ("fetch", 4, 4, (("same", 2),), (0, 1, 2, 3)),
        ("fetch", 4, 4, (), (0, 1, 2, 3)),
        ("add", ((0, 55), (7, 3))),
        ("add", ((0, 3),)),
        ("add", ((0, 49),)),
        ("add", ((0, 90),)),
        ("add", ((0, 47),)),
        ("group", 90),
        ("group", 47),
        ("end", 90),
        ("end", 47),
        ("end", 49),
    ],
    "fencing": [
        ("init", 0, "same", 0),
        ("add", ((0, 0),)),
        ("produce", 0, 0),
        ("init", 0, "same", 2),
        ("describe", (0, "Empty", 2, ()), (105, "", 0, ())),
        ("produce", 47, -1),
        ("end", 90),
        ("end", 47),
        ("add", ((0, 90),)),
        ("group", 90),
        ("offsets", 47),
        ("init", 47, "none", -1),
        ("init", 90, "none", -1),
        ("init", 90, "none", -1),
        ("init", 0, "same", 3),
        ("init", 0, "same", 3),
        ("init", 50, "none", -1),
        ("init", 50, "none", -1),
        ("init", 42, "none", -1),
        ("fetch", 2, 2, (("same", 0),), (0, 1)),
    ],
    "second_protocol": [
        ("init", 0, "same", 0),
        ("end", 48, "none", -1),
        ("produce", 0, 0),
        ("produce", 0, 0),
        ("offsets", 0),
        ("end", 0, "same", 1),
        ("end", 0, "same", 1),
        ("end", 48, "none", -1),
        ("end", 48, "none", -1),
        ("produce", 47, -1),
        ("produce", 0, 2),
        ("end", 0, "same", 2),
        ("end", 0, "same", 3),
        ("describe", (0, "CompleteAbort", 3, ()), (105, "", 0, ())),
        ("produce", 0, 4),
        ("init", 0, "same", 5),
        ("describe", (0, "Empty", 5, ()), (105, "", 0, ())),
        ("fetch", 6, 6, (("same", 2), ("same", 4)), (0, 1, 2, 3, 4, 5)),
        ("fetch", 2, 2, (), (0, 1)),
    ],
    "late_ends": [
        ("init", 0, "same", 0),
        ("produce", 0, 0),
        ("end", 0, "same", 1),
        ("produce", 0, 2),
        ("end", 90, "none", -1),
        ("end", 90, "none", -1),
        ("end", 90),
        ("describe", (0, "Ongoing", 1, (("T", (0,)),)), (105, "", 0, ())),
        ("fetch", 3, 2, (), (0, 1)),
        ("end", 0, "same", 2),
        ("init", 0, "same", 3),
        ("end", 90, "none", -1),
        ("end", 90, "none", -1),
        ("fetch", 4, 4, (("same", 2),), (0, 1, 2, 3)),
    ],
    "again": [
        ("init", 0, "same", 0),
        ("produce", 45, -1),
        ("produce", 0, 0),
        ("init", 0, "same", 1),
        ("init", 0, "same", 1),
        ("produce", 0, 2),
        ("end", 0, "same", 2),
        ("fetch", 4, 4, (("same", 0),), (0, 1, 2, 3)),
    ],
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_answers_are_those_of_kafkas_broker(log: eventlog.EventLog, wire: Wire, script: str) -> None:
    """Offsets, error codes, epochs, states, last stable offsets and aborted transactions, in both protocols."""
    log.topic("T", partitions=2)
    assert run(wire.ask, "T", script) == EXPECTED[script]
    assert log.verify().problems == ()


def test_transactional_ids_are_listed_and_described(log: eventlog.EventLog, wire: Wire) -> None:
    """By state, producer, duration and pattern; a partition tells of its producers."""
    one, two = Script(wire.ask, "orders", "one"), Script(wire.ask, "orders", "two")
    one.init()
    two.init()
    two.produce(1, 0, version=12)

    def listed(**filters: Any) -> list[str]:
        body = {"state_filters": [], "producer_id_filters": [], **filters}
        answer = wire.ask(ApiKey.LIST_TRANSACTIONS, 2, body)
        assert answer["error_code"] == 0
        return [found["transactional_id"] for found in answer["transaction_states"]]

    assert listed() == ["one", "two"]
    assert listed(state_filters=["Ongoing"]) == ["two"]
    assert listed(state_filters=["Nonsense"]) == []
    assert listed(producer_id_filters=[one.producer_id]) == ["one"]
    assert listed(transactional_id_pattern="t.*") == ["two"]
    assert listed(duration_filter=3_600_000) == []
    answer = wire.ask(
        ApiKey.LIST_TRANSACTIONS, 2, {"state_filters": [], "producer_id_filters": [], "transactional_id_pattern": "("}
    )
    assert answer["error_code"] == 128
    [topic] = wire.ask(ApiKey.DESCRIBE_PRODUCERS, 0, {"topics": [{"name": "orders", "partition_indexes": [0, 1, 9]}]})[
        "topics"
    ]
    nobody, somebody, missing = topic["partitions"]
    assert (nobody["error_code"], nobody["active_producers"], missing["error_code"]) == (0, [], 3)
    [producer] = somebody["active_producers"]
    assert (producer["producer_id"], producer["producer_epoch"], producer["last_sequence"]) == (two.producer_id, 0, 0)
    assert producer["current_txn_start_offset"] == 0
    two.end(committed=True, version=5)
    [topic] = wire.ask(ApiKey.DESCRIBE_PRODUCERS, 0, {"topics": [{"name": "orders", "partition_indexes": [1]}]})[
        "topics"
    ]
    assert topic["partitions"][0]["active_producers"][0]["current_txn_start_offset"] == -1


def test_a_batch_of_requests_to_add_partitions_is_judged_each_by_itself(wire: Wire) -> None:
    """As brokers send it, to add partitions or to verify that they were added."""
    one = Script(wire.ask, "orders", "one")
    one.init()

    def asked(name: str, *, only_verifies: bool) -> int:
        body = {
            "transactions": [
                {
                    "transactional_id": name,
                    "producer_id": one.producer_id,
                    "producer_epoch": one.epoch,
                    "verify_only": only_verifies,
                    "topics": [{"name": "orders", "partitions": [0]}],
                }
            ]
        }
        answer = wire.ask(ApiKey.ADD_PARTITIONS_TO_TXN, 5, body)
        [result] = answer["results_by_transaction"]
        return int(result["topic_results"][0]["results_by_partition"][0]["partition_error_code"])

    assert asked("one", only_verifies=True) == 120
    assert asked("one", only_verifies=False) == 0
    assert asked("one", only_verifies=True) == 0
    assert asked("other", only_verifies=False) == 49


def test_offsets_that_wait_for_an_end_are_unstable(wire: Wire) -> None:
    """For a client that wants to know; the others get what was committed before."""
    one = Script(wire.ask, "orders", "one")
    one.init()
    assert one.offsets(0, version=5) == ("offsets", 0)

    def fetched(*, require_stable: bool) -> tuple[int, int]:
        groups = [{"group_id": "billing", "topics": [{"name": "orders", "partition_indexes": [0]}]}]
        answer = wire.ask(ApiKey.OFFSET_FETCH, 9, {"groups": groups, "require_stable": require_stable})
        [partition] = answer["groups"][0]["topics"][0]["partitions"]
        return partition["error_code"], partition["committed_offset"]

    assert fetched(require_stable=True) == (88, -1)
    assert fetched(require_stable=False) == (0, -1)
    one.end(committed=True, version=5)
    assert fetched(require_stable=True) == (0, 0)


def test_a_listener_aborts_what_another_has_left() -> None:
    """When its time is over, also without a request."""
    clock = ManualClock()
    with testing.open(clock=clock) as log:
        log.topic("orders", partitions=2)
        Transactional(log, "one", timeout_ms=5_000).send(b"left")
        log.topic("orders").append(b"behind", partition=0)
        clock.advance(6.0)
        with eventlog.kafka.listen(log), log.consumer("orders", start="earliest") as consumer:
            [record] = consumer.poll(timeout=30.0)
            assert record.value == b"behind"
        assert backend_of(log).kafka_transaction("one").state == "CompleteAbort"


def test_a_listener_over_a_log_that_is_only_read_aborts_nothing(path: Path) -> None:
    """It serves what was committed, and answers requests of producers with an error."""
    clock = ManualClock()
    with testing.open(path, clock=clock) as log:
        log.topic("orders", partitions=2)
        log.topic("orders").append(b"before", partition=0)
        Transactional(log, "one", timeout_ms=5_000).send(b"left")
        clock.advance(6.0)
        with eventlog.open(path, read_only=True) as read_only, eventlog.kafka.listen(read_only) as kafka:
            with Wire(kafka) as wire:
                one = Script(wire.ask, "orders", "one")
                assert one.fetch(0, 1) == ("fetch", 2, 1, (), (0,))
                assert one.init()[1] == ErrorCode.TOPIC_AUTHORIZATION_FAILED
        assert backend_of(log).kafka_transaction("one").state == "Ongoing"


def test_the_second_protocol_is_advertised(wire: Wire) -> None:
    """By a finalized feature, which has clients leave partitions and epochs to us."""
    for version, least in ((3, 1), (4, 0)):
        body = {"client_software_name": "test", "client_software_version": "1"}
        answer = wire.ask(ApiKey.API_VERSIONS, version, body)
        [supported] = [one for one in answer["supported_features"] if one["name"] == "transaction.version"]
        [finalized] = [one for one in answer["finalized_features"] if one["name"] == "transaction.version"]
        assert (supported["min_version"], supported["max_version"]) == (least, 2)
        assert finalized["max_version_level"] == 2
