"""
The queues of a repaired log.

Where a log is damaged, nobody knows whether all rows of a queue are there. So each of its partitions begins again at
the first offset that was not done: jobs behind it may be done twice, and none is left out.
"""

from __future__ import annotations

from collections.abc import Mapping

from eventlog.backend.topics import StoredTopic
from eventlog.store.lmdb.environment import QUEUES
from eventlog.store.repair.target import Target
from eventlog.store.rows.queues import (
    CURSOR,
    HELD,
    LEASE,
    NEXT_ID,
    QUEUE,
    cursor_key,
    pack_offset,
    split_cursor,
    split_range,
    unpack_offset,
    unpack_queue,
)


def begin_again(target: Target, topics: Mapping[int, StoredTopic], ends: Mapping[tuple[int, int], int]) -> list[str]:
    """Put all queues where nothing is leased, due or waiting; the names of those that have gone back."""
    if QUEUES not in target.environment.tables:
        return []
    starts: dict[tuple[int, int, int], int] = {}
    names: dict[int, str] = {}
    gone_back: set[int] = set()
    for key, data in target.items(QUEUES):
        kind = key[:1]
        if kind == QUEUE:
            queue = unpack_queue(key[1:].decode(), data)
            names[queue.id] = queue.name
            continue
        if kind == CURSOR:
            place = split_cursor(key)
            offset = unpack_offset(data)
            starts[place] = min(starts.get(place, offset), offset)
        elif kind in (LEASE, HELD):
            *first_parts, first = split_range(key)
            place = (first_parts[0], first_parts[1], first_parts[2])
            starts[place] = min(starts.get(place, first), first)
            gone_back.add(place[0])
        if key != NEXT_ID:
            target.delete(QUEUES, key)
    for (queue_id, topic_id, partition), offset in starts.items():
        topic = topics.get(topic_id)
        if queue_id in names and topic is not None and partition < topic.partitions:
            start = min(offset, ends.get((topic_id, partition), 0))
            target.put(QUEUES, cursor_key(queue_id, topic_id, partition), pack_offset(start))
    target.put(QUEUES, NEXT_ID, (max(names, default=0) + 1).to_bytes(4, "big"))
    return sorted(names[one] for one in gone_back if one in names)
