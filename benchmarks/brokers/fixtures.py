"""What one fixture of a test costs: a broker that begins, is asked once, and ends."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import closing

import eventlog
import eventlog.kafka
from benchmarks.brokers.servers import OpenServer, answer
from benchmarks.mock_broker import mock_broker
from benchmarks.setting import Setting


def of_listener(setting: Setting) -> float:
    """Milliseconds of a log in memory and a listener in this process."""

    def once() -> None:
        with eventlog.open(":memory:") as log, eventlog.kafka.listen(log) as kafka:
            answer(kafka.bootstrap_servers).close()

    return _median_ms(once, setting.count(50, at_least=3))


def ready(setting: Setting) -> float:
    """Milliseconds from `listen()` of an open log to the first answer, in this process."""
    durations = []
    with eventlog.open(":memory:") as log:
        for _ in range(setting.count(50, at_least=3)):
            started = time.perf_counter()
            with eventlog.kafka.listen(log) as kafka, closing(answer(kafka.bootstrap_servers)):
                durations.append((time.perf_counter() - started) * 1e3)
    return statistics.median(durations)


def of_mock(setting: Setting) -> float:
    """Milliseconds of librdkafka's mock broker in this process."""

    def once() -> None:
        with mock_broker({"t": 1}) as address:
            answer(address.split(",")[0]).close()

    return _median_ms(once, setting.count(20, at_least=3))


def of_program(open_server: OpenServer, setting: Setting) -> float:
    """Milliseconds of a broker in a process of its own."""

    def once() -> None:
        with open_server(setting):
            pass

    return _median_ms(once, setting.count(3, at_least=1))


def _median_ms(once: Callable[[], None], rounds: int) -> float:
    durations = []
    for _ in range(rounds):
        started = time.perf_counter()
        once()
        durations.append((time.perf_counter() - started) * 1e3)
    return statistics.median(durations)
