"""
The copy of a topic into another one, with other types: its records, its positions and the offsets of its groups.

The copy has a state, which every transaction changes together with the records that it stores; so a copy that was
killed goes on where it stopped, and no record is there twice. The rows of the state:

    ("copy",)                     the ids of both topics, the next log position, the number of records
    ("partition", number)         the old offset and the new offset after the last record
    ("offsets", number, old)      the new offset and the length of a run of records without a gap, from `old` on

Built on the public interface alone, so any backend with states and a log order can offer it. Decision record:
docs/decisions/0042-copies-of-topics.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from eventlog.api.event_log import EventLog
from eventlog.api.topic import Topic
from eventlog.api.transaction import Transaction
from eventlog.clients.state.state import State
from eventlog.errors import ConflictError, OffsetOutOfRange, TopicMismatch, TransactionTooLarge
from eventlog.interruptions import unless_interrupted
from eventlog.options import check_bool, check_function, check_int
from eventlog.records import Record, TopicPartition

K = TypeVar("K")
V = TypeVar("V")

_NAMED = ("bytes", "str", "int", "float", "bool", "uuid", "date", "datetime", "decimal", "json", "msgpack")
"""The codecs that can be declared by the name that `Topic.key` and `Topic.value` have."""


class TopicCopy(Generic[K, V]):
    """
    The copy of a topic: where its records are now, and what has become of its groups.

    Get one from `EventLog.copy_topic()`, again at any time: it is stored with the log. Any thread may use it.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     ranges = log.topic("texts", value=str).append_many(["1", "2", "3"])
        ...     copy = log.copy_topic("texts", to="numbers", value=int, convert=int)
        ...     [record.value for record in copy.topic.read()], copy.offset(0, 2)
        ([1, 2, 3], 2)
    """

    def __init__(self, log: EventLog, source: str, topic: Topic[K, V], name: str) -> None:
        self._log = log
        self._source = source
        self._topic = topic
        self._name = name

    @property
    def topic(self) -> Topic[K, V]:
        """The new topic."""
        return self._topic

    @property
    def records(self) -> int:
        """The number of records that were copied, in all calls together."""
        count: int = self._view().get(("copy",), {}).get("records", 0)
        return count

    def offset(self, partition: int, offset: int) -> int:
        """
        Return the offset that stands in the new topic for one of the old topic.

        For a record it is the offset of its copy; for the offset of a record that was deleted before, that of the next
        copy; and for the end of what was copied, the end of the copies.

        Raises:
            OffsetOutOfRange: the record has not been copied yet. Call `copy_topic` again.
            ValueError, TypeError: the partition or the offset is no number of that kind.
        """
        check_int("partition", partition, least=0)
        check_int("offset", offset, least=0)
        view = self._view()
        old_end, new_end = view.get(("partition", partition)) or (0, 0)
        if offset > old_end:
            raise OffsetOutOfRange(
                f"offset {offset} of {self._source}[{partition}] has not been copied: the copy has reached {old_end}.",
                stored="Nothing was changed.",
                advice="Call copy_topic() again, and ask then.",
                first=0,
                end=old_end,
                topic=self._source,
                partition=partition,
            )
        found: int = new_end
        prefix = ("offsets", partition)
        for (_, _, old), (new, count) in view.items(prefix, (*prefix, offset + 1), is_reversed=True):
            if offset < old + count:
                return int(new) + offset - int(old)
            break
        for _, (new, _) in view.items((*prefix, offset), ("offsets", partition + 1)):
            found = int(new)
            break
        return found

    def carry_groups(self, *groups: str, force: bool = False) -> dict[str, dict[TopicPartition, int]]:
        """
        Commit for groups of the old topic the offsets in the new one at which they go on.

        A group finds in the new topic exactly the records that it has not finished in the old one. Its offsets in the
        old topic stay.

        Args:
            groups: their names; all groups with offsets in the old topic if left out.
            force: fence live members instead of refusing.

        Returns:
            The offsets in the new topic, by group.

        Raises:
            GroupNotEmpty: a member is live, and `force` is not given. The groups before it were carried.
            OffsetOutOfRange: a group has finished records that were not copied yet. As above.
        """
        check_bool("force", force)
        carried: dict[str, dict[TopicPartition, int]] = {}
        for group in groups or self._log.groups.list():
            offsets = {
                TopicPartition(self._topic.name, place.partition): self.offset(place.partition, place.committed)
                for place in self._log.groups.describe(group).offsets
                if place.topic == self._source and place.committed is not None
            }
            if offsets:
                carried[group] = self._log.groups.reset_offsets(group, offsets=offsets, force=force)
        return carried

    def _view(self) -> Any:
        return self._log.state(self._name, key=tuple, value="msgpack")

    def __repr__(self) -> str:
        return f"<TopicCopy of {self._source!r} in {self._topic.name!r}: {self.records} records>"


TopicCopy.__module__ = "eventlog"


def copy_topic(
    log: EventLog,
    source: str | Topic[Any, Any],
    *,
    to: str | Topic[Any, Any],
    key: Any,
    value: Any,
    convert: Callable[[Any], Any] | None,
    progress: Callable[[int, int], object] | None,
    max_records: int,
) -> TopicCopy[Any, Any]:
    """Copy what the topic has at the call; `EventLog.copy_topic` says what is promised."""
    check_int("max_records", max_records, least=1)
    for name, function in (("convert", convert), ("progress", progress)):
        if function is not None:
            check_function(name, function, "Nothing was changed.")
    old = source if isinstance(source, Topic) else _existing(log, source)
    new = to if isinstance(to, Topic) else _target(log, old, to, key, value)
    if new.name == old.name:
        raise ValueError(f"cannot copy topic {old.name!r} to itself. Nothing was changed. Pass another name as to=.")
    _check_alike(old, new)
    copying = _Copying(log, old, new, convert, progress)
    copying.run(max_records)
    return TopicCopy(log, old.name, new, copying.name)


def _existing(log: EventLog, name: str) -> Topic[Any, Any]:
    """Open the old topic, which must be there."""
    if name not in log.topics():
        log.consumer(name).close()  # raises UnknownTopic in its own words
    return log.topic(name)


def _target(log: EventLog, old: Topic[Any, Any], name: str, key: Any, value: Any) -> Topic[Any, Any]:
    """Open the new topic, or create it as the old one is."""
    if name in log.topics():
        return log.topic(name, key=key, value=value)
    for role, declared, codec in (("key", key, old.key), ("value", value, old.value)):
        if declared is None and codec not in _NAMED:
            raise ValueError(
                f"cannot copy topic {old.name!r} to {name!r}: its {role}s have the codec {codec!r}, which is declared "
                f"by a class or an object. Nothing was stored. Pass {role}= for the new topic."
            )
    if old.partitioner.startswith("custom:"):
        raise ValueError(
            f"cannot copy topic {old.name!r} to {name!r}: its partitioner is a function. Nothing was stored. Create "
            "the new topic with log.topic(), and pass it as to=."
        )
    options: dict[str, Any] = {
        "partitions": old.partitions,
        "partitioner": old.partitioner,
        "max_record_bytes": old.max_record_bytes,
        "index": old.index,
        "duplicate_window": old.duplicate_window,
        "compression": old.compression,
    }
    return log.topic(name, key=old.key if key is None else key, value=old.value if value is None else value, **options)


def _check_alike(old: Topic[Any, Any], new: Topic[Any, Any]) -> None:
    """Check that the records can keep their partitions."""
    reason = None
    if old.partitions != new.partitions:
        reason = f"they have {old.partitions} and {new.partitions} partitions"
    elif old.partitions > 1 and old.partitioner != new.partitioner:
        reason = f"their partitioners are {old.partitioner!r} and {new.partitioner!r}"
    elif old.partitions > 1 and old.key != new.key:
        reason = f"their keys have the codecs {old.key!r} and {new.key!r}, and other bytes lead to other partitions"
    if reason:
        raise ValueError(
            f"cannot copy topic {old.name!r} to {new.name!r}: {reason}, so its records would not keep their "
            "partitions. Nothing was stored. Copy into a topic that is alike in this."
        )


class _Copying:
    """One call of `copy_topic`."""

    def __init__(
        self,
        log: EventLog,
        old: Topic[Any, Any],
        new: Topic[Any, Any],
        convert: Callable[[Any], Any] | None,
        progress: Callable[[int, int], object] | None,
    ) -> None:
        self.name = f"copy:{old.name}:{new.name}"
        self._log = log
        self._old = old
        self._new = new
        self._convert = convert
        self._progress = progress
        self._done = 0

    def run(self, most: int) -> None:
        """Copy up to the end that the log has now."""
        end = self._log.end_log_position()
        first = self._begin()
        total = self._remaining()
        while first < end:
            records = list(self._log.read_all(first, end=end, topics=[self._old], max_records=most))
            follower = records[-1][0] + 1 if len(records) == most else end
            try:
                self._store(first, follower, [record for _, record in records])
            except unless_interrupted(ConflictError):
                first = self._begin()  # another process copies too, and was faster
                continue
            except unless_interrupted(TransactionTooLarge):
                if most == 1:
                    raise
                most = max(1, most // 4)
                continue
            self._done += len(records)
            first = follower
            if self._progress is not None:
                self._progress(self._done, total)

    def _begin(self) -> int:
        """Return the log position at which to go on; begins again if one of the topics is not the one copied before."""
        ids = [str(self._old.uuid), str(self._new.uuid)]

        def begin(tx: Transaction) -> int:
            state = self._state(tx)
            row = state.get(("copy",))
            if row is not None and row["topics"] == ids:
                return int(row["next"])
            for key in list(state):
                del state[key]
            self._check_ends(state, row)
            state["copy",] = {"topics": ids, "next": 0, "records": 0}
            return 0

        return self._log.transact(begin)

    def _remaining(self) -> int:
        """Return the number of records that are still to be copied, as far as the old topic tells."""
        view = self._log.state(self.name, key=tuple, value="msgpack")
        copied: dict[int, int] = {
            number: (view.get(("partition", number)) or (0, 0))[0] for number in range(self._old.partitions)
        }
        bounds = self._old.bounds()
        return sum(max(0, end - max(first, copied.get(number, 0))) for number, (first, end) in bounds.items())

    def _store(self, first: int, follower: int, records: list[Record[Any, Any]]) -> None:
        """Store the copies of some records and the place after them, in one transaction."""
        with self._log.transaction() as tx:
            state = self._state(tx)
            row = state["copy",]
            if row["next"] != first:
                raise self._overtaken()
            if records:
                self._check_ends(state, row)
            sent = [(record, tx.send(self._new, self._converted(record), **_rest(record))) for record in records]
            expected = dict(self._placed(state, records))
            state["copy",] = {**row, "next": follower, "records": row["records"] + len(records)}
        for record, delivery in sent:
            if delivery.result().offset != expected[record.partition, record.offset]:
                raise self._disturbed(record.partition)

    def _state(self, tx: Transaction) -> State[Any, Any]:
        return tx.state(self.name, key=tuple, value="msgpack")

    def _converted(self, record: Record[Any, Any]) -> Any:
        if self._convert is None or record.value is None:
            return record.value
        try:
            return self._convert(record.value)
        except unless_interrupted(Exception) as error:  # the caller's code may raise any error
            error.add_note(f"while copying offset {record.offset} of {record.topic}[{record.partition}]")
            raise

    def _placed(
        self, state: State[Any, Any], records: Iterable[Record[Any, Any]]
    ) -> Iterator[tuple[tuple[int, int], int]]:
        """Write the runs of records into the state, and return the new offset of each."""
        ends: dict[int, tuple[int, int]] = {}
        runs: dict[int, tuple[int, int, int]] = {}
        changed: dict[tuple[int, int], tuple[int, int]] = {}
        for record in records:
            number, offset = record.partition, record.offset
            if number not in ends:
                old_end, new_end = state.get(("partition", number)) or (0, 0)
                ends[number] = int(old_end), int(new_end)
            old_end, new_end = ends[number]
            run = runs.get(number) or self._last_run(state, number)
            if run is None or offset != old_end:
                run = (offset, new_end, 0)
            old, new, count = runs[number] = (run[0], run[1], run[2] + 1)
            changed[number, old] = (new, count)
            ends[number] = (offset + 1, new_end + 1)
            yield (number, offset), new_end
        for (number, old), place in changed.items():
            state["offsets", number, old] = list(place)
        for number, end in ends.items():
            state["partition", number] = list(end)

    @staticmethod
    def _last_run(state: State[Any, Any], number: int) -> tuple[int, int, int] | None:
        for (_, _, old), (new, count) in state.items(prefix=("offsets", number), is_reversed=True):
            return int(old), int(new), int(count)
        return None

    def _check_ends(self, state: State[Any, Any], row: Any) -> None:
        """
        Check that nobody else has written to the new topic: the offsets of copies are known beforehand.

        Another process that copies may have stored something between the look at the state and that at the topic. Then
        the stored row is not the one that was read, and the transaction is to begin again.
        """
        for number, (_, end) in self._new.bounds().items():
            if end != (state.get(("partition", number)) or (0, 0))[1]:
                if self._log.state(self.name, key=tuple, value="msgpack").get(("copy",)) != row:
                    raise self._overtaken()
                raise self._disturbed(number)

    def _overtaken(self) -> ConflictError:
        return ConflictError(
            f"another process copies topic {self._old.name!r} to {self._new.name!r} too, and was faster.",
            stored="Nothing was stored.",
            advice="Begin again with what it has stored.",
        )

    def _disturbed(self, number: int) -> TopicMismatch:
        return TopicMismatch(
            f"cannot copy topic {self._old.name!r} to {self._new.name!r}: its partition {number} has records that are "
            "not of this copy.",
            stored="What was copied before is stored.",
            advice="Copy into a topic of another name, and let nobody write to it before the copy is complete.",
            topic=self._new.name,
            partition=number,
        )


def _rest(record: Record[Any, Any]) -> dict[str, Any]:
    """Return what a copy takes over as it is."""
    return {
        "key": record.key,
        "partition": record.partition,
        "headers": record.headers,
        "timestamp_ms": record.timestamp_ms,
    }
