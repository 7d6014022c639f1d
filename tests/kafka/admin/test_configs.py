"""DescribeConfigs, AlterConfigs, IncrementalAlterConfigs, and what configs do to a topic of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import eventlog
import eventlog.kafka
from eventlog.backend.topics import StoredTopic
from eventlog.kafka.protocol import ApiKey, ErrorCode
from tests.kafka.admin.requests import APPEND, DELETE, SET, SUBTRACT, alter, code_of_creation, create, describe, replace
from tests.kafka.wire import Wire

BROKER = 4


def _stored(log: Any, name: str = "teas") -> StoredTopic:
    stored: StoredTopic = log._store.require_topic(name)
    return stored


def test_configs_that_mean_something_here_are_options(log: eventlog.EventLog, wire: Wire) -> None:
    """A native program sees what an administrator has set."""
    configs = {
        "cleanup.policy": "compact,delete",
        "retention.ms": "60000",
        "retention.bytes": "1000",
        "min.compaction.lag.ms": "5",
        "max.compaction.lag.ms": "500",
        "delete.retention.ms": "6",
        "min.cleanable.dirty.ratio": "0.25",
        "compression.type": "zstd",
        "max.message.bytes": "2000000",
        "segment.ms": "7",
    }
    create(wire, "teas", num_partitions=2, configs=configs)
    topic = _stored(log)
    assert (topic.retention.most_ms, topic.retention.most_bytes) == (60_000, 2_000)
    assert topic.compaction == ("key", 5, 6, 0.25, None, 500)
    assert (topic.compression, topic.max_record_bytes) == ("zstd", 2_000_000)
    shown = describe(wire, "teas")
    assert {name: value for name, (value, source) in shown.items() if source == 1} == configs


def test_a_native_option_is_shown_as_a_config(log: eventlog.EventLog, wire: Wire) -> None:
    """Whoever set it."""
    log.topic("teas", partitions=2, retention=60, retention_bytes=3_000, compaction="key", compression="lz4")
    shown = describe(wire, "teas")
    assert {name: value for name, (value, source) in shown.items() if source == 1} == {
        "cleanup.policy": "compact,delete",
        "retention.ms": "60000",
        "retention.bytes": "1500",
        "compression.type": "lz4",
    }


def test_what_a_native_program_alters_later_is_what_is_shown(log: eventlog.EventLog, wire: Wire) -> None:
    """The options hold, not what was set before."""
    create(wire, "teas", configs={"retention.ms": "60000", "segment.ms": "7"})
    log.topic("teas").alter(retention=5)
    shown = describe(wire, "teas", "retention.ms", "segment.ms", "retention.bytes")
    assert shown == {"retention.ms": ("5000", 1), "segment.ms": ("7", 1), "retention.bytes": ("-1", 5)}
    log.topic("teas").alter(retention=None)
    assert describe(wire, "teas", "retention.ms") == {"retention.ms": ("-1", 1)}
    create(wire, "cups", configs={"cleanup.policy": "compact", "max.compaction.lag.ms": "500"})
    log.topic("cups").alter(max_compaction_lag=9)
    assert describe(wire, "cups", "max.compaction.lag.ms") == {"max.compaction.lag.ms": ("9000", 1)}
    log.topic("cups").alter(max_compaction_lag=None)
    assert describe(wire, "cups", "max.compaction.lag.ms") == {"max.compaction.lag.ms": (str(2**63 - 1), 1)}


def test_a_topic_that_is_only_compacted_keeps_records_of_any_age(log: eventlog.EventLog, wire: Wire) -> None:
    """The retention that was set is kept for the day when the policy has `delete` again."""
    create(wire, "teas", configs={"cleanup.policy": "compact", "retention.ms": "60000"})
    assert _stored(log).retention.most_ms is None
    assert describe(wire, "teas", "retention.ms") == {"retention.ms": ("60000", 1)}
    assert alter(wire, "teas", ("cleanup.policy", APPEND, "delete")) == ErrorCode.NONE
    assert _stored(log).retention.most_ms == 60_000
    assert alter(wire, "teas", ("cleanup.policy", SUBTRACT, "compact")) == ErrorCode.NONE
    assert _stored(log).compaction.by is None
    assert alter(wire, "teas", ("cleanup.policy", SUBTRACT, "delete")) == ErrorCode.NONE
    assert describe(wire, "teas", "cleanup.policy") == {"cleanup.policy": ("", 1)}
    assert _stored(log).retention.most_ms is None


def test_configs_survive(path: Path) -> None:
    """They are stored with the topic, also those that mean nothing here."""
    with eventlog.open(path) as log, eventlog.kafka.listen(log) as kafka, Wire(kafka) as wire:
        create(wire, "teas", configs={"segment.ms": "7", "retention.ms": "60000"})
        log.topic("teas").create_partitions(3)
    with eventlog.open(path) as log, eventlog.kafka.listen(log) as kafka, Wire(kafka) as wire:
        shown = describe(wire, "teas", "retention.ms", "segment.ms")
        assert shown == {"retention.ms": ("60000", 1), "segment.ms": ("7", 1)}
        assert log.verify().problems == ()


def test_configs_are_in_copies_and_backups(path: Path) -> None:
    """A topic comes back as its administrator has made it."""
    with eventlog.open(path / "log") as log, eventlog.kafka.listen(log) as kafka, Wire(kafka) as wire:
        create(wire, "teas", configs={"segment.ms": "7", "retention.ms": "60000"})
        log.compact(path / "copy")
        log.backup(path / "backup")
    eventlog.restore(path / "backup", path / "restored")
    for place in ("copy", "restored"):
        with eventlog.open(path / place) as log, eventlog.kafka.listen(log) as kafka, Wire(kafka) as wire:
            shown = describe(wire, "teas", "retention.ms", "segment.ms")
            assert shown == {"retention.ms": ("60000", 1), "segment.ms": ("7", 1)}


def test_the_retention_of_a_partition_grows_with_their_number(log: eventlog.EventLog, wire: Wire) -> None:
    """Kafka bounds each partition, and we the topic."""
    create(wire, "teas", configs={"retention.bytes": "1000"})
    asked = {"name": "teas", "count": 5, "assignments": None}
    wire.ask(ApiKey.CREATE_PARTITIONS, 3, {"topics": [asked]})
    assert _stored(log).retention.most_bytes == 5_000
    assert describe(wire, "teas", "retention.bytes") == {"retention.bytes": ("1000", 1)}


def test_single_configs_are_changed(log: eventlog.EventLog, wire: Wire) -> None:
    """Set, removed, and only tried."""
    create(wire, "teas", configs={"segment.ms": "7"})
    assert alter(wire, "teas", ("retention.ms", SET, "5000")) == ErrorCode.NONE
    assert alter(wire, "teas", ("retention.ms", SET, "9000"), is_dry=True) == ErrorCode.NONE
    assert _stored(log).retention.most_ms == 5_000
    assert alter(wire, "teas", ("retention.ms", DELETE, None), ("flush.ms", DELETE, None)) == ErrorCode.NONE
    assert _stored(log).retention.most_ms is None
    shown = describe(wire, "teas", "retention.ms", "segment.ms")
    assert shown == {"retention.ms": ("-1", 5), "segment.ms": ("7", 1)}


def test_all_configs_are_replaced(log: eventlog.EventLog, wire: Wire) -> None:
    """What is not said has its default again."""
    log.topic("teas", retention=60)
    assert replace(wire, "teas", segment_ms="7") == ErrorCode.NONE
    shown = describe(wire, "teas", "retention.ms", "segment.ms")
    assert shown == {"retention.ms": ("-1", 5), "segment.ms": ("7", 1)}
    assert _stored(log).retention.most_ms is None


def test_a_native_option_without_a_name_in_kafka_stays(log: eventlog.EventLog, wire: Wire) -> None:
    """Alterations by Kafka's administrators leave alone what they cannot see."""
    log.topic("teas", until_read_by=["guests"], repack_after=5)
    assert replace(wire, "teas") == ErrorCode.NONE
    assert _stored(log).retention.until_read_by == ("guests",)
    assert _stored(log).compaction.repack_ms == 5_000


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("cleanup.policy", APPEND, "shred"), ErrorCode.INVALID_CONFIG),
        (("retention.ms", APPEND, "1"), ErrorCode.INVALID_CONFIG),
        (("retention.ms", SET, None), ErrorCode.INVALID_REQUEST),
        (("retention.ms", SET, "x"), ErrorCode.INVALID_CONFIG),
        (("foo", SET, "1"), ErrorCode.INVALID_CONFIG),
        (("foo", APPEND, "1"), ErrorCode.INVALID_CONFIG),
        (("retention.ms", 9, "1"), ErrorCode.INVALID_REQUEST),
    ],
)
def test_changes_that_cannot_be_change_nothing(
    log: eventlog.EventLog, wire: Wire, change: tuple[str, int, str | None], code: ErrorCode
) -> None:
    """The codes are those of a Kafka 4.4."""
    before = create(wire, "teas") and _stored(log)
    assert alter(wire, "teas", ("segment.ms", SET, "7"), change) == code
    assert _stored(log) == before


