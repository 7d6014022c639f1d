"""
What compaction does to the batches of transactions of a partition, and to their ends.

Pure: a plan is told of each batch and of what stays of it, in the order of the offsets.

A control batch goes when nothing of its transaction is left, but for one case. An older copy of a partition, as the
first part of a backup, may have records of a transaction without its end. If that end were gone, the next commit of
the same producer would be taken for it. So of the ends before a commit that stays, and of those at the end of the
partition, the last one of each producer stays, and says that all before it was aborted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from eventlog.batches.kafka_marks import ABORT, KafkaMarks, is_placeholder
from eventlog.named_tuples import NamedTuple

_MOST_PLANNED = 1 << 17
"""The most batches that one round changes or takes away; those behind them are left to the next round."""
_MOST_TOGETHER = 256
_MOST_SPAN = 2**31 - 1

TRIMMED, REPLACED, UNSEEN, ABORTING, FORGOTTEN = range(5)
"""
What becomes of a batch.

Some of its records go; all of them do; it goes, and no native reader saw it; it becomes the end of an aborted
transaction; it stays, and the row of its aborted transaction goes.
"""


class Change(NamedTuple):
    """What becomes of a batch, by its offsets."""

    first: int
    last: int
    action: int


class Plan:
    """
    What becomes of the batches of a partition, found out in the order of their offsets.

    Pure: it is told of each batch, and what stays of it.
    """

    def __init__(self) -> None:
        self._changes: dict[int, Change] = {}
        self._lives: set[int] = set()
        """The producers with records since their last control batch."""
        self._ends: dict[int, Change] = {}
        """The last control batch of each producer, if nothing of its transaction is left."""
        self.is_needed = False
        """Whether there is anything of transactions."""
        self._lone: list[Change] = []

    def is_full(self) -> bool:
        """Whether no further batch is to be added."""
        return len(self._changes) >= _MOST_PLANNED

    def add_end(self, first: int, last: int, marks: KafkaMarks) -> None:
        """Add a control batch."""
        self.is_needed = True
        if is_placeholder(marks):
            self._changes[last] = Change(first, last, UNSEEN)
            return
        before = self._ends.pop(marks.producer_id, None)
        if marks.producer_id in self._lives:
            self._lives.discard(marks.producer_id)
            return
        if before is not None:
            self._changes[before.last] = before._replace(action=UNSEEN)
        self._ends[marks.producer_id] = Change(first, last, FORGOTTEN if marks.type == ABORT else ABORTING)
        self._changes[last] = self._ends[marks.producer_id]

    def add_records(self, first: int, last: int, producer_id: int, kept: Sequence[bool] | None) -> None:
        """Add a batch of a transaction; `kept` is None if no native reader sees it."""
        self.is_needed = True
        if kept is None:
            self._changes[last] = Change(first, last, UNSEEN)
            return
        if any(kept):
            self._lives.add(producer_id)
        if not all(kept):
            self._changes[last] = Change(first, last, TRIMMED if any(kept) else REPLACED)

    def add_lone(self, first: int, last: int) -> None:
        """Add a batch of no transaction whose only record goes: it goes if there are transactions here at all."""
        self._lone.append(Change(first, last, REPLACED))

    def changes(self, living: Collection[int]) -> list[Change]:
        """
        All changes, in the order of the offsets.

        Args:
            living: the producers that have written behind the last batch, or may write again.
        """
        if not self.is_needed:
            return []
        self._changes.update((one.last, one) for one in self._lone)
        for producer_id, end in self._ends.items():
            if producer_id not in living:
                self._changes[end.last] = end._replace(action=UNSEEN)
        return [self._changes[last] for last in sorted(self._changes)]


def units_of(changes: Sequence[Change]) -> Iterator[list[Change]]:
    """The changes that are made together: neighbours that go, as far as one commit goes, or one batch that stays."""
    unit: list[Change] = []
    for one in changes:
        goes = one.action in (REPLACED, UNSEEN)
        is_next = bool(unit) and unit[-1].last + 1 == one.first and one.last - unit[0].first < _MOST_SPAN
        if unit and not (goes and is_next and len(unit) < _MOST_TOGETHER):
            is_cut = goes and is_next
            yield unit
            # The batch that holds the offsets so far goes together with those behind it.
            unit = [Change(unit[0].first, unit[-1].last, UNSEEN)] if is_cut else []
        unit.append(one)
        if not goes:
            yield unit
            unit = []
    if unit:
        yield unit
