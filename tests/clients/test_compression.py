"""A topic that is compressed is a topic: what goes in comes out, by every way; and how it is told and changed."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog.batches.header import COMPRESSION_MASK, COMPRESSIONS, read_header
from eventlog.store.lmdb.environment import BATCHES
from tests.clients.helpers import PATIENCE_SECONDS, take
from tests.golden.shapes import LOG_V3

NAMES = ["zstd", "lz4"]
EVENTS = [{"event": "page_view", "user": f"user-{n % 97}", "path": f"/products/{n * 7919 % 500}"} for n in range(3_000)]


def stored(log: eventlog.EventLog) -> list[tuple[str | None, int]]:
    """The compression and the number of records of each batch, in the order of their keys."""
    environment: Any = log._store.environment  # type: ignore[attr-defined]
    with environment.reading() as transaction, transaction.cursor(db=environment.table(BATCHES)) as cursor:
        headers = [read_header(bytes(data), "a batch") for _, data in cursor.iternext()]
    return [(COMPRESSIONS[one.flags & COMPRESSION_MASK] if one.raw_bytes else None, one.count) for one in headers]


def values(records: Any) -> list[Any]:
    """The values of records."""
    return [record.value for record in records]


@pytest.mark.parametrize("name", NAMES)
def test_what_goes_in_comes_out_by_every_way(log, name):
    """Every writer compresses, and every reader reads."""
    topic = log.topic("views", value="json", key=str, compression=name)
    keys = [event["user"] for event in EVENTS]
    topic.append_many(EVENTS, keys=keys)
    with log.producer() as producer:
        for event, key in zip(EVENTS, keys, strict=True):
            producer.send("views", event, key=key, headers={"trace": b"1"})
    with log.producer(name="till") as producer:
        producer.send_many("views", EVENTS, keys=keys)
    with log.transaction() as tx:
        for event, key in zip(EVENTS, keys, strict=True):
            tx.send(topic, event, key=key)
    topic.append_many(EVENTS, keys=keys, message_ids=[f"m{number}" for number in range(len(EVENTS))])
    topic.append({"text": "x" * 1000}, key="one")
    topic.append({"text": "x" * 100_000}, key="one", message_id="m")
    topic.append({"text": "x" * 100_000}, key="one")
    expected = [*EVENTS * 5, *({"text": "x" * size} for size in (1000, 100_000, 100_000))]
    compressed_count = sum(count for kind, count in stored(log) if kind == name)
    assert compressed_count > 0.95 * len(expected), "a producer may have sent a few records alone"
    assert values(topic.read()) == expected
    assert [value for batch in topic.read_batches() for value in batch.values] == expected
    assert values(topic.read(0, start=4_000, end=4_010)) == expected[4_000:4_010]
    with log.consumer("views", group="g") as consumer:
        assert take(consumer, len(expected)) == expected
    assert [record.value for _, record in log.read_all()] == expected
    assert next(iter(topic.read(0, start=3_000, max_records=1))).headers == (("trace", b"1"),)
    assert log.verify().is_sound


@pytest.mark.parametrize("name", NAMES)
def test_a_topic_with_an_index_has_its_histories(log, name):
    """Small values are in the index, large ones in their batches; versions are judged as ever."""
    topic = log.topic("accounts", value=bytes, key=str, index="key", compression=name)
    for number in range(5):
        topic.append(b"%d" % number * 700, key="alice", expected_version=number)
    topic.append_many([b"large" * 500] * 4, key="bob")
    topic.append(b"large" * 5_000, key="alice", expected_version=5)
    with pytest.raises(eventlog.WrongVersion):
        topic.append(b"large" * 5_000, key="alice", expected_version=5)
    assert [event.value for event in topic.history("alice")] == [*(b"%d" % n * 700 for n in range(5)), b"large" * 5_000]
    assert [event.value for event in topic.history("bob")] == [b"large" * 500] * 4
    topic.delete_records({0: 2})
    assert [event.version for event in topic.history("alice")] == [3, 4, 5, 6]
    assert log.verify().is_sound


def test_the_option_is_stored_with_the_topic(log):
    """Who opens it without the option gets what is stored; another one is an error that says how to alter it."""
    log.topic("views", compression="zstd")
    assert log.topic("views").compression == "zstd"
    assert log.topic("orders").compression is None
    with pytest.raises(eventlog.TopicMismatch, match=r"compression='zstd'.*alter\(compression='lz4'\)"):
        log.topic("views", compression="lz4")
    with pytest.raises(eventlog.TopicMismatch, match="compression=None"):
        log.topic("orders", compression="lz4")
    for wrong in ("gzip", "", 1, True):
        with pytest.raises(ValueError, match=r'compression is "zstd", "lz4" or None, not .*Nothing was stored'):
            log.topic("views", compression=wrong)
        with pytest.raises(ValueError, match=r'compression is "zstd", "lz4" or None'):
            log.topic("views").alter(compression=wrong)
    assert log.topic("views").compression == "zstd"


def test_all_writers_follow_what_is_altered(path):
    """Other handles, of other programs too, and producers, from their next commit on; what is stored stays."""
    with eventlog.open(path) as log, eventlog.open(path) as other:
        topic, held = log.topic("views", retention=3600), other.topic("views")
        with log.producer() as producer:
            for compression in ("zstd", "lz4", None):
                producer.send("views", b"p" * 1000).result(PATIENCE_SECONDS)
                held.alter(compression=compression)
                topic.append_many([b"m" * 900, b"m" * 900])
                topic.append(b"s" * 1000)
                producer.send("views", b"p" * 1000).result(PATIENCE_SECONDS)
                producer.send("views", b"p" * 1000).result(PATIENCE_SECONDS)
                with log.transaction() as tx:
                    tx.send(topic, b"t" * 1000)
                assert topic.compression == held.compression == compression
        kinds = [kind for kind, _ in stored(log)]
        assert kinds[2:3] + kinds[4:6] == ["zstd"] * 3, kinds
        assert set(kinds[-2:]) == {None}
        assert set(kinds) == {"zstd", "lz4", None}
        assert len(list(topic.read())) == 21
        assert topic.retention == 3600
        held.alter(retention=60)
        assert (held.compression, log.topic("views").retention) == (None, 60)
        assert log.verify().is_sound


def test_a_copy_is_compressed_as_its_source(log):
    """And a topic that is not compressed can be copied into one that is."""
    plain, packed = log.topic("plain", value="json"), log.topic("packed", value="json", compression="zstd")
    plain.append_many(EVENTS)
    log.copy_topic("plain", to=packed)
    log.copy_topic("packed", to="again")
    assert values(log.topic("again").read()) == EVENTS
    assert log.topic("again").compression == "zstd"
    sizes = {one.topic: one.stored_bytes for one in log.stats().topics}
    assert sizes["again"] < sizes["plain"] / 4 > sizes["packed"]


def test_a_fetch_takes_no_more_memory_than_it_would_without(log):
    """`fetch_max_bytes` counts what comes out of the batches."""
    topic = log.topic("views", compression="zstd")
    for number in range(64):
        topic.append(b"%d" % number * 200_000)
    with log.consumer("views", fetch_max_bytes=1 << 20) as consumer:
        consumer.poll(timeout=0, max_records=1)
        tracemalloc.start()
        try:
            seen = 1
            while records := consumer.poll(timeout=0):
                seen += len(records)
                del records
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()
    assert seen == 64


def test_a_log_of_format_3_says_how_to_upgrade_it(tmp_path):
    """It has no flags for it; nothing is changed."""
    path = tmp_path / "log"
    shutil.copytree(LOG_V3, path)
    with eventlog.open(path) as log:
        for refused in (
            lambda: log.topic("views", compression="zstd"),
            lambda: log.topic("accounts").alter(compression="lz4"),
        ):
            with pytest.raises(eventlog.FormatTooOld, match=r"format 3.*Nothing was changed.*eventlog upgrade"):
                refused()
        assert "views" not in log.topics()
        log.topic("accounts").alter(compression=None)
    with eventlog.open(path, upgrade=True) as log:
        log.topic("accounts").alter(compression="zstd")
        log.topic("accounts").append_many([{"n": 1}] * 200, keys=["alice"] * 200)
        assert log.verify().is_sound


_WITHOUT = """
import sys
for module in ("compression.zstd", "backports.zstd", "lz4.block"):
    sys.modules[module] = None
