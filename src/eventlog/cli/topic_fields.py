"""What a topic is, with the names of `Topic`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import eventlog


def record_counts(log: eventlog.EventLog) -> dict[str, int]:
    """The number of records of each topic: of a compacted one, fewer than it has offsets."""
    return {topic.topic: topic.record_count for topic in log.stats().topics}


def fields_of(
    topic: eventlog.Topic[Any, Any], counts: Mapping[str, int], *, with_partitions: bool = False
) -> dict[str, Any]:
    """What a topic is, with the names of `Topic`; `counts` has the numbers of its records."""
    bounds = topic.bounds()
    fields = {
        "topic": topic.name,
        "partitions": topic.partitions,
        "records": counts.get(topic.name, 0),
        "key": topic.key,
        "value": topic.value,
        "index": topic.index,
    }
    if with_partitions:
        fields |= {
            "partitioner": topic.partitioner,
            "max_record_bytes": topic.max_record_bytes,
            "duplicate_window": topic.duplicate_window,
            "retention": topic.retention,
            "retention_bytes": topic.retention_bytes,
            "until_read_by": list(topic.until_read_by),
            "compression": topic.compression,
            "compaction": topic.compaction,
            "compaction_lag": topic.compaction_lag,
            "max_compaction_lag": topic.max_compaction_lag,
            "tombstone_retention": topic.tombstone_retention,
            "min_dirty_ratio": topic.min_dirty_ratio,
            "repack_after": topic.repack_after,
            "uuid": str(topic.uuid),
            "offsets": [{"partition": number, "first": first, "end": end} for number, (first, end) in bounds.items()],
        }
    return fields
