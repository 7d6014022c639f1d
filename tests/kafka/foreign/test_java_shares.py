"""Kafka's own share consumer (KafkaShareConsumer), its console tools, and native workers on one queue."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

import eventlog
from eventlog.kafka import Listener, listen
from tests.kafka.foreign.java_command import java
from tests.kafka.foreign.test_java_tools import Tools, table
from tests.kafka.shares.member import Member


class Shares:
    """A Java program with share consumers."""

    def __init__(self) -> None:
        self._java = subprocess.Popen(java("Shares"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._java.kill()
        self._java.communicate()

    def __call__(self, *words: object) -> Any:
        """Say something to the program; returns its answer."""
        assert self._java.stdin is not None
        assert self._java.stdout is not None
        self._java.stdin.write(json.dumps([str(word) for word in words]) + "\n")
        self._java.stdin.flush()
        return json.loads(self._java.stdout.readline())

    def open(self, name: str, kafka: Listener, mode: str, *settings: str) -> None:
        """Make a share consumer of the group "mailers"."""
        self("open", name, "mailers", "jobs", mode, kafka.bootstrap_servers, *settings)

    def poll(self, name: str, ms: int = 10_000) -> list[tuple[int, str, int]]:
        """What a consumer gets: offset, value and delivery count of each record."""
        return [(offset, value, count) for _, offset, value, count in self("poll", name, ms)]

    def kill(self) -> None:
        """End it as a crash does."""
        os.kill(self._java.pid, signal.SIGKILL)
        self._java.wait()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[eventlog.EventLog]:
    """A log on disk."""
    with eventlog.open(tmp_path / "log") as log:
        yield log


@pytest.fixture
def kafka(log: eventlog.EventLog) -> Iterator[Listener]:
    """Its listener."""
    with listen(log, partitions=1) as kafka:
        yield kafka


def filled(log: eventlog.EventLog, name: str, *values: str) -> eventlog.Topic[Any, Any]:
    """A topic of text with one partition and some records."""
    topic = log.topic(name, key=str, value=str)
    for value in values:
        topic.append(value)
    return topic


@pytest.fixture(scope="module")
def shares() -> Iterator[Shares]:
    """Share consumers, in one Java for all tests."""
    with Shares() as shares:
        yield shares


def test_a_share_consumer_accepts_releases_rejects_and_renews(
    log: eventlog.EventLog, kafka: Listener, shares: Shares
) -> None:
    """In the explicit mode; what it releases comes again at once, and what it rejects is a dead letter."""
    filled(log, "jobs", "a", "b", "c", "d")
    with Member(kafka, "admin") as admin:
        admin.configure(share_auto_offset_reset="earliest", errors_deadletterqueue_topic_name="dead")
    shares.open("one", kafka, "explicit")
    assert shares.poll("one") == [(0, "a", 1), (1, "b", 1), (2, "c", 1), (3, "d", 1)]
    assert shares("lock", "one") == {"ms": 30_000}
    assert log.queues.describe("mailers").leased == 4
    for offset, what in enumerate(("ACCEPT", "RELEASE", "REJECT", "RENEW")):
        shares("acknowledge", "one", offset, what)
    assert shares("commit", "one") == {"jobs": ""}
    assert shares.poll("one") == [(3, "d", 1)], "the client hands out again what it has renewed"
    shares("acknowledge", "one", 3, "ACCEPT")
    assert shares.poll("one") == [(1, "b", 2)]
    shares("acknowledge", "one", 1, "ACCEPT")
    shares("close", "one")
    described = log.queues.describe("mailers")
    assert (described.ready, described.leased, described.dead) == (0, 0, 1)
    (letter,) = log.topic("dead").read()
    assert letter.value == b"c"
    assert dict(letter.headers)["__dlq.errors.message"] == b"Offset rejected by client."


def test_an_implicit_consumer_and_a_native_worker_share_a_queue(
    log: eventlog.EventLog, kafka: Listener, shares: Shares
) -> None:
    """Neither gets what the other has; the next poll accepts, and close gives back what is not done."""
    topic = filled(log, "jobs")
    with log.queue(topic, group="mailers", timeout=30.0) as native:
        shares.open("one", kafka, "implicit", "max.poll.records=1")
        assert shares.poll("one", 300) == []
        topic.append("a")
        assert shares.poll("one") == [(0, "a", 1)]
        topic.append("b")
        (job,) = native.poll(timeout=10.0, max_records=1)
        assert (job.value, job.delivery_count) == ("b", 1)
        job.release()
        native.commit()
        assert shares.poll("one") == [(1, "b", 2)]
        assert shares.poll("one", 300) == []
        topic.append("c")
        assert shares.poll("one") == [(2, "c", 1)]
        assert log.queues.describe("mailers").leased == 1
        shares("close", "one")
    assert log.queues.describe("mailers").leased == 0


def test_a_killed_consumer_gives_its_records_back_at_once(
    log: eventlog.EventLog, kafka: Listener, shares: Shares
) -> None:
    """To a native worker and to other share consumers, long before their locks end, and the delivery counts."""
    topic = filled(log, "jobs")
    with log.queue(topic, group="mailers") as native:
        with Shares() as doomed:
            doomed.open("one", kafka, "explicit", "max.poll.records=1")
            assert doomed.poll("one", 300) == []
            topic.append("a")
            assert doomed.poll("one") == [(0, "a", 1)]
            assert native.poll(timeout=0.0) == []
            doomed.kill()
            (job,) = native.poll(timeout=10.0)
            assert (job.value, job.delivery_count) == ("a", 2)
            shares.open("two", kafka, "explicit")
            job.release()
            native.commit()
            assert shares.poll("two") == [(0, "a", 3)]
            shares("acknowledge", "two", 0, "ACCEPT")
            assert shares("commit", "two") == {"jobs": ""}
            shares("close", "two")
    assert log.queues.describe("mailers").ready == 0


def test_the_console_tools_of_share_groups(log: eventlog.EventLog, kafka: Listener) -> None:
    """kafka-console-share-consumer, kafka-share-groups, kafka-groups and kafka-configs."""
    filled(log, "jobs", "a", "b", "c")
    with Tools(kafka.bootstrap_servers) as tools:
        of_mailers = ("--entity-type", "groups", "--entity-name", "mailers")
        settings = "share.auto.offset.reset=earliest,share.delivery.count.limit=3"
        tools("kafka-configs", "--alter", *of_mailers, "--add-config", settings)
        shown = tools("kafka-configs", "--describe", *of_mailers)
        assert "share.auto.offset.reset=earliest" in shown
        consume = ("kafka-console-share-consumer", "--topic", "jobs", "--group", "mailers", "--timeout-ms", "5000")
        assert tools(*consume, "--max-messages", "2").split() == ["a", "b"]
        assert log.queues.describe("mailers").attempts == 3
        assert tools("kafka-share-groups", "--list").split() == ["mailers"]
        (row,) = table(tools("kafka-share-groups", "--list", "--state"))
        assert row == {"GROUP": "mailers", "STATE": "Empty"}
        (row,) = table(tools("kafka-share-groups", "--describe", "--group", "mailers", "--offsets"))
        assert (row["TOPIC"], row["START-OFFSET"], row["LAG"]) == ("jobs", "2", "1")
        assert "Share" in tools.run("kafka-groups", "--list").out
        reset = ("kafka-share-groups", "--reset-offsets", "--group", "mailers", "--topic", "jobs", "--to-earliest")
        (row,) = table(tools(*reset, "--execute"))
        assert row["NEW-OFFSET"] == "0"
        assert tools(*consume, "--max-messages", "3").split() == ["a", "b", "c"]
        tools("kafka-share-groups", "--delete-offsets", "--group", "mailers", "--topic", "jobs")
        assert log.queues.describe("mailers").partitions == ()
        tools("kafka-share-groups", "--delete", "--group", "mailers")
    assert log.queues.list() == []
