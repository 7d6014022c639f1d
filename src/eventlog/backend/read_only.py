"""
A log that was opened for reading: what is asked for goes through to the store, and what would write is refused.

`ReadOnlyBackend` stands before a store that may be open for writing, too: a process opens each directory once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, cast

from eventlog.errors import ReadOnlyLog

if TYPE_CHECKING:
    from eventlog.backend import Backend
    from eventlog.backend.deferred import DeferringBackend
    from eventlog.backend.maintenance import RedactReport
    from eventlog.backend.queues import QueueBackend
    from eventlog.backend.schedules import ScheduleBackend
    from eventlog.backend.topics import StoredTopic

READS = frozenset(
    [
        "last_transaction",
        "changed_since",
        "fetch",
        "fetch_and_mark",
        "claim_node",
        "listener_nodes",
        "fetch_stored",
        "kafka_transactions",
        "kafka_transaction",
        "kafka_producers",
        "next_expiry_ms",
        "pending_offsets",
        "arrivals",
        "bounds",
        "bounds_of",
        "offset_of_time",
        "end_log_position",
        "next_log_position",
        "scan_order",
        "topic",
        "require_topic",
        "check_topic",
        "topics",
        "topics_version",
        "index_key_bytes",
        "max_key_bytes",
        "committed",
        "committed_with_notes",
        "member_view",
        "member_ids",
        "group_snapshot",
        "look_at_members",
        "watch_members",
        "group_names",
        "group_details",
        "read_events",
        "key_version",
        "read_keys",
        "key_snapshot",
        "state",
        "states",
        "check_state",
        "read_state_row",
        "read_state_rows",
        "scan_state",
        "check_state_changes",
        "projection",
        "projection_and_end",
        "projections",
        "projection_and_state",
        "waiter",
        "verify",
        "stats",
        "compact",
        "backup",
        "path",
        "durability",
        "clock",
        "uuid",
        "is_closed",
        "is_committing",
        "is_interrupted",
        "is_interrupted_commit",
        "hold",
        "release",
        "abandon",
        "crash",
        "on_fork",
    ]
)
"""What goes through."""

WRITES = {
    "append_record": "append to topic",
    "append": "append",
    "prepare_append": "append",
    "prepare_produce": "append",
    "prepare_transaction": "carry out a transaction",
    "prepare_producer_id": "give an id to a producer",
    "submit": "append",
    "wait": "append",
    "begin_producer": "begin producer",
    "commit_transaction": "commit a transaction",
    "check_writable": "write to it",
    "ensure_topic": "make topic",
    "create_partitions": "add partitions to topic",
    "delete_topic": "delete topic",
    "alter_topic": "alter topic",
    "redact": "redact topic",
    "delete_records": "delete records of topic",
    "commit_offsets": "commit offsets",
    "begin_lease": "join a group",
    "discard_abandoned_leases": "join a group",
    "request_group": "join group",
    "in_group_turn": "join group",
    "reset_offsets": "reset group",
    "delete_group": "delete group",
    "delete_offsets": "delete offsets of group",
    "save_key_snapshot": "save a snapshot of topic",
    "delete_key_snapshot": "delete a snapshot of topic",
    "ensure_state": "make state",
    "delete_state": "delete state",
    "ensure_projection": "make projection",
    "begin_rebuild": "rebuild projection",
    "commit_fold": "fold a projection",
    "sweep_builds": "fold projection",
    "delete_projection": "delete projection",
    "fold_lock": "fold projection",
    "sync": "sync it",
    "clean": "clean it",
    "keep_clean": "clean it",
}
"""What is refused, by what a user would call it; the name of the first argument stands behind it."""


def read_only_error(what: str, path: str | os.PathLike[str]) -> ReadOnlyLog:
    """
    Return the error for a call that would write.

    Args:
        what: what it would do, with a verb.
    """
    return ReadOnlyLog(
        f"cannot {what}: the log at {os.fspath(path)} was opened with read_only=True.",
        stored="Nothing was changed.",
        advice="Open it without read_only=True to write.",
    )


def lacks_tables(path: str, names: Iterable[bytes]) -> ReadOnlyLog:
    """Return the error for a log that whoever opens it for writing would first complete."""
    missing = ", ".join(sorted(name.decode() for name in names))
    return ReadOnlyLog(
        f"cannot open {path} for reading: it has no table {missing} yet.",
        stored="Nothing was changed.",
        advice="Open it once without read_only=True, which makes what is missing.",
    )


class ReadOnlyBackend:
    """A backend that reads; `READS` and `WRITES` have the names of all that it is asked for."""

    is_read_only = True

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        if name in READS:
            return getattr(self._backend, name)
        if name in WRITES:
            return partial(_refuse, self._backend.path, WRITES[name])
        raise AttributeError(name)

    def redact(self, topic: StoredTopic, key: bytes, *, dry_run: bool) -> RedactReport:
        """Count what would be redacted; more is refused."""
        if not dry_run:
            _refuse(self._backend.path, WRITES["redact"], topic)
        return self._backend.redact(topic, key, dry_run=True)

    def queues(self) -> QueueBackend:
        """Return queues that can be looked at; to work for one is refused as well."""
        return cast("QueueBackend", _ReadOnlyQueues(self._backend.queues(), self._backend.path))

    def schedules(self) -> ScheduleBackend:
        """Return schedules that can be looked at; to change or to send them is refused."""
        return cast("ScheduleBackend", _ReadOnlySchedules(self._backend.schedules(), self._backend.path))

    def notice_schedules(self) -> None:
        """Do nothing: others send."""

    def commit_queued(self, timeout: float | None = None) -> bool:  # noqa: ARG002
        """Return True: nothing of ours is queued."""
        return True

    def deferring(self) -> DeferringBackend:
        """Return requests that are refused as well."""
        return cast("DeferringBackend", _Refusing(self._backend.path))


_DEFERRED = {
    "defer_record": "append to topic",
    "defer_append": "append",
    "defer_transaction": "commit a transaction",
    "defer_offsets": "commit offsets",
}


class _Refusing:
    """Requests of a loop; each raises at the call."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name not in _DEFERRED:
            raise AttributeError(name)
        return partial(_refuse, self._path, _DEFERRED[name])


