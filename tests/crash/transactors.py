"""
The writers that are killed in the middle of transactions, and what must be true of their log afterwards.

Each transaction of a writer leaves its number in two topics and in a state, or nowhere.
"""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import eventlog
from tests.crash.records import Acknowledgement, acknowledge

LEFT, RIGHT, LAST = "left", "right", "last"
_PARTITIONS = 3


def open_topics(log: eventlog.EventLog) -> None:
    """Opens what the writers write to."""
    log.topic(LEFT, key=int, value="msgpack", partitions=_PARTITIONS)
    log.topic(RIGHT, key=int, value="msgpack", index="key")


def transact(path: Path, pipe: int, writer: int, seed: str) -> None:
    """Commits transactions, small ones and some that fill several pages."""
    chance = random.Random(seed)
    with eventlog.open(path) as log:
        open_topics(log)
        for call in itertools.count():
            count = chance.choice((1, 2, 40))
            with log.transaction() as tx:
                for index in range(count):
                    tx.send(LEFT, [writer, call, index, count], key=chance.randrange(99))
                value, message_id = [writer, call, 0, count], f"{writer} {call}"
                delivery = tx.send(RIGHT, value, key=writer, expected_version=call, message_id=message_id)
                tx.state(LAST)[writer] = [call, count, "x" * chance.choice((1, 5_000))]
            stored = delivery.result()
            acknowledge(pipe, Acknowledgement(writer, call, stored.partition, stored.offset, stored.offset + 1))


def problems_of(log: eventlog.EventLog, acknowledged: Iterable[Acknowledgement]) -> list[str]:
    """All that is wrong with a log, one line each; empty is good."""
    problems = list(log.verify().problems)
    open_topics(log)
    left: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for record in log.topic(LEFT).read():
        writer, call, index, _ = record.value
        left[writer, call].append(index)
    right: dict[tuple[int, int], eventlog.Record[int, list[int]]] = {}
    for record in log.topic(RIGHT).read():
        writer, call, _, count = record.value
        if (writer, call) in right:
            problems.append(f"call {call} of writer {writer} is there twice")
        right[writer, call] = record
        indexes = left.get((writer, call), [])
        if sorted(indexes) != list(range(count)):
            problems.append(f"call {call} of writer {writer}: {len(indexes)} records of {count}")
    problems += [f"call {call} of writer {writer} is in one topic alone" for writer, call in left.keys() ^ right.keys()]
    last: dict[int, int] = {}
    for writer, call in right:
        last[writer] = max(call, last.get(writer, -1))
    state = {} if LAST not in log.states() else dict(log.state(LAST).items())
    if last != {writer: row[0] for writer, row in state.items()}:
        problems.append(f"the topics end at {last}, the state at {[row[0] for row in state.values()]}")
    for writer, call in last.items():
        if log.topic(RIGHT).version(writer) != call + 1:
            problems.append(f"writer {writer} has version {log.topic(RIGHT).version(writer)}, not {call + 1}")
    for one in acknowledged:
        record = right.get((one.writer, one.call))
        if record is None or record.offset != one.first:
            problems.append(f"call {one.call} of writer {one.writer}: acknowledged, and not there")
    return problems
