"""Errors of transactions, of processors, and of the states and projections that they keep."""

from __future__ import annotations

from eventlog.errors.base import EventLogError


class ConflictError(EventLogError):
    """
    Raised when something that a transaction had read was changed before it committed.

    Nothing of it was stored. Run the whole transaction again, from its first read; `log.transact()` does that.
    """

    retriable = True


class TransactionTooLarge(EventLogError):
    """
    Raised when a transaction would hold more than its `max_bytes`.

    The record that did not fit was not taken, and the rest is unchanged: it may be committed or aborted.
    """


class TransactionEnded(EventLogError):
    """
    Raised when a transaction is used after it was committed or aborted.

    The call changed nothing. Begin another with `log.transaction()`.
    """


class ProcessDied(EventLogError):
    """
    Raised for a record that a processor has tried `attempts` times, two at least, and each time the process ended.

    That is a crash in compiled code, `os._exit()`, or the kernel's out-of-memory killer: nothing was raised. A
    processor gives it to `on_failure`, and raises it without one. Nothing of the record is stored.
    """


class StateMismatch(EventLogError):
    """
    Raised when a state is opened with other codecs than it is stored with.

    The message names both; the state is unchanged.
    """


class UnknownState(EventLogError, LookupError):
    """Raised when the log has no state of that name."""


class UnknownProjection(EventLogError, LookupError):
    """Raised when the log has no projection of that name."""
