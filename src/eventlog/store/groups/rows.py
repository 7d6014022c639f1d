"""
The rows of a consumer group: one for the group, one for each member.

Layout: docs/reference/format.md. A change of one member writes one small row, and a member sees
whether anything concerns it by comparing the bytes of two. The rules are in `groups/rules.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from typing import Any, Protocol

from eventlog.groups.state import Group, Member, PartitionId, Subscription
from eventlog.interruptions import unless_interrupted
from eventlog.options import MAX_PARTITIONS, check_instance_id, check_topic_name
from eventlog.store.lmdb.environment import GROUPS, MEMBERS, OFFSETS
from eventlog.store.rows.packing import LARGEST_ID, NOT_A_ROW, checked, damaged, fields_of, moment, packed, whole
from eventlog.store.rows.tables import group_of_key, split_offset_key, unpack_offset

_VERSION = 1
_UNAFFECTED = "The records and the committed offsets"
_SEPARATOR = b"\0"
_MEMBER_ID = re.compile(b"[0-9a-f]{32}")
_SMALL_ROW_BYTES = 1024
_KNOWN_SMALL_COUNT = 1024
_KNOWN_LARGE_COUNT = 16
"""A row of a thousand partitions takes 300 kB once it is read."""


class Rows(Protocol):
    """A transaction that reads."""

    def get(self, table: bytes, key: bytes) -> bytes | memoryview | None:
        """The value of a row, None when there is none."""
        ...

    def items(self, table: bytes, prefix: bytes) -> Iterable[tuple[bytes, bytes | memoryview]]:
        """The rows whose keys begin with `prefix`, in key order."""
        ...


class WritableRows(Rows, Protocol):
    """A transaction that writes."""

    def put(self, table: bytes, key: bytes, value: bytes) -> None:
        """Write a row."""
        ...

    def delete(self, table: bytes, key: bytes) -> bool:
        """Remove a row; whether there was one."""
        ...


def member_prefix(group: str) -> bytes:
    """The prefix of the keys of a group's members."""
    return group.encode() + _SEPARATOR


def member_key(group: str, member_id: str) -> bytes:
    """The key of a member's row."""
    return member_prefix(group) + member_id.encode()


def split_member_key(key: bytes) -> tuple[str, str]:
    """The group and the id of a member, of the key of its row."""
    group, _, member_id = key.partition(_SEPARATOR)
    if _MEMBER_ID.fullmatch(member_id) is None:
        raise damaged(f"the key {key!r} of a member", "its id is not 32 hexadecimal digits", unaffected=_UNAFFECTED)
    return group_of_key(group), member_id.decode()


def load(rows: Rows, name: str) -> Group:
    """A group as it is stored; an empty one when nothing is."""
    group = unpack_group(name, rows.get(GROUPS, name.encode()))
    rows_of_members = rows.items(MEMBERS, member_prefix(name))
    members = [unpack_member(split_member_key(key)[1], bytes(data)) for key, data in rows_of_members]
    return Group(
        name,
        group.epoch,
        group.target_epoch,
        group.topics_version,
        group.newest_topic_id,
        group.partition_counts,
        group.assignor,
        group.created_ms,
        {member.id: member for member in members},
    )


def load_member(rows: Rows, group: str, member_id: str) -> Member | None:
    """One member as it is stored."""
    data = rows.get(MEMBERS, member_key(group, member_id))
    return None if data is None else unpack_member(member_id, bytes(data))


def load_offsets(rows: Rows, group: str) -> dict[PartitionId, int]:
    """All committed offsets of a group."""
    return {split_offset_key(key)[1:]: unpack_offset(data) for key, data in rows.items(OFFSETS, member_prefix(group))}


def save(rows: WritableRows, before: Group, after: Group) -> None:
    """Write what differs."""
    head = pack_group(after)
    if head != pack_group(before):
        rows.put(GROUPS, after.name.encode(), head)
    for member_id in before.members.keys() - after.members.keys():
        rows.delete(MEMBERS, member_key(after.name, member_id))
    for member_id, member in after.members.items():
        if before.members.get(member_id) is not member:
            rows.put(MEMBERS, member_key(after.name, member_id), pack_member(member))


