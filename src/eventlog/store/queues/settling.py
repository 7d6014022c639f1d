"""
What becomes of jobs: acknowledgements are judged first, and then carried out.

One that comes too late is refused, and changes nothing: its offsets are not leased to the worker under that number, or
the client knows no numbers, and the time of the lease is over.
"""

from __future__ import annotations

from collections.abc import Sequence

from eventlog.backend.queues import ANY_LEASE, NO_LIMIT, Acknowledgement, Action
from eventlog.errors import EventLogError
from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.store.queues.dead_letters import GONE, REJECTED, TOO_OFTEN, DeadLetter, StoredRecord, stored_records
from eventlog.store.records.jobs import Jobs
from eventlog.store.rows.queues import LeaseRow


class _Cut(NamedTuple):
    """A part of a lease that is acknowledged."""

    acknowledgement: Acknowledgement
    lease_first: int
    row: LeaseRow
    first: int
    end: int
    letters: tuple[DeadLetter, ...] | None
    """What it becomes if it is given up; None if it is not."""


class Settlement:
    """
    The acknowledgements of one worker, judged: `refused` are those that come too late.

    Args:
        topics: the names of topics by id, for dead letters.
        is_share: those of one partition are carried out all or none, and offsets that are done are passed by.
    """

    def __init__(
        self,
        jobs: Jobs,
        member: bytes,
        acknowledgements: Sequence[Acknowledgement],
        topics: dict[int, str],
        *,
        is_share: bool = False,
    ) -> None:
        self._is_share = is_share
        self._jobs = jobs
        self._member = member
        self._topics = topics
        self._taken: set[tuple[int, int, int]] = set()
        """The offsets that earlier ones are about; nothing is noted of a single one."""
        self._is_alone = len(acknowledgements) == 1
        self.refused: list[Acknowledgement] = []
        self.frees = False
        """Whether others may take something that it gives back."""
        self._cuts: list[_Cut] = []
        for one in acknowledgements:
            cuts = self._judged(one)
            if cuts is None:
                self.refused.append(one)
            else:
                self._cuts += cuts
        if is_share and self.refused:
            self._refuse_together(acknowledgements)

    def _refuse_together(self, acknowledgements: Sequence[Acknowledgement]) -> None:
        """Refuse what the client says of a partition as a whole; what its listener says stands by itself."""
        places = {one[:2] for one in self.refused if one.number == ANY_LEASE}

        def is_of_them(one: Acknowledgement) -> bool:
            return one.number == ANY_LEASE and one[:2] in places

        own = [one for one in self.refused if one.number != ANY_LEASE]
        self.refused = [*filter(is_of_them, acknowledgements), *own]
        self._cuts = [cut for cut in self._cuts if not is_of_them(cut.acknowledgement)]

    def _judged(self, one: Acknowledgement) -> list[_Cut] | None:
        """The parts of leases that it is about; None if one is missing."""
        place, at, cuts = (one.topic_id, one.partition), one.first, list[_Cut]()
        while at < one.end:
            found = self._jobs.lease_at(place, at)
            if found is None and self._is_share and at < (done := self._jobs.done_below(place)):
                at = done
                continue
            if found is None or found[1].member != self._member:
                return None
            first, row = found
            if one.number != row.number and (one.number != ANY_LEASE or row.limit_ms <= self._jobs.monotonic_ms):
                return None
            if self._taken and (*place, at) in self._taken:
                return None
            end = min(one.end, row.end)
            cuts.append(_Cut(one, first, row, at, end, self._letters(one, row, at, end)))
            at = end
        if not self._is_alone and one.action is not Action.RENEW:
            self._taken.update((*place, offset) for offset in range(one.first, one.end))
        return cuts

    def _letters(self, one: Acknowledgement, row: LeaseRow, first: int, end: int) -> tuple[DeadLetter, ...] | None:
        is_last = row.deliveries >= self._jobs.queue.options.attempts
        if one.action is not Action.REJECT and not (one.action is Action.RELEASE and is_last):
            return None
        reason = one.reason or (REJECTED if one.action is Action.REJECT else TOO_OFTEN)
        return dead_letters(
            self._jobs, self._topics, (one.topic_id, one.partition), first, end, row.deliveries, reason, one.details
        )

    def write(self, jobs: Jobs) -> list[DeadLetter]:
        """Carry them out in the jobs of now; return the dead letters, which are still to be written."""
        letters = list[DeadLetter]()
        changed = set[tuple[int, int, int]]()
        for one, lease_first, row, first, end, dead in self._cuts:
            place = one.topic_id, one.partition
            if jobs is not self._jobs or (*place, lease_first) in changed:
                found = jobs.lease_at(place, first)  # an earlier one has cut it, maybe
                assert found is not None
                lease_first, row = found
            changed.add((*place, lease_first))
            if one.action is Action.RENEW:
                limit_ms = jobs.monotonic_ms + one.delay_ms if row.limit_ms != NO_LIMIT else NO_LIMIT
                jobs.cut(place, lease_first, row, first, end)
                jobs.lease(place, first, row._replace(end=end, limit_ms=limit_ms))
                continue
            jobs.cut(place, lease_first, row, first, end)
            if dead is not None:
                letters += dead
                jobs.counts["dead"] += end - first
            elif one.action in (Action.RELEASE, Action.GIVE_BACK):
                is_counted = one.action is Action.RELEASE
                due = row.due._replace(end=end, deliveries=row.deliveries - (not is_counted))
                jobs.put_due(place, first, due, jobs.now_ms + one.delay_ms if one.delay_ms else 0)
                self.frees = True
                continue
            if row.key_hash:
                before = jobs.counts["delayed"]
                jobs.free_key(row.key_hash)
                self.frees = self.frees or jobs.counts["delayed"] > before
        return letters


def dead_letters(
    jobs: Jobs,
    topics: dict[int, str],
    place: tuple[int, int],
    first: int,
    end: int,
    deliveries: int,
    reason: str,
    details: str = "",
) -> tuple[DeadLetter, ...]:
    """What some offsets become that are given up; one whose record is gone, or damaged, has headers alone."""
    if jobs.queue.options.dead_letters is None:
        return ()
    topic, partition = topics.get(place[0], ""), place[1]
    try:
        records = stored_records(jobs.writing, *place, first, end)
    except unless_interrupted(EventLogError) as error:
        reason = f"{reason} {error.what}"
        records = [StoredRecord(offset, None, None, ()) for offset in range(first, end)]
    if not records and end - first == 1:
        records, reason = [StoredRecord(first, None, None, ())], f"{reason} {GONE}"
    return tuple(DeadLetter(topic, partition, record, deliveries, reason, details) for record in records)