def test_alterations_of_what_is_not_there_are_refused(log: eventlog.EventLog, wire: Wire) -> None:
    """A topic that is missing, a config or a resource that is named twice, and what has no configs."""
    log.topic("teas")
    assert alter(wire, "cups", ("retention.ms", SET, "1")) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert alter(wire, "a b", ("retention.ms", SET, "1")) == ErrorCode.INVALID_TOPIC_EXCEPTION
    twice = (("retention.ms", SET, "1"), ("retention.ms", SET, "2"))
    assert alter(wire, "teas", *twice) == ErrorCode.INVALID_REQUEST
    for kind, name, code in (
        (BROKER, "1", ErrorCode.INVALID_CONFIG),
        (BROKER, "7", ErrorCode.INVALID_REQUEST),
        (3, "x", ErrorCode.INVALID_REQUEST),
    ):
        body = {"resources": [{"resource_type": kind, "resource_name": name, "configs": []}]}
        [response] = wire.ask(ApiKey.INCREMENTAL_ALTER_CONFIGS, 0, body)["responses"]
        assert response["error_code"] == code
    resource = {"resource_type": 2, "resource_name": "teas", "configs": []}
    [response] = wire.ask(ApiKey.INCREMENTAL_ALTER_CONFIGS, 0, {"resources": [resource] * 2})["responses"]
    assert response["error_code"] == ErrorCode.INVALID_REQUEST


