"""
What the responders of a group have answered to requests with a message id, so that each is done once.

A row is stored in the commit of the reply. A request that is sent again, because its requester was killed or waited no
longer, gets the same reply. The rows:

    ("answer", topic, message id)           the checksum of the request's value or nil, the reply's value
    ("due", ms, topic, message id)          0; the time is that from which on the answer is forgotten

Each new answer deletes two that are due, so there are never many more than were stored in the time that they are kept.
"""

from __future__ import annotations

from typing import Any

from eventlog.clients.requests.headers import RequestHeaders
from eventlog.clients.transaction.lent import LentTransaction
from eventlog.errors import MessageIdReused
from eventlog.named_tuples import NamedTuple
from eventlog.records import Record

_MOST_FORGOTTEN = 2


class Answer(NamedTuple):
    """The value of a reply, in bytes."""

    value: bytes | None


class Answers:
    """
    The answers of one group.

    Belongs to the responder's thread.

    Args:
        kept_ms: how long an answer is kept.
    """

    def __init__(self, group: str, kept_ms: int) -> None:
        self._group = group
        self._kept_ms = kept_ms

    def find(self, tx: LentTransaction, record: Record[Any, Any], request: RequestHeaders) -> Answer | None:
        """
        The answer that was given to a request of this id.

        Raises:
            MessageIdReused: it was given to a request of another value.
        """
        rows = tx.answers(self._group)
        row = None if rows is None else rows.get(("answer", record.topic, request.message_id))
        if row is None:
            return None
        checksum, answer = row
        if None not in (checksum, request.checksum) and checksum != request.checksum:
            raise MessageIdReused(
                f"the request at offset {record.offset} of {record.topic}[{record.partition}] has the message id "
                f"{request.message_id!r} of a request with another value, which was answered.",
                stored="Nothing was done.",
                advice="Give every other request its own.",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                group=self._group,
            )
        return Answer(answer)

    def keep(
        self, tx: LentTransaction, record: Record[Any, Any], request: RequestHeaders, answer: bytes | None, now_ms: int
    ) -> None:
        """Keep an answer, and forget some that are due."""
        rows = tx.answers(self._group)
        if rows is None:
            return
        for key in list(rows.keys(("due",), ("due", now_ms), max_rows=_MOST_FORGOTTEN)):
            rows.delete(key)
            rows.delete(("answer", *key[2:]))
        rows.put(("answer", record.topic, request.message_id), [request.checksum, answer])
        rows.put(("due", now_ms + self._kept_ms, record.topic, request.message_id), 0)
