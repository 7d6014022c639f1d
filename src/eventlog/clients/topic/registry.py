"""
The topics of an open log: opening what is stored, creating what is missing, remembering what was declared.

`EventLog.topic` says what is promised. Knows nothing of records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from eventlog.backend import Backend
from eventlog.backend.topics import (
    DUPLICATE_WINDOW_MS,
    KEEP_ALL,
    NO_COMPACTION,
    Compaction,
    NewTopic,
    Retention,
    StoredTopic,
)
from eventlog.batches.partitioners import Partitioner, partitioner_for
from eventlog.clients.topic.topic import EmbeddedTopic, Owner
from eventlog.clients.topic_handle import TopicHandle, check_library
from eventlog.codecs import Upcasters, codec_for, codec_from_stored
from eventlog.errors import TopicMismatch
from eventlog.named_tuples import NamedTuple
from eventlog.options import (
    LARGEST_RECORD_BYTES,
    MAX_PARTITIONS,
    MAX_RECORD_BYTES,
    check_compression,
    check_int,
    check_seconds,
    check_topic_name,
)


class TopicOptions(NamedTuple):
    """The options of a topic as a user passed them; None for those left out."""

    key: object = None
    value: object = None
    partitions: int | None = None
    partitioner: str | Partitioner | None = None
    max_record_bytes: int | None = None
    index: str | None = None  # type: ignore[assignment]
    duplicate_window: float | None = None
    snapshot: object = None
    upcasters: Upcasters | None = None
    retention: float | None = None
    retention_bytes: int | None = None
    until_read_by: Iterable[str] | None = None
    compression: str | None = None
    compaction: str | None = None
    compaction_lag: float | None = None
    max_compaction_lag: float | None = None
    tombstone_retention: float | None = None
    min_dirty_ratio: float | None = None
    repack_after: float | None = None

    def check(self) -> None:
        """Raise an error for options that no topic can have."""
        if self.partitions is not None:
            check_int("partitions", self.partitions, least=1, most=MAX_PARTITIONS)
        if self.max_record_bytes is not None:
            check_int("max_record_bytes", self.max_record_bytes, least=1, most=LARGEST_RECORD_BYTES)
        if self.duplicate_window is not None:
            check_seconds("duplicate_window", self.duplicate_window)
        self.stored_retention()
        check_compression(self.compression)
        if rewriting := self.rewriting:
            from eventlog.clients.topic.compaction import check_compaction  # few topics are compacted

            check_compaction(rewriting)
        if self.index not in (None, "key"):
            raise ValueError(f'index is "key" or None, not {self.index!r}. Nothing was stored.')

    def stored_retention(self) -> Retention:
        """The options that say what is kept, as they are stored."""
        if self.retention is None and self.retention_bytes is None and self.until_read_by is None:
            return KEEP_ALL
        from eventlog.clients.topic.retention import check_retention  # few topics have one: `import eventlog` is fast

        return check_retention(self.retention, self.retention_bytes, self.until_read_by)

    @property
    def rewriting(self) -> dict[str, object]:
        """The options that were passed and say how batches are rewritten."""
        return {name: value for name in _REWRITING if (value := getattr(self, name)) is not None}

    def stored_compaction(self, name: str) -> Compaction:
        """The same, as they are stored with a new topic."""
        rewriting = self.rewriting
        if not rewriting:
            return NO_COMPACTION
        from eventlog.clients.topic.compaction import new_compaction

        return new_compaction(name, rewriting)

    @property
    def duplicate_window_ms(self) -> int | None:
        """The window as it is stored."""
        return None if self.duplicate_window is None else round(self.duplicate_window * 1000)

    @property
    def declares(self) -> bool:
        """Whether it says anything that a `Topic` keeps."""
        declared = (self.key, self.value, self.partitioner, self.snapshot, self.upcasters)
        return any(one is not None for one in declared)


_REWRITING = (
    "compaction",
    "compaction_lag",
    "max_compaction_lag",
    "tombstone_retention",
    "min_dirty_ratio",
    "repack_after",
)
"""The fields of `TopicOptions` that say how batches are rewritten."""


class Topics:
    """
    Opens the topics of one log.

    Any thread may use it.
    """

    def __init__(self, store: Backend, owner: Callable[[], Owner], *, cleans: bool) -> None:
        self._store = store
        self._cleans = cleans
        self._owner = owner
        self._known: dict[str, EmbeddedTopic[Any, Any]] = {}

    def open(self, name: str, **given: Any) -> EmbeddedTopic[Any, Any]:
        """Open a topic with the options of `EventLog.topic`, and create it when the log has none of that name."""
        check_topic_name(name)
        options = TopicOptions(**given)
        options.check()
        row = self._store.topic(name)
        if row is None:
            row = self._create(name, options)
        _check_stored(row, options)
        topic = self._made(row, options)
        known = self._known.get(name)
        if known is None or known.uuid != topic.uuid or options.declares:
            self._known[name] = topic  # opening what is stored does not forget what was declared
        return topic

    def known(self, name: str) -> EmbeddedTopic[Any, Any]:
        """The stored topic of that name, with the codecs that this log was told of."""
        row = self._store.require_topic(check_topic_name(name))
        return self._of_row(row)

    def by_id(self) -> Mapping[int, TopicHandle]:
        """All topics by their ids, with the codecs that this log was told of."""
        return {row.id: self._of_row(row)._route for row in self._store.topics()}

    def forget(self, name: str) -> None:
        """Forgets what was declared of a topic that is about to be deleted."""
        self._known.pop(name, None)

    def _of_row(self, row: StoredTopic) -> EmbeddedTopic[Any, Any]:
        known = self._known.get(row.name)
        if known is None or known._route.row.uuid != row.uuid:
            known = self._known[row.name] = self._made(row, TopicOptions())
        return known

    def _made(self, row: StoredTopic, options: TopicOptions) -> EmbeddedTopic[Any, Any]:
        if options.snapshot is not None:
            codec_from_stored(row.snapshot, options.snapshot, topic=row.name, role="snapshot")
        route = TopicHandle(
            row,
            self._store,
            key=options.key,
            value=options.value,
            partitioner=options.partitioner,
            snapshot=options.snapshot,
            upcasters=options.upcasters,
        )
        if self._cleans and row.is_cleaned:
            self._store.keep_clean()
        return EmbeddedTopic(self._store, route, self._owner(), cleans=self._cleans)

    def _create(self, name: str, options: TopicOptions) -> StoredTopic:
        window_ms = options.duplicate_window_ms
        if options.compression is not None:
            check_library(options.compression, f"create topic {name!r}")
        new = NewTopic(
            name,
            options.partitions or 1,
            codec_for(options.key, topic=name, role="key").to_stored(),
            codec_for(options.value, topic=name, role="value", upcasters=options.upcasters).to_stored(),
            partitioner_for(options.partitioner)[0],
            options.max_record_bytes or MAX_RECORD_BYTES,
            options.index,
            DUPLICATE_WINDOW_MS if window_ms is None else window_ms,
            codec_for(
                "msgpack" if options.snapshot is None else options.snapshot, topic=name, role="snapshot"
            ).to_stored(),
            options.stored_retention(),
            options.compression,
            options.stored_compaction(name),
        )
        return self._store.ensure_topic(new)


def _check_stored(row: StoredTopic, options: TopicOptions) -> None:
    for option, asked, stored in (
        ("partitions", options.partitions, row.partitions),
        ("max_record_bytes", options.max_record_bytes, row.max_record_bytes),
        ("index", options.index, row.index),
        ("duplicate_window", options.duplicate_window_ms, row.duplicate_window_ms),
    ):
        if asked is not None and asked != stored:
            unit = " ms" if option == "duplicate_window" else ""
            raise TopicMismatch(
                f"cannot open topic {row.name!r} with {option}={asked!r}{unit}: it is stored with "
                f"{option}={stored!r}{unit}.",
                stored="The topic is unchanged.",
                advice=f"Leave {option}= out to open what is stored.",
                topic=row.name,
            )
    if options.compression is not None and options.compression != row.compression:
        text = f"compression={options.compression!r}"
        raise TopicMismatch(
            f"cannot open topic {row.name!r} with {text}: it is stored with compression={row.compression!r}.",
            stored="The topic is unchanged.",
            advice=f"Leave compression= out to open what is stored, or log.topic({row.name!r}).alter({text}).",
            topic=row.name,
        )
    retention = options.stored_retention()
    if retention.is_bounded:
        from eventlog.clients.topic.retention import check_stored_retention

        check_stored_retention(row, retention)
    if rewriting := options.rewriting:
        from eventlog.clients.topic.compaction import check_stored_compaction

        check_stored_compaction(row, rewriting)
