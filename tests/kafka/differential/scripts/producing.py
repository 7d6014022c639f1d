"""Produce: batches right and wrong, and what is stored of them."""

from __future__ import annotations

import struct

from eventlog.kafka.protocol import NO_UUID, ApiKey
from tests.kafka.differential.record_batches import CONTROL, GZIP, TIME, TRANSACTIONAL, batch, record
from tests.kafka.differential.scripts.asking import ILLEGAL_NAMES, UNKNOWN_ID, fetch, fill, produce, show
from tests.kafka.differential.talk import Connection, Talk

_FUTURE = 9_000_000_000_000


def produce_versions(talk: Talk) -> None:
    """One batch, and each kind of refusal, in every version, and what is stored in the end."""
    one = batch(b"a", b"bc", None)
    nowhere = (talk.name("nowhere"), UNKNOWN_ID)
    for version in talk.versions(ApiKey.PRODUCE, 3):
        topic = talk.topic(f"t-{version}")
        for label, body in {
            "one batch": produce(topic, {0: one}),
            "two partitions": produce(topic, {1: one, 0: one}),
            "acks of 1": produce(topic, {0: one}, acks=1),
            "an unknown topic": produce(nowhere, {0: one}),
            "a partition beyond the last": produce(topic, {2: one}),
            "a negative partition": produce(topic, {-1: one}),
            "one partition of three": produce(topic, {0: one, 1: batch(b"x", spoil_crc=True), 7: one}),
            "no partitions": produce(topic, {}),
            "no topics": {"transactional_id": None, "acks": -1, "timeout_ms": 1000, "topic_data": []},
            "no bytes": produce(topic, {0: b""}),
            "a wrong checksum": produce(topic, {0: batch(b"a", spoil_crc=True)}),
            "records of the old format": produce(topic, {0: batch(b"a", magic=1)}),
            "acks of 2": produce(topic, {0: one}, acks=2),
            "acks of -2": produce(topic, {0: one}, acks=-2),
        }.items():
            talk.connect().ask(label, ApiKey.PRODUCE, body, version)
        show(talk.connect(), f"stored by {version}", topic[0])
    talk.connect().ask("null for records", ApiKey.PRODUCE, produce(topic, {0: None}), patience=2.0)


def produce_names(talk: Talk) -> None:
    """Topics that cannot be, one topic twice, and one partition twice."""
    topic, _ = talk.topic("t")
    connection = talk.connect()
    one = batch(b"a")
    for name in ILLEGAL_NAMES:
        connection.ask(f"topic {name[:20]!r}", ApiKey.PRODUCE, produce(name, {0: one}))
    part = {"index": 0, "records": one}
    twice = [{"name": topic, "topic_id": NO_UUID, "partition_data": [part]}] * 2
    body = {"transactional_id": None, "acks": -1, "timeout_ms": 1000}
    talk.connect().ask("a topic twice", ApiKey.PRODUCE, {**body, "topic_data": twice})
    twice = [{"name": topic, "topic_id": NO_UUID, "partition_data": [part, part]}]
    talk.connect().ask("a partition twice", ApiKey.PRODUCE, {**body, "topic_data": twice})
    show(talk.connect(), "in the end", topic)


def produce_unanswered(talk: Talk) -> None:
    """With acks of 0 there is no answer, also not to what is refused: that closes the connection."""
    topic, _ = talk.topic("t")
    connection = talk.connect()
    for label, body in {
        "stored": produce(topic, {0: batch(b"a")}, acks=0),
        "two": produce(topic, {0: batch(b"b"), 1: batch(b"c")}, acks=0),
        "refused": produce(topic, {0: batch(b"d", spoil_crc=True)}, acks=0),
    }.items():
        data = b"".join(_encoded(body))
        connection.client.send(ApiKey.PRODUCE, 9, data)
        connection.client._asked.pop()
        connection.client.send(ApiKey.API_VERSIONS, 0, {})
        answer = connection.client.receive()
        told = answer if isinstance(answer, str) else answer["error_code"]
        talk.note(f"after what is {label}", ApiKey.API_VERSIONS, 0, told)
    talk.wait_for(lambda: _end(talk, topic, 0) == 2 and _end(talk, topic, 1) == 1)
    show(talk.connect(), "in the end", topic)


