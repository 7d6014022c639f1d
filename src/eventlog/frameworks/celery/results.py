"""
The result backend: results are rows of a state, and a record tells those who wait for one.

A row and its record are stored in one commit. Who waits reads the topic of those records from where it ends, so a
result arrives without being asked for again and again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any, ClassVar, Final, TypeVar

from celery.backends.asynchronous import AsyncBackendMixin, BaseResultConsumer
from celery.backends.base import BaseKeyValueStoreBackend
from kombu.utils.encoding import bytes_to_str

import eventlog
from eventlog import Consumer, EventLog, StateView, StorageError, Transaction
from eventlog.frameworks.celery.urls import log_path

T = TypeVar("T")

STATE: Final = "celery.results"
TOPIC: Final = "celery.results"
_KEPT_SECONDS: Final = 3600.0
_DELETED_AT_ONCE: Final = 500
_ATTEMPTS: Final = 100
_SIZE: Final = b".size"
_PARTS: Final = b".parts"
_NEAR_ENOUGH: Final = 0.01
"""The part of its lifetime by which the end of a row may be wrong: a change costs a commit."""

Row = tuple[int, bytes]
"""When it is over, in ms since 1970, 0 for never; and what Celery has encoded."""


class ResultConsumer(BaseResultConsumer):
    """What waits for the results of one process."""

    backend: ResultBackend

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._turn = Lock()
        self._consumer: Consumer[bytes, bytes] | None = None
        self._process = os.getpid()

    def _opened(self) -> Consumer[bytes, bytes]:
        if self._consumer is None or self._process != os.getpid():
            self._consumer = self.backend.log.consumer(self.backend.topic, start="latest")
            self._consumer.poll(0)
            self._process = os.getpid()
        return self._consumer

    def start(self, initial_task_id: str, **_: Any) -> None:
        """Begin to wait."""
        self.consume_from(initial_task_id)

    def stop(self) -> None:
        """Wait no more."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def on_after_fork(self) -> None:
        """Leave the parent's consumer alone."""
        self._turn = Lock()
        self._consumer = None

    def consume_from(self, task_id: str) -> None:
        """Note what comes from now on."""
        with self._turn:
            self._opened()

    def cancel_for(self, task_id: str) -> None:
        """Nothing is to be done: all results of the log are told."""

    def on_wait_for_pending(self, result: Any, timeout: float | None = None, **_: Any) -> None:
        """Look at what was there before anybody waited."""
        for meta in result._iter_meta():
            if meta is not None:
                self.on_state_change(meta, None)

    def drain_events_until(self, p: Any, timeout: float | None = None, on_interval: Any = None) -> Any:
        """Wait until a promise is kept, and not longer than was asked for: Celery itself waits for whole seconds."""
        until_s = None if timeout is None else time.monotonic() + timeout

        def wait(timeout: float) -> None:
            self.drain_events(timeout if until_s is None else max(0.0, min(timeout, until_s - time.monotonic())))

        return self.drainer.drain_events_until(p, timeout=timeout, on_interval=on_interval, wait=wait)

    def drain_events(self, timeout: float | None = None) -> None:
        """Wait for results, and tell those who wait for them; one thread does that for all."""
        if not self._turn.acquire(timeout=-1 if timeout is None else timeout):
            return
        try:
            records = self._opened().poll(1.0 if timeout is None else timeout)
        finally:
            self._turn.release()
        for task_id in dict.fromkeys(bytes_to_str(record.value or b"") for record in records):
            if any(task_id in mapping for mapping in self._pending_results):
                self.on_state_change(self.backend.get_task_meta(task_id, cache=False), None)


