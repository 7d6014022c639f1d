"""What a log with an index, message ids and states should be: dicts and lists."""

from __future__ import annotations

from typing import Any

import attrs


@attrs.frozen
class Stored:
    """One record where it is; `version` is None without an index or a key."""

    topic: str
    partition: int
    offset: int
    key: str | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    log_position: int
    version: int | None

    @property
    def content(self) -> tuple[Any, ...]:
        """What a message id stands for."""
        return self.key, self.value, self.headers


@attrs.define
class TopicModel:
    """One topic: which of its records are deleted, how many each key had, who has which id."""

    has_index: bool
    partitions: int
    ends: dict[int, int] = attrs.Factory(dict)
    firsts: dict[int, int] = attrs.Factory(dict)
    versions: dict[str, int] = attrs.Factory(dict)
    ids: dict[str, Stored] = attrs.Factory(dict)
    snapshots: dict[str, tuple[int, Any]] = attrs.Factory(dict)

    def bounds(self) -> dict[int, tuple[int, int]]:
        """First and end of each partition."""
        return {number: (self.firsts.get(number, 0), self.ends.get(number, 0)) for number in range(self.partitions)}


@attrs.define
class EventsModel:
    """The log."""

    topics: dict[str, TopicModel] = attrs.Factory(dict)
    records: list[Stored] = attrs.Factory(list)
    log_position: int = 0
    states: dict[str, dict[Any, Any]] = attrs.Factory(dict)
    offsets: dict[tuple[str, int], int] = attrs.Factory(dict)

    def add(
        self, name: str, partition: int, key: str | None, value: bytes | None, headers: Any, message_id: str | None
    ) -> Stored:
        """Stores a record, unless one is stored under its id."""
        topic = self.topics[name]
        if message_id is not None and message_id in topic.ids:
            return topic.ids[message_id]
        version = None
        if topic.has_index and key is not None:
            version = topic.versions[key] = topic.versions.get(key, 0) + 1
        offset = topic.ends.get(partition, 0)
        topic.ends[partition] = offset + 1
        stored = Stored(name, partition, offset, key, value, headers, self.log_position, version)
        self.log_position += 1
        self.records.append(stored)
        if message_id is not None:
            topic.ids[message_id] = stored
        return stored

    def living(self, name: str | None = None) -> list[Stored]:
        """The records that may be read, in the order of the log."""
        return [
            record
            for record in self.records
            if (name is None or record.topic == name)
            and record.topic in self.topics
            and record.offset >= self.topics[record.topic].firsts.get(record.partition, 0)
        ]

    def history(self, name: str, key: str) -> list[Stored]:
        """The records of a key."""
        found = [record for record in self.living(name) if record.key == key]
        return sorted(found, key=lambda record: record.version or 0)

    def compact(self, name: str, *, drops_tombstones: bool) -> None:
        """Keeps the newest record of each key and partition, and the newest of the partition."""
        living = self.living(name)
        keys = {(one.partition, one.key): one.offset for one in living}
        newest = {one.partition: one.offset for one in living}
        gone = {
            (one.partition, one.offset)
            for one in living
            if newest[one.partition] != one.offset
            and (keys[one.partition, one.key] != one.offset or (drops_tombstones and one.value is None))
        }
        self.records = [one for one in self.records if one.topic != name or (one.partition, one.offset) not in gone]

    def next_offset(self, name: str, partition: int, offset: int) -> int:
        """The offset of the first record from one on, or the end: offsets between are the same to a reader."""
        behind = [one.offset for one in self.living(name) if one.partition == partition and one.offset >= offset]
        return behind[0] if behind else self.topics[name].ends.get(partition, 0)

    def drop(self, name: str) -> None:
        """Deletes a topic."""
        self.records = [record for record in self.records if record.topic != name]
        del self.topics[name]
        self.offsets = {place: offset for place, offset in self.offsets.items() if place[0] != name}
