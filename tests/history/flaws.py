"""
Mistakes that a worker makes on purpose, so that the checker has something to find.

Each changes a method of the library in the process that calls it, and does harm now and then. Knows nothing of how it
is found; `RULES` says which rules should.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

from eventlog.clients.consumer.consumer import EmbeddedConsumer
from eventlog.clients.state.state import State
from eventlog.clients.state.view import StateView
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.clients.transaction.transaction import EmbeddedTransaction
from eventlog.errors import ConflictError
from eventlog.records import PartitionRange, Record, RecordMetadata
from eventlog.store.groups.commands import CommitOffsets
from eventlog.store.records.append import check_parts, replies_to, write_part
from eventlog.store.records.transaction import CommitTransaction
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.states.commands import ApplyStateChanges

_OFTEN = 0.2
_STALE_S = 0.1


def _replace(owner: type, name: str, flawed: Callable[..., Any]) -> None:
    """Has a method replaced by a function that is given the method first."""
    method = getattr(owner, name)
    setattr(owner, name, lambda self, *arguments, **options: flawed(method, self, *arguments, **options))


# --- records --------------------------------------------------------------------------------------------------------


def lose_what_is_acknowledged(chance: random.Random) -> None:
    """Says of a record that it is stored at the end of its partition, and does not store it."""

    def flawed(append: Any, topic: EmbeddedTopic[Any, Any], value: Any, **options: Any) -> RecordMetadata:
        partition = options.get("partition")
        if partition is None or chance.random() > _OFTEN:
            return append(topic, value, **options)  # type: ignore[no-any-return]
        return RecordMetadata(
            topic.name, partition, topic.bounds()[partition][1], 0, topic._store.end_log_position(), None
        )

    _replace(EmbeddedTopic, "append", flawed)


def append_twice(chance: random.Random) -> None:
    """Tries again what was stored."""

    def flawed(append: Any, topic: EmbeddedTopic[Any, Any], value: Any, **options: Any) -> RecordMetadata:
        meta = append(topic, value, **options)
        if chance.random() < _OFTEN and not options.keys() & {"message_id", "expected_version"}:
            append(topic, value, **options)
        return meta  # type: ignore[no-any-return]

    _replace(EmbeddedTopic, "append", flawed)


def forget_message_ids(chance: random.Random) -> None:
    """Stores a message without its id."""

    def flawed(append: Any, topic: EmbeddedTopic[Any, Any], value: Any, **options: Any) -> RecordMetadata:
        if chance.random() < _OFTEN:
            options.pop("message_id", None)
        return append(topic, value, **options)  # type: ignore[no-any-return]

    _replace(EmbeddedTopic, "append", flawed)


def forget_expected_versions(chance: random.Random) -> None:
    """Appends an event, whatever the version of its key is."""

    def flawed(append: Any, topic: EmbeddedTopic[Any, Any], value: Any, **options: Any) -> RecordMetadata:
        options.pop("expected_version", None)
        return append(topic, value, **options)  # type: ignore[no-any-return]

    _replace(EmbeddedTopic, "append", flawed)


def reverse_batches(chance: random.Random) -> None:
    """Stores the records of a call in another order."""

    def flawed(append_many: Any, topic: EmbeddedTopic[Any, Any], values: Any, **options: Any) -> list[PartitionRange]:
        values = list(values)
        if chance.random() < _OFTEN and options.get("keys") is None:
            values.reverse()
        return append_many(topic, values, **options)  # type: ignore[no-any-return]

    _replace(EmbeddedTopic, "append_many", flawed)


def split_batches(chance: random.Random) -> None:
    """Stores the records of a call in two commits."""

    def flawed(append_many: Any, topic: EmbeddedTopic[Any, Any], values: Any, **options: Any) -> list[PartitionRange]:
        values, partition = list(values), options.get("partition")
        if partition is None:
            return append_many(topic, values, **options)  # type: ignore[no-any-return]
        first = append_many(topic, values[:1], partition=partition)
        rest = append_many(topic, values[1:], partition=partition)
        return first if first[0].end == rest[0].first else []

    _replace(EmbeddedTopic, "append_many", flawed)


def read_what_was_there_before(chance: random.Random) -> None:
    """Reads a partition up to where it ended a while ago."""
    known: dict[tuple[str, int], tuple[float, int]] = {}

    def flawed(read: Any, topic: EmbeddedTopic[Any, Any], partition: int, **options: Any) -> Iterator[Any]:
        now_s = time.monotonic()
        at_s, end = known.get((topic.name, partition), (0.0, 0))
        if now_s - at_s > _STALE_S:
            at_s, end = known[topic.name, partition] = now_s, topic.bounds()[partition][1]
        if end >= options["start"]:
            options["end"] = end
        return read(topic, partition, **options)  # type: ignore[no-any-return]

    _replace(EmbeddedTopic, "read_batches", flawed)


def skip_records(chance: random.Random) -> None:
    """Hands out all records of a poll but one."""

    def flawed(
        poll: Any, consumer: EmbeddedConsumer[Any, Any], *arguments: Any, **options: Any
    ) -> list[Record[Any, Any]]:
        records = poll(consumer, *arguments, **options)
        if len(records) > 2 and chance.random() < _OFTEN:
            del records[len(records) // 2]
        return records  # type: ignore[no-any-return]

    _replace(EmbeddedConsumer, "poll", flawed)


# --- transactions ---------------------------------------------------------------------------------------------------


def compare_nothing(chance: random.Random) -> None:
    """Commits whatever has become of what was read."""

    def flawed(check: Any, piece: ApplyStateChanges, *arguments: Any) -> None:
        return

    _replace(ApplyStateChanges, "check_within", flawed)


def compare_only_what_is_written(chance: random.Random) -> None:
    """Compares the rows that are written alone, as snapshot isolation does."""

    def flawed(check: Any, piece: ApplyStateChanges, *arguments: Any) -> None:
        changes = piece._changes
        if changes.writes:
            reads = {key: data for key, data in changes.reads.items() if key in changes.writes}
            piece = ApplyStateChanges(changes._replace(reads=reads, scans=[]))
        check(piece, *arguments)

    _replace(ApplyStateChanges, "check_within", flawed)


def drop(kind: type) -> Callable[[random.Random], None]:
    """Stores a transaction without its pieces of a kind."""

    def plant(chance: random.Random) -> None:
        def flawed(apply: Any, work: CommitTransaction, writing: WriteTransaction) -> None:
            if chance.random() < _OFTEN:
                work._pieces = [piece for piece in work._pieces if not isinstance(piece, kind)]
            apply(work, writing)

        _replace(CommitTransaction, "apply", flawed)

    return plant


def store_what_is_refused(chance: random.Random) -> None:
    """Stores the records of a transaction that has a conflict."""

    def flawed(apply: Any, work: CommitTransaction, writing: WriteTransaction) -> None:
        try:
            apply(work, writing)
        except ConflictError:
            parts = work._request.parts
            check_parts(writing, parts)
            for part, reply in zip(parts, replies_to(parts), strict=True):
                write_part(writing, part, reply, work._now_ms)
            raise

    _replace(CommitTransaction, "apply", flawed)


def store_what_is_aborted(chance: random.Random) -> None:
    """Commits what was to be given up."""

    def flawed(abort: Any, transaction: EmbeddedTransaction) -> None:
        try:
            transaction._store_all()
        finally:
            abort(transaction)

    _replace(EmbeddedTransaction, "abort", flawed)


def show_rows_of_before(chance: random.Random) -> None:
    """Shows rows, outside of transactions, as they were a while ago."""
    known: dict[str, tuple[float, Any]] = {}

    def flawed(get: Any, view: StateView[Any, Any], key: str, default: Any = None) -> Any:
        if isinstance(view, State):
            return get(view, key, default)
        now_s = time.monotonic()
        at_s, value = known.get(key, (0.0, None))
        if now_s - at_s > _STALE_S:
            at_s, value = known[key] = now_s, get(view, key, default)
        return value

    _replace(StateView, "get", flawed)


FLAWS: dict[str, Callable[[random.Random], None]] = {
    "lose what is acknowledged": lose_what_is_acknowledged,
    "append twice": append_twice,
    "forget message ids": forget_message_ids,
    "forget expected versions": forget_expected_versions,
    "reverse batches": reverse_batches,
    "split batches": split_batches,
    "read what was there before": read_what_was_there_before,
    "skip records": skip_records,
    "compare nothing": compare_nothing,
    "compare only what is written": compare_only_what_is_written,
    "drop rows": drop(ApplyStateChanges),
    "drop offsets": drop(CommitOffsets),
    "store what is refused": store_what_is_refused,
    "store what is aborted": store_what_is_aborted,
    "show rows of before": show_rows_of_before,
}

RULES: dict[str, set[str]] = {
    "lose what is acknowledged": {"lost", "agree"},
    "append twice": {"once"},
    "forget message ids": {"once"},
    "forget expected versions": {"agree", "G0", "G1c", "G-single", "G2"},
    "reverse batches": {"sequence", "agree"},
    "split batches": {"half", "torn", "G1c", "G-single", "real time"},
    "read what was there before": {"real time"},
    "skip records": {"gap", "error", "G-single", "offsets"},
    "compare nothing": {"agree", "torn", "lost", "G-single"},
    "compare only what is written": {"G-single", "G2"},
    "drop rows": {"torn", "lost"},
    "drop offsets": {"offsets", "G-single", "real time"},
    "store what is refused": {"refused"},
    "store what is aborted": {"refused"},
    "show rows of before": {"real time"},
}
