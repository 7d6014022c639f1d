"""
Repacking of a partition: neighbouring small batches that are old enough become full ones.

Nothing is dropped. Record batches of Kafka's become columns, unless they are of transactions, or their compression
cannot be taken off here. A partition is gone over once; what is left at its end is looked at again when there is more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import TARGET_BYTES
from eventlog.batches.header import COLUMNS, BatchHeader, read_header
from eventlog.batches.merging import merge
from eventlog.named_tuples import NamedTuple
from eventlog.store.cleaning.compaction import SMALL_BYTES, Pace, Run, Step
from eventlog.store.cleaning.rewriting import BatchName, Replacement, read_sources
from eventlog.store.lmdb.environment import BATCHES, Environment
from eventlog.store.rows.tables import batch_key, partition_key, split_batch_key

if TYPE_CHECKING:
    from eventlog.batches.compression import Compressor

_ENOUGH = 16
"""This number of small batches is merged even if they do not fill one."""


class _Small(NamedTuple):
    """Neighbouring small batches: their first offset, the offset behind them, and their number and bytes."""

    first: int
    end: int
    batch_count: int
    stored_bytes: int


class Repacking:
    """
    The repacking of one partition, which remembers how far it came.

    Any thread may use it, one at a time.
    """

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._at = 0

    def steps(
        self,
        environment: Environment,
        run: Run,
        topic: StoredTopic,
        now_ms: Callable[[], int],
        pace: Pace,
        compressor: Compressor | None,
    ) -> Iterator[Step]:
        """
        Merge what is old enough now; a step at a time.

        Raises:
            CorruptBatch, FormatTooNew, StorageError: a batch cannot be read, or a slice not be stored. What was
                replaced before stays replaced.
            UnknownTopic: it was deleted.
        """
        assert topic.compaction.repack_ms is not None
        newest_ms = now_ms() - topic.compaction.repack_ms
        while (found := self._find(environment, topic, newest_ms, pace.window_bytes)) is not None:
            sources = read_sources(environment, topic, self._partition, found.first, found.end - 1, found.stored_bytes)[
                : found.batch_count
            ]
            kept = [[True] * len(one.source.offsets) for one in sources]
            merged = merge([one.source for one in sources], kept, compressor)
            if len(merged) >= len(sources):
                self._at = found.end
                continue
            replacement = Replacement(topic, self._partition, sources, merged, {})
            if not pace.fits(run, replacement):
                continue
            if replacement.is_stale:
                return  # a later pass reads again
            pace.learn(replacement.seconds)
            is_small = len(merged[-1].batch.body) < _small_bytes(pace.window_bytes)
            self._at = merged[-1].first if is_small else merged[-1].last + 1
            yield Step(
                len(sources) - len(merged),
                0,
                sum(len(one.data) for one in sources) - replacement.stored_bytes,
                replacement.seconds,
            )

    def _find(self, environment: Environment, topic: StoredTopic, newest_ms: int, most_bytes: int) -> _Small | None:
        """The next small batches that are worth merging; moves to them, or to what may become worth it."""
        prefix, small_bytes = partition_key(topic.id, self._partition), _small_bytes(most_bytes)
        found = _Small(self._at, self._at, 0, 0)
        with environment.reading() as transaction, transaction.cursor(db=environment.table(BATCHES)) as cursor:
            is_found = cursor.set_range(batch_key(topic.id, self._partition, self._at))
            while is_found and bytes(cursor.key()[:8]) == prefix and found.stored_bytes < most_bytes:
                data, last = cursor.value(), split_batch_key(cursor.key())[2]
                header = read_header(data, BatchName(topic.name, self._partition, last))
                if header.largest_ms > newest_ms:
                    break
                if len(data) < small_bytes and (header.kind == COLUMNS or _can_merge(data, header)):
                    first = found.first if found.batch_count else last - header.span + 1
                    found = _Small(first, last + 1, found.batch_count + 1, found.stored_bytes + len(data))
                elif found.batch_count > 1:
                    self._at = found.first
                    return found
                else:
                    self._at = last + 1
                    found = _Small(last + 1, last + 1, 0, 0)
                is_found = cursor.next()
        self._at = found.first
        is_enough = found.stored_bytes >= min(TARGET_BYTES, most_bytes) or found.batch_count >= _ENOUGH
        is_worth_it = found.batch_count > 1 and is_enough
        return found if is_worth_it else None


def _can_merge(data: bytes | memoryview, header: BatchHeader) -> bool:
    """Whether a record batch of Kafka's may become columns: it is of no transaction, and can be read here."""
    from eventlog.batches.kafka_batch import is_of_transaction, is_readable  # few logs have one

    return not header.unknown and not is_of_transaction(data, header) and is_readable(data, header)


def _small_bytes(window_bytes: int) -> int:
    """The size below which a batch is small: two of them have to go into a window, however small that is."""
    return min(SMALL_BYTES, window_bytes // 2)
