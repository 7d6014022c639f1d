"""The schedules of a repaired log: each row that came back with the row of its id, those of lost topics left out."""

from __future__ import annotations

from collections.abc import Mapping

from eventlog.backend.topics import StoredTopic
from eventlog.store.lmdb.environment import SCHEDULE
from eventlog.store.repair.target import Target
from eventlog.store.rows.schedules import (
    FAILED,
    ID,
    NEVER_MS,
    WAITING,
    Place,
    ScheduleRow,
    Tally,
    id_key,
    tally_key,
)


def reconcile_schedules(target: Target, topics: Mapping[int, StoredTopic], *, is_damaged: bool) -> list[str]:
    """Bring the rows of schedules into agreement; return what is to be said of those that are lost."""
    if SCHEDULE not in target.environment.tables:
        return []
    stored = target.get(SCHEDULE, tally_key)
    before = Tally() if stored is None else Tally.unpack(stored)
    counts, stored_bytes = {WAITING: 0, FAILED: 0}, 0
    next_number, first_ms = before.next_number, NEVER_MS
    for key, data in target.items(SCHEDULE):
        if key[:1] not in counts:
            continue
        place, row = Place.of(key), ScheduleRow.unpack(data)
        topic = topics.get(place.topic_id)
        if topic is None or topic.name != row.topic or _is_elsewhere(target, row.id, place):
            target.delete(SCHEDULE, key)
            continue
        target.put(SCHEDULE, id_key(row.id), place.pack())
        counts[place.kind] += 1
        stored_bytes += len(data)
        next_number = max(next_number, place.number + 1)
        first_ms = min(first_ms, place.due_ms) if place.kind == WAITING else first_ms
    for key, data in target.items(SCHEDULE):
        if key[:1] == ID and target.get(SCHEDULE, Place.unpack(data).key) is None:
            target.delete(SCHEDULE, key)
    tally = Tally(next_number, counts[WAITING], counts[FAILED], stored_bytes, first_ms)
    target.put(SCHEDULE, tally_key, tally.pack())
    return _notes(before, tally, is_counted=stored is not None) if is_damaged else []


def _is_elsewhere(target: Target, schedule_id: bytes, place: Place) -> bool:
    """Whether the row of its id leads to another row that is there: this one is older."""
    data = target.get(SCHEDULE, id_key(schedule_id))
    if data is None:
        return False
    other = Place.unpack(data)
    return other != place and target.get(SCHEDULE, other.key) is not None


def _notes(before: Tally, after: Tally, *, is_counted: bool) -> list[str]:
    count = after.waiting + after.failed
    lost = before.waiting + before.failed - count
    if not is_counted:
        return [f"schedules that came back: {count}; others may be lost, and one of them may have been sent already."]
    if lost > 0:
        return [f"schedules that are lost: {lost}, of which nothing will be sent; {count} are there."]
    if lost < 0:
        return [f"schedules that came back, and may have been sent already: {-lost} of {count}."]
    return []
