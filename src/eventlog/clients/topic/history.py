"""
Reading a topic by key: the history of one entity, its latest record, its version, its snapshot.

For topics with an index. Each call is one short read of the log, or several where a history is long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import datetime
from typing import Any, Generic, TypeVar, cast

from eventlog.backend import Backend
from eventlog.backend.history import KeyEvents
from eventlog.clients.reading.batch_reader import decode_error
from eventlog.clients.topic_handle import TopicHandle
from eventlog.clock import to_ms
from eventlog.codecs import Codec, codec_from_stored
from eventlog.errors import DecodeError, OffsetOutOfRange
from eventlog.interruptions import unless_interrupted
from eventlog.options import MAX_OFFSET, check_end, check_function, check_int
from eventlog.records import Event, K, Snapshot, V

_KEYS_AT_ONCE = 1000
_NEVER = 1 << 64
"""Later than any timestamp, and behind any position."""
S = TypeVar("S")


class History(Generic[K, V]):
    """
    The records of one topic by their keys.

    Any thread may use it.
    """

    def __init__(self, store: Backend, handle: TopicHandle) -> None:
        self._store = store
        self._handle = handle
        self._snapshot_codec: Codec[Any] | None = None

    def _check_index(self) -> None:
        handle = self._handle
        if handle.row.index is None:
            raise ValueError(
                f"topic {handle.row.name!r} cannot be read by key: it was made without an index. Nothing was read. "
                'Make a topic with log.topic(..., index="key").'
            )

    def _encoded(self, key: object) -> bytes:
        handle = self._handle
        if handle.row.index is None:
            self._check_index()
        if key is None:
            raise ValueError("None is no key: records without one are not in the index. Nothing was read.")
        data = handle.key_codec.encode(key)
        assert data is not None
        return data

    # -- events ----------------------------------------------------------------------------------------------

    def history(
        self, key: object, start: int, end: int | None, *, is_reversed: bool, max_records: int | None
    ) -> Iterator[Event[K, V]]:
        """The records of a key, from version `start` to `end`."""
        first = start  # entities are read often: no call for what is right
        if type(start) is not int or not 1 <= start <= MAX_OFFSET:
            first = check_int("start", start, least=1, most=MAX_OFFSET)
        if end is not None:
            check_end("end", end, least=1, most=MAX_OFFSET)
        if max_records is not None:
            check_int("max_records", max_records, least=0)
        encoded = self._encoded(key)
        most = 1 if max_records == 0 else max_records
        part = self._store.read_events(
            self._handle.row,
            encoded,
            key,
            first,
            end,
            is_reversed=is_reversed,
            max_events=most,
            value_type=self._handle.value_codec.plain_type,
        )
        if not part.events and first > 1:
            self._check_start(encoded, key, first)
        if max_records == 0:
            return iter(())
        if part.is_all or len(part.events) == max_records:
            return iter(part.events if part.has_values else self._decoded(part))
        return self._walk(encoded, key, part, first, end, max_records, is_reversed=is_reversed)

    def _check_start(self, encoded: bytes, key: object, first: int) -> None:
        """Raise `OffsetOutOfRange` for a start that is behind the version that the next record of the key gets."""
        row = self._handle.row
        end = self._store.key_version(row, encoded) + 1
        if first > end:
            raise OffsetOutOfRange(
                f"version {first} of key {key!r} of topic {row.name!r} is out of range: the next record of the key "
                f"gets version {end}.",
                stored="Nothing was read.",
                advice=f"Read from {end} at most; a reader that was further has read another log, or this one before "
                "it was restored.",
                first=1,
                end=end,
                topic=row.name,
            )

    def end_version(self, key: object, end: int | datetime | None, end_log_position: int | None) -> int:
        """
        The version before which to stop: `end`, or that of the first record at a time or at a position.

        Timestamps need not rise, so this walks over the records of the key. Without such a record it is the version
        that the next one gets: what is appended after this look is not of then.
        """
        moment_ms = _NEVER if not isinstance(end, datetime) else to_ms(end)
        stop = None if isinstance(end, datetime) or end is None else check_end("end", end, least=1, most=MAX_OFFSET)
        position = _NEVER if end_log_position is None else check_int("end_log_position", end_log_position, least=0)
        encoded = self._encoded(key)
        if moment_ms == position == _NEVER and stop is not None:
            return stop
        first = 1
        while True:
            part = self._read(encoded, key, first, stop)
            for event in part.events:
                if event.timestamp_ms >= moment_ms or event.log_position >= position:
                    return event.version
            first = part.next_version
            if part.is_all:
                return first if stop is None else min(first, stop)

    def _read(
        self,
        encoded: bytes,
        key: object,
        first: int,
        end: int | None,
        *,
        is_reversed: bool = False,
        max_events: int | None = None,
    ) -> KeyEvents:
        return self._store.read_events(
            self._handle.row,
            encoded,
            key,
            first,
            end,
            is_reversed=is_reversed,
            max_events=max_events,
            value_type=self._handle.value_codec.plain_type,
        )

    def _walk(
        self,
        encoded: bytes,
        key: object,
        part: KeyEvents,
        first: int,
        end: int | None,
        max_records: int | None,
        *,
        is_reversed: bool,
    ) -> Iterator[Event[K, V]]:
        """The events of one part after the other; each value is decoded when its event is asked for."""
        left = max_records
        while True:
            for event in part.events:
                if not part.has_values:
                    self._decode(event)
                yield event
            if left is not None:
                left -= len(part.events)
            if part.is_all or left == 0:
                return
            if is_reversed:
                end = part.next_version
            else:
                first = part.next_version
            part = self._read(encoded, key, first, end, is_reversed=is_reversed, max_events=left)

    def _decoded(self, part: KeyEvents) -> list[Event[K, V]]:
        """The events of a part, with their values decoded."""
        if not part.has_values:
            decode = cast("Callable[[bytes | None], Any]", self._handle.value_codec.decode)
            for event in part.events:
                try:
                    event.value = decode(event.value)
                except unless_interrupted(ValueError) as error:
                    raise self._undecodable(event, error) from error
        return part.events

    def _decode(self, event: Event[Any, Any]) -> None:
        try:
            event.value = self._handle.value_codec.decode(event.value)
        except unless_interrupted(ValueError) as error:
            raise self._undecodable(event, error) from error

    def _undecodable(self, event: Event[Any, Any], error: ValueError) -> DecodeError:
        return decode_error(
            error,
            f"cannot read version {event.version} of key {event.key!r} of topic {event.topic!r}: {error}.",
            stored="The record is intact on disk.",
            advice="Open the topic with the codec that wrote it.",
            topic=event.topic,
            partition=event.partition,
            offset=event.offset,
        )

    def latest(self, key: object) -> Event[K, V] | None:
        """The last record of a key."""
        part = self._read(self._encoded(key), key, 1, None, is_reversed=True, max_events=1)
        while not part.events and not part.is_all:
            part = self._read(self._encoded(key), key, 1, part.next_version, is_reversed=True, max_events=1)
        return self._decoded(part)[0] if part.events else None

    def version(self, key: object) -> int:
        """The number of records that a key ever had."""
        return self._store.key_version(self._handle.row, self._encoded(key))

    # -- keys ------------------------------------------------------------------------------------------------

    def keys(self, prefix: str | bytes | None) -> Iterator[K]:
        """The keys, in byte order."""
        self._check_index()
        data = prefix.encode(errors="surrogatepass") if isinstance(prefix, str) else b"" if prefix is None else prefix
        if not isinstance(data, bytes):
            raise TypeError(f"prefix is a str or bytes, not {type(prefix).__name__}. Nothing was read.")
        return self._walk_keys(data, self._read_keys(data, None))

    def _read_keys(self, prefix: bytes, after: bytes | None) -> list[bytes]:
        return self._store.read_keys(self._handle.row, prefix, after, _KEYS_AT_ONCE)

    def _walk_keys(self, prefix: bytes, keys: list[bytes]) -> Iterator[K]:
        decode = cast("Callable[[bytes], Any]", self._handle.key_codec.decode)
        while keys:
            for key in keys:
                try:
                    decoded = decode(key)
                except unless_interrupted(ValueError) as error:
                    raise decode_error(
                        error,
                        f"cannot read the key {key[:60]!r} of topic {self._handle.row.name!r}: {error}.",
                        stored="Its records are intact on disk.",
                        advice="Open the topic with the codec that wrote it.",
                        topic=self._handle.row.name,
                    ) from error
                yield decoded
            keys = self._read_keys(prefix, keys[-1])

    # -- snapshots -------------------------------------------------------------------------------------------

    def _codec(self) -> Codec[Any]:
        codec = self._snapshot_codec
        if codec is None:
            row = self._handle.row
            codec = codec_from_stored(row.snapshot, self._handle.snapshot, topic=row.name, role="snapshot")
            self._snapshot_codec = codec
        return codec

    def save_snapshot(self, key: object, state: object, version: int) -> None:
        """Store a state of a key."""
        check_int("version", version, least=1)
        encoded = self._encoded(key)
        data = self._codec().encode(state)
        if data is None:
            raise TypeError("None is no state to keep as a snapshot. Nothing was stored.")
        self._store.save_key_snapshot(self._handle.row, encoded, key, data, version)

    def snapshot(self, key: object) -> Snapshot[Any] | None:
        """The stored state of a key."""
        return self._snapshot(key, self._encoded(key))

    def _snapshot(self, key: object, encoded: bytes) -> Snapshot[Any] | None:
        found = self._store.key_snapshot(self._handle.row, encoded)
        if found is None:
            return None
        try:
            return Snapshot(self._codec().decode(found.data), found.version, found.timestamp_ms)
        except unless_interrupted(ValueError) as error:
            raise decode_error(
                error,
                f"cannot read the snapshot of key {key!r} of topic {self._handle.row.name!r}: {error}.",
                stored="The events are unaffected.",
                advice="Open the topic with the class that wrote it, or save another snapshot.",
                topic=self._handle.row.name,
            ) from error

    def delete_snapshot(self, key: object) -> None:
        """Delete the stored state of a key."""
        self._store.delete_key_snapshot(self._handle.row, self._encoded(key))

    def fold(
        self, key: object, function: Callable[[S, Any], S], initial: S, end: int | None, *, uses_snapshot: bool
    ) -> tuple[S, int]:
        """The state that the records of a key make, those before version `end`, and its version."""
        check_function("function", function, "Nothing was read.")
        encoded = self._encoded(key)
        snapshot = self._snapshot(key, encoded) if uses_snapshot else None
        if snapshot is not None and end is not None and snapshot.version >= end:
            snapshot = None
        # The function may change the state that it is given, and the next call may begin with the same object.
        state, version = (deepcopy(initial), 0) if snapshot is None else (snapshot.state, snapshot.version)
        is_all = False
        while not is_all and (end is None or version + 1 < end):
            part = self._read(encoded, key, version + 1, end)
            for event in self._decoded(part):
                state = function(state, event.value)
            # The last records may be deleted; their versions count all the same.
            version = (part.next_version if end is None else min(part.next_version, end)) - 1
            is_all = part.is_all
        return state, version
