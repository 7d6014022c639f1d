"""Stored batches as the record batches of Kafka's protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from eventlog.backend.reading import StoredBatch
from eventlog.batches.header import KAFKA, read_header

_CHECKSUM_BYTES: Final = 4


def record_batches(batches: Sequence[StoredBatch]) -> bytes:
    """The bytes of some batches, as a client reads them."""
    return b"".join([_record_batch(batch) for batch in batches])


def _record_batch(batch: StoredBatch) -> bytes | memoryview:
    data = batch.data
    header = read_header(data, f"the batch up to offset {batch.last}")
    if header.kind == KAFKA:
        return memoryview(data)[header.body_at : -_CHECKSUM_BYTES]
    raise NotImplementedError
