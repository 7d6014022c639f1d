"""
Programs that are interrupted at every single place where Python would run a signal handler.

A real signal comes where it likes; here it comes at the first place of a call, then at the second, and so on until
the call is through. Its handler raises KeyboardInterrupt, or what `raising` was told. Each function is the whole
program of a child. Knows nothing of pytest.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

import eventlog
from eventlog.store.lmdb.room import Reserve
from eventlog.store.registry import REGISTRY
from tests.processes.child import say
from tests.processes.writers import store_of


class OutOfTime(Exception):
    """Raised by the handlers of programs that limit the time of a job."""


def _refused() -> Exception:
    """What a handler lets out that has asked a closed log for something."""
    log = eventlog.open(":memory:")
    topic = log.topic("closed")
    log.close()
    try:
        topic.append(b"")
    except eventlog.LogClosed as error:
        return error
    raise AssertionError("a closed log took a record")


ERRORS: dict[str, Callable[[], BaseException]] = {
    "KeyboardInterrupt": KeyboardInterrupt,
    "OutOfTime": OutOfTime,
    "TimeoutError": TimeoutError,
    "RuntimeError": RuntimeError,
    "LookupError": IndexError,
    "ValueError": ValueError,
    "LogClosed": _refused,
}
"""The errors that a handler may raise: of classes that are caught somewhere in the library, and of others."""


class _Handler:
    error: Callable[[], BaseException] = KeyboardInterrupt


class _Quiet(logging.Handler):
    """A handler of log lines that writes nothing: those of Python print an error that comes while they write."""

    def emit(self, record: logging.LogRecord) -> None:
        record.getMessage()


def raising(error: str, module: str, scene: str, *arguments: Any) -> None:
    """Runs another scene, in which the handlers raise an error of this name."""
    _Handler.error = staticmethod(ERRORS[error])
    logging.getLogger("eventlog").addHandler(_Quiet())
    logging.getLogger("eventlog").propagate = False
    getattr(importlib.import_module(module), scene)(*arguments)


def interrupted(action: Callable[[], object], place: int, afterwards: Callable[[], object]) -> bool:
    """
    Raises an error at the `place`th place, and calls `afterwards` when it has arrived. Whether it came.

    It must arrive as it is, except where Python ignores all errors: in a generator that is given up, for example.
    """
    count, error, ignored = 0, _Handler.error(), []

    def profile(_frame: object, event: str, _argument: Any) -> None:
        nonlocal count
        if event in {"call", "c_return"}:
            count += 1
            if count == place:
                sys.setprofile(None)
                raise error

    sys.unraisablehook = lambda found: ignored.append(found.exc_value)
    sys.setprofile(profile)
    try:
        action()
    except BaseException as raised:
        sys.setprofile(None)
        if raised is not error or hasattr(raised, "__notes__"):
            raise
        afterwards()
        error.__traceback__ = None  # it holds this frame, and the frame the error: the collector may come late
        return True
    finally:
        sys.setprofile(None)
        sys.unraisablehook = sys.__unraisablehook__
    assert count < place or error in ignored, f"place {place}: the error of the handler was swallowed"
    return count >= place


def open_files() -> dict[int, str]:
    """The open files of this process, by their descriptors."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir() if sys.platform == "linux" else ():
        with contextlib.suppress(FileNotFoundError):  # the descriptor of the listing
            found[int(entry.name)] = str(entry.readlink())
    return found


def no_file_left_open(before: dict[int, str], place: int | None = None) -> None:
    """Checks that all is closed that was opened since, without the help of the garbage collector."""
    left = {number: name for number, name in open_files().items() if before.get(number) != name}
    assert not left, f"place {place}: {left} is left open"


def _places(action: Callable[[], object], afterwards: Callable[[], object]) -> Iterator[int]:
    """Interrupts the action at one place after the other, until it comes to its end."""
    place = 1
    while interrupted(action, place, afterwards):
        yield place
        place += 1


