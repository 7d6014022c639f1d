"""Errors carry what a caller needs to go on."""

from __future__ import annotations

import copy
import pickle

import pytest

from eventlog import errors
from eventlog.errors import (
    BufferFull,
    ConflictError,
    DeliveryError,
    EventLogError,
    InstanceInUse,
    NotSupported,
    OffsetOutOfRange,
    WrongVersion,
)

ALL = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, EventLogError)]


def test_offset_out_of_range_has_the_bounds() -> None:
    """Who catches it can seek without asking again."""
    error = OffsetOutOfRange("offset 9", first=2, end=5)
    assert (str(error), error.first, error.end) == ("offset 9", 2, 5)


def test_delivery_error_has_the_count() -> None:
    """Who catches it knows how many records are missing."""
    error = DeliveryError("2 records", count=2)
    assert (str(error), error.count) == ("2 records", 2)


def test_wrong_version_has_both_versions() -> None:
    """Who catches it knows what to read before deciding again."""
    error = WrongVersion("version 9", expected=2, actual=9)
    assert (str(error), error.expected, error.actual) == ("version 9", 2, 9)


@pytest.mark.parametrize(
    "error",
    [
        OffsetOutOfRange("offset 9", first=2, end=5),
        DeliveryError("2 records", count=2),
        WrongVersion("version 9", expected=2, actual=9),
        NotSupported("no files", feature="files", backend="plain"),
        *(kind("why") for kind in ALL if "__init__" not in vars(kind)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_a_pickle(error: EventLogError) -> None:
    """A worker of a process pool raises it, and its parent receives it with all that it carries."""
    pickled = [pickle.dumps(error, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for received in (*map(pickle.loads, pickled), copy.copy(error)):
        assert type(received) is type(error)
        assert (received.args, vars(received)) == (error.args, vars(error))


@pytest.mark.parametrize("kind", ALL)
def test_only_a_full_buffer_a_taken_name_and_a_conflict_are_worth_another_attempt(kind: type[EventLogError]) -> None:
    """Doing the same again helps when a buffer empties, a member ends or nobody is faster, and never otherwise."""
    assert kind.retriable == (kind in (BufferFull, InstanceInUse, ConflictError))


@pytest.mark.parametrize(
    ("kind", "also"),
    [
        (errors.InvalidTopicName, ValueError),
        (errors.RecordTooLarge, ValueError),
        (errors.UnknownTopic, LookupError),
        (errors.UnknownPartition, LookupError),
        (errors.UnknownGroup, LookupError),
        (errors.UnknownState, LookupError),
        (errors.UnknownProjection, LookupError),
        (errors.UnknownEvent, errors.DecodeError),
        (errors.DiskFull, errors.StorageError),
        (errors.ReadOnlyLog, errors.StorageError),
        (errors.UnsupportedFileSystem, errors.StorageError),
    ],
)
def test_errors_are_also_what_python_calls_them(kind: type[EventLogError], also: type[Exception]) -> None:
    """Code that knows nothing of eventlog catches what it expects."""
    assert issubclass(kind, also)
