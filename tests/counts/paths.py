"""
The hot paths: the work of a program for each record, as the cost of a thousand records.

A path prepares the log, does its work once or twice, so that nothing happens for the first time later, and then
measures it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import eventlog
from eventlog import EventLog

if TYPE_CHECKING:
    from tests.counts.counter import Cost, Meter

RECORDS = 1000
PAGE = 100
SOME = 100
"""How many records are measured if each is on its own."""
VALUE = b"v" * 100
VALUES = [VALUE] * RECORDS
KEYS = [f"key-{number % PAGE:04}".encode() for number in range(RECORDS)]
NEVER: dict[str, Any] = {"auto_commit_interval": 1e6, "session_timeout": 1e6, "max_poll_interval": 1e6}
"""Options of a group member that does nothing because of the time."""

Path = Callable[[EventLog, "Meter"], "Cost"]


def _send(partitions: int, *, are_reports_read: bool = False) -> Path:
    def path(log: EventLog, meter: Meter) -> Cost:
        topic = log.topic("orders", partitions=partitions)
        with log.producer(linger=3600.0) as producer:
            # The sender thread would sleep for an hour; when something wakes it earlier depends on the machine.
            producer._accumulator._handoff.tell_open = lambda: None

            def work() -> None:
                deliveries = [producer.send(topic, value, key=key) for value, key in zip(VALUES, KEYS, strict=True)]
                producer.flush()
                if are_reports_read:
                    for delivery in deliveries:
                        delivery.result()

            for _ in range(4):  # the length of a batch in records follows from earlier batches
                work()
            return meter.measure(work)

    return path


def _append(*, index: Literal["key"] | None = None, is_expected: bool = False) -> Path:
    def path(log: EventLog, meter: Meter) -> Cost:
        topic = log.topic("orders", index=index)

        def work(version: int) -> None:
            for key in KEYS[:SOME]:
                if is_expected:
                    topic.append(VALUE, key=key, expected_version=version)
                else:
                    topic.append(VALUE, key=key)

        work(0)
        return meter.measure(lambda: work(1)).per_thousand(SOME)

    return path


def _append_many(partitions: int) -> Path:
    def path(log: EventLog, meter: Meter) -> Cost:
        topic = log.topic("orders", partitions=partitions)
        topic.append_many(VALUES, keys=KEYS)
        return meter.measure(lambda: topic.append_many(VALUES, keys=KEYS))

    return path


def _append_events(log: EventLog, meter: Meter) -> Cost:
    topic = log.topic("orders", index="key")

    def work(version: int) -> None:
        for key in KEYS[: RECORDS // PAGE]:
            topic.append_many(VALUES[:PAGE], key=key, expected_version=version)

    work(0)
    return meter.measure(lambda: work(PAGE))


def _filled(log: EventLog, name: str = "orders", *, index: Literal["key"] | None = None) -> eventlog.Topic[Any, Any]:
    topic = log.topic(name, index=index)
    for first in range(0, RECORDS, PAGE):
        topic.append_many(VALUES[first : first + PAGE], keys=KEYS[first : first + PAGE])
    return topic


def _history(log: EventLog, meter: Meter) -> Cost:
    topic = _filled(log, index="key")

    def work() -> None:
        for key in KEYS[:PAGE]:
            assert len(list(topic.history(key))) == RECORDS // PAGE

    work()
    return meter.measure(work)


def _latest(log: EventLog, meter: Meter) -> Cost:
    topic = _filled(log, index="key")

    def work() -> None:
        for key in KEYS[:SOME]:
            topic.latest(key)

    work()
    return meter.measure(work).per_thousand(SOME)


def _read(log: EventLog, meter: Meter) -> Cost:
    topic = _filled(log)

    def work() -> None:
        assert len(list(topic.read(partition=0))) == RECORDS

    work()
    return meter.measure(work)


def _loop(group: str | None) -> Path:
    def path(log: EventLog, meter: Meter) -> Cost:
        topic = _filled(log)
        with log.consumer(topic, group=group, **NEVER) as consumer:
            records = iter(consumer)

            def work() -> None:
                for _ in range(RECORDS):
                    next(records)

            work()
            return meter.measure(work, prepare=lambda: _filled(log))

    return path


def _polls(log: EventLog, meter: Meter) -> Cost:
    topic = _filled(log)
    with log.consumer(topic) as consumer:

        def work() -> None:
            assert len(consumer.poll()) + len(consumer.poll()) == RECORDS

        work()
        return meter.measure(work, prepare=lambda: _filled(log))


def _columns(log: EventLog, meter: Meter) -> Cost:
    topic = _filled(log)
    with log.consumer(topic) as consumer:

        def work() -> None:
            assert sum(map(len, consumer.poll_batches())) == RECORDS

        work()
        return meter.measure(work, prepare=lambda: _filled(log))


def _poll_one(group: str | None, *, is_empty: bool = False) -> Path:
    def path(log: EventLog, meter: Meter) -> Cost:
        topic = log.topic("orders")
        with log.consumer(topic, group=group, **NEVER) as consumer:

            def prepare() -> None:
                if not is_empty:
                    topic.append(VALUE)

            def work() -> None:
                assert len(consumer.poll()) == (0 if is_empty else 1)

            for _ in range(3):
                prepare()
                work()
            return meter.measure(work, prepare=prepare, times=SOME).per_thousand(SOME)

    return path


def _poll_and_commit(log: EventLog, meter: Meter) -> Cost:
    topic = _filled(log)
    with log.consumer(topic, group="billing", max_poll_records=PAGE, **NEVER) as consumer:

        def work() -> None:
            for _ in range(RECORDS // PAGE):
                assert len(consumer.poll()) == PAGE
                consumer.commit()

        work()
        return meter.measure(work, prepare=lambda: _filled(log))


def _exactly_once(log: EventLog, meter: Meter) -> Cost:
    topic, outputs = _filled(log), log.topic("outputs")
    with log.consumer(topic, group="loop", max_poll_records=PAGE, **NEVER) as consumer:

        def work() -> None:
            for _ in range(RECORDS // PAGE):
                records = consumer.poll()
                with log.transaction() as tx:
                    totals = tx.state("totals", key=bytes, value=int)
                    keys = [record.key for record in records]
                    known = totals.get_many(keys)
                    for record in records:
                        totals[record.key] = known.get(record.key, 0) + 1
                    tx.send_many(outputs, [record.value for record in records], keys=keys)
                    tx.commit_offsets(consumer)

        work()
        return meter.measure(work, prepare=lambda: _filled(log))


def _one_by_one(log: EventLog, meter: Meter) -> Cost:
    topic = log.topic("orders")

    def work() -> None:
        for key in KEYS[:SOME]:
            with log.transaction() as tx:
                totals = tx.state("totals", key=bytes, value=int)
                totals[key] = totals.get(key, 0) + 1
                tx.send(topic, VALUE, key=key)

    work()
    return meter.measure(work).per_thousand(SOME)


def _processor(log: EventLog, meter: Meter) -> Cost:
    topic, outputs = _filled(log), log.topic("outputs")

    def process(tx: eventlog.Transaction, record: Any) -> None:
        totals = tx.state("totals", key=bytes, value=int)
        totals[record.key] = totals.get(record.key, 0) + 1
        tx.send(outputs, record.value, key=record.key)

    never = {name: NEVER[name] for name in ("session_timeout", "max_poll_interval")}
    with log.processor(topic, function=process, group="loop", max_records=PAGE, **never) as loop:
        loop.run_to_end()
        return meter.measure(loop.run_to_end, prepare=lambda: _filled(log))


def _projection(log: EventLog, meter: Meter) -> Cost:
    topic = _filled(log)

    def fold(state: Any, record: Any) -> None:
        state[record.key] = state.get(record.key, 0) + 1

    projection = log.projection("totals", fold, topics=[topic], key=bytes, value=int)
    projection.catch_up()
    return meter.measure(projection.catch_up, prepare=lambda: _filled(log))


def _open(log: EventLog, meter: Meter) -> Cost:
    path = log.path.with_name(f"{log.path.name}-other")
    opened: list[EventLog] = []

    def close() -> None:
        while opened:
            opened.pop().close()

    def work() -> None:
        opened.append(eventlog.open(path))

    for _ in range(2):
        work()
        close()
    cost = meter.measure(work)
    close()
    return cost


def _queue(at_once: int) -> Path:
    def path(log: EventLog, meter: Meter) -> Cost:
        topic = _filled(log)
        with log.queue(topic, group="workers", max_poll_records=at_once, session_timeout=1e6) as queue:

            def work() -> None:
                for _ in range(SOME if at_once == 1 else RECORDS // at_once):
                    jobs = queue.poll()
                    assert len(jobs) == at_once
                    for job in jobs:
                        with job:
                            pass

            work()
            _filled(log)
            work()
            cost = meter.measure(work, prepare=lambda: _filled(log))
            return cost.per_thousand(SOME) if at_once == 1 else cost

    return path


PATHS: dict[str, Path] = {
    "send, flush; 1 partition": _send(1),
    "send, flush; 8 partitions": _send(8),
    "send, flush, result of each": _send(1, are_reports_read=True),
    "append": _append(),
    "append; index": _append(index="key"),
    "append; expected_version": _append(index="key", is_expected=True),
    "append_many of 1000": _append_many(1),
    "append_many of 1000; 8 partitions": _append_many(8),
    "append_many(key=) of 100": _append_events,
    "history of 10": _history,
    "latest": _latest,
    "read": _read,
    "loop of a consumer": _loop(None),
    "loop of a member": _loop("billing"),
    "poll of 500": _polls,
    "poll of 1": _poll_one(None),
    "poll of 1, of a member": _poll_one("billing"),
    "poll of 0": _poll_one(None, is_empty=True),
    "poll of 0, of a member": _poll_one("billing", is_empty=True),
    "poll_batches": _columns,
    "poll of 100, commit": _poll_and_commit,
    "transaction of 1: state, send": _one_by_one,
    "transaction of 100: state, send, offsets": _exactly_once,
    "processor, 100 at a time": _processor,
    "jobs of a queue, one by one": _queue(1),
    "jobs of a queue, 100 at a time": _queue(PAGE),
    "projection": _projection,
    "open of a log that is there": _open,
}