import eventlog
with eventlog.open(sys.argv[1], cleaner=False) as log:
    views = log.topic("views")
    offset = views.bounds()[0][1]
    def fails(call):
        try:
            call()
        except eventlog.MissingLibrary as error:
            assert error.extra == "zstd", error
            assert 'pip install "eventlog[zstd]"' in str(error), error
            return
        raise AssertionError("there was no error")
    fails(lambda: list(views.read()))
    fails(lambda: list(log.read_all()))
    fails(lambda: views.append(b"x"))
    fails(lambda: views.append(b"x" * 100_000))
    fails(lambda: views.append_many([b"x"] * 3))
    fails(lambda: log.topic("new", compression="zstd"))
    fails(lambda: log.topic("plain").alter(compression="zstd"))
    fails(log.verify)
    with log.producer() as producer:
        fails(lambda: producer.send("views", b"x"))
        producer.send("plain", b"x").result()
    with log.consumer("views", group="g") as consumer:
        fails(lambda: consumer.poll(timeout=0))
        fails(lambda: consumer.poll(timeout=0))
        assert consumer.position(("views", 0)) == 0
    with log.transaction() as tx:
        tx.send("plain", b"x")
    tx = log.transaction()
    tx.send("views", b"x")
    fails(tx.commit)
    assert views.bounds()[0] == (0, offset), "something was stored"
    assert len(list(log.topic("plain").read())) == 3
    assert log.stats().record_count == offset + 3 + 60
    assert log.clean().failed == ("users",)
    fails(lambda: log.topic("users").redact("a"))
    log.backup(sys.argv[1] + "-backup")
    views.delete_records({0: 10})
