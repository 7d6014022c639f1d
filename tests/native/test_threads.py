"""Threads, signal handlers and finalizers that send at once lose nothing, double nothing, and keep each its order."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

import pytest

import eventlog
from eventlog.clients.producer.producer import EmbeddedProducer
from tests.clients.helpers import PATIENCE_SECONDS, in_threads

SECONDS = 0.3
PYTHON: Any = getattr(EmbeddedProducer.send, "__wrapped__", EmbeddedProducer.send)


@contextmanager
def hurried() -> Iterator[None]:
    """Threads come between any two steps of Python."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval_s)


class Sent:
    """What one sender sent: its name, and the deliveries in its order."""

    def __init__(self, name: int) -> None:
        self.name = name
        self.deliveries: list[Any] = []

    def send(self, send: Callable[..., Any], topic: Any, *, key: Any, **options: Any) -> None:
        """Sends the next record."""
        number = len(self.deliveries)
        self.deliveries.append(send(topic, b"%d %d" % (self.name, number), key=key, **options))


def check(topic: Any, senders: list[Sent]) -> None:
    """Nothing is lost, doubled or told wrong; each sender's records of a partition are in its order."""
    stored: dict[tuple[int, int], bytes] = {}
    for record in topic.read():
        assert (record.partition, record.offset) not in stored
        stored[record.partition, record.offset] = record.value
    assert len(stored) == len(set(stored.values())) == sum(len(sent.deliveries) for sent in senders)
    for sent in senders:
        last: dict[int, int] = {}
        for number, delivery in enumerate(sent.deliveries):
            meta = delivery.result(0)
            assert stored[meta.partition, meta.offset] == b"%d %d" % (sent.name, number)
            assert last.get(meta.partition, -1) < meta.offset
            last[meta.partition] = meta.offset


def keys(kind: str, name: int) -> Iterator[Any]:
    """One key after the other."""
    for number in count():
        yield None if kind == "keyless" else b"%d" % ((name + number) % 5 if kind == "keys" else 7)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("keyless", {"batch_bytes": 1024}),
        ("keys", {"batch_bytes": 1024}),
        ("one key", {"batch_bytes": 1024}),
        ("keys", {"name": "me"}),
        ("keyless", {}),
    ],
)
def test_threads_that_send_flush_and_ask(log: eventlog.EventLog, kind: str, options: dict[str, Any]) -> None:
    """Accelerators and Python functions mixed, while others seal the batches and grow the topic."""
    topic = log.topic("orders", partitions=3)
    producer = log.producer(linger=0.0005, **options)
    senders = [Sent(name) for name in range(6)]
    end_s = time.monotonic() + SECONDS

    def sender(sent: Sent) -> Callable[[], None]:
        send = producer.send if sent.name % 3 else lambda *some, **more: PYTHON(producer, *some, **more)

        def run() -> None:
            for key in keys(kind, sent.name):
                extra = {"headers": {"h": b"x"}} if len(sent.deliveries) % 31 == 5 else {}
                sent.send(send, topic, key=key, **extra)
                if len(sent.deliveries) % 200 == sent.name:
                    sent.deliveries[-1].result(PATIENCE_SECONDS)
                if time.monotonic() > end_s:
                    return

        return run

    def disturb() -> None:
        while time.monotonic() < end_s:
            producer.flush(PATIENCE_SECONDS)
            producer._accumulator.seal_all()

    def grow() -> None:
        for partitions in range(4, 8):
            time_left = threading.Event()
            time_left.wait(SECONDS / 10)
            topic.create_partitions(partitions)

    with hurried():
        in_threads(*map(sender, senders), disturb, grow)
    producer.close()
    assert all(sent.deliveries for sent in senders)
    check(topic, senders)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers of its own")
def test_a_signal_handler_that_sends(log: eventlog.EventLog) -> None:
    """It comes between any two steps of the sender's Python, in the middle of codecs and of the long way."""
    topic = log.topic("orders", partitions=2)
    producer = log.producer(linger=0.0005, batch_bytes=1024)
    main, handler = Sent(1), Sent(2)
    busy = threading.Lock()

    def handle(*_: object) -> None:
        if busy.acquire(blocking=False):  # else it has interrupted itself
            for key in (None, b"a"):
                handler.send(producer.send, topic, key=key)
            busy.release()

    before = signal.signal(signal.SIGALRM, handle)
    end_s = time.monotonic() + SECONDS
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for key in keys("keys", 1):
            main.send(producer.send, topic, key=key, headers={"h": b"x"} if len(main.deliveries) % 7 == 0 else None)
            main.send(producer.send, topic, key=None)
            if time.monotonic() > end_s:
                break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    producer.close()
    assert len(handler.deliveries) > 10
    check(topic, [main, handler])


@pytest.mark.parametrize("way", ["finalizer", "weak reference", "callback"])
def test_what_the_collector_runs_may_send(log: eventlog.EventLog, way: str) -> None:
    """It runs while a delivery is made, and takes the place that the delivery would have had."""
    topic = log.topic("orders")
    producer = log.producer(linger=3600.0, batch_bytes=1024)
    main, other = Sent(1), Sent(2)

    def act(*_: object) -> None:
        other.send(producer.send, topic, key=None)
        if len(other.deliveries) % 3 == 0:
            # The collector may run in the middle of a commit of the sender thread: it must not wait for our lock there.
            with suppress(eventlog.NestedCall):
                producer._accumulator.seal_all()

    class Circle:
        """A reference cycle, which is garbage as soon as nobody else refers to it."""

        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            if way == "finalizer":
                act()

    thresholds = gc.get_threshold()
    references: list[Any] = []
    if way == "callback":
        gc.callbacks.append(act)
    gc.set_threshold(5, 1, 1)
    try:
        for _ in range(2000):
            circle = Circle()
            if way == "weak reference":
                references.append(weakref.ref(circle, act))
            del circle
            main.send(producer.send, topic, key=None)
    finally:
        with suppress(ValueError):
            gc.callbacks.remove(act)
        gc.collect()
        gc.set_threshold(*thresholds)
        references.clear()
    producer.close()
    assert len(other.deliveries) > 50
    check(topic, [main, other])


def test_a_codec_that_sends(log: eventlog.EventLog) -> None:
    """A value's own code sends to the same batch, closes it, and forgets the route, in the middle of a call."""
    topic = log.topic("orders", value="json", partitions=2)
    producer = log.producer(linger=3600.0, batch_bytes=1024)
    order: list[Any] = []

    class Value(dict):  # type: ignore[type-arg]
        """Sends another before it is encoded."""

        def items(self) -> Any:
            """Is called by the encoder."""
            act = actions[self["n"] % len(actions)]
            act()
            return super().items()

    actions: list[Callable[[], object]] = [
        lambda: order.append(producer.send(topic, {"n": -1}, key=b"k")),
        lambda: producer._routes.clear(),
        lambda: producer.flush(),
        lambda: gc.collect(0),
    ]
    order.extend(producer.send(topic, Value(n=number), key=b"k") for number in range(400))
    producer.close()
    offsets = [delivery.result(0).offset for delivery in order]
    assert sorted(offsets) == list(range(len(order)))
    assert sum(record.value["n"] == -1 for record in topic.read()) == len(order) - 400
