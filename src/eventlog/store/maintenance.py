"""
Looking after a log: checking every byte of it, and copying it without its holes.

Knows nothing of codecs: a batch is sound when its bytes are what was written and its offsets follow the last.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs

from eventlog.batches.format import NO_TIME_MS, decode
from eventlog.errors import EventLogError, StorageError
from eventlog.store.group_reader import damaged_rows
from eventlog.store.reader import scan
from eventlog.store.store import Store
from eventlog.store.tables import split_batch_key

_SCAN_BYTES = 4 << 20


@attrs.frozen
class VerifyReport:
    """
    Says what a check of the whole log found.

    `problems` is empty when every batch, group, member and committed offset is what was written.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     meta = log.topic("orders").append(b"tea")
        ...     report = log.verify()
        >>> report.is_sound, report.record_count, report.problems
        (True, 1, ())
    """

    topic_count: int
    batch_count: int
    record_count: int
    stored_bytes: int
    problems: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


def verify(store: Store, progress: Callable[[int], object] | None = None) -> VerifyReport:
    """
    Reads and checks every batch, and every row of a group.

    Writers may go on; what they append meanwhile may or may not be checked.

    Args:
        progress: called now and then with the bytes checked so far.
    """
    topics = {topic.id: topic for topic in store.topics()}
    problems: list[str] = []
    batch_count = record_count = stored_bytes = 0
    place, end, largest_ms = (0, 0), 0, NO_TIME_MS
    after = b""
    first_stored = 0
    while rows := scan(store.environment, after, _SCAN_BYTES):
        for key, data in rows:
            after = key
            topic_id, partition, last = split_batch_key(key)
            topic = topics.get(topic_id)
            name = f"{topic.name if topic else f'topic id {topic_id}'}[{partition}] up to offset {last}"
            if (topic_id, partition) != place:
                place, end, largest_ms = (topic_id, partition), -1, NO_TIME_MS
                first_stored = 0 if topic is None else store.bounds(topic, [partition])[0][0]
            batch_count += 1
            stored_bytes += len(data)
            try:
                columns = decode(data, name)
            except EventLogError as error:
                problems.append(str(error))
                end = last + 1
                continue
            first = last - columns.span + 1
            record_count += columns.count
            if topic is None:
                problems.append(f"{name}: its topic does not exist.")
            elif partition >= topic.partitions:
                problems.append(f"{name}: its topic has {topic.partitions} partitions.")
            if end < 0 and not first <= first_stored <= last + 1:
                problems.append(f"{name}: it begins at offset {first}, and its partition at {first_stored}.")
            elif end >= 0 and first != end:
                problems.append(f"{name}: it begins at offset {first}, and the batch before it ends at {end}.")
            if columns.largest_so_far_ms < max(columns.largest_ms, largest_ms):
                problems.append(f"{name}: its largest timestamp so far is below an earlier one.")
            end, largest_ms = last + 1, max(largest_ms, columns.largest_so_far_ms)
        if progress is not None:
            progress(stored_bytes)
    problems += damaged_rows(store.environment)
    return VerifyReport(len(topics), batch_count, record_count, stored_bytes, tuple(problems))


def compact(store: Store, destination: Path) -> int:
    """
    Writes a copy without free pages into a new directory; its size in bytes.

    Writers may go on.
    """
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise ValueError(
            f"cannot compact into {destination}: it is there already and not empty. It was left as it was. "
            "Choose a new directory."
        )
    try:
        destination.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot compact into {destination}: {error}. The log is unchanged.") from error
    return store.environment.copy(destination)
