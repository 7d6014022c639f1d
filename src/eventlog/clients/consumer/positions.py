"""
The positions of a consumer in its partitions, and the offsets that it may commit.

Each partition has three offsets, always in this order unless the caller sought back: `committed <= finished <= handed`.
`handed` is the next offset to return; everything before `finished` is done; `committed` is the group's stored offset.
This is plain bookkeeping for any backend: nothing here reads a log, waits or knows the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from operator import length_hint
from typing import Any, TypeAlias

from eventlog.api.consumer import Offsets, Pair
from eventlog.clients.reading.batch_reader import Cursor
from eventlog.clients.topic_handle import TopicHandle
from eventlog.groups.state import PartitionId
from eventlog.options import check_int, check_offset, check_offsets
from eventlog.records import Record, RecordBatch, TopicPartition

RecordGate: TypeAlias = Callable[[Iterator[Record[Any, Any]]], Iterator[Record[Any, Any]]]
"""What lets records through for as long as they may be handed out (`clients/consumer/gate.py`)."""


class Position:
    """
    One assigned partition: its cursor into the log, what was fetched and not handed out, and the three offsets.

    `handed` is where the fetched batches begin, or where the cursor stands when there are none. `settled` is where
    reading goes on after a transaction that was not stored: what was committed last, or where a seek has put us since.
    """

    __slots__ = ("_start", "committed", "cursor", "fetched", "finished", "handed", "is_paused", "settled", "tp")

    def __init__(self, tp: TopicPartition, route: TopicHandle, offset: int, committed: int | None) -> None:
        self.tp = tp
        self.cursor: Cursor[Any, Any] = Cursor(route, tp.partition, offset)
        self.fetched: deque[RecordBatch[Any, Any]] = deque()
        self._start = 0
        """How many records of the first of them were handed out: to copy the rest each time would take long."""
        self.handed = offset
        self.finished = offset
        self.committed = committed
        self.settled = offset
        self.is_paused = False

    @property
    def topic_id(self) -> int:
        """The id of the topic, which a later one of its name does not have."""
        return self.cursor.route.row.id

    @property
    def has_fetched(self) -> bool:
        """Whether there is something to hand out."""
        return bool(self.fetched) and not self.is_paused

    @property
    def uncommitted(self) -> int | None:
        """The offset to commit, None when the log has it already."""
        return None if self.finished == self.committed else self.finished

    def seek(self, offset: int) -> None:
        """Go to an offset, and forget what was fetched."""
        self.fetched.clear()
        self._start = 0
        self.cursor.offset = offset
        self.handed = offset
        self.finished = offset

    def take(self, max_records: int) -> RecordBatch[Any, Any] | None:
        """Hand out up to `max_records` fetched records of one batch; None when nothing is fetched."""
        fetched = self.fetched
        if not fetched:
            return None
        batch, start = fetched[0], self._start
        stop = start + max_records
        if stop < len(batch.values):
            self._start, self.handed = stop, batch.offsets[stop]
            return batch.slice(start, stop)
        fetched.popleft()
        self._start = 0
        self.handed = fetched[0].offsets[0] if fetched else self.cursor.offset
        return batch.slice(start, stop) if start else batch

    def give_back(self, batch: RecordBatch[Any, Any]) -> None:
        """Take back the end of what was handed out last, to be handed out next."""
        if len(batch):
            if self._start:
                first = self.fetched[0]
                self.fetched[0], self._start = first.slice(self._start, len(first)), 0
            self.fetched.appendleft(batch)
            self.handed = batch.offsets[0]


class Hand:
    """
    A batch that a loop walks through, for as long as its permit lasts.

    How far it came is what its iterator has left.
    """

    __slots__ = ("_batch", "_kept", "position", "records", "settled")

    def __init__(self, position: Position, batch: RecordBatch[Any, Any], gate: RecordGate | None = None) -> None:
        self.position = position
        self._batch = batch
        self._kept = iter(batch.records())
        self.records: Iterator[Record[Any, Any]] = self._kept if gate is None else gate(self._kept)
        self.settled = 0
        """The offset up to which somebody committed by hand, in whatever direction; what is finished begins there."""

    def _taken(self) -> int:
        return len(self._batch.values) - length_hint(self._kept)

    def is_all_taken(self) -> bool:
        """Whether the loop has taken the last record, as nearly always when it asks for more."""
        return not length_hint(self._kept)

    def next_offset(self) -> int:
        """The offset after the last record taken."""
        taken = self._taken()
        return self._batch.offsets[taken] if taken < len(self._batch) else self.position.handed

    def finished_offset(self) -> int:
        """The offset of the record that the loop is busy with: those before it are finished."""
        return self._batch.offsets[max(self._taken() - 1, 0)]

    def rest(self) -> RecordBatch[Any, Any]:
        """What was not taken; the loop gets nothing of it any more."""
        rest = self._batch.slice(self._taken(), len(self._batch))
        for _ in self._kept:
            pass
        return rest


class Positions:
    """
    The positions that a consumer is assigned, and the batch that its loop walks through.

    A loop holds a part of one batch that counts as handed out and is not: `reclaim` takes it back.

    Args:
        begins_at: where in their order the first fetch begins, from 0.0 to below 1.0.
    """

    def __init__(self, begins_at: float = 0.0, *, is_member: bool = False) -> None:
        self._is_member = is_member
        self._by_tp: dict[TopicPartition, Position] = {}
        self.order: list[Position] = []
        """All positions, in the order in which they are served next."""
        self.version = 0
        """A number that rises whenever positions come or go."""
        self.hand: Hand | None = None
        self._filled: list[Position] = []
        """Positions that may have something fetched, in the order in which it is handed out; filtered on use."""
        self._moved: dict[Position, None] = {}
        """Positions in which more may be handed out than is finished; filtered on use."""
        self._unsettled: dict[Position, None] = {}
        """Positions that may have uncommitted offsets; filtered on use."""
        self._served: Position | None = None
        self._begins_at: float | None = begins_at
        self._brought_forward: dict[Position, None] = {}
        """Positions that were served before their turn, since another was served in its turn."""
        self.unstored: dict[Position, int] = {}
        """Positions of which a transaction had records and was not stored, each with the offset behind these."""
        self._by_id: tuple[int, dict[PartitionId, Position]] = (-1, {})

    def __getitem__(self, tp: Pair) -> Position:
        pair = pair_of(tp)
        if pair not in self._by_tp:
            advice = "Name it in log.consumer(), or assign() it first."
            if self._is_member:
                advice = (
                    "The group divides its topics among its members: assignment() says what this one has now, and "
                    "on_assigned= is called with what comes."
                )
            raise ValueError(
                f"{pair.topic}[{pair.partition}] is not assigned to this consumer. The positions are unchanged. "
                f"{advice}"
            )
        return self._by_tp[pair]

    def of_batch(self, batch: RecordBatch[Any, Any]) -> Position:
        """The position that a batch was fetched for."""
        return self._by_tp[batch.topic, batch.partition]  # type: ignore[index]  # equal to a TopicPartition

    def get(self, tp: TopicPartition) -> Position | None:
        """The position in a partition, None when it is not assigned."""
        return self._by_tp.get(tp)

    def partitions(self) -> list[TopicPartition]:
        """What is assigned."""
        return list(self._by_tp)

    def chosen(self, partitions: Sequence[Pair]) -> list[Position]:
        """The positions in some partitions, in all when none is named."""
        return [self[tp] for tp in partitions] if partitions else self.order

    def assign(self, partitions: Iterable[TopicPartition], begun: Iterable[Position]) -> None:
        """Take these partitions and no others; those that stay keep their positions, the others are in `begun`."""
        fresh = {position.tp: position for position in begun}
        by_tp = {tp: self._by_tp.get(tp) or fresh[tp] for tp in partitions}
        self._set(by_tp, list(by_tp.values()))

    def add(self, begun: Iterable[Position]) -> None:
        """Take these positions too, but where there is one already."""
        fresh = {position.tp: position for position in begun if position.tp not in self._by_tp}
        self._set({**self._by_tp, **fresh}, [*self.order, *fresh.values()])

    def drop(self, partitions: Iterable[TopicPartition]) -> None:
        """Forget some partitions, with what was fetched of them."""
        gone = set(partitions)
        by_tp = {tp: position for tp, position in self._by_tp.items() if tp not in gone}
        self._set(by_tp, [position for position in self.order if position.tp in by_tp])
        if self.hand is not None and self.hand.position.tp not in self._by_tp:
            self.hand = None

    def _set(self, by_tp: dict[TopicPartition, Position], order: list[Position]) -> None:
        version = self.version + 1
        filled = [position for position in self._filled if by_tp.get(position.tp) is position]
        fresh = (position for tp, position in by_tp.items() if self._by_tp.get(tp) is not position)
        unsettled = {**self._unsettled, **dict.fromkeys(fresh)}
        # Ctrl-C comes before all of it, or after.
        self._by_tp, self.order, self.version, self._filled, self._unsettled = by_tp, order, version, filled, unsettled

    def rotate(self) -> None:
        """Let another partition be first at the next fetch: the one behind the last that got something."""
        served, self._served = self._served, None
        place = 1 + (self.order.index(served) if served in self.order else 0)
        if self._begins_at is not None and self.order:
            place, self._begins_at = int(self._begins_at * len(self.order)), None
        self.order = self.order[place:] + self.order[:place]

    def of_ids(self, ids: Iterable[PartitionId]) -> list[Position]:
        """The positions in those of some partitions that are assigned, in the order of the ids."""
        version, by_id = self._by_id
        if version != self.version:
            by_id = {(position.cursor.route.row.id, position.tp.partition): position for position in self.order}
            self._by_id = (self.version, by_id)
        return [by_id[one] for one in ids if one in by_id]

    def fill(self, batches: Iterable[RecordBatch[Any, Any]]) -> None:
        """Take in what was fetched, to be handed out in this order, behind what a paused partition has left."""
        by_tp: Mapping[tuple[str, int], Position] = self._by_tp  # type: ignore[assignment]  # a TopicPartition is one
        pairs = [(by_tp[batch.topic, batch.partition], batch) for batch in batches]
        left = [position for position in self._filled if position.fetched]
        self._filled = list(dict.fromkeys([*left, *(position for position, _ in pairs)]))
        for position, batch in pairs:
            position.fetched.append(batch)
            self._served = position

    def waiting(self) -> list[Position]:
        """
        The positions of which nothing is fetched, to look whether something has come.

        Without those that were brought forward since another one was served: else they could keep it waiting for good.
        """
        return [
            position
            for position in self.order
            if not position.fetched and not position.is_paused and position not in self._brought_forward
        ]

    def bring_forward(self, batches: Iterable[RecordBatch[Any, Any]]) -> None:
        """Take in what has come to waiting positions, to be handed out before what was fetched earlier."""
        left, served = [position for position in self._filled if position.fetched], self._served
        self.fill(batches)
        first = [position for position in self._filled if position not in left]
        self._filled, self._served = [*first, *left], served
        self._brought_forward.update(dict.fromkeys(first))

    def take(self, left: int, *, is_loop: bool) -> list[RecordBatch[Any, Any]]:
        """Hand out up to `left` fetched records; one batch to a loop."""
        taken: list[RecordBatch[Any, Any]] = []
        for position in self._filled:
            while left > 0 and position.fetched and not position.is_paused:
                self._moved[position] = None
                if self._brought_forward and position not in self._brought_forward:
                    self._brought_forward = {}
                batch = position.take(left)
                if batch is not None:
                    taken.append(batch)
                    left = 0 if is_loop else left - len(batch.values)
            if left <= 0:
                break
        return taken

    def pass_by(self, positions: Iterable[Position]) -> None:
        """Move `handed` to the cursor, where no record is left before it."""
        for position in positions:
            if position.handed != position.cursor.offset:
                self._moved[position] = None
                position.handed = position.cursor.offset

    def place_of(self, position: Position) -> int:
        """The offset of the next record that the next poll hands out."""
        return position.settled if position in self.unstored else self.next_offset(position)

    def next_offset(self, position: Position) -> int:
        """The offset behind everything that was handed out."""
        if self.hand is not None and self.hand.position is position:
            return self.hand.next_offset()
        return position.handed

    def reclaim(self) -> None:
        """Take back what a loop was given and has not looked at."""
        hand, self.hand = self.hand, None
        if hand is not None and not hand.is_all_taken():
            hand.position.give_back(hand.rest())

    def finish_handed(self) -> None:
        """Finish everything that was handed out."""
        hand = self.hand
        in_hand: dict[Position, None] = {} if hand is None else {hand.position: None}
        for position in self._moved if hand is None else {**self._moved, **in_hand}:
            self._unsettled[position] = None
            position.finished = position.handed if hand is None else self.next_offset(position)
        self._moved = in_hand

    def rewind(self) -> None:
        """Go back to what is finished: what was about to be handed out did not arrive."""
        self.hand = None
        for position in self.order:
            position.seek(position.finished)
        self.version += 1

    def finish_before_hand(self) -> None:
        """Finish all records of a loop before the one that it is busy with."""
        if self.hand is not None:
            position = self.hand.position
            if self.hand.finished_offset() >= self.hand.settled:
                self._unsettled[position] = None
                position.finished = max(position.finished, self.hand.finished_offset())

    def settle(self, tp: TopicPartition, offset: int) -> None:
        """Note an offset that the log has for the group now; it stays until the caller moves on."""
        position = self.get(tp)
        if position is not None:
            self._moved[position] = None
            position.committed = position.finished = position.settled = offset
            if self.unstored.get(position, offset + 1) <= offset:
                del self.unstored[position]  # they were stored by another transaction, or given up by `commit()`
            if self.hand is not None and self.hand.position is position:
                self.hand.settled = self.hand.next_offset()

    def uncommitted(self, partitions: Collection[TopicPartition] | None = None) -> dict[TopicPartition, int]:
        """The offsets that are finished and not committed, of some partitions or of all."""
        left = {
            position: offset
            for position in self._unsettled
            if (offset := position.uncommitted) is not None and self._by_tp.get(position.tp) is position
        }
        self._unsettled = dict.fromkeys(left)
        return {one.tp: offset for one, offset in left.items() if partitions is None or one.tp in partitions}

    def all_handed(self) -> dict[TopicPartition, int]:
        """The offsets behind everything that was handed out."""
        return {position.tp: self.next_offset(position) for position in self.order}

    def handed(self, *, is_leaving: bool = False) -> dict[TopicPartition, int]:
        """
        The offsets behind everything that was handed out, where the committed ones differ.

        While the consumer leaves, without the record that a loop has in hand, whose work may have failed, and without
        the records of transactions that were not stored.
        """
        found = self.all_handed()
        if is_leaving and self.hand is not None:
            position = self.hand.position
            found[position.tp] = max(position.finished, self.hand.finished_offset())
        if is_leaving:
            for position in self.unstored:
                found.pop(position.tp, None)
        return {tp: offset for tp, offset in found.items() if offset != self._by_tp[tp].committed}

    def unknown(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Where we begin in those of some partitions in which the group has no offset."""
        return {tp: self._by_tp[tp].finished for tp in partitions if self._by_tp[tp].committed is None}

    @property
    def have_fetched(self) -> bool:
        """Whether there is something to hand out."""
        for position in self._filled:  # noqa: SIM110 - a generator takes longer than the answer
            if position.has_fetched:
                return True
        return False

    def seek(self, partitions: Sequence[Pair], offset_of: Callable[[Position], int]) -> None:
        """Go to an offset in some partitions, or in all; all offsets are found before anything moves."""
        self.reclaim()
        targets = [(position, offset_of(position)) for position in self.chosen(partitions)]
        for position, offset in targets:
            self.move(position.tp, offset)

    def move(self, tp: Pair, offset: int) -> None:
        """Go to an offset in one partition, and go back to it later."""
        position = self[tp]
        self._unsettled[position] = None
        position.seek(offset)
        position.settled = offset
        self.unstored.pop(position, None)

    # -- transactions that were not stored ---------------------------------------------------------------------

    def settle_finished(self) -> None:
        """Go back no further than what is finished by now: from here on transactions say what is."""
        self.finish_before_hand()
        for position in self.order:
            if position not in self.unstored:
                position.settled = max(position.settled, position.finished)

    def note_unstored(self, offsets: Mapping[TopicPartition, int]) -> None:
        """
        Note that a transaction with the records before these offsets was not stored; a loop ends its batch.

        Nothing moves yet: the next poll goes back, unless the same records are stored before by another attempt.
        """
        self.finish_before_hand()
        self.reclaim()
        for tp, offset in offsets.items():
            position = self.get(tp)
            if position is not None and position.handed != position.settled:
                self.unstored[position] = min(offset, self.unstored.get(position, offset))
                position.finished = position.settled

    def passed_by(self, offsets: Mapping[TopicPartition, int]) -> tuple[TopicPartition, int] | None:
        """The partition and the offset of unstored records that these offsets would pass by, if there are any."""
        for tp, offset in offsets.items():
            position = self.get(tp)
            if position is not None and self.unstored.get(position, offset) < offset:
                return tp, self.unstored[position]
        return None

    def go_back(self, committed: Mapping[Position, int | None]) -> None:
        """Have the records of unstored transactions handed out again; a commit that we know nothing of counts."""
        self.reclaim()
        self._unsettled.update(dict.fromkeys(committed))
        for position, offset in committed.items():
            if offset is not None and offset != position.committed:  # an interrupted commit was stored after all
                position.committed = position.settled = offset
            position.seek(position.settled)
        self.unstored = {}


def offsets_of(offsets: Offsets) -> dict[TopicPartition, int]:
    """The offsets that a user named, by partition."""
    return {pair_of(tp): check_offset(offset) for tp, offset in check_offsets(offsets).items()}


def pair_of(tp: object) -> TopicPartition:
    """The partition that a user named."""
    if not isinstance(tp, tuple) or len(tp) != 2 or not isinstance(tp[0], str):
        raise TypeError(f"a partition is a TopicPartition or a (str, int) pair, not {tp!r}. Nothing was changed.")
    return TopicPartition(tp[0], check_int("partition", tp[1], least=0))
