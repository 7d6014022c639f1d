"""
Answering one request: what a responder has its processor do with each record.

The reply is sent in the transaction of the record, so it is stored with the request's offset and all that the function
did, or not at all. An error of the function undoes these, and then the error is the reply, in a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventlog.api.transaction import Transaction
from eventlog.batches.partitioners import PARTITIONERS
from eventlog.clients.requests.answers import Answers
from eventlog.clients.requests.headers import RequestHeaders, error_headers, read_request, reply_headers
from eventlog.clients.requests.inbox import RawTopic
from eventlog.clients.topic.topic import EmbeddedTopic, Owner
from eventlog.clients.transaction.lent import LentTransaction
from eventlog.codecs import Codec
from eventlog.errors import EventLogError, RecordTooLarge, ReplyTooLarge, StorageError
from eventlog.interruptions import unless_interrupted
from eventlog.records import Record

Answer = Callable[[Transaction, Record[Any, Any]], object]
_MOST_KNOWN = 1_000


class Place:
    """
    A topic that replies go to, as it was when it was found.

    Args:
        topic: as the log knows it.
        codec: that of the values, if the topic has none of its own.
    """

    def __init__(self, backend: Any, topic: EmbeddedTopic[Any, Any], owner: Owner, codec: Codec[Any]) -> None:
        self.uuid = topic.uuid
        self.raw = RawTopic(backend, topic._route, owner)
        self.codec = codec if topic.value == "bytes" else topic._route.value_codec
        self.takes_keys = topic.partitioner in PARTITIONERS  # the others are functions that we may not have


class Answering:
    """
    The function of a responder's processor, and what it does with records that are given up.

    Belongs to the responder's thread, but for the counts.

    Args:
        known: finds a topic of the log by its name.
        codec: that of the replies.
    """

    def __init__(
        self,
        backend: Any,
        known: Callable[[str], EmbeddedTopic[Any, Any]],
        owner: Owner,
        topic: EmbeddedTopic[Any, Any],
        function: Answer,
        codec: Codec[Any],
        group: str,
        kept_ms: int,
    ) -> None:
        self._backend = backend
        self._known = known
        self._owner = owner
        self._key_codec = topic._route.key_codec
        self._function = function
        self._codec = codec
        self._group = group
        self._answers = Answers(group, kept_ms)
        self._now_ms = backend.clock.now_ms
        self._places: dict[str, Place] = {}
        self.late_count = 0
        self.error_count = 0
        self.lost_count = 0

    def answer(self, tx: Transaction, record: Record[Any, Any]) -> None:
        """Have a request answered by the function, in a transaction."""
        request = read_request(record.headers)
        if request.is_late(self._now_ms()):
            self.late_count += 1
            return
        assert isinstance(tx, LentTransaction)
        place = self._place(request)
        codec = self._codec if place is None else place.codec
        if request.message_id is None:
            value = codec.encode(self._function(tx, record))
        else:
            value = self._answer_once(tx, record, request, codec)
        if place is not None:
            self._send(tx, place, record, request, value)

    def _answer_once(
        self, tx: LentTransaction, record: Record[Any, Any], request: RequestHeaders, codec: Codec[Any]
    ) -> bytes | None:
        """The answer that was given before to a request of this message id, or that of the function."""
        known = self._answers.find(tx, record, request)
        if known is not None:
            return known.value
        value = codec.encode(self._function(tx, record))
        self._answers.keep(tx, record, request, value, self._now_ms())
        return value

    def fail(self, tx: Transaction, record: Record[Any, Any], error: Exception) -> None:
        """Answer a request by an error; one that cannot be told is dropped."""
        request = read_request(record.headers)
        if request.is_late(self._now_ms()):
            self.late_count += 1
            return
        try:
            place = self._place(request)
            if place is not None:
                self._send(tx, place, record, request, None, error)
                self.error_count += 1
        except unless_interrupted(StorageError):
            raise
        except unless_interrupted(EventLogError):
            self.lost_count += 1

    def _send(
        self,
        tx: Transaction,
        place: Place,
        record: Record[Any, Any],
        request: RequestHeaders,
        value: bytes | None,
        error: Exception | None = None,
    ) -> None:
        assert request.address is not None
        headers = reply_headers(request, self._group)
        if error is not None:
            headers += error_headers(error)
        try:
            tx.send(
                place.raw,
                value,
                key=self._key(record) if place.takes_keys else None,
                headers=headers,
                partition=request.address.partition,
            )
        except unless_interrupted(RecordTooLarge) as too_large:
            raise ReplyTooLarge(
                f"the reply to the request at offset {record.offset} of {record.topic}[{record.partition}] has "
                f"{len(value or b'')} bytes, and topic {request.address.topic!r} takes records of at most "
                f"{place.raw.max_record_bytes} bytes.",
                stored="Nothing of the request's transaction was stored.",
                advice="Answer with less, or with the place where it can be read.",
                type="ReplyTooLarge",
                message=str(too_large),
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                group=self._group,
            ) from None

    def _key(self, record: Record[Any, Any]) -> bytes | None:
        """The request's key, which its reply has, too; one that could not be decoded is in bytes already."""
        key = record.key
        return key if key is None or type(key) is bytes else self._key_codec.encode(key)

    def _place(self, request: RequestHeaders) -> Place | None:
        """Where the reply goes; None when the request wants none, or the topic or partition is not there any more."""
        if request.address is None:
            return None
        name, partition = request.address
        try:
            topic = self._known(name)
            if partition is not None:
                topic._route.check_partition(partition)
        except unless_interrupted(StorageError):
            raise
        except unless_interrupted(EventLogError, ValueError):
            self.lost_count += 1
            return None
        place = self._places.get(name)
        if place is None or place.uuid != topic.uuid:
            if len(self._places) >= _MOST_KNOWN:
                self._places.clear()
            place = self._places[name] = Place(self._backend, topic, self._owner, self._codec)
        return place
