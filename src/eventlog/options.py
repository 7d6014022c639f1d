"""
Checks of what users pass: names, sizes, durations, where to start reading.

Each check fails at the call, before any effect, with a message that names the value and the bounds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import repeat
from types import CodeType
from typing import Any, Literal, NoReturn

from eventlog.errors import InvalidTopicName, MetadataTooLarge
from eventlog.interruptions import unless_interrupted
from eventlog.records import Headers

UNCHANGED: Any = ...
"""The default of the options of `Topic.alter()`: what is left out stays as it is, and None removes it."""

Durability = Literal["commit", "ordered"]
Index = Literal["key"]
Compression = Literal["zstd", "lz4"]
Start = Literal["earliest", "latest"] | int | datetime
"""Where reading begins: at either end of the log, at an offset, or at the first record from a time on."""
OnOutOfRange = Literal["raise", "earliest", "latest"]
"""What becomes of a reader whose next offset the partition does not have."""
HeadersInput = Mapping[str, bytes | str | None] | Iterable[tuple[str, bytes | str | None]]

_CO_COROUTINE = 0x80
"""The flag of the code of a coroutine function, as in `inspect`."""
MAX_NAME_LENGTH = 249
MAX_PARTITIONS = 100_000
MAX_RECORD_BYTES = 1_048_576
"""Kafka's `message.max.bytes`, rounded: the default bound of one record's key, value and headers together."""
LARGEST_RECORD_BYTES = 1_073_741_824
MAX_MESSAGE_ID_BYTES = 255
DEFAULT_ASSIGNOR = "sticky"
MAX_METADATA_BYTES = 4096
"""Kafka's `offset.metadata.max.bytes`."""
MOST_LEADER_EPOCH = 2**31 - 1
LEAST_LOG_BYTES = 1_048_576
MOST_LOG_BYTES = 1 << 46
"""The bounds of `max_bytes` of a log; the larger is more than the address space of a process maps."""
MAX_OFFSET = 2**63 - 1
MAX_TRANSACTION_BYTES = 64 << 20
MAX_FOLDED_RECORDS = 1_000_000
MAX_FOLDED_BYTES = 32 << 20
DEFAULT_ATTEMPTS = 5
DEFAULT_MAX_RECORDS = 100
DEFAULT_RETRY_PAUSE = 0.5
DEFAULT_MAX_RETRY_PAUSE = 30.0
DEFAULT_RETRY_JITTER = 0.5
PROJECTION_PREFIX = "projection:"
"""The prefix of the state names of projections; users cannot choose such a name."""

PROCESSOR_PREFIX = "processor:"
"""The prefix of the state names of processors, which count the tries of records; users cannot choose such a name."""
DEFAULT_COPIED_RECORDS = 1_000
"""The records in one transaction of a copy."""

KAFKA_PREFIX = "kafka:"
"""The prefix of the state names of the listener for Kafka's clients; users cannot choose such a name."""

RESPONDER_PREFIX = "responder:"
"""The prefix of the state names of responders, which remember what they answered; users cannot choose such a name."""

OWN_STATES = (PROJECTION_PREFIX, PROCESSOR_PREFIX, KAFKA_PREFIX, RESPONDER_PREFIX)

CUSTOM_PREFIX = "custom:"
"""The prefix of the stored names of functions that users declare."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
_COLLAPSED = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""The beginning of an address of which `Path` has made a path."""


_KAFKA = {
    "acks": "durability= of eventlog.open()",
    "auto_commit_interval_ms": "auto_commit_interval=, in seconds",
    "auto_offset_reset": "start= for a new group, and on_out_of_range= where offsets are gone",
    "batch_size": "batch_bytes=",
    "bootstrap_servers": "the path, in eventlog.open(path)",
    "buffer_memory": "max_buffered_bytes=",
    "enable_auto_commit": "auto_commit=",
    "enable_idempotence": "message_id= of send(), or name= of a producer",
    "fetch_max_wait_ms": "timeout= of poll(), in seconds",
    "group_id": "group=",
    "group_instance_id": "instance_id=",
    "key_deserializer": "key= of log.topic()",
    "key_serializer": "key= of log.topic()",
    "linger_ms": "linger=, in seconds",
    "max_block_ms": "max_block=, in seconds",
    "max_poll_interval_ms": "max_poll_interval=, in seconds",
    "max_records": "max_poll_records=",
    "max_poll_records": "max_records=",
    "num_partitions": "partitions=",
    "partition_assignment_strategy": "assignor=",
    "session_timeout_ms": "session_timeout=, in seconds",
    "timeout_ms": "timeout=, in seconds",
    "transactional_id": "log.transaction(), which needs no name",
    "value_deserializer": "value= of log.topic()",
    "value_serializer": "value= of log.topic()",
}
"""Names of options in Kafka's clients for Python, and ours."""


