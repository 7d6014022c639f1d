"""
The accelerators: functions in C that replace Python functions where this installation has them (PEP 399's word).

The Python function comes first. It says what is done, it is what the accelerator is tested against, and it carries the
decorator that names its accelerator: whoever reads `@accelerated("RecordMaker", Record)` knows that C runs instead.
An accelerator does the same for the usual case. For any other it calls the Python function, or returns None before it
has changed anything, and the caller goes on in Python (docs/decisions/0018-compiled-twins.md).

Without a C compiler at the installation there are none, and with `EVENTLOG_PURE_PYTHON=1` in the environment none is
used: the library is slower then, and does the same.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from eventlog.named_tuples import NamedTuple

if TYPE_CHECKING:
    from types import ModuleType

F = TypeVar("F", bound=Callable[..., Any])

PURE_PYTHON: Final = "EVENTLOG_PURE_PYTHON"
"""The environment variable that turns the accelerators off, when it is neither empty nor 0."""

_MODULE = "eventlog._native"


class Accelerator(NamedTuple):
    """
    One row of the table.

    `relies_on` is what must not change without the C code: the slots that it reads or fills, or its arguments.
    """

    function: str
    source: str
    relies_on: str


ACCELERATORS: Final[Mapping[str, Accelerator]] = MappingProxyType(
    {
        "SendMethod": Accelerator(
            "eventlog.clients.producer.producer.EmbeddedProducer.send",
            "send.c",
            "producer._routes route.encode_key route.encode_value route.is_crc32 route.is_murmur2 route.buffers "
            "route.partition_count route.partition_of route.plain_key route.plain_value route.small_bytes "
            "route.sticky buffer.batch batch.limit batch.rows",
        ),
        "RecordMaker": Accelerator(
            "eventlog.records._make_records",
            "records.c",
            "topic partition offset timestamp_ms key value headers",
        ),
        "BatchMaker": Accelerator(
            "eventlog.clients.reading.batch_reader._make_batch",
            "batches.c",
            "topic partition offsets timestamps_ms keys values headers",
        ),
        "EventMaker": Accelerator(
            "eventlog.store.records.key_events._make_events",
            "events.c",
            "topic partition offset timestamp_ms key value headers version log_position",
        ),
        "OutcomeMaker": Accelerator(
            "eventlog.clients.delivery._known_outcome",
            "delivery.c",
            "topic partition offset timestamp_ms log_position version",
        ),
        "RecordGate": Accelerator("eventlog.clients.consumer.gate.gated", "gate.c", "records permit monotonic"),
        "RecordStream": Accelerator("eventlog.aio.record_stream.record_stream", "stream.c", "next_chunk"),
        "seal_record": Accelerator(
            "eventlog.store.records.log_order.seal_record",
            "columns.c",
            "(topic_id, partition, offset, log_position, timestamp_ms, largest_so_far_ms, key, value)",
        ),
        "seal_batch": Accelerator(
            "eventlog.store.records.log_order.seal_batch",
            "columns.c",
            "(topic_id, partition, last, log_position, largest_so_far_ms, count, span, first_ms, largest_ms, body)",
        ),
        "pack_columns": Accelerator(
            "eventlog.batches.format._pack_columns",
            "columns.c",
            "(keys, values, start, most_bytes, key_type, value_type)",
        ),
        "unpack_columns": Accelerator(
            "eventlog.batches.format._unpack_columns",
            "columns.c",
            "(data, start, stop, count, key_type, value_type)",
        ),
        "parse_kafka_records": Accelerator(
            "eventlog.batches.kafka_records._parse_kafka_records",
            "kafka.c",
            "(data, start, stop, count, last_delta, base_ms, append_ms)",
        ),
        "are_kafka_records": Accelerator(
            "eventlog.batches.kafka_records.are_kafka_records",
            "kafka.c",
            "(data, start, stop, count, last_delta, base_ms)",
        ),
        "build_record_batch": Accelerator(
            "eventlog.batches.kafka_builder.build_record_batch",
            "kafka_builder.c",
            "(keys, values, headers, timestamps_ms, deltas, span, base_offset)",
        ),
        "seal_row": Accelerator("eventlog.store.rows.checksums.seal_row", "checksums.c", "(key, value)"),
        "unseal_row": Accelerator("eventlog.store.rows.checksums.unseal_row", "checksums.c", "(key, data)"),
        "part_columns": Accelerator(
            "eventlog.batches.partitioners._part_columns",
            "keys.c",
            "(keys, values, partitions, is_murmur2, keyless, key_type)",
        ),
        "same_names": Accelerator("eventlog.store.lmdb.file_pair._same_names", "files.c", "(known, settled_ns)"),
        "in_place": Accelerator(
            "eventlog.store.lmdb.file_pair._in_place", "files.c", "(known, settled_ns, least_bytes)"
        ),
        "two_numbers": Accelerator(
            "eventlog.store.lmdb.file_pair._two_numbers", "files.c", "(descriptor, first_place, second_place)"
        ),
        "untouched": Accelerator(
            "eventlog.store.lmdb.file_pair._untouched",
            "files.c",
            "(directory, changed_ns, file, least_bytes, first_place, second_place, newest)",
        ),
        "begin_reading": Accelerator(
            "eventlog.store.lmdb.reader_table.begin_reading", "readers.c", "(handle, slots, options)"
        ),
        "find_spare": Accelerator("eventlog.store.lmdb.reader_table._find_spare", "readers.c", "(handle)"),
        "forget_spare": Accelerator("eventlog.store.lmdb.reader_table._forget_spare", "readers.c", "(handle, place)"),
        "writer_died": Accelerator(
            "eventlog.store.lmdb.reader_table._writer_died", "readers.c", "(address, lock_file)"
        ),
        "murmur2": Accelerator("eventlog.batches.partitioners._positive_murmur2", "keys.c", "(key)"),
    }
)
"""The accelerators by their names in `eventlog._native`, each with its function and its file in src/native."""


def _load() -> ModuleType | None:
    """The compiled module; None if there is none, if it is unwanted, or if it was compiled from another source."""
    if os.environ.get(PURE_PYTHON, "0") not in {"", "0"}:
        return None
    try:
        module = importlib.import_module(_MODULE)
        _check_source(module)
        return module
    except ModuleNotFoundError:
        return None
    except ImportError as error:  # made for another system, broken or old: slower is better than not at all
        warnings.warn(
            f"{_MODULE} is installed and cannot be used: {error}. eventlog goes on in pure Python, which does the same "
            f"and is slower. Install eventlog again, or set {PURE_PYTHON}=1.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


def _check_source(module: ModuleType) -> None:
    """
    Compare the table with what the compiled module says of itself: a checkout may be newer than its last build.

    Raises:
        ImportError: they differ.
    """
    compiled_ties: dict[str, str] = getattr(module, "RELIES_ON", {})
    for name, row in ACCELERATORS.items():
        ties = compiled_ties.get(name) or getattr(getattr(module, name, None), "__text_signature__", None)
        if ties != row.relies_on:
            raise ImportError(
                f"it was compiled from another source: its {name} relies on {ties!r}, and here that is "
                f"{row.relies_on!r}"
            )


compiled = _load()
"""The module of the accelerators, or None."""

_PYTHON_FUNCTIONS: dict[str, Callable[..., Any]] = {}


def accelerated(name: str, *classes: type) -> Callable[[F], F]:
    """
    Replace the decorated function by an accelerator, if there are any.

    The C function itself takes its place, without a wrapper; `python_function` still finds the Python function.

    Args:
        name: of a row of `ACCELERATORS`.
        classes: what the accelerator makes, if it makes objects.
    """

    def decorate(function: F) -> F:
        _PYTHON_FUNCTIONS.setdefault(name, function)
        if compiled is None:
            return function
        accelerator = getattr(compiled, name)
        return cast("F", accelerator(*classes) if classes else accelerator)

    return decorate


def accelerated_method(name: str, **classes: type) -> Callable[[F], F]:
    """
    Replace the decorated method by an accelerator, if there are any, as soon as its class is complete.

    The accelerator calls the Python function for every call that it does not know.

    Args:
        name: of a row of `ACCELERATORS`.
        classes: the classes whose slots it uses, other than that of the method.
    """

    def decorate(function: F) -> F:
        _PYTHON_FUNCTIONS.setdefault(name, function)
        return function if compiled is None else cast("F", _Method(getattr(compiled, name), function, classes))

    return decorate


class _Method:
    """The place of an accelerated method while its class is being made."""

    def __init__(self, accelerator: Callable[..., Any], function: Callable[..., Any], classes: dict[str, type]) -> None:
        self._accelerator = accelerator
        self._function = function
        self._classes = classes

    def __set_name__(self, owner: type, name: str) -> None:
        """Put the accelerator into the class: Python calls this when the class is complete."""
        if self._function.__doc__ is None:  # an accelerator has the words of the method that its function overrides
            self._function.__doc__ = next(
                (vars(base)[name].__doc__ for base in owner.__mro__[1:] if name in vars(base)), None
            )
        setattr(owner, name, self._accelerator(self._function, owner, **self._classes))


def python_function(name: str) -> Callable[..., Any]:
    """The function in Python that an accelerator replaces, once its module is imported."""
    return _PYTHON_FUNCTIONS[name]


def is_compiled() -> bool:
    """
    Whether the compiled part of the library is in use, or pure Python alone, which does the same and is slower.

    It is in use where the installation found a C compiler, unless the environment variable `EVENTLOG_PURE_PYTHON` was
    set, and not to 0, when this process imported eventlog. `eventlog --version` says it, too.

    Example:
        >>> how = "compiled" if eventlog.is_compiled() else "pure Python"
    """
    return compiled is not None