def appends(path: str) -> None:
    """Interrupts an append everywhere: it is stored once or not at all, and the next one is stored."""
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        topic.append(b"first")
        number = 0
        acknowledged = []

        def append() -> None:
            nonlocal number
            number += 1
            acknowledged.append((topic.append(b"%d" % number).offset, b"%d" % number))

        for place in _places(append, append):
            values = [record.value for record in topic.read()]
            assert len(values) == len(set(values)), f"place {place}: something is stored twice"
            for offset, value in acknowledged:
                assert values[offset] == value, f"place {place}: an acknowledged record is elsewhere"
        assert log.verify().is_sound
    say("done", number)


def appends_beside_a_thread(path: str) -> None:
    """Interrupts appends while another thread appends: none of the other's records is lost or held up."""
    stop = threading.Event()
    acknowledged: list[tuple[int, bytes]] = []
    failures: list[BaseException] = []
    with eventlog.open(path) as log:
        topic = log.topic("orders")

        def work() -> None:
            try:
                while not stop.is_set():
                    value = b"other %d" % len(acknowledged)
                    acknowledged.append((topic.append(value).offset, value))
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        number = 0

        def append() -> None:
            nonlocal number
            number += 1
            topic.append(b"%d" % number)

        try:
            for _ in range(2):
                for _ in _places(append, append):
                    pass
        finally:
            stop.set()
            thread.join(20.0)
        assert failures == []
        assert not thread.is_alive(), "the other thread hangs"
        values = [record.value for record in topic.read()]
        assert len(values) == len(set(values))
        assert all(values[offset] == value for offset, value in acknowledged)
    say("done", len(acknowledged))


def reads(path: str) -> None:
    """Interrupts reading and polling everywhere: nothing is left open in the handler, and all can be read again."""
    with eventlog.open(path) as log:
        topic = log.topic("orders", partitions=2)
        for number in range(4):
            topic.append(b"%d" % number, partition=number % 2)
        environment = store_of(log).environment
        place = 0

        def take_over() -> None:
            environment._resize(0)  # waits until no transaction runs in this process

        for place in _places(lambda: list(topic.read()), take_over):
            assert len(list(topic.read())) == 4, f"place {place}"
        with log.consumer("orders") as consumer:

            def poll() -> None:
                consumer.seek_to_beginning()
                assert len(consumer.poll(timeout=5.0)) == 4

            for _ in _places(poll, take_over):
                poll()
    say("done", place)


def sends(path: str) -> None:
    """Interrupts sending and flushing everywhere: what got its delivery is stored once."""
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        with log.producer(linger=60.0) as producer:
            deliveries: dict[bytes, eventlog.Delivery] = {}
            number = 0

            def send() -> None:
                nonlocal number
                number += 1
                value = b"%d" % number
                deliveries[value] = producer.send(topic, value)
                producer.flush()

            for _ in _places(send, send):
                pass
            producer.flush()
            values = [record.value for record in topic.read()]
            twice = sorted(value for value in set(values) if values.count(value) > 1)
            assert not twice, f"{twice} are stored twice"
            for value, delivery in deliveries.items():
                assert values[delivery.result(timeout=5.0).offset] == value
    say("done", number)


@attrs.frozen
class Tea:
    """An event whose class has code of its own, which runs when it is taken apart and made."""

    grams: int = attrs.field(validator=attrs.validators.ge(0))


def folds(path: str) -> None:
    """
    Interrupts a fold everywhere, in its function and in the codecs, too: each record counts once in the end.

    The handler folds again while its error is still there, and nothing takes the interrupted fold for a dead one.
    """
    with eventlog.open(path, durability="ordered") as log:
        topic = log.topic("orders", value=Tea)

        def weigh(state: eventlog.State[str, int], record: eventlog.Record[Any, Tea]) -> None:
            state["grams"] = state.get("grams", 0) + record.value.grams

        projection = log.projection("weight", weigh, topics=[topic], key=str, value=int)
        said = _Said()
        logging.getLogger("eventlog").addHandler(said)
        place = 0
        for place in range(1, 1_000_000):
            topic.append(Tea(1))
            is_interrupted = interrupted(projection.catch_up, place, projection.catch_up)
            projection.catch_up()
            assert projection.state.get("grams", 0) == place
            assert not said.lines, f"place {place}: {said.lines}"
            if not is_interrupted:
                break
        assert log.verify().is_sound
    say("done", place)


