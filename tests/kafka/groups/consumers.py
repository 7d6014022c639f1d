"""Members of the new protocol of consumer groups, heartbeat by heartbeat."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from eventlog.kafka import Listener
from eventlog.kafka.protocol.api_keys import ApiKey
from eventlog.kafka.protocol.errors import ErrorCode
from tests.kafka.wire import Wire


class ConsumerClient(Wire):
    """One client that does what it is told: it stops using partitions as soon as they are no longer assigned."""

    def __init__(
        self,
        listener: Listener,
        group: str = "billing",
        *,
        topics: tuple[str, ...] | None = ("orders",),
        regex: str | None = None,
        instance_id: str | None = None,
        rebalance_ms: int = 20_000,
    ) -> None:
        super().__init__(listener)
        self.group = group
        self.topics = topics
        self.regex = regex
        self.instance_id = instance_id
        self.rebalance_ms = rebalance_ms
        self.member_id = str(uuid4())
        self.epoch = 0
        self.owned: dict[UUID, list[int]] = {}
        self.answer: dict[str, Any] = {}

    def beat(self, *, version: int = 1, is_obedient: bool = True, **fields: Any) -> ErrorCode:
        """Send a heartbeat with some fields, and take the assignment that comes."""
        self.answer = self.ask(
            ApiKey.CONSUMER_GROUP_HEARTBEAT,
            version,
            {
                "group_id": self.group,
                "member_id": self.member_id,
                "member_epoch": self.epoch,
                "instance_id": self.instance_id,
                "topic_partitions": None,
                **fields,
            },
        )
        code = ErrorCode(self.answer["error_code"])
        if code is ErrorCode.NONE and is_obedient:
            self.epoch = self.answer["member_epoch"]
            self.member_id = self.answer["member_id"]
            if self.answer["assignment"] is not None:
                assigned = self.answer["assignment"]["topic_partitions"]
                self.owned = {one["topic_id"]: one["partitions"] for one in assigned}
        return code

    def join(self, *, version: int = 1, **fields: Any) -> ErrorCode:
        """Join, with nothing owned."""
        self.epoch, self.owned = 0, {}
        regex = {"subscribed_topic_regex": self.regex} if version >= 1 else {}
        return self.beat(
            version=version,
            rebalance_timeout_ms=self.rebalance_ms,
            subscribed_topic_names=None if self.topics is None else list(self.topics),
            topic_partitions=[],
            **regex,
            **fields,
        )

    def report(self, **fields: Any) -> ErrorCode:
        """Send a heartbeat that says what is owned."""
        owned = [{"topic_id": topic_id, "partitions": numbers} for topic_id, numbers in self.owned.items()]
        return self.beat(topic_partitions=owned, **fields)

    def leave(self, epoch: int = -1) -> ErrorCode:
        """Leave, or step aside with -2."""
        self.epoch = epoch
        return self.beat()

    @property
    def partitions(self) -> list[int]:
        """What it owns of all topics together."""
        return sorted(number for numbers in self.owned.values() for number in numbers)

    def commit(self, offsets: dict[int, int], *, topic: str = "orders", epoch: int | None = None) -> list[ErrorCode]:
        """Commit offsets of one topic, by partition."""
        partitions = [
            {"partition_index": number, "committed_offset": offset, "committed_metadata": ""}
            for number, offset in offsets.items()
        ]
        answer = self.ask(
            ApiKey.OFFSET_COMMIT,
            9,
            {
                "group_id": self.group,
                "generation_id_or_member_epoch": self.epoch if epoch is None else epoch,
                "member_id": self.member_id,
                "group_instance_id": self.instance_id,
                "topics": [{"name": topic, "partitions": partitions}],
            },
        )
        return [ErrorCode(one["error_code"]) for one in answer["topics"][0]["partitions"]]


def settle(*clients: ConsumerClient) -> None:
    """Have clients beat, and report, until nothing changes any more."""
    quiet = 0
    while quiet < 2:
        before = [(client.epoch, client.partitions) for client in clients]
        for client in clients:
            assert client.report() is ErrorCode.NONE
        quiet = quiet + 1 if before == [(client.epoch, client.partitions) for client in clients] else 0
