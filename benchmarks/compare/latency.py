"""
From producer to consumer through a peer: between two threads, and between two processes.

One record about every 2 ms; its value begins with the moment just before the call, and the receiver takes that from
its own. The ways of pacing, stamping and judging are those of `benchmarks.latency`. Knows no peer.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.compare.peer import TIMEOUT_S, Place, Store, Wait
from benchmarks.latency import latency_sample, stamp_of
from benchmarks.measure import Sample
from benchmarks.setting import KEY_BYTES

_PAUSE_S = 0.002
_STAMP_BYTES = 8


def between_threads(name: str, store: Store, place: Place, *, value_bytes: int, count: int) -> Sample:
    """Appends in this thread, while another one waits, with a handle of the same process."""
    del name, place
    durations: list[int] = []
    failures: list[BaseException] = []
    ready = threading.Event()

    def work() -> None:
        try:
            with store.tail() as wait:
                ready.set()
                durations.extend(_received(wait, count))
        except BaseException as error:  # noqa: BLE001 - the thread that appends raises it
            failures.append(error)
            ready.set()

    receiver = threading.Thread(target=work, daemon=True)
    receiver.start()
    ready.wait(TIMEOUT_S)
    _publish(store, value_bytes, count)
    receiver.join(TIMEOUT_S * 2)
    if failures:
        raise failures[0]
    return latency_sample(durations, count)


def between_processes(name: str, store: Store, place: Place, *, value_bytes: int, count: int) -> Sample:
    """Appends in this process, while a spawned one has opened the same place and waits."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_receive_in_child, args=(name, place, count, there), daemon=True)
    process.start()
    there.close()
    try:
        _message(here)
        _publish(store, value_bytes, count)
        durations: list[int] = _message(here)
    finally:
        process.join(TIMEOUT_S)
        process.kill()
    return latency_sample(durations, count)


def _receive_in_child(name: str, place: Place, count: int, parent: Connection) -> None:
    from benchmarks.compare.catalogue import peer_named

    with peer_named(name).open(place) as store, store.tail() as wait:
        parent.send("ready")
        parent.send(_received(wait, count))


def _received(wait: Wait, count: int) -> list[int]:
    """The latencies of the next `count` records; fewer if they stay away for too long."""
    durations: list[int] = []
    clock = time.perf_counter_ns
    while len(durations) < count:
        values: Sequence[bytes] = wait()
        now = clock()
        if not values:
            break
        durations.extend(now - stamp_of(value) for value in values)
    return durations


def _publish(store: Store, value_bytes: int, count: int) -> None:
    rest, key = b"\0" * (value_bytes - _STAMP_BYTES), b"\0" * KEY_BYTES
    for _ in range(count):
        time.sleep(_PAUSE_S)
        store.append(time.perf_counter_ns().to_bytes(_STAMP_BYTES, "big") + rest, key)


def _message(connection: Connection) -> Any:
    """The next message of the child; raises when it stays away or ends."""
    if not connection.poll(TIMEOUT_S * 2):
        raise RuntimeError(f"the other process said nothing for {TIMEOUT_S * 2} s")
    return connection.recv()
