"""The transaction that a processor lends to its function."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from eventlog.api.transaction import Transaction

if TYPE_CHECKING:  # a type alone
    from eventlog.clients.state.state import State


class LentTransaction(Transaction):
    """A transaction that a function fills but must not end: its offsets are not in it yet."""

    __slots__ = ()

    @abstractmethod
    def commit_as_owner(self) -> None:
        """Commit, as the processor does."""

    @abstractmethod
    def tries(self, group: str) -> State[tuple[Any, ...], Any] | None:
        """The table of the tries of a group's records, for `StoredTries`; None where there are no states."""

    @abstractmethod
    def answers(self, group: str) -> State[tuple[Any, ...], Any] | None:
        """The table of what a group's responders have answered; None where there are no states."""


def refused_commit() -> ValueError:
    """The error for a function that commits what it was lent."""
    return ValueError(
        "cannot commit: the processor commits this transaction, with the offsets of its records. Nothing was "
        "stored. Return from the function, or raise to have nothing stored."
    )
