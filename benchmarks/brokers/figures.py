"""The figures of a broker, measured by unmodified clients, or by raw requests where a client would hide them."""

from __future__ import annotations

import asyncio
import statistics
import struct
import time
from contextlib import closing
from typing import Any, Final

from benchmarks.brokers.servers import Server, answer
from benchmarks.brokers.topics import GROUPED, PARTITIONS, SINGLE
from benchmarks.measure import Skipped, percentile
from benchmarks.mock_broker import load_confluent
from benchmarks.setting import Setting, make_keys, make_values

_TIMEOUT_S: Final = 60.0
_CONNECTIONS: Final = 500


# -- records a second -----------------------------------------------------------------------------------------


def produce(server: Server, setting: Setting, *, topic: str, codec: str = "none") -> tuple[float, float]:
    """Records a second that confluent-kafka produces, acks of all, linger 5 ms; and CPU of the broker a record, us."""
    count = setting.count(300_000, at_least=2_000)
    values, keys = make_values(count), make_keys(count)
    options = {
        "bootstrap.servers": server.address,
        "linger.ms": 5,
        "acks": "all",
        "compression.type": codec,
        "queue.buffering.max.messages": 10_000_000,
        "queue.buffering.max.kbytes": 2_097_151,
        "log_level": 0,
    }
    producer = load_confluent().Producer(options)
    producer.list_topics(topic, timeout=_TIMEOUT_S)
    cpu, started = server.cpu_s, time.perf_counter()
    for value, key in zip(values, keys, strict=True):
        producer.produce(topic, value, key)
    left = producer.flush(_TIMEOUT_S)
    seconds = time.perf_counter() - started
    if left:
        raise RuntimeError(f"{left} of {count} records were not acknowledged")
    return count / seconds, (server.cpu_s - cpu) / count * 1e6


def fetch(server: Server, setting: Setting, *, topic: str, codec: str = "none") -> tuple[float, float]:
    """Records a second that confluent-kafka consumes, from the beginning; and CPU of the broker a record, us."""
    confluent = load_confluent()
    partitions = PARTITIONS[topic]
    count = min(setting.count(300_000, at_least=2_000), (server.kept or 1 << 60))
    fill(server, topic, count, codec)
    options = {
        "bootstrap.servers": server.address,
        "group.id": "bench",
        "enable.auto.commit": False,
        "fetch.queue.backoff.ms": 10,
        "log_level": 0,
        **({"fetch.wait.max.ms": 1} if server.kept else {}),  # the mock answers no fetch before its time is over
    }
    with closing(confluent.Consumer(options)) as consumer:
        places = []
        for number in range(partitions):
            place = confluent.TopicPartition(topic, number)
            place.offset = consumer.get_watermark_offsets(place, timeout=_TIMEOUT_S)[0]
            places.append(place)
        cpu, started = server.cpu_s, time.perf_counter()
        consumer.assign(places)
        seen = 0
        while seen < count:
            messages = consumer.consume(min(1000, count - seen), timeout=_TIMEOUT_S)
            if not messages:
                raise RuntimeError(f"{seen} of {count} records came")
            seen += len(messages)
        seconds = time.perf_counter() - started
    return count / seconds, (server.cpu_s - cpu) / count * 1e6


def fill(server: Server, topic: str, count: int, codec: str = "none") -> None:
    """Have at least so many records in a topic."""
    options = {"bootstrap.servers": server.address, "compression.type": codec, "linger.ms": 5, "log_level": 0}
    producer = load_confluent().Producer({**options, "queue.buffering.max.messages": 10_000_000})
    for value, key in zip(make_values(count), make_keys(count), strict=True):
        producer.produce(topic, value, key)
    if producer.flush(_TIMEOUT_S):
        raise RuntimeError(f"{topic} could not be filled")


# -- milliseconds ---------------------------------------------------------------------------------------------