def check_options(method: str, options: Mapping[str, object], known: Any) -> None:
    """Refuse options that a method does not have; `known` is the `TypedDict` of those that it has."""
    names: frozenset[str] = known.__optional_keys__
    if not names.issuperset(options):
        refuse_options(method, {name: option for name, option in options.items() if name not in names})


def refuse_options(method: str, others: Mapping[str, object]) -> NoReturn:
    """Raise the error for options that a method does not have; it says what Kafka's are called here."""
    name = next((one for one in others if one in _KAFKA), next(iter(others)))
    hint = ""
    if name in _KAFKA:
        hint = f", a name of Kafka's. Nothing was changed. Here it is {_KAFKA[name]}; see docs/reference/names.md"
    raise TypeError(f"{method}() got an unexpected keyword argument {name!r}{hint}")


def check_path(verb: str, path: object) -> str:
    """Return a path as text, if it can be the name of a directory; `verb` says in messages what for."""
    as_text = getattr(type(path), "__fspath__", None)  # an os.PathLike; this floor knows no os
    text = path if as_text is None else as_text(path)
    if not isinstance(text, str):
        raise TypeError(
            f"a path is a str or an os.PathLike of one, not {type(text).__name__}. Nothing was made. Pass a str or a "
            "pathlib.Path."
        )
    wrong: str | None = None
    advice = ""
    if not text:
        wrong, advice = "it is empty", 'Name a directory; "." is the current one.'
    elif "\0" in text:
        wrong, advice = "it has a character of code 0", "Choose another path."
    elif path is not text and _COLLAPSED.match(text):
        wrong, advice = "a Path makes one slash of the two in an address", "Pass the address as text."
    else:
        try:
            text.encode()
        except unless_interrupted(UnicodeEncodeError):  # LMDB takes no other names
            wrong, advice = "it is not valid in UTF-8", "Choose a path in UTF-8."
    if wrong is not None:
        raise ValueError(f"cannot {verb} {text!a}: {wrong}. Nothing was made. {advice}")
    return text


def check_topic_name(name: object) -> str:
    """Return the name if Kafka's rule allows it: 1 to 249 of `[A-Za-z0-9._-]`, neither `.` nor `..`."""
    if not isinstance(name, str):
        raise TypeError(
            f"the topic name must be a str, not {type(name).__name__}. Nothing was changed. Pass one name; a "
            "consumer takes several, each as an argument of its own."
        )
    if name in {".", ".."} or _NAME.fullmatch(name) is None:
        raise InvalidTopicName(
            f"{_shown(name)} is not a valid topic name: it must be 1 to {MAX_NAME_LENGTH} characters of A-Z, a-z, "
            "0-9, '.', '_' and '-', but not '.' or '..'.",
            stored="Nothing was changed.",
            advice=f"For a consumer of all topics that match it, pass re.compile({_shown(name)})."
            if set(name) & set("^$*+?|()[]\\")
            else "Choose another name.",
            topic=name,
        )
    return name


def check_on_out_of_range(value: object) -> OnOutOfRange:
    """Return what becomes of a reader at an offset that is not there, if it is one of the three."""
    if value not in ("raise", "earliest", "latest"):
        raise ValueError(
            f'on_out_of_range is "raise", "earliest" or "latest", not {_shown(value)}. Nothing was made. '
            'Leave it out for "raise".'
        )
    return value


def check_compression(value: object) -> None:
    """Raise an error for what is neither the name of a compression nor None."""
    if value not in (None, "zstd", "lz4"):
        raise ValueError(f'compression is "zstd", "lz4" or None, not {_shown(value)}. Nothing was stored.')


def check_group_name(name: object) -> str:
    """Return the name of a consumer group: 1 to 249 bytes of printable characters in UTF-8."""
    return _check_printable_name("group name", name)


def check_state_name(name: object) -> str:
    """Return the name of a state: as for a group, and it must not begin with a prefix of our own states."""
    checked = _check_printable_name("state name", name)
    if checked.startswith(OWN_STATES):
        raise ValueError(
            f"{_shown(name)} is not a valid state name: {PROJECTION_PREFIX!r} marks the states of projections, "
            f"{PROCESSOR_PREFIX!r} those of processors, and {KAFKA_PREFIX!r} that of a Kafka listener. Nothing was "
            "changed. Read a projection with log.projection(name).state, or choose another name."
        )
    return checked


def check_projection_name(name: object) -> str:
    """Return the name of a projection: as for a group."""
    return _check_printable_name("projection name", name)


def check_producer_name(name: object) -> str:
    """Return the name of a producer: as for a group."""
    return _check_printable_name("producer name", name)