_QUEUE_WRITES = {
    "ensure_queue": "make queue",
    "begin_work": "work for queue",
    "end_work": "work for queue",
    "request_jobs": "take jobs",
    "pause_queue": "pause queue",
    "purge_queue": "purge queue",
    "delete_queue": "delete queue",
    "alter_queue": "alter queue",
    "move_queue": "move queue",
    "forget_topics": "move queue",
}


class _ReadOnlyQueues:
    """The queues of a log that was opened for reading."""

    def __init__(self, queues: QueueBackend, path: str) -> None:
        self._queues = queues
        self._path = path

    def __getattr__(self, name: str) -> Any:
        if name in _QUEUE_WRITES:
            return partial(_refuse, self._path, _QUEUE_WRITES[name])
        return getattr(self._queues, name)


_SCHEDULE_WRITES = {
    "prepare": "schedule a record",
    "add_schedules": "schedule a record",
    "cancel_schedule": "cancel a schedule",
    "move_schedule": "move a schedule",
    "send_due": "send what is due",
    "serving": "send what is due",
}


class _ReadOnlySchedules:
    """The schedules of a log that was opened for reading, which sends none."""

    def __init__(self, schedules: ScheduleBackend, path: str) -> None:
        self._schedules = schedules
        self._path = path

    def notice(self) -> None:
        """Do nothing: others send."""

    def __getattr__(self, name: str) -> Any:
        if name in _SCHEDULE_WRITES:
            return partial(_refuse_schedule, self._path, _SCHEDULE_WRITES[name])
        return getattr(self._schedules, name)


def _refuse_schedule(path: str, what: str, *_: object, **__: object) -> NoReturn:
    raise read_only_error(what, path)


def _refuse(path: str, what: str, subject: object = None, *_: object, **__: object) -> NoReturn:
    name = subject if isinstance(subject, str) else getattr(subject, "name", None)
    raise read_only_error(what if name is None else f"{what} {name!r}", path)
