"""
Programs that wait for records, are interrupted, or end without a word.

Each function is the whole program of a child (`tests/processes/child.py`). Knows nothing of pytest.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

import eventlog
from tests.processes.child import hear, say

_LONG_SECONDS = 60.0


def say_each_record(path: str) -> None:
    """Consumes for ever, and says each value as soon as it comes."""
    with eventlog.open(path) as log, log.consumer("orders", start="latest") as consumer:
        say("ready")
        for record in consumer:
            say(record.value.decode())


def wait_and_tell_the_cost(path: str, seconds: float) -> None:
    """Waits for what does not come, and says how many ms of processor that took."""
    with eventlog.open(path) as log, log.consumer("orders") as consumer:
        began_s = time.process_time()
        assert consumer.poll(timeout=seconds) == []
        say(int((time.process_time() - began_s) * 1000))


def wait_until_interrupted(path: str, way: str) -> None:
    """Waits in `poll` or in a loop, catches Ctrl-C, and goes on with the log and the consumer."""
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        with log.consumer("orders", group="billing") as consumer:
            try:
                say("ready")
                if way == "poll":
                    consumer.poll(timeout=_LONG_SECONDS)
                else:
                    next(iter(consumer))
            except KeyboardInterrupt:
                say("interrupted")
            assert topic.append(b"tea").offset == 0
            assert [record.value for record in consumer.poll(timeout=_LONG_SECONDS)] == [b"tea"]
            consumer.commit()
            assert consumer.committed(("orders", 0)) == 1
    say("done")


def wait_for_the_write_lock_until_interrupted(path: str) -> None:
    """Appends while another process holds the write lock, and catches Ctrl-C."""
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        say("ready")
        hear()
        try:
            topic.append(b"tea")
        except KeyboardInterrupt:
            say("interrupted")
        hear()
        topic.append(b"milk")
        say(b" ".join(record.value for record in topic.read()).decode())


def append_through_interrupts(path: str, count: int) -> None:
    """Appends while the parent sends SIGINT without end; says how many were interrupted, and checks the rest."""
    acknowledged: dict[int, int] = {}
    interrupted = number = 0
    log = eventlog.open(path)
    topic = log.topic("orders")

    def append() -> None:
        nonlocal number
        while True:
            number += 1
            offset = topic.append(b"%d" % number).offset
            acknowledged[offset] = number

    def interrupt(_number: int, frame: FrameType | None) -> None:
        # Elsewhere nobody would catch it, and on a busy machine the next one comes before the last is dealt with.
        while frame is not None:
            if frame.f_code is append.__code__:
                raise KeyboardInterrupt
            frame = frame.f_back

    signal.signal(signal.SIGINT, interrupt)
    say("ready")
    while interrupted < count:
        try:
            append()
        except KeyboardInterrupt:
            interrupted += 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    say("enough")
    values = [int(record.value) for record in topic.read()]
    assert len(values) == len(set(values)), "a record is stored twice"
    for offset, value in acknowledged.items():
        assert values[offset] == value, f"offset {offset} has {values[offset]}, acknowledged was {value}"
    log.close()
    with eventlog.open(path) as again:
        assert again.verify().is_sound
    say("done", len(acknowledged))


def send_and_end(path: str, ending: str) -> None:
    """Sends, and ends in one of several ways without closing anything."""
    log = eventlog.open(path)
    log.topic("orders")
    producer = log.producer(linger=_LONG_SECONDS)
    for number in range(1000):
        producer.send("orders", b"%d" % number)
    if ending == "waiting":
        consumer = log.consumer("orders", start="latest")
        threading.Thread(target=_consume, args=(consumer,), daemon=True).start()
        say(hear())
    if ending == "forgotten":
        del producer, log
    if ending == "sys.exit":
        sys.exit(3)
    if ending == "exception":
        raise RuntimeError("on purpose")
    if ending == "SIGINT":
        os.kill(os.getpid(), signal.SIGINT)


def _consume(consumer: eventlog.Consumer[Any, Any]) -> None:
    for _ in consumer:
        pass
