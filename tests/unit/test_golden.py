"""What an older eventlog wrote is read for ever, and what is written today is what the format page says."""

from __future__ import annotations

import datetime as dt
import mmap
import re
import shutil
import struct
from pathlib import Path
from uuid import UUID

import attrs
import lmdb
import msgpack
import pytest

import eventlog
from eventlog.batches.format import decode
from eventlog.batches.header import FRAME_BYTES, HEADER_BYTES, KAFKA, read_header, read_runs
from tests.golden.make_golden import make_batch
from tests.golden.shapes import BATCHES, BATCHES_V1, BATCHES_V2, BATCHES_V3, GOLDEN, JULY_MS, LOG, Parcel

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "format.md"
NAMES = sorted(BATCHES)

with_pages_of_4096_bytes = pytest.mark.skipif(
    mmap.PAGESIZE != 4096,
    reason=f"LMDB's pages are those of the system, {mmap.PAGESIZE} bytes here; the golden log has pages of 4096",
)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the golden log."""
    path = tmp_path / "log-v1"
    path.mkdir()
    shutil.copyfile(LOG / "data.mdb", path / "data.mdb")
    return path


@pytest.fixture
def golden(old: Path) -> Path:
    """A copy of the golden log, as one of today's format."""
    assert eventlog.upgrade(old) == 1
    return old


# --- batches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_golden_batch_holds_what_was_written(name: str) -> None:
    """Every column of a stored batch comes back as it went in."""
    expected = BATCHES[name]
    columns = decode((GOLDEN / name).read_bytes(), name)
    assert (columns.count, columns.span) == (expected.count, expected.span)
    assert (columns.first_ms, columns.largest_ms) == (expected.first_ms, expected.largest_ms)
    assert columns.largest_so_far_ms == expected.largest_so_far_ms
    assert list(columns.timestamps_ms) == expected.timestamps_ms
    assert columns.keys == expected.keys
    assert columns.values == expected.values
    assert columns.headers == expected.headers
    assert columns.deltas == expected.deltas
    assert columns.log_position == expected.log_position


@pytest.mark.parametrize("name", sorted(BATCHES_V2 | BATCHES_V3))
def test_encoder_still_writes_the_golden_bytes(name: str) -> None:
    """The same records give the same bytes as on the day the format was made, for logs of formats 3 and 4."""
    shape = (BATCHES_V2 | BATCHES_V3)[name]
    assert make_batch(shape, version=2 if name in BATCHES_V2 else 3) == (GOLDEN / name).read_bytes()


@pytest.mark.parametrize("name", sorted(BATCHES_V2))
def test_version_3_changed_nothing_of_small_batches_but_the_number(name: str) -> None:
    """Without flags, today's bytes are those of version 2."""
    new = (GOLDEN / name.replace("batch-v2", "batch-v3")).read_bytes()
    assert (new[1], new[2:-4]) == (3, (GOLDEN / name).read_bytes()[2:-4])


def test_golden_batches_say_where_they_belong_and_which_positions_they_hold() -> None:
    """A large one repeats the key of its row, and one that was made of several has several runs."""
    for name, shape in BATCHES_V3.items():
        data = (GOLDEN / name).read_bytes()
        header = read_header(data, name)
        assert header.place == (shape.key if name == "batch-v3-place.bin" else None)
        assert read_runs(header, data, name) == [(0, shape.log_position), *shape.later_runs]


@pytest.mark.parametrize("name", [name for name in BATCHES_V3 if "kafka" in name])
def test_a_kafka_record_batch_is_kept_byte_for_byte(name: str) -> None:
    """But for its base offset, which is outside of Kafka's checksum."""
    shape, data = BATCHES_V3[name], (GOLDEN / name).read_bytes()
    header = read_header(data, name)
    body, sent = data[header.body_at : -4], shape.kafka_body
    assert sent is not None
    assert (header.kind, body[8:]) == (KAFKA, sent[8:])
    assert int.from_bytes(body[:8], "big") == 102 - shape.span + 1


@pytest.mark.parametrize("name", sorted(BATCHES_V1))
def test_version_2_added_a_position_to_the_golden_bytes_and_changed_nothing_else(name: str) -> None:
    """But for the version, the position and the checksum, today's bytes are those of version 1."""
    data = make_batch(attrs.evolve(BATCHES_V1[name], log_position=0), version=2)
    old = (GOLDEN / name).read_bytes()
    assert (data[0], data[1], old[1]) == (0xE7, 2, 1)
    assert data[2 : HEADER_BYTES - 8] + data[HEADER_BYTES:-4] == old[2:-4]