class ResultBackend(AsyncBackendMixin, BaseKeyValueStoreBackend):
    """Results in a log: `result_backend = "eventlog:///srv/shop/log"`."""

    ResultConsumer: ClassVar = ResultConsumer
    supports_native_join = True
    supports_result_compression = True
    implements_incr = True
    persistent = True

    def __init__(self, app: Any, url: str | None = None, **options: Any) -> None:
        self.path = log_path(url or "")
        super().__init__(app, url=url, **options)
        self._log: EventLog | None = None
        self._view: StateView[bytes, Row] | None = None
        self._topic: Any = None
        self.result_consumer = self.ResultConsumer(
            self, self.app, self.accept, self._pending_results, self._pending_messages
        )

    def __reduce__(self, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        return super().__reduce__(args, {**(kwargs or {}), "url": self.url})

    # -- the log -----------------------------------------------------------------------------------------------------

    @property
    def log(self) -> EventLog:
        """The log, which is opened when it is needed."""
        return self._log or self._open()

    def _open(self) -> EventLog:
        log = eventlog.open(self.path)
        self._topic = log.topic(TOPIC, key=bytes, value=bytes, retention=_KEPT_SECONDS)
        with log.transaction() as transaction:
            _rows(transaction)
        self._view = log.state(STATE, key=bytes, value="msgpack")
        self._log = log
        return log

    @property
    def topic(self) -> Any:
        """The topic of the records that tell of results."""
        if self._topic is None:
            self._open()
        return self._topic

    def _read(self) -> StateView[bytes, Row]:
        if self._view is None:
            self._open()
        assert self._view is not None
        return self._view

    def _change(self, function: Callable[[Any], T]) -> T:
        """What a function makes of the rows, in one commit; workers that end a chord together meet at its counter."""
        return self.log.transact(lambda transaction: function(_rows(transaction)), attempts=_ATTEMPTS)

    def exception_safe_to_retry(self, error: BaseException) -> bool:
        """Whether the same call may succeed later."""
        return isinstance(error, eventlog.EventLogError) and (error.retriable or isinstance(error, StorageError))

    # -- keys and values ---------------------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key."""
        return _value(self._read().get(key))

    def mget(self, keys: Iterable[bytes]) -> list[bytes | None]:
        """Return the values of some keys, of one moment."""
        wanted = list(keys)
        found = self._read().get_many(wanted)
        return [_value(found.get(key)) for key in wanted]

    def set(self, key: bytes, value: bytes | str) -> None:
        """Store a value, and tell those who wait for it."""
        row = (_until_ms(self.expires), value.encode() if isinstance(value, str) else value)
        prefix = self.task_keyprefix

        def store(transaction: Transaction) -> None:
            _rows(transaction).put(key, row)
            if key.startswith(prefix):
                transaction.send(self.topic, key[len(prefix) :])

        self.log.transact(store)

    def _set_with_state(self, key: bytes, value: bytes | str, state: str) -> None:
        self.set(key, value)

    def delete(self, key: bytes) -> None:
        """Delete a key."""
        self._change(lambda rows: rows.delete(key))

    def incr(self, key: bytes) -> int:
        """Add one to a counter; the new value."""

        def add(rows: Any) -> int:
            until_ms, value = rows.get(key) or (_until_ms(self.expires), b"0")
            rows.put(key, (until_ms, str(int(value) + 1).encode()))
            return int(value) + 1

        return self._change(add)

    def expire(self, key: bytes, value: float) -> None:
        """Let a key be over some seconds from now, 0 is never; one that is over about then already stays as it is."""
        stored = self._read().get(key)
        if stored is None or abs(stored[0] - _until_ms(value)) <= value * 1000 * _NEAR_ENOUGH:
            return

        def set_end(rows: Any) -> None:
            if (row := rows.get(key)) is not None:
                rows.put(key, (_until_ms(value), row[1]))

        self._change(set_end)

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        """Note how many tasks the header of a chord ends with, those of groups in it too."""
        self.set(self.get_key_for_group(group_id, _SIZE), str(chord_size))

    def on_chord_part_return(self, request: Any, state: str, result: Any, **options: Any) -> None:
        """
        Count a task of a chord's header; the last one sends the body.

        Celery would restore the results of the whole header for each of its tasks, and keep them: a million of them,
        and gigabytes, for a thousand tasks. So they are counted here, and Celery sees the last one as if it were alone.
        """
        group, chord = request.group, request.chord
        if not group or not chord:
            return
        parts = self.get_key_for_group(group, _PARTS)
        count = self.incr(parts)
        size = chord.get("chord_size") or self.get(self.get_key_for_group(group, _SIZE))
        if size is None or count < int(size):  # it is noted before the last task is sent
            self.expire(parts, getattr(self, "chord_expires", self.expires) or 0)
            for key in (self.get_key_for_group(group), self.get_key_for_task(request.id)):
                self.expire(key, getattr(self, "_chord_result_expires", self.expires) or 0)
        elif count == int(size):
            chord["chord_size"] = 1
            super().on_chord_part_return(request, state, result, **options)
            self.delete(parts)

    def cleanup(self) -> None:
        """Delete what is over; `celery beat` does that once a day, as the task `celery.backend_cleanup`."""
        now_ms = time.time_ns() // 1_000_000
        over: list[bytes] = []
        for key, (until_ms, _) in self._read().items():
            if until_ms and until_ms < now_ms:
                over.append(key)
        for first in range(0, len(over), _DELETED_AT_ONCE):
            part = over[first : first + _DELETED_AT_ONCE]

            def delete(rows: Any, part: list[bytes] = part) -> None:
                for key, row in rows.get_many(part).items():
                    if row[0] and row[0] < now_ms:
                        rows.delete(key)

            self._change(delete)


def _rows(transaction: Transaction) -> Any:
    return transaction.state(STATE, key=bytes, value="msgpack")


def _until_ms(seconds: float | None) -> int:
    return time.time_ns() // 1_000_000 + round(seconds * 1000) if seconds else 0


def _value(row: Row | None) -> bytes | None:
    if row is None or (row[0] and row[0] < time.time_ns() // 1_000_000):
        return None
    return row[1]
