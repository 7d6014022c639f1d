"""The records of a key lose their content, and nothing else changes (decision 0054)."""

from __future__ import annotations

import random
import shutil
import threading
from pathlib import Path
from typing import Any

import attrs
import pytest

import eventlog
from eventlog import testing
from eventlog.backend.records import PartitionRecords
from eventlog.batches.kafka_batch import kafka_batch
from eventlog.store.lmdb import scrubbing
from eventlog.store.records import redaction, schedule_redaction
from eventlog.store.schedules.commands import MoveSchedule
from eventlog.store.schedules.sending import SendDue
from eventlog.testing import ManualClock
from tests.golden.shapes import BATCHES_V3
from tests.processes.child import Child
from tests.store.redaction_scenes import redact_until_killed

SECRET = b"ada.lovelace@example.org"
KEYS = ["u-1", "u-7", "u-9"]


def everything(log: eventlog.EventLog) -> list[tuple[Any, ...]]:
    """Every record with its position, in the order of the log."""
    return [
        (position, record.topic, record.partition, record.offset, record.timestamp_ms, record.key, *content(record))
        for position, record in log.read_all()
    ]


def content(record: Any) -> tuple[Any, ...]:
    """What a redaction takes."""
    return record.value, record.headers


def without_key(rows: list[tuple[Any, ...]], topic: str, key: str) -> list[tuple[Any, ...]]:
    """What they are when a key of a topic is redacted."""
    return [(*row[:6], None, ()) if row[1] == topic and row[5] == key else row for row in rows]


def fill(log: eventlog.EventLog, name: str, rng: random.Random, **options: Any) -> eventlog.Topic[Any, Any]:
    """Records of all kinds: single, columns, by producers, in transactions; small, large and without a value."""
    topic = log.topic(name, key=str, partitions=2, **options)
    for number in range(60):
        key = rng.choice(KEYS)
        value = SECRET + b"%d" % number if key == "u-7" else b"other %d" % number
        headers = {"mail": value} if rng.random() < 0.3 else None
        topic.append(value * rng.choice([1, 1, 60, 3000]), key=key, headers=headers, timestamp_ms=1000 + number)
    keyless = [] if "compaction" in options else [None]
    keys = [rng.choice([*KEYS, *keyless]) for _ in range(500)]
    values = [None if rng.random() < 0.1 else SECRET if key == "u-7" else b"v" * rng.randrange(200) for key in keys]
    topic.append_many(values, keys=keys)
    topic.append_many(values, keys=keys, timestamps_ms=list(range(500)), headers=[{"h": value} for value in values])
    with log.producer(name="till") as producer:
        for key, value in zip(keys, values, strict=True):
            producer.send(topic, value, key=key)
    with log.transaction() as tx:
        tx.send(topic, SECRET, key="u-7")
        tx.send(topic, b"milk", key="u-1")
    return topic


OPTIONS: list[dict[str, Any]] = [
    {},
    {"index": "key"},
    {"compression": "lz4"},
    {"compression": "zstd", "index": "key"},
    {"repack_after": 0.0, "index": "key"},
    {"compaction": "key", "compaction_lag": 0.0},
]


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_a_key_loses_its_content_and_nothing_else_changes(
    path: Path, tmp_path: Path, rng: random.Random, options: dict[str, Any]
) -> None:
    """Offsets, positions, times, versions, other keys and other topics; the bytes are gone from a compacted copy."""
    with eventlog.open(path, cleaner=False) as log:
        topic = fill(log, "users", rng, **options)
        fill(log, "others", rng).append(b"new", key="u-1")
        log.delete_topic("others")
        log.topic("kept", key=str).append(b"kept", key="u-7")
        log.clean()  # batches that were merged have runs, and offsets without a record
        before = everything(log)
        versions = {key: topic.version(key) for key in KEYS} if options.get("index") else {}
        expected = sum(row[1] == "users" and row[5] == "u-7" and row[6:] != (None, ()) for row in before)
        assert topic.redact("u-7", dry_run=True).record_count == expected
        assert everything(log) == before
        report = topic.redact("u-7")
        assert report.record_count == expected
        assert everything(log) == without_key(before, "users", "u-7")
        assert log.verify().problems == ()
        assert topic.redact("u-7") == eventlog.RedactReport(0, 0, False)
        if options.get("index"):
            assert {key: topic.version(key) for key in KEYS} == versions
            assert {content(event) for event in topic.history("u-7")} == {(None, ())}
            assert topic.latest("u-7").value is None  # type: ignore[union-attr]
            assert topic.append(b"again", key="u-7", expected_version=versions["u-7"]).offset
        log.compact(tmp_path / "copy")
    assert SECRET[:12] not in (tmp_path / "copy" / "data.mdb").read_bytes()
    with eventlog.open(tmp_path / "copy") as copy:
        assert copy.verify().problems == ()


