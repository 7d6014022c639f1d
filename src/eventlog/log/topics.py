"""The topics of a log: opening, listing and deleting them."""

from __future__ import annotations

from types import UnionType
from typing import Any, TypeAlias, TypedDict, TypeVar, Unpack, overload

from eventlog.batches.partitioners import Partitioner
from eventlog.clients.topic.registry import TopicOptions
from eventlog.clients.topic.topic import Topic
from eventlog.codecs import Upcasters
from eventlog.log.part import LogPart
from eventlog.options import Index, check_topic_name
from eventlog.store.records.topics import DeleteTopic

KT = TypeVar("KT")
VT = TypeVar("VT")
_Class: TypeAlias = type[VT] | tuple[type[VT], ...] | list[type[VT]]
_Untyped: TypeAlias = str | UnionType | None


class _Options(TypedDict, total=False):
    """Is what a topic may be made with, beside its types."""

    partitions: int | None
    partitioner: str | Partitioner | None
    max_record_bytes: int | None
    index: Index | None
    duplicate_window: float | None
    snapshot: object
    upcasters: Upcasters | None


class LogTopics(LogPart):
    """Is what a log says of its topics."""

    @overload
    def topic(self, name: str, *, key: type[KT], value: _Class[VT], **options: Unpack[_Options]) -> Topic[KT, VT]: ...
    @overload
    def topic(
        self, name: str, *, key: type[KT], value: _Untyped = None, **options: Unpack[_Options]
    ) -> Topic[KT, Any]: ...
    @overload
    def topic(
        self, name: str, *, key: _Untyped = None, value: _Class[VT], **options: Unpack[_Options]
    ) -> Topic[Any, VT]: ...
    @overload
    def topic(
        self, name: str, *, key: _Untyped = None, value: _Untyped = None, **options: Unpack[_Options]
    ) -> Topic[Any, Any]: ...
    def topic(
        self,
        name: str,
        *,
        key: Any = None,
        value: Any = None,
        partitions: int | None = None,
        partitioner: str | Partitioner | None = None,
        max_record_bytes: int | None = None,
        index: Index | None = None,
        duplicate_window: float | None = None,
        snapshot: object = None,
        upcasters: Upcasters | None = None,
    ) -> Topic[Any, Any]:
        """
        Opens a topic, and creates it when the log has none of that name.

        All options are stored with the topic. An option that is not given means what is stored, or the default
        when the topic is new; one that differs from what is stored is an error.

        Args:
            name: 1 to 249 characters of `[A-Za-z0-9._-]` (Kafka's rule), not `.` or `..`.
            key: the codec of the keys: `bytes` (default), `str`, `int`, "json", "msgpack" or an attrs class.
            value: the codec of the values, likewise.
            partitions: how many, 1 (default) to 100,000. Records of one key go to one partition.
            partitioner: "crc32" (default, as librdkafka), "murmur2" (as Kafka's Java client), or a function of a
                module, of the key's bytes and the number of partitions.
            max_record_bytes: bound of one record's key, value and headers (default 1 MiB, most 1 GiB).
            index: "key" keeps the records of each key together as well, numbered from 1: for `history`, `latest`,
                `version` and `expected_version`. Keys have at most 480 bytes then. None (default) does not.
            duplicate_window: for how many seconds a `message_id` is remembered (default 86,400: a day).
            snapshot: the codec of the states that `save_snapshot` keeps, as `value` (default "msgpack").
            upcasters: for the stored name of an event class, the functions that turn the fields of version 1 into
                those of version 2, and so on; not stored. For values of several classes.

        Raises:
            TopicMismatch: if the stored topic differs. It is unchanged; the message names both.
            InvalidTopicName, ValueError, TypeError: for what cannot be. Nothing was stored.
            ImportError: for an attrs class without cattrs: `pip install "eventlog[cattrs]"`.
        """
        self._check_open()
        options = TopicOptions(
            key,
            value,
            partitions,
            partitioner,
            max_record_bytes,
            index,
            duplicate_window,
            snapshot,
            upcasters,
        )
        return self._topics.open(name, options)

    def topics(self) -> list[str]:
        """The names of all topics, sorted."""
        self._check_open()
        return [row.name for row in self._store.topics()]

    def delete_topic(self, name: str) -> None:
        """
        Deletes a topic with its records and all committed offsets of it.

        A later topic of that name begins empty.

        Raises:
            UnknownTopic: if there is none. Nothing was deleted.
        """
        self._check_open()
        self._topics.forget(name)
        self._store.run(DeleteTopic(check_topic_name(name)))
