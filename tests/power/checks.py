"""
What must be true of a log that a power cut left, by what the workload claimed before.

Everything is looked at through the public API. Knows nothing of journals and images.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import eventlog
from tests.crash.records import Stamp, stamp_of, value_of
from tests.kafka.transactional import Transactional
from tests.power import actors
from tests.power.claims import Claim

_known_stamp_of = functools.lru_cache(20_000)(stamp_of)
"""The images of one journal hold the same records, again and again."""
Place = tuple[str, int, int]
"""Topic, partition, offset."""


_MOST_MESSAGES = 5
"""Each is appended again: the newest are those that a cut may have taken."""


class Held:
    """The contents of a log: its records, and what is wrong with them by themselves."""

    def __init__(self, log: eventlog.EventLog) -> None:
        self.log = log
        self.problems: list[str] = []
        self.records: dict[Place, Stamp] = {}
        self.topics = {name: log.topic(name) for name in log.topics()}
        self.bounds = {name: topic.bounds() for name, topic in self.topics.items()}
        for one in log._store.kafka_transactions():  # type: ignore[attr-defined]
            Transactional(log, one.transactional_id)  # aborts what it has left open, behind which nobody reads
        self._groups: dict[str, dict[tuple[str, int], int | None]] = {}
        for name, topic in self.topics.items():
            for batch in topic.read_batches():
                self._add(name, batch)

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        """Where a group stands in a partition, None when it stands nowhere."""
        if group not in self._groups:
            try:
                places = self.log.groups.describe(group).offsets
            except eventlog.UnknownGroup:
                places = ()
            self._groups[group] = {(place.topic, place.partition): place.committed for place in places}
        return self._groups[group].get((topic, partition))

    def _add(self, name: str, batch: Any) -> None:
        for offset, value in zip(batch.offsets, batch.values, strict=True):
            stamp = _known_stamp_of(value)
            if stamp is None:
                self.problems.append(f"{name}[{batch.partition}] offset {offset}: other bytes than anybody wrote")
            else:
                self.records[name, batch.partition, offset] = stamp


def problems_of(log: eventlog.EventLog, claims: Iterable[Claim], intents: Iterable[Claim]) -> list[str]:
    """
    All that is wrong, one line each; empty is good.

    Args:
        claims: what must be there.
        intents: the deletions that were begun: what they are about may be there or not.
    """
    held = Held(log)
    for name, partitions in held.bounds.items():
        for partition, (first, end) in partitions.items():
            if name == actors.KAFKA:
                continue  # control batches have offsets, and aborted records
            missing = [offset for offset in range(first, end) if (name, partition, offset) not in held.records]
            if missing:
                held.problems.append(f"{name}[{partition}]: offsets {missing[:5]} cannot be read")
    _check_calls(held)
    _check_transactors(held)
    _check_movers(held)
    _check_projection(held)
    intended = list(intents)
    _check_trimmed(held, intended)
    standing = _standing(held, claims, intended)
    messages = [claim for claim in standing if claim.kind == "message"]
    for claim in (*(claim for claim in standing if claim.kind != "message"), *messages[-_MOST_MESSAGES:]):
        problem = _CLAIMS[claim.kind](held, *claim.fields)
        if problem is not None:
            held.problems.append(f"claimed {claim.kind} {claim.fields}: {problem}")
    return held.problems


def _standing(held: Held, claims: Iterable[Claim], intents: list[Claim]) -> list[Claim]:
    """Those that no deletion has taken back."""
    topics = {claim.fields[0] for claim in intents if claim.kind == "deleting"} - set(held.topics)
    groups = {claim.fields[0] for claim in intents if claim.kind == "deleting group"} - set(held.log.groups.list())
    gone = {"range": topics, "topic": topics, "offset": groups}
    return [claim for claim in claims if claim.fields[0] not in gone.get(claim.kind, ())]


# -- what holds without any claim ------------------------------------------------------------------------------


def _check_calls(held: Held) -> None:
    """Each call is there as a whole, and the records of a writer stand in their order."""
    calls: defaultdict[tuple[int, int], list[Stamp]] = defaultdict(list)
    last: dict[tuple[str, int, int], tuple[int, int]] = {}
    for (topic, partition, offset), stamp in held.records.items():
        place = (topic, partition, stamp.writer)
        if last.get(place, (-1, -1)) >= (stamp.call, stamp.index):
            held.problems.append(f"{topic}[{partition}] offset {offset}: {stamp} comes after {last[place]}")
        last[place] = (stamp.call, stamp.index)
        if not topic.startswith("trimmed-"):
            calls[stamp.writer, stamp.call].append(stamp)
    for (topic, _, _), stamp in held.records.items():
        if topic == actors.KAFKA and not actors.KafkaTransactor.is_committed(stamp.call):
            held.problems.append(f"writer {stamp.writer}: its aborted transaction {stamp.call} is seen")
    for (writer, call), stamps in calls.items():
        if sorted(stamp.index for stamp in stamps) != list(range(stamps[0].count)):
            held.problems.append(f"call {call} of writer {writer}: {len(stamps)} records of {stamps[0].count}")


def _rows(held: Held, name: str) -> dict[str, Any]:
    return dict(held.log.state(name).items()) if name in held.log.states() else {}


def _check_transactors(held: Held) -> None:
    """The last transaction of a writer is in both topics, in the index and in the state, or in none."""
    last: dict[str, int] = {}
    for (topic, _, _), stamp in held.records.items():
        if topic == actors.RIGHT:
            last[str(stamp.writer)] = max(stamp.call, last.get(str(stamp.writer), -1))
    stored = {writer: row[0] for writer, row in _rows(held, actors.LAST).items()}
    if stored != last:
        held.problems.append(f"transactions end at {last} in the topic, and at {stored} in the state")
    for writer, call in last.items():
        version = held.topics[actors.RIGHT].version(writer)
        if version != call + 1:
            held.problems.append(f"writer {writer} is at version {version}, after {call + 1} transactions")


def _check_movers(held: Held) -> None:
    """The position of a group is that of what it moved, in the topic and in the state."""
    rows = _rows(held, actors.PLACES)
    moved = set(held.topics[actors.MOVED].keys()) if actors.MOVED in held.topics else set()
    for name in moved | set(rows):
        group, partition = name.split("/")
        committed = held.committed(group, actors.PLAIN, int(partition))
        version = held.topics[actors.MOVED].version(name)
        if not committed == version == rows.get(name, [None])[0]:
            held.problems.append(f"{name}: committed {committed}, moved {version}, in the state {rows.get(name)}")


def _check_projection(held: Held) -> None:
    """The state of the projection is what folding makes of the events before its checkpoint."""
    if actors.COUNTS not in held.log.projections():
        return
    projection = held.log.projection(actors.COUNTS, key=str, value=int)
    counts: defaultdict[str, int] = defaultdict(int)
    for _, record in held.log.read_all(topics=[actors.ACCOUNTS], end=projection.log_position):
        counts[record.key] += 1
    state = dict(projection.state.items())
    projection.close()
    if state != counts:
        held.problems.append(f"the projection holds {state}, the events before its checkpoint make {dict(counts)}")


def _check_trimmed(held: Held, intents: list[Claim]) -> None:
    """A partition begins where a deletion put it, or was about to put it."""
    most: defaultdict[tuple[str, int], int] = defaultdict(int)
    for claim in intents:
        if claim.kind == "trimming":
            topic, partition, offset = claim.fields
            most[topic, partition] = max(most[topic, partition], offset)
    for topic, partitions in held.bounds.items():
        for partition, (first, _) in partitions.items():
            if first > most[topic, partition]:
                held.problems.append(f"{topic}[{partition}] begins at {first}, and nobody deleted so much")


# -- claims ----------------------------------------------------------------------------------------------------


def _range(held: Held, topic: str, partition: int, first: int, end: int, writer: int, call: int) -> str | None:
    begin = held.bounds[topic][partition][0] if topic in held.bounds else 0
    for offset in range(max(first, begin), end):
        stamp = held.records.get((topic, partition, offset))
        if stamp is None:
            return f"offset {offset} is not there"
        if (stamp.writer, stamp.call) != (writer, call):
            return f"offset {offset} holds {stamp}"
    return None


def _message(
    held: Held, topic: str, key: str, message_id: str, partition: int, offset: int, writer: int, call: int, count: int
) -> str | None:
    if topic not in held.topics:
        return "there is no such topic"
    value = value_of(Stamp(writer, call, count - 1, count))
    before = held.topics[topic].bounds()
    stored = held.topics[topic].append(value, key=key, message_id=message_id)
    if (stored.partition, stored.offset) != (partition, offset):
        return f"appended again it is at {stored.partition}, {stored.offset}"
    return None if held.topics[topic].bounds() == before else "appended again it is stored again"


def _version(held: Held, topic: str, key: str, version: int) -> str | None:
    stored = held.topics[topic].version(key) if topic in held.topics else None
    return None if stored is not None and stored >= version else f"it is at {stored}"


def _snapshot(held: Held, topic: str, key: str, version: int) -> str | None:
    snapshot = held.topics[topic].snapshot(key) if topic in held.topics else None
    if snapshot is None or snapshot.version < version or snapshot.state != {"version": snapshot.version}:
        return f"there is {snapshot}"
    return None


def _offset(held: Held, group: str, topic: str, partition: int, offset: int) -> str | None:
    committed = held.committed(group, topic, partition)
    return None if committed is not None and committed >= offset else f"it stands at {committed}"


def _state(held: Held, name: str, key: str, number: int) -> str | None:
    row = held.log.state(name).get(key) if name in held.log.states() else None
    return None if row is not None and row[0] >= number else f"it is {str(row)[:60]}"


def _topic(held: Held, name: str, partitions: int) -> str | None:
    stored = len(held.bounds[name]) if name in held.bounds else None
    return None if stored is not None and stored >= partitions else f"it has {stored}"


def _gone(held: Held, name: str) -> str | None:
    return "it is there" if name in held.topics else None


def _first(held: Held, topic: str, partition: int, offset: int) -> str | None:
    stored = held.bounds[topic][partition][0] if topic in held.bounds else None
    return None if stored is not None and stored >= offset else f"it begins at {stored}"


def _projection(held: Held, name: str, position: int) -> str | None:
    if name not in held.log.projections():
        return "there is none"
    projection = held.log.projection(name, key=str, value=int)
    stored = projection.log_position
    projection.close()
    return None if stored >= position else f"it stands at {stored}"


def _no_group(held: Held, name: str) -> str | None:
    return "it is there" if name in held.log.groups.list() else None


_CLAIMS: dict[str, Callable[..., str | None]] = {
    "range": _range,
    "message": _message,
    "version": _version,
    "snapshot": _snapshot,
    "offset": _offset,
    "state": _state,
    "topic": _topic,
    "gone": _gone,
    "first": _first,
    "projection": _projection,
    "no group": _no_group,
}
