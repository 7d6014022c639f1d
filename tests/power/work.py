"""
The workload: one process that does mixed work on a log, and claims what is stored.

Started with the journal's library loaded: `python -m tests.power.work '<the fields of Work as JSON>'`. A seed decides
who does how much beside whom; how their steps meet is up to the machine. So the journal, and not the seed, is what
repeats a finding.

A *plant* is a bug that the harness must find.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import lmdb

import eventlog
from eventlog.store.committer import Committer
from eventlog.store.lmdb.environment import Environment
from tests.power import actors
from tests.power.actors import Actor
from tests.power.claims import Claims

Plant = Literal["", "early", "unsynced", "loose", "halves", "deaf"]
_THREADS = 8
_MAP_SIZES = (None, None, 1 << 20)
"""With a small one the map has to grow, once or twice."""
_WRITERS_OF_A_PROCESS = 100
_KINDS: dict[type[Actor], int] = {
    actors.Appender: 8,
    actors.Columns: 2,
    actors.Sender: 2,
    actors.Transactor: 2,
    actors.KafkaTransactor: 2,
    actors.Accountant: 2,
    actors.Mover: 1,
    actors.Member: 3,
    actors.Trimmer: 1,
    actors.Maker: 1,
    actors.Administrator: 1,
    actors.Folder: 1,
    actors.Syncer: 1,
}
"""How many there are of each kind in a process."""


class Work(NamedTuple):
    """The instructions for a process of the workload."""

    path: str
    journal: str
    seed: int
    process: int
    durability: Literal["commit", "ordered"]
    rounds: int
    plant: Plant


def main(work: Work) -> None:
    """Does the rounds of one process."""
    chance = random.Random(f"{work.seed} {work.process}")
    _PLANTS[work.plant]()
    claims = Claims(Path(work.journal))
    map_size = random.Random(work.seed).choice(_MAP_SIZES)
    opened = eventlog.open(work.path, durability=work.durability, map_size=map_size)
    with opened as log, ThreadPoolExecutor(_THREADS) as threads:
        _open_topics(log, claims)
        crew = _crew(log, claims, work, chance)
        for _ in range(work.rounds):
            _play_round(crew, threads, chance)
        for actor in crew:
            actor.close()
    claims.close()


def _open_topics(log: eventlog.EventLog, claims: Claims) -> None:
    topics: list[eventlog.Topic[Any, Any]] = [
        log.topic(actors.PLAIN, partitions=actors.PLAIN_PARTITIONS),
        log.topic(actors.LEFT, partitions=2),
        log.topic(actors.RIGHT, key=str, index="key"),
        log.topic(actors.KAFKA, partitions=2),
        log.topic(actors.ACCOUNTS, key=str, index="key", partitions=2),
        log.topic(actors.MOVED, key=str, index="key"),
    ]
    for topic in topics:
        claims.claim("topic", topic.name, topic.partitions)


def _crew(log: eventlog.EventLog, claims: Claims, work: Work, chance: random.Random) -> list[Actor]:
    kinds = [kind for kind, count in _KINDS.items() for _ in range(count)]
    if work.plant == "early":
        kinds = [actors.Appender] * _THREADS  # others read what was acknowledged, and fail before the power does
    first = work.process * _WRITERS_OF_A_PROCESS
    return [
        kind(log, claims, first + place, random.Random(chance.randrange(2**32))) for place, kind in enumerate(kinds)
    ]


def _play_round(crew: list[Actor], threads: ThreadPoolExecutor, chance: random.Random) -> None:
    """A few steps of one actor, or of eight at once, of any kinds or all appenders."""
    choice = chance.random()
    if choice < 0.3:
        chosen = chance.sample(crew, 1)
    elif choice < 0.5:
        chosen = [actor for actor in crew if isinstance(actor, actors.Appender)]
    else:
        chosen = chance.sample(crew, chance.randint(2, _THREADS))
    steps = chance.randint(1, 4)
    for done in [threads.submit(_take_steps, actor, steps) for actor in chosen]:
        done.result()


def _take_steps(actor: Actor, steps: int) -> None:
    for _ in range(steps):
        actor.step()


def _acknowledge_early() -> None:
    """Plants a commit that says "done" to those who wait for it before it has begun."""
    write: Callable[..., bool] = Committer._write
    commit: Callable[[Environment, Any], None] = Environment.commit
    committers: dict[int, Committer] = {}

    def writes(committer: Committer, *arguments: Any) -> bool:
        committers[id(committer._environment)] = committer
        return write(committer, *arguments)

    def early(environment: Environment, transaction: Any) -> None:
        committer = committers.get(id(environment))
        if committer is not None:  # else the log is being made
            environment.has_committed = True
            committer._finish_landed()
        commit(environment, transaction)

    setattr(Committer, "_write", writes)  # noqa: B010
    setattr(Environment, "commit", early)  # noqa: B010


def _open_with(name: str) -> None:
    """Plants an engine that never syncs, or not the root of a commit."""
    opened = lmdb.open
    planted: dict[str, Any] = {name: False}
    lmdb.open = lambda *arguments, **options: opened(*arguments, **(options | planted))  # type: ignore[assignment]


def _commit_halves() -> None:
    """Plants transactions that are stored in two commits."""

    def halved(actor: actors.Transactor, tx: eventlog.Transaction) -> None:
        with actor.log.transaction() as other:
            other.send(actors.LEFT, actor.values(2)[0])

    setattr(actors.Transactor, "between", halved)  # noqa: B010


def _nothing() -> None:
    pass


_PLANTS: dict[str, Callable[[], None]] = {
    "": _nothing,
    "early": _acknowledge_early,
    "unsynced": partial(_open_with, "sync"),
    "loose": partial(_open_with, "metasync"),
    "halves": _commit_halves,
    "deaf": _nothing,  # journal.c plants this one
}


if __name__ == "__main__":
    main(Work(*json.loads(sys.argv[1])))
