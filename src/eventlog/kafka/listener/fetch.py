"""
Fetch: stored record batches from some offsets on, at once or when enough has come.

What is there is answered at once; else the request waits for appends of any process, native ones too, for `max_wait_ms`
at most. The first batch that is found comes back even if it is larger than every bound (KIP-74). What a session of
fetches adds to a request, and leaves out of its answer, is in `fetch_sessions.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from eventlog.backend.kafka import KafkaFetch, KafkaFetched
from eventlog.errors import EventLogError
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.listener.failures import code_of
from eventlog.kafka.listener.partitions import NO_ID, judge, topic_asked
from eventlog.kafka.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from eventlog.backend.topics import StoredTopic
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

MOST_BYTES: Final = 16_777_216
"""
No answer is larger, whatever a client asks, but for one batch that is. Kafka's broker has 55 MiB (`fetch.max.bytes`);
here it is what the loop can make while others wait for it.
"""
_RARELY: Final = 10
"""A fetch that waits for more bytes rests ten times as long as it took to look: a tenth of the loop is for it."""
_LEAST_REST_S: Final = 0.002
_MOST_REST_S: Final = 0.25
_NOWHERE: Final = (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.UNKNOWN_TOPIC_ID)
_BY_ID: Final = 13
_COMMITTED: Final = 1


class _Fetch:
    """One request: what it asks, partition by partition, and its answer."""

    def __init__(self, broker: Broker, request: Request) -> None:
        body = request.body
        self._broker = broker
        self._topics: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
        self._wanted: list[tuple[KafkaFetch, dict[str, Any]]] = []
        self._is_committed = body["isolation_level"] == _COMMITTED
        self._max_bytes = max(0, min(body.get("max_bytes", MOST_BYTES), MOST_BYTES))
        self.min_bytes: int = min(body["min_bytes"], self._max_bytes)
        self.max_wait_s: float = max(body["max_wait_ms"], 0) / 1000
        self.byte_count = 0
        self.has_failed = False
        is_by_id = request.version >= _BY_ID
        for asked in body["topics"]:
            topic, missing = topic_asked(broker, asked, is_by_id=is_by_id)
            self._topics.append((asked, [self._part(topic, missing, one) for one in asked["partitions"]]))

    def _part(self, topic: StoredTopic | None, missing: ErrorCode, asked: dict[str, Any]) -> dict[str, Any]:
        number = asked["partition"]
        part: dict[str, Any] = {"partition_index": number}
        code = missing if topic is None else judge(topic, number, asked.get("current_leader_epoch", -1))
        if topic is None or code:
            self._fail(part, code)
        else:
            most = max(0, asked["partition_max_bytes"])
            self._wanted.append((KafkaFetch(topic.id, number, asked["fetch_offset"], most, self._is_committed), part))
        return part

    def _fail(self, part: dict[str, Any], code: ErrorCode) -> None:
        part.update(error_code=code, high_watermark=-1, last_stable_offset=-1, log_start_offset=-1, records=b"")
        part["aborted_transactions"] = [] if code in _NOWHERE else None  # as Kafka has it
        self.has_failed = True

    @property
    def partitions(self) -> list[tuple[int, int]]:
        """The partitions that are read, by topic id and number."""
        return [(one.topic_id, one.partition) for one, _ in self._wanted]

    def look(self) -> bool:
        """Read what is there now; whether that is to be answered at once."""
        self.byte_count = 0
        found, _ = self._broker.backend.fetch_stored([one for one, _ in self._wanted], self._max_bytes)
        for (one, part), fetched in zip(self._wanted, found, strict=True):
            try:
                if fetched.error is not None:
                    raise fetched.error
                self._fill(one, part, fetched)
            except unless_interrupted(EventLogError) as error:
                self._fail(part, code_of(error))
        return self.has_failed or self.byte_count >= self.min_bytes

    def _fill(self, one: KafkaFetch, part: dict[str, Any], fetched: KafkaFetched) -> None:
        records = self._broker.record_batches.of(one.topic_id, one.partition, fetched.batches)
        self.byte_count += sum(map(len, records))
        part.update(
            error_code=0,
            high_watermark=fetched.high_watermark,
            last_stable_offset=fetched.last_stable,
            log_start_offset=fetched.log_start,
            records=records,
        )
        part["aborted_transactions"] = (
            [{"producer_id": producer_id, "first_offset": first} for producer_id, first in fetched.aborted]
            if self._is_committed
            else None
        )

    def answer(self) -> dict[str, Any]:
        """The response."""
        return {
            "responses": [
                {"topic": asked.get("topic", ""), "topic_id": asked.get("topic_id", NO_ID), "partitions": parts}
                for asked, parts in self._topics
            ]
        }


def fetch(broker: Broker, request: Request) -> dict[str, Any] | Awaitable[dict[str, Any]]:
    """Read record batches, and wait for some if there are not enough."""
    wanted = _Fetch(broker, request)
    if wanted.look() or not wanted.max_wait_s or broker.is_stopping:
        return wanted.answer()
    return _wait(broker, wanted)


async def _wait(broker: Broker, wanted: _Fetch) -> dict[str, Any]:
    end_s = monotonic() + wanted.max_wait_s
    with broker.poll(wanted.partitions) as poll:
        while True:
            began_s = monotonic()
            if wanted.look() or broker.is_stopping:
                break
            now_s = monotonic()
            if now_s >= end_s:
                break
            rest_s = min(_RARELY * (now_s - began_s), _MOST_REST_S, end_s - now_s)
            if wanted.byte_count and rest_s > _LEAST_REST_S:  # each look reads again what was there before
                await asyncio.sleep(rest_s)
            await poll.wait(max(end_s - monotonic(), 0.0))
    return wanted.answer()
