"""
Reading groups: what a member looks at each time it polls, and what people ask for.

Each call is one short read transaction that ends before it returns. Knows nothing of the rules.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from eventlog.groups.state import Group
from eventlog.store.env import FORMAT, GROUPS, MEMBERS, OFFSETS, TOPICS, Environment, Snapshot
from eventlog.store.group_rows import load, member_key, member_prefix, split_member_key
from eventlog.store.tables import TOPICS_VERSION_KEY, TopicRow, unpack_offset


@attrs.frozen
class Glance:
    """
    Is what concerns one member: two rows as they stand, and the version of the topics.

    The rows are bytes: who saw the same before need not read them. `transaction` is the snapshot's number.
    """

    group: bytes
    member: bytes | None
    topics_version: int
    transaction: int


class SnapshotRows:
    """Reads rows of one snapshot."""

    def __init__(self, environment: Environment, transaction: Snapshot) -> None:
        self._environment = environment
        self._transaction = transaction

    def get(self, table: bytes, key: bytes) -> memoryview | None:
        """The value of a row, None when there is none."""
        return self._transaction.get(key, db=self._environment.table(table))

    def items(self, table: bytes, prefix: bytes) -> Iterator[tuple[bytes, memoryview]]:
        """The rows whose keys begin with `prefix`, in key order."""
        with self._transaction.cursor(db=self._environment.table(table)) as cursor:
            if cursor.set_range(prefix):
                for view, value in cursor.iternext():
                    key = bytes(view)
                    if not key.startswith(prefix):
                        return
                    yield key, value


def glance(environment: Environment, group: str, member_id: str) -> Glance:
    """What concerns one member now."""
    with environment.reading() as transaction:
        head = transaction.get(group.encode(), db=environment.table(GROUPS))
        row = transaction.get(member_key(group, member_id), db=environment.table(MEMBERS))
        version = transaction.get(TOPICS_VERSION_KEY, db=environment.table(FORMAT))
        return Glance(
            b"" if head is None else bytes(head),
            None if row is None else bytes(row),
            0 if version is None else int.from_bytes(version, "big"),
            transaction.id(),
        )


def member_ids(environment: Environment, group: str) -> list[str]:
    """The ids of a group's members, in order."""
    with environment.reading() as transaction:
        rows = SnapshotRows(environment, transaction).items(MEMBERS, member_prefix(group))
        return [split_member_key(key)[1] for key, _ in rows]


@attrs.frozen
class GroupSnapshot:
    """Is a group and all topics, of one snapshot."""

    group: Group
    topics: list[TopicRow]
    topics_version: int


def group_snapshot(environment: Environment, name: str) -> GroupSnapshot:
    """A group, and the topics that its members may want."""
    with environment.reading() as transaction:
        rows = SnapshotRows(environment, transaction)
        version = rows.get(FORMAT, TOPICS_VERSION_KEY)
        return GroupSnapshot(
            load(rows, name),
            [TopicRow.unpack(key, data) for key, data in rows.items(TOPICS, b"")],
            0 if version is None else int.from_bytes(version, "big"),
        )


def group_names(environment: Environment) -> list[str]:
    """All groups that have, or had, members or offsets."""
    with environment.reading() as transaction:
        rows = SnapshotRows(environment, transaction)
        names = {key.decode() for key, _ in rows.items(GROUPS, b"")}
        names |= {key[:-9].decode() for key, _ in rows.items(OFFSETS, b"")}
        return sorted(names)


def committed_offsets(environment: Environment, group: str) -> dict[tuple[int, int], int]:
    """All offsets of a group, by topic id and partition."""
    with environment.reading() as transaction:
        rows = SnapshotRows(environment, transaction).items(OFFSETS, member_prefix(group))
        return {
            (int.from_bytes(key[-8:-4], "big"), int.from_bytes(key[-4:], "big")): unpack_offset(data)
            for key, data in rows
            if len(key) == len(member_prefix(group)) + 8
        }
