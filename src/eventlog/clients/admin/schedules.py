"""The administration of schedules: to list, move and cancel them, and to send what is due."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from eventlog.api.overriding import override
from eventlog.api.schedules import Schedule, Schedules, ScheduleTotals
from eventlog.api.topic import Topic
from eventlog.backend import Backend
from eventlog.backend.schedules import StoredSchedule
from eventlog.clients.topic.scheduling import decoded, due_ms_of, moment_ms, schedule_id
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.errors import LogClosed
from eventlog.interruptions import suppress
from eventlog.options import check_bool, check_seconds

_LOOK_SECONDS = 0.5
_NEVER_S = float("inf")


class EmbeddedSchedules(Schedules):
    """The embedded schedules: see `eventlog.Schedules`."""

    def __init__(
        self, backend: Backend, check_open: Callable[[], None], known: Callable[[str], EmbeddedTopic[Any, Any]]
    ) -> None:
        self._backend = backend
        self._check_open = check_open
        self._known = known

    @override
    def list(
        self,
        topic: str | Topic[Any, Any] | None = None,
        *,
        key: object = None,
        start: datetime | float | None = None,
        end: datetime | float | None = None,
        failed: bool = False,
    ) -> Iterator[Schedule[Any, Any]]:
        self._check_open()
        first_ms = 0 if start is None else moment_ms("start", start)
        end_ms = None if end is None else moment_ms("end", end)
        check_bool("failed", failed)
        if topic is None:
            if key is not None:
                raise ValueError("key= goes with a topic, which knows how keys are encoded. Nothing was read.")
            return self._scan(None, None, first_ms, end_ms, is_failed=failed)
        handle = self._known(topic) if isinstance(topic, str) else topic
        if not isinstance(handle, EmbeddedTopic):
            raise TypeError(f"a topic is its name or a Topic, not {type(topic).__name__}. Nothing was read.")
        handle._check_store(self._backend)
        key_bytes = None if key is None else handle._route.key_codec.encode(key)
        return self._scan(handle, key_bytes, first_ms, end_ms, is_failed=failed)

    def _scan(
        self,
        topic: EmbeddedTopic[Any, Any] | None,
        key: bytes | None,
        first_ms: int,
        end_ms: int | None,
        *,
        is_failed: bool,
    ) -> Iterator[Schedule[Any, Any]]:
        topics = None if topic is None else [self._backend.check_topic(topic._route.row)]
        found = self._backend.schedules().scan_schedules(topics, first_ms=first_ms, end_ms=end_ms, is_failed=is_failed)
        return (self._seen(one, topic) for one in found if key is None or one.key == key)

    def _seen(self, stored: StoredSchedule, topic: EmbeddedTopic[Any, Any] | None = None) -> Schedule[Any, Any]:
        return decoded((topic or self._known(stored.topic))._route, stored)

    @override
    def get(self, schedule: str | Schedule[Any, Any]) -> Schedule[Any, Any] | None:
        self._check_open()
        stored = self._backend.schedules().schedule(schedule_id(schedule))
        return None if stored is None else self._seen(stored)

    @override
    def cancel(self, schedule: str | Schedule[Any, Any]) -> bool:
        self._check_open()
        return self._backend.schedules().cancel_schedule(schedule_id(schedule))

    @override
    def move(
        self, schedule: str | Schedule[Any, Any], *, at: datetime | float | None = None, delay: float | None = None
    ) -> bool:
        self._check_open()
        due_ms = due_ms_of(self._backend.clock.now_ms(), at, delay)
        return self._backend.schedules().move_schedule(schedule_id(schedule), due_ms)

    @override
    def describe(self) -> ScheduleTotals:
        self._check_open()
        return ScheduleTotals(*self._backend.schedules().counts())

    @override
    def send_due(self) -> int:
        self._check_open()
        return self._backend.schedules().send_due()

    @override
    def run(self, *, timeout: float | None = None) -> None:
        self._check_open()
        now = self._backend.clock.monotonic
        until_s = _NEVER_S if timeout is None else now() + check_seconds("timeout", timeout)
        waiter = self._backend.waiter()
        try:
            with self._backend.schedules().serving(), suppress(LogClosed):
                while (left_s := until_s - now()) > 0:
                    self._check_open()
                    waiter.wait_until(now() + min(left_s, _LOOK_SECONDS), None)
        finally:
            waiter.close()