def pack_group(group: Group) -> bytes:
    """The bytes of a group's own row."""
    return packed(
        {
            "version": _VERSION,
            "epoch": group.epoch,
            "target_epoch": group.target_epoch,
            "topics_version": group.topics_version,
            "newest_topic_id": group.newest_topic_id,
            "partition_counts": sorted(group.partition_counts.items()),
            "assignor": group.assignor,
            "created_ms": group.created_ms,
        }
    )


def unpack_group(name: str, data: bytes | memoryview | None) -> Group:
    """A group without its members, of the bytes of its row."""
    if data is None:
        return Group(name)
    try:
        fields = fields_of(data, f"group {name!r}", _VERSION)
        return Group(
            name,
            whole(fields["epoch"]),
            whole(fields["target_epoch"], 0, fields["epoch"]),
            whole(fields["topics_version"], -1),
            whole(fields["newest_topic_id"], 0, LARGEST_ID),
            {
                whole(topic, 1, LARGEST_ID): whole(count, 0, MAX_PARTITIONS)
                for topic, count in checked(fields["partition_counts"], list)
            },
            checked(fields["assignor"], str),
            moment(fields["created_ms"]),
        )
    except unless_interrupted(*NOT_A_ROW) as error:
        raise damaged(f"group {name!r}", error, unaffected=_UNAFFECTED) from error


def pack_member(member: Member) -> bytes:
    """The bytes of a member's row."""
    return packed(
        {
            "version": _VERSION,
            "instance_id": member.instance_id,
            "topics": member.subscription.topics,
            "patterns": member.subscription.patterns,
            "process_id": member.process_id,
            "joined_ms": member.joined_ms,
            "joined_epoch": member.joined_epoch,
            "owned": [
                [topic_id, [[partition, member.owned[topic_id, partition]] for partition in partitions]]
                for topic_id, partitions in _by_topic(member.owned)
            ],
            "target": [[topic_id, partitions] for topic_id, partitions in _by_topic(member.target)],
        }
    )


def unpack_member(member_id: str, data: bytes) -> Member:
    """
    A member, of the bytes of its row.

    Remembers what it read: most rows of a group are what they were when somebody looked last. Of large rows, which
    only groups of few members have, it remembers few.
    """
    return _unpacked_small(member_id, data) if len(data) <= _SMALL_ROW_BYTES else _unpacked_large(member_id, data)


def _unpacked(member_id: str, data: bytes) -> Member:
    try:
        fields = fields_of(data, f"member {member_id!r}", _VERSION)
        instance_id = fields["instance_id"]
        return Member(
            member_id,
            None if instance_id is None else check_instance_id(instance_id),
            Subscription(
                tuple(check_topic_name(topic) for topic in checked(fields["topics"], list)),
                tuple(_pattern(text, flags) for text, flags in checked(fields["patterns"], list)),
            ),
            moment(fields["process_id"]),
            moment(fields["joined_ms"]),
            whole(fields["joined_epoch"]),
            {
                (topic_id, whole(partition, 0, MAX_PARTITIONS - 1)): whole(epoch)
                for topic_id, partitions in _by_topic_id(fields["owned"])
                for partition, epoch in partitions
            },
            frozenset(
                (topic_id, whole(partition, 0, MAX_PARTITIONS - 1))
                for topic_id, partitions in _by_topic_id(fields["target"])
                for partition in partitions
            ),
        )
    except unless_interrupted(*NOT_A_ROW) as error:
        raise damaged(f"member {member_id!r}", error, unaffected=_UNAFFECTED) from error


def _pattern(text: object, flags: object) -> tuple[str, int]:
    """A stored pattern, which `re` takes."""
    pattern = (checked(text, str), whole(flags))
    try:
        re.compile(*pattern)
    except unless_interrupted(RecursionError, OverflowError) as error:
        raise ValueError(f"{text!r:.60} is not a pattern: {error}") from error
    return pattern


def _by_topic_id(value: object) -> Iterator[tuple[int, list[Any]]]:
    for topic_id, partitions in checked(value, list):
        yield whole(topic_id, 1, LARGEST_ID), checked(partitions, list)


_unpacked_small = lru_cache(maxsize=_KNOWN_SMALL_COUNT)(_unpacked)
_unpacked_large = lru_cache(maxsize=_KNOWN_LARGE_COUNT)(_unpacked)


def _by_topic(partitions: Iterable[PartitionId]) -> Iterator[tuple[int, list[int]]]:
    for topic_id, pairs in groupby(sorted(partitions), key=lambda pair: pair[0]):
        yield topic_id, [partition for _, partition in pairs]