def test_lags_that_contradict_each_other_are_refused(log: eventlog.EventLog, wire: Wire) -> None:
    """A record cannot be left alone for longer than until it is compacted; as Kafka's brokers say."""
    lags = {"cleanup.policy": "compact", "min.compaction.lag.ms": "7", "max.compaction.lag.ms": "6"}
    assert code_of_creation(wire, "teas", configs=lags) == ErrorCode.INVALID_CONFIG
    create(wire, "teas", configs={**lags, "max.compaction.lag.ms": "7"})
    assert alter(wire, "teas", ("min.compaction.lag.ms", SET, "8")) == ErrorCode.INVALID_CONFIG
    assert _stored(log).compaction.lag_ms == 7


def test_a_topic_with_an_index_cannot_be_compacted(log: eventlog.EventLog, wire: Wire) -> None:
    """Its histories would lose all but their newest records: the rule of native programs."""
    log.topic("teas", key=str, index="key")
    assert alter(wire, "teas", ("cleanup.policy", SET, "compact")) == ErrorCode.INVALID_CONFIG
    assert _stored(log).compaction.by is None


def test_the_node_shows_the_options_of_its_listener(wire: Wire) -> None:
    """They can be read, by its number."""
    shown = describe(wire, "1", "num.partitions", "auto.create.topics.enable", kind=BROKER)
    assert shown == {"num.partitions": ("2", 4), "auto.create.topics.enable": ("true", 4)}
    resource = {"resource_type": BROKER, "resource_name": "7", "configuration_keys": None}
    for version in range(1, 5):
        [result] = wire.ask(ApiKey.DESCRIBE_CONFIGS, version, {"resources": [resource]})["results"]
        assert result["error_code"] == ErrorCode.INVALID_REQUEST


def test_synonyms_say_where_a_value_comes_from(wire: Wire) -> None:
    """Only if they are asked for."""
    create(wire, "teas", configs={"retention.ms": "5"})
    resource = {"resource_type": 2, "resource_name": "teas", "configuration_keys": ["retention.ms"]}
    for is_asked in (False, True):
        body = {"resources": [resource], "include_synonyms": is_asked}
        [result] = wire.ask(ApiKey.DESCRIBE_CONFIGS, 4, body)["results"]
        synonyms = [(one["value"], one["source"]) for one in result["configs"][0]["synonyms"]]
        assert synonyms == ([("5", 1), ("-1", 5)] if is_asked else [])


def test_a_topic_that_is_missing_has_no_configs(wire: Wire) -> None:
    """Nor has a kind of resource that there is not here."""
    for kind, name, code in (
        (2, "cups", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (2, "a b", ErrorCode.INVALID_TOPIC_EXCEPTION),
        (3, "x", ErrorCode.INVALID_REQUEST),
    ):
        resource = {"resource_type": kind, "resource_name": name, "configuration_keys": None}
        [result] = wire.ask(ApiKey.DESCRIBE_CONFIGS, 4, {"resources": [resource]})["results"]
        assert (result["error_code"], result["configs"]) == (code, [])


def test_what_has_configs_is_listed(log: eventlog.EventLog, wire: Wire) -> None:
    """Of all kinds, or of those that are asked for; groups and client metrics have none here."""
    log.topic("teas")
    everything = [("1", 8), ("1", 4), ("teas", 2)]
    for kinds, expected in (([], everything), ([2], everything[2:]), ([4, 2], everything[1:]), ([16, 32], [])):
        answer = wire.ask(ApiKey.LIST_CONFIG_RESOURCES, 1, {"resource_types": kinds})
        assert [(one["resource_name"], one["resource_type"]) for one in answer["config_resources"]] == expected
    assert wire.ask(ApiKey.LIST_CONFIG_RESOURCES, 1, {"resource_types": [3]})["error_code"] == 35
    assert wire.ask(ApiKey.LIST_CONFIG_RESOURCES, 0, {})["config_resources"] == []


def test_there_are_no_quotas(wire: Wire) -> None:
    """A client that asks hears so, and not that something failed."""
    for version in range(2):
        answer = wire.ask(ApiKey.DESCRIBE_CLIENT_QUOTAS, version, {"components": []})
        assert (answer["error_code"], answer["entries"]) == (ErrorCode.NONE, [])