def _encoded(body: dict[str, object]) -> list[bytes]:
    from eventlog.kafka import protocol

    return [bytes(part) for part in protocol.encode_request(ApiKey.PRODUCE, 9, body)]


def _end(talk: Talk, topic: str, partition: int) -> int:
    from tests.kafka.differential.scripts.asking import list_offsets

    with talk.aside() as connection:
        answer = connection.quietly(ApiKey.LIST_OFFSETS, list_offsets(topic, {partition: -1}))
    return int(answer["topics"][0]["partitions"][0]["offset"])


_HEADERS = {
    "two batches": batch(b"a") + batch(b"b", b"c"),
    "magic 0": batch(b"a", magic=0),
    "magic 1": batch(b"a", magic=1),
    "magic 3": batch(b"a", magic=3),
    "a negative magic": batch(b"a", magic=-1),
    "a count too small": batch(b"a", b"b", count=1),
    "a count too large": batch(b"a", count=2),
    "a count of no records": batch(count=0),
    "a negative count": batch(b"a", count=-1),
    "a last offset too large": batch(b"a", last_delta=5),
    "a last offset too small": batch(b"a", b"b", last_delta=0),
    "a negative last offset": batch(b"a", last_delta=-2),
    "a length too small": batch(b"a", length=40),
    "a length too large": batch(b"a", length=400),
    "a negative length": batch(b"a", length=-1),
    "a length of nothing": batch(b"a", length=0),
    "half a header": batch(b"a")[:30],
    "a batch that ends early": batch(b"abcdef")[:-3],
    "a batch with more behind it": batch(b"a") + b"more",
    "letters": b"x" * 100,
    "a base offset": batch(b"a", base_offset=1000),
    "a negative base offset": batch(b"a", base_offset=-5),
    "a leader epoch": batch(b"a", leader_epoch=7),
    "a wrong checksum": batch(b"a", spoil_crc=True),
    "an unknown compression": batch(b"a", attributes=5),
    "another unknown compression": batch(b"a", attributes=7),
    "gzip": batch(b"a", b"b", attributes=GZIP),
    "gzip of nothing": batch(count=1, records=b"", attributes=GZIP),
    "what is no gzip": batch(b"a", attributes=GZIP)[:-6] + b"broken",
    "an unused attribute": batch(b"a", attributes=0x80),
    "a high unused attribute": batch(b"a", attributes=0x4000),
    "the time of the log": batch(b"a", attributes=0x08),
    "a control batch": batch(b"a", attributes=CONTROL),
    "a transaction without a producer": batch(b"a", attributes=TRANSACTIONAL),
    "a time far ahead": batch(b"a", time=_FUTURE),
    "no time": batch(b"a", time=-1, last_time=-1),
    "a negative time": batch(b"a", time=-100, last_time=-100),
    "a time of zero": batch(b"a", time=0),
    "a last time before the first": batch(b"a", b"b", last_time=TIME - 5),
    "a last time that no record has": batch(b"a", last_time=TIME + 5),
    "a producer without an epoch": batch(b"a", producer=(7_000_000_000_001, -1, 0)),
    "a producer without a sequence": batch(b"a", producer=(7_000_000_000_001, 0, -1)),
    "a sequence without a producer": batch(b"a", producer=(-1, -1, 5)),
    "a negative producer": batch(b"a", producer=(-2, 0, 0)),
}

_RECORDS = {
    "offsets from 1 on": (1, record(1, b"a")),
    "an offset twice": (2, record(0, b"a") * 2),
    "offsets backwards": (2, record(1, b"a") + record(0, b"b")),
    "fewer records than counted": (2, record(0, b"a")),
    "more records than counted": (1, record(0, b"a") + record(1, b"b")),
    "no record": (1, b""),
    "zeros": (1, bytes(20)),
    "letters": (1, b"abcdefghijklmnop"),
    "a record of length zero": (1, b"\0"),
    "a negative length": (1, b"\x01"),
    "a record with more inside": (1, b"\x20" + record(0, b"a")[1:] + b"123456789"),
    "a key beyond the end": (1, b"\x0c\0\0\0\x7e\0\0"),
    "a negative count of headers": (1, b"\x0e\0\0\0\x01\x01\x01\x05"),
    "a header without a name": (1, b"\x12\0\0\0\x01\x01\x02\x01\x01\0"),
    "a header without a value": (1, record(0, b"a", headers=[("h", None)])),
    "two headers of one name": (1, record(0, b"a", headers=[("h", b"1"), ("h", b"2")])),
    "a header with a name of no letters": (1, record(0, b"a", headers=[("", b"1")])),
    "attributes of a record": (1, b"\x0e\x05\0\0\x01\x02a\0"),
    "bytes behind the last record": (1, record(0, b"a") + b"\0\0\0"),
}


