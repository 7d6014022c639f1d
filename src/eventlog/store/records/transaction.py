"""
What a transaction stores: records of any topics, offsets of groups, rows of states, all in one commit or none.

Everything is checked before anything is written, so a transaction that may not be stored has no effect on the others
of its round. Knows nothing of who asked.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from eventlog.backend.topics import StoredTopic
from eventlog.errors import TransactionEnded
from eventlog.store.records.append import Condition, Part, check_parts, judge
from eventlog.store.records.write_transaction import CommitRequest, WriteTransaction


class Piece(Protocol):
    """A part of a transaction: offsets, the rows of a state, the checkpoint of a projection."""

    def check(self, writing: WriteTransaction) -> None:
        """Raises what speaks against it; writes nothing."""
        ...

    def write(self, writing: WriteTransaction) -> None:
        """Writes it; raises nothing that `check` could have raised."""
        ...


class CommitTransaction(CommitRequest):
    """
    Stores the records of a transaction and its other pieces.

    `newer` has the topics that have more partitions than the transaction knew of. If records of theirs were placed by
    that number, nothing is stored.
    """

    __slots__ = ("_conditions", "_is_withdrawn", "_now_ms", "_parts", "_pieces", "_placed", "is_refused", "newer")
    rings = True

    def __init__(
        self,
        parts: Sequence[Part],
        conditions: Sequence[Condition],
        pieces: Sequence[Piece],
        now_ms: int,
        *,
        placed_topics: frozenset[int],
    ) -> None:
        super().__init__()
        self._parts = parts
        self._conditions = conditions
        self._pieces = pieces
        self._now_ms = now_ms
        self._placed = placed_topics
        self.newer: list[StoredTopic] = []
        self.is_refused = False
        self._is_withdrawn = False

    @property
    def subjects(self) -> Collection[int]:
        """The topics of its records."""
        return {part.topic.id for part in self._parts}

    def withdraw(self) -> None:
        """
        Says that nobody waits for it any more.

        Work of an interrupted caller stays in the queue. Whoever looks afterwards whether it was stored, and does it
        again if not, must not find it stored later: by then it may only be in a round that has begun.
        """
        self._is_withdrawn = True

    def apply(self, writing: WriteTransaction) -> None:
        """Checks all, then writes all."""
        if self._is_withdrawn:
            raise TransactionEnded("the transaction was interrupted. Nothing of it was stored. Begin another.")
        self.newer = []
        for part in self._parts:
            newer = check_parts(writing, [part])
            if newer is not None:
                self.newer.append(newer)
        self.is_refused = any(topic.id in self._placed for topic in self.newer)
        if self.is_refused:
            return
        if self._conditions:
            judge(writing, self._conditions, self._now_ms)
        for piece in self._pieces:
            piece.check(writing)
        for part in self._parts:
            part.write(writing, self._now_ms)
        for piece in self._pieces:
            piece.write(writing)
