"""Errors carry what a caller needs to go on, into other processes too."""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from eventlog import errors
from eventlog.errors import (
    BufferFull,
    ConflictError,
    DeliveryError,
    EventLogError,
    GroupBehind,
    InstanceInUse,
    LogFull,
    LogInUse,
    NoResponders,
    OffsetOutOfRange,
    RequestTimeout,
    WrongVersion,
)


def _descendants(kind: type[EventLogError]) -> Iterator[type[EventLogError]]:
    """The class and all below it that eventlog defines, wherever it defines them."""
    if kind.__module__.partition(".")[0] == "eventlog":
        yield kind
    for child in kind.__subclasses__():
        yield from _descendants(child)


ALL = list(dict.fromkeys(_descendants(EventLogError)))
PASSING = {BufferFull, ConflictError, GroupBehind, InstanceInUse, LogFull, LogInUse, NoResponders, RequestTimeout}


def _filled(kind: type[EventLogError]) -> EventLogError:
    """An error with a value of its own in each of its fields, a cause and a note."""
    own = [one for one in inspect.signature(kind).parameters.values() if one.kind is one.KEYWORD_ONLY]
    fields: dict[str, object] = dict.fromkeys((one.name for one in own), 7)
    parts = {"stored": "Nothing was stored.", "advice": "Do it again.", "topic": "orders", "group": "billing"}
    error = kind("cannot do it: 8.", **fields | parts | {"partition": 3, "offset": 42})  # type: ignore[arg-type]
    error.__cause__ = WrongVersion("version 9.", stored="Nothing.", advice="Read.", expected=2, actual=9)
    error.add_note("the job was 17")
    return error


def _carried(error: BaseException | None) -> tuple[object, ...]:
    """All that an error has to keep, its cause aside."""
    assert isinstance(error, EventLogError)
    return type(error), str(error), repr(error), error.args, vars(error)


def _fail(kind: type[EventLogError]) -> None:
    raise _filled(kind)


def test_the_text_of_an_error_is_its_parts() -> None:
    """A program shows the text as it is, or its own advice instead of ours."""
    error = errors.NotALog("cannot open x: it is a file.", stored="It was left as it was.", advice="Choose another.")
    assert str(error) == "cannot open x: it is a file. It was left as it was. Choose another."
    assert (error.what, error.stored) == ("cannot open x: it is a file.", "It was left as it was.")
    assert error.advice == "Choose another."


def test_a_place_that_does_not_apply_is_none() -> None:
    """Every error can be asked where it failed."""
    error = errors.LogClosed("the log is closed.")
    assert (error.topic, error.partition, error.offset, error.group) == (None, None, None, None)
    error = errors.UnknownPartition("no partition 9.", topic="orders", partition=9)
    assert (error.topic, error.partition, error.offset, error.group) == ("orders", 9, None, None)


def test_offset_out_of_range_has_the_bounds() -> None:
    """Who catches it can seek without asking again."""
    error = OffsetOutOfRange("offset 9.", first=2, end=5, topic="orders", partition=1, offset=9)
    assert (str(error), error.first, error.end) == ("offset 9.", 2, 5)
    assert (error.topic, error.partition, error.offset) == ("orders", 1, 9)


def test_delivery_error_has_the_count() -> None:
    """Who catches it knows how many records are missing."""
    error = DeliveryError("2 records.", count=2)
    assert (str(error), error.count) == ("2 records.", 2)


def test_wrong_version_has_both_versions() -> None:
    """Who catches it knows what to read before deciding again."""
    error = WrongVersion("version 9.", expected=2, actual=9)
    assert (str(error), error.expected, error.actual) == ("version 9.", 2, 9)


@pytest.mark.parametrize("kind", ALL)
def test_an_error_survives_a_pickle_and_a_copy(kind: type[EventLogError]) -> None:
    """Its text, parts, fields, notes and a cause of ours arrive."""
    error = _filled(kind)
    pickled = [pickle.loads(pickle.dumps(error, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for received in (*pickled, copy.copy(error), copy.deepcopy(error)):
        assert _carried(received) == _carried(error)
        assert _carried(received.__cause__) == _carried(error.__cause__)


def test_a_foreign_cause_stays_behind() -> None:
    """An error that only its own process can build does not break the process that receives ours."""
    error = errors.StorageError("cannot write.")
    error.__cause__ = OSError(5, lambda: None)  # no pickle takes that
    assert pickle.loads(pickle.dumps(error)).__cause__ is None


@pytest.mark.timeout(60)
def test_errors_come_out_of_process_pools() -> None:
    """The parent of a worker receives each error with all that it carries; neither pool breaks or hangs."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor, context.Pool(1) as pool:
        futures = [executor.submit(_fail, kind) for kind in ALL]
        results = [pool.apply_async(_fail, (kind,)) for kind in ALL]
        for kind, future, result in zip(ALL, futures, results, strict=True):
            assert _carried(future.exception(timeout=30)) == _carried(_filled(kind))
            with pytest.raises(kind) as caught:
                result.get(timeout=30)
            assert _carried(caught.value) == _carried(_filled(kind))


@pytest.mark.parametrize("kind", ALL)
def test_only_what_may_pass_is_worth_another_attempt(kind: type[EventLogError]) -> None:
    """Doing the same again helps where a condition passes: a full buffer, a live member, a slow responder."""
    assert kind.retriable == (kind in PASSING)


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
        (errors.LogFull, errors.DiskFull),
        (errors.FilesChanged, errors.StorageError),
        (errors.ReadOnlyLog, errors.StorageError),
        (errors.UnsupportedFileSystem, errors.StorageError),
        (errors.UnsupportedSharing, errors.StorageError),
        (errors.NestedCall, RuntimeError),
    ],
)
def test_errors_are_also_what_python_calls_them(kind: type[EventLogError], also: type[Exception]) -> None:
    """Code that knows nothing of eventlog catches what it expects."""
    assert issubclass(kind, also)