def produce_headers(talk: Talk) -> None:
    """Batches whose headers are wrong, or odd."""
    connection = talk.connect()
    for number, (label, data) in enumerate(_HEADERS.items()):
        _store(talk, connection, f"t-{number}", label, data)


def produce_records(talk: Talk) -> None:
    """Batches whose records are wrong, or odd, under a right checksum."""
    connection = talk.connect()
    for number, (label, (count, records)) in enumerate(_RECORDS.items()):
        for attributes in (0, GZIP):
            data = batch(records=records, count=count, attributes=attributes)
            _store(talk, connection, f"t-{number}-{attributes}", label + " in gzip" * attributes, data)


def _store(talk: Talk, connection: Connection, name: str, label: str, data: bytes) -> None:
    """Produce a batch to a topic of its own, and take down what is stored of it."""
    topic, _ = talk.topic(name)
    connection.ask(label, ApiKey.PRODUCE, produce(topic, {0: data}))
    connection.ask(f"{label}: stored", ApiKey.FETCH, fetch(topic, {0: 0}))


def produce_sizes(talk: Talk) -> None:
    """Batches that are too large, for the topic or at all."""
    topic, _ = talk.topic("t")
    connection = talk.connect()
    bound = 1_048_588
    sizes = {"as large as may be": bound - 72, "one byte larger": bound - 71, "far too large": bound * 2}
    for label, size in sizes.items():
        data = batch(bytes(size))
        told = struct.unpack_from(">i", data, 8)[0] + 12 - bound
        connection.ask(f"{label}: {told}", ApiKey.PRODUCE, produce(topic, {1: data}))
    connection.ask("two that fit apart", ApiKey.PRODUCE, produce(topic, {0: batch(bytes(700_000)) * 2}))
    small = talk.topic("small", max_message_bytes="1000")[0]
    connection.ask("a bound of the topic", ApiKey.PRODUCE, produce(small, {0: batch(bytes(1000))}))
    connection.ask("below it", ApiKey.PRODUCE, produce(small, {0: batch(bytes(900))}))
    compressed = batch(bytes(100_000), attributes=GZIP)
    connection.ask("below it when compressed", ApiKey.PRODUCE, produce(small, {1: compressed}))


def produce_compacted(talk: Talk) -> None:
    """A topic that keeps the last record of a key: every record has to have one."""
    topic, _ = talk.topic("t", cleanup_policy="compact")
    connection = talk.connect()
    keyed = record(0, b"a", key=b"k")
    for label, (count, records) in {
        "a key": (1, keyed),
        "no key": (1, record(0, b"a")),
        "one of two without a key": (2, keyed + record(1, b"b")),
        "an empty key": (1, record(0, b"a", key=b"")),
        "a tombstone": (1, record(0, None, key=b"k")),
    }.items():
        for attributes in (0, GZIP):
            data = batch(records=records, count=count, attributes=attributes)
            connection.ask(label + " in gzip" * attributes, ApiKey.PRODUCE, produce(topic, {0: data}))
    show(connection, "in the end", topic)


def produce_log_time(talk: Talk) -> None:
    """A topic whose records have the time of their append."""
    topic, _ = talk.topic("t", message_timestamp_type="LogAppendTime")
    connection = talk.connect()
    connection.ask_all("a batch", ApiKey.PRODUCE, lambda _: produce((topic, UNKNOWN_ID), {0: batch(b"a")}), 3, 12)
    fill(talk, topic, batch(b"b", attributes=GZIP), partition=1)
    show(connection, "in the end", topic)