def test_a_copy_has_no_rests_of_what_was_redacted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by the test above: LMDB writes whole pages, with whatever is in memory behind a value."""
    leaks = []
    for seed in (17, 19, 21, 23):
        with eventlog.open(tmp_path / str(seed), durability="ordered") as log:
            topic = fill(log, "users", random.Random(seed), compression="zstd", index="key")
            fill(log, "others", random.Random(seed + 1))
            log.delete_topic("others")
            topic.redact("u-7")
            log.compact(tmp_path / f"{seed}-clean")
            with monkeypatch.context() as patched:
                patched.setattr(scrubbing, "scrub", lambda *_: None)
                log.compact(tmp_path / f"{seed}-raw")
        leaks.append(SECRET[:12] in (tmp_path / f"{seed}-raw" / "data.mdb").read_bytes())
        assert SECRET[:12] not in (tmp_path / f"{seed}-clean" / "data.mdb").read_bytes()
    assert any(leaks), "nothing leaks without it: LMDB has changed, or this test no longer shows it"


def test_a_snapshot_of_the_key_is_removed(log: eventlog.EventLog) -> None:
    """It was folded of what is gone; that of another key stays."""
    topic = log.topic("users", key=str, value=str, index="key")
    for key in KEYS:
        topic.append("mail", key=key)
        topic.save_snapshot(key, {"mail": "mail"}, version=1)
    assert topic.redact("u-7", dry_run=True) == eventlog.RedactReport(1, 1, had_snapshot=True)
    assert topic.snapshot("u-7") is not None
    assert topic.redact("u-7") == eventlog.RedactReport(1, 1, had_snapshot=True)
    assert topic.snapshot("u-7") is None
    assert topic.snapshot("u-9") is not None


def test_what_is_scheduled_for_the_key_is_never_sent(tmp_path: Path) -> None:
    """Whether it waits or has failed; a deletion to come is kept, without headers, and so is all of other keys."""
    clock = ManualClock()
    with testing.open(tmp_path / "log", clock=clock, durability="ordered") as log:
        users, others = log.topic("users", key=str), log.topic("others", key=str)
        users.append(SECRET, key="u-7")
        for number in range(schedule_redaction._PAGE + 10):
            users.schedule(b"other", key="u-1", delay=60.0 + number)
        for number in range(3):
            users.schedule(SECRET, key="u-7", delay=60.0 + number)
        users.schedule(None, key="u-7", headers={"mail": SECRET}, delay=90.0)
        users.schedule(None, key="u-7", delay=91.0)
        others.schedule(b"kept", key="u-7", delay=60.0)
        users.schedule(SECRET, key="u-7", delay=1.0, message_id="welcome")
        users.append(b"another", key="u-1", message_id="welcome")
        clock.advance(2.0)
        log.schedules.send_due()
        assert [one.key for one in log.schedules.list(failed=True)] == ["u-7"]
        expected = eventlog.RedactReport(1, 1, had_snapshot=False, schedule_count=5)
        assert users.redact("u-7", dry_run=True) == expected
        assert len([*log.schedules.list(failed=True)]) == 1
        assert users.redact("u-7") == expected
        assert users.redact("u-7") == eventlog.RedactReport(0, 0, had_snapshot=False)
        assert [*log.schedules.list(failed=True)] == []
        assert [(one.value, one.headers) for one in log.schedules.list(users, key="u-7")] == [(None, ()), (None, ())]
        assert [one.value for one in log.schedules.list(others)] == [b"kept"]
        assert log.schedules.describe().waiting == schedule_redaction._PAGE + 13
        assert log.verify().problems == ()
        clock.advance(10_000.0)
        while log.schedules.send_due():
            pass
        assert {record.value for record in users.read() if record.key == "u-7"} == {None}
        log.compact(tmp_path / "copy")
    assert SECRET not in (tmp_path / "copy" / "data.mdb").read_bytes()


def test_a_schedule_that_is_moved_meanwhile_goes_as_well(
    log: eventlog.EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are looked up by their ids, which no move changes; what was sent is redacted as a record."""
    topic = log.topic("users", key=str, value=str)
    moved, sent = (topic.schedule("mail", key="u-7", delay=delay) for delay in (3600.0, 7200.0))
    apply = schedule_redaction.RedactSchedules.apply

    def move_first(request: schedule_redaction.RedactSchedules, writing: Any) -> None:
        MoveSchedule(bytes.fromhex(moved.id), 1).apply(writing)
        SendDue(10).apply(writing)
        apply(request, writing)

    monkeypatch.setattr(schedule_redaction.RedactSchedules, "apply", move_first)
    assert topic.redact("u-7") == eventlog.RedactReport(1, 1, had_snapshot=False, schedule_count=1)
    assert [(record.key, record.value) for record in topic.read()] == [("u-7", None)]
    assert [*log.schedules.list()] == []
    assert sent.id != moved.id


