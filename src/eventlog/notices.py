"""
What the library says in Python's log: one line for each event that matters, with its fields.

A line is written when something happens, never because time passes. `logging` is imported with the first warning: as
long as a program has not imported it, nobody can see what is less than that, and it is not written. The reference has
the table, docs/reference/log-lines.md, and a test compares the two.

Call `tell` outside of transactions and of the turn to commit: a handler may take its time, or use the log itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from eventlog.records import TopicPartition

_INFO: Final = 20
_WARNING: Final = 30
_ERROR: Final = 40
_SHOWN_COUNT = 20


class Notice:
    """
    One kind of line: the name of its event, its logger and level, its text, and the fields it has beside those of that.

    The text is a %-format with the names of its fields. The class is written out, since this module is often loaded
    while a consumer joins: making an attrs class or a named tuple takes longer than all else here.
    """

    __slots__ = ("event", "level", "logger", "others", "text")

    def __init__(self, event: str, logger: str, level: int, text: str, others: tuple[str, ...] = ()) -> None:
        self.event: Final = event
        self.logger: Final = logger
        self.level: Final = level
        self.text: Final = text
        self.others: Final = others


OPENED = Notice(
    "opened", "eventlog.log", _INFO, "opened the log at %(path)s: durability %(durability)s, format %(format)s"
)
UPGRADED = Notice(
    "upgraded", "eventlog.log", _INFO, "upgraded the log at %(path)s from format %(old_format)s to %(format)s"
)
LEFTOVER_REMOVED = Notice(
    "leftover removed", "eventlog.log", _INFO, "removed %(path)s, the log in memory of a process that was killed"
)
DISK_ERROR = Notice(
    "disk error", "eventlog.disk", _ERROR, "%(error)s The log at %(path)s refuses writes until it is opened again."
)
DISK_FULL = Notice("disk full", "eventlog.disk", _WARNING, "%(error)s", ("path",))
SLOW_COMMIT = Notice("slow commit", "eventlog.disk", _WARNING, "a commit to %(path)s took %(seconds).3g s")

CLEANING_FAILED = Notice(
    "cleaning failed",
    "eventlog.cleaner",
    _WARNING,
    "The %(work)s of topic %(topic)r fails, and what it would change stays as it is: %(error)s",
)

CALLBACK_FAILED = Notice(
    "callback failed",
    "eventlog.producer",
    _ERROR,
    "the callback %(callback)r of %(delivery)r failed; the delivery itself stands",
)
NOT_STORED = Notice(
    "not stored",
    "eventlog.producer",
    _ERROR,
    "a producer was not closed, and not everything that it was given could be stored",
)

JOINED = Notice("joined", "eventlog.group", _INFO, "member %(member)s joined group %(group)r")
LEFT = Notice("left", "eventlog.group", _INFO, "member %(member)s left group %(group)r")
ASSIGNED = Notice(
    "assigned",
    "eventlog.group",
    _INFO,
    "member %(member)s of group %(group)r was assigned partitions (%(count)d): %(partitions)s",
)
REVOKED = Notice(
    "revoked",
    "eventlog.group",
    _INFO,
    "member %(member)s of group %(group)r gave up partitions (%(count)d): %(partitions)s",
)
LOST = Notice(
    "lost", "eventlog.group", _WARNING, "a member of group %(group)r lost partitions (%(count)d): %(partitions)s"
)
FENCED = Notice(
    "fenced", "eventlog.group", _WARNING, "%(error)s What was read since its last commit comes again.", ("group",)
)
REMOVED = Notice(
    "removed", "eventlog.group", _WARNING, "removed dead members of group %(group)r (%(count)d): %(members)s"
)
SILENT = Notice(
    "silent",
    "eventlog.group",
    _WARNING,
    "A consumer of group %(group)r lost its partitions: it called poll() after %(seconds).3g s, and max_poll_interval "
    "is %(max_poll_interval)g s. What it worked on comes again. Raise max_poll_interval=, or take fewer records with "
    "max_poll_records=.",
)

OUT_OF_RANGE = Notice(
    "out of range",
    "eventlog.consumer",
    _WARNING,
    "%(error)s A consumer goes on at offset %(offset)d (on_out_of_range=%(on_out_of_range)r).",
    ("topic", "partition"),
)
TOPIC_DELETED = Notice(
    "topic deleted",
    "eventlog.consumer",
    _WARNING,
    "%(what)s of a consumer %(verb)s deleted; it goes on with the others, and reads a new topic of that name",
    ("topics",),
)

RETRY = Notice(
    "retry",
    "eventlog.processor",
    _WARNING,
    "%(topic)s[%(partition)d] at offset %(offset)d failed for group %(group)r, attempt %(attempt)d of %(attempts)d, "
    "and is tried again in %(pause).3g s: %(error)s",
)
DEAD_LETTER = Notice(
    "dead letter",
    "eventlog.processor",
    _ERROR,
    "%(topic)s[%(partition)d] at offset %(offset)d was given to on_failure of group %(group)r after %(attempts)d "
    "attempts: %(error)s",
)
JOB_FAILED = Notice(
    "job failed",
    "eventlog.queue",
    _WARNING,
    "job %(job)s of queue %(group)r failed, attempt %(attempt)d of %(attempts)d, and is handed out again in "
    "%(pause).3g s",
)
JOB_REJECTED = Notice(
    "job rejected",
    "eventlog.queue",
    _ERROR,
    "job %(job)s of queue %(group)r failed %(attempts)d times, and becomes a dead letter",
)
LEASE_LOST = Notice("lease lost", "eventlog.queue", _WARNING, "%(error)s", ("group",))
SENDING_FAILED = Notice(
    "sending failed",
    "eventlog.schedules",
    _WARNING,
    "Scheduled records that are due at %(path)s stay where they are, and are tried again: %(error)s",
)
SLOW_WORK = Notice(
    "slow work",
    "eventlog.processor",
    _WARNING,
    "The processor of group %(group)r takes %(seconds).2f s for %(count)d records; max_records=%(max_records)d of them "
    "would come near to max_poll_interval=%(max_poll_interval)s s, after which others take its partitions. Its "
    "transactions hold fewer records from now on. Raise max_poll_interval=, or lower max_records=.",
)

DIED_FOLDING = Notice(
    "died folding",
    "eventlog.projection",
    _WARNING,
    "The process that folded projection %(projection)r last ended in %(which)s log position %(log_position)d: offset "
    "%(offset)d of %(topic)s[%(partition)d]. The records from there on are folded in small transactions.",
)
RECORDS_GONE = Notice(
    "records gone",
    "eventlog.projection",
    _WARNING,
    "%(error)s It goes on without them (on_out_of_range=%(on_out_of_range)r).",
    ("projection", "topic", "partition"),
)
REBUILT = Notice("rebuilt", "eventlog.projection", _INFO, "rebuilt projection %(projection)r from %(count)d records")

LISTENING = Notice("listening", "eventlog.kafka", _INFO, "Kafka clients reach the log at %(path)s by %(address)s")
LISTENING_ENDED = Notice(
    "listening ended", "eventlog.kafka", _INFO, "the listener of the log at %(path)s at %(address)s has ended"
)
CONNECTION_REFUSED = Notice(
    "connection refused", "eventlog.kafka", _WARNING, "the connection of %(peer)s was closed: %(reason)s"
)
REQUEST_FAILED = Notice("request failed", "eventlog.kafka", _ERROR, "a request of a Kafka client failed: %(error)s")


def tell(notice: Notice, /, *, exc_info: bool | BaseException = False, **fields: Any) -> None:
    """
    Write a line, if anybody can see it.

    Args:
        exc_info: adds the traceback of the error that is being handled, or of this one.
        fields: those of the notice; they are attributes of the `LogRecord`, and so is `event`.
    """
    if notice.level < _WARNING and "logging" not in sys.modules:
        return
    import logging

    logger = logging.getLogger(notice.logger)
    if logger.isEnabledFor(notice.level):
        logger.log(
            notice.level, notice.text, fields, exc_info=exc_info, extra={"event": notice.event, **fields}, stacklevel=2
        )


def prepare() -> None:
    """Import now what the first warning would."""
    import_module("logging")


class Names(list[str]):
    """A list that reads as words in the text of a line, of which the first twenty are shown."""

    def __str__(self) -> str:
        return ", ".join(self)


def named(names: Iterable[str]) -> dict[str, Any]:
    """The fields of some members: how many, and the ids of the first twenty."""
    found = sorted(names)
    return {"count": len(found), "members": Names(found[:_SHOWN_COUNT])}


def placed(partitions: Iterable[TopicPartition]) -> dict[str, Any]:
    """The fields of some partitions: how many, and the names of the first twenty."""
    found = sorted(partitions)
    return {"count": len(found), "partitions": Names(f"{tp.topic}[{tp.partition}]" for tp in found[:_SHOWN_COUNT])}
