"""Unmodified clients produce to a log and consume from it, beside native ones."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

import eventlog
import eventlog.kafka
from tests.kafka.listener.clients import CLIENTS, NAMES, WITH_CODECS, Client, Confluent, Got, KafkaPython, Sent

BASE_MS = 1_790_000_000_000
MOST_BYTES = 990_000

SENT = [
    Sent(0, b"k", b"plain", (), BASE_MS),
    Sent(
        0, None, b"no key", (("trace", b"\x00\xff"), ("empty", b""), ("none", None), ("trace", b"again")), BASE_MS + 5
    ),
    Sent(0, b"k", None, (), BASE_MS + 1),
    Sent(0, b"", b"", (), BASE_MS + 7),
    *(Sent(0, b"%d" % number, b"value %d " % number * 20, (), BASE_MS + number) for number in range(200)),
]

WITHOUT_NULL_HEADERS = [
    one._replace(headers=tuple(pair for pair in one.headers if pair[1] is not None)) for one in SENT
]


def as_native(topic: eventlog.Topic[bytes, bytes]) -> list[Got]:
    """All records of a topic as native readers see them."""
    return [
        Got(one.partition, one.offset, one.key, one.value, tuple(one.headers), one.timestamp_ms) for one in topic.read()
    ]


def expected(sent: Sequence[Sent]) -> list[Got]:
    """What readers of one partition should see of these records."""
    return [
        Got(one.partition, offset, one.key, one.value, one.headers, one.timestamp_ms or -1)
        for offset, one in enumerate(sent)
    ]


@pytest.mark.parametrize(("client", "codec"), WITH_CODECS, ids=NAMES)
def test_what_a_client_sends_is_read_by_native_readers_and_by_clients(
    log: eventlog.EventLog, kafka: eventlog.kafka.Listener, client: Client, codec: str
) -> None:
    """Keys, values, nulls, headers and times survive, with each compression."""
    topic, sent = log.topic("orders"), SENT if client is not KafkaPython else WITHOUT_NULL_HEADERS
    stored = client.send(kafka.bootstrap_servers, "orders", sent, compression=codec)
    assert sorted(stored) == [(0, offset) for offset in range(len(sent))]
    assert as_native(topic) == expected(sent)
    reader = client if codec != "none" else Confluent
    assert reader.read(kafka.bootstrap_servers, "orders", {0: 0}, len(sent)) == expected(sent)


@pytest.mark.parametrize("client", CLIENTS, ids=NAMES)
def test_what_native_producers_store_is_read_by_clients(
    log: eventlog.EventLog, kafka: eventlog.kafka.Listener, client: Client
) -> None:
    """One by one, in batches, and from the middle of a batch on."""
    topic = log.topic("orders")
    for one in SENT[:4]:
        topic.append(one.value, key=one.key, headers=one.headers, timestamp_ms=one.timestamp_ms)
    topic.append_many([one.value for one in SENT[4:]], keys=[one.key for one in SENT[4:]], timestamps_ms=BASE_MS)
    native = as_native(topic)
    assert len(native) == len(SENT)
    assert client.read(kafka.bootstrap_servers, "orders", {0: 0}, len(SENT)) == native
    assert client.read(kafka.bootstrap_servers, "orders", {0: 100}, len(SENT) - 100) == native[100:]


@pytest.mark.parametrize("client", CLIENTS, ids=NAMES)
def test_both_kinds_of_producers_write_to_one_partition(
    log: eventlog.EventLog, kafka: eventlog.kafka.Listener, client: Client
) -> None:
    """In turns; both kinds of readers see one order."""
    topic = log.topic("orders")
    for turn in range(4):
        client.send(kafka.bootstrap_servers, "orders", [Sent(0, None, b"kafka %d" % turn)])
        topic.append(b"native %d" % turn)
    native = as_native(topic)
    assert [one.value for one in native] == [
        b"%s %d" % (who, turn) for turn in range(4) for who in (b"kafka", b"native")
    ]
    assert client.read(kafka.bootstrap_servers, "orders", {0: 0}, 8) == native


@pytest.mark.parametrize("client", CLIENTS, ids=NAMES)
def test_eight_partitions_are_written_and_read_at_once(log: eventlog.EventLog, client: Client) -> None:
    """In a topic that the client's question has created."""
    with eventlog.kafka.listen(log, partitions=8) as kafka:
        sent = [Sent(number % 8, None, b"%d" % number) for number in range(400)]
        stored = client.send(kafka.bootstrap_servers, "fresh", sent)
        assert sorted(stored) == [(partition, offset) for partition in range(8) for offset in range(50)]
        found = client.read(kafka.bootstrap_servers, "fresh", dict.fromkeys(range(8), 0), 400)
    assert sorted((one.partition, one.value) for one in found) == sorted((one.partition, one.value) for one in sent)
    for partition in range(8):
        assert [one.offset for one in found if one.partition == partition] == list(range(50))


@pytest.mark.parametrize("client", CLIENTS, ids=NAMES)
def test_a_record_of_almost_a_megabyte_goes_both_ways(
    log: eventlog.EventLog, kafka: eventlog.kafka.Listener, client: Client
) -> None:
    """That is what clients send at most, unless they are told otherwise."""
    topic, value = log.topic("orders"), bytes(range(250)) * (MOST_BYTES // 250)
    client.send(kafka.bootstrap_servers, "orders", [Sent(0, None, value)])
    topic.append(value)
    assert [one.value for one in client.read(kafka.bootstrap_servers, "orders", {0: 0}, 2)] == [value, value]
    assert [one.value for one in topic.read()] == [value, value]


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_every_kind_of_acknowledgement_stores(
    log: eventlog.EventLog, kafka: eventlog.kafka.Listener, acks: str
) -> None:
    """Without one, flush() waits for the sending alone."""
    topic = log.topic("orders")
    Confluent.send(kafka.bootstrap_servers, "orders", [Sent(0, None, b"tea")] * 50, acks=acks)
    with log.consumer(topic, start="earliest") as consumer:
        found = 0
        while found < 50:
            records = consumer.poll(10.0)
            assert records
            found += len(records)
    assert found == 50
