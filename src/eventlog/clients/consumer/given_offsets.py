"""
A consumer's part in a transaction: the offsets that it gives, and where it reads on afterwards.

    stored        the group stands behind these records
    not stored    the next poll goes back to where the group stands, and they come again

It goes back at the next poll and not at once, because the program may have the records in hand still and store them by
another attempt (`EventLog.transact`): then there is nothing to go back to.

Decision record: docs/decisions/0032-work-that-fails.md.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING

from eventlog.backend.groups import OffsetCommit
from eventlog.clients.consumer.positions import Position
from eventlog.errors import ConflictError, EventLogError, MemberFenced
from eventlog.records import TopicPartition

if TYPE_CHECKING:
    from eventlog.api.transaction import Transaction
    from eventlog.clients.consumer.core import ConsumerCore


class GivenOffsets:
    """
    Offsets that a consumer has given to a transaction, with the commit that stores them.

    Belongs to the consumer's thread. Of a transaction that was begun with the consumer it commits all that was handed
    out, as it is when the transaction commits, unless offsets are named before.
    """

    __slots__ = ("__weakref__", "_core", "_is_chosen", "_offsets", "_seen", "_transaction", "commit", "is_due")

    def __init__(self, core: ConsumerCore, transaction: Transaction | None = None) -> None:
        self._core = core
        self._transaction = None if transaction is None else weakref.ref(transaction)
        self._is_chosen = False
        self._offsets: Mapping[TopicPartition, int] | None = None
        self._seen: dict[Position, int] = {}
        self.commit: OffsetCommit | None = None
        self.is_due = True
        """Whether the offsets are still to be asked for, which the commit does."""

    def take(self, offsets: Mapping[TopicPartition, int], commit: OffsetCommit | None, *, is_chosen: bool) -> None:
        """Note offsets, which replace earlier ones; `is_chosen` says that the program named them."""
        self._offsets, self.commit, self._is_chosen, self.is_due = offsets, commit, is_chosen, False

    @property
    def is_open(self) -> bool:
        """Whether the transaction that was begun with the consumer has not ended; an interruption may hide its end."""
        transaction = None if self._transaction is None else self._transaction()
        return transaction is not None and not transaction.is_ended

    def note_poll(self) -> None:
        """
        Note what was handed out, before a poll inside the transaction gives partitions up.

        Their records are in the transaction, and come again to the new owner: without their offsets the commit would
        not be refused, and they would have their effect twice.
        """
        for position in self._core.positions.order:
            offset = self._core.positions.next_offset(position)
            if offset != position.settled:
                self._seen[position] = offset

    def lost(self) -> dict[TopicPartition, int]:
        """The offsets in partitions that were given up since; raises if one was taken again."""
        found: dict[TopicPartition, int] = {}
        for position, offset in self._seen.items():
            now = self._core.positions.get(position.tp)
            if now is None:
                found[position.tp] = offset
            elif now is not position:
                raise ConflictError(
                    f"cannot commit the transaction: its consumer gave {position.tp.topic}[{position.tp.partition}] up "
                    "and took it again meanwhile, so records that are in it come again.",
                    stored="Nothing was stored.",
                    advice="Call poll(): it goes back, and the records come again.",
                    topic=position.tp.topic,
                    partition=position.tp.partition,
                )
        return found

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to store: the commit then checks alone that the member is one."""
        return not self._offsets

    @property
    def is_repeated(self) -> bool:
        """Whether all that was handed out is committed already, by another transaction since the last poll."""
        return self.is_empty and not self._is_chosen and self._core.is_spent

    def settle(self) -> None:
        """Note that they are stored."""
        for tp, offset in (self._offsets or {}).items():
            self._core.positions.settle(tp, offset)
        if self._offsets and not self._is_chosen:
            self._core.is_spent = True
        self._core.let_go(self)

    def fail(self) -> None:
        """
        Note that they are not stored; changes positions only, and waits for nobody.

        All that was handed out comes again, in the partitions that were not named, too: a program that leaves its loop
        with an error has not looked at the rest.
        """
        core = self._core
        core.let_go(self)
        core.note_unstored({**core.positions.all_handed(), **(self._offsets or {})})

    def invalidate(self, error: EventLogError) -> None:
        """Note that they were refused, maybe because others own the partitions by now."""
        membership = self._core.membership
        if membership is not None:
            if isinstance(error, MemberFenced):
                membership.explain(error)
            membership.invalidate()
