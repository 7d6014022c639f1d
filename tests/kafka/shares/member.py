"""A member of a share group, by single requests."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from eventlog.kafka import Listener
from eventlog.kafka.protocol import ApiKey, ErrorCode
from tests.kafka.wire import Wire

ACCEPT, RELEASE, REJECT, RENEW = 1, 2, 3, 4
GROUP = 32


class Member:
    """One member of the group "mailers", with a connection for its heartbeats and one for its session."""

    def __init__(self, listener: Listener, name: str, group: str = "mailers") -> None:
        self.listener = listener
        self.name = name
        self.group = group
        self.wire = Wire(listener)
        self.beats = Wire(listener)
        self.epoch = 0
        self.member_epoch = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.die()

    def die(self) -> None:
        """End both connections, as a crash does."""
        self.wire.close()
        self.beats.close()

    def configure(self, **configs: str) -> None:
        """Set configs of the group."""
        settings = [
            {"name": name.replace("_", "."), "config_operation": 0, "value": value} for name, value in configs.items()
        ]
        resource = {"resource_type": GROUP, "resource_name": self.group, "configs": settings}
        body = {"resources": [resource], "validate_only": False}
        (answer,) = self.beats.ask(ApiKey.INCREMENTAL_ALTER_CONFIGS, 1, body)["responses"]
        assert answer["error_code"] == 0, answer

    def beat(self, epoch: int, *topics: str) -> dict[str, Any]:
        """Send a heartbeat."""
        body = {
            "group_id": self.group,
            "member_id": self.name,
            "member_epoch": epoch,
            "subscribed_topic_names": list(topics) or None,
        }
        return self.beats.ask(ApiKey.SHARE_GROUP_HEARTBEAT, 1, body)

    def join(self, *topics: str) -> None:
        """Join the group."""
        answer = self.beat(0, *topics)
        assert answer["error_code"] == 0, answer
        self.member_epoch = answer["member_epoch"]

    def body(
        self,
        epoch: int,
        topic: str | None = None,
        partitions: tuple[int, ...] = (),
        said: tuple[tuple[int, int, int], ...] = (),
        **fields: Any,
    ) -> dict[str, Any]:
        """The body of a fetch or of acknowledgements: of offsets (first, last, type) of the first partition."""
        topic_id = None if topic is None else self.listener.log._store.require_topic(topic).uuid  # type: ignore[attr-defined]
        batches = [
            {"first_offset": first, "last_offset": last, "acknowledge_types": [kind]} for first, last, kind in said
        ]
        parts = [
            {"partition_index": number, "acknowledgement_batches": batches if number == partitions[0] else []}
            for number in partitions
        ]
        return {
            "group_id": self.group,
            "member_id": self.name,
            "share_session_epoch": epoch,
            "max_wait_ms": 0,
            "min_bytes": 1,
            "max_bytes": 1 << 20,
            "max_records": 100,
            "batch_size": 100,
            "topics": [] if topic_id is None else [{"topic_id": topic_id, "partitions": parts}],
            "forgotten_topics_data": [],
            **fields,
        }

    def begin(self, topic: str = "jobs", partitions: tuple[int, ...] = (0,), **fields: Any) -> list[tuple[int, ...]]:
        """Begin a session with some partitions; what it gets."""
        self.epoch = 0
        return self.fetch(topic, partitions, **fields)

    def send_fetch(self, topic: str | None = None, partitions: tuple[int, ...] = (), **fields: Any) -> None:
        """Send a fetch of the session."""
        self.wire.send(ApiKey.SHARE_FETCH, 2, self.body(self.epoch, topic, partitions, **fields))

    def fetched(self) -> list[tuple[int, ...]]:
        """What a fetch has brought: partition, offset and delivery count of each record."""
        answer = self.wire.receive()
        assert answer["error_code"] == ErrorCode.NONE, answer
        self.epoch += 1
        self.answer = answer
        return [
            (part["partition_index"], offset, acquired["delivery_count"])
            for topic in answer["responses"]
            for part in topic["partitions"]
            for acquired in part["acquired_records"]
            for offset in range(acquired["first_offset"], acquired["last_offset"] + 1)
        ]

    def fetch(self, topic: str | None = None, partitions: tuple[int, ...] = (), **fields: Any) -> list[tuple[int, ...]]:
        """Fetch in the session; what it gets."""
        self.send_fetch(topic, partitions, **fields)
        return self.fetched()

    def acknowledge(self, *said: tuple[int, int, int], topic: str = "jobs", epoch: int | None = None) -> ErrorCode:
        """Say what becomes of offsets of the first partition; the code of the answer."""
        asked = self.epoch if epoch is None else epoch
        body = self.body(asked, topic, (0,), said) if said else self.body(asked)
        answer = self.wire.ask(ApiKey.SHARE_ACKNOWLEDGE, 2, {**body, "is_renew_ack": True})
        if answer["error_code"]:
            return ErrorCode(answer["error_code"])
        self.epoch += 1
        codes = [part["error_code"] for each in answer["responses"] for part in each["partitions"]]
        return ErrorCode(codes[0] if codes else 0)
