"""What was stored in a topic: to be asserted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from eventlog.api.features import Closing
from eventlog.api.topic import Topic
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.options import check_int, check_seconds
from eventlog.records import Record

if TYPE_CHECKING:
    from typing import Self

    from eventlog.aio.topic import Topic as LoopTopic


def produced(topic: Topic[Any, Any] | LoopTopic[Any, Any]) -> Produced:
    """
    The records stored in a topic, as a sequence ordered by partition and offset.

    Each look reads the topic again. As a context manager it begins with what is stored inside of the block.

    Example:
        >>> from eventlog import testing
        >>> with testing.open() as log:
        ...     orders = log.topic("orders", key=str, value=str)
        ...     meta = orders.append("tea", key="alice")
        ...     with testing.produced(orders) as sent:
        ...         meta = orders.append("milk", key="bob")
        ...     testing.produced(orders).values, sent.items
        (['tea', 'milk'], [('bob', 'milk')])
    """
    return Produced(topic)


class StoredRecords(Closing, Sequence[Record[Any, Any]]):
    """The records of a topic, read again with each look."""

    def __init__(self, topic: Topic[Any, Any] | LoopTopic[Any, Any]) -> None:
        inner = getattr(topic, "_inner", topic)  # one of `eventlog.aio` has ours inside
        if not isinstance(inner, EmbeddedTopic):
            raise TypeError(f"a topic is a Topic of a log, not {topic!r}. Nothing was read.")
        self._topic: EmbeddedTopic[Any, Any] = inner
        self._firsts: dict[int, int] = {}

    def records(self) -> list[Record[Any, Any]]:
        """All of them as a list; of one moment for each partition."""
        found: list[Record[Any, Any]] = []
        for partition, (first, end) in self._topic.bounds().items():
            start = max(self._firsts.get(partition, first), first)
            if start < end:
                found += self._topic.read(partition, start=start)
        return found

    @property
    def values(self) -> list[Any]:
        """The values of the records."""
        return [record.value for record in self.records()]

    @property
    def keys(self) -> list[Any]:
        """The keys of the records."""
        return [record.key for record in self.records()]

    @property
    def items(self) -> list[tuple[Any, Any]]:
        """The keys of the records with their values."""
        return [(record.key, record.value) for record in self.records()]

    def __enter__(self) -> Self:
        self._firsts = {partition: end for partition, (_, end) in self._topic.bounds().items()}
        return self

    def close(self) -> None:
        """Nothing: what was stored in the block can be looked at after it."""

    @overload
    def __getitem__(self, index: int) -> Record[Any, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> list[Record[Any, Any]]: ...

    def __getitem__(self, index: int | slice) -> Record[Any, Any] | list[Record[Any, Any]]:
        return self.records()[index]

    def __iter__(self) -> Iterator[Record[Any, Any]]:
        return iter(self.records())

    def __len__(self) -> int:
        return sum(
            max(end - max(self._firsts.get(partition, first), first), 0)
            for partition, (first, end) in self._topic.bounds().items()
        )

    def __repr__(self) -> str:
        return f"<Produced in {self._topic.name!r}: {self.items!r}>"


class Produced(StoredRecords):
    """
    The records of a topic, read again with each look; made by `produced()`.

    Example:
        >>> from eventlog import testing
        >>> with testing.open() as log:
        ...     orders = log.topic("orders", value=str)
        ...     ranges = orders.append_many(["tea", "milk"])
        ...     sent = testing.produced(orders)
        ...     len(sent), sent[-1].value
        (2, 'milk')
    """

    def wait(self, count: int = 1, *, timeout: float = 10.0) -> list[Record[Any, Any]]:
        """
        Wait until there are enough records, and return all that there are.

        For what a thread or another process sends; a commit wakes it.

        Args:
            count: how many are enough.
            timeout: seconds to wait.

        Raises:
            TimeoutError: if there are fewer in time. The message has what was found.
        """
        check_int("count", count, least=0)
        store = self._topic._store
        deadline_s = store.clock.monotonic() + check_seconds("timeout", timeout)
        waiter = store.waiter()
        try:
            while True:
                seen = store.last_transaction()
                records = self.records()
                if len(records) >= count:
                    return records
                if not waiter.sleep(deadline_s, timeout, seen):
                    raise too_few(self._topic.name, records, count, timeout)
        finally:
            waiter.close()


def too_few(topic: str, records: Sequence[Record[Any, Any]], count: int, timeout: float) -> TimeoutError:
    """The error for a wait in vain."""
    return TimeoutError(
        f"topic {topic!r} has {len(records)} of {count} records after {timeout} s: "
        f"{[record.value for record in records[:5]]!r}. Nothing was changed. See that the sender runs and flushes, or "
        "wait longer."
    )
