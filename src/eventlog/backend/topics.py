"""
Topics as the backend stores them, and the errors that name a missing one.

These are values that every backend takes and returns; they do not say what a row looks like.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol
from uuid import UUID

from eventlog.errors import UnknownTopic
from eventlog.named_tuples import NamedTuple
from eventlog.options import UNCHANGED

if TYPE_CHECKING:
    from eventlog.backend.maintenance import RedactReport

DUPLICATE_WINDOW_MS = 86_400_000
"""How long a topic remembers message ids unless it was created with another window: one day."""

_MSGPACK: Final[dict[str, object]] = {"name": "msgpack"}


class Retention(NamedTuple):
    """
    What a topic keeps: its options `retention` in ms, `retention_bytes` and `until_read_by`.

    Without any of them it keeps everything. `EventLog.topic` says what each one means.
    """

    most_ms: int | None = None
    most_bytes: int | None = None
    until_read_by: tuple[str, ...] = ()

    @property
    def is_bounded(self) -> bool:
        """Whether anything is ever deleted."""
        return self != KEEP_ALL


KEEP_ALL: Final = Retention()

TOMBSTONE_MS = 86_400_000
"""How long a compacted topic keeps tombstones unless it was told otherwise: one day, as Kafka does."""


class Compaction(NamedTuple):
    """
    How the batches of a topic are rewritten in the background.

    `by` is "key" if only the newest record of each key is kept (`compaction=`); the three that follow it say when, and
    `most_lag_ms` at the latest when. `repack_ms` is `repack_after=` in ms: small batches of that age are merged.
    `EventLog.topic` says what each means.
    """

    by: str | None = None
    lag_ms: int = 0
    tombstone_ms: int = TOMBSTONE_MS
    least_dirty_ratio: float = 0.5
    repack_ms: int | None = None
    most_lag_ms: int | None = None

    @property
    def is_on(self) -> bool:
        """Whether anything is ever rewritten."""
        return self.by is not None or self.repack_ms is not None


NO_COMPACTION: Final = Compaction()


class NewTopic(NamedTuple):
    """A topic to be created; the backend gives it an id."""

    name: str
    partitions: int
    key: dict[str, object]
    value: dict[str, object]
    partitioner: str
    max_record_bytes: int
    index: str | None  # type: ignore[assignment]
    duplicate_window_ms: int
    snapshot: dict[str, object]
    retention: Retention = KEEP_ALL
    compression: str | None = None
    compaction: Compaction = NO_COMPACTION
    kafka_configs: tuple[tuple[str, str], ...] = ()


class StoredTopic(NamedTuple):
    """
    A topic as it was stored when somebody read it.

    `id` is never given to another topic of the log, `uuid` to no other topic of any log. A topic that was deleted and
    created again under the same name has another id and uuid. `key`, `value` and `snapshot` describe codecs.
    `kafka_configs` is what an administrator has set through a Kafka listener, by Kafka's names, as it was written.
    """

    name: str
    id: int
    uuid: UUID
    partitions: int
    key: dict[str, object]
    value: dict[str, object]
    partitioner: str
    max_record_bytes: int
    created_ms: int
    index: str | None = None  # type: ignore[assignment]
    duplicate_window_ms: int = DUPLICATE_WINDOW_MS
    snapshot: dict[str, object] = _MSGPACK
    retention: Retention = KEEP_ALL
    compression: str | None = None
    compaction: Compaction = NO_COMPACTION
    kafka_configs: tuple[tuple[str, str], ...] = ()

    @property
    def is_cleaned(self) -> bool:
        """Whether the cleaner has anything to do with it."""
        return self.retention.is_bounded or self.compaction.is_on


class TopicChanges(NamedTuple):
    """Options of a topic that are to become others; `UNCHANGED` for one that stays."""

    retention: Retention = UNCHANGED
    compression: str | None = UNCHANGED
    compaction: Compaction = UNCHANGED
    max_record_bytes: int = UNCHANGED
    kafka_configs: tuple[tuple[str, str], ...] = UNCHANGED


def deleted_topic(name: str, verb: str) -> UnknownTopic:
    """The error for a topic that was deleted since it was opened."""
    return UnknownTopic(
        f"cannot {verb} topic {name!r}: it was deleted.",
        stored="Nothing was changed.",
        advice="Call log.topic() to create another one of that name.",
        topic=name,
    )


def unknown_topic(name: str) -> UnknownTopic:
    """The error for a topic that the log does not have."""
    return UnknownTopic(
        f"the log has no topic {name!r}.",
        stored="Nothing was changed.",
        advice=f"Create it with log.topic({name!r}, partitions=1).",
        topic=name,
    )


class TopicBackend(Protocol):
    """
    The topics of a log, as they are stored.

    Any thread may call. What looks reads the newest commit and waits for nobody. What changes something blocks for a
    commit, is durable when it returns, and has changed nothing when it raises.
    """

    @property
    def max_key_bytes(self) -> int:
        """The most bytes of a key in a topic with an index, counted as `index_key_bytes` does."""
        ...

    def index_key_bytes(self, key: bytes) -> int:
        """The size of a key in the index: at least its length, and at most twice that."""
        ...

    def topic(self, name: str) -> StoredTopic | None:
        """The topic of that name, None when there is none."""
        ...

    def require_topic(self, name: str) -> StoredTopic:
        """The topic of that name; `UnknownTopic` when there is none."""
        ...

    def check_topic(self, topic: StoredTopic) -> StoredTopic:
        """The topic as it is stored now; `UnknownTopic` when it was deleted, whether or not another has its name."""
        ...

    def topics(self) -> list[StoredTopic]:
        """All topics, by name."""
        ...

    def topics_version(self) -> int:
        """A number that rises whenever topics or partitions come or go, in any process."""
        ...

    def ensure_topic(self, new: NewTopic) -> StoredTopic:
        """
        Create a topic unless one of its name exists; the stored one either way, which may have other options.

        Of several callers at once, in any process, one creates it.
        """
        ...

    def create_partitions(self, topic: StoredTopic, total: int) -> StoredTopic:
        """
        Raise the number of partitions to `total`, and return the topic as it is stored then.

        Changes nothing when the topic has as many, or more.

        Raises:
            UnknownTopic: if the topic was deleted.
        """
        ...

    def delete_topic(self, name: str) -> None:
        """
        Remove a topic with its records, its index, and all committed offsets of it.

        Raises:
            UnknownTopic: if there is none of that name.
        """
        ...

    def alter_topic(self, topic: StoredTopic, changes: TopicChanges) -> StoredTopic:
        """
        Give a topic other options; the topic as it is stored then.

        Durable when it returns. Cleaners of all processes follow it from their next pass on.

        Raises:
            FormatTooOld: the log is of a format without such an option. Nothing was changed.
            UnknownTopic: it was deleted. Nothing was changed.
        """
        ...

    def redact(self, topic: StoredTopic, key: bytes, *, dry_run: bool) -> RedactReport:
        """
        Make tombstones of the stored records of a key, in many commits; only count them in a dry run.

        Raises:
            CorruptBatch, FormatTooNew, MissingLibrary: a batch or a schedule cannot be read. What came before it is
                redacted.
            UnknownTopic: the topic was deleted.
        """
        ...

    def delete_records(self, topic: StoredTopic, before: Mapping[int, int]) -> None:
        """
        Remove the records before an offset, for each of some partitions; all of them or none.

        Raises:
            OffsetOutOfRange: if an offset lies beyond the end of its partition.
            UnknownTopic: if the topic was deleted.
        """
        ...
