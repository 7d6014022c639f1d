from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator, Sequence
from typing import Any

RELIES_ON: dict[str, str]

class RecordMaker:
    def __init__(self, record_type: type) -> None: ...
    def __call__(
        self,
        topic: str,
        partition: int,
        offsets: Sequence[int],
        timestamps_ms: Sequence[int],
        keys: Sequence[Any],
        values: Sequence[Any],
        headers: Sequence[Any],
        /,
    ) -> list[Any]: ...

class BatchMaker:
    def __init__(self, record_type: type) -> None: ...
    def __call__(
        self, data: bytes, last: int, first: int, topic: str, partition: int, key_type: type, value_type: type, /
    ) -> Any | None: ...

class EventMaker:
    def __init__(self, record_type: type) -> None: ...
    def __call__(
        self, data: bytes, start: int, stop: int, topic: str, key: object, version: int, value_type: type, /
    ) -> list[Any] | None: ...

class OutcomeMaker:
    def __init__(self, record_type: type) -> None: ...
    def __call__(self, run: tuple[str, int, int, int, int], index: int, /) -> Generator[Any, None, Any]: ...

class RecordGate:
    def __init__(self, records: Iterator[Any], permit: list[float], monotonic: Callable[[], float], /) -> None: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __next__(self) -> Any: ...

class RecordStream:
    def __init__(self, next_chunk: Callable[[], Coroutine[Any, Any, Iterator[Any]]], /) -> None: ...
    def __aiter__(self) -> AsyncIterator[Any]: ...
    def __anext__(self) -> Coroutine[Any, Any, Any]: ...
    def aclose(self) -> Awaitable[None]: ...

class SendMethod:
    def __init__(
        self, slow: Callable[..., Any], producer: type, route: type, buffer: type, batch: type, delivery: type
    ) -> None: ...
    __wrapped__: Callable[..., Any]

def pack_columns(
    keys: Sequence[object] | None,
    values: Sequence[object],
    start: int,
    most_bytes: int,
    key_type: type,
    value_type: type,
    /,
) -> tuple[bytes, int] | None: ...
def seal_record(
    topic_id: int,
    partition: int,
    offset: int,
    log_position: int,
    timestamp_ms: int,
    largest_so_far_ms: int,
    key: bytes | None,
    value: bytes | None,
    /,
) -> tuple[bytes, bytes, bytes, bytes] | None: ...
def unpack_columns(
    data: bytes, start: int, stop: int, count: int, key_type: type, value_type: type, /
) -> tuple[tuple[Any, ...] | None, tuple[Any, ...] | None] | None: ...
def same_names(known: tuple[Any, ...], settled_ns: int, /) -> bool: ...
def in_place(known: tuple[Any, ...], settled_ns: int, least_bytes: int, /) -> tuple[int, int] | None: ...
def two_numbers(descriptor: int, first_place: int, second_place: int, /) -> tuple[int, int]: ...
def untouched(
    directory: int,
    changed_ns: int,
    file: int,
    least_bytes: int,
    first_place: int,
    second_place: int,
    newest: int,
    /,
) -> bool: ...
def begin_reading(handle: Any, slots: tuple[int, int, list[None]], options: dict[str, Any], /) -> Any: ...
def find_spare(handle: Any, /) -> int: ...
def forget_spare(handle: Any, place: int, /) -> None: ...
def writer_died(address: int, lock_file: int, /) -> bool: ...
def murmur2(key: bytes, /) -> int: ...
def part_columns(
    keys: Sequence[object],
    values: Sequence[object],
    partitions: int,
    is_murmur2: bool,
    keyless: int,
    key_type: type,
    /,
) -> list[tuple[int, list[Any], list[Any]]] | None: ...
