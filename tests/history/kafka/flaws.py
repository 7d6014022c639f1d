"""
Listeners and native programs with a bug on purpose, so that the checker has something to find.

Each changes functions of the library in its own process. Knows nothing of how it is found; `RULES` says which rules
should.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from eventlog.store.kafka import ending, fetching, produce, producers
from eventlog.store.records import visibility
from eventlog.store.rows.kafka_transactions import COMPLETE_ABORT, ONGOING
from tests.history.kafka.natives import work_natively
from tests.history.kafka.stage import NATIVE, SERVER, serve


def show_aborted(path: Path, pipe: int, port: int, seed: str) -> None:
    """Writes the end of an aborted transaction as that of a committed one; its offsets are not stored."""
    end = ending.end

    def flawed(writing: Any, row: Any, *, is_commit: bool, now_ms: int) -> Any:
        if is_commit:
            return end(writing, row, is_commit=True, now_ms=now_ms)
        ended, subjects = end(writing, attrs.evolve(row, groups={}), is_commit=True, now_ms=now_ms)
        return attrs.evolve(ended, state=COMPLETE_ABORT), subjects

    ending.end = flawed
    serve(path, pipe, port, seed)


def store_aborted_offsets(path: Path, pipe: int, port: int, seed: str) -> None:
    """Stores the offsets of a transaction that is aborted."""
    end = ending.end

    def flawed(writing: Any, row: Any, *, is_commit: bool, now_ms: int) -> Any:
        if not is_commit:
            ending._store_offsets(writing, row, now_ms)
        return end(writing, row, is_commit=is_commit, now_ms=now_ms)

    ending.end = flawed
    serve(path, pipe, port, seed)


def end_one_too_high(path: Path, pipe: int, port: int, seed: str) -> None:
    """Has the last stable offset one too high: the first record of an open transaction is handed out."""
    first_opens = fetching.first_opens

    def flawed(*arguments: Any) -> Any:
        return {place: first + 1 for place, first in first_opens(*arguments).items()}

    fetching.first_opens = flawed
    serve(path, pipe, port, seed)


def fence_nobody(path: Path, pipe: int, port: int, seed: str) -> None:
    """Takes what a producer of an epoch sends that is over, and lets it end what is open."""
    admit, apply = producers.admit, ending.EndTransactionRequest.apply

    def admit_all(
        writing: Any, transactional_id: Any, producer_id: int, epoch: int, *more: Any, **options: Any
    ) -> None:
        row = producers.load(writing, transactional_id)
        admit(writing, transactional_id, producer_id, epoch if row is None else row.epoch, *more, **options)

    def end_all(request: Any, writing: Any) -> None:
        row = producers.load(writing, request._command.transactional_id)
        if row is not None and row.epoch > request._command.epoch and row.state == ONGOING:
            request._command = request._command._replace(epoch=row.epoch)
        apply(request, writing)

    def know_all(writing: Any, transactional_id: str, producer_id: int, epoch: int) -> Any:
        row = producers.load(writing, transactional_id)
        return current(writing, transactional_id, producer_id, epoch if row is None else row.epoch)

    current, producers.current = producers.current, know_all
    produce.admit = admit_all
    produce.check_sequence = lambda *_: None  # type: ignore[assignment]
    setattr(ending.EndTransactionRequest, "apply", end_all)  # noqa: B010
    serve(path, pipe, port, seed)


def read_what_is_open(path: Path, pipe: int, number: int, seed: str) -> None:
    """A native program that knows nothing of open transactions."""
    visibility.first_open = lambda *_: visibility.NOTHING_OPEN  # type: ignore[assignment]
    work_natively(path, pipe, number, seed)


def _way(function: Any) -> str:
    return f"{__name__}:{function.__name__}"


FLAWS: dict[str, tuple[str, str]] = {
    "show aborted": (_way(show_aborted), NATIVE),
    "store aborted offsets": (_way(store_aborted_offsets), NATIVE),
    "end one too high": (_way(end_one_too_high), NATIVE),
    "fence nobody": (_way(fence_nobody), NATIVE),
    "read what is open": (SERVER, _way(read_what_is_open)),
}
"""What the listener and the native program run."""
RULES: dict[str, set[str]] = {
    "show aborted": {"refused"},
    "store aborted offsets": {"offsets"},
    "end one too high": {"refused", "half", "agree", "phantom", "G-single", "G1c"},
    "fence nobody": {"refused", "torn", "phantom", "real time", "offsets", "once", "lost", "sequence"},
    "read what is open": {"refused", "agree", "phantom", "half", "G-single", "G1c", "real time"},
}
