"""Kafka's console tools against a listener, as their scripts call them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple, Self

import pytest
from confluent_kafka import Producer

from tests.kafka.foreign.java_command import java
from tests.kafka.foreign.sides import Side

CLASSES = {
    "kafka-broker-api-versions": "BrokerApiVersionsCommand",
    "kafka-cluster": "ClusterTool",
    "kafka-configs": "ConfigCommand",
    "kafka-console-consumer": "consumer.ConsoleConsumer",
    "kafka-console-producer": "ConsoleProducer",
    "kafka-console-share-consumer": "consumer.ConsoleShareConsumer",
    "kafka-consumer-groups": "consumer.group.ConsumerGroupCommand",
    "kafka-delete-records": "DeleteRecordsCommand",
    "kafka-get-offsets": "GetOffsetShell",
    "kafka-groups": "GroupsCommand",
    "kafka-log-dirs": "LogDirsCommand",
    "kafka-share-groups": "consumer.group.ShareGroupCommand",
    "kafka-topics": "TopicCommand",
    "kafka-transactions": "TransactionsCommand",
}


class Said(NamedTuple):
    """What a tool has said."""

    status: int
    out: str
    err: str


class Tools:
    """Kafka's tools in one Java, which starts once."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._java = subprocess.Popen(java("Tools"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self._java.communicate(timeout=20)
        finally:
            self._java.kill()

    def run(self, tool: str, *arguments: str, stdin: str = "") -> Said:
        """Call a tool, whatever comes of it."""
        assert self._java.stdin is not None
        assert self._java.stdout is not None
        main = f"org.apache.kafka.tools.{CLASSES[tool]}"
        address = ["--bootstrap-server", self._bootstrap]
        # Most want their options before the command, and this one behind it.
        words = [*arguments, *address] if tool == "kafka-cluster" else [*address, *arguments]
        words = [stdin, main, *words]
        self._java.stdin.write(json.dumps(words) + "\n")
        self._java.stdin.flush()
        answer: dict[str, Any] = json.loads(self._java.stdout.readline())
        return Said(**answer)

    def __call__(self, tool: str, *arguments: str, stdin: str = "") -> str:
        """What a tool prints that succeeds."""
        said = self.run(tool, *arguments, stdin=stdin)
        assert said.status == 0, f"{tool} {' '.join(arguments)}\n{said.out}\n{said.err}"
        return said.out


