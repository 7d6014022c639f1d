"""
Bugs that the judge must find, each planted into a worker.

Knows nothing of how they are found.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

import lmdb

import eventlog
from eventlog.clients.producer.producer import EmbeddedProducer
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.errors import EventLogError
from eventlog.store.lmdb.environment import Environment
from eventlog.store.lmdb.opening import Opener


def plant(name: str) -> None:
    """Plants a bug for the rest of this process; an empty name plants none."""
    if name:
        BUGS[name]()


def _goes_on_writing() -> None:
    """A failed write is raised, and the next one is taken."""
    fail = Environment.fail

    def lenient(self: Environment, error: lmdb.Error) -> EventLogError:
        failure = fail(self, error)
        self._failure = None
        return failure

    Environment.fail = lenient  # type: ignore[method-assign]


def _acknowledges_what_failed() -> None:
    """A commit that failed is a commit to those who wait for it."""
    commit = Environment.commit

    def deaf(self: Environment, transaction: Any) -> None:
        try:
            commit(self, transaction)
        except EventLogError:
            self.abort(transaction)
            self.has_committed = True

    Environment.commit = deaf  # type: ignore[method-assign]


def _raises_what_the_engine_raises() -> None:
    """An error of LMDB comes out as it is."""

    def untranslated(self: Opener, error: Any, verb: str) -> EventLogError:
        raise error

    Opener.translate = untranslated  # type: ignore[method-assign]


def _says_nothing_to_do() -> None:
    """A message without advice."""

    def terse(self: Opener, error: Any, verb: str) -> EventLogError:
        return eventlog.DiskFull(f"{verb}: {error}. Nothing was stored.")

    Opener.translate = terse  # type: ignore[method-assign]


def _stops_reading() -> None:
    """After a failed write of the root page nobody reads any more."""

    def no_mending(self: Environment, error: Any) -> None:
        raise self.read_error(error)

    Environment._recover = no_mending  # type: ignore[method-assign]


def _flushes_in_silence() -> None:
    """A producer that says nothing of what it could not store."""
    flush = EmbeddedProducer.flush

    def silent(self: EmbeddedProducer, *arguments: Any, **options: Any) -> None:
        with contextlib.suppress(eventlog.DeliveryError):
            flush(self, *arguments, **options)

    EmbeddedProducer.flush = silent  # type: ignore[method-assign]


def _stores_columns_in_two_commits() -> None:
    """Half of the columns are stored when the second commit fails."""
    append_many = EmbeddedTopic.append_many

    def halved(self: Any, values: Any, *, keys: Any, partition: int) -> Any:
        middle = len(values) // 2
        parts = [slice(0, middle), slice(middle, None)]
        found = [append_many(self, values[part], keys=keys[part], partition=partition) for part in parts]
        return [one for ranges in found for one in ranges]

    EmbeddedTopic.append_many = halved  # type: ignore[assignment]


def _leaves_a_file_open() -> None:
    """Each log that is closed leaves its own files open."""
    close = Environment._close_files

    def forgetful(self: Environment, handle: Any) -> None:
        if self._write_lock is not None:
            os.dup(self._write_lock.descriptor)
        close(self, handle)

    Environment._close_files = forgetful  # type: ignore[method-assign]


BUGS = {
    "goes on writing": _goes_on_writing,
    "acknowledges what failed": _acknowledges_what_failed,
    "raises what the engine raises": _raises_what_the_engine_raises,
    "says nothing to do": _says_nothing_to_do,
    "stops reading": _stops_reading,
    "flushes in silence": _flushes_in_silence,
    "stores columns in two commits": _stores_columns_in_two_commits,
    "leaves a file open": _leaves_a_file_open,
}
