"""
Opening a log: the one function that users begin with.

A path opens an embedded log. Text with `://` names another backend by its scheme, which is looked up in `BACKENDS`: a
table of strings, so that nothing here imports a backend before it is asked for.
"""

from __future__ import annotations

import os
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from eventlog.api.event_log import EventLog
from eventlog.clock import SystemClock
from eventlog.log.event_log import EmbeddedLog
from eventlog.named_tuples import NamedTuple
from eventlog.options import LEAST_LOG_BYTES, MOST_LOG_BYTES, Durability, check_bool, check_int, check_path
from eventlog.store.lmdb.opening import LEAST_MAP_BYTES
from eventlog.store.registry import abandon, open_store

if TYPE_CHECKING:
    from eventlog.backend import Backend


class Opener(NamedTuple):
    """
    The function that opens the logs of a scheme, as `module:function`, and the extra that installs what it needs.

    It is called with the text that the user passed, and with those options of `eventlog.open` that differ from their
    defaults, by keyword. It refuses what it cannot honour, and returns an `EventLog`.
    """

    function: str
    extra: str


BACKENDS: dict[str, Opener] = {}
"""The backends beside the embedded one, by scheme. None is shipped yet."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_DURABILITY: Durability = "commit"
_MODE = 0o600


_DEFAULTS = {
    "durability": _DURABILITY,
    "mode": _MODE,
    "create": True,
    "map_size": None,
    "max_bytes": None,
    "cleaner": True,
    "schedules": True,
    "upgrade": False,
    "read_only": False,
}
"""The options of a log elsewhere that need not be passed on."""


def open(
    path: str | os.PathLike[str],
    *,
    durability: Durability = "commit",
    mode: int = 0o600,
    create: bool = True,
    map_size: int | None = None,
    max_bytes: int | None = None,
    cleaner: bool = True,
    schedules: bool = True,
    upgrade: bool = False,
    read_only: bool = False,
) -> EventLog:
    """
    Open the log in a directory, and make both when they are not there.

    Args:
        path: the directory, or ":memory:" for a private log that is gone when it is closed. Text with `://` opens a
            log of another backend, and is never taken for a directory.
        durability: what an acknowledged record survives. "commit" (default): the process, the system and the
            power. "ordered": the process; a crash of the system or a power cut may take the last commit, and the
            log is sound. A log in memory survives nothing.
        mode: permissions of the files of a new log (default 0o600), whatever the umask; directories get the matching
            right to search. A log that exists keeps its own.
        create: False refuses to make a new log.
        map_size: bytes of address space to begin with (default 1 TiB, or less if the process has little left); the
            disk is used as needed. A log that outgrows it doubles it, which stops everything in all processes for a
            moment.
        max_bytes: bytes beyond which no append of this process makes the data file grow (default: no bound, at least
            1 MiB). Before that, what the retention of topics no longer keeps is deleted; then appends raise `LogFull`.
            A part is kept for deletions and for groups: an eighth, at most 16 MiB.
        cleaner: False keeps this log from deleting in the background what its topics no longer keep; another process
            does, or `EventLog.clean()`.
        schedules: False leaves it to others to send what was scheduled, until this process schedules something itself.
            Open a copy of a log so, in which nothing is to be sent.
        upgrade: True makes a log of an earlier format one of today's, as `upgrade()` does. False opens what an earlier
            eventlog wrote as it is, and reads and writes it in its own format where that is possible.
        read_only: True changes nothing in the directory, and needs no right to write there; whatever would write raises
            `ReadOnlyLog`. Others may write meanwhile. No log is made, whatever `create` says.

    Raises:
        NotALog: if the path holds something else. It was left as it was.
        FormatTooNew: if a newer eventlog wrote it. It was left as it was.
        FormatTooOld: if it has to be upgraded first. It was left as it was.
        LogInUse: if it is to be upgraded, and a program has it open.
        ReadOnlyLog, UnsupportedFileSystem, UnsupportedSharing, StorageError: for what their names say.
        TypeError: for a path that is neither text nor an `os.PathLike` of text, or an option of another type.
        ValueError: for a path that is empty or not valid in UTF-8, for an option out of its bounds, when this process
            has the log open with another durability or another `max_bytes`, or for a scheme that no backend has.
        ImportError: if the backend of a scheme is not installed; the message says how to install it.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     log.topic("orders").append(b"tea").offset
        0
    """
    if durability not in ("commit", "ordered"):
        raise ValueError(f'durability is "commit" or "ordered", not {durability!r}. Nothing was opened.')
    url = check_path("open", path)
    for name, value in (
        ("create", create),
        ("cleaner", cleaner),
        ("schedules", schedules),
        ("upgrade", upgrade),
        ("read_only", read_only),
    ):
        if value is not True and value is not False:  # opening is counted: no call for what is right
            check_bool(name, value)
    if read_only:
        _check_reading(url, upgrade=upgrade)
    check_int("mode", mode, least=0o200, most=0o777)
    if map_size is not None:
        check_int("map_size", map_size, least=LEAST_MAP_BYTES)
    if max_bytes is not None:
        check_int("max_bytes", max_bytes, least=LEAST_LOG_BYTES, most=MOST_LOG_BYTES)
    if "://" in url:
        options = {
            "durability": durability,
            "mode": mode,
            "create": create,
            "map_size": map_size,
            "max_bytes": max_bytes,
            "cleaner": cleaner,
            "schedules": schedules,
            "upgrade": upgrade,
            "read_only": read_only,
        }
        return _open_url(url, {name: value for name, value in options.items() if value != _DEFAULTS[name]})
    user = object()
    try:
        store = open_store(
            url,
            durability=durability,
            mode=mode,
            create=create,
            map_bytes=map_size,
            clock=SystemClock(),
            user=user,
            upgrade=upgrade,
            is_read_only=read_only,
            max_bytes=max_bytes,
        )
        if schedules and not read_only:
            store.send_schedules()
        return EmbeddedLog(_reading(store) if read_only else store, user, cleans=cleaner and not read_only)
    except BaseException:  # an interruption, maybe, after the store was opened
        abandon(user)
        raise


def upgrade(path: str | os.PathLike[str], *, keep_copy: str | os.PathLike[str] | None = None) -> int:
    """
    Make a log of an earlier format one of today's, and return the format that it had.

    It happens in one transaction, whose length depends on the number of rows that are no batches: a process that is
    killed meanwhile leaves the log as it was. A log of today's format is left alone. There is no way back: an earlier
    eventlog then says `FormatTooNew`.

    Args:
        path: the directory of the log, which no program may have open.
        keep_copy: a directory to be made, for a copy of the log in the format that it has. None keeps none.

    Raises:
        NotALog: if there is no log. Nothing was made.
        FormatTooNew: if a newer eventlog wrote it. It was left as it was.
        LogInUse: if a program has it open. Nothing was changed.
        CorruptBatch: if verification finds damage, which checksums would hide. Nothing was changed.
        ValueError: if `keep_copy` exists and is not empty. Nothing was changed.
        StorageError: for what its name says. Nothing was changed.

    Example:
        >>> with eventlog.open("shop") as log:
        ...     topic = log.topic("orders")
        >>> eventlog.upgrade("shop")
        4
    """
    user = object()
    try:
        store = open_store(
            check_path("upgrade", path),
            durability=_DURABILITY,
            mode=_MODE,
            create=False,
            map_bytes=None,
            clock=SystemClock(),
            user=user,
            upgrade=True,
            keep_copy=None if keep_copy is None else check_path("upgrade", keep_copy),
        )
        store.release(user)
        return store.old_format or store.format.version
    except BaseException:
        abandon(user)
        raise


def _check_reading(path: str, *, upgrade: bool) -> None:
    if upgrade:
        raise ValueError(
            "read_only=True and upgrade=True exclude each other: an upgrade writes. Nothing was opened. Leave one out."
        )
    if path == ":memory:":
        raise ValueError(
            "a log in memory is new and empty, so there is nothing to read with read_only=True. Nothing was opened. "
            "Leave it out."
        )


def _reading(store: Backend) -> Backend:
    """A store before which what would write is refused."""
    from eventlog.backend.read_only import ReadOnlyBackend

    made = vars(store).setdefault("the reading face", ReadOnlyBackend(store))  # one, so that its topics are of one log
    return cast("Backend", made)


def _open_url(url: str, options: dict[str, Any]) -> EventLog:
    """The log of another backend."""
    found = _SCHEME.match(url)
    opener = None if found is None else BACKENDS.get(found[1].lower())
    if opener is None:
        known = ", ".join(f"{scheme}://" for scheme in sorted(BACKENDS)) or "none"
        raise ValueError(
            f"cannot open {url!r}: no backend has this scheme. Nothing was made. Known schemes: {known}. "
            "For a log in a directory, pass a path without '://'."
        )
    module, _, function = opener.function.partition(":")
    try:
        open_log = getattr(import_module(module), function)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"cannot open {url!r}: its backend needs the module {error.name!r}, which is not installed. Nothing was "
            f'made. Install it: pip install "eventlog[{opener.extra}]".'
        ) from error
    log: EventLog = open_log(url, **options)
    return log
