"""
What the tests of the clients share: records, threads, a log held up in the middle of a commit, and damage on disk.

The last two go below the public API, since nothing above it can do them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import eventlog
from eventlog.store.lmdb.environment import BATCHES
from eventlog.store.rows.tables import batch_key

PATIENCE_SECONDS = 60.0
"""How long a test waits for what must come; a test that passes waits for none of it."""


def values(records: Any) -> list[Any]:
    """The values of some records."""
    return [record.value for record in records]


def topic_of_ten(log: eventlog.EventLog) -> eventlog.Topic[Any, int]:
    """Ten numbers in batches of one, three and six; a timestamp is a thousand times its number."""
    topic = log.topic("orders", value=int)
    for first, end in ((0, 1), (1, 4), (4, 10)):
        topic.append_many(range(first, end), timestamps_ms=range(1000 * first, 1000 * end, 1000))
    return topic


def take(consumer: Any, count: int) -> list[Any]:
    """The values of the next records of a loop."""
    return values(islice(consumer, count))


def poll_all(consumer: Any, count: int) -> list[Any]:
    """Polls until so many records came."""
    records: list[Any] = []
    while len(records) < count:
        came = consumer.poll(timeout=PATIENCE_SECONDS)
        assert came, f"{len(records)} of {count} records came"
        records += came
    return records


def in_threads(*functions: Callable[[], object]) -> list[Any]:
    """Runs functions at once, each in a thread of its own; their results, or the first error of any."""
    results: list[Any] = [None] * len(functions)
    errors: list[BaseException] = []
    barrier = threading.Barrier(len(functions))

    def run(place: int, function: Callable[[], object]) -> None:
        try:
            barrier.wait(PATIENCE_SECONDS)
            results[place] = function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(6 * PATIENCE_SECONDS)
        assert not thread.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]
    return results


@contextmanager
def held_up(log: eventlog.EventLog) -> Iterator[None]:
    """A thread that has begun to commit and does not come to its end before the block does."""
    environment = log._store.environment
    began, may_end = threading.Event(), threading.Event()
    commit = environment.commit

    def slow(transaction: Any) -> None:
        began.set()
        assert may_end.wait(6 * PATIENCE_SECONDS)
        commit(transaction)

    environment.commit = slow  # type: ignore[method-assign]
    holder = threading.Thread(target=lambda: log.topic("held-up"), daemon=True)
    holder.start()
    try:
        assert began.wait(PATIENCE_SECONDS)
        yield
    finally:
        environment.commit = commit  # type: ignore[method-assign]
        may_end.set()
        holder.join(PATIENCE_SECONDS)


def rewrite_batch(topic: Any, last: int, change: Callable[[bytes], bytes], partition: int = 0) -> None:
    """Changes the bytes of the stored batch whose last offset is `last`."""
    environment = topic._store.environment
    transaction = environment.begin_writing()
    key = batch_key(topic._route.row.id, partition, last)
    table = environment.table(BATCHES)
    data = transaction.get(key, db=table)
    assert data is not None, "no batch ends there"
    transaction.put(key, change(bytes(data)), db=table)
    environment.commit(transaction)


def flip_last_bit(data: bytes) -> bytes:
    """What a failing disk might give back."""
    return data[:-1] + bytes([data[-1] ^ 1])


def round_count(log: eventlog.EventLog) -> int:
    """How many transactions this process has committed to the log."""
    return log._store.committer.round_count


def note_reads(log: eventlog.EventLog, monkeypatch: Any) -> list[int]:
    """A list that grows by one with each read transaction that begins from now on."""
    environment, reads = log._store.environment, list[int]()
    for name in ("reading", "begin_copying"):
        begin = getattr(environment, name)
        monkeypatch.setattr(environment, name, lambda *token, begin=begin: reads.append(1) or begin(*token))
    return reads


def last_transaction(log: eventlog.EventLog) -> int:
    """The number of the log's newest transaction."""
    return log._store.last_transaction()


def is_held(lock: Any) -> bool:
    """Whether a thread holds a reentrant lock, which has a method for that from Python 3.14 on."""
    return repr(lock).startswith("<locked")
