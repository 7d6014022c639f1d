"""
A client of Kafka's protocol that goes on when its listener dies: each request is sent again until it is answered.

It is a transactional producer by either protocol of transactions, and a reader of committed records by Kafka's rule for
clients. Knows nothing of histories.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from eventlog.batches.kafka_batch import read_records
from eventlog.kafka.protocol import ApiKey
from eventlog.kafka.protocol.errors import ErrorCode
from tests.kafka.record_batches import record_batch
from tests.kafka.wire import Wire

_PATIENCE_S = 20.0
_PAUSE_S = 0.01
_TRANSACTIONAL, _CONTROL = 1 << 4, 1 << 5
_ABORT = 0
_AGAIN = {
    ErrorCode.CONCURRENT_TRANSACTIONS,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_COORDINATOR,
    ErrorCode.UNSTABLE_OFFSET_COMMIT,
}


class Refused(Exception):
    """An error code of the listener that asking again does not change."""


class Session:
    """One connection at a time to a listener on this machine."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._wire: Wire | None = None
        self._pause = threading.Event()

    def ask(self, key: ApiKey, version: int, body: dict[str, Any], code_in: Any) -> dict[str, Any]:
        """
        An answer without an error.

        Args:
            code_in: gets the error code out of an answer.
        """
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self._wire = self._wire or Wire(SimpleNamespace(host="127.0.0.1", port=self._port))  # type: ignore[arg-type]
                answer = self._wire.ask(key, version, body)
            except OSError:
                self.close()
                if time.monotonic() > deadline_s:
                    raise
                self._pause.wait(_PAUSE_S)
                continue
            code = code_in(answer)
            if not code:
                return answer
            if code not in _AGAIN or time.monotonic() > deadline_s:
                raise Refused(f"{key.name}: {ErrorCode(code).name}")
            self._pause.wait(_PAUSE_S)

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    # -- reading -----------------------------------------------------------------------------------------------

    def stable_end(self, topic: str, partition: int) -> int:
        """The last stable offset."""
        asked = {"partition_index": partition, "timestamp": -1}
        body = {"isolation_level": 1, "topics": [{"name": topic, "partitions": [asked]}]}
        answer = self.ask(ApiKey.LIST_OFFSETS, 4, body, lambda one: one["topics"][0]["partitions"][0]["error_code"])
        return int(answer["topics"][0]["partitions"][0]["offset"])

    def committed(self, group: str, topic: str, partition: int) -> int:
        """Where a group stands, when no transaction can change it any more."""
        body = {
            "group_id": group,
            "topics": [{"name": topic, "partition_indexes": [partition]}],
            "require_stable": True,
        }
        answer = self.ask(ApiKey.OFFSET_FETCH, 7, body, lambda one: one["topics"][0]["partitions"][0]["error_code"])
        return max(0, int(answer["topics"][0]["partitions"][0]["committed_offset"]))

    def fetch(self, topic: str, partition: int, offset: int, max_wait_ms: int) -> tuple[list[tuple[int, bytes]], int]:
        """The committed records behind an offset, and where to read on."""
        asked = {"partition": partition, "fetch_offset": offset, "partition_max_bytes": 1 << 20}
        body = {
            "max_wait_ms": max_wait_ms,
            "min_bytes": 1,
            "max_bytes": 1 << 20,
            "isolation_level": 1,
            "topics": [{"topic": topic, "partitions": [asked]}],
        }
        answer = self.ask(ApiKey.FETCH, 11, body, lambda one: one["responses"][0]["partitions"][0]["error_code"])
        [part] = answer["responses"][0]["partitions"]
        aborted = [(one["first_offset"], one["producer_id"]) for one in part["aborted_transactions"] or ()]
        return kept_records(bytes(part["records"] or b""), aborted, offset)


