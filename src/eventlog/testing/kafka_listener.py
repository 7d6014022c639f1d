"""A Kafka listener over a log under test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

from eventlog.api.event_log import EventLog
from eventlog.options import MAX_PARTITIONS, check_int

if TYPE_CHECKING:  # what it needs is imported by the first test that has one
    from eventlog.kafka import Listener


def kafka(
    log: EventLog, *, topics: Iterable[str] | Mapping[str, int | None] = (), partitions: int = 1, **options: Any
) -> Listener:
    """
    Listen for Kafka clients over a log under test; the fixture `kafka_listener`.

    Close what is returned, or use it in a `with` block, before the log is closed.

    Args:
        topics: made first: a name, names, or names with their counts of partitions.
        partitions: the count where none is said, and that of topics which clients make by asking for them.
        options: those of `eventlog.kafka.listen`.

    Raises:
        TypeError, ValueError, InvalidTopicName: for topics and options that cannot be. No listener was made.

    Example:
        >>> from eventlog import testing
        >>> with testing.open() as log, testing.kafka(log, topics={"orders": 8}) as kafka:
        ...     log.topic("orders").partitions, kafka.host
        (8, '127.0.0.1')
    """
    from eventlog.kafka import listen

    _check_options(options)
    for name, count in _counts_of(topics).items():
        log.topic(name, partitions=partitions if count is None else count)
    return listen(log, partitions=partitions, **options)


def kafka_as_marked(log: EventLog, marks: Sequence[tuple[tuple[Any, ...], Mapping[str, Any]]]) -> Listener:
    """
    The listener that the markers of a test ask for.

    Args:
        marks: positional and keyword arguments of the markers, the closest first: where two differ, it holds.
    """
    counts: dict[str, int | None] = {}
    options: dict[str, Any] = {}
    for names, keywords in reversed(marks):
        counts |= _counts_of(names) | _counts_of(keywords.get("topics", ()))
        options |= keywords
    options.pop("topics", None)
    return kafka(log, topics=counts, **options)


def _counts_of(topics: Any) -> dict[str, int | None]:
    """Names of topics with their counts of partitions, None where none is said."""
    if isinstance(topics, str):
        topics = (topics,)
    counts = topics if isinstance(topics, Mapping) else dict.fromkeys(topics) if _are_names(topics) else None
    if counts is None or not _are_names(counts):
        raise TypeError(
            f'topics are names, or names with their counts of partitions as in topics={{"orders": 8}}, not {topics!r}. '
            "Nothing was made."
        )
    for name, count in counts.items():
        if count is not None:
            check_int(f"the count of partitions of {name!r}", count, least=1, most=MAX_PARTITIONS)
    return dict(counts)


def _are_names(topics: Any) -> bool:
    return isinstance(topics, Iterable) and all(isinstance(name, str) for name in topics)


def _check_options(options: Mapping[str, Any]) -> None:
    from eventlog.kafka import listen

    known = [name for name, one in signature(listen).parameters.items() if one.kind is Parameter.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            near = "".join(f" Did you mean {one}=?" for one in get_close_matches(name, ["topics", *known], 1))
            raise TypeError(f"there is no option {name}=; there are topics=, {'=, '.join(known)}=.{near}")
