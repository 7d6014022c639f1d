"""A signal handler may come between any two steps of a producer, and send there: nothing is lost or mixed up."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from itertools import count
from types import FrameType
from typing import Any

import pytest

import eventlog
from eventlog.clients.producer import accumulator, backlog, batch, handoff
from eventlog.store import committer
from eventlog.store.records import write_transaction

_FILES = frozenset(module.__file__ for module in (accumulator, backlog, batch, handoff))
_WITH_COMMITS = _FILES | {committer.__file__, write_transaction.__file__}
_WITH_LOCK = frozenset({"_change", "next_deadline", "buffered_bytes", "take_finished"})
_IN_ONE_STEP = frozenset({"_lead"})
"""Takes the turn and notes it in one step, which no handler comes between; a trace does."""
_STEP = "opcode" if sys.version_info < (3, 13) else "line"
"""From Python 3.13 on, a function that asks for its opcodes has those of its first call left out."""
_LEAST_STEPS = 50 if _STEP == "opcode" else 25


class Handler:
    """
    Does something once, before one step of the producer's own code.

    Ctrl-C does not come before every step, as this does: what raises may not act where a lock is taken or let go.
    """

    def __init__(
        self, step: int, action: Callable[[], None], *, is_raising: bool, files: frozenset[str | None] = _FILES
    ) -> None:
        self._steps_left = step
        self._files = files
        self._action = action
        self._passed_by = _WITH_LOCK if is_raising else _IN_ONE_STEP
        self.has_acted = False

    def trace(self, frame: FrameType, _event: str, _argument: object) -> Any:
        """Is called before each step, as `sys.settrace` does it."""
        if self.has_acted or frame.f_code.co_filename not in self._files or frame.f_code.co_name in self._passed_by:
            return None
        frame.f_trace_opcodes = _STEP == "opcode"
        return self._count

    def _count(self, _frame: FrameType, event: str, _argument: object) -> Any:
        if event == _STEP and not self.has_acted:
            self._steps_left -= 1
            if self._steps_left < 0:
                self.has_acted = True
                self._action()
        return self._count


def watched(
    step: int,
    action: Callable[[], None],
    work: Callable[[], None],
    *,
    is_raising: bool = False,
    files: frozenset[str | None] = _FILES,
) -> bool:
    """Whether a step of that number came, before which the action was done."""
    handler = Handler(step, action, is_raising=is_raising, files=files)
    before = sys.gettrace()
    sys.settrace(handler.trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return handler.has_acted


class Repeating(Handler):
    """Does something before one line, and again before each third that follows."""

    is_acting = False
    count = 0

    def _count(self, _frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line" and not self.is_acting:
            self._steps_left -= 1
            if self._steps_left < 0:
                self.is_acting = True
                self._action()
                self._steps_left, self.is_acting = 2, False
                self.count += 1
        return self._count


def test_a_handler_that_sends_again_keeps_its_order(log: eventlog.EventLog) -> None:
    """What it sends first is stored first, also when a batch is opened between the two."""
    topic = log.topic("orders")
    for step in count():
        with log.producer(linger=3600.0) as producer:
            for _ in range(256):  # as many as the first batch has
                producer.send(topic, b"before")
            deliveries: list[Any] = []

            def act(producer: eventlog.Producer = producer, deliveries: list[Any] = deliveries) -> None:
                deliveries.append(producer.send(topic, b"handler"))

            handler = Repeating(step, act, is_raising=False)
            before = sys.gettrace()
            sys.settrace(handler.trace)
            try:
                producer.send(topic, b"sender")
            finally:
                sys.settrace(before)
            offsets = [delivery.result(10.0).offset for delivery in deliveries]
            assert offsets == sorted(offsets)
        if handler.count == 0:
            break
    assert step > _LEAST_STEPS


@pytest.mark.parametrize("is_sending", [False, True])
@pytest.mark.parametrize("is_full", [False, True])
def test_what_a_record_has_of_its_own_stays_with_it(log: eventlog.EventLog, is_sending: bool, is_full: bool) -> None:
    """Headers and time are in the record, also when its batch is sealed before the call is over."""
    topic = log.topic("orders")
    expected = []
    for step in count():
        with log.producer(linger=3600.0) as producer:
            for _ in range(256 if is_full else 1):  # so many records the first batch has
                producer.send(topic, b"before")
            deliveries = []

            def act(producer: eventlog.Producer = producer, deliveries: list[Any] = deliveries) -> None:
                if is_sending:
                    deliveries.append(producer.send(topic, b"handler", headers={"h": b"handler"}, timestamp_ms=7))
                producer._accumulator.seal_all()

            def work(producer: eventlog.Producer = producer, deliveries: list[Any] = deliveries) -> None:
                deliveries.append(producer.send(topic, b"sender", headers={"h": b"sender"}, timestamp_ms=5))

            has_acted = watched(step, act, work)
            expected += [delivery.result(0.0 if delivery.done() else 10.0).offset for delivery in deliveries]
        if not has_acted:
            break
    assert step > _LEAST_STEPS
    records = {record.offset: record for record in topic.read()}
    assert len(records) == len(expected) + (step + 1) * (256 if is_full else 1)
    for offset in expected:
        record = records[offset]
        assert record.headers == (("h", record.value),)
        assert record.timestamp_ms == (5 if record.value == b"sender" else 7)


def test_a_handler_that_sends_and_interrupts_costs_nobody_a_record(log: eventlog.EventLog) -> None:
    """It sends into the next batch while one is sealed, and then Ctrl-C comes."""
    topic = log.topic("orders")
    told = []
    for step in count():
        with log.producer(linger=3600.0) as producer:
            deliveries = [producer.send(topic, b"%d before" % step) for _ in range(3)]

            def act(
                producer: eventlog.Producer = producer, deliveries: list[Any] = deliveries, step: int = step
            ) -> None:
                deliveries.append(producer.send(topic, b"%d handler" % step))
                raise KeyboardInterrupt

            has_acted = False
            try:
                has_acted = watched(step, act, producer._accumulator.seal_all, is_raising=True)
            except KeyboardInterrupt:
                has_acted = True
            producer.flush(10.0)
            told += [delivery.result(0.0).offset for delivery in deliveries]
        if not has_acted:
            break
    assert step > _LEAST_STEPS
    assert sorted(told) == list(range(len(told))) == [record.offset for record in topic.read()]


def test_a_handler_that_waits_in_the_middle_of_a_send_is_refused(log: eventlog.EventLog) -> None:
    """It would wait for what only the interrupted call can store; what it sent is stored all the same."""
    topic = log.topic("orders")
    refusals, stored = [], 0
    for step in count():
        with log.producer(linger=3600.0) as producer:
            producer.send(topic, b"before")

            def act(producer: eventlog.Producer = producer, step: int = step) -> None:
                delivery = producer.send(topic, b"handler", message_id=b"once %d" % step)
                for wait in (delivery.result, producer.flush):
                    try:
                        wait()
                    except RuntimeError as error:
                        refusals.append(str(error))

            has_acted = watched(step, act, lambda: producer._accumulator.seal_all())
        stored += 1 + has_acted
        if not has_acted:
            break
    assert step > _LEAST_STEPS
    assert any("do not wait" in refusal for refusal in refusals)
    assert len(list(topic.read())) == stored


def test_a_handler_that_finds_no_room_is_told_why(log: eventlog.EventLog) -> None:
    """It is refused at once, because it cannot wait where it is; `max_block` is not over."""
    orders = log.topic("orders")
    errors: list[str] = []
    with log.producer(max_buffered_bytes=100_000, max_block=60.0) as producer:

        def fill() -> None:
            try:
                for _ in range(200):
                    producer.send(orders, bytes(1000))
            except eventlog.BufferFull as error:
                errors.append(str(error))

        for step in range(0, 200, 20):  # before and in the round that stores the record
            assert watched(step, fill, lambda: orders.append(b"x"), files=_WITH_COMMITS)
    assert errors
    assert all("a signal handler or a finalizer" in error and "max_block" not in error for error in errors)


def test_a_handler_that_closes_in_the_middle_of_a_call_waits_for_nothing(log: eventlog.EventLog) -> None:
    """It would wait for the sender thread, which waits for the interrupted call; the rest is stored all the same."""
    topic = log.topic("orders")
    for step in count():
        producer = log.producer(linger=3600.0)
        other = log.producer(linger=0.0)
        deliveries = [producer.send(topic, b"before"), other.send(topic, b"other")]

        def act(producers: Any = (producer, other)) -> None:
            for one in producers:
                one.close(10.0)

        has_acted = watched(2 * step, act, lambda producer=producer: producer.flush(10.0), files=_WITH_COMMITS)
        for one in (producer, other):
            with pytest.raises(eventlog.LogClosed) if has_acted else nullcontext():
                one.send(topic, b"late")
            one.close(10.0)
        assert all(delivery.done() for delivery in deliveries)
        if not has_acted:
            break
    assert step > _LEAST_STEPS // 2
