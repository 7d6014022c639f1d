"""
The core of a consumer: everything that it does, except for waiting and for checking which thread calls.

It owns the positions, the fetcher, the membership of a group or else the discovery of topics, and the commits of
offsets. Nothing here sleeps, and no thread is needed; whoever drives it decides how to wait:

    core.join()
    while True:
        batches = core.try_take(500)        what is there now, or nothing
        if batches: hand them out if core.may_hand_out(batches), else again
        elif core.take_wakeup(): wake() was called
        elif core.prepare_to_wait(): again
        else: wait until the listener is notified, or until core.next_wake_at()
    core.close()

`EmbeddedConsumer` (`consumer.py`) drives it from a thread that blocks; a loop of the program watches
`fileno()`. Callbacks of the user run in the thread that drives.

Decision record: docs/decisions/0021-a-core-that-never-waits.md.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from zlib import crc32

from eventlog.api.consumer import Callback, Pair
from eventlog.backend import Backend
from eventlog.backend.waiting import Listener
from eventlog.clients.consumer.fetcher import Fetcher
from eventlog.clients.consumer.options import ConsumerOptions
from eventlog.clients.consumer.positions import Hand, Position, Positions
from eventlog.clients.consumer.starts import StartOffsets
from eventlog.clients.consumer.topic_discovery import ChosenTopics, TopicDiscovery
from eventlog.clients.topic_handle import TopicHandle
from eventlog.errors import LogClosed, NotSupported, UnknownTopic
from eventlog.groups.state import Subscription
from eventlog.interruptions import unless_interrupted
from eventlog.options import Start
from eventlog.records import Record, RecordBatch, TopicPartition

if TYPE_CHECKING:  # what groups need is imported by the first consumer of one: `import eventlog` is fast
    from eventlog.api.transaction import Transaction
    from eventlog.clients.consumer.given_offsets import GivenOffsets
    from eventlog.clients.consumer.group.membership import Membership
    from eventlog.clients.consumer.offset_commits import OffsetCommits

_FIRST_CHUNK = 16
_ALL = 1 << 62
_NEVER_S = float("inf")
_SLOW_SECONDS = 0.1
"""Work on one batch of a loop that takes longer is slow."""


class ConsumerCore:
    """
    One consumer, without waiting.

    Belongs to one thread at a time, but for `wake`. A method waits for nobody but the disk: what it stores (offsets,
    requests to the group) is a commit, with its turn and its flush.

    Args:
        open_topic: the handle of a topic by its name; `UnknownTopic` when there is none.
        call: runs a callback of the user's.
        listener: the place to be notified, which is the core's from now on.
    """

    def __init__(
        self,
        backend: Backend,
        open_topic: Callable[[str], TopicHandle],
        options: ConsumerOptions,
        call: Callable[[Callback, list[TopicPartition]], None],
        listener: Listener,
    ) -> None:
        self._backend = backend
        self._open_topic = open_topic
        self._clock = backend.clock
        self._max_records = options.max_poll_records
        is_member = options.membership is not None
        self.positions = positions = Positions(_begins_at(backend.last_transaction()), is_member=is_member)
        self.starts = starts = StartOffsets(backend, open_topic, group=options.group, start=options.start)
        self._listener = listener
        self._fetcher = Fetcher(backend, positions, self._listener, options.fetch_max_bytes, options.on_out_of_range)
        self.membership: Membership | None = None
        self._discovery: TopicDiscovery | None = None
        self._chosen = ChosenTopics(backend, open_topic, positions, starts)
        if options.membership is not None:
            from eventlog.clients.consumer.group.membership import Membership

            self.membership = Membership(backend, open_topic, positions, starts, options.membership, call)
        elif options.subscription != Subscription():
            self._discovery = TopicDiscovery(backend, open_topic, positions, starts, options.subscription)
        self.commits: OffsetCommits | None = None
        if options.group is not None:
            from eventlog.clients.consumer.offset_commits import OffsetCommits

            interval_s = options.auto_commit_interval if options.auto_commit else None
            self.commits = OffsetCommits(backend, open_topic, positions, self.membership, options.group, interval_s)
        self._interval_s = options.auto_commit_interval if options.auto_commit and self.commits is not None else None
        self._is_woken = False
        self._is_watched = False
        """Whether a loop of the program watches our descriptor, which then stays readable until nothing is found."""
        self._is_cleared = False
        """Whether we have made it unreadable since we made it readable; somebody else may have since."""
        self._is_leaving = False
        self.is_closed = False
        """Whether `close` has come to its end; an interruption (Ctrl-C) before that leaves it to be called again."""
        self.is_handing = False
        """Whether records are on their way to the caller: an interruption before they arrive hands out nothing."""
        self.is_resting = False
        """Whether nothing that stores is to be done: the driver has just seen that it is at rest."""
        self.is_spent = False
        """Whether a transaction has committed all that was handed out, and nobody has asked for more since."""
        self._joined: weakref.ref[GivenOffsets] | None = None
        """The part in a transaction that was begun with this consumer; a dropped one is not stored."""

    def join(self) -> None:
        """Join the group, if there is one; the last thing that is done to make a consumer."""
        if self.membership is not None:
            self.membership.begin()

    # -- taking ----------------------------------------------------------------------------------------------

    def try_take(
        self, max_records: int | None, *, is_loop: bool = False, is_patient: bool = False
    ) -> list[RecordBatch[Any, Any]]:
        """
        The records that are there now, or none; those of the call before are finished then.

        Keeps step with the group or the topics first. They are on their way until `may_hand_out` says yes.

        Args:
            max_records: the most to hand out; None is no limit.
            is_loop: gives one batch at a time, and none once `wake` was called, even if there is more to read.
            is_patient: gives none where everything was read and we would be notified of more: the caller waits then.
        """
        self.positions.reclaim()
        if self.is_spent or self._joined is not None or self.positions.unstored:
            self._go_back_if_due()
        self.positions.finish_handed()
        if self.commits is not None and not self.is_resting:
            self.commits.commit_if_due()
        if is_loop and self._is_woken:  # a busy loop must end too
            return []
        limit = _ALL if max_records is None else max_records
        if self._is_watched:
            return self._take_watched(limit, is_loop=is_loop)
        if is_patient and self._fetcher.is_through() and self._has_nothing_to_read():
            return []
        return self._look(limit, is_loop=is_loop)

    def _has_nothing_to_read(self) -> bool:
        """Keep step with the group or the topics, as a busy consumer, and say whether we are still through."""
        if self.membership is not None:
            if not self.membership.attend(is_busy=True, is_resting=self.is_resting):
                return True
        elif self._discovery is not None:
            self._discovery.attend(is_busy=True)
        return self._fetcher.is_through()

    def is_at_rest(self) -> bool:
        """
        Whether `try_take` would store nothing and call no callback now; costs one read at most.

        A loop that must not wait for the disk has the others run in another thread.
        """
        if self.is_spent or self._joined is not None or self.positions.unstored:
            return False
        if self.commits is not None and self.commits.is_due():
            return False
        return self.membership is None or self.membership.is_at_rest(is_busy=self.positions.have_fetched)

    def is_any_of(self, partitions: Iterable[tuple[int, int]]) -> bool:
        """Whether some of these partitions, by topic id and number, are ours."""
        return bool(self.positions.of_ids(partitions))

    def _look(self, limit: int, *, is_loop: bool, is_again: bool = False) -> list[RecordBatch[Any, Any]]:
        """What the log has for us now."""
        if self.membership is not None:
            is_busy = self.positions.have_fetched and not is_again
            if not self.membership.attend(is_busy=is_busy, is_resting=self.is_resting):
                return []
        elif self._discovery is not None:
            self._discovery.attend(is_busy=self.positions.have_fetched and not is_again)
        self.is_handing = True
        try:
            batches = self._fetcher.take(limit, is_loop=is_loop)
        except unless_interrupted(UnknownTopic):
            is_assigned = self.membership is None and self._discovery is None
            if is_again or (is_assigned and not self._begin_again()):
                self._chosen.check()
                raise
            return self._look(limit, is_loop=is_loop, is_again=True)  # deleted since we attended: read the others
        if not batches:
            self.is_handing = False
        return batches

    def _begin_again(self) -> bool:
        """Go on with topics that were made again; whether there were any."""
        is_any = self._chosen.begin_again()
        self._positions_changed()
        return is_any

    def follow_names(self, named: Collection[object] = ()) -> None:
        """
        Take each name for the topic that has it now, before a call that names partitions.

        A member of a group does so at its next poll.
        """
        if self._discovery is not None:
            self._discovery.follow()
        elif self.membership is None and self._chosen.follow(named):
            self._positions_changed()

    def _take_watched(self, limit: int, *, is_loop: bool) -> list[RecordBatch[Any, Any]]:
        """
        The same for a loop of the program: leaves the descriptor readable unless there is nothing.

            consumer                                       writer
            1  finds nothing                               a  commits
            2  subscribes, takes the bytes from its FIFO   b  writes a byte into it
            3  looks once more, if there were any

        If (b) comes before (2), the commit is seen at (3). If it comes after, the descriptor is readable.
        """
        is_quiet = False
        try:
            batches = self._look(limit, is_loop=is_loop)
            if not batches:
                is_new = self.prepare_to_wait()
                self._is_cleared = True
                if self._listener.drain() or is_new:
                    batches = self._look(limit, is_loop=is_loop)
                is_quiet = not batches and self._fetcher.is_subscribed()
        finally:
            if not is_quiet:  # there may be more, or an error was raised: the loop has to come again
                self._make_readable()
        return batches

    def _make_readable(self) -> None:
        """Have a loop of the program come again."""
        if self._is_cleared:
            self._listener.wake()
            self._is_cleared = False

    def take_wakeup(self) -> bool:
        """Whether `wake` was called since it was asked last."""
        is_woken, self._is_woken = self._is_woken, False
        return is_woken

    def wake(self) -> None:
        """End a wait that runs now, or else the next one, and a loop; any thread may call it."""
        self._is_woken = True
        self._listener.wake()

    def chunks(
        self, take: Callable[[int], list[RecordBatch[Any, Any]]]
    ) -> Generator[Iterator[Record[Any, Any]], None, None]:
        """
        The records for a `for` loop, one batch after the other.

        Slow work means small batches, so that a crash repeats no more than an interval's work, and others get what is
        theirs soon: other members their partitions, other partitions their turn.

        Args:
            take: waits for records, of which it is given the most to take, and gives none to end the loop.
        """
        size = self.chunk_size()
        is_begun = False
        while True:
            try:
                batches = take(size.count)
            except unless_interrupted(LogClosed):
                if is_begun and self.is_closed:
                    return  # another thread closed us: the loop ends as by wakeup()
                raise
            if not batches:
                return
            is_begun = True
            began_s = self._clock.monotonic()
            yield self.hand_out(batches[0])
            size.note(self._clock.monotonic() - began_s)

    def chunk_size(self) -> ChunkSize:
        """How many records a loop takes at a time."""
        return ChunkSize(self._max_records, self._interval_s)

    def hand_out(self, batch: RecordBatch[Any, Any]) -> Iterator[Record[Any, Any]]:
        """The records of one batch for a loop; where it stands in them is seen from this iterator."""
        gate = None if self.membership is None else self.membership.gate
        hand = Hand(self.positions.of_batch(batch), batch, gate)
        self.positions.hand, self.is_handing = hand, False
        return hand.records

    def may_hand_out(self, batches: list[RecordBatch[Any, Any]]) -> bool:
        """
        Whether what was taken goes to the caller; else the lease has ended meanwhile, and it was taken back.

        The last question before they go: fetching and decoding take time, and a process may be stopped.
        """
        if batches and self.membership is not None and not self.membership.is_usable():
            self.take_back()
            return False
        self.is_handing = False
        return True

    @property
    def permit(self) -> list[float]:
        """Holds the time until which what was taken may be handed out: as long as the lease of a member runs."""
        return [_NEVER_S] if self.membership is None else self.membership.permit

    def take_back(self) -> None:
        """Have what did not arrive handed out again."""
        if self.is_handing:
            self.positions.rewind()
            self.is_handing = False

    # -- waiting ---------------------------------------------------------------------------------------------

    def next_wake_at(self) -> float:
        """
        When there is something to do though nothing was committed, in seconds of the monotonic clock.

        Offsets to commit, the lease of a member, a look at the others of its group; infinity when there is nothing.
        """
        at_s = _NEVER_S if self.commits is None else self.commits.next_at_s
        if self.membership is not None:
            at_s = min(at_s, self.membership.next_at_s(self._clock.monotonic()))
        return at_s

    def prepare_to_wait(self) -> bool:
        """
        Be notified of what concerns us, and of the deaths of members that we watch.

        True when that was not so before: then `try_take` once more, because what was committed before notifies nobody.
        """
        membership = self.membership
        if not self._fetcher.is_subscribed() and self._fetcher.subscribe(self._subjects()):
            return True
        if membership is not None:
            self._listener.watch(membership.watched)
        return False

    def _subjects(self) -> frozenset[int] | None:
        """What to be notified of beside the topics of the positions; None is everything."""
        if self.membership is not None:
            return self.membership.subjects
        return frozenset() if self._discovery is None else self._discovery.subjects

    @property
    def seen_transaction(self) -> int:
        """The commit up to which we have seen everything; a wait ends when there is a later one."""
        return self._fetcher.seen_transaction

    def fileno(self) -> int:
        """
        The descriptor for a loop of the program: readable while `try_take` may find something.

        Raises:
            NotSupported: where there are no FIFOs.
        """
        is_new = self.prepare_to_wait()
        descriptor = self._listener.fileno()
        if descriptor is None:
            raise NotSupported(
                f"cannot give a descriptor for a consumer of {self._backend.path}: its file system or this platform "
                "has no FIFOs.",
                stored="The consumer is unchanged.",
                advice="Call poll(0) every few milliseconds from the loop, or poll(timeout) in a thread.",
                feature="fileno",
                backend="embedded",
            )
        self._is_watched = True
        if is_new:
            self._make_readable()
        return descriptor

    def _positions_changed(self) -> None:
        """There may be something to read though nothing was committed."""
        self._fetcher.look_again()
        self._make_readable()

    # -- offsets ---------------------------------------------------------------------------------------------

    def commit(self, offsets: Mapping[TopicPartition, int] | None, note: tuple[int, str] | None = None) -> None:
        """
        Store some offsets for the group, or all positions: then everything handed out is finished.

        Args:
            note: a leader epoch and metadata to be stored beside each of them.
        """
        assert self.commits is not None
        if offsets is None:
            if not self._is_leaving:  # else we are in `on_revoked`, maybe because the work failed
                self.positions.finish_handed()
            self._commit_positions(self.positions.uncommitted(), note)
        else:
            self.follow_names(offsets)
            self.commits.store(offsets, is_automatic=False, note=note)

    def _commit_positions(self, offsets: Mapping[TopicPartition, int], note: tuple[int, str] | None) -> None:
        """Store positions; those of topics that were deleted, which the next poll finds out, are left out."""
        assert self.commits is not None
        try:
            self.commits.store(offsets, is_automatic=False, note=note)
        except unless_interrupted(UnknownTopic) as error:
            rest = {tp: offset for tp, offset in offsets.items() if tp.topic != error.topic}
            if len(rest) == len(offsets):
                raise
            self._commit_positions(rest, note)

    def lags(self) -> dict[TopicPartition, int]:
        """How many offsets lie between the position and the end, for each partition."""
        self.follow_names()
        return self.starts.lags((position, self.positions.place_of(position)) for position in self.positions.order)

    # -- transactions ----------------------------------------------------------------------------------------

    def join_transaction(self, transaction: Transaction) -> GivenOffsets:
        """Begin a part in a transaction; we commit nothing by ourselves any more."""
        from eventlog.clients.consumer.given_offsets import GivenOffsets

        assert self.commits is not None
        if self._open_part() is not None:
            raise ValueError(
                "cannot begin a transaction with this consumer: another one was begun with it and has not ended. "
                "Nothing was changed. Commit or abort that one first, or leave its with block."
            )
        self.commits.stop()
        given = GivenOffsets(self, transaction)
        self._joined = weakref.ref(given)
        return given

    def give_offsets(self, offsets: Mapping[TopicPartition, int] | None, given: GivenOffsets | None) -> GivenOffsets:
        """What a transaction is to commit for us, in our part in it if there is one already."""
        from eventlog.clients.consumer.given_offsets import GivenOffsets

        assert self.commits is not None
        part = GivenOffsets(self) if given is None else given
        if offsets is not None:
            self.follow_names(offsets)
        chosen = offsets
        if chosen is None:
            chosen = {**part.lost(), **self.positions.handed(is_leaving=self._is_leaving)}
        commit = self.commits.give(chosen)
        part.take(chosen, commit, is_chosen=offsets is not None)
        return part

    def _open_part(self) -> GivenOffsets | None:
        """
        Our part in a transaction that has not ended.

        Of one that was dropped, or interrupted before it said what became of it, the log tells when we go back.
        """
        given = None if self._joined is None else self._joined()
        if given is not None and given.is_open:
            return given
        if self._joined is not None:
            self._joined = None
            self.positions.note_unstored(self.positions.all_handed())
        return None

    def let_go(self, given: GivenOffsets) -> None:
        """Note that a transaction has ended."""
        if self._joined is not None and self._joined() is given:
            self._joined = None

    def note_unstored(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Note that a transaction was not stored that had the records before these offsets."""
        if not self.is_closed:
            self.positions.note_unstored(offsets)
            self._positions_changed()

    def _go_back_if_due(self) -> None:
        """Go back after a transaction that was not stored."""
        self.is_spent = False
        given = self._open_part()
        if given is not None:
            given.note_poll()
        if self.positions.unstored:
            assert self.commits is not None
            self.commits.go_back()
            self._positions_changed()

    # -- positions -------------------------------------------------------------------------------------------

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Read exactly these partitions from now on; what was finished is committed first."""
        chosen = {tp: self._open_topic(tp.topic) for tp in partitions}
        for tp, topic in chosen.items():
            topic.check_partition(tp.partition)
        self.positions.finish_before_hand()
        self.positions.reclaim()
        if self.commits is not None:
            self.commits.commit_finished()
        self._begin_again()
        fresh = [(topic, tp) for tp, topic in chosen.items() if self.positions.get(tp) is None]
        self.positions.assign(chosen, self.starts.positions(fresh))
        self._discovery = None
        self._chosen.forget()
        self._positions_changed()

    def seek(self, partitions: Sequence[Pair], offset_of: Callable[[Position], int]) -> None:
        """Go to an offset in some partitions, or in all; all offsets are found before anything moves."""
        self.follow_names(partitions)
        self.positions.finish_before_hand()  # the loop has asked for more than these, maybe in another partition
        self.positions.seek(partitions, offset_of)
        self._positions_changed()

    def seek_to_committed(self, partitions: Sequence[Pair]) -> None:
        """Go back to where the group stands, or would begin."""
        self._backend.commit_queued()  # a commit that was interrupted may be under way in another thread
        self.seek(partitions, self.starts.group_offset)

    def seek_to_start(self, partitions: Sequence[Pair], start: Start) -> None:
        """Go to what a start means now."""
        self.seek(partitions, lambda position: self.starts.resolved(position, start))

    def pause(self, partitions: Sequence[Pair]) -> None:
        """Hand out nothing of some partitions, or of all."""
        self.follow_names(partitions)
        self.positions.finish_before_hand()  # the loop has asked for more than these
        self.positions.reclaim()
        for position in self.positions.chosen(partitions):
            position.is_paused = True

    def resume(self, partitions: Sequence[Pair]) -> None:
        """Go on with some paused partitions, or with all."""
        self.follow_names(partitions)
        for position in self.positions.chosen(partitions):
            position.is_paused = False
        self._positions_changed()

    # -- ending ----------------------------------------------------------------------------------------------

    def prepare_to_leave(self) -> list[TopicPartition]:
        """The partitions that `close` calls `on_revoked` for, by a driver that calls it before."""
        self.positions.finish_before_hand()
        self._is_leaving = True
        return [] if self.membership is None else self.membership.to_revoke()

    def close(self) -> None:
        """Commit what is finished, leave the group, and give up the place to wait, whatever is raised."""
        try:
            self.positions.finish_before_hand()
            self._leave()
        finally:
            if self.membership is not None:
                self.membership.drop()
            self.positions.reclaim()
            self._listener.close()
            self.is_closed = True

    def _leave(self) -> None:
        if self.membership is None:
            if self.commits is not None:
                self.commits.commit_finished()
            return
        self.is_spent = False  # `on_revoked` has the last word
        try:
            self._is_leaving = True
            self.membership.give_up()
        finally:
            self.membership.leave({} if self.commits is None else self.commits.left_to_commit())

    def forget(self) -> None:
        """Leave the parent's place to wait alone, in a forked child."""
        self._listener.forget()
        if self.membership is not None:
            self.membership.forget()


class ChunkSize:
    """How many records a loop takes at a time: few while its work is slow."""

    def __init__(self, most_count: int, interval_s: float | None) -> None:
        self._most_count = most_count
        self._slow_s = _SLOW_SECONDS if interval_s is None else min(_SLOW_SECONDS, interval_s / 2)
        self.count = min(_FIRST_CHUNK, most_count)

    def note(self, took_s: float) -> None:
        """Note how long the work on one batch took."""
        if took_s > self._slow_s:
            self.count = max(1, self.count // 2)
        elif took_s <= self._slow_s / 4:  # else twice as much may be slow
            self.count = min(2 * self.count, self._most_count)


def _begins_at(transaction: int) -> float:
    """
    Where in the order of its partitions a consumer begins to read, from 0.0 to below 1.0.

    Each consumer begins elsewhere, so that jobs that end soon serve all partitions. The number of the last commit is
    another one each time; scrambled, because in steps of it some partitions could be left out for good.
    """
    return crc32(b"%d" % transaction) / (1 << 32)
