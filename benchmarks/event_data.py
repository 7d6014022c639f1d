"""
The entities and events of the event-sourcing rows, the same for all sides and in every run.

An entity is named by eight characters, scattered over the order of names as those of UUIDs are; its events have the
versions 1, 2, 3 and so on, and 100 bytes each. Knows nothing of how they are stored.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import attrs

from benchmarks.measure import Sample
from benchmarks.peers import WARM_UP_COUNT
from benchmarks.setting import Setting, make_values
from benchmarks.workloads import expect

Order = Literal["together", "interleaved"]

ENTITY_COUNT = 100_000
EVENTS_PER_ENTITY = 10
AMOUNT_BYTES = 4
PAGE_RECORDS = 100
"""Records of one transaction of the exactly-once loop."""

READS_COUNT = 10_000
INPUT_COUNT = 20_000

_SCATTER = 2_654_435_761
_SEED = 3


@attrs.frozen
class Commit:
    """One call of a writer: events of one entity that has `expected_version` now."""

    entity: str
    expected_version: int
    values: Sequence[bytes]


def make_entities(count: int) -> list[str]:
    """`count` names of entities, all different, in no order."""
    return [f"{number * _SCATTER % (1 << 32):08x}" for number in range(count)]


def make_commits(count: int, *, events: int, is_new: bool) -> list[Commit]:
    """`count` commits of `events` events each, all of one entity that grows, or each of a new one."""
    entities = make_entities(count if is_new else 1)
    values = make_values(count * events)
    return [
        Commit(
            entities[number if is_new else 0],
            0 if is_new else number * events,
            values[number * events : (number + 1) * events],
        )
        for number in range(count)
    ]


def appends(setting: Setting, *, events: int, is_new: bool, warm_up: int = WARM_UP_COUNT) -> list[Commit]:
    """The commits of one round, after `warm_up` of them that are not counted."""
    return make_commits(warm_up + setting.count(1_500 if events == 1 else 300), events=events, is_new=is_new)


def rated(sample: Sample, events: int) -> Sample:
    """A sample of commits as one of events; its durations stay those of commits."""
    return attrs.evolve(sample, figure=sample.figure * events)


def timed_reads(read: Callable[[str], Sequence[object]], entities: Sequence[str]) -> Sample:
    """Reads one entity after the other; the figure is the mean in us."""
    durations: list[int] = []
    clock = time.perf_counter_ns
    for entity in entities:
        called = clock()
        events = read(entity)
        durations.append(clock() - called)
        expect("events", len(events), EVENTS_PER_ENTITY)
    return Sample(sum(durations) / len(durations) / 1e3, durations_ns=durations)


def entity_count(setting: Setting) -> int:
    """How many entities a filled store has; 100,000 in a full run."""
    return setting.count(ENTITY_COUNT)


def chunks(count: int, order: Order, *, entities: int = 10_000) -> Iterator[list[tuple[str, int, bytes]]]:
    """
    All events of `count` entities as (entity, version, value), in parts that fit one call.

    *Together* writes an entity with all its events; *interleaved* gives each entity its next event in turns, in another
    order each time, so that the events of one are as far apart as can be.
    """
    names = make_entities(count)
    values = make_values(entities * EVENTS_PER_ENTITY)
    versions = range(1, EVENTS_PER_ENTITY + 1)
    source = random.Random(_SEED)
    if order == "together":
        for first in range(0, count, entities):
            rows = [(name, version) for name in names[first : first + entities] for version in versions]
            yield [(*row, value) for row, value in zip(rows, values, strict=False)]
        return
    for version in versions:
        source.shuffle(names)
        for first in range(0, count, entities):
            part = names[first : first + entities]
            yield [(name, version, value) for name, value in zip(part, values[version:], strict=False)]


def some_entities(setting: Setting) -> list[str]:
    """The entities to look up in one round, drawn at random."""
    return random.Random(_SEED).choices(make_entities(entity_count(setting)), k=setting.count(READS_COUNT))


def amount(value: bytes) -> int:
    """What an event adds to its entity's total."""
    return int.from_bytes(value[:AMOUNT_BYTES], "big")


def with_total(value: bytes, total: int) -> bytes:
    """The event that the exactly-once loop makes of another: as long, and with the new total in it."""
    return total.to_bytes(8, "big") + value[8:]


def input_rows(setting: Setting) -> list[tuple[str, bytes]]:
    """The input of the exactly-once loop: (entity, value), of up to 10,000 entities in no order."""
    count = setting.count(INPUT_COUNT, at_least=3 * PAGE_RECORDS)
    return list(zip(random.Random(_SEED).choices(make_entities(10_000), k=count), make_values(count), strict=True))


def total_of(rows: Iterable[tuple[str, bytes]]) -> int:
    """The sum of all amounts: what the totals of all entities add up to when none was lost or counted twice."""
    return sum(amount(value) for _, value in rows)
