"""A call in a signal handler or a finalizer waits neither for the call that it interrupted, nor for its waiters."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import eventlog
from eventlog.batches.format import BatchEncoder
from tests.clients.helpers import PATIENCE_SECONDS, in_threads


def _inside(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, action: Callable[[], None]) -> None:
    """Has an action done, once, at the beginning of a function in which locks are held."""
    before = getattr(owner, name)

    def interrupted(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(owner, name, before)
        action()
        return before(*arguments, **options)

    monkeypatch.setattr(owner, name, interrupted)


def test_two_producers_that_send_by_each_other_in_finalizers_do_not_wait(
    log: eventlog.EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thread holds the lock that the other asks for; both records are stored."""
    log.topic("orders")
    one, other = log.producer(linger=0.001), log.producer(linger=0.001)
    for producer in (one, other):
        producer.send("orders", b"first").result()
    encode, both = BatchEncoder.encode, threading.Barrier(2)
    others = {one: other, other: one}
    busy = threading.local()

    def interrupted(*arguments: Any, **options: Any) -> Any:
        producer = getattr(busy, "producer", None)
        if producer is not None:
            busy.producer = None
            both.wait(PATIENCE_SECONDS)
            others[producer].send("orders", b"finalizer")
        return encode(*arguments, **options)

    monkeypatch.setattr(BatchEncoder, "encode", interrupted)

    def work(producer: eventlog.Producer) -> Callable[[], None]:
        def run() -> None:
            producer.send("orders", b"second")
            busy.producer = producer
            producer._accumulator.seal_all()

        return run

    in_threads(work(one), work(other))
    for producer in (one, other):
        producer.flush(PATIENCE_SECONDS)
    values = sorted(record.value for record in log.topic("orders").read())
    assert values == [b"finalizer"] * 2 + [b"first"] * 2 + [b"second"] * 2


def test_what_would_wait_for_the_interrupted_commit_is_refused_and_not_stored(
    log: eventlog.EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An append, a transaction, a new topic: the message says so, and none of it appears later."""
    topic = log.topic("orders")
    refusals: list[str] = []

    def handler() -> None:
        tx = log.transaction()
        tx.send(topic, b"transaction")
        for call in (lambda: topic.append(b"handler"), lambda: topic.append_many([b"a"]), tx.commit, _new_topic):
            with pytest.raises(eventlog.NestedCall) as raised:
                call()
            refusals.append(raised.value.stored)

    def _new_topic() -> None:
        log.topic("other")

    environment = log._store.environment
    _inside(monkeypatch, environment, "commit", handler)
    topic.append(b"interrupted")
    topic.append(b"afterwards")
    assert len(refusals) == 4
    assert all(refusal.startswith("Nothing was stored") for refusal in refusals)
    assert [record.value for record in topic.read()] == [b"interrupted", b"afterwards"]
    assert log.topics() == ["orders"]


def test_a_fold_that_waits_for_itself_is_refused(log: eventlog.EventLog) -> None:
    """By the object that folds, and by another of the same name."""
    log.topic("orders").append(b"tea")
    messages: list[str] = []

    def fold(state: Any, record: eventlog.Record[Any, Any]) -> None:
        other = log.projection("all", fold, topics=["orders"], key=str, value=int)
        for call in (projection.catch_up, other.catch_up, projection.wait, other.wait, other.run):
            with pytest.raises(eventlog.NestedCall) as raised:
                call()
            messages.append(raised.value.advice)

    projection = log.projection("all", fold, topics=["orders"], key=str, value=int)
    assert projection.catch_up() == 1
    assert len(messages) == 5
    assert set(messages) == {"Call it outside."}


def test_a_log_that_is_opened_in_the_middle_of_an_opening_is_refused(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a log cannot be shared."""
    from eventlog.store.store import Store

    errors: list[str] = []

    def handler() -> None:
        with pytest.raises(RuntimeError) as raised:
            eventlog.open(tmp_path / "log")
        errors.append(str(raised.value))

    _inside(monkeypatch, Store, "_read_or_write_format", handler)
    with eventlog.open(tmp_path / "log") as log:
        log.topic("orders").append(b"tea")
    assert "Nothing was opened" in errors[0]


@pytest.fixture
def threadless(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A system that has no threads to give, until it is called."""
    start = threading.Thread.start

    def none(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    return lambda: monkeypatch.setattr(threading.Thread, "start", start)


def test_a_producer_stores_in_the_background_as_soon_as_there_are_threads(
    log: eventlog.EventLog, threadless: Callable[[], None]
) -> None:
    """The send that found none is refused, and its record was not taken."""
    topic = log.topic("orders")
    with log.producer(linger=0.001) as producer:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="thread"):
                producer.send(topic, b"refused")
        threadless()
        stored = threading.Event()
        producer.send(topic, b"tea").add_done_callback(lambda _: stored.set())
        assert stored.wait(PATIENCE_SECONDS)
    assert [record.value for record in topic.read()] == [b"tea"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_producer_whose_thread_has_died_gets_another(log: eventlog.EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lack of memory may end any thread."""
    topic = log.topic("orders")
    with log.producer(linger=0.001) as producer:
        producer.send(topic, b"first").result()
        sender = producer._sender
        thread = sender._thread
        assert thread is not None

        def fail() -> None:
            monkeypatch.undo()
            raise MemoryError

        monkeypatch.setattr(sender._accumulator, "next_deadline", fail)
        sender._handoff.wake()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()
        stored = threading.Event()
        producer.send(topic, b"second").add_done_callback(lambda _: stored.set())
        assert stored.wait(PATIENCE_SECONDS)