class _Said(_Quiet):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def closings(path: str, first: int) -> None:
    """
    Interrupts closing at every third place from `first` on: `close()` again does the rest.

    No store stays open in the process, its members are gone for others, and another log can be opened.
    """
    place, count = 0, 0
    eventlog.open(path, durability="ordered").close()
    before = open_files()
    for count, place in enumerate(range(first, 1_000_000, 3)):
        log = eventlog.open(path, durability="ordered")
        topic = log.topic("orders")
        consumer = log.consumer("orders", group="g")
        producer = log.producer(linger=60.0)
        producer.send(topic, b"%d" % place)
        follower = log.follow()
        is_interrupted = interrupted(log.close, place, log.close)
        log.close()
        assert log.is_closed
        del log, topic, consumer, producer, follower
        assert not REGISTRY._stores, f"place {place}: a store is left open"
        no_file_left_open(before, place)
        if not is_interrupted:
            break
        if count % 10 == 0:
            with eventlog.open(path, durability="ordered") as log, log.consumer("orders", group="g") as consumer:
                assert log.verify().is_sound
                assert consumer.poll(timeout=5.0), f"place {place}: the member is still there"
                values = [record.value for record in log.topic("orders").read()]
                assert values == [b"%d" % number for number in range(first, place + 1, 3)], (
                    "all that was sent is stored, once"
                )
    say("done", place)


def openings(path: str, first: int) -> None:
    """Interrupts opening at every third place from `first` on: nobody has to wait for what was half open."""
    place, count = 0, 0
    eventlog.open(path, durability="ordered").close()
    before = open_files()
    for place in range(first, 1_000_000, 3):
        count += 1

        def open_and_close() -> None:
            eventlog.open(path, durability="ordered").close()

        is_interrupted = interrupted(open_and_close, place, open_and_close)
        assert not REGISTRY._stores, f"place {place}: a store is left open"
        no_file_left_open(before, place)
        with eventlog.open(path, durability="ordered") as log:
            log.topic("orders").append(b"x")
        if not is_interrupted:
            break
    with eventlog.open(path, durability="ordered") as log:
        assert log.verify().is_sound
        assert log.topic("orders").bounds() == {0: (0, count)}
    say("done", place)


def reserves(path: str) -> None:
    """Interrupts filling and spending the reserve for deletions everywhere: its file does not stay open."""
    with eventlog.open(path):
        pass
    reserve = Reserve(path, 0o600)
    descriptor = os.open(f"{path}/data.mdb", os.O_RDWR)
    end_bytes = os.fstat(descriptor).st_size

    def spend_and_fill() -> None:
        assert reserve.spend(descriptor, end_bytes, 1.0)
        os.ftruncate(descriptor, end_bytes)
        assert reserve.fill()

    before = open_files()
    count = sum(reserve.fill() for _ in _places(spend_and_fill, lambda: no_file_left_open(before)))
    spend_and_fill()
    os.close(descriptor)
    say("done", count)


def turns(path: str) -> None:
    """Interrupts the turn of a group everywhere: the handler itself can have the next one."""
    with eventlog.open(path, durability="ordered") as log:
        log.topic("orders")
        consumer = log.consumer("orders", group="g")
        consumer.poll(timeout=0)
        backend = store_of(log)

        def take_turn() -> None:
            assert backend.in_group_turn("g", lambda *, is_ours: is_ours), "the last one was not given back"

        count = sum(1 for _ in _places(take_turn, take_turn))
    say("done", count)


def closes(path: str) -> None:
    """Interrupts opening, and closes after an interruption in the middle of an append, everywhere."""
    place = 0
    for place in range(1, 1_000_000):
        log = eventlog.open(path)
        topic = log.topic("orders")
        topic.append(b"x")
        is_interrupted = interrupted(lambda topic=topic: topic.append(b"y"), place, log.close)
        log.close()
        if not is_interrupted:
            break
        if place % 10 == 0:
            with eventlog.open(path) as log:
                assert log.verify().is_sound
    say("done", place)
