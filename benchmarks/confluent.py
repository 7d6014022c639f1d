"""
confluent-kafka as a peer: producing to librdkafka's mock broker, and consuming from it.

Without confluent-kafka each side is `Skipped`, with what to install. Knows nothing of eventlog.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from benchmarks.measure import Round, Sample
from benchmarks.mock_broker import load_confluent, mock_broker
from benchmarks.setting import TOPIC, Setting, make_keys, make_values

_TIMEOUT_S = 30.0


@contextmanager
def produce(setting: Setting, *, partitions: int, is_reported: bool) -> Iterator[Round]:
    """
    `produce()` for every record, then `flush()`, to the mock broker; linger 5 ms, room for all records.

    Not reported is the fastest form there is: all arguments by position, and nobody hears of a failed delivery.
    Reported is the form of its README: `poll(0)`, and `produce()` with a callback that hears of every delivery.
    """
    count = setting.count(500_000)
    values, keys = make_values(count), make_keys(count)
    partition = 0 if partitions == 1 else -1
    with mock_broker({TOPIC: partitions}) as address:
        producer = load_confluent().Producer(
            {
                "bootstrap.servers": address,
                "linger.ms": 5,
                "queue.buffering.max.messages": 10_000_000,
                "queue.buffering.max.kbytes": 2_097_151,
                "log_level": 0,
            }
        )
        producer.list_topics(TOPIC, timeout=_TIMEOUT_S)
        failures: list[object] = []
        stored = 0

        def report(error: object, _message: object) -> None:
            if error is not None:
                failures.append(error)

        def produce_all() -> None:
            if is_reported:
                for value, key in zip(values, keys, strict=True):
                    producer.poll(0)
                    producer.produce(TOPIC, value, key=key, on_delivery=report)
            else:
                for value, key in zip(values, keys, strict=True):
                    producer.produce(TOPIC, value, key, partition)

        def run() -> Sample:
            nonlocal stored
            started = time.perf_counter()
            produce_all()
            looped = time.perf_counter()
            producer.flush(_TIMEOUT_S)
            ended = time.perf_counter()
            before, stored = stored, _stored_by_mock(address, partitions)
            if failures or stored - before != count:
                raise RuntimeError(f"the mock broker got {stored - before} of {count} records; {failures[:1]}")
            return Sample(count / (ended - started), {"loop_records_per_s": count / (looped - started)})

        yield run


def _stored_by_mock(address: str, partitions: int) -> int:
    """How many records the mock broker has ever stored in the topic."""
    confluent = load_confluent()
    options = {"bootstrap.servers": address, "group.id": "count", "log_level": 0}
    with closing(confluent.Consumer(options)) as consumer:
        ends = [
            consumer.get_watermark_offsets(confluent.TopicPartition(TOPIC, partition), timeout=_TIMEOUT_S)[1]
            for partition in range(partitions)
        ]
    return sum(ends)


@contextmanager
def consume(setting: Setting) -> Iterator[Round]:
    """`consume(1000)` of 40,000 records, all that the mock keeps; connected, from a seek to the beginning on."""
    confluent = load_confluent()
    count = setting.count(40_000, at_least=10_000)
    with mock_broker({TOPIC: 1}) as address:
        producer = confluent.Producer({"bootstrap.servers": address, "log_level": 0})
        for value, key in zip(make_values(count), make_keys(count), strict=True):
            producer.produce(TOPIC, value, key, 0)
        producer.flush(_TIMEOUT_S)
        options = {
            "bootstrap.servers": address,
            "group.id": "bench",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 1,  # the mock does not answer a waiting fetch before its time is over
            "log_level": 0,
        }
        with closing(confluent.Consumer(options)) as consumer:
            beginning = confluent.TopicPartition(TOPIC, 0, 0)
            consumer.assign([beginning])
            consumer.consume(1, timeout=_TIMEOUT_S)

            def run() -> Sample:
                consumer.seek(beginning)
                started = time.perf_counter()
                seen = 0
                while seen < count:
                    messages = consumer.consume(min(1000, count - seen), timeout=_TIMEOUT_S)
                    if not messages:
                        raise RuntimeError(f"confluent-kafka gave {seen} of {count} records")
                    seen += len(messages)
                return Sample(count / (time.perf_counter() - started))

            yield run