def first_record_confluent(server: Server, setting: Setting) -> float:
    """From a new consumer of a new group to its first record, of confluent-kafka."""
    confluent = load_confluent()
    fill(server, GROUPED, 10)

    def once(number: int) -> float:
        options = {
            "bootstrap.servers": server.address,
            "group.id": f"first-{time.time_ns()}-{number}",
            "auto.offset.reset": "earliest",
            "log_level": 0,
        }
        started = time.perf_counter()
        consumer = confluent.Consumer(options)
        try:
            consumer.subscribe([GROUPED])
            message = consumer.poll(_TIMEOUT_S)
            if message is None or message.error():
                raise RuntimeError(f"no record came: {message and message.error()}")
            return (time.perf_counter() - started) * 1e3
        finally:
            consumer.close()

    return statistics.median(once(number) for number in range(setting.count(5, at_least=1)))


def first_record_aiokafka(server: Server, setting: Setting) -> float:
    """From a new consumer of a new group to its first record, of aiokafka."""
    try:
        import aiokafka
    except ImportError as error:
        raise Skipped("aiokafka is not installed") from error
    fill(server, GROUPED, 10)

    async def once(number: int) -> float:
        started = time.perf_counter()
        consumer: Any = aiokafka.AIOKafkaConsumer(
            GROUPED,
            bootstrap_servers=server.address,
            group_id=f"aio-{time.time_ns()}-{number}",
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            await asyncio.wait_for(consumer.getone(), _TIMEOUT_S)
            return (time.perf_counter() - started) * 1e3
        finally:
            await consumer.stop()

    return statistics.median(asyncio.run(once(number)) for number in range(setting.count(5, at_least=1)))


def one_in_flight(server: Server, setting: Setting, percent: float) -> float:
    """Microseconds of one record that is produced, acknowledged by all, and the next one after it: by bytes."""
    from tests.kafka.differential.record_batches import batch

    body = _produce_request(batch(b"x" * 100))
    durations = []
    with closing(answer(server.address)) as sock:
        for number in range(setting.count(2_000) + 100):
            started = time.perf_counter_ns()
            sock.sendall(body)
            size = struct.unpack(">i", sock.recv(4, 0x100))[0]
            data = sock.recv(size, 0x100)
            if number >= 100:
                durations.append(time.perf_counter_ns() - started)
    code = struct.unpack_from(">h", data, 4 + 4 + 2 + len(SINGLE) + 4 + 4)[0]
    if code:
        raise RuntimeError(f"the broker refused the record with error {code}")
    return percentile(durations, percent) / 1e3


def _produce_request(records: bytes) -> bytes:
    """A request to produce of version 7, with its size."""
    name = SINGLE.encode()
    body = struct.pack(">hhih", 0, 7, 1, -1) + struct.pack(">hhii", -1, -1, 30_000, 1)
    body += struct.pack(">h", len(name)) + name + struct.pack(">iii", 1, 0, len(records)) + records
    return struct.pack(">i", len(body)) + body


# -- connections ----------------------------------------------------------------------------------------------


def connect_all(server: Server, setting: Setting) -> float:
    """Milliseconds until 500 clients have connected, one after the other, and each has had an answer."""
    started = time.perf_counter()
    socks = [answer(server.address) for _ in range(setting.count(_CONNECTIONS))]
    took_ms = (time.perf_counter() - started) * 1e3
    for sock in socks:
        sock.close()
    return took_ms


def memory_of_connection(server: Server, setting: Setting) -> float:
    """Kilobytes of the broker's memory for each of 500 connections that are idle."""
    count = setting.count(_CONNECTIONS)
    for sock in [answer(server.address) for _ in range(20)]:  # what is made once is not theirs
        sock.close()
    before = server.memory_bytes
    socks = [answer(server.address) for _ in range(count)]
    grown = server.memory_bytes - before
    for sock in socks:
        sock.close()
    return grown / count / 1024
