"""
Requests of transactional producers, whose answers are compared with those of a real broker.

`python -m tests.kafka.transactions.script HOST:PORT` prints them for any broker: the expected ones of
`test_requests.py` are what Apache Kafka 4.4 answered, with producer ids less the first one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from eventlog.kafka.protocol import ApiKey
from tests.kafka.record_batches import record_batch

Ask = Callable[[int, int, dict[str, Any]], dict[str, Any]]
TRANSACTIONAL = 1 << 4
_PATIENT = (6, 14, 15, 16, 51)
"""
The answers of a broker that is not ready yet: NOT_LEADER_OR_FOLLOWER, COORDINATOR_LOAD_IN_PROGRESS,
COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR, CONCURRENT_TRANSACTIONS.
"""


class Script:
    """One run of the requests."""

    def __init__(self, ask: Ask, topic: str, name: str) -> None:
        self._ask = ask
        self._topic = topic
        self._name = name
        self._first_id: int | None = None
        self.producer_id = -1
        self.epoch = -1

    def _patiently(self, key: int, version: int, body: dict[str, Any], code: Callable[[dict[str, Any]], int]) -> Any:
        answer = self._ask(key, version, body)
        for _ in range(2_000):
            if code(answer) not in _PATIENT:
                break
            answer = self._ask(key, version, body)
        return answer

    def init(self, version: int = 5, *, name: str | None = None, take: bool = True, **changes: Any) -> tuple[Any, ...]:
        """InitProducerId."""
        body = {
            "transactional_id": name or self._name,
            "transaction_timeout_ms": 60_000,
            "producer_id": -1,
            "producer_epoch": -1,
            **changes,
        }
        answer = self._patiently(ApiKey.INIT_PRODUCER_ID, version, body, lambda one: int(one["error_code"]))
        if not answer["error_code"] and take:
            self.producer_id, self.epoch = answer["producer_id"], answer["producer_epoch"]
        return "init", int(answer["error_code"]), self._known(answer["producer_id"]), answer["producer_epoch"]

    def _known(self, producer_id: int) -> str:
        if producer_id < 0:
            return "none"
        if self._first_id is None:
            self._first_id = producer_id
        return "same" if producer_id == self._first_id else "other"

    def add(self, *partitions: int, version: int = 3, topic: str | None = None, **changes: Any) -> tuple[Any, ...]:
        """AddPartitionsToTxn."""
        body = {
            "v3_and_below_transactional_id": self._name,
            "v3_and_below_producer_id": self.producer_id,
            "v3_and_below_producer_epoch": self.epoch,
            "v3_and_below_topics": [{"name": topic or self._topic, "partitions": list(partitions)}],
            **{f"v3_and_below_{name}": value for name, value in changes.items()},
        }

        def code(one: dict[str, Any]) -> int:
            return int(one["results_by_topic_v3_and_below"][0]["results_by_partition"][0]["partition_error_code"])

        answer = self._patiently(ApiKey.ADD_PARTITIONS_TO_TXN, version, body, code)
        [result] = answer["results_by_topic_v3_and_below"]
        codes = {one["partition_index"]: int(one["partition_error_code"]) for one in result["results_by_partition"]}
        return "add", tuple(sorted(codes.items()))

    def produce(
        self,
        partition: int,
        sequence: int,
        version: int = 11,
        *,
        epoch: int | None = None,
        attributes: int = TRANSACTIONAL,
    ) -> tuple[Any, ...]:
        """Produce, of one record."""
        data = record_batch(
            b"v", producer=(self.producer_id, self.epoch if epoch is None else epoch, sequence), attributes=attributes
        )
        body = {
            "transactional_id": self._name,
            "acks": -1,
            "timeout_ms": 5_000,
            "topic_data": [{"name": self._topic, "partition_data": [{"index": partition, "records": data}]}],
        }

        def code(one: dict[str, Any]) -> int:
            return int(one["responses"][0]["partition_responses"][0]["error_code"])

        answer = self._patiently(ApiKey.PRODUCE, version, body, code)
        [part] = answer["responses"][0]["partition_responses"]
        return "produce", int(part["error_code"]), part["base_offset"]

    def group(self, version: int = 3, group: str = "billing", **changes: Any) -> tuple[Any, ...]:
        """AddOffsetsToTxn."""
        body = {
            "transactional_id": self._name,
            "producer_id": self.producer_id,
            "producer_epoch": self.epoch,
            "group_id": group,
            **changes,
        }
        answer = self._patiently(ApiKey.ADD_OFFSETS_TO_TXN, version, body, lambda one: int(one["error_code"]))
        return "group", int(answer["error_code"])

    def offsets(self, offset: int, version: int = 3, **changes: Any) -> tuple[Any, ...]:
        """TxnOffsetCommit."""
        partition = {
            "partition_index": 0,
            "committed_offset": offset,
            "committed_leader_epoch": -1,
            "committed_metadata": "",
        }
        body = {
            "transactional_id": self._name,
            "group_id": "billing",
            "producer_id": self.producer_id,
            "producer_epoch": self.epoch,
            "generation_id_or_member_epoch": -1,
            "member_id": "",
            "group_instance_id": None,
            "topics": [{"name": self._topic, "partitions": [partition]}],
            **changes,
        }

        def code(one: dict[str, Any]) -> int:
            return int(one["topics"][0]["partitions"][0]["error_code"])

        answer = self._patiently(ApiKey.TXN_OFFSET_COMMIT, version, body, code)
        return "offsets", code(answer)

    def end(self, *, committed: bool, version: int = 4, **changes: Any) -> tuple[Any, ...]:
        """EndTxn."""
        body = {
            "transactional_id": self._name,
            "producer_id": self.producer_id,
            "producer_epoch": self.epoch,
            "committed": committed,
            **changes,
        }
        answer = self._patiently(ApiKey.END_TXN, version, body, lambda one: int(one["error_code"]))
        if version < 5:
            return "end", int(answer["error_code"])
        if not answer["error_code"]:
            self.producer_id, self.epoch = answer["producer_id"], answer["producer_epoch"]
        return "end", int(answer["error_code"]), self._known(answer["producer_id"]), answer["producer_epoch"]

    def describe(self) -> tuple[Any, ...]:
        """DescribeTransactions."""
        asked = {"transactional_ids": [self._name, "nobody"]}
        answer = self._ask(ApiKey.DESCRIBE_TRANSACTIONS, 0, asked)
        while any(one["transaction_state"].startswith("Prepare") for one in answer["transaction_states"]):
            answer = self._ask(ApiKey.DESCRIBE_TRANSACTIONS, 0, asked)
        found = []
        for one in answer["transaction_states"]:
            topics = [
                (topic["topic"].replace(self._topic, "T"), tuple(sorted(topic["partitions"])))
                for topic in one["topics"]
                if not topic["topic"].startswith("__")
            ]
            found.append((int(one["error_code"]), one["transaction_state"], one["producer_epoch"], tuple(topics)))
        return ("describe", *found)

    def fetch(self, partition: int, isolation_level: int) -> tuple[Any, ...]:
        """Fetch, to the end: high watermark, last stable offset, aborted transactions, and the first offsets."""
        aborted, offsets, at = set[tuple[str, int]](), list[int](), 0
        while True:
            part = self._fetch(partition, isolation_level, at)
            aborted |= {
                (self._known(one["producer_id"]), one["first_offset"]) for one in part["aborted_transactions"] or ()
            }
            records = bytes(part["records"] or b"")
            if not records:
                break
            while records:
                offsets.append(int.from_bytes(records[:8], "big"))
                at = offsets[-1] + int.from_bytes(records[23:27], "big") + 1
                records = records[12 + int.from_bytes(records[8:12], "big") :]
        return "fetch", part["high_watermark"], part["last_stable_offset"], tuple(sorted(aborted)), tuple(offsets)

    def _fetch(self, partition: int, isolation_level: int, offset: int) -> dict[str, Any]:
        asked = {"partition": partition, "fetch_offset": offset, "partition_max_bytes": 1 << 20}
        body = {
            "max_wait_ms": 0,
            "min_bytes": 0,
            "max_bytes": 1 << 20,
            "isolation_level": isolation_level,
            "topics": [{"topic": self._topic, "partitions": [asked]}],
        }
        [part] = self._ask(ApiKey.FETCH, 11, body)["responses"][0]["partitions"]
        assert isinstance(part, dict)
        return part

    def find(self) -> None:
        """Have the coordinators of the id and of the group begin their work."""
        for key, kind in ((self._name, 1), ("billing", 0)):
            self._patiently(
                ApiKey.FIND_COORDINATOR, 2, {"key": key, "key_type": kind}, lambda one: int(one["error_code"])
            )

    # -- the scripts -----------------------------------------------------------------------------------------

    def first_protocol(self) -> Iterator[tuple[Any, ...]]:
        """Partitions are added, epochs stay: the first protocol of transactions."""
        yield self.end(committed=True, producer_id=5, producer_epoch=0)
        yield self.init(4)
        yield self.describe()
        yield self.end(committed=True)
        yield self.end(committed=False)
        yield self.produce(0, 0, version=9)
        yield self.produce(0, 0, version=11)
        yield self.add(0, 1)
        yield self.produce(0, 0)
        yield self.produce(0, 0)
        yield self.produce(0, 1, attributes=0)
        yield self.describe()
        yield self.fetch(0, 0)
        yield self.fetch(0, 1)
        yield self.offsets(1)
        yield self.group()
        yield self.offsets(1)
        yield self.end(committed=True)
        yield self.end(committed=True)
        yield self.end(committed=False)
        yield self.describe()
        yield self.fetch(0, 1)
        yield self.fetch(1, 1)
        yield self.add(0)
        yield self.produce(0, 1)
        yield self.end(committed=False)
        yield self.end(committed=False)
        yield self.fetch(0, 1)
        yield self.fetch(0, 0)
        yield self.add(0, 7)
        yield self.add(0, topic="nowhere")
        yield self.add(0, producer_id=self.producer_id + 1000)
        yield self.add(0, producer_epoch=9)
        yield self.add(0, producer_epoch=9, version=1)
        yield self.group(producer_epoch=9)
        yield self.group(1, producer_epoch=9)
        yield self.end(committed=True, producer_epoch=9)
        yield self.end(committed=True, producer_epoch=9, version=1)
        yield self.end(committed=True, producer_id=self.producer_id + 1000)

    def fencing(self) -> Iterator[tuple[Any, ...]]:
        """A second producer of the id, in the middle of a transaction."""
        yield self.init(4)
        yield self.add(0)
        yield self.produce(0, 0)
        old, old_epoch = self.producer_id, self.epoch
        yield self.init(4)
        yield self.describe()
        new_epoch, self.epoch = self.epoch, old_epoch
        yield self.produce(0, 1)
        yield self.end(committed=True)
        yield self.end(committed=True, version=1)
        yield self.add(0)
        yield self.group()
        yield self.offsets(1)
        yield self.init(3, take=False, producer_id=old, producer_epoch=old_epoch)
        yield self.init(4, take=False, producer_id=old, producer_epoch=old_epoch)
        yield self.init(4, take=False, producer_id=old + 1000, producer_epoch=0)
        self.epoch = new_epoch
        yield self.init(4, producer_id=old, producer_epoch=new_epoch)
        yield self.init(4, producer_id=old, producer_epoch=new_epoch)
        yield self.init(4, transaction_timeout_ms=0, take=False)
        yield self.init(4, transaction_timeout_ms=900_001, take=False)
        yield self.init(4, producer_id=7, take=False)
        yield self.fetch(0, 1)

    def second_protocol(self) -> Iterator[tuple[Any, ...]]:
        """Partitions join by what is sent, and each end raises the epoch: KIP-890."""
        yield self.init(5)
        yield self.end(committed=True, version=5)
        yield self.produce(0, 0, version=12)
        yield self.produce(1, 0, version=12)
        yield self.offsets(1, version=5)
        before, before_epoch = self.producer_id, self.epoch
        yield self.end(committed=True, version=5)
        yield self.end(committed=True, version=5, producer_id=before, producer_epoch=before_epoch)
        yield self.end(committed=False, version=5, producer_id=before, producer_epoch=before_epoch)
        yield self.end(committed=True, version=5)
        yield self.produce(0, 1, version=12, epoch=before_epoch)
        yield self.produce(0, 0, version=12)
        yield self.end(committed=False, version=5)
        yield self.end(committed=False, version=5)
        yield self.describe()
        yield self.produce(0, 0, version=12)
        yield self.init(5)
        yield self.describe()
        yield self.fetch(0, 1)
        yield self.fetch(1, 1)

    def late_ends(self) -> Iterator[tuple[Any, ...]]:
        """The end of a transaction that comes once more, when the next one has begun, or the next producer."""
        yield self.init(5)
        yield self.produce(0, 0, version=12)
        before = {"producer_id": self.producer_id, "producer_epoch": self.epoch}
        yield self.end(committed=True, version=5)
        yield self.produce(0, 0, version=12)
        yield self.late_end(committed=True, **before)
        yield self.late_end(committed=False, **before)
        yield self.late_end(committed=True, version=4, **before)
        yield self.describe()
        yield self.fetch(0, 1)
        yield self.end(committed=False, version=5)
        yield self.init(5)
        yield self.late_end(committed=True, producer_id=self.producer_id, producer_epoch=self.epoch - 1)
        yield self.late_end(committed=False, producer_id=self.producer_id, producer_epoch=self.epoch - 1)
        yield self.fetch(0, 1)

    def again(self) -> Iterator[tuple[Any, ...]]:
        """A producer that begins again in the middle of a transaction, and a first batch that was lost."""
        yield self.init(5)
        yield self.produce(0, 1, version=12)
        yield self.produce(0, 0, version=12)
        before = {"producer_id": self.producer_id, "producer_epoch": self.epoch}
        yield self.init(5, **before)
        yield self.init(5, **before)
        yield self.produce(0, 0, version=12)
        yield self.end(committed=True, version=5)
        yield self.fetch(0, 1)

    def late_end(self, **changes: Any) -> tuple[Any, ...]:
        """EndTxn, whose answer nobody waits for any more."""
        before = self.producer_id, self.epoch
        answer = self.end(**{"version": 5, **changes})
        self.producer_id, self.epoch = before
        return answer


SCRIPTS = ("first_protocol", "fencing", "second_protocol", "late_ends", "again")


def run(ask: Ask, topic: str, script: str) -> list[tuple[Any, ...]]:
    """The answers of a script; the topic has two empty partitions."""
    one = Script(ask, topic, f"id-of-{topic}")
    one.find()
    return list(getattr(one, script)())


def _main() -> None:
    import socket
    import time
    from types import SimpleNamespace

    from confluent_kafka.admin import AdminClient, NewTopic

    from tests.kafka.wire import Wire

    host, port = sys.argv[1].rsplit(":", 1)
    admin = AdminClient({"bootstrap.servers": sys.argv[1]})
    with Wire(SimpleNamespace(host=socket.gethostbyname(host), port=int(port))) as wire:  # type: ignore[arg-type]
        for script in SCRIPTS:
            topic = f"txn-{script.replace('_', '-')}-{time.time_ns()}"
            for done in admin.create_topics([NewTopic(topic, 2, 1)]).values():
                done.result()
            print(f"    {script!r}: [")
            for answer in run(wire.ask, topic, script):
                print(f"        {answer},")
            print("    ],")


if __name__ == "__main__":
    _main()
