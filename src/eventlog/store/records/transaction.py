"""
What a transaction stores: records of any topics, offsets of groups, rows of states, all in one commit or none.

Everything is checked before anything is written, so a transaction that may not be stored has no effect on the others
of its round.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from eventlog.backend.records import AppendReply, TransactionRequest
from eventlog.errors import TransactionEnded
from eventlog.store.records.append import NOTHING_STORED, check_parts, judge, replies_to, write_part
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.write_transaction import WriteTransaction

_new = tuple.__new__
"""A named tuple without its constructor, which takes three times as long."""


class Piece(Protocol):
    """A part of a transaction beside its records: offsets, changes of a state, the checkpoint of a projection."""

    def check(self, writing: WriteTransaction) -> None:
        """Raise what speaks against it; write nothing."""
        ...

    def write(self, writing: WriteTransaction) -> None:
        """Write it; raise nothing that `check` could have raised."""
        ...


class CommitTransaction(CommitRequest):
    """The records of a transaction and its other pieces, stored in one commit."""

    __slots__ = ("_is_withdrawn", "_now_ms", "_pieces", "_request", "reply")
    notifies = True

    def __init__(self, request: TransactionRequest, pieces: Sequence[Piece], now_ms: int) -> None:
        self.is_done = False  # what `CommitRequest.__init__` does, without the call
        self.error = None
        self.wakeups = []
        self._request = request
        self._pieces = pieces
        self._now_ms = now_ms
        self._is_withdrawn = False
        self.reply = NOTHING_STORED

    @property
    def bound_share(self) -> float:  # type: ignore[override]  # asked for where a log has a bound, so not kept
        """That of its pieces where it stores no records: nothing but offsets, maybe."""
        if not self._pieces or self._request.parts:
            return 0.0
        return min(getattr(piece, "bound_share", 0.0) for piece in self._pieces)

    @property
    def subjects(self) -> Collection[int]:
        """The topics of its records, and what its other pieces name."""
        subjects = {part.topic.id for part in self._request.parts}
        for piece in self._pieces:
            if isinstance(piece, CommitRequest):
                subjects.update(piece.subjects)
        return subjects

    def withdraw(self) -> None:
        """
        Have nothing stored any more, because nobody waits for it.

        The request of an interrupted caller stays in the queue. Whoever looks afterwards whether it was stored, and
        does it again if not, must not find it stored later: by then it may only be in a round that has begun.
        """
        self._is_withdrawn = True

    def apply(self, writing: WriteTransaction) -> None:
        """Check all, then write all."""
        if self._is_withdrawn:
            raise TransactionEnded(
                "the transaction was interrupted.",
                stored="Nothing of it was stored.",
                advice="Begin another.",
            )
        now_ms = self._now_ms
        parts, conditions, _, placed_topics = self._request  # a field of a named tuple is found slowly
        newer = check_parts(writing, parts)
        if newer and any(topic.id in placed_topics for topic in newer):
            self.reply = AppendReply(None, newer)
            return
        stored = replies_to(parts)
        if conditions:
            judge(writing, parts, stored, conditions, now_ms)
        for piece in self._pieces:
            piece.check(writing)
        for part, reply in zip(parts, stored, strict=True):
            write_part(writing, part, reply, now_ms)
        for piece in self._pieces:
            piece.write(writing)
        self.reply = _new(AppendReply, (stored, newer))
