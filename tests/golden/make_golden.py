"""
Makes golden files that do not exist yet: `PYTHONPATH=src:. python -m tests.golden.make_golden`.

A golden file is what some version once wrote, and is never made again: every later version has to read it. So what
exists is left alone. A new format gets new names, in `shapes.py` and here.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import msgpack

import eventlog
from eventlog.backend.groups import OffsetCommit
from eventlog.backend.topics import StoredTopic
from eventlog.batches.compression import Compressor
from eventlog.batches.format import BatchEncoder
from eventlog.batches.header import EncodedBatch, Run, seal, seal_version_2
from eventlog.batches.kafka_batch import kafka_batch
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.write_transaction import WriteTransaction
from tests.golden.shapes import (
    BATCHES_COMPRESSED,
    BATCHES_V3,
    GOLDEN,
    JULY_MS,
    LOG,
    LOG_V2,
    LOG_V3,
    LOG_V4,
    Parcel,
    Shape,
)


def make_batch(shape: Shape, *, version: int = 3) -> bytes:
    """The bytes of a batch, as the encoder of today makes them."""
    batch = encoded(shape)
    if version == 2:
        return seal_version_2(batch, largest_so_far_ms=shape.largest_so_far_ms, log_position=shape.log_position)
    return seal(
        batch,
        largest_so_far_ms=shape.largest_so_far_ms,
        log_position=shape.log_position,
        key=shape.key,
        later_runs=[Run(*run) for run in shape.later_runs],
    )


def encoded(shape: Shape) -> EncodedBatch:
    """The batch before its offsets are assigned."""
    if shape.kafka_body is not None:
        return kafka_batch(shape.kafka_body)
    times = shape.timestamps_ms[0] if len(set(shape.timestamps_ms)) == 1 else shape.timestamps_ms
    keys = shape.keys if any(key is not None for key in shape.keys) else None
    headers = shape.headers if any(shape.headers) else None
    [batch] = BatchEncoder().encode(keys, shape.values, timestamps_ms=times, headers=headers)
    if shape.compression is not None:
        Compressor(shape.compression, "make a golden file").compress(batch)
    if shape.deltas is None:
        return batch
    columns = msgpack.unpackb(batch.body)  # the encoder makes none yet
    columns[4] = shape.deltas
    return EncodedBatch(shape.count, shape.span, batch.first_ms, batch.largest_ms, msgpack.packb(columns))


def make_log(path: Path) -> None:
    """A log with topics, records, headers, tombstones, deleted records and committed offsets."""
    with eventlog.open(path) as log:
        orders = log.topic("orders", partitions=2, key=str, value="json", partitioner="murmur2")
        for number in range(6):
            orders.append(
                {"item": "tea", "number": number},
                key=f"user-{number % 3}",
                headers={"trace": bytes([number]), "empty": None} if number % 2 else None,
                timestamp_ms=JULY_MS + number * 1000,
            )
        orders.append(None, key="user-0", timestamp_ms=JULY_MS + 6000)
        parcels = log.topic("parcels", key=int, value=Parcel, max_record_bytes=10_000)
        parcels.append_many(
            [Parcel("alice", 250), Parcel("bob", 1_000, ["fragile"]), Parcel("carol", 5)],
            keys=[1, 2, -3],
            timestamps_ms=[JULY_MS, JULY_MS + 1, JULY_MS - 1],
        )
        raw = log.topic("raw", partitions=3)
        raw.append_many([b"a", b"b", b"c", b"d"], partition=1, timestamps_ms=JULY_MS)
        raw.append_many([b"e"], partition=1, timestamps_ms=JULY_MS)
        raw.append_many([b"x", b"y"], partition=2, timestamps_ms=JULY_MS)
        raw.delete_records({1: 2, 2: 2})  # one within a batch, one at the end
        with log.consumer(group="billing", auto_commit=False) as consumer:
            consumer.commit({("orders", 0): 1, ("orders", 1): 2, ("parcels", 0): 3})
        with log.consumer(group="stock room", auto_commit=False) as consumer:
            consumer.commit({("raw", 1): 4})
        log.compact(path.parent / "copy")


def make_log_with_groups(path: Path) -> None:
    """A log with partitions that came later, members of three kinds, and a group that has offsets alone."""
    with eventlog.open(path) as log:
        orders = log.topic("orders", partitions=2, key=str, value=int)
        for number in range(10):
            orders.append(number, key=f"user-{number % 5}", timestamp_ms=JULY_MS + number)
        orders.create_partitions(4)
        orders.append(10, partition=3, timestamp_ms=JULY_MS + 10)
        log.topic("payments").append_many([b"a", b"b", b"c"], timestamps_ms=JULY_MS)
        log.topic("refunds", partitions=2)
        options: dict[str, Any] = {"group": "billing", "auto_commit": False}
        members = [
            log.consumer("orders", "payments", **options),
            log.consumer("orders", instance_id="left", **options),
            log.consumer(re.compile("ORD.*", re.IGNORECASE), **options),
        ]
        while any(len(member.assignment()) not in (1, 2) for member in members):
            for member in members:
                member.poll()
        for member in members:
            member.commit()
        orders.append(11, partition=3, timestamp_ms=JULY_MS + 11)
        with log.consumer("refunds", group="shipping", assignor="range", start="latest"):
            pass
        with log.consumer(group="stock room", auto_commit=False) as consumer:
            consumer.commit({("payments", 0): 2})
        log.compact(path.parent / "copy")
        for member in members:
            member.close()


def make_log_with_an_index(path: Path) -> None:
    """
    A log whose topics are interleaved in its order: one with an index and message ids, and one without.

    Of the indexed one, records are gone: in `alice`'s history the first, of `carol` all. Of a third topic, all.
    """
    with eventlog.open(path) as log:
        accounts = log.topic(
            "accounts", partitions=2, key=str, value="json", index="key", duplicate_window=1e9, snapshot="json"
        )
        payments = log.topic("payments")
        scratch = log.topic("scratch")
        accounts.append({"opened": "alice"}, key="alice", partition=0, timestamp_ms=JULY_MS, expected_version=0)
        accounts.append({"opened": "carol"}, key="carol", partition=0, timestamp_ms=JULY_MS + 1)
        payments.append_many([b"a", b"b", b"c"], timestamps_ms=JULY_MS + 2)
        scratch.append_many([b"1", b"2"], timestamps_ms=JULY_MS + 3)
        accounts.append_many(
            [{"paid": 5}, {"paid": 7}, None],
            keys=["alice", "b\0b", None],
            partition=1,
            headers=[{"trace": b"1"}, None, None],
            timestamps_ms=[JULY_MS + 4, JULY_MS + 3, JULY_MS + 5],
            message_ids=["m-1", b"\xff\x00", None],
        )
        accounts.append({"note": "x" * 2000}, key="alice", partition=0, timestamp_ms=JULY_MS + 6, message_id="m-2")
        payments.append(b"d", timestamp_ms=JULY_MS + 7)
        accounts.append(None, key="b\0b", partition=1, timestamp_ms=JULY_MS + 8)
        accounts.save_snapshot("alice", {"balance": 5}, version=2)
        accounts.delete_records({0: 2})
        scratch.append(b"3", timestamp_ms=JULY_MS + 9)
        log.delete_topic("scratch")
        log.compact(path.parent / "copy")


def make_log_of_all(path: Path) -> None:
    """
    A log with rows in every table, their checksums behind them.

    `orders` has a small batch, a large one that says where it belongs, a Kafka record batch, and deleted records.
    """
    with eventlog.open(path, cleaner=False) as log:
        accounts = log.topic("accounts", partitions=2, key=str, value="json", index="key", snapshot="json")
        orders = log.topic("orders", retention=1e9)
        for number in range(4):
            accounts.append({"n": number}, key=f"a{number % 2}", partition=number % 2, message_id=f"id-{number}")
        accounts.save_snapshot("a0", {"sum": 2}, version=2)
        orders.append_many([b"deleted", b"small"], timestamps_ms=JULY_MS)
        orders.append(b"large" * 1000, timestamp_ms=JULY_MS + 1)
        kafka = kafka_batch(BATCHES_V3["batch-v3-kafka.bin"].kafka_body or b"")
        log._store.run(_Append(orders._route.row, kafka))  # type: ignore[attr-defined]
        orders.delete_records({0: 1})
        with log.producer(name="till") as producer:
            producer.send(orders, b"sent", timestamp_ms=JULY_MS + 9)
        with log.transaction() as tx:
            totals = tx.state("totals", key=str, value=int)
            totals["a"], totals["b"] = 1, 2
        log.projection("sums", _count, topics=["accounts"], key=str, value=int).catch_up()
        offsets = [(orders._route.row, 0, 4)]  # type: ignore[attr-defined]
        notes = {(orders._route.row.id, 0): (7, "from a client of Kafka's")}  # type: ignore[attr-defined]
        log._store.commit_offsets(OffsetCommit("kafka", offsets, is_automatic=False, notes=notes))  # type: ignore[attr-defined]
        consumer = log.consumer("orders", group="billing", instance_id="left", auto_commit=False)
        consumer.poll(max_records=2)
        consumer.commit()
        log.compact(path.parent / "copy")
        consumer.close()


def _count(state: Any, record: Any) -> None:
    state[str(record.key)] = state.get(str(record.key), 0) + 1


class _Append(CommitRequest):
    """A batch as a listener of Kafka's protocol appends it."""

    def __init__(self, topic: StoredTopic, batch: EncodedBatch) -> None:
        super().__init__()
        self._topic = topic
        self._batch = batch

    def apply(self, writing: WriteTransaction) -> None:
        """Put it at the end of the first partition."""
        writing.append(writing.check_topic(self._topic), 0, [self._batch])


def main() -> None:
    """Makes what is missing."""
    for name, shape in (BATCHES_V3 | BATCHES_COMPRESSED).items():
        if not (GOLDEN / name).exists():
            (GOLDEN / name).write_bytes(make_batch(shape))
    logs = {
        LOG: make_log,
        LOG_V2: make_log_with_groups,
        LOG_V3: make_log_with_an_index,
        LOG_V4: make_log_of_all,
    }
    for place, make in logs.items():
        if not place.exists():
            with tempfile.TemporaryDirectory() as directory:
                make(Path(directory) / "log")
                place.mkdir()
                (place / "data.mdb").write_bytes((Path(directory) / "copy" / "data.mdb").read_bytes())


if __name__ == "__main__":
    main()
