"""
Produce: record batches for the ends of partitions, all of one request in one commit.

Each partition is judged alone, and has its own answer. `acks=all` and `acks=1` are the same here: what is acknowledged
is stored as the log's durability says. `acks=0` has no answer; after an error the connection is closed, as in Kafka,
so that the client looks for what is wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from eventlog.backend.kafka import KafkaAppend, KafkaAppended, PendingProduce
from eventlog.errors import EventLogError
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.listener.connection import Refused
from eventlog.kafka.listener.failures import code_of
from eventlog.kafka.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from eventlog.backend.topics import StoredTopic
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

_ACKS: Final = (-1, 0, 1)
_FUTURE_MS: Final = 3_600_000
"""Kafka's `message.timestamp.after.max.ms`: records of a later time are refused."""
_TURN_SECONDS: Final = 0.02
"""So long a request has its records looked through before others have their turn."""
_JOINING: Final = 12
"""From here on partitions join a transaction by what is sent to them (KIP-890)."""
_ABORTABLE: Final = 11
_BY_ID: Final = 13
_NO_ID: Final = UUID(int=0)


class _Part:
    """The records of one partition, and the answer to them."""

    __slots__ = ("append", "code", "index", "reply", "text")

    def __init__(self, index: int) -> None:
        self.index = index
        self.append: KafkaAppend | None = None
        self.code = ErrorCode.NONE
        self.text: str | None = None
        self.reply: KafkaAppended | None = None

    def fail(self, code: ErrorCode, text: str | None = None) -> None:
        self.code, self.text = code, text

    def settle(self, reply: KafkaAppended) -> None:
        self.reply = reply
        if reply.error is not None:
            self.fail(code_of(reply.error), str(reply.error))

    def answer(self) -> dict[str, Any]:
        reply = self.reply
        if self.code or reply is None:
            return {
                "index": self.index,
                "error_code": self.code,
                "base_offset": -1,
                "log_append_time_ms": -1,
                "log_start_offset": -1,
                "error_message": self.text,
            }
        return {
            "index": self.index,
            "error_code": 0,
            "base_offset": reply.base_offset,
            "log_append_time_ms": reply.append_ms,
            "log_start_offset": reply.log_start,
        }