def test_a_message_id_keeps_its_record_out(log: eventlog.EventLog) -> None:
    """What is sent again under its id comes back neither as a record nor as an error."""
    topic = log.topic("users", key=str, value=str)
    place = topic.append("mail", key="u-7", message_id="m-1")
    topic.redact("u-7")
    assert topic.append("mail", key="u-7", message_id="m-1") == place
    assert [record.value for record in topic.read()] == [None]


def test_a_named_producer_finds_what_it_has_stored(path: Path) -> None:
    """A batch keeps the number of its producer."""
    with eventlog.open(path) as log:
        topic = log.topic("users", key=str, value=str)
        with log.producer(name="till") as producer:
            producer.send(topic, "mail", key="u-7")
            producer.flush()
            topic.redact("u-7")
            producer.send(topic, "on", key="u-7")
        assert [record.value for record in topic.read()] == [None, "on"]
        assert log.verify().problems == ()


def test_a_batch_of_kafka_is_redacted(log: eventlog.EventLog) -> None:
    """It becomes columns: its records keep their offsets and times."""
    data = BATCHES_V3["batch-v3-kafka.bin"].kafka_body or b""
    topic = log.topic("users")
    store: Any = log._store  # type: ignore[attr-defined]
    store.append([PartitionRecords(store.require_topic("users"), 0, [kafka_batch(data)], None)], (), is_placed=False)
    before = everything(log)
    key = next(row[5] for row in before if row[5] is not None)
    assert topic.redact(key).record_count == sum(row[5] == key and row[6:] != (None, ()) for row in before)
    assert everything(log) == without_key(before, "users", key)
    assert log.verify().problems == ()


def test_readers_and_writers_go_on_beside_it(path: Path) -> None:
    """A reader sees each record as it was or redacted; appends of the key during it are kept."""
    with eventlog.open(path, durability="ordered") as log:
        topic = log.topic("users", key=str, value=int, index="key")
        for _ in range(40):
            topic.append_many(range(200), keys=[f"u-{number % 20}" for number in range(200)])
        stop, failures = threading.Event(), []

        def work() -> None:
            try:
                while not stop.is_set():
                    for offset, record in enumerate(topic.read(end=8000)):
                        if record.offset != offset or record.value not in (offset % 200, None):
                            failures.append(record)
                        if record.value is None and record.key != "u-7":
                            failures.append(record)
            except BaseException as error:
                failures.append(error)

        def append() -> None:
            while not stop.is_set():
                topic.append(7, key="u-8")

        threads = [threading.Thread(target=work), threading.Thread(target=append)]
        for thread in threads:
            thread.start()
        assert topic.redact("u-7").record_count == 400
        stop.set()
        for thread in threads:
            thread.join()
        assert failures == []
        assert {event.value for event in topic.history("u-7")} == {None}
        assert log.verify().problems == ()


