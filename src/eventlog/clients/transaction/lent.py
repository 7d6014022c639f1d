"""The transaction that a processor lends to its function."""

from __future__ import annotations

from abc import abstractmethod

from eventlog.api.transaction import Transaction


class LentTransaction(Transaction):
    """A transaction that a function fills but must not end: its offsets are not in it yet."""

    __slots__ = ()

    @abstractmethod
    def commit_as_owner(self) -> None:
        """Commit, as the processor does."""


def refused_commit() -> ValueError:
    """The error for a function that commits what it was lent."""
    return ValueError(
        "cannot commit: the processor commits this transaction, with the offsets of its records. Nothing was "
        "stored. Return from the function, or raise to have nothing stored."
    )