def kept_records(data: bytes, aborted: Sequence[tuple[int, int]], offset: int) -> tuple[list[tuple[int, bytes]], int]:
    """The records that a client of committed records keeps, with their offsets, and where to read on."""
    ahead, dropping = sorted(aborted), set[int]()
    found: list[tuple[int, bytes]] = []
    while data:
        first, size = int.from_bytes(data[:8], "big"), 12 + int.from_bytes(data[8:12], "big")
        batch, data = data[:size], data[size:]
        attributes = int.from_bytes(batch[21:23], "big")
        last, producer = first + int.from_bytes(batch[23:27], "big"), int.from_bytes(batch[43:51], "big", signed=True)
        while ahead and ahead[0][0] <= last:
            dropping.add(ahead.pop(0)[1])
        columns = read_records(batch, "a fetched batch")
        if attributes & _CONTROL:
            if int.from_bytes((columns.keys[0] or b"")[2:4], "big") == _ABORT:
                dropping.discard(producer)
        elif not (attributes & _TRANSACTIONAL and producer in dropping):
            for delta, value in zip(columns.deltas, columns.values, strict=True):
                if first + delta >= offset:
                    found.append((first + delta, value or b""))
        offset = max(offset, last + 1)
    return found, offset


class Producer:
    """
    A transactional producer.

    Args:
        bumps: by the second protocol of transactions (KIP-890): each end raises the epoch.
    """

    def __init__(self, session: Session, name: str, timeout_ms: int, *, bumps: bool) -> None:
        self._session, self._name, self._bumps = session, name, bumps
        self._joined: set[tuple[str, int]] = set()
        self._sequences: dict[tuple[str, int], int] = {}
        body = {"transactional_id": name, "transaction_timeout_ms": timeout_ms, "producer_id": -1, "producer_epoch": -1}
        answer = session.ask(ApiKey.INIT_PRODUCER_ID, 5 if bumps else 4, body, lambda one: one["error_code"])
        self._id, self._epoch = answer["producer_id"], answer["producer_epoch"]

    def send(self, topic: str, partition: int, *values: bytes) -> int:
        """Append a batch to the transaction; the offset of its first record."""
        if not self._bumps and (topic, partition) not in self._joined:
            self._join(topic, partition)
        self._joined.add((topic, partition))
        first = self._sequences.get((topic, partition), 0)
        data = record_batch(*values, producer=(self._id, self._epoch, first), attributes=_TRANSACTIONAL)
        body = {
            "transactional_id": self._name,
            "acks": -1,
            "timeout_ms": 5_000,
            "topic_data": [{"name": topic, "partition_data": [{"index": partition, "records": data}]}],
        }
        answer = self._session.ask(
            ApiKey.PRODUCE,
            12 if self._bumps else 11,
            body,
            lambda one: one["responses"][0]["partition_responses"][0]["error_code"],
        )
        self._sequences[topic, partition] = first + len(values)
        return int(answer["responses"][0]["partition_responses"][0]["base_offset"])

    def _join(self, topic: str, partition: int) -> None:
        body = {
            "v3_and_below_transactional_id": self._name,
            "v3_and_below_producer_id": self._id,
            "v3_and_below_producer_epoch": self._epoch,
            "v3_and_below_topics": [{"name": topic, "partitions": [partition]}],
        }
        self._session.ask(
            ApiKey.ADD_PARTITIONS_TO_TXN,
            3,
            body,
            lambda one: one["results_by_topic_v3_and_below"][0]["results_by_partition"][0]["partition_error_code"],
        )

    def send_offset(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Make an offset of a group a part of the transaction."""
        own = {
            "transactional_id": self._name,
            "group_id": group,
            "producer_id": self._id,
            "producer_epoch": self._epoch,
        }
        if not self._bumps:
            self._session.ask(ApiKey.ADD_OFFSETS_TO_TXN, 3, own, lambda one: one["error_code"])
        place = {
            "partition_index": partition,
            "committed_offset": offset,
            "committed_leader_epoch": -1,
            "committed_metadata": "",
        }
        body = {
            **own,
            "generation_id_or_member_epoch": -1,
            "member_id": "",
            "group_instance_id": None,
            "topics": [{"name": topic, "partitions": [place]}],
        }
        self._session.ask(
            ApiKey.TXN_OFFSET_COMMIT,
            5 if self._bumps else 3,
            body,
            lambda one: one["topics"][0]["partitions"][0]["error_code"],
        )

    def end(self, *, is_commit: bool) -> None:
        """Commit the transaction, or abort it."""
        body = {
            "transactional_id": self._name,
            "producer_id": self._id,
            "producer_epoch": self._epoch,
            "committed": is_commit,
        }
        answer = self._session.ask(ApiKey.END_TXN, 5 if self._bumps else 4, body, lambda one: one["error_code"])
        self._joined.clear()
        if self._bumps:
            self._id, self._epoch, self._sequences = answer["producer_id"], answer["producer_epoch"], {}