def test_a_slice_is_short_and_what_was_changed_meanwhile_is_read_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records are deleted between reading and replacing: the rest is redacted all the same."""
    with eventlog.open(path, durability="ordered") as log:
        topic = log.topic("users", key=str, value=int)
        for _ in range(100):
            topic.append_many(range(100), keys=["u-7"] * 100)
        real, seconds = redaction.RedactBatches.apply, []

        def apply(self: Any, writing: Any) -> None:
            real(self, writing)
            seconds.append(self.seconds)

        monkeypatch.setattr(redaction.RedactBatches, "apply", apply)
        store = redaction.Redaction._store

        def delete_first(self: Any, changes: Any) -> Any:
            topic.delete_records({0: 1000})
            return store(self, changes)

        monkeypatch.setattr(redaction.Redaction, "_store", delete_first)
        assert topic.redact("u-7").record_count == 9000
        assert {record.value for record in topic.read()} == {None}
        assert sorted(seconds)[len(seconds) // 2] < 0.05  # on a busy machine; 5 ms are aimed at
        assert log.verify().problems == ()


@pytest.mark.parametrize("index", [None, "key"])
def test_a_redaction_that_was_killed_is_finished_by_the_next(path: Path, rng: random.Random, index: Any) -> None:
    """At any slice: the log is sound, nothing else has changed, and what was redacted stays so."""
    with eventlog.open(path, durability="ordered") as log:
        topic = log.topic("users", key=str, index=index)
        for _ in range(120):
            topic.append_many([SECRET] * 30, keys=[rng.choice(KEYS) for _ in range(30)])
        before = everything(log)
    redacted = 0
    for stop in (1, 2, 4):
        with Child(redact_until_killed, str(path), stop) as child:
            child.hear("slices")
            child.kill()
        with eventlog.open(path) as log:
            assert log.verify().problems == ()
            now = [row for row in everything(log) if row[6] is None]
            assert len(now) > redacted
            assert {row[5] for row in now} == {"u-7"}
            redacted = len(now)
    with eventlog.open(path) as log:
        log.topic("users").redact("u-7")
        assert everything(log) == without_key(before, "users", "u-7")
        assert log.verify().problems == ()


def test_a_log_of_format_3_is_redacted_in_its_own(tmp_path: Path) -> None:
    """Its batches stay of the versions that it may have."""
    for old in sorted((Path(__file__).parents[1] / "golden").glob("*/data.mdb")):
        path = tmp_path / old.parent.name
        shutil.copytree(old.parent, path)
        try:
            log = eventlog.open(path)
        except (eventlog.FormatTooOld, eventlog.NotALog):
            continue
        with log:
            for name in log.topics():
                topic = log.topic(name)
                keys = {record.key for record in topic.read() if record.key is not None}
                for key in keys:
                    before = everything(log)
                    topic.redact(key)
                    assert everything(log) == without_key(before, name, key)
            assert log.verify().problems == ()


def test_what_is_no_key_is_refused(log: eventlog.EventLog) -> None:
    """Before anything is changed; a key that is not there has nothing."""
    topic = log.topic("users", key=str)
    with pytest.raises(ValueError, match="None is no key"):
        topic.redact(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        topic.redact(7)  # type: ignore[arg-type]
    assert topic.redact("nobody") == eventlog.RedactReport(0, 0, had_snapshot=False)
    log.delete_topic("users")
    with pytest.raises(eventlog.UnknownTopic):
        topic.redact("u-7")


@attrs.frozen
class Signed:
    """An event of a class, whose topic has tombstones as any other."""

    mail: str


def test_events_of_classes_are_redacted(log: eventlog.EventLog) -> None:
    """A fold gets None where the event was."""
    topic = log.topic("users", key=str, value=Signed, index="key")
    topic.append(Signed("ada"), key="u-7")
    topic.redact("u-7")
    assert [event.value for event in topic.history("u-7")] == [None]
