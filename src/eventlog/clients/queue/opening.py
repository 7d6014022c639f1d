"""
Opening a queue: a worker is made last.

Before that topics and options are checked, and the queue and the topic of its dead letters are made if they are
missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eventlog.backend import Backend, refusal
from eventlog.backend.topics import DUPLICATE_WINDOW_MS, NewTopic
from eventlog.backend.waiting import Listener
from eventlog.clients.queue.options import WorkerOptions, worker_options
from eventlog.clients.queue.queue import EmbeddedQueue
from eventlog.clients.reading.batch_reader import resolve_starts
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.options import check_topic_name

_BYTES: Mapping[str, object] = {"name": "bytes"}


def open_queue(
    store: Backend,
    known: Callable[[str], EmbeddedTopic[Any, Any]],
    topics: tuple[object, ...],
    listener: Listener | None = None,
    **options: Any,
) -> EmbeddedQueue[Any, Any]:
    """
    A worker of a queue.

    Args:
        listener: the place where it is notified, for a driver that does not block; None makes one where it can wait.

    Raises:
        ValueError, TypeError, UnknownTopic, QueueMismatch, GroupMismatch: as `EventLog.queue`. Nothing was made.
        ReadOnlyLog: the log was opened for reading. Nothing was made.
    """
    opened = {topic.name: topic for topic in (_named_topic(store, known, one) for one in topics)}
    rows = list(opened.values())
    checked = worker_options(rows, **options)
    if store.is_read_only:
        raise refusal(f"work for queue {checked.group!r}", store)

    def open_topic(name: str) -> EmbeddedTopic[Any, Any]:
        found, given = known(name), opened.get(name)
        return given if given is not None and given.uuid == found.uuid else found

    queues = store.queues()
    queue = queues.queue(checked.group)
    if queue is None:
        queue = queues.ensure_queue(checked.group, checked.stored(), starts=_starts(store, rows, checked))
    checked.check_stored(queue)
    if queue.options.dead_letters is not None:
        _ensure_dead_letters(store, queue.options.dead_letters, rows)
    store.discard_abandoned_leases()
    return EmbeddedQueue(store, open_topic, queue, checked, rows, listener)


def _named_topic(
    store: Backend, known: Callable[[str], EmbeddedTopic[Any, Any]], topic: object
) -> EmbeddedTopic[Any, Any]:
    if isinstance(topic, EmbeddedTopic):
        topic._check_store(store)
        return topic
    return known(check_topic_name(topic))


def _starts(
    store: Backend, topics: Sequence[EmbeddedTopic[Any, Any]], options: WorkerOptions
) -> dict[tuple[int, int], int]:
    """Where a new queue begins; nothing where that is at the first record."""
    if options.start == "earliest":
        return {}
    places = [(topic._route.row, number) for topic in topics for number in range(topic._route.row.partitions)]
    starts = resolve_starts(store, places, options.start)
    return {(row.id, number): start for (row, number), start in zip(places, starts, strict=True)}


def _ensure_dead_letters(store: Backend, name: str, topics: Sequence[EmbeddedTopic[Any, Any]]) -> None:
    """Make the topic of the dead letters, which are read as the topics are, if all of these are read alike."""
    if store.topic(name) is not None:
        return
    rows = [topic._route.row for topic in topics]
    keys, values = [row.key for row in rows], [row.value for row in rows]
    store.ensure_topic(
        NewTopic(
            name,
            1,
            keys[0] if keys.count(keys[0]) == len(keys) else dict(_BYTES),
            values[0] if values.count(values[0]) == len(values) else dict(_BYTES),
            "crc32",
            max(row.max_record_bytes for row in rows),
            None,
            DUPLICATE_WINDOW_MS,
            {"name": "msgpack"},
        )
    )