def check_instance_id(name: object) -> str:
    """Return the `instance_id` of a static member: as the name of a group."""
    return _check_printable_name("instance_id", name)


def _check_printable_name(what: str, name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the {what} must be a str, not {type(name).__name__}. Nothing was changed.")
    if not (1 <= len(name.encode("utf-8", "surrogatepass")) <= MAX_NAME_LENGTH and name.isprintable()):
        raise ValueError(
            f"{_shown(name)} is not a valid {what}: it must be 1 to {MAX_NAME_LENGTH} bytes of printable characters "
            "in UTF-8. Nothing was changed. Choose another."
        )
    return name


def custom_name(role: str, function: Callable[..., object], owner: str) -> str:
    """
    Return the name under which a function of the caller is stored: another process must find it by that name.

    Args:
        role: of the function, for messages: `partitioner`.
        owner: what the name is stored with, for messages: `topic`.

    Raises:
        ValueError: the function is a lambda, or is defined inside of another one.
    """
    module = getattr(function, "__module__", None)
    qualified = getattr(function, "__qualname__", None)
    if not module or not qualified or "<" in qualified:
        shown = qualified or type(function).__name__
        raise ValueError(
            f"the {role} {shown[:60]} is not defined at the top level of a module, so the name stored with the "
            f"{owner} would not find it again. Nothing was stored. Declare a function at the top of a module."
        )
    return f"{CUSTOM_PREFIX}{module}.{qualified}"


def check_int(name: str, value: object, *, least: int, most: int | None = None) -> int:
    """Return the value if it is an int within the bounds, both inclusive."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {value!r}. Nothing was changed.")
    if value < least or (most is not None and value > most):
        bounds = f"at least {least}" if most is None else f"{least} to {most}"
        raise ValueError(f"{name} must be {bounds}, not {value}. Nothing was changed.")
    return value


def check_end(name: str, value: object, *, least: int, most: int | None = None) -> int:
    """Return the value of an option that may be a time, too, if it is an int within the bounds."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int or a datetime with a time zone, not {value!r}. Nothing was read.")
    return check_int(name, value, least=least, most=most)


def check_function(name: str, value: object, stored: str) -> None:
    """Raise an error for what cannot be called, and for a coroutine function: nobody would await what it returns."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, not {value!r}. {stored}")
    function: Any = value
    while isinstance(function, partial):
        function = function.func
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    if isinstance(code, CodeType) and code.co_flags & _CO_COROUTINE:
        raise TypeError(
            f"{name} must be a plain function, not the coroutine function {value!r}, which nobody would await. {stored}"
        )


def check_bool(name: str, value: object) -> bool:
    """Return the value if it is True or False: 1 and "no" may be meant otherwise than they would be taken."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {_shown(value)}. Nothing was changed.")
    return value


def check_seconds(name: str, value: object, *, least: float = 0.0, unit: str = "seconds") -> float:
    """Return the value as a float if it is a finite number of seconds, or of another unit, of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of {unit}, not {value!r}. Nothing was changed.")
    if not least <= value <= 1e9:
        raise ValueError(f"{name} must be a number of {unit}, {least} to 1e9, not {value}. Nothing was changed.")
    return float(value)


def check_share(name: str, value: object) -> float:
    """Return the value as a float if it is a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number from 0 to 1, not {value!r}. Nothing was stored.")
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be a number from 0 to 1, not {value}. Nothing was stored.")
    return float(value)


def check_offset(value: object) -> int:
    """Return the value if a partition can have such an offset."""
    return check_int("an offset", value, least=0, most=MAX_OFFSET)


def check_offsets(offsets: object) -> Mapping[Any, Any]:
    """Return the offsets if they are a mapping; the caller checks its keys and values."""
    if not isinstance(offsets, Mapping):
        raise TypeError(
            f"offsets must be a mapping from partitions, not {_shown(offsets)}. Nothing was changed. Pass a dict."
        )
    return offsets


def check_timestamp_ms(value: object) -> int:
    """Return the value if it is a time in ms since 1970 UTC that fits 62 bits; negative is before 1970."""
    return check_int("timestamp_ms", value, least=-(2**62), most=2**62)


def check_message_id(message_id: object) -> bytes:
    """Return the 1 to 255 bytes of a message id; a str becomes UTF-8."""
    data = message_id.encode("utf-8", "surrogatepass") if isinstance(message_id, str) else message_id
    if not isinstance(data, bytes):
        raise TypeError(f"a message_id must be a str or bytes, not {type(message_id).__name__}. Nothing was stored.")
    if not 1 <= len(data) <= MAX_MESSAGE_ID_BYTES:
        raise ValueError(
            f"{_shown(message_id)} is not a valid message_id: it must have 1 to {MAX_MESSAGE_ID_BYTES} bytes. Nothing "
            "was stored. Hash longer ids."
        )
    return data


