"""
Reading groups: the rows that a member checks at each poll, and the descriptions for people.

Each call is one short read transaction that ends before it returns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from eventlog.backend.groups import GroupDetails, MemberView, unknown_group
from eventlog.backend.topics import StoredTopic
from eventlog.groups.state import GroupSnapshot
from eventlog.store.groups.rows import (
    load,
    member_key,
    member_prefix,
    split_member_key,
    unpack_group,
    unpack_member,
)
from eventlog.store.lmdb.environment import FORMAT, GROUPS, MEMBERS, OFFSETS, TOPICS, Environment, Snapshot, Transaction
from eventlog.store.records.reader import bounds_within
from eventlog.store.rows.packing import damaged
from eventlog.store.rows.tables import (
    TOPICS_VERSION_KEY,
    group_of_key,
    split_offset_key,
    unpack_commit,
    unpack_topic,
    unpack_topics_version,
)

_BEHIND = b"\1"
"""What stands behind all rows of a group, after its name: they have a zero byte there, and names have none."""


class SnapshotRows:
    """The rows of one snapshot."""

    def __init__(self, environment: Environment, transaction: Snapshot) -> None:
        self._environment = environment
        self._transaction = transaction

    def get(self, table: bytes, key: bytes) -> bytes | None:
        """The value of a row, None when there is none."""
        return self._environment.row(self._transaction, table, key)

    def items(self, table: bytes, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The rows whose keys begin with `prefix`, in key order."""
        with self._transaction.cursor(db=self._environment.table(table)) as cursor:
            if cursor.set_range(prefix):
                for view, data in cursor.iternext():
                    key = bytes(view)
                    if not key.startswith(prefix):
                        return
                    yield key, self._environment.value(table, key, data)


def member_view(environment: Environment, group: str, member_id: str, known: MemberView | None) -> MemberView:
    """
    What concerns one member now.

    A row that has the same bytes as in the view that is known is not read again.
    """

    def look(transaction: Transaction) -> tuple[bytes, bytes | None, bytes | None, int]:
        row = environment.row
        return (
            row(transaction, GROUPS, group.encode()) or b"",
            row(transaction, MEMBERS, member_key(group, member_id)),
            row(transaction, FORMAT, TOPICS_VERSION_KEY),
            transaction.id(),
        )

    head, row, version, number = environment.read(look)
    known_head, known_row = (None, None) if known is None else cast(tuple[bytes, bytes | None], known.seen)
    stored = known.group if known is not None and head == known_head else unpack_group(group, head or None)
    if known is not None and row == known_row:
        member = known.member
    else:
        member = None if row is None else unpack_member(member_id, row)
    return MemberView(stored, member, unpack_topics_version(version), number, (head, row))


def member_ids(environment: Environment, group: str) -> list[str]:
    """The ids of a group's members, in order."""
    with environment.reading() as transaction:
        rows = SnapshotRows(environment, transaction).items(MEMBERS, member_prefix(group))
        return [split_member_key(key)[1] for key, _ in rows]


def group_snapshot(environment: Environment, name: str) -> GroupSnapshot[StoredTopic]:
    """A group, and the topics that its members may want."""
    with environment.reading() as transaction:
        rows = SnapshotRows(environment, transaction)
        return GroupSnapshot(
            load(rows, name),
            [unpack_topic(key, data) for key, data in rows.items(TOPICS, b"")],
            unpack_topics_version(rows.get(FORMAT, TOPICS_VERSION_KEY)),
        )


def group_names(environment: Environment) -> list[str]:
    """The names of all groups that have members or offsets; the rows of one group are skipped."""
    names: set[str] = set()
    with environment.reading() as transaction:
        for table in (MEMBERS, OFFSETS):
            with transaction.cursor(db=environment.table(table)) as cursor:
                is_found, behind = cursor.first(), b""
                while is_found:
                    key = bytes(cursor.key())
                    if key < behind:
                        raise damaged(f"table {table.decode()!r}", "its rows are not sorted")
                    name = name_of_key(key)
                    names.add(group_of_key(name))
                    behind = name + _BEHIND
                    is_found = cursor.set_range(behind)
    return sorted(names)


def name_of_key(key: bytes) -> bytes:
    """The group of the row of a member or of an offset."""
    return key.partition(b"\0")[0]


def group_details(environment: Environment, name: str) -> GroupDetails:
    """All that is stored of a group."""
    with environment.reading() as transaction:
        rows = SnapshotRows(environment, transaction)
        group = load(rows, name)
        topics = {row.id: row for row in (unpack_topic(key, data) for key, data in rows.items(TOPICS, b""))}
        commits = {
            split_offset_key(key)[1:]: unpack_commit(data) for key, data in rows.items(OFFSETS, member_prefix(name))
        }
        if not group.members and not commits:
            raise unknown_group(name, "describe")
        named = set(commits).union(*(member.owned.keys() | member.target for member in group.members.values()))
        there = sorted(
            (topic_id, number)
            for topic_id, number in named
            if topic_id in topics and number < topics[topic_id].partitions
        )
        return GroupDetails(
            group,
            topics,
            unpack_topics_version(rows.get(FORMAT, TOPICS_VERSION_KEY)),
            commits,
            dict(zip(there, bounds_within(environment, transaction, there), strict=True)),
            transaction.id(),
            {},
        )
