"""What the cleaner does to the partitions of a topic that is compacted or repacked, and how far it came in each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import Compressors
from eventlog.store.cleaning.compaction import CompactionRound, Dirt, Pace, Run, Step, is_due
from eventlog.store.cleaning.repacking import Repacking
from eventlog.store.lmdb.environment import Environment

if TYPE_CHECKING:
    from eventlog.batches.compression import Compressor

_MOST_ROUNDS = 4
"""The number of rounds that are remembered when they were left in the middle: each may know many keys."""

_Place = tuple[int, int]
"""A topic id and a partition."""


class Rewriters:
    """
    The rounds of compaction and the repackings of one cleaner.

    A round that the caller leaves in the middle goes on at the next call. One thread at a time may use it.
    """

    def __init__(self, environment: Environment, run: Run, now_ms: Callable[[], int]) -> None:
        self._environment = environment
        self._run = run
        self._now_ms = now_ms
        self._pace = Pace()
        self._compressors = Compressors()
        self._dirt: dict[_Place, Dirt] = {}
        self._rounds: dict[_Place, tuple[StoredTopic, Iterator[Step]]] = {}
        self._repackings: dict[_Place, Repacking] = {}
        self.work = ""
        """What was begun last: "compaction" or "repacking"."""

    def keep_only(self, topic_ids: set[int]) -> None:
        """Forget other topics."""
        for known in (self._dirt, self._rounds, self._repackings):
            for place in [place for place in known if place[0] not in topic_ids]:
                del known[place]

    def steps(self, topic: StoredTopic, *, in_background: bool) -> Iterator[Step]:
        """
        Compact and repack a topic, as far as it is worth it; a step at a time.

        Raises:
            CorruptBatch, FormatTooNew, StorageError, UnknownTopic: as `CompactionRound.steps`.
        """
        for partition in range(topic.partitions):
            if topic.compaction.by is not None:
                self.work = "compaction"
                yield from self._compacted(topic, partition, in_background=in_background)
            if topic.compaction.repack_ms is not None:
                self.work = "repacking"
                repacking = self._repackings.setdefault((topic.id, partition), Repacking(partition))
                yield from repacking.steps(
                    self._environment, self._run, topic, self._now_ms, self._pace, self._compressor(topic)
                )

    def _compacted(self, topic: StoredTopic, partition: int, *, in_background: bool) -> Iterator[Step]:
        place = topic.id, partition
        while True:
            known, steps = self._rounds.pop(place, (None, None))
            if steps is None or known != topic:
                steps = self._new_round(topic, partition, in_background=in_background)
            if steps is None:
                return
            for step in steps:
                self._rounds[place] = topic, steps  # for the case that we are left at this very place
                while len(self._rounds) > _MOST_ROUNDS:
                    del self._rounds[next(iter(self._rounds))]
                yield step
                self._rounds.pop(place, None)

    def _new_round(self, topic: StoredTopic, partition: int, *, in_background: bool) -> Iterator[Step] | None:
        """A round over a partition; None if it is not due."""
        dirt, now_ms = self._dirt.setdefault((topic.id, partition), Dirt()), self._now_ms()
        with self._environment.reading() as transaction:
            row = dirt.look(self._environment, transaction, topic, partition, now_ms)
        if not is_due(topic, row, dirt, now_ms, in_background=in_background):
            return None
        return CompactionRound(
            self._environment,
            self._run,
            topic,
            partition,
            dirt.end,
            self._now_ms,
            self._pace,
            self._compressor(topic),
        ).steps()

    def _compressor(self, topic: StoredTopic) -> Compressor | None:
        return self._compressors.of(topic.id, topic.compression, topic.name)