fails(lambda: eventlog.repair(sys.argv[1], sys.argv[1] + "-new"))
"""


def test_without_the_library_nothing_is_lost(path):
    """A program that lacks it says what to install, reads and writes the rest, and spoils nothing."""
    with eventlog.open(path, cleaner=False) as log:
        log.topic("views", compression="zstd").append_many([b"tea" * 100] * 50)
        log.topic("plain").append(b"milk")
        users = log.topic("users", key=str, compression="zstd", compaction="key")
        for _ in range(3):
            users.append_many([b"name" * 50] * 20, keys=["a", "b"] * 10)
    done = subprocess.run([sys.executable, "-c", _WITHOUT, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with eventlog.open(path) as log:
        assert values(log.topic("views").read()) == [b"tea" * 100] * 40
        assert (log.clean().failed, log.topic("users").bounds()) == ((), {0: (0, 60)})
        assert log.verify().is_sound


def test_a_producer_that_lacks_the_library_goes_on_as_it_began(path, monkeypatch: pytest.MonkeyPatch):
    """Where another program alters a topic under it: what is sent is not lost for that."""
    from eventlog.batches import compression

    with eventlog.open(path) as log, eventlog.open(path) as other:
        log.topic("views")
        with log.producer() as producer:
            producer.send("views", b"x" * 1000).result(PATIENCE_SECONDS)
            other.topic("views").alter(compression="lz4")
            with monkeypatch.context() as patch:
                compression._loaded.cache_clear()
                patch.setitem(sys.modules, "lz4.block", None)
                for _ in range(3):
                    producer.send("views", b"x" * 1000).result(PATIENCE_SECONDS)
            assert [kind for kind, _ in stored(log)] == [None] * 4


def test_a_damaged_batch_is_corrupt_and_the_next_is_read(path: Path):
    """The error names the offsets, as for any other batch."""
    with eventlog.open(path) as log:
        topic = log.topic("views", compression="zstd")
        for number in range(3):
            topic.append_many([random.Random(40 * number + one).randbytes(100).hex().encode() for one in range(40)])
        expected = values(topic.read())
    data = bytearray((path / "data.mdb").read_bytes())
    with eventlog.open(path) as log:
        environment: Any = log._store.environment  # type: ignore[attr-defined]
        with environment.reading() as transaction, transaction.cursor(db=environment.table(BATCHES)) as cursor:
            bodies = [bytes(value) for _, value in cursor.iternext()]
    at = data.index(bodies[1])
    data[at + len(bodies[1]) - 8] ^= 1
    (path / "data.mdb").write_bytes(data)
    with eventlog.open(path) as log, log.consumer("views") as consumer:
        assert take(consumer, 40) == expected[:40]
        with pytest.raises(eventlog.CorruptBatch, match="checksum") as caught:
            consumer.poll(timeout=0)
        consumer.seek(("views", 0), (caught.value.offset or 0) + 1)
        assert take(consumer, 40) == expected[80:]
        assert len(log.verify().problems) == 1


def test_a_backup_has_compressed_batches_and_can_be_cut_within_one(path: Path, tmp_path: Path):
    """At every position, also in the middle of a batch."""
    with eventlog.open(path) as log:
        topic = log.topic("views", value="json", compression="zstd")
        topic.append_many(EVENTS[:500])
        topic.append_many(EVENTS[500:1_000])
        log.backup(tmp_path / "backup")
        topic.append_many(EVENTS[1_000:1_500])
        log.backup(tmp_path / "backup", incremental=True)
    for position in (1, 499, 500, 777, 1_000, 1_234, None):
        new = tmp_path / f"new-{position}"
        eventlog.restore(tmp_path / "backup", new, position=position)
        with eventlog.open(new) as log:
            topic = log.topic("views", value="json")
            assert topic.compression == "zstd"
            assert values(topic.read()) == EVENTS[: 1_500 if position is None else position]
            topic.append_many(EVENTS[:100])
            assert log.verify().is_sound


def test_small_appends_are_merged_into_compressed_batches(log):
    """What each was too small for is done together."""
    topic = log.topic("views", value="json", compression="zstd")
    for event in EVENTS[:300]:
        topic.append(event)
    assert {kind for kind, _ in stored(log)} == {None}
    before = log.stats().stored_bytes
    topic.alter(repack_after=0)  # not before: the background would begin
    log.clean()
    assert {kind for kind, count in stored(log) if count > 20} == {"zstd"}
    assert log.stats().stored_bytes < before / 6
    assert values(topic.read()) == EVENTS[:300]
    assert log.verify().is_sound
