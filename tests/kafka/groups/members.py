"""Members of classic groups, request by request, over a connection of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from eventlog.kafka import Listener, protocol
from eventlog.kafka.protocol.api_keys import ApiKey
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.protocol.primitives import NO_UUID
from tests.kafka.wire import Wire


def subscription(*topics: str) -> bytes:
    """What a consumer says of the topics that it wants."""
    codec = protocol.codec("ConsumerProtocolSubscription", 0)
    return b"".join((b"\0\0", *codec.encode({"topics": list(topics)})))


def assignment(**topics: list[int]) -> bytes:
    """What a leader says of the partitions that a consumer gets."""
    codec = protocol.codec("ConsumerProtocolAssignment", 0)
    assigned = [{"topic": topic, "partitions": numbers} for topic, numbers in topics.items()]
    return b"".join((b"\0\0", *codec.encode({"assigned_partitions": assigned})))


class GroupMember(Wire):
    """One client that may be a member of a group."""

    def __init__(
        self,
        listener: Listener,
        group: str = "billing",
        *,
        instance_id: str | None = None,
        topics: tuple[str, ...] = ("orders",),
        session_ms: int = 10_000,
        rebalance_ms: int = 20_000,
    ) -> None:
        super().__init__(listener)
        self.group = group
        self.instance_id = instance_id
        self.topics = topics
        self.session_ms = session_ms
        self.rebalance_ms = rebalance_ms
        self.member_id = ""
        self.generation = -1
        self.leader = ""
        self.members: list[dict[str, Any]] = []

    @property
    def is_leader(self) -> bool:
        """Whether it leads its generation."""
        return self.leader == self.member_id

    def send_join(self, version: int = 9) -> None:
        """Ask to join, with the id that it has."""
        self.send(
            ApiKey.JOIN_GROUP,
            version,
            {
                "group_id": self.group,
                "session_timeout_ms": self.session_ms,
                "rebalance_timeout_ms": self.rebalance_ms,
                "member_id": self.member_id,
                "group_instance_id": self.instance_id,
                "protocol_type": "consumer",
                "protocols": [{"name": "range", "metadata": subscription(*self.topics)}],
            },
        )

    def receive_join(self) -> ErrorCode:
        """Wait for the answer to a join."""
        answer = self.receive()
        if answer["member_id"]:
            self.member_id = answer["member_id"]
        self.generation, self.leader, self.members = answer["generation_id"], answer["leader"], answer["members"]
        self.answer = answer
        return ErrorCode(answer["error_code"])

    def begin_join(self, version: int = 9) -> None:
        """Get an id if it has none and needs one, and ask to join with it."""
        if not self.member_id and self.instance_id is None and version >= 4:
            self.send_join(version)
            assert self.receive_join() is ErrorCode.MEMBER_ID_REQUIRED
        self.send_join(version)

    def join(self, version: int = 9) -> ErrorCode:
        """Join, and wait for the answer."""
        self.begin_join(version)
        return self.receive_join()

    def send_sync(self, assignments: Mapping[str, bytes] | None = None, version: int = 5) -> None:
        """Ask for the assignment; a leader gives those of all."""
        self.send(
            ApiKey.SYNC_GROUP,
            version,
            {
                "group_id": self.group,
                "generation_id": self.generation,
                "member_id": self.member_id,
                "group_instance_id": self.instance_id,
                "protocol_type": "consumer",
                "protocol_name": "range",
                "assignments": [
                    {"member_id": member_id, "assignment": data} for member_id, data in (assignments or {}).items()
                ],
            },
        )

    def receive_sync(self) -> tuple[ErrorCode, bytes]:
        """Wait for the answer to a sync."""
        answer = self.receive()
        return ErrorCode(answer["error_code"]), bytes(answer["assignment"])

    def sync(self, assignments: Mapping[str, bytes] | None = None, version: int = 5) -> tuple[ErrorCode, bytes]:
        """Ask for the assignment, and wait for the answer."""
        self.send_sync(assignments, version)
        return self.receive_sync()

    def heartbeat(self, version: int = 4) -> ErrorCode:
        """Give a sign of life."""
        answer = self.ask(
            ApiKey.HEARTBEAT,
            version,
            {
                "group_id": self.group,
                "generation_id": self.generation,
                "member_id": self.member_id,
                "group_instance_id": self.instance_id,
            },
        )
        return ErrorCode(answer["error_code"])

    def leave(self, version: int = 5) -> ErrorCode:
        """Leave the group."""
        member = {"member_id": self.member_id, "group_instance_id": self.instance_id}
        body = {"group_id": self.group, "members": [member]} if version >= 3 else {"group_id": self.group, **member}
        if version < 3:
            del body["group_instance_id"]
        answer = self.ask(ApiKey.LEAVE_GROUP, version, body)
        inner = answer["members"][0]["error_code"] if answer["members"] else ErrorCode.NONE
        return ErrorCode(answer["error_code"] or inner)

    def commit(
        self,
        offsets: dict[int, int],
        *,
        topic: str = "orders",
        version: int = 9,
        metadata: str | None = "",
        epoch: int = -1,
        topic_id: UUID = NO_UUID,
    ) -> list[ErrorCode]:
        """Commit offsets of one topic, by partition; the outcome of each."""
        partitions = [
            {
                "partition_index": number,
                "committed_offset": offset,
                "committed_leader_epoch": epoch,
                "committed_metadata": metadata,
            }
            for number, offset in offsets.items()
        ]
        answer = self.ask(
            ApiKey.OFFSET_COMMIT,
            version,
            {
                "group_id": self.group,
                "generation_id_or_member_epoch": self.generation,
                "member_id": self.member_id,
                "group_instance_id": self.instance_id,
                "topics": [{"name": topic, "topic_id": topic_id, "partitions": partitions}],
            },
        )
        return [ErrorCode(one["error_code"]) for one in answer["topics"][0]["partitions"]]

    def committed(self, *partitions: int, topic: str = "orders") -> list[int]:
        """The offsets that the group has committed in a topic; -1 where there is none."""
        answer = self.ask(
            ApiKey.OFFSET_FETCH,
            8,
            {
                "groups": [
                    {"group_id": self.group, "topics": [{"name": topic, "partition_indexes": list(partitions)}]}
                ],
                "require_stable": True,
            },
        )
        return [one["committed_offset"] for one in answer["groups"][0]["topics"][0]["partitions"]]