@contextmanager
def open_transaction(bootstrap: str, topic: str, name: str) -> Iterator[None]:
    """A transaction with one record, aborted in the end."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": name})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(topic, b"v", partition=0)
    producer.flush(20)
    yield
    producer.abort_transaction(20)


@pytest.fixture
def tools(side: Side) -> Iterator[Tools]:
    """The tools, for the listener of this test."""
    with Tools(side.bootstrap) as tools:
        yield tools


def table(out: str) -> list[dict[str, str]]:
    """The rows of a table that a tool has printed, by the names in its first line."""
    lines = [line.split() for line in out.splitlines() if line.strip()]
    return [dict(zip(lines[0], line, strict=False)) for line in lines[1:]]


def test_console_producer_and_consumer_pass_records_on(tools: Tools, side: Side, prefix: str) -> None:
    """Keys, headers, timestamps, tombstones and each compression, written and read by the scripts of Kafka."""
    topic = f"{prefix}.console"
    tools("kafka-topics", "--create", "--topic", topic, "--partitions", "1")
    parse = [
        word
        for name in ("parse.key=true", "parse.headers=true", "null.marker=NIL")
        for word in ("--reader-property", name)
    ]
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        lines = f"h:{codec}\tk\tv-{codec}\nh:{codec}\tk\tNIL\n"
        tools("kafka-console-producer", "--topic", topic, "--compression-codec", codec, *parse, stdin=lines)
    shown = [word for name in ("key", "headers", "offset") for word in ("--formatter-property", f"print.{name}=true")]
    out = tools("kafka-console-consumer", "--topic", topic, "--from-beginning", "--max-messages", "10", *shown)
    codecs = [codec for codec in ("none", "gzip", "snappy", "lz4", "zstd") for _ in range(2)]
    wanted = [
        f"Offset:{offset}\th:{codec}\tk\t{'null' if offset % 2 else f'v-{codec}'}"
        for offset, codec in enumerate(codecs)
    ]
    assert out.splitlines() == wanted
    stored = [(row.key, row.value, row.headers) for row in side.rows(topic)]
    assert stored == [
        ("k", None if offset % 2 else f"v-{codec}", (("h", codec),)) for offset, codec in enumerate(codecs)
    ]


def test_topics_are_made_described_configured_and_deleted(tools: Tools, side: Side, prefix: str) -> None:
    """The tools kafka-topics, kafka-configs, kafka-get-offsets and kafka-delete-records."""
    topic = f"{prefix}.topic"
    side.write(f"{prefix}.native", 2, [(i % 2, 1_700_000_000_000 + i, "k", f"v{i}", ()) for i in range(10)])
    tools("kafka-topics", "--create", "--topic", topic, "--partitions", "3", "--config", "retention.ms=3600000")
    assert {topic, f"{prefix}.native"} <= set(tools("kafka-topics", "--list").split())
    described = tools("kafka-topics", "--describe", "--topic", topic)
    assert "PartitionCount: 3" in described
    assert "retention.ms=3600000" in described
    again = tools.run("kafka-topics", "--create", "--topic", topic)
    assert again.status == 1
    assert "TopicExistsException" in again.out + again.err
    tools("kafka-topics", "--alter", "--topic", topic, "--partitions", "4")
    assert "PartitionCount: 4" in tools("kafka-topics", "--describe", "--topic", topic)

    entity = ["--entity-type", "topics", "--entity-name", topic]
    tools("kafka-configs", "--alter", *entity, "--add-config", "retention.ms=7200000,max.message.bytes=2000000")
    out = tools("kafka-configs", "--describe", *entity)
    assert "retention.ms=7200000" in out
    assert "max.message.bytes=2000000" in out
    tools("kafka-configs", "--alter", *entity, "--delete-config", "max.message.bytes")
    assert "max.message.bytes=2000000" not in tools("kafka-configs", "--describe", *entity)

    native = f"{prefix}.native"
    offsets = tools("kafka-get-offsets", "--topic", native)
    assert sorted(offsets.split()) == [f"{native}:0:5", f"{native}:1:5"]
    assert tools("kafka-get-offsets", "--topic", native, "--time", "1700000000003").split()[-1] == f"{native}:1:1"
    tools("kafka-topics", "--delete", "--topic", topic)
    assert topic not in side.topics()


def test_records_are_deleted_up_to_an_offset(tools: Tools, side: Side, prefix: str, tmp_path: Any) -> None:
    """The tool kafka-delete-records moves the beginning of a partition, for native readers too."""
    topic = f"{prefix}.native"
    side.write(topic, 1, [(0, 1_700_000_000_000 + i, "k", f"v{i}", ()) for i in range(10)])
    wish = tmp_path / "wish.json"
    wish.write_text(json.dumps({"partitions": [{"topic": topic, "partition": 0, "offset": 7}], "version": 1}))
    tools("kafka-delete-records", "--offset-json-file", str(wish))
    assert tools("kafka-get-offsets", "--topic", topic, "--time", "earliest").split() == [f"{topic}:0:7"]
    assert [row.offset for row in side.rows(topic)] == [7, 8, 9]


def test_groups_are_listed_described_reset_and_deleted(tools: Tools, side: Side, prefix: str) -> None:
    """The tools kafka-consumer-groups and kafka-groups see what a group has done, and change it while it is empty."""
    topic, group = f"{prefix}.topic", f"{prefix}.group"
    side.write(topic, 1, [(0, 1_700_000_000_000 + i, "k", f"v{i}", ()) for i in range(10)])
    reading = ["--topic", topic, "--group", group, "--from-beginning", "--max-messages", "6"]
    out = tools("kafka-console-consumer", *reading)
    assert out.split() == [f"v{i}" for i in range(6)]
    assert side.committed(group, topic) == {0: 6}
    assert group in tools("kafka-consumer-groups", "--list").split()
    assert group in tools("kafka-groups", "--list")
    (row,) = table(tools("kafka-consumer-groups", "--describe", "--group", group))
    assert (row["CURRENT-OFFSET"], row["LOG-END-OFFSET"], row["LAG"]) == ("6", "10", "4")
    assert "Empty" in tools("kafka-consumer-groups", "--describe", "--group", group, "--state")
    reset = ["--reset-offsets", "--group", group, "--topic", topic, "--execute"]
    tools("kafka-consumer-groups", *reset, "--shift-by", "-4")
    assert side.committed(group, topic) == {0: 2}
    tools("kafka-consumer-groups", *reset, "--to-datetime", "2023-11-14T22:13:20.008")
    assert side.committed(group, topic) == {0: 8}
    tools("kafka-consumer-groups", "--delete-offsets", "--group", group, "--topic", topic)
    assert side.committed(group, topic) == {}
    tools("kafka-consumer-groups", *reset, "--to-earliest")
    tools("kafka-consumer-groups", "--delete", "--group", group)
    assert group not in tools("kafka-consumer-groups", "--list").split()


def test_the_cluster_and_its_versions_are_described(tools: Tools, side: Side, prefix: str) -> None:
    """The tools kafka-cluster, kafka-log-dirs and kafka-broker-api-versions."""
    side.write(f"{prefix}.topic", 1, [(0, 1_700_000_000_000, None, "v", ())])
    assert "Cluster ID: " in tools("kafka-cluster", "cluster-id")
    assert f"{prefix}.topic" in tools("kafka-log-dirs", "--describe", "--topic-list", f"{prefix}.topic")
    versions = tools("kafka-broker-api-versions")
    assert "Produce(0)" in versions
    assert "ERROR" not in versions


def test_transactions_are_listed_and_described(tools: Tools, side: Side, prefix: str) -> None:
    """The tool kafka-transactions shows a transaction of a console producer, and finds none that hangs."""
    topic, name = f"{prefix}.topic", f"{prefix}.transaction"
    side.write(topic, 1, [])
    with open_transaction(side.bootstrap, topic, name):
        assert (name, "Ongoing") in [(row["TransactionalId"], row["TransactionState"]) for row in listed(tools)]
        described = table(tools("kafka-transactions", "describe", "--transactional-id", name))
        assert (described[0]["TransactionState"], described[0]["TopicPartitions"]) == ("Ongoing", f"{topic}-0")
        (producer,) = table(tools("kafka-transactions", "describe-producers", "--topic", topic, "--partition", "0"))
        assert producer["CurrentTransactionStartOffset"] == "0"
    assert (name, "CompleteAbort") in [(row["TransactionalId"], row["TransactionState"]) for row in listed(tools)]
    assert side.rows(topic) == []


def listed(tools: Tools) -> list[dict[str, str]]:
    """The transactions that kafka-transactions lists."""
    return table(tools("kafka-transactions", "list"))
