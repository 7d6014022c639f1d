"""What format 4 wrote is read for ever: rows of every table with their checksums, and batches of every kind."""

from __future__ import annotations

import mmap
import shutil
import struct
from pathlib import Path

import lmdb
import msgpack
import pytest

import eventlog
from eventlog.batches.header import KAFKA, read_header
from eventlog.store.lmdb.environment import TABLES
from tests.golden.shapes import BATCHES_V3, JULY_MS, LOG_V4
from tests.sealing import FORMAT_ROW, unsealed

pytestmark = pytest.mark.skipif(
    mmap.PAGESIZE != 4096,
    reason=f"LMDB's pages are those of the system, {mmap.PAGESIZE} bytes here; the golden logs have pages of 4096",
)

KAFKA_BATCH = BATCHES_V3["batch-v3-kafka.bin"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A copy of the golden log."""
    shutil.copytree(LOG_V4, tmp_path / "log")
    return tmp_path / "log"


def rows_of(path: Path) -> dict[bytes, dict[bytes, bytes]]:
    """The values of all rows, by table and key, read by LMDB alone; checksums have to hold."""
    environment = lmdb.open(str(path), max_dbs=64, readonly=True, lock=False, lib_version=0)
    try:
        with environment.begin() as transaction:
            return {
                bytes(name): {
                    bytes(key): unsealed(bytes(name), bytes(key), bytes(value))
                    for key, value in transaction.cursor(environment.open_db(bytes(name), transaction))
                }
                for name in transaction.cursor().iternext(values=False)
            }
    finally:
        environment.close()


def test_golden_log_is_sound_and_can_be_written_on(path: Path) -> None:
    """Its topics are what was written, and offsets go on."""
    with eventlog.open(path, create=False, cleaner=False) as log:
        assert log.verify().problems == ()
        assert log.topics() == ["accounts", "orders"]
        assert log.topic("orders").append(b"new").offset == 7
        assert log.topic("accounts", key=str, value="json").append({}, key="a0", expected_version=2).version == 3
        assert log.verify().problems == ()


def test_golden_log_has_its_records(path: Path) -> None:
    """Small and large ones, and those of a Kafka record batch, which are read as all others."""
    with eventlog.open(path, cleaner=False) as log:
        orders = log.topic("orders")
        records = [(r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in orders.read()]
        kafka = zip(
            range(3, 6),
            KAFKA_BATCH.timestamps_ms,
            KAFKA_BATCH.keys,
            KAFKA_BATCH.values,
            KAFKA_BATCH.headers,
            strict=True,
        )
        assert records == [
            (1, JULY_MS, None, b"small", ()),
            (2, JULY_MS + 1, None, b"large" * 1000, ()),
            *kafka,
            (6, JULY_MS + 9, None, b"sent", ()),
        ]
        assert orders.bounds() == {0: (1, 7)}
        with log.consumer("orders") as consumer:
            assert [record.value for record in consumer.poll()] == [record[3] for record in records]
        order = [(record.topic, record.offset) for _, record in log.read_all()]
        assert order == [("accounts", n // 2) for n in range(4)] + [("orders", n) for n in range(1, 7)]


def test_golden_log_has_its_groups_states_and_histories(path: Path) -> None:
    """What else is stored."""
    with eventlog.open(path, cleaner=False) as log:
        accounts = log.topic("accounts", key=str, value="json")
        assert [(event.version, event.value) for event in accounts.history("a1")] == [(1, {"n": 1}), (2, {"n": 3})]
        snapshot = accounts.snapshot("a0")
        assert snapshot is not None
        assert (snapshot.state, snapshot.version) == ({"sum": 2}, 2)
        assert accounts.append({"n": 2}, key="a0", partition=0, message_id="id-2").version == 2
        assert dict(log.state("totals", key=str, value=int).items()) == {"a": 1, "b": 2}
        sums = log.projection("sums", lambda state, record: None, key=str, value=int)
        assert dict(sums.state.items()) == {"a0": 2, "a1": 2}
        assert [place.committed for place in log.groups.describe("billing").offsets] == [3]
        topic = log._store.topic("orders")  # type: ignore[attr-defined]
        [commit] = log._store.committed_with_notes("kafka", [(topic.id, 0)])  # type: ignore[attr-defined]
        assert (commit.offset, commit.leader_epoch, commit.metadata) == (4, 7, "from a client of Kafka's")


def test_rows_of_the_golden_log_are_as_the_page_says(path: Path) -> None:
    """A reader that knows nothing but docs/reference/format.md finds every row where it says."""
    tables = rows_of(path)
    assert set(tables) == set(TABLES)
    assert all(tables.values()), "a table has no rows"
    row = tables[b"format"][b"eventlog"]
    fields = msgpack.unpackb(row)
    assert list(fields) == ["version", "engine", "uuid", "created_ms", "checksum"]
    assert (fields["version"], fields["checksum"], FORMAT_ROW) == (4, row[-4:], (b"format", b"eventlog"))
    [key] = [key for key in tables[b"offsets"] if key.startswith(b"kafka\0")]
    offset = tables[b"offsets"][key]
    assert struct.unpack(">BQ", offset[:9]) == (2, 4)
    assert (struct.unpack(">i", offset[17:21]), offset[21:]) == ((7,), b"from a client of Kafka's")
    headers = {key: read_header(data, "a batch") for key, data in tables[b"batches"].items()}
    assert {data[1] for data in tables[b"batches"].values()} == {3}
    assert {struct.unpack(">IIQ", key)[2] for key, header in headers.items() if header.place == key} == {2}
    [kafka] = [key for key, header in headers.items() if header.kind == KAFKA]
    body = tables[b"batches"][kafka][headers[kafka].body_at : -4]
    assert body == struct.pack(">Q", 3) + (KAFKA_BATCH.kafka_body or b"")[8:]
    assert set(tables[b"order"].values()) == set(tables[b"batches"])
    assert set(tables[b"message times"].values()) == {b""}
