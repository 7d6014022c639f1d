"""Repair: whatever happens to a log's file, what is not damaged itself comes back, and what is lost is told."""

from __future__ import annotations

import os
import random
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import eventlog
from eventlog.batches.header import read_header
from eventlog.store.lmdb.environment import BATCHES, INDEX, ORDER, PARTITIONS, TOPICS
from eventlog.store.lmdb.pages import PageFile
from eventlog.store.repair.repair import partial_path
from eventlog.store.repair.walk import IN_USE, Walk
from tests.store.damaged_logs import PAGE_BYTES, Damage, Place, batches_in_use, contents, damages, make_log, spoiled


class Whole(NamedTuple):
    """A log before it is damaged: its file, its records, its batches in the file, and the pages of a table."""

    path: Path
    data: bytes
    records: dict[Place, Any]
    batches: dict[tuple[int, int, int], tuple[int, int, int]]
    topics: dict[int, str]
    pages: Callable[[bytes], list[int]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The log that is damaged here in copies."""
    path = tmp_path_factory.mktemp("whole") / "log"
    make_log(path)
    return _whole_of(path, {1: "orders", 2: "plain"})


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The same for a log whose batches are compressed, small and large ones."""
    path = tmp_path_factory.mktemp("packed") / "log"
    with eventlog.open(path) as log:
        orders = log.topic("orders", key=str, index="key", compression="zstd")
        plain = log.topic("plain", compression="lz4")
        for number in range(15):
            plain.append_many([b'{"number": %d, "path": "/products"}' % one for one in range(number, number + 40)])
            orders.append_many([b"v%d" % number * 300] * 4, keys=[f"k{(number + one) % 9}" for one in range(4)])
            noise = random.Random(number)
            plain.append_many([2 * noise.randbytes(75).hex().encode() for _ in range(30)])
    return _whole_of(path, {1: "orders", 2: "plain"})


def _whole_of(path: Path, topics: dict[int, str]) -> Whole:
    data = (path / "data.mdb").read_bytes()
    batches = batches_in_use(path)

    def pages(table: bytes) -> list[int]:
        """The pages of the tree of a table."""
        file = PageFile(str(path / "data.mdb"))
        try:
            walk = Walk(file, file.metas()[0])
            before = bytes(walk.marks)
            assert list(walk.rows(table))
            return [page for page, mark in enumerate(walk.marks) if mark == IN_USE and before[page] != IN_USE]
        finally:
            file.close()

    return Whole(path, data, contents(path), batches, topics, pages)


@pytest.fixture
def damaged(tmp_path: Path) -> Callable[[bytes], Path]:
    """Makes a log of these bytes."""

    def make(data: bytes) -> Path:
        path = tmp_path / "damaged"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        (path / "data.mdb").write_bytes(data)
        return path

    return make


@pytest.fixture
def quick_path() -> Iterator[Path]:
    """A directory in memory, if the system has one: the disk would sync every repair."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as path:
        yield Path(path)


def check(whole: Whole, damage: Damage, path: Path, new: Path) -> bool:
    """Repair a damaged log, and compare what came back with the whole one; return whether the report says complete."""
    topics = [page * PAGE_BYTES for page in whole.pages(TOPICS)]
    is_topic_hit = any(page < damage.end and damage.begin < page + PAGE_BYTES for page in topics)
    try:
        report = eventlog.repair(path, new, unknown_topics=True)
    except eventlog.NotALog:
        assert damage.is_cut
        return False
    assert report.problems == (), damage
    if is_topic_hit:
        return report.is_complete  # a row of a topic has no checksum
    found = {(_name(whole, place[0]), *place[1:]): record for place, record in contents(new).items()}
    hit = {
        (whole.topics[topic_id], partition, offset)
        for (topic_id, partition, last), (begin, end, span) in whole.batches.items()
        if (begin < damage.end and damage.begin < end) or (damage.is_cut and end - begin > PAGE_BYTES // 2)
        for offset in range(last - span + 1, last + 1)
    }
    for place, record in found.items():
        assert record == whole.records[place] or damage.is_cut, (damage, place)
    assert whole.records.keys() - found.keys() <= hit, damage
    assert max((one.end for one in report.partitions), default=0) < 2000, damage
    lost = {
        (_name(whole, one.topic), one.partition, offset)
        for one in report.partitions
        for first, end in one.lost
        for offset in range(first, end)
    }
    assert not lost & found.keys(), damage
    assert damage.is_cut or whole.records.keys() - found.keys() <= lost, damage
    if report.is_complete:
        assert found == whole.records, damage
    return report.is_complete


def _name(whole: Whole, topic: str) -> str:
    """The name that a topic had before its row was lost."""
    number = topic.removeprefix("recovered-")
    return topic if number == topic else whole.topics[int(number)]


@pytest.mark.parametrize(
    "count", [300, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(1800)])], ids=["some", "many"]
)
def test_what_is_not_damaged_itself_comes_back(whole, quick_path, count):
    """From flipped bits, zeros, noise, lost pages and a file that was cut; nothing else ever comes."""
    seed = int(os.environ.get("EVENTLOG_SEED", "15"))
    complete = 0
    for number, damage in enumerate(islice(damages(len(whole.data), random.Random(seed)), count)):
        damaged, new = quick_path / f"damaged{number}", quick_path / f"new{number}"
        damaged.mkdir()
        (damaged / "data.mdb").write_bytes(spoiled(whole.data, damage))
        complete += check(whole, damage, damaged, new)
        shutil.rmtree(damaged)
        shutil.rmtree(new, ignore_errors=True)
    assert count // 4 < complete < count


def test_a_table_whose_name_is_damaged_comes_back(whole, damaged, tmp_path):
    """The name is a key in the list of tables, which has no checksum; no table of a log has another one."""
    page = max(PageFile(str(whole.path / "data.mdb")).metas(), key=lambda meta: meta.transaction).main.root
    for table in (BATCHES, ORDER, INDEX, PARTITIONS, TOPICS):
        at = whole.data.index(len(table).to_bytes(2, "little") + table, page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
        data = bytearray(whole.data)
        data[at + 3] ^= 0x40
        shutil.rmtree(tmp_path / "new", ignore_errors=True)
        report = eventlog.repair(damaged(bytes(data)), tmp_path / "new")
        assert contents(tmp_path / "new") == whole.records, table
        assert report.problems == (), table


def test_a_batch_whose_key_is_damaged_comes_back_at_its_place(whole, quick_path, rng):
    """The order of the log has its key, whether or not another batch has the one that stands beside it."""
    small = [begin for begin, end, _ in whole.batches.values() if end - begin < 1900]
    for number in range(40):
        at, bit = rng.choice(small) - rng.choice([1, 1, 2]), 1 << rng.randrange(8)
        damaged, new = quick_path / f"damaged{number}", quick_path / f"new{number}"
        damaged.mkdir()
        damage = Damage("flip", at, at + 1, bytes([bit]))
        (damaged / "data.mdb").write_bytes(spoiled(whole.data, damage))
        check(whole, damage, damaged, new)


def test_compressed_batches_come_back(packed, quick_path):
    """They are placed without their bodies, and those beside lost ones get the offsets of these."""
    assert all(read_header(packed.data[begin:end], "a batch").raw_bytes for begin, end, _ in packed.batches.values())
    complete = 0
    for number, damage in enumerate(islice(damages(len(packed.data), random.Random(15)), 100)):
        damaged, new = quick_path / f"damaged{number}", quick_path / f"new{number}"
        damaged.mkdir()
        (damaged / "data.mdb").write_bytes(spoiled(packed.data, damage))
        complete += check(packed, damage, damaged, new)
    assert complete < 80


@pytest.mark.parametrize("table", [BATCHES, ORDER, INDEX, PARTITIONS], ids=bytes.decode)
def test_a_lost_page_of_a_table(whole, damaged, tmp_path, table):
    """A lost page of the index or the order costs nothing; one of the batches those that stand in it."""
    for number, page in enumerate(whole.pages(table)):
        damage = Damage("zeroed page", page * PAGE_BYTES, (page + 1) * PAGE_BYTES, bytes(PAGE_BYTES))
        check(whole, damage, damaged(spoiled(whole.data, damage)), tmp_path / f"new{number}")


def test_a_sound_log_comes_back_whole(whole, damaged, tmp_path):
    """With its groups, states, message ids, and its own id."""
    path = damaged(whole.data)
    report = eventlog.repair(path, tmp_path / "new")
    assert report.is_complete
    assert not report.is_damaged
    assert contents(tmp_path / "new") == whole.records
    with eventlog.open(tmp_path / "new") as log, eventlog.open(path) as old:
        assert log.uuid == old.uuid
        assert log.state("counts").get("s7") == 7
        assert log.groups.describe("billing").offsets == old.groups.describe("billing").offsets
        assert log.topic("plain").append(b"x" * 120, message_id="m29").offset == 58
        before = old.topic("orders").append(b"next", key="k1")
        after = log.topic("orders").append(b"next", key="k1")
        assert (after.partition, after.offset, after.version) == (before.partition, before.offset, before.version)


def test_a_repaired_or_restored_log_is_whole_in_the_next_repair(whole, tmp_path):
    """Nothing is lost of a log that is not damaged, and what the first repair has noted stays."""
    with eventlog.open(whole.path, read_only=True) as log:
        log.backup(tmp_path / "backup")
    eventlog.restore(tmp_path / "backup", tmp_path / "restored")
    for name in ("restored", "once"):
        report = eventlog.repair(tmp_path / name if name == "restored" else whole.path, tmp_path / f"{name}-repaired")
        assert report.is_complete, report
    report = eventlog.repair(tmp_path / "once-repaired", tmp_path / "twice")
    assert report.is_complete
    assert not report.is_damaged
    assert contents(tmp_path / "twice") == contents(tmp_path / "once-repaired")


def test_a_consumer_reads_on_behind_what_is_lost(whole, damaged, tmp_path):
    """The offsets of a lost batch have no records, and later ones are where they were."""
    data = bytearray(whole.data)
    lost = sorted(place for place in whole.batches if place[0] == 2)[4]
    data[whole.batches[lost][0] + 30] ^= 1
    report = eventlog.repair(damaged(bytes(data)), tmp_path / "new")
    (plain,) = (one for one in report.partitions if one.topic == "plain")
    assert plain.lost == ((lost[2] - whole.batches[lost][2] + 1, lost[2] + 1),)
    with eventlog.open(tmp_path / "new") as log:
        offsets = [record.offset for record in log.topic("plain").read()]
        assert offsets == [one for one in range(7, 60) if not plain.lost[0][0] <= one < plain.lost[0][1]]
        with log.consumer("plain", group="late") as consumer:
            taken: list[int] = []
            while records := consumer.poll(timeout=0):
                taken += [record.offset for record in records]
        assert taken == offsets
        assert log.topic("plain").append(b"next").offset == 60
        assert log.verify().is_sound


def test_a_file_that_cannot_be_written_is_repaired(whole, damaged, tmp_path):
    """Nothing is made beside it, and its bytes and times stay."""
    path = damaged(whole.data)
    (path / "data.mdb").chmod(0o400)
    path.chmod(0o500)
    before = (path / "data.mdb").stat().st_mtime_ns
    try:
        assert eventlog.repair(path, tmp_path / "new").is_complete
        assert [entry.name for entry in path.iterdir()] == ["data.mdb"]
        assert (path / "data.mdb").stat().st_mtime_ns == before
    finally:
        path.chmod(0o700)


def test_both_meta_pages_are_lost(whole, damaged, tmp_path):
    """Then rows are told apart by their bytes, and the report says so."""
    path = damaged(bytes(2 * PAGE_BYTES) + whole.data[2 * PAGE_BYTES :])
    report = eventlog.repair(path, tmp_path / "new")
    assert not report.is_complete
    assert "rows were told apart by their bytes" in report.notes[0]
    found = contents(tmp_path / "new")
    assert {place: found.get(place) for place in whole.records} == whole.records


def test_rows_of_partitions_that_are_lost_are_told(whole, damaged, tmp_path):
    """Records come back that were deleted, since nothing says where their partition begins."""
    data = bytearray(whole.data)
    for page in whole.pages(PARTITIONS):
        data[page * PAGE_BYTES : (page + 1) * PAGE_BYTES] = bytes(PAGE_BYTES)
    report = eventlog.repair(damaged(bytes(data)), tmp_path / "new")
    assert not report.is_complete
    assert report.problems == ()
    assert any("where partitions begin" in note for note in report.notes)
    found = contents(tmp_path / "new")
    assert {place: found.get(place) for place in whole.records} == whole.records


def test_the_new_log_has_the_permissions_of_the_old_one(whole, damaged, tmp_path):
    """So a log that users share stays one."""
    path = damaged(whole.data)
    (path / "data.mdb").chmod(0o440)
    eventlog.repair(path, tmp_path / "new")
    assert (tmp_path / "new" / "data.mdb").stat().st_mode & 0o777 == 0o640


def test_a_directory_with_something_in_it_is_refused(whole, tmp_path):
    """And left as it was."""
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "file").write_text("ours")
    with pytest.raises(ValueError, match="it exists and is not empty"):
        eventlog.repair(whole.path, tmp_path / "new")
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["file"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["new"]


def test_an_empty_directory_is_taken(whole, tmp_path):
    """As `compact()` takes one."""
    (tmp_path / "new").mkdir()
    assert eventlog.repair(whole.path, tmp_path / "new").is_complete


def test_nothing_of_a_log_is_no_log(damaged, tmp_path):
    """Noise, or no file at all: an error, and nothing is made."""
    for path in (damaged(random.Random(1).randbytes(10 * PAGE_BYTES)), tmp_path / "nothing"):
        with pytest.raises(eventlog.NotALog):
            eventlog.repair(path, tmp_path / "new")
        assert not (tmp_path / "new").exists()
        assert not Path(partial_path(str(tmp_path / "new"), os.getpid())).exists()


def test_a_topic_whose_row_is_lost_is_counted_or_made(whole, damaged, tmp_path):
    """It gets a name with its id, and records of bytes."""
    data = bytearray(whole.data)
    for page in whole.pages(TOPICS):
        data[page * PAGE_BYTES : (page + 1) * PAGE_BYTES] = bytes(PAGE_BYTES)
    path = damaged(bytes(data))
    report = eventlog.repair(path, tmp_path / "new")
    assert [one[0] for one in report.unknown_topics] == [1, 2]
    assert sum(one[2] for one in report.unknown_topics) == len(whole.records)
    report = eventlog.repair(path, tmp_path / "other", unknown_topics=True)
    with eventlog.open(tmp_path / "other") as log:
        assert log.topics() == ["recovered-1", "recovered-2"]
        assert len(list(log.topic("recovered-2").read())) == 53


def test_a_log_of_an_earlier_format(tmp_path):
    """One of format 3 keeps its format; an earlier one comes back as one of 3, which is read and written as it is."""
    for version in (1, 2, 3):
        source = tmp_path / f"log-v{version}"
        shutil.copytree(Path("tests/golden") / f"log-v{version}", source)
        report = eventlog.repair(source, tmp_path / f"new-v{version}")
        assert report.problems == ()
        assert not any(one.lost for one in report.partitions)
        if version < 3:
            eventlog.upgrade(source)
        assert contents(tmp_path / f"new-v{version}") == contents(source)


def test_large_values_come_back_without_their_leaf(whole, damaged, tmp_path):
    """Their pages are found, and the order of the log says where they belong."""
    leaves = {begin // PAGE_BYTES for begin, end, _ in whole.batches.values() if end - begin < PAGE_BYTES // 2}
    large = {place: span for place, (begin, end, span) in whole.batches.items() if end - begin > PAGE_BYTES}
    data = bytearray(whole.data)
    for page in leaves:
        struct.pack_into(f"{PAGE_BYTES}x", data, page * PAGE_BYTES)
    eventlog.repair(damaged(bytes(data)), tmp_path / "new")
    found = contents(tmp_path / "new")
    for topic_id, partition, last in large:
        place = (whole.topics[topic_id], partition, last)
        assert found[place] == whole.records[place]