class _Produce:
    """One request, its parts and its answer."""

    def __init__(self, broker: Broker, request: Request) -> None:
        self._request = request
        self.topics = [(topic, self._parts(broker, topic)) for topic in request.body["topic_data"]]

    def _parts(self, broker: Broker, asked: dict[str, Any]) -> list[_Part]:
        topic, missing = self._topic(broker, asked)
        parts = []
        for data in asked["partition_data"]:
            part = _Part(data["index"])
            if topic is None:
                part.fail(missing)
            elif not 0 <= part.index < topic.partitions:
                part.fail(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
            elif data["records"] is None:
                part.fail(ErrorCode.INVALID_RECORD, "There are no records.")
            else:
                part.append = KafkaAppend(topic, part.index, data["records"])
            parts.append(part)
        return parts

    def _topic(self, broker: Broker, asked: dict[str, Any]) -> tuple[StoredTopic | None, ErrorCode]:
        if self._request.version >= _BY_ID:
            return broker.topic_of_id(asked.get("topic_id", _NO_ID)), ErrorCode.UNKNOWN_TOPIC_ID
        name = asked["name"]
        return broker.backend.topic(name) if name else None, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION

    @property
    def parts(self) -> list[_Part]:
        """All parts whose records may be stored."""
        return [part for _, parts in self.topics for part in parts if part.append is not None and not part.code]

    @property
    def has_failed(self) -> bool:
        """Whether a part was refused."""
        return any(part.code for _, parts in self.topics for part in parts)

    def fail(self, code: ErrorCode, text: str | None = None) -> None:
        """Refuse all parts."""
        for _, parts in self.topics:
            for part in parts:
                part.fail(code, text)

    def answer(self) -> dict[str, Any]:
        """The response."""
        return {
            "responses": [
                {
                    "name": topic.get("name", ""),
                    "topic_id": topic.get("topic_id", _NO_ID),
                    "partition_responses": [part.answer() for part in parts],
                }
                for topic, parts in self.topics
            ]
        }


def produce(broker: Broker, request: Request) -> dict[str, Any] | Awaitable[dict[str, Any] | None] | None:
    """Store the records of a request, and answer when that is done."""
    produced = _Produce(broker, request)
    acks = request.body["acks"]
    if acks not in _ACKS:
        produced.fail(ErrorCode.INVALID_REQUIRED_ACKS)
        return produced.answer()
    parts = produced.parts
    if not parts:
        return _acknowledge(produced, acks)
    waiting = _Waiting(broker, request, produced, parts)
    waiting.store_more()
    request.holds_up = waiting.has_more
    return waiting.answer


class _Waiting:
    """
    A request whose records are about to be stored; `answer` has its outcome, by callbacks: there may be many.

    They are stored by one commit, unless looking through them takes longer than a turn of the loop: a few bytes may
    become very many when they are decompressed.
    """

    def __init__(self, broker: Broker, request: Request, produced: _Produce, parts: Sequence[_Part]) -> None:
        self._broker = broker
        self._request = request
        self._acks: int = request.body["acks"]
        self._produced = produced
        self._parts = parts
        self._begun_count = self._settled_count = 0
        """How many parts were judged, and of how many it is known what became of them."""
        self.answer: asyncio.Future[dict[str, Any] | None] = broker.loop.create_future()
        seconds = max(request.body["timeout_ms"], 0) / 1000
        self._timer = broker.loop.call_later(seconds, self._expire) if self._acks else None

    @property
    def has_more(self) -> bool:
        """Whether there are parts that were not judged yet."""
        return self._begun_count < len(self._parts)

    def store_more(self) -> None:
        """Have the next parts stored, those that can be judged in one turn."""
        if self.answer.done():
            return
        try:
            self._broker.commit_and_call(self._prepare, self.settle)
        except unless_interrupted(EventLogError) as error:
            self._fail(error)

    def _prepare(self, when_done: Callable[[], object]) -> PendingProduce:
        backend, loop, body = self._broker.backend, self._broker.loop, self._request.body
        end_s = loop.time() + _TURN_SECONDS
        pending = backend.prepare_produce(
            [part.append for part in self._parts[self._begun_count :] if part.append is not None],
            when_done,
            latest_ms=backend.clock.now_ms() + _FUTURE_MS,
            transactional_id=body["transactional_id"],
            adds_partitions=self._request.version >= _JOINING,
            is_abortable=self._request.version >= _ABORTABLE,
            is_enough=lambda: loop.time() >= end_s,
        )
        self._begun_count += pending.judged_count
        return pending

    def _expire(self) -> None:
        if not self.answer.done():
            self._produced.fail(ErrorCode.REQUEST_TIMED_OUT, "The records may be stored.")
            self.acknowledge()

    def settle(self, stored: PendingProduce) -> None:
        """Take what became of the records."""
        if self.answer.done():  # the client has gone, or has waited too long: its records are not kept for the timer
            self._end_timer()
            return
        if stored.error is not None:
            self._fail(stored.error)
            return
        first, self._settled_count = self._settled_count, self._settled_count + stored.judged_count
        for part, reply in zip(self._parts[first : self._settled_count], stored.replies, strict=True):
            part.settle(reply)
        if self.has_more:
            self._broker.loop.call_soon(self.store_more)
        else:
            self.acknowledge()

    def _fail(self, error: BaseException) -> None:
        """Refuse all parts but those that were stored before."""
        for part in self._parts[self._settled_count :]:
            part.fail(code_of(error), str(error))
        self.acknowledge()

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def acknowledge(self) -> None:
        """Have the answer sent."""
        self._end_timer()
        try:
            self.answer.set_result(_acknowledge(self._produced, self._acks))
        except unless_interrupted(Refused) as refused:
            self.answer.set_exception(refused)


def _acknowledge(produced: _Produce, acks: int) -> dict[str, Any] | None:
    if acks:
        return produced.answer()
    if produced.has_failed:
        raise Refused("a produce with acks=0 failed, and there is no other way to say so")
    return None
