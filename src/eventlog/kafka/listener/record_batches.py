"""
Stored batches as the record batches of Kafka's protocol.

Those of Kafka's clients go out as they came in. Those of native producers are built, and kept while they are hot: many
consumers read the same end of a log. What is kept is known by its bytes, so a batch that compaction has rewritten is
another one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from eventlog.backend.reading import StoredBatch
from eventlog.batches.kafka_builder import record_batch_of
from eventlog.errors import CorruptBatch, FormatTooNew, MissingLibrary
from eventlog.interruptions import unless_interrupted

MOST_KEPT_BYTES: Final = 32 << 20
_CHECKSUM_BYTES: Final = 4

_Key = tuple[int, int, int, int, bytes]


class RecordBatches:
    """
    The record batches of a listener's answers, and those that were built lately.

    Belongs to the loop.
    """

    def __init__(self, most_bytes: int = MOST_KEPT_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[_Key, bytes] = OrderedDict()
        self.kept_bytes = 0

    def of(self, topic_id: int, partition: int, batches: Sequence[StoredBatch]) -> list[bytes | memoryview]:
        """
        The record batches of some stored ones, up to the first that cannot be read.

        Raises:
            CorruptBatch, FormatTooNew, MissingLibrary: that is the first of all.
        """
        found: list[bytes | memoryview] = []
        for batch in batches:
            try:
                found.append(self._one(topic_id, partition, batch))
            except unless_interrupted(CorruptBatch, FormatTooNew, MissingLibrary):
                if not found:
                    raise
                break
        return found

    def _one(self, topic_id: int, partition: int, batch: StoredBatch) -> bytes | memoryview:
        last, data = batch
        key = (topic_id, partition, last, len(data), data[-_CHECKSUM_BYTES:])
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        made = record_batch_of(data, last, f"the batch of topic {topic_id}, partition {partition}, up to offset {last}")
        if type(made) is bytes:
            self._keep(key, made)
        return made

    def _keep(self, key: _Key, made: bytes) -> None:
        self._kept[key] = made
        self.kept_bytes += len(made)
        while self.kept_bytes > self._most_bytes:
            _, oldest = self._kept.popitem(last=False)
            self.kept_bytes -= len(oldest)
