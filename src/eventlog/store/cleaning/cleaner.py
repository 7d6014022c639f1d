"""
The cleaner: it deletes what the retention of topics no longer keeps, compacts and repacks, a slice at a time.

A slice is a commit like those of producers, and shares their sync. It takes about 5 ms of the write lock, and four
times as long is left to others before the next. One process at a time cleans: it holds the lock of a file. Another one
takes over when that process ends.

The thread begins with the first topic that has a retention or a compaction. It looks again at once while there is much
to free, four times a second while the log grows, and once in two seconds while it does not. What goes wrong with a
topic is written to Python's log once, and the others are cleaned.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from math import inf
from threading import get_ident
from time import monotonic, sleep

from eventlog.backend.maintenance import CleanReport
from eventlog.backend.topics import StoredTopic
from eventlog.errors import DiskFull, EventLogError, LogClosed, NestedCall, UnknownTopic
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.store.cleaning.compaction import SLICE_SECONDS, Step
from eventlog.store.cleaning.expiry import Doomed, doomed_batches
from eventlog.store.cleaning.rewriters import Rewriters
from eventlog.store.cleaning.sizes import TopicSizes
from eventlog.store.cleaning.turn import Turn
from eventlog.store.committer import Committer
from eventlog.store.lmdb.environment import QUEUES, Environment
from eventlog.store.records.emptying import Run, delete
from eventlog.store.records.topics import DeleteRecords
from eventlog.uninterruptible import start_thread, try_acquire

_PAUSE_FACTOR = 4
_PASS_FACTOR = 10
_REWRITING_SECONDS = 0.5
"""In the background, so long batches are rewritten before it is looked again what is to be deleted."""
_FIRST_SLICE = 32
_PLANNED = 4096
_SHORTEST_SECONDS = 0.25
_BEHIND_BYTES = 1 << 20
"""A pass in the background that frees as much is followed by the next one at once: appends are faster than pauses."""
_LONGEST_SECONDS = 2.0
_STOP_SECONDS = 1.0
_ROOM_SECONDS = 0.25
_ROOM_BYTES = 4 << 20
"""What a commit that finds no room waits for: as many bytes, or as long; the background does the rest."""
_DELETING = "retention"


class Cleaner:
    """
    The cleaner of one open log.

    Any thread may call anything; one at a time cleans.
    """

    def __init__(
        self,
        environment: Environment,
        committer: Committer,
        turn: Turn,
        topics: Callable[[], list[StoredTopic]],
        now_ms: Callable[[], int],
    ) -> None:
        self._environment = environment
        self._committer = committer
        self._turn = turn
        self._topics = topics
        self._now_ms = now_ms
        self._reset()

    def _reset(self) -> None:
        self._sizes = TopicSizes(self._environment)
        self._sizes_for_room = TopicSizes(self._environment)
        self._rewriters = Rewriters(self._environment, self._committer.run, self._now_ms)
        self._slice = _FIRST_SLICE
        self._passes = 0
        self._ends_s = inf
        """When the pass that goes on is over."""
        self._worked_s = 0.0
        """How long the last pass rewrote, deleted and rested, and not only looked."""
        self._failed: set[int] = set()
        self.failed_topics: tuple[str, ...] = ()
        """The names of the topics that the last whole pass could not clean."""
        self._working = threading.Lock()
        self._worker: int | None = None
        self._starting = threading.RLock()  # a signal handler may come into the middle, and open a topic
        self._wakeup = threading.Lock()
        self._wakeup.acquire()
        self._thread: threading.Thread | None = None
        self._is_stopped = False

    # -- a pass ----------------------------------------------------------------------------------------------

    def clean(self, budget_s: float | None, *, in_background: bool = False) -> CleanReport:
        """
        Delete what no topic keeps, for about `budget_s` seconds; None until nothing is left to delete.

        In the background it does nothing while others clean, and leaves others time after each slice.

        Raises:
            StorageError: the disk failed, or has no room at all. What was deleted before stays deleted.
        """
        deadline_s = None if budget_s is None else monotonic() + budget_s
        report = CleanReport(0, 0, 0, (), is_finished=False)
        patience_s = 0.0 if in_background else budget_s
        if self._worker == get_ident():
            raise NestedCall(
                "cannot clean the log in the middle of its cleaning: a signal handler or a finalizer called us.",
                stored="Nothing was changed by this call.",
                advice="Call it outside.",
            )
        is_held = False
        try:
            for is_held in try_acquire(self._working, -1 if patience_s is None else patience_s):
                self._worker = get_ident() if is_held else self._worker
            if not is_held:
                return report
            if not self._turn.acquire(None if patience_s is None else monotonic() + patience_s):
                return report
            try:
                return self._clean_topics(deadline_s, pauses=in_background)
            finally:
                self._turn.release()
        finally:
            if is_held:
                self._worker = None
                self._working.release()

    def _clean_topics(self, deadline_s: float | None, *, pauses: bool) -> CleanReport:
        """Delete what no topic keeps, and then compact and repack: a full volume first gets the room of the former."""
        topics = [topic for topic in self._topics() if topic.is_cleaned]
        self._rewriters.keep_only({topic.id for topic in topics})
        failed: list[str] = []
        batches = records = freed_bytes = 0
        is_over = False
        self._worked_s, self._ends_s = 0.0, inf if deadline_s is None else deadline_s
        for topic, steps, is_rewriting in self._jobs(topics, in_background=pauses):
            if topic.name in failed:
                continue
            began_s, is_work = monotonic(), is_rewriting
            try:
                for step in steps:
                    batches += step.batch_count
                    records += step.record_count
                    freed_bytes += step.freed_bytes
                    is_over = self._is_stopped or monotonic() >= self._ends_s
                    if is_over:
                        break
                    if pauses and step.seconds:
                        sleep(_PAUSE_FACTOR * min(step.seconds, _LONGEST_SECONDS))
                        self._worked_s += (not is_rewriting) * (1 + _PAUSE_FACTOR) * step.seconds
            except unless_interrupted(UnknownTopic):
                continue  # it was deleted meanwhile
            except unless_interrupted(LogClosed):
                raise
            except unless_interrupted(EventLogError) as error:
                is_full = isinstance(error, DiskFull)
                if self._environment.has_failed or (is_full and not is_rewriting):
                    raise
                is_work = is_work and not is_full  # as after a look that found nothing, the rest is long
                failed.append(topic.name)
                self._tell(topic, self._rewriters.work if is_rewriting else _DELETING, error)
            finally:
                self._worked_s += is_work * (monotonic() - began_s)
            if is_over:
                break
        else:
            self.failed_topics = tuple(failed)
        return CleanReport(batches, records, freed_bytes, tuple(failed), is_finished=not is_over)

    def _jobs(
        self, topics: list[StoredTopic], *, in_background: bool
    ) -> Iterator[tuple[StoredTopic, Iterator[Step], bool]]:
        """What there is to do for the topics, and whether it is rewriting: that begins with another one each time."""
        for topic in topics:
            if topic.retention.is_bounded:
                steps = self._deletions(topic, topics, self._sizes, self._committer.run, is_once=in_background)
                yield topic, steps, False
        if in_background:
            self._ends_s = monotonic() + _REWRITING_SECONDS
        self._passes += 1
        begin = self._passes % (len(topics) or 1)
        for topic in topics[begin:] + topics[:begin]:
            if topic.compaction.is_on:
                yield topic, self._rewriters.steps(topic, in_background=in_background), True

    def make_room(self, run: Run) -> bool:
        """
        Delete some of what no topic keeps, in the middle of a commit that finds no room; whether there was any.

        The thread, or another process, may be in a pass of its own: two that delete the same do no harm, and this one
        has sizes of its own.
        """
        end_s, freed_bytes = monotonic() + _ROOM_SECONDS, 0
        topics = [topic for topic in self._topics() if topic.retention.is_bounded]
        for topic in topics:
            try:
                for step in self._deletions(topic, topics, self._sizes_for_room, run):
                    freed_bytes += step.freed_bytes
                    if freed_bytes >= _ROOM_BYTES or monotonic() >= end_s:
                        return True
            except unless_interrupted(DiskFull):
                return freed_bytes > 0
            except unless_interrupted(EventLogError) as error:
                self._tell(topic, _DELETING, error)
        return freed_bytes > 0

    def _deletions(
        self, topic: StoredTopic, topics: list[StoredTopic], sizes: TopicSizes, run: Run, *, is_once: bool = False
    ) -> Iterator[Step]:
        """
        Delete the doomed batches of a topic; each slice when it is deleted.

        Once: what appends have doomed meanwhile is left to the next pass, or others would never have their turn.
        """
        while doomed := self._doomed(topic, topics, sizes):
            is_over = is_once and len(doomed) < _PLANNED
            while doomed:
                slice_, doomed = doomed[: self._slice], doomed[self._slice :]
                seconds = self._delete(topic, slice_, sizes, run)
                yield Step(
                    len(slice_),
                    sum(batch.record_count for batch in slice_),
                    sum(batch.stored_bytes for batch in slice_),
                    seconds,
                )
            if is_over:
                return

    def _doomed(self, topic: StoredTopic, topics: list[StoredTopic], sizes: TopicSizes) -> list[Doomed]:
        environment, bound = self._environment, topic.retention.most_bytes
        if topic.retention.until_read_by:
            environment.has_later(QUEUES)
        with environment.reading() as transaction:
            excess_bytes = 0
            if bound is not None:
                sizes.refresh(transaction, [one for one in topics if one.retention.most_bytes is not None])
                excess_bytes = sizes.of(topic) - bound
            return doomed_batches(environment, transaction, topic, self._now_ms(), excess_bytes, _PLANNED)

    def _delete(self, topic: StoredTopic, batches: list[Doomed], sizes: TopicSizes, run: Run) -> float:
        before: dict[int, int] = {}
        for batch in batches:
            before[batch.partition] = max(batch.end, before.get(batch.partition, 0))
        command = delete(self._environment, run, lambda in_steps: DeleteRecords(topic, before, in_steps=in_steps))
        if topic.retention.most_bytes is not None:
            sizes.deleted(topic, batches)
        if command.seconds > SLICE_SECONDS:
            self._slice = max(1, self._slice // 2)
        elif command.seconds < SLICE_SECONDS / 2 and len(batches) == self._slice:
            self._slice = min(2 * self._slice, _PLANNED)
        return command.seconds

    def _tell(self, topic: StoredTopic, work: str, error: EventLogError) -> None:
        if topic.id in self._failed:
            return
        self._failed.add(topic.id)
        from eventlog.notices import CLEANING_FAILED, tell

        tell(CLEANING_FAILED, topic=topic.name, work=work, error=str(error))

    # -- the thread ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Have the log cleaned in the background from now on."""
        with self._starting:
            if self._thread is not None or self._is_stopped:
                return
            thread = threading.Thread(target=self._run, name="eventlog-cleaner", daemon=True)
            with suppress(RuntimeError):  # no room for a thread: the next topic that is opened asks again
                start_thread(thread)
                self._thread = thread

    def stop(self) -> None:
        """End the thread, and wait for the end of its slice."""
        self._is_stopped = True
        with suppress(RuntimeError):  # it was woken before, and has not noticed yet
            self._wakeup.release()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_STOP_SECONDS)
        self._turn.close()

    def after_fork(self) -> None:
        """Begin again in the child, without a thread; the turn stays the parent's."""
        self._turn.forget()
        self._reset()

    def _run(self) -> None:
        pause_s, seen = _SHORTEST_SECONDS, -1
        while not self._is_stopped:
            began_s, is_behind, is_busy, now = monotonic(), False, False, seen
            try:
                now = self._environment.last_transaction()
                report = self.clean(None, in_background=True)
                is_behind = report.freed_bytes >= _BEHIND_BYTES
                is_busy = report.batch_count > 0 or now != seen
            except unless_interrupted(LogClosed):
                return
            except unless_interrupted(EventLogError):
                pass  # of the disk: whoever writes hears of it
            pause_s = _SHORTEST_SECONDS if is_busy else min(2 * pause_s, _LONGEST_SECONDS)
            seen = now
            looked_s = monotonic() - began_s - self._worked_s
            if not is_behind:
                self._wakeup.acquire(timeout=max(pause_s, _PASS_FACTOR * looked_s))
