"""
What a worker gets: first what is due again, then what was never handed out, from the cursor of a partition on.

A look at how much is pending would cost more the more is; this looks at the rows that it hands out and at the ends of
partitions. What was handed out as often as it may be becomes a dead letter here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from eventlog.backend.queues import NO_LIMIT, Leased, ShareRules
from eventlog.backend.reading import PASSED_BY, Fetch
from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import decode
from eventlog.errors import UnknownTopic
from eventlog.interruptions import unless_interrupted
from eventlog.store.queues.dead_letters import TOO_OFTEN, DeadLetter
from eventlog.store.queues.settling import dead_letters
from eventlog.store.records.jobs import Jobs, Place, hash_of
from eventlog.store.records.log_order import has_open
from eventlog.store.records.reader import fetch_within
from eventlog.store.records.visibility import first_open
from eventlog.store.rows.queues import DueRow, LeaseRow, split_due

_MOST_BURIED = 100
_MUCH = 2**62
_MOST_SCANNED = 1000
"""How many records of a partition are looked at for their keys at most, in one take."""


class Taking:
    """
    What a worker takes of a queue in one commit.

    Afterwards `leased` is what it has got, and `letters` the dead letters, which are still to be written.

    Args:
        number: that of its leases.
        turn: partitions take turns by it.
        workers: how many there are: when little is there, each gets a share of it.
        rules: those of Kafka's share groups, if it is a client of one.
    """

    def __init__(
        self, jobs: Jobs, member: bytes, number: int, turn: int, workers: int, rules: ShareRules | None = None
    ) -> None:
        self._rules = rules
        self._room: dict[Place, int] = {}
        self._jobs = jobs
        self._member = member
        self._turn = turn
        self._workers = workers
        self._has_open = has_open(jobs.writing.environment, jobs.writing.transaction)
        self._number = number
        self.leased: list[Leased] = []
        self.letters: list[DeadLetter] = []

    def take(self, wants: Sequence[tuple[StoredTopic, int]], most: int) -> None:
        """Take of each topic what is wanted of it, then of all of them what is left."""
        topics = [(stored, count) for topic, count in wants if (stored := self._current(topic)) is not None]
        left = self._share(topics, most)
        for topic, count in topics:
            left -= self._take_of(topic, min(left, count))
        for topic, _ in topics:
            if left <= 0:
                break
            left -= self._take_of(topic, left)

    def _current(self, topic: StoredTopic) -> StoredTopic | None:
        """The topic as it is stored; None if it was deleted."""
        try:
            return self._jobs.writing.check_topic(topic)
        except unless_interrupted(UnknownTopic):
            return None

    def _share(self, topics: Sequence[tuple[StoredTopic, int]], most: int) -> int:
        """How many jobs to take: all that are wanted, or a share where there are not enough for all workers."""
        if most <= 1 or self._workers <= 1:
            return most
        wanted, found = most * self._workers, self._jobs.counts["delayed"]
        for topic, _ in topics:
            for partition in range(topic.partitions):
                if found >= wanted:
                    return most
                if not self._may_have((topic.id, partition)):
                    continue
                first, end = self._bounds(topic, partition, wanted)
                found += max(0, end - first)
        return min(most, max(1, -(-found // self._workers)))

    def _take_of(self, topic: StoredTopic, most: int) -> int:
        """Take some jobs of one topic; how many that were."""
        taken = 0
        if most > 0 and self._jobs.counts["delayed"]:
            taken = self._take_due(topic, most)
        for step in range(topic.partitions):
            if taken >= most:
                break
            taken += self._take_fresh(topic, (self._turn + step) % topic.partitions, most - taken)
        return taken

    # -- what is due -------------------------------------------------------------------------------------------

    def _take_due(self, topic: StoredTopic, most: int) -> int:
        jobs, taken, buried, passed = self._jobs, 0, 0, 0
        after: bytes | None = None
        while taken < most and buried < _MOST_BURIED and passed < _MOST_SCANNED:
            found = jobs.first_due(topic.id, after)
            if found is None:
                break
            _, _, due_ms, partition, first = split_due(found[0])
            if due_ms > jobs.now_ms:
                break
            row, place = DueRow.unpack(found[1]), (topic.id, partition)
            room, stop = self._room_in(place), self._visible_end(place, row.end)
            if not room or first >= stop:
                after, passed = found[0], passed + 1
                continue
            jobs.drop_due(place, first, row, due_ms)
            kept = max(first, min(jobs.writing.partition_first(topic.id, partition), row.end))
            if kept > first:
                jobs.counts["expired"] += kept - first
                if row.key_hash:
                    jobs.free_key(row.key_hash)
            end = max(kept, min(stop, kept + min(most - taken, room)))
            if end < row.end:
                jobs.put_due(place, end, row, due_ms)
            if kept == end:
                continue
            if row.deliveries >= jobs.queue.options.attempts:
                self.letters += dead_letters(jobs, {topic.id: topic.name}, place, kept, end, row.deliveries, TOO_OFTEN)
                jobs.counts["dead"] += end - kept
                jobs.free_key(row.key_hash)
                buried += end - kept
            else:
                self._lease(topic, partition, kept, row._replace(end=end))
                taken += end - kept
        return taken

    def _may_have(self, place: Place) -> bool:
        return self._rules is None or place in self._rules.partitions

    def _room_in(self, place: Place) -> int:
        """How many more jobs of a partition may be leased now."""
        rules = self._rules
        if rules is None:
            return _MUCH
        if place not in rules.partitions:
            return 0
        if place not in self._room:
            self._room[place] = max(0, rules.most_locks - self._jobs.leased_in(place))
        return self._room[place]

    def _visible_end(self, place: Place, end: int) -> int:
        """Where the records end that may be handed out: at the first open transaction, unless those are read, too."""
        if not self._has_open or (self._rules is not None and self._rules.sees_uncommitted):
            return end
        writing = self._jobs.writing
        return min(end, first_open(writing.environment, writing.transaction, *place))

    # -- what is new -------------------------------------------------------------------------------------------

    def _bounds(self, topic: StoredTopic, partition: int, most: int) -> tuple[int, int]:
        """The offset that is handed out next, and the end of what may be; an earlier one if that many are there."""
        writing = self._jobs.writing
        first = max(self._jobs.cursor((topic.id, partition)), writing.partition_first(topic.id, partition))
        end = first + most
        if end > writing.least_ends.get((topic.id, partition), 0):
            end = writing.partition_end(topic.id, partition)[0]
        return first, max(first, self._visible_end((topic.id, partition), end))

    def _take_fresh(self, topic: StoredTopic, partition: int, most: int) -> int:
        is_by_key = self._jobs.queue.options.per_key is not None
        first, end = self._bounds(topic, partition, _MOST_SCANNED if is_by_key else most)
        most = min(most, self._room_in((topic.id, partition)))
        if first >= end or not most:
            return 0
        if is_by_key:
            return self._take_by_key(topic, partition, first, end, most)
        end = min(end, first + most)
        self._lease(topic, partition, first, DueRow(end, 0, 0))
        self._jobs.move_cursor((topic.id, partition), end)
        return end - first

    def _take_by_key(self, topic: StoredTopic, partition: int, first: int, end: int, most: int) -> int:
        """The same, one record at a time: one whose key has all the jobs that it may have waits for them."""
        jobs, place, start, taken = self._jobs, (topic.id, partition), first, 0
        stop = min(end, first + _MOST_SCANNED)
        rests = False
        while first < stop and taken < most and not rests:
            (answer,) = fetch_within(
                jobs.writing.environment, jobs.writing.transaction, [Fetch(*place, first)], max_bytes=1
            )
            if not answer.batches:
                break
            last, data = answer.batches[0]
            if data != PASSED_BY:
                columns = decode(data, f"the batch of {topic.name}[{partition}] up to offset {last}")
                offsets = columns.offsets(last)
                for index in range(bisect_left(offsets, first), bisect_left(offsets, stop)):
                    offset, key_hash = offsets[index], hash_of(columns.keys[index])
                    if taken >= most:
                        last = offset - 1
                        break
                    if jobs.take_key(key_hash):
                        self._lease(topic, partition, offset, DueRow(offset + 1, 0, 0, key_hash))
                        taken += 1
                    elif jobs.may_wait:
                        jobs.put_waiting(place, offset, key_hash)
                    else:
                        last, rests = offset - 1, True
                        break
            first = min(last + 1, stop)
        if first > start:
            jobs.move_cursor(place, first)
        return taken

    def _lease(self, topic: StoredTopic, partition: int, first: int, due: DueRow) -> None:
        jobs = self._jobs
        timeout_ms = jobs.queue.options.timeout_ms
        row = LeaseRow(
            due.end,
            self._member,
            self._number,
            NO_LIMIT if timeout_ms is None else jobs.monotonic_ms + timeout_ms,
            due.deliveries + 1,
            due.first_ms or max(jobs.now_ms, 0),
            due.key_hash,
        )
        jobs.lease((topic.id, partition), first, row)
        if self._rules is not None:
            self._room[topic.id, partition] -= due.end - first
        self.leased.append(
            Leased(topic, partition, first, due.end, row.number, row.deliveries, row.first_ms, row.limit_ms)
        )
