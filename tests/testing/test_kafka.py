"""The fixtures `kafka_listener` and `kafka_bootstrap`, in runs of pytest of their own, alone and in parallel."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

import eventlog
from eventlog import testing
from eventlog.kafka.protocol import ApiKey
from tests.kafka.wire import Wire
from tests.testing.test_plugin import _left, _pytest

USES_BOTH = '''
import threading

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition


def send(servers, topic, value):
    producer = Producer({"bootstrap.servers": servers})
    producer.produce(topic, value)
    assert producer.flush(10) == 0


def test_one(kafka_bootstrap, event_log):
    """A client sends, and the test looks into the log."""
    send(kafka_bootstrap, "orders", b"tea")
    assert [record.value for record in event_log.topic("orders").read()] == [b"tea"]


def test_two(kafka_bootstrap, event_log):
    """A log of its own."""
    assert event_log.topics() == []


@pytest.mark.eventlog_kafka("orders", topics={"payments": 8}, partitions=2, auto_create_topics=False)
def test_three(kafka_listener, event_log):
    """Topics and options by the marker."""
    assert {name: event_log.topic(name).partitions for name in event_log.topics()} == {"orders": 2, "payments": 8}
    event_log.topic("orders").append(b"milk", partition=1)
    consumer = Consumer({"bootstrap.servers": kafka_listener.bootstrap_servers, "group.id": "g"})
    consumer.assign([TopicPartition("orders", 1, 0)])
    assert consumer.poll(10).value() == b"milk"
    consumer.close()


def test_four():
    """Nothing goes on behind a test."""
    assert [t.name for t in threading.enumerate() if "eventlog" in t.name] == []
'''


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_each_test_has_a_listener_of_its_own(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Over the log of the test; nothing is left when it is over."""
    done = _pytest(tmp_path, USES_BOTH, "--strict-markers", "-W", "error::ResourceWarning", *options)
    assert "4 passed" in done.stdout, done.stdout
    assert _left(tmp_path) == []


def test_a_listener_over_a_log_under_test_has_its_clock_and_topics() -> None:
    """Topics by name alone have the common count."""
    with testing.open() as log, testing.kafka(log, topics=["a", "b"], partitions=3) as kafka, Wire(kafka) as wire:
        assert kafka.log is log
        answer = wire.ask(ApiKey.METADATA, 12, {"topics": None})
        assert [(one["name"], len(one["partitions"])) for one in answer["topics"]] == [("a", 3), ("b", 3)]


MARKED = """
import pytest

pytestmark = pytest.mark.eventlog_kafka("audit", partitions=3)


@pytest.mark.eventlog_kafka("orders", auto_create_topics=False)
class TestOrders:
    @pytest.mark.eventlog_kafka("payments", topics={"orders": 8}, partitions=2)
    def test_all(self, kafka_listener, event_log):
        counts = {name: event_log.topic(name).partitions for name in event_log.topics()}
        assert counts == {"audit": 2, "orders": 8, "payments": 2}


@pytest.mark.eventlog_kafka(topics="orders", partition=3)
def test_wrong(kafka_listener):
    pass
"""


def test_markers_of_module_class_and_test_add_up(tmp_path: Path) -> None:
    """The closest one wins; what no listener has is told with what it has."""
    done = _pytest(tmp_path, MARKED, "--strict-markers")
    assert "1 passed, 1 error" in done.stdout, done.stdout
    assert "there is no option partition=; there are topics=, host=, port=, " in done.stdout
    assert "Did you mean partitions=?" in done.stdout


@pytest.mark.parametrize("topics", [5, [["a", "b"]], [{"a": 1}], {"a": 0}, {"a": "3"}, {5: 1}, None, ["a", b"b"]])
def test_topics_that_cannot_be_are_refused(topics: Any) -> None:
    """Before any is made."""
    with testing.open() as log:
        with pytest.raises((TypeError, ValueError), match=r"Nothing was|counts of partitions"):
            testing.kafka(log, topics=topics)
        assert log.topics() == []


def test_a_topic_alone_is_named_by_its_name() -> None:
    """Not by each of its letters."""
    with testing.open() as log, testing.kafka(log, topics="orders"):
        assert log.topics() == ["orders"]


def test_a_crash_under_a_listener_and_a_listener_after_it(caplog: pytest.LogCaptureFixture) -> None:
    """The old one says nothing when it finds no log; the new one has the port, and what was stored."""
    with testing.open() as log:
        kafka = testing.kafka(log, topics=["orders"])
        port = kafka.port
        again = testing.crash(log)
        kafka._core.in_loop(kafka._core.broker.transactions._look)
        kafka.close()
        assert [one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == []
        with again, testing.kafka(again, port=port) as kafka, Wire(kafka) as wire:
            topics = wire.ask(ApiKey.METADATA, 12, {"topics": None})["topics"]
            assert [one["name"] for one in topics] == ["orders"]


def test_a_listener_is_ready_in_some_milliseconds(log: eventlog.EventLog) -> None:
    """The first one imports asyncio; the quickest of ten is what a test pays on an idle machine."""
    times = []
    for _ in range(10):
        began_s = perf_counter()
        with testing.kafka(log, topics=["orders"]):
            times.append(perf_counter() - began_s)
    assert min(times) < 0.005
