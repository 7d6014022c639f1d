"""
confluent-kafka as a peer of the group figures: a crash and a newcomer, at librdkafka's mock broker.

The mock is a thread of the benchmark's process and keeps everything in memory; members, newcomers and the load are
processes of their own, as on our side. Settings, all in favour of the peer:

    session.timeout.ms                  2000; a broker refuses less than 6000 by default, the client's default is 45000
    heartbeat.interval.ms               200; the default is 3000
    fetch.wait.max.ms                   10; the mock does not answer a waiting fetch before its time is over
    group.initial.rebalance.delay.ms    500, of the mock; the default is 3000

The mock ends a rebalance only when the session timeout less a second is over, where a broker goes on once all members
have joined again: one second of each figure is the mock's own. All other settings are left alone. A round lasts some
seconds, whatever it gets done in that time. Knows nothing of eventlog.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.company import Company, Takeover
from benchmarks.crew import TIMEOUT_S, Crew, crew
from benchmarks.group_tasks import GROUP, LOAD_PAUSE_S
from benchmarks.groups import MEMBERS, PARTITIONS, takeover_sample
from benchmarks.measure import Round, Sample, percentile
from benchmarks.mock_broker import load_confluent, mock_broker
from benchmarks.setting import TOPIC, VALUE_BYTES, Setting

_TAKEOVERS_S = 8.0
_JOINS_S = 5.0
_LEAST_S = 3.0
_POLL_S = 0.1
_VALUE = b"\0" * VALUE_BYTES
_clock = time.monotonic_ns


@contextmanager
def take_over(setting: Setting) -> Iterator[Round]:
    """`kill -9` of one of three consumers, until all its partitions give records to the other two; for 8 s."""
    budget_s = max(_LEAST_S, _TAKEOVERS_S * min(setting.scale, 1.0))

    def run() -> Sample:
        takeovers: list[Takeover] = []
        with mock_broker({TOPIC: PARTITIONS}, first_rebalance_ms=500) as address, crew() as workers:
            company = _fed_company(workers, address)
            company.fill()
            deadline_s = time.monotonic() + budget_s
            while not takeovers or time.monotonic() < deadline_s:
                company.fill()
                takeovers.append(company.take_over(is_busy=False))
        return takeover_sample(takeovers)

    yield run


@contextmanager
def join(setting: Setting) -> Iterator[Round]:
    """A fourth process, connected before, joins three that consume: from its `subscribe()` to its first record."""
    budget_s = max(_LEAST_S, _JOINS_S * min(setting.scale, 1.0))

    def run() -> Sample:
        durations: list[int] = []
        with mock_broker({TOPIC: PARTITIONS}, first_rebalance_ms=500) as address, crew() as workers:
            company = _fed_company(workers, address)
            company.fill()
            deadline_s = time.monotonic() + budget_s
            while not durations or time.monotonic() < deadline_s:
                durations.append(company.joins(_join_once, address))
        return Sample(percentile(durations, 99) / 1e6, {"joins_count": len(durations)}, durations)

    yield run


def _fed_company(workers: Crew, address: str) -> Company:
    """Three consumers to be, and a process that produces to each of the twelve partitions every 5 ms."""
    workers.start(_feed, address).hear()
    return Company(workers, _share, (address,), members=MEMBERS, partitions=PARTITIONS)


def _feed(parent: Connection, address: str) -> None:
    producer = load_confluent().Producer({"bootstrap.servers": address, "linger.ms": 0, "log_level": 0})
    producer.list_topics(TOPIC, timeout=TIMEOUT_S)
    parent.send("ready")
    while not parent.poll(LOAD_PAUSE_S):
        for partition in range(PARTITIONS):
            producer.produce(TOPIC, _VALUE, None, partition)
        producer.poll(0)


def _consumer(address: str) -> Any:
    return load_confluent().Consumer(
        {
            "bootstrap.servers": address,
            "group.id": GROUP,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 2_000,
            "heartbeat.interval.ms": 200,
            "fetch.wait.max.ms": 10,
            "log_level": 0,
        }
    )


def _share(parent: Connection, address: str) -> None:
    """Is a member that does nothing with its messages; reports the first one of each partition it is given."""
    awaited: set[int] = set()

    def on_assign(_consumer: object, assigned: list[Any]) -> None:
        awaited.update(one.partition for one in assigned)

    def on_revoke(_consumer: object, revoked: list[Any]) -> None:
        awaited.difference_update(one.partition for one in revoked)

    with closing(_consumer(address)) as consumer:
        consumer.subscribe([TOPIC], on_assign=on_assign, on_revoke=on_revoke)
        while not parent.poll():
            message = consumer.poll(_POLL_S)
            if message is not None and message.error() is None and message.partition() in awaited:
                awaited.remove(message.partition())
                parent.send((message.partition(), _clock()))


def _join_once(parent: Connection, address: str) -> None:
    """Joins when told to, says how long its first message took, in ns, and leaves."""
    with closing(_consumer(address)) as consumer:
        consumer.list_topics(TOPIC, timeout=TIMEOUT_S)
        parent.send("ready")
        parent.recv()
        started_ns = _clock()
        consumer.subscribe([TOPIC])
        deadline_s = time.monotonic() + TIMEOUT_S
        while (message := consumer.poll(_POLL_S)) is None or message.error() is not None:
            if time.monotonic() > deadline_s:
                raise RuntimeError("a newcomer got no message")
        parent.send(_clock() - started_ns)
