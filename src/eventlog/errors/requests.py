"""Errors of requests and their replies."""

from __future__ import annotations

from typing import Any, Unpack

from eventlog.errors.base import ErrorParts, EventLogError
from eventlog.records import Record


class NoResponders(EventLogError):
    """
    Raised for a request that nobody is there to answer: no group that reads the topic has a live member.

    Nothing was stored.
    """

    retriable = True


class RequestTimeout(EventLogError, TimeoutError):
    """
    Raised when a request was not answered in time, or not by everybody.

    The request is stored at `partition` and `offset`. `replies` are those that came.
    """

    retriable = True

    def __init__(self, what: str, *, replies: tuple[Record[Any, Any], ...] = (), **parts: Unpack[ErrorParts]) -> None:
        super().__init__(what, **parts)
        self.replies = replies


class RemoteError(EventLogError):
    """
    Raised when the function that was to answer a request raised an exception.

    `type` is the name of its class, `message` its text, and `traceback` where it was raised, "" if that is not known:
    texts, of which nothing is run here. `replies` are those that came before.
    """

    def __init__(
        self,
        what: str,
        *,
        type: str,  # noqa: A002 - the word of the field
        message: str,
        traceback: str = "",
        replies: tuple[Record[Any, Any], ...] = (),
        **parts: Unpack[ErrorParts],
    ) -> None:
        super().__init__(what, **parts)
        self.type = type
        self.message = message
        self.traceback = traceback
        self.replies = replies


class ReplyTooLarge(RemoteError):
    """Raised when a reply has more bytes than the topic for replies takes; nothing that was done for it is stored."""
