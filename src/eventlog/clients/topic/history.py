"""
Reading a topic by key: the history of one entity, its latest record, its version, its snapshot.

For topics with an index (`store/records/key_reader.py`). Each call is one short look at the log, or several where a
history is long. Knows nothing of partitions or groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Generic, TypeVar, cast

from eventlog.accelerators import accelerated, compiled
from eventlog.clients.reading.batch_reader import decode_error
from eventlog.clients.topic_handle import TopicHandle
from eventlog.codecs import Codec, codec_from_stored
from eventlog.errors import DecodeError
from eventlog.options import MAX_OFFSET, check_int
from eventlog.records import Event, K, Snapshot, V
from eventlog.store.records.key_reader import read_content, read_keys, read_rows, stored_version
from eventlog.store.records.key_rows import ENTRIES, Entry, check_row, entity_prefix, row_count, unpack_row
from eventlog.store.records.snapshots import SaveSnapshot, read_snapshot
from eventlog.store.store import Store

_READ_BYTES = 1 << 20
_headers_of = itemgetter(5)
_KEYS_AT_ONCE = 1000
S = TypeVar("S")


@accelerated("EventMaker", Event)
def _make_events(
    _data: bytes, _start: int, _stop: int, _topic: str, _key: object, _version: int, _value_type: type
) -> list[Event[Any, Any]] | None:
    """
    The events of a plain row of the index; None if it has headers, deleted records or values stored elsewhere.

    In Python always None: there `unpack_row` reads every row.
    """
    return None


def _are_decoded(events: list[Event[Any, Any]], decode: Callable[[bytes | None], Any]) -> bool:
    """Decodes the values of some events; False when one cannot be decoded."""
    try:
        for event in events:
            event.value = decode(event.value)
    except ValueError:
        return False
    return True


class History(Generic[K, V]):
    """
    Reads the records of one topic by their keys.

    Any thread may use it.
    """

    def __init__(self, store: Store, route: TopicHandle) -> None:
        self._store = store
        self._route = route
        self._snapshot_codec: Codec[Any] | None = None

    def _check_index(self) -> None:
        route = self._route
        if route.row.index is None:
            raise ValueError(
                f"topic {route.row.name!r} cannot be read by key: it was made without an index. Nothing was read. "
                'Make a topic with log.topic(..., index="key").'
            )

    def _prefix(self, key: object) -> bytes:
        self._check_index()
        if key is None:
            raise ValueError("None is no key: records without one are not in the index. Nothing was read.")
        data = self._route.key_codec.encode(key)
        assert data is not None
        return entity_prefix(self._route.row.id, data)

    def history(
        self, key: object, start: int, end: int | None, *, is_reversed: bool, max_records: int | None
    ) -> Iterator[Event[K, V]]:
        """The records of a key, from version `start` to `end`."""
        first = check_int("start", start, least=1, most=MAX_OFFSET)
        if end is not None:
            check_int("end", end, least=1, most=MAX_OFFSET)
        left = None if max_records is None else check_int("max_records", max_records, least=0)
        prefix = self._prefix(key)
        rows, is_all = self._rows(prefix, first, end, is_reversed=is_reversed)
        if is_all and left is None:
            if len(rows) == 1 and first == 1 and end is None and not is_reversed:  # of most entities, by most callers
                return iter(self._at_once(key, *rows[0]))
            return iter(self._events_of(key, rows, first, end, is_reversed=is_reversed))
        return self._walk(key, prefix, rows, is_all, first, end, left, is_reversed=is_reversed)

    def _rows(
        self, prefix: bytes, first: int, end: int | None, *, is_reversed: bool, max_bytes: int = _READ_BYTES
    ) -> tuple[list[tuple[int, bytes]], bool]:
        rows, is_all = read_rows(
            self._store.environment, prefix, first, end, is_reversed=is_reversed, max_bytes=max_bytes
        )
        if not rows:
            self._store.check_topic(self._route.row)
        return rows, is_all

    def _walk(
        self,
        key: Any,
        prefix: bytes,
        rows: list[tuple[int, bytes]],
        is_all: bool,  # noqa: FBT001
        first: int,
        end: int | None,
        left: int | None,
        *,
        is_reversed: bool,
    ) -> Iterator[Event[K, V]]:
        while True:
            for row in rows:
                for event in self._events_of(key, [row], first, end, is_reversed=is_reversed):
                    if left == 0:
                        return
                    left = None if left is None else left - 1
                    yield event
            if is_all or left == 0:
                return
            version, data = rows[-1]
            if is_reversed:
                end = version
            else:
                first = version + row_count(data)
            rows, is_all = self._rows(prefix, first, end, is_reversed=is_reversed)

    def _events_of(
        self, key: Any, rows: list[tuple[int, bytes]], first: int, end: int | None, *, is_reversed: bool
    ) -> list[Event[K, V]]:
        """The records of some rows, without those that were deleted."""
        route = self._route
        events: list[Event[Any, Any]] = []
        for version, data in rows:
            if version < first or (end is not None and end < version + row_count(data)):
                entries = unpack_row(data, _Place(route.row.name, key, version))
                some = self._one_by_one(key, version, entries, first, version + len(entries) if end is None else end)
            else:
                some = self._at_once(key, version, data)
            if is_reversed:
                some.reverse()
            events += some
        return events

    def _at_once(self, key: Any, version: int, data: bytes) -> list[Event[K, V]]:
        """All records of a row."""
        topic = self._route.row.name
        codec: Codec[Any] = self._route.value_codec
        decode = cast("Callable[[bytes | None], Any]", codec.decode)
        place = _Place(topic, key, version)
        if compiled is not None:
            check_row(data, place)
            start, stop, _ = ENTRIES.indices(len(data))
            events = _make_events(data, start, stop, topic, key, version, codec.plain_type or bytes)
            if events is not None and (codec.plain_type is not None or _are_decoded(events, decode)):
                return events
        entries: Sequence[Any] = unpack_row(data, place)
        try:
            if None not in map(_headers_of, entries):
                return [
                    Event(topic, partition, offset, timestamp_ms, key, decode(value), headers, number, log_position)
                    for number, (partition, offset, timestamp_ms, log_position, value, headers) in enumerate(
                        entries, version
                    )
                ]
        except (TypeError, ValueError):  # one was deleted, or cannot be decoded
            return self._one_by_one(key, version, entries, version, version + len(entries))
        return self._one_by_one(key, version, entries, version, version + len(entries))

    def _one_by_one(
        self, key: Any, version: int, entries: Sequence[Entry | None], first: int, end: int
    ) -> list[Event[K, V]]:
        """Some records of a row, also such as were deleted, or that only their batch has."""
        route = self._route
        name, decode = route.row.name, route.value_codec.decode
        events: list[Event[Any, Any]] = []
        for number, entry in enumerate(entries, version):
            if entry is None or not first <= number < end:
                continue
            partition, offset, timestamp_ms, log_position, value, headers = entry
            if headers is None:
                found = read_content(self._store.environment, route.row.id, partition, offset)
                if found is None:
                    continue
                value, headers = found
            try:
                decoded = decode(value)
            except ValueError as error:
                raise self._undecodable(key, number, error) from error
            events.append(Event(name, partition, offset, timestamp_ms, key, decoded, headers, number, log_position))
        return events

    def _undecodable(self, key: object, version: int, error: ValueError) -> DecodeError:
        return decode_error(
            error,
            f"cannot read version {version} of key {key!r} of topic {self._route.row.name!r}: {error}. The record is "
            "intact on disk. Open the topic with the codec that wrote it.",
        )

    def latest(self, key: object) -> Event[K, V] | None:
        """The last record of a key."""
        prefix = self._prefix(key)
        rows, _ = self._rows(prefix, 1, None, is_reversed=True, max_bytes=1)
        if not rows:
            return None
        version = rows[0][0] + row_count(rows[0][1]) - 1
        events = self._events_of(key, rows, version, None, is_reversed=False)
        return events[0] if events else next(self.history(key, 1, None, is_reversed=True, max_records=1), None)

    def version(self, key: object) -> int:
        """How many records a key ever had."""
        version = stored_version(self._store.environment, self._prefix(key))
        if not version:
            self._store.check_topic(self._route.row)
        return version

    def keys(self, prefix: str | bytes | None) -> Iterator[K]:
        """The keys, in byte order."""
        self._check_index()
        data = prefix.encode(errors="surrogatepass") if isinstance(prefix, str) else b"" if prefix is None else prefix
        if not isinstance(data, bytes):
            raise TypeError(f"prefix is a str or bytes, not {type(prefix).__name__}. Nothing was read.")
        keys = self._keys(data, None)
        if not keys:
            self._store.check_topic(self._route.row)
        return self._walk_keys(data, keys)

    def _keys(self, prefix: bytes, after: bytes | None) -> list[bytes]:
        return read_keys(self._store.environment, self._route.row.id, prefix, after, _KEYS_AT_ONCE)

    def _walk_keys(self, prefix: bytes, keys: list[bytes]) -> Iterator[K]:
        decode = cast("Callable[[bytes], Any]", self._route.key_codec.decode)
        while keys:
            yield from map(decode, keys)
            keys = self._keys(prefix, keys[-1])

    # -- snapshots -------------------------------------------------------------------------------------------

    def _codec(self) -> Codec[Any]:
        codec = self._snapshot_codec
        if codec is None:
            row = self._route.row
            codec = codec_from_stored(row.snapshot, self._route.snapshot, topic=row.name, role="value")
            self._snapshot_codec = codec
        return codec

    def save_snapshot(self, key: object, state: object, version: int) -> None:
        """Stores a state of a key."""
        check_int("version", version, least=1)
        prefix = self._prefix(key)
        data = self._codec().encode(state)
        if data is None:
            raise TypeError("None is no state to keep as a snapshot. Nothing was stored.")
        self._store.run(SaveSnapshot(self._route.row, prefix, key, data, version, self._store.clock.now_ms()))

    def snapshot(self, key: object) -> Snapshot[Any] | None:
        """The stored state of a key."""
        found = read_snapshot(self._store.environment, self._prefix(key))
        if found is None:
            return None
        version, timestamp_ms, data = found
        try:
            return Snapshot(self._codec().decode(data), version, timestamp_ms)
        except ValueError as error:
            raise decode_error(
                error,
                f"cannot read the snapshot of key {key!r} of topic {self._route.row.name!r}: {error}. The events are "
                "unaffected. Open the topic with the class that wrote it, or save another snapshot.",
            ) from error

    def fold(self, key: object, function: Callable[[S, Any], S], initial: S) -> tuple[S, int]:
        """The state that the records of a key make, and its version."""
        snapshot = self.snapshot(key)
        state, version = (initial, 0) if snapshot is None else (snapshot.state, snapshot.version)
        prefix, is_all = self._prefix(key), False
        while not is_all:
            rows, is_all = self._rows(prefix, version + 1, None, is_reversed=False)
            for event in self._events_of(key, rows, version + 1, None, is_reversed=False):
                state = function(state, event.value)
            if rows:  # the last records may be deleted; the version is that of the key all the same
                version = rows[-1][0] + row_count(rows[-1][1]) - 1
        return state, version


class _Place:
    """Names a row in errors; its text is made only when there is one."""

    __slots__ = ("_key", "_topic", "_version")

    def __init__(self, topic: str, key: object, version: int) -> None:
        self._topic = topic
        self._key = key
        self._version = version

    def __str__(self) -> str:
        return f"version {self._version} of key {self._key!r} of topic {self._topic!r}"