def check_column(name: str, column: Iterable[Any]) -> Sequence[Any]:
    """Return a column as a list or tuple; takes any iterable except text, bytes and mappings, which are one value."""
    if isinstance(column, (list, tuple)):
        return column
    if isinstance(column, (str, bytes, bytearray, memoryview, Mapping)) or not isinstance(column, Iterable):
        raise TypeError(
            f"{name} must be a column, one entry for each record, not {type(column).__name__}. Nothing was stored. "
            "Pass a list."
        )
    return list(column)


def check_columns(
    values: Iterable[Any],
    keys: Iterable[Any] | None,
    headers: Iterable[Any] | None,
    timestamps_ms: int | Iterable[int] | None,
) -> tuple[Sequence[Any], Sequence[Any] | None, Sequence[Any] | None, int | Sequence[int] | None]:
    """Return the columns if they all have one length; an int is the timestamp of every record."""
    checked = check_column("values", values)
    count = len(checked)

    def column(name: str, given: Iterable[Any] | None) -> Sequence[Any] | None:
        if given is None:
            return None
        entries = check_column(name, given)
        if len(entries) != count:
            raise ValueError(
                f"{name} has {len(entries)} entries and values has {count}. Nothing was stored. "
                "Pass one entry for each value, or None."
            )
        return entries

    times = timestamps_ms if isinstance(timestamps_ms, int) else column("timestamps_ms", timestamps_ms)
    return checked, column("keys", keys), column("headers", headers), times


def records_of(
    values: Sequence[Any],
    keys: Sequence[Any] | None,
    headers: Sequence[Any] | None,
    timestamps_ms: int | Sequence[int] | None,
) -> Iterator[tuple[Any, Any, Any, int | None]]:
    """Return value, key, headers and timestamp of each record of some columns, as `check_columns` returns them."""
    times = repeat(timestamps_ms) if isinstance(timestamps_ms, int) else timestamps_ms or repeat(None)
    return zip(values, keys or repeat(None), headers or repeat(None), times, strict=False)


def check_offset_notes(leader_epoch: object, metadata: object) -> tuple[int, str]:
    """Return what is to be stored beside a committed offset: a leader epoch, -1 for none, and metadata."""
    epoch = -1 if leader_epoch is None else check_int("leader_epoch", leader_epoch, least=0, most=MOST_LEADER_EPOCH)
    if metadata is None:
        return epoch, ""
    if not isinstance(metadata, str):
        raise TypeError(
            f"metadata must be a str, not {type(metadata).__name__}. Nothing was stored. Encode it as text."
        )
    try:
        size_bytes = len(metadata.encode())
    except unless_interrupted(UnicodeEncodeError) as error:
        raise TypeError(
            f"metadata {_shown(metadata)} hold a lone surrogate, which UTF-8 cannot encode. Nothing was stored."
        ) from error
    if size_bytes > MAX_METADATA_BYTES:
        raise MetadataTooLarge(
            f"metadata of a committed offset have at most {MAX_METADATA_BYTES} bytes in UTF-8, not {size_bytes}.",
            stored="Nothing was stored.",
            advice="Keep what is large in a state or in a record, and its key here.",
            size_bytes=size_bytes,
            most_bytes=MAX_METADATA_BYTES,
        )
    return epoch, metadata


def check_headers(headers: HeadersInput | None) -> Headers:
    """
    Return the headers of a record as stored: a tuple of `(str, bytes or None)`.

    Takes a mapping or pairs; a `str` value is stored as UTF-8.
    """
    if not headers:
        return ()
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    if not isinstance(pairs, Iterable):
        raise TypeError(f"headers must be a mapping or pairs, not {_shown(headers)}. Nothing was stored.")
    return tuple(_check_header(pair) for pair in pairs)


def _check_header(pair: object) -> tuple[str, bytes | None]:
    if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], str):
        raise TypeError(f"a header must be a (str, bytes) pair, not {_shown(pair)}. Nothing was stored.")
    name, value = pair
    try:
        name.encode()
        if isinstance(value, str):
            value = value.encode()
    except unless_interrupted(UnicodeEncodeError) as error:
        raise TypeError(
            f"header {name!a} holds a lone surrogate, which UTF-8 cannot encode. Nothing was stored. Pass bytes."
        ) from error
    if isinstance(value, (bytearray, memoryview)):
        value = bytes(value)
    if value is not None and type(value) is not bytes:
        raise TypeError(
            f"header {name!r} must be bytes, str or None, not {type(value).__name__}. Nothing was stored. Encode it."
        )
    return name, value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
