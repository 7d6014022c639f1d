"""A second member of a group, which joins, works, leaves or dies while the service under test runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from eventlog.api.event_log import EventLog
from eventlog.api.features import Closing
from eventlog.api.topic import Topic
from eventlog.clients.consumer.consumer import EmbeddedConsumer
from eventlog.options import check_int, check_seconds
from eventlog.records import Record, TopicPartition

if TYPE_CHECKING:
    from eventlog.aio.log import EventLog as LoopLog

_LONG_SECONDS = 3600.0
_END_SECONDS = 30.0


class Member(Closing):
    """
    A member of a group in a thread of its own: it joins at once, and takes part until it leaves or dies.

    What it is handed counts as worked on: it is in `records`, and is committed. As a context manager it leaves at the
    end of the block.

    Args:
        log: an open log.
        topics: what it subscribes to, as for `EventLog.consumer()`.
        group: the group to join.
        options: those of `EventLog.consumer()`.

    Example:
        >>> from eventlog import testing
        >>> with testing.open() as log:
        ...     orders = log.topic("orders", value=str)
        ...     with testing.Member(log, orders, group="billing") as other:
        ...         partitions = other.wait_for_partitions(1)
        ...         meta = orders.append("tea")
        ...         log.groups.wait("billing", timeout=10.0)
        ...     [record.value for record in other.records]
        ['tea']
    """

    def __init__(self, log: EventLog | LoopLog, *topics: str | Topic[Any, Any], group: str, **options: Any) -> None:
        options.setdefault("auto_commit_interval", 0.05)
        self.group = group
        self.records: list[Record[Any, Any]] = []
        """What it was handed, in order."""
        self.error: BaseException | None = None
        """What ended it, if that was an error."""
        self.when_changed: Callable[[], object] = bool
        """Called by its thread whenever it has other partitions."""
        self._partitions: set[TopicPartition] = set()
        self._changed = threading.Condition()
        self._is_ending = False
        self._dies = False
        inner: Any = getattr(log, "_inner", log)  # one of `eventlog.aio` has ours inside
        consumer = inner.consumer(
            *topics,
            group=group,
            on_assigned=lambda partitions: self._note(self._partitions | set(partitions)),
            on_revoked=lambda partitions: self._note(self._partitions - set(partitions)),
            on_lost=lambda partitions: self._note(self._partitions - set(partitions)),
            **options,
        )
        assert isinstance(consumer, EmbeddedConsumer)
        self._consumer: EmbeddedConsumer[Any, Any] = consumer
        self._thread = threading.Thread(target=self._run, name=f"eventlog-member-of-{group}", daemon=True)
        self._thread.start()

    @property
    def partitions(self) -> list[TopicPartition]:
        """The partitions that it has now."""
        return sorted(self._partitions)

    def wait_for_partitions(self, count: int, *, timeout: float = 10.0) -> list[TopicPartition]:
        """
        Wait until it has exactly this number of partitions, and return them.

        The others give theirs up when they poll.

        Raises:
            TimeoutError: if it has another number in time.
        """
        check_int("count", count, least=0)
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._partitions) == count, check_seconds("timeout", timeout)):
                raise self.has_others(count, timeout)
            return sorted(self._partitions)

    def has_others(self, count: int, timeout: float) -> TimeoutError:
        """The error for a wait in vain."""
        return TimeoutError(
            f"the member of group {self.group!r} has {len(self._partitions)} partitions after {timeout} s, not "
            f"{count}. Nothing was changed. See that the others poll, or wait longer."
        )

    def close(self) -> None:
        """Leave the group in order: commit, and give the partitions back."""
        self._end()

    leave = close

    def die(self) -> None:
        """End as the death of the process would: nothing more is committed, and the group finds out by itself."""
        self._end(dies=True)

    def _end(self, *, dies: bool = False) -> None:
        self._dies, self._is_ending = dies, True
        self._consumer.wakeup()
        self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        consumer = self._consumer
        try:
            while not self._is_ending:
                self.records += consumer.poll(timeout=_LONG_SECONDS)
        except BaseException as error:  # noqa: BLE001 - it is kept for the test to look at
            self.error = error
        finally:
            self._finish()

    def _note(self, partitions: set[TopicPartition]) -> None:
        with self._changed:
            self._partitions = partitions
            self._changed.notify_all()
        self.when_changed()

    def _finish(self) -> None:
        try:
            if self._dies:
                self._consumer._die()
            else:
                self._consumer.close()
        except BaseException as error:  # noqa: BLE001
            self.error = self.error or error
        self._note(set())
