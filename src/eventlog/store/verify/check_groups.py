"""The check of the tables of groups: every row can be read, and they agree with each other and with the topics."""

from __future__ import annotations

from eventlog.groups.state import PartitionId
from eventlog.store.groups.rows import split_member_key, unpack_group, unpack_member
from eventlog.store.lmdb.environment import GROUPS
from eventlog.store.rows.tables import TOPIC_ROWS, group_of_key, is_ahead, split_offset_key, unpack_offset
from eventlog.store.verify.walk import Problems, SnapshotReader, said


class _GroupRows:
    """What the checks of the three tables share."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def unreadable(self, key: bytes, error: BaseException) -> None:
        """Report a row that cannot be read."""
        name = key.split(b"\0")[0].decode("utf-8", "backslashreplace")
        self._problems.add(f"group {name!r}: {said(error)}")


class GroupCheck(_GroupRows):
    """Checks each group's own row."""

    def row(self, _: SnapshotReader, key: bytes, data: bytes) -> None:
        """Check one row."""
        unpack_group(group_of_key(key), data)


class MemberCheck(_GroupRows):
    """Checks each member: its group has a row, and no other member owns what it owns."""

    def __init__(self, problems: Problems) -> None:
        super().__init__(problems)
        self._group = ""
        self._owners: dict[PartitionId, str] = {}

    def row(self, snapshot: SnapshotReader, key: bytes, data: bytes) -> None:
        """Check one row; those of a group follow each other."""
        name, member_id = split_member_key(key)
        member = unpack_member(member_id, data)
        if name != self._group:
            self._group, self._owners = name, {}
            if snapshot.get(GROUPS, name.encode()) is None:
                self._problems.add(f"group {name!r}: it has members and no row of its own.")
        for partition in member.owned:
            other = self._owners.setdefault(partition, member_id)
            if other != member_id:
                self._problems.add(
                    f"group {name!r}: partition {partition[1]} of topic id {partition[0]} has two owners, members "
                    f"{other} and {member_id}."
                )


class OffsetCheck(_GroupRows):
    """Checks each committed offset: there is such a partition, and it comes so far."""

    def row(self, snapshot: SnapshotReader, key: bytes, data: bytes) -> None:
        """Check one row."""
        name, topic_id, partition = split_offset_key(key)
        offset = unpack_offset(data)
        topic = snapshot.topic(topic_id)
        if snapshot.has_left(TOPIC_ROWS, topic_id):
            return  # a deletion of the topic has not come to it yet
        if topic is None or partition >= topic.partitions:
            self._problems.add(
                f"group {name!r}: it has an offset for partition {partition} of "
                f"{'topic id ' + str(topic_id) if topic is None else topic.name}, which does not exist."
            )
        elif not is_ahead(data) and offset > (end := snapshot.bounds(topic_id, partition)[1]):
            self._problems.add(
                f"group {name!r}: it has committed offset {offset} of {topic.name}[{partition}], which ends at {end}."
            )
