"""A log of format 1 becomes one of today when it is upgraded, and groups that an older eventlog wrote go on."""

from __future__ import annotations

import mmap
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import pytest

import eventlog
from eventlog.store.rows.tables import FORMAT_VERSION
from tests.golden.shapes import LOG, LOG_V2
from tests.sealing import unsealed

pytestmark = pytest.mark.skipif(
    mmap.PAGESIZE != 4096,
    reason=f"LMDB's pages are those of the system, {mmap.PAGESIZE} bytes here; the golden logs have pages of 4096",
)

COPIES = {
    "log-v1": LOG,
    "log-v2": LOG_V2,
}


@pytest.fixture
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of a golden log, of format 2 when the test does not say."""
    path = tmp_path / "log"
    path.mkdir()
    shutil.copyfile(COPIES[getattr(request, "param", "log-v2")] / "data.mdb", path / "data.mdb")
    return path


of_format_1 = pytest.mark.parametrize("path", ["log-v1"], indirect=True)


@contextmanager
def raw(path: Path) -> Iterator[dict[bytes, dict[bytes, bytes]]]:
    """All rows of a log, by table and key, read by LMDB alone."""
    environment = lmdb.open(str(path), max_dbs=64, readonly=True, lock=False, lib_version=0)
    try:
        with environment.begin() as transaction:
            yield {
                bytes(name): {
                    bytes(key): bytes(value)
                    for key, value in transaction.cursor(environment.open_db(bytes(name), transaction))
                }
                for name in transaction.cursor().iternext(values=False)
            }
    finally:
        environment.close()


def format_version(path: Path) -> int:
    """What a log says of itself."""
    with raw(path) as rows:
        version: int = msgpack.unpackb(rows[b"format"][b"eventlog"])["version"]
        return version


def poll_all(consumer: eventlog.Consumer[Any, Any]) -> list[tuple[str, int, int]]:
    """The places of all records that a consumer is handed."""
    places = []
    while records := consumer.poll():
        places += [(record.topic, record.partition, record.offset) for record in records]
    return sorted(places)


# --- format 1 -------------------------------------------------------------------------------------------------------


@of_format_1
def test_log_of_format_1_becomes_one_of_today(path: Path) -> None:
    """When that is asked for; its id, records and offsets stay."""
    with raw(path) as rows:
        before = rows
    assert format_version(path) == 1
    with pytest.raises(eventlog.FormatTooOld, match=r"it has format 1.*Nothing was changed.*eventlog upgrade"):
        eventlog.open(path)
    with raw(path) as rows:
        assert rows == before
    with eventlog.open(path, create=False, upgrade=True) as log:
        assert log.groups.list() == ["billing", "stock room"]
    assert format_version(path) == FORMAT_VERSION
    with raw(path) as rows:
        for table in (b"topics", b"partitions", b"batches", b"offsets"):
            assert {key: unsealed(table, key, row) for key, row in rows[table].items()} == before[table]
        assert rows[b"groups"] == rows[b"members"] == {}
        old = msgpack.unpackb(before[b"format"].pop(b"eventlog"))
        new = msgpack.unpackb(rows[b"format"].pop(b"eventlog"))
        assert new == old | {"version": FORMAT_VERSION, "checksum": new["checksum"]}
        values = {key: unsealed(b"format", key, row) for key, row in rows[b"format"].items()}
        assert {key: value for key, value in values.items() if b"position" not in key} == before[b"format"]


@of_format_1
def test_groups_of_format_1_get_members(path: Path) -> None:
    """Offsets that a lone consumer committed are where the first members go on."""
    with eventlog.open(path, upgrade=True) as log:
        with log.consumer("orders", group="billing") as one, log.consumer("orders", group="billing") as other:
            one.poll(max_records=1)
            other.poll()
            assert len(one.assignment()) == len(other.assignment()) == 1
        with log.consumer("orders", "parcels", group="billing") as consumer:
            assert consumer.committed(("parcels", 0)) == 3
            consumer.commit({("parcels", 0): 2})
            assert {place[0] for place in poll_all(consumer)} <= {"orders", "parcels"}
    with eventlog.open(path, upgrade=True) as log, log.consumer("raw", group="stock room") as consumer:
        assert poll_all(consumer) == [("raw", 1, 4)]


@of_format_1
def test_topics_of_format_1_get_partitions(path: Path) -> None:
    """Records stay where they are, and what is added begins empty."""
    with eventlog.open(path, upgrade=True) as log:
        log.topic("raw").create_partitions(5)
        assert log.topic("raw").bounds() == {0: (0, 0), 1: (2, 5), 2: (2, 2), 3: (0, 0), 4: (0, 0)}
        assert log.verify().is_sound


# --- format 2 -------------------------------------------------------------------------------------------------------


def test_golden_log_with_groups_is_sound(path: Path) -> None:
    """Its topics, records and committed offsets are what was written."""
    with eventlog.open(path, create=False, upgrade=True) as log:
        assert log.verify().problems == ()
        assert log.topics() == ["orders", "payments", "refunds"]
        orders = log.topic("orders")
        assert (orders.partitions, sum(end for _, end in orders.bounds().values())) == (4, 12)
        assert sorted(record.value for record in orders.read()) == list(range(12))
        assert log.groups.list() == ["billing", "shipping", "stock room"]
        with log.consumer(group="billing") as hand:
            committed = {number: hand.committed(("orders", number)) for number in range(4)}
            ends = {number: end for number, (_, end) in orders.bounds().items()}
            assert committed == ends | {3: ends[3] - 1}
            assert hand.committed(("payments", 0)) == 3
        with log.consumer(group="stock room") as hand:
            assert hand.committed(("payments", 0)) == 2


def test_golden_members_are_dead_and_make_room(path: Path) -> None:
    """The first to join has everything at once, where they had stopped."""
    with eventlog.open(path, upgrade=True) as log:
        with log.consumer("orders", "payments", group="billing") as consumer:
            assert len(consumer.assignment()) == 5
            assert poll_all(consumer) == [("orders", 3, log.topic("orders").bounds()[3][1] - 1)]
            assert len(log.groups.describe("billing").members) == 1
    with raw(path) as rows:
        assert rows[b"members"] == {}


def test_a_golden_static_member_comes_back(path: Path) -> None:
    """Under its name, to a place that is its own or anew: nobody else is there."""
    with (
        eventlog.open(path, upgrade=True) as log,
        log.consumer("orders", instance_id="left", group="billing") as consumer,
    ):
        consumer.poll()
        assert len(consumer.assignment()) == 4


def test_a_golden_group_that_began_late_stays_there(path: Path) -> None:
    """What was noted as its beginning holds, whatever `start` says today."""
    with eventlog.open(path, upgrade=True) as log:
        log.topic("refunds").append(b"tea", partition=1)
        with log.consumer("refunds", group="shipping", assignor="roundrobin", start="latest") as consumer:
            assert poll_all(consumer) == [("refunds", 1, 0)]


def test_rows_of_the_golden_groups_have_the_keys_and_fields_of_the_page(path: Path) -> None:
    """A reader that knows nothing but docs/reference/format.md finds every row where it says."""
    with raw(path) as rows:
        tables = rows
    assert set(tables) == {b"format", b"topics", b"partitions", b"batches", b"offsets", b"groups", b"members"}
    assert tables[b"format"][b"topics version"] == bytes([0, 0, 0, 0, 0, 0, 0, 4])
    groups = {key.decode(): msgpack.unpackb(row) for key, row in tables[b"groups"].items()}
    assert set(groups) == {"billing", "shipping"}
    for group in groups.values():
        assert set(group) == {
            "version", "epoch", "target_epoch", "topics_version", "newest_topic_id", "partition_counts", "assignor",
            "created_ms"
        }  # fmt: skip
        assert (group["version"], group["newest_topic_id"], group["topics_version"]) == (1, 3, 4)
    assert (groups["billing"]["assignor"], groups["shipping"]["assignor"]) == ("sticky", "range")
    members = {key: msgpack.unpackb(row) for key, row in tables[b"members"].items()}
    assert [key.partition(b"\0")[0] for key in members] == [b"billing"] * 3
    assert all(len(key) == len(b"billing\0") + 32 for key in members)
    for member in members.values():
        assert set(member) == {
            "version", "instance_id", "topics", "patterns", "process_id", "joined_ms", "joined_epoch", "owned", "target"
        }  # fmt: skip
        assert member["version"] == 1
        owned = {(topic, number) for topic, pairs in member["owned"] for number, _ in pairs}
        assert owned == {(topic, number) for topic, numbers in member["target"] for number in numbers}
    found = sorted((m["instance_id"] or "", m["topics"], m["patterns"]) for m in members.values())
    assert found == [("", [], [["ORD.*", 34]]), ("", ["orders", "payments"], []), ("left", ["orders"], [])]