def test_every_golden_batch_is_read_by_these_tests() -> None:
    """No file lies beside the others without being looked at."""
    assert sorted(path.name for path in GOLDEN.glob("*.bin")) == NAMES


def test_format_page_shows_the_bytes_of_the_golden_batch() -> None:
    """The hex example of the page is the golden file, byte by byte."""
    shown = re.search(r"tests/golden/batch-v3\.bin.*?```\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert shown is not None
    lines = [re.split(r"\s{2,}", line.strip())[0] for line in shown[1].splitlines() if line.strip()]
    assert bytes.fromhex(" ".join(lines)) == (GOLDEN / "batch-v3.bin").read_bytes()


# --- a whole log --------------------------------------------------------------------------------------------------


@with_pages_of_4096_bytes
def test_golden_log_is_sound(golden: Path) -> None:
    """A log of format 1 can be upgraded, and every batch of it passes the checks."""
    with eventlog.open(golden, create=False) as log:
        report = log.verify()
        assert log.uuid == UUID("6e8c2e8d-a97b-4d38-80cf-00e202f02224")
        assert log.topics() == ["orders", "parcels", "raw"]
    assert report.problems == ()
    assert (report.topic_count, report.batch_count, report.record_count) == (3, 10, 15)


@with_pages_of_4096_bytes
def test_golden_log_has_its_records(golden: Path) -> None:
    """Offsets, times, keys, values and headers of every record are what was appended."""
    with eventlog.open(golden) as log:
        orders = log.topic("orders")
        rows = [(r.partition, r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in orders.read()]

    def row(partition: int, offset: int, number: int, key: str) -> tuple[object, ...]:
        headers = (("trace", bytes([number])), ("empty", None)) if number % 2 else ()
        return (partition, offset, JULY_MS + number * 1000, key, {"item": "tea", "number": number}, headers)

    assert rows == [
        row(0, 0, 1, "user-1"),
        row(0, 1, 2, "user-2"),
        row(0, 2, 4, "user-1"),
        row(0, 3, 5, "user-2"),
        row(1, 0, 0, "user-0"),
        row(1, 1, 3, "user-0"),
        (1, 2, JULY_MS + 6000, "user-0", None, ()),
    ]


@with_pages_of_4096_bytes
def test_golden_log_gives_instances_of_the_class_that_was_stored(golden: Path) -> None:
    """An attrs class reads its own records; who has no class gets plain dicts."""
    with eventlog.open(golden) as log:
        plain = list(log.topic("parcels").read(max_records=1))
        parcels = list(log.topic("parcels", key=int, value=Parcel).read())
    assert plain[0].value == {"sender": "alice", "weight_g": 250, "tags": []}
    assert [(parcel.key, parcel.value) for parcel in parcels] == [
        (1, Parcel("alice", 250)),
        (2, Parcel("bob", 1_000, ["fragile"])),
        (-3, Parcel("carol", 5)),
    ]


@with_pages_of_4096_bytes
def test_golden_log_keeps_options_and_ids_of_its_topics(golden: Path) -> None:
    """What a topic was created with is what opens, and its id is the one it was given."""
    with eventlog.open(golden) as log:
        orders, parcels, raw = (log.topic(name) for name in log.topics())
    assert (orders.partitions, orders.key, orders.value, orders.partitioner) == (2, "str", "json", "murmur2")
    assert (parcels.partitions, parcels.key, parcels.value, parcels.partitioner) == (1, "int", "class", "crc32")
    assert (raw.partitions, raw.key, raw.value) == (3, "bytes", "bytes")
    assert [topic.max_record_bytes for topic in (orders, parcels, raw)] == [1_048_576, 10_000, 1_048_576]
    assert [str(topic.uuid) for topic in (orders, parcels, raw)] == [
        "1a21aef0-3b8b-4dbd-b19b-e8747925cab9",
        "6a6d50a7-bb92-4c39-908f-69eb94611264",
        "a3d16f47-a66f-4e22-a3a9-0d1c620c5dc1",
    ]


@with_pages_of_4096_bytes
def test_golden_log_remembers_deleted_records(golden: Path) -> None:
    """A partition begins where records were deleted up to, within a batch and at the end."""
    with eventlog.open(golden) as log:
        raw = log.topic("raw")
        assert raw.bounds() == {0: (0, 0), 1: (2, 5), 2: (2, 2)}
        assert [(record.offset, record.value) for record in raw.read()] == [(2, b"c"), (3, b"d"), (4, b"e")]
        assert raw.append(b"z", partition=2).offset == 2


@with_pages_of_4096_bytes
def test_golden_log_has_its_committed_offsets(golden: Path) -> None:
    """A group goes on where it was on the day the log was written."""
    with eventlog.open(golden) as log:
        with log.consumer(group="billing", auto_commit=False) as billing:
            committed = [billing.committed(tp) for tp in (("orders", 0), ("orders", 1), ("parcels", 0), ("raw", 1))]
        with log.consumer("orders", group="billing", auto_commit=False) as billing:
            left = sorted((record.partition, record.offset) for record in billing.poll())
        with log.consumer(group="stock room", auto_commit=False) as stock_room:
            assert stock_room.committed(("raw", 1)) == 4
    assert committed == [1, 2, 3, None]
    assert left == [(0, 1), (0, 2), (0, 3), (1, 2)]


@with_pages_of_4096_bytes
def test_golden_log_finds_records_by_time(golden: Path) -> None:
    """The first record of a time or later is found in what was written then."""
    moment = dt.datetime.fromtimestamp((JULY_MS + 2_500) / 1000, dt.UTC)
    with eventlog.open(golden) as log:
        found = [(record.partition, record.offset) for record in log.topic("orders").read(start=moment)]
    assert found == [(0, 2), (0, 3), (1, 1), (1, 2)]


@with_pages_of_4096_bytes
def test_golden_log_can_be_written_on(golden: Path) -> None:
    """Offsets and topic ids go on from where they were."""
    with eventlog.open(golden) as log:
        assert log.topic("parcels", value=Parcel).append(Parcel("dora", 7), key=4).offset == 3
        new = log.topic("new")
        assert new.append(b"first").offset == 0
        assert log.verify().problems == ()
    with eventlog.open(golden) as log:
        assert log.topic("parcels").bounds() == {0: (0, 4)}


# --- the page -----------------------------------------------------------------------------------------------------


def test_byte_table_of_the_page_is_the_layout_of_the_header() -> None:
    """Places and sizes on the format page are those that the code packs."""
    section = PAGE.read_text("utf-8").partition("## Batch, version 3")[2].partition("\n### ")[0]
    rows = [(int(at), int(size)) for at, size in re.findall(r"^\| (\d+) \| (\d+) \|", section, re.MULTILINE)]
    codes = {1: "B", 2: "H", 4: "I", 8: "q"}  # a position is unsigned, of the same size
    assert [at for at, _ in rows] == [sum(size for _, size in rows[:index]) for index in range(len(rows))]
    assert (
        sum(size for _, size in rows) == HEADER_BYTES == struct.calcsize(">" + "".join(codes[size] for _, size in rows))
    )
    assert FRAME_BYTES - HEADER_BYTES == 4


@with_pages_of_4096_bytes
def test_rows_of_the_golden_log_have_the_keys_and_sizes_of_the_page(old: Path) -> None:
    """A reader that knows nothing but the format page finds every row where it says."""
    environment = lmdb.open(str(old), max_dbs=8, readonly=True, lock=False, lib_version=0)
    with environment.begin() as transaction:
        rows = {
            bytes(name): dict(transaction.cursor(environment.open_db(bytes(name), transaction)))
            for name in transaction.cursor().iternext(values=False)
        }
    environment.close()
    assert set(rows) == {b"format", b"topics", b"partitions", b"batches", b"offsets"}
    assert set(rows[b"format"]) == {b"eventlog", b"next topic id"}
    assert rows[b"format"][b"next topic id"] == bytes([0, 0, 0, 4])
    assert set(msgpack.unpackb(rows[b"format"][b"eventlog"])) == {"version", "engine", "uuid", "created_ms"}
    assert set(rows[b"topics"]) == {b"orders", b"parcels", b"raw"}
    assert {key: struct.unpack(">QQ", row[:16]) for key, row in rows[b"partitions"].items()} == {
        bytes([0, 0, 0, 3, 0, 0, 0, 1]): (2, 5),
        bytes([0, 0, 0, 3, 0, 0, 0, 2]): (2, 2),
    }
    assert {key: row[:9] for key, row in rows[b"offsets"].items()} == {
        b"billing\0" + struct.pack(">II", 1, 0): struct.pack(">BQ", 1, 1),
        b"billing\0" + struct.pack(">II", 1, 1): struct.pack(">BQ", 1, 2),
        b"billing\0" + struct.pack(">II", 2, 0): struct.pack(">BQ", 1, 3),
        b"stock room\0" + struct.pack(">II", 3, 1): struct.pack(">BQ", 1, 4),
    }
    assert {struct.unpack(">IIQ", key) for key in rows[b"batches"]} >= {(1, 0, 3), (2, 0, 2), (3, 1, 3), (3, 1, 4)}
