"""Logs of formats 1 and 2 get an order when they are upgraded, and what format 3 wrote is read for ever."""

from __future__ import annotations

import mmap
import shutil
import struct
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import pytest

import eventlog
from eventlog.batches.header import read_header
from eventlog.store.rows.tables import FORMAT_VERSION
from tests.golden.shapes import JULY_MS, LOG, LOG_V2, LOG_V3
from tests.sealing import unsealed

pytestmark = pytest.mark.skipif(
    mmap.PAGESIZE != 4096,
    reason=f"LMDB's pages are those of the system, {mmap.PAGESIZE} bytes here; the golden logs have pages of 4096",
)

COPIES = {"log-v1": LOG, "log-v2": LOG_V2, "log-v3": LOG_V3}
OLD = ["log-v1", "log-v2"]


@pytest.fixture
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of a golden log, of format 3 when the test does not say."""
    path, (name, *how) = tmp_path / "log", getattr(request, "param", "log-v3").split()
    path.mkdir()
    shutil.copyfile(COPIES[name] / "data.mdb", path / "data.mdb")
    if how:
        assert eventlog.upgrade(path) == 3
    return path


as_it_is_and_upgraded = pytest.mark.parametrize("path", ["log-v3", "log-v3 upgraded"], indirect=True)
of_old_formats = pytest.mark.parametrize("path", OLD, indirect=True)


def raw(path: Path) -> dict[bytes, dict[bytes, bytes]]:
    """The values of all rows of a log, by table and key, read by LMDB alone; checksums have to hold."""
    environment = lmdb.open(str(path), max_dbs=64, readonly=True, lock=False, lib_version=0)
    try:
        with environment.begin() as transaction:
            rows = {
                bytes(name): {
                    bytes(key): bytes(value)
                    for key, value in transaction.cursor(environment.open_db(bytes(name), transaction))
                }
                for name in transaction.cursor().iternext(values=False)
            }
    finally:
        environment.close()
    if msgpack.unpackb(rows[b"format"][b"eventlog"])["version"] < 4:
        return rows
    return {name: {key: unsealed(name, key, data) for key, data in of_one.items()} for name, of_one in rows.items()}


def places(log: eventlog.EventLog, **options: Any) -> list[tuple[int, str, int, int]]:
    """Position, topic, partition and offset of all records, in the order of the log."""
    return [
        (log_position, record.topic, record.partition, record.offset)
        for log_position, record in log.read_all(**options)
    ]


def check_steps(path: Path) -> None:
    """Every batch has its row in the order, and every row its batch; no position is in two of them."""
    tables = raw(path)
    order = sorted((struct.unpack(">Q", key)[0], batch) for key, batch in tables[b"order"].items())
    assert sorted(batch for _, batch in order) == sorted(tables[b"batches"])
    end = 0
    for last, batch in order:
        header = read_header(tables[b"batches"][batch], "a batch")
        assert last - header.span + 1 >= end
        assert header.log_position in (-1, last - header.span + 1)
        end = last + 1


# --- upgrades -------------------------------------------------------------------------------------------------------


@of_old_formats
def test_an_old_log_gets_an_order_when_it_is_upgraded(path: Path) -> None:
    """The positions follow the keys of its batches, from 0 and without a gap; the batches stay as they are."""
    before = raw(path)
    with eventlog.open(path, create=False, upgrade=True) as log:
        end = log.end_log_position()
        assert log.verify().problems == ()
    after = raw(path)
    assert after[b"batches"] == before[b"batches"]
    assert [batch for _, batch in sorted(after[b"order"].items())] == sorted(before[b"batches"])
    spans = [read_header(data, "a batch").span for _, data in sorted(before[b"batches"].items())]
    lasts = [sum(spans[: count + 1]) - 1 for count in range(len(spans))]
    assert sorted(struct.unpack(">Q", key)[0] for key in after[b"order"]) == lasts
    assert end == sum(spans)
    assert after[b"format"][b"end position"] == after[b"format"][b"old positions"] == end.to_bytes(8, "big")
    assert msgpack.unpackb(after[b"format"][b"eventlog"])["version"] == FORMAT_VERSION


@of_old_formats
def test_an_old_log_is_read_in_its_order(path: Path) -> None:
    """Topic by topic and partition by partition, and from any position; what was deleted is passed by."""
    with eventlog.open(path, upgrade=True) as log:
        found = places(log)
        expected = [
            (name, record.partition, record.offset) for name in log.topics() for record in log.topic(name).read()
        ]
        assert [place for _, *place in found] == [list(place) for place in expected]
        for start in range(log.end_log_position() + 1):
            assert places(log, start=start) == [place for place in found if place[0] >= start]


@of_old_formats
def test_appends_to_an_old_log_go_on_behind_its_positions(path: Path) -> None:
    """Old batches and new ones stand in one order."""
    with eventlog.open(path, upgrade=True) as log:
        end = log.end_log_position()
        old = places(log)
        assert log.topic(log.topics()[-1]).append(None, partition=0).log_position == end
        assert log.topic("new").append(b"tea").log_position == end + 1
        assert [place[0] for place in places(log)] == [place[0] for place in old] + [end, end + 1]
        assert log.verify().problems == ()
    with eventlog.open(path, upgrade=True) as log:
        assert log.end_log_position() == end + 2
    check_steps(path)


@of_old_formats
def test_an_old_log_is_put_into_order_once(path: Path) -> None:
    """Opening it again changes nothing."""
    with eventlog.open(path, upgrade=True):
        pass
    tables = raw(path)
    with eventlog.open(path, upgrade=True):
        pass
    assert raw(path) == tables


@of_old_formats
def test_deleting_topics_of_an_old_log_takes_their_rows_of_the_order(path: Path) -> None:
    """One by one, in every order of deletion; positions are not used again."""
    with eventlog.open(path, upgrade=True) as log:
        end = log.end_log_position()
        names = log.topics()
    for name in (names[1], names[0], names[2]):
        with eventlog.open(path, upgrade=True) as log:
            log.delete_topic(name)
            assert log.end_log_position() == end
            assert log.verify().problems == ()
        check_steps(path)
    assert raw(path)[b"order"] == {}
    with eventlog.open(path, upgrade=True) as log:
        assert log.topic("orders").append(b"tea").log_position == end


@of_old_formats
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_deleting_records_of_an_old_log_keeps_order_and_batches_in_step(path: Path, share: float) -> None:
    """Of each partition a part, with new records behind it."""
    with eventlog.open(path, upgrade=True) as log:
        for name in log.topics():
            topic = log.topic(name)
            for partition, (first, end) in topic.bounds().items():
                topic.append(None, partition=partition)
                topic.delete_records({partition: first + round((end - first) * share)})
        end = log.end_log_position()
        found = places(log)
        assert sorted(place[0] for place in found) == [place[0] for place in found]
        expected = [(name, r.partition, r.offset) for name in log.topics() for r in log.topic(name).read()]
        assert sorted(tuple(place) for _, *place in found) == sorted(expected)
        assert log.verify().problems == ()
    check_steps(path)
    with eventlog.open(path, upgrade=True) as log:
        assert log.end_log_position() == end


def test_an_old_log_with_a_damaged_batch_can_be_upgraded(tmp_path: Path) -> None:
    """The damage stays where it was, and what can be read is read."""
    path = tmp_path / "log"
    path.mkdir()
    shutil.copyfile(LOG / "data.mdb", path / "data.mdb")
    environment = lmdb.open(str(path), max_dbs=64, lib_version=0)
    with environment.begin(write=True) as transaction:
        table = environment.open_db(b"batches", transaction)
        key = struct.pack(">IIQ", 3, 1, 3)  # raw[1]: offsets 0 to 3, of which 2 and 3 may be read
        transaction.put(key, bytes(60), db=table)
    environment.close()
    with eventlog.open(path, upgrade=True) as log:
        end = log.end_log_position()
        assert len(log.verify().problems) == 1
        assert [record.offset for record in log.topic("raw").read(1, start=4)] == [4]
        read = log.read_all()
        assert [record.topic for _, record in (next(read) for _ in range(10))] == ["orders"] * 7 + ["parcels"] * 3
        with pytest.raises(eventlog.CorruptBatch, match=r"topic id 3, partition 1, up to offset 3"):
            next(read)
        assert [place[1:] for place in places(log, start=end - 1)] == [("raw", 1, 4)]
        log.topic("raw").delete_records({1: 4})
        assert log.verify().problems == ()
        assert places(log)[-1] == (end - 1, "raw", 1, 4)
    check_steps(path)


# --- format 3 -------------------------------------------------------------------------------------------------------


def accounts_of(log: eventlog.EventLog) -> eventlog.Topic[str, Any]:
    """The indexed topic of the golden log."""
    return log.topic("accounts", key=str, value="json")


@as_it_is_and_upgraded
def test_golden_log_with_an_index_is_sound(path: Path) -> None:
    """Its topics and their options are what was written."""
    with eventlog.open(path, create=False) as log:
        assert log.verify().problems == ()
        assert log.topics() == ["accounts", "payments"]
        accounts = accounts_of(log)
        assert (accounts.index, accounts.duplicate_window, accounts.partitions) == ("key", 1e9, 2)
        assert log.topic("payments").index is None


@as_it_is_and_upgraded
def test_golden_log_has_its_order(path: Path) -> None:
    """Both topics interleaved, without what was deleted."""
    with eventlog.open(path) as log:
        assert places(log) == [
            (2, "payments", 0, 0),
            (3, "payments", 0, 1),
            (4, "payments", 0, 2),
            (7, "accounts", 1, 0),
            (8, "accounts", 1, 1),
            (9, "accounts", 1, 2),
            (10, "accounts", 0, 2),
            (11, "payments", 0, 3),
            (12, "accounts", 1, 3),
        ]
        assert log.end_log_position() == 14  # the newest record is gone, its position too
        assert log.topic("payments").append(b"e").log_position == 14


@as_it_is_and_upgraded
def test_golden_log_has_its_histories(path: Path) -> None:
    """Versions, values small and large, headers, tombstones, and keys without records."""
    with eventlog.open(path) as log:
        accounts = accounts_of(log)
        history = [
            (event.version, event.partition, event.offset, event.log_position, event.timestamp_ms, event.value)
            for event in accounts.history("alice")
        ]
        assert history == [
            (2, 1, 0, 7, JULY_MS + 4, {"paid": 5}),
            (3, 0, 2, 10, JULY_MS + 6, {"note": "x" * 2000}),
        ]
        assert [event.headers for event in accounts.history("alice")] == [(("trace", b"1"),), ()]
        assert [(event.version, event.value) for event in accounts.history("b\0b")] == [(1, {"paid": 7}), (2, None)]
        assert (accounts.version("carol"), list(accounts.history("carol"))) == (1, [])
        assert list(accounts.keys()) == ["alice", "b\0b", "carol"]
        assert accounts.append({"back": 1}, key="carol", expected_version=1).version == 2


@as_it_is_and_upgraded
def test_golden_log_has_its_snapshot(path: Path) -> None:
    """Folding begins with it."""
    with eventlog.open(path) as log:
        accounts = accounts_of(log)
        snapshot = accounts.snapshot("alice")
        assert snapshot is not None
        assert (snapshot.state, snapshot.version) == ({"balance": 5}, 2)
        state, version = accounts.fold("alice", lambda state, value: {**state, **value}, {})
        assert (state, version) == ({"balance": 5, "note": "x" * 2000}, 3)


@as_it_is_and_upgraded
def test_golden_log_remembers_its_message_ids(path: Path) -> None:
    """What comes again is told where it is."""
    with eventlog.open(path) as log:
        accounts = accounts_of(log)
        end = log.end_log_position()
        again = accounts.append({"paid": 5}, key="alice", headers={"trace": b"1"}, message_id="m-1")
        assert (again.partition, again.offset, again.log_position, again.version) == (1, 0, 7, 2)
        again = accounts.append({"note": "x" * 2000}, key="alice", message_id=b"m-2")
        assert (again.partition, again.offset, again.log_position, again.version) == (0, 2, 10, 3)
        with pytest.raises(eventlog.MessageIdReused):
            accounts.append({"paid": 8}, key="b\0b", message_id=b"\xff\x00")
        assert log.end_log_position() == end


def test_rows_of_the_golden_log_have_the_keys_and_sizes_of_the_page(path: Path) -> None:
    """A reader that knows nothing but docs/reference/format.md finds every row where it says."""
    tables = raw(path)
    assert set(tables) == {
        b"format", b"topics", b"partitions", b"batches", b"order", b"offsets", b"groups", b"members", b"index",
        b"snapshots", b"messages", b"message times", b"states", b"state", b"projections", b"producers", b"sequences",
    }  # fmt: skip
    topic = struct.pack(">I", 1)
    assert msgpack.unpackb(tables[b"topics"][b"accounts"]) | {"uuid": b"", "created_ms": 0} == {
        "id": 1, "uuid": b"", "partitions": 2, "key": {"name": "str"}, "value": {"name": "json"},
        "partitioner": "crc32", "max_record_bytes": 1 << 20, "created_ms": 0, "index": "key",
        "duplicate_window_ms": 10**12, "snapshot": {"name": "json"},
    }  # fmt: skip
    assert tables[b"format"][b"end position"] == struct.pack(">Q", 14)
    assert tables[b"order"][struct.pack(">Q", 9)] == struct.pack(">IIQ", 1, 1, 2)
    assert {row[0] for row in tables[b"index"].values()} == {1}
    assert {key: msgpack.unpackb(row[1:-4]) for key, row in tables[b"index"].items()} == {
        topic + b"alice\0\0" + struct.pack(">Q", 1): [
            None,
            [1, 0, JULY_MS + 4, 7, b'{"paid":5}', [["trace", b"1"]]],
            [0, 2, JULY_MS + 6, 10, None, None],
        ],
        topic + b"b\0\xffb\0\0" + struct.pack(">Q", 1): [
            [1, 1, JULY_MS + 3, 8, b'{"paid":7}', []],
            [1, 3, JULY_MS + 8, 12, None, []],
        ],
        topic + b"carol\0\0" + struct.pack(">Q", 2): [],
    }
    [(key, snapshot)] = tables[b"snapshots"].items()
    assert (key, snapshot[:8], snapshot[16:]) == (topic + b"alice\0\0", struct.pack(">Q", 2), b'{"balance":5}')
    messages = {key: struct.unpack(">BIQqqQQ8s", row) for key, row in tables[b"messages"].items()}
    assert {key: row[:4] + row[5:7] for key, row in messages.items()} == {
        topic + b"m-1": (1, 1, 0, JULY_MS + 4, 7, 2),
        topic + b"\xff\0": (1, 1, 1, JULY_MS + 3, 8, 1),
        topic + b"m-2": (1, 0, 2, JULY_MS + 6, 10, 3),
    }
    assert tables[b"message times"] == {
        topic + struct.pack(">Q", row[4]) + key[4:]: b"" for key, row in messages.items()
    }
