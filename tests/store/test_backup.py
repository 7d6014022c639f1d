"""Backups of random histories, restored to any log position, and backups that are damaged or of another log."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import eventlog
import eventlog.aio
from tests.store.backups import Story
from tests.volumes import small_volume


@pytest.mark.parametrize("number", range(6))
def test_a_restored_log_equals_the_history_up_to_its_end(tmp_path: Path, rng: random.Random, number: int) -> None:
    """Records, versions, bounds, offsets and states; at the backups, between them, and before the first one."""
    story = Story(tmp_path, rng)
    try:
        for _ in range(rng.randrange(3, 6)):
            for _ in range(rng.randrange(1, 40)):
                story.step()
            story.back_up()
        ends = {moment.end for moment in story.moments}
        last = story.moments[-1].end
        ends |= {rng.randint(0, last) for _ in range(6)}
        eventlog.check_backup(story.target)
        for end in sorted(ends):
            new = tmp_path / f"new-{end}"
            report = eventlog.restore(story.target, new, position=end)
            assert report.problems == ()
            assert report.end == end
            story.check(new, end)
        report = eventlog.restore(story.target, tmp_path / "newest")
        assert report.is_exact, report
        _prune_and_check(story, tmp_path, rng)
    finally:
        story.close()


def _prune_and_check(story: Story, folder: Path, rng: random.Random) -> None:
    """Forget some backups, and more of them after another one was taken; what is kept is restored as before."""
    for turn in range(2):
        keep = rng.randrange(1, len(story.moments) + 1)
        planned = eventlog.prune_backup(story.target, keep_last=keep, dry_run=True)
        report = eventlog.prune_backup(story.target, keep_last=keep)
        assert (planned.kept, planned.forgotten) == (report.kept, report.forgotten)
        assert planned.file_count == report.file_count
        first = report.kept[0][1]
        eventlog.check_backup(story.target)
        ends = {end for _, end, _ in report.kept} | {rng.randint(first, story.moments[-1].end) for _ in range(3)}
        for end in sorted(ends):
            new = folder / f"pruned-{turn}-{end}"
            assert eventlog.restore(story.target, new, position=end).problems == ()
            story.check(new, end)
        for _ in range(rng.randrange(1, 40)):
            story.step()
        story.back_up()


def test_a_key_whose_records_are_gone_goes_on_with_its_version(tmp_path: Path) -> None:
    """Nobody could tell from the records that there were others."""
    with eventlog.open(tmp_path / "log") as log:
        orders = log.topic("orders", key=str, value=int, index="key")
        for value in range(5):
            orders.append(value, key="ada")
        orders.append(5, key="bob")
        orders.delete_records({0: 5})
        log.backup(tmp_path / "backup", incremental=True)
        orders.append(6, key="ada")
        orders.delete_records({0: 7})
        log.backup(tmp_path / "backup", incremental=True)
    for position, versions in ((6, (5, 1)), (7, (6, 1))):
        new = tmp_path / f"new-{position}"
        assert eventlog.restore(tmp_path / "backup", new, position=position).problems == ()
        with eventlog.open(new) as log:
            assert tuple(log.topic("orders").version(key) for key in ("ada", "bob")) == versions


@pytest.mark.parametrize("index", [None, "key"])
def test_what_was_compacted_between_two_backups_is_missing_and_sound(tmp_path: Path, index: Any) -> None:
    """Readers and `verify` know that records are missing on purpose, also before the second backup."""
    with eventlog.open(tmp_path / "log", cleaner=False) as log:
        users = log.topic("users", key=str, value=int, index=index, compaction="key", min_dirty_ratio=0)
        log.backup(tmp_path / "backup", incremental=True)
        users.append(1, key="ada", message_id="first")
        for key in ("ada", "bob", "bob", "cyd", "cyd"):
            users.append(2, key=key)
        log.clean()
        log.backup(tmp_path / "backup", incremental=True)
    for position in range(1, 7):
        new = tmp_path / f"new-{position}"
        assert eventlog.restore(tmp_path / "backup", new, position=position).problems == ()
        with eventlog.open(new, cleaner=False) as log:
            users = log.topic("users", key=str, value=int)
            keys = [record.key for record in users.read()]
            assert keys == ["ada", "bob", "cyd"][: position // 2]
            if index is not None:
                assert [event.version for key in keys for event in users.history(key)] == [2] * len(keys)
                assert [event.version for key in keys for event in users.history(key, is_reversed=True)] == [2] * len(
                    keys
                )
                assert list(users.history("a")) == []


def test_a_key_has_no_more_versions_than_the_log_has_positions(tmp_path: Path) -> None:
    """What a later backup says of a key whose records are gone is too much for the time before."""
    with eventlog.open(tmp_path / "log", cleaner=False) as log:
        users = log.topic(
            "users", key=str, value=int, index="key", compaction="key", tombstone_retention=0, min_dirty_ratio=0
        )
        for value in (1, 2, None):
            users.append(value, key="ada")
        users.append(1, key="bob")
        for _ in range(2):
            log.clean()
        assert list(users.history("ada")) == []
        log.backup(tmp_path / "backup")
    for position, version in ((1, 1), (2, 2), (3, 3), (4, 3)):
        new = tmp_path / f"new-{position}"
        assert eventlog.restore(tmp_path / "backup", new, position=position).problems == ()
        with eventlog.open(new) as log:
            assert log.topic("users").version("ada") == version


def test_a_topic_that_was_deleted_in_between_is_there_before(tmp_path: Path) -> None:
    """A restore to a position before a mistake is what backups are for; a topic of the same name is another one."""
    with eventlog.open(tmp_path / "log") as log:
        log.topic("orders", value=int).append(1)
        log.backup(tmp_path / "backup", incremental=True)
        log.topic("other", value=int).append(2)
        log.delete_topic("orders")
        log.topic("orders", value=str).append("new")
        log.backup(tmp_path / "backup", incremental=True)
    for position, topics, values in (
        (1, ["orders"], [1]),
        (2, ["orders", "other"], [1]),
        (3, ["orders", "other"], ["new"]),
    ):
        new = tmp_path / f"new-{position}"
        assert eventlog.restore(tmp_path / "backup", new, position=position).problems == ()
        with eventlog.open(new) as log:
            assert log.topics() == topics
            assert [record.value for record in log.topic("orders").read()] == values


def test_a_restore_to_a_time_ends_before_the_first_record_of_it(tmp_path: Path) -> None:
    """As `read_all(end=)` does."""
    begin = datetime(2026, 5, 1, tzinfo=UTC)
    with eventlog.open(tmp_path / "log") as log:
        orders = log.topic("orders", value=int)
        for hour in range(10):
            orders.append(hour, timestamp_ms=int((begin + timedelta(hours=hour)).timestamp() * 1000))
        log.backup(tmp_path / "backup")
    report = eventlog.restore(tmp_path / "backup", tmp_path / "new", time=begin + timedelta(hours=4))
    assert report.end == 4
    with eventlog.open(tmp_path / "new") as log:
        assert [record.value for record in log.topic("orders").read()] == [0, 1, 2, 3]


def test_a_projection_goes_on_from_the_backup(tmp_path: Path) -> None:
    """Its state is that of the backup before the position, and it folds what came since."""

    def add(state: Any, record: eventlog.Record[Any, int]) -> None:
        state["sum"] = state.get("sum", 0) + record.value

    with eventlog.open(tmp_path / "log") as log:
        orders = log.topic("orders", value=int)
        sums = log.projection("sums", add, topics=[orders])
        orders.append_many([1, 2, 3])
        sums.catch_up()
        log.backup(tmp_path / "backup", incremental=True)
        orders.append_many([10, 20])
        sums.catch_up()
        log.backup(tmp_path / "backup", incremental=True)
    for position, before, after in ((5, 36, 36), (4, 6, 16), (2, None, 3)):
        new = tmp_path / f"new-{position}"
        report = eventlog.restore(tmp_path / "backup", new, position=position)
        assert report.left_out == (("projection 'sums'",) if before is None else ())
        with eventlog.open(new) as log:
            found = log.projection("sums", add, topics=["orders"])
            assert found.state.get("sum") == before
            found.catch_up()
            assert found.state.get("sum") == after


def test_backups_while_everything_is_written_and_cleaned(tmp_path: Path) -> None:
    """Writers, and the cleaner behind them, go on; each backup is a moment of the log, and the chain is whole."""
    stop = threading.Event()
    with eventlog.open(tmp_path / "log", durability="ordered") as log:
        views = log.topic("views", key=str, value=int, index="key", partitions=2, retention_bytes=30_000)
        log.topic("sums", value=int)

        def write() -> None:
            number = 0
            while not stop.is_set():
                views.append_many(range(number, number + 20), keys=[f"k{one % 7}" for one in range(20)])
                with log.transaction() as tx:
                    tx.send("sums", number)
                    tx.state("sum", value=int)["sum"] = number
                number += 20
                if number % 400 == 0:
                    log.clean()

        writer = threading.Thread(target=write)
        writer.start()
        try:
            reports = [log.backup(tmp_path / "backup", incremental=True) for _ in range(12)]
        finally:
            stop.set()
            writer.join()
        log.backup(tmp_path / "backup", incremental=True)
        stored = [(position, record.value) for position, record in log.read_all()]
    assert eventlog.restore(tmp_path / "backup", tmp_path / "newest").is_exact
    with eventlog.open(tmp_path / "newest") as log:
        found = [(position, record.value) for position, record in log.read_all()]
        assert found[-len(stored) :] == stored
    for report in reports[::4]:
        new = tmp_path / f"new-{report.number}"
        restored = eventlog.restore(tmp_path / "backup", new, position=report.end)
        assert restored.problems == ()
        with eventlog.open(new) as log:
            sums = [record.value for record in log.topic("sums").read()]
            assert sums == list(range(0, 20 * len(sums), 20))
            assert (log.state("sum").get("sum") if log.states() else None) == (sums[-1] if sums else None)


# --- what may be in the directory -----------------------------------------------------------------------------------


@pytest.fixture
def backed_up(tmp_path: Path) -> Iterator[tuple[eventlog.EventLog, Path]]:
    """A log, and a directory with three backups of it."""
    with eventlog.open(tmp_path / "log") as log:
        orders = log.topic("orders", value=int)
        for number in range(3):
            orders.append_many(range(10 * number, 10 * number + 10))
            log.backup(tmp_path / "backup", incremental=True)
        yield log, tmp_path / "backup"


def test_each_changed_byte_of_a_backup_is_noticed(
    backed_up: tuple[eventlog.EventLog, Path], rng: random.Random
) -> None:
    """The error names the file, and the position up to which a restore works; it does work."""
    _, backup = backed_up
    for file in sorted(backup.iterdir()):
        whole = file.read_bytes()
        for place in rng.sample(range(len(whole)), 25):
            spoiled = bytearray(whole)
            spoiled[place] ^= 1 << rng.randrange(8)
            file.write_bytes(spoiled)
            with pytest.raises((eventlog.CorruptBackup, eventlog.FormatTooNew)) as caught:
                eventlog.check_backup(backup)
            if isinstance(caught.value, eventlog.CorruptBackup):
                assert caught.value.file == file.name
        file.write_bytes(whole)
        if file.suffix == ".batches":
            file.write_bytes(whole[:-1])
            with pytest.raises(eventlog.CorruptBackup, match=f"{file.name}: it has .* bytes") as cut:
                eventlog.restore(backup, backup.parent / "new")
            assert not (backup.parent / "new").exists()
            end = cut.value.sound_end
            assert eventlog.restore(backup, backup.parent / f"new-{end}", position=end).problems == ()
            file.write_bytes(whole)


def test_a_manifest_that_is_nested_too_deep_is_damage(backed_up: tuple[eventlog.EventLog, Path]) -> None:
    """Python's reader gives up with an error of its own kind."""
    _, backup = backed_up
    (backup / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(eventlog.CorruptBackup, match="manifest"):
        eventlog.check_backup(backup)


def test_a_missing_file_is_named_and_nothing_is_added(backed_up: tuple[eventlog.EventLog, Path]) -> None:
    """A chain with a hole gets no further links."""
    log, backup = backed_up
    (backup / "000002-0001.batches").unlink()
    for call in (
        lambda: eventlog.check_backup(backup),
        lambda: eventlog.restore(backup, backup.parent / "new"),
        lambda: log.backup(backup, incremental=True),
    ):
        with pytest.raises(eventlog.CorruptBackup, match="is missing") as caught:
            call()
        assert (caught.value.file, caught.value.sound_end) == ("000002-0001.batches", 10)
    assert eventlog.restore(backup, backup.parent / "new", position=10).is_exact


def test_files_of_another_backup_do_not_fit(backed_up: tuple[eventlog.EventLog, Path]) -> None:
    """Each file begins with the checksum of the one before it."""
    _, backup = backed_up
    shutil.copy(backup / "000003-0001.batches", backup / "000002-0001.batches")
    with pytest.raises(eventlog.CorruptBackup, match=r"000002-0001\.batches"):
        eventlog.check_backup(backup)


def test_another_log_is_not_added(backed_up: tuple[eventlog.EventLog, Path]) -> None:
    """Nor is the same one after it was restored, repaired, or put back to an older copy."""
    log, backup = backed_up
    folder = backup.parent
    before = {file.name: file.read_bytes() for file in backup.iterdir()}
    with eventlog.open(folder / "other") as other:
        other.topic("orders", value=int).append_many(range(40))
    log.compact(folder / "copy")
    with eventlog.open(folder / "copy") as copy:
        copy.topic("orders").append(-1)
        log.topic("orders").append(30)
        log.backup(folder / "longer", incremental=True)
    eventlog.restore(backup, folder / "restored")
    eventlog.repair(folder / "copy", folder / "repaired")
    for name, target, why in (
        ("other", backup, "it is of the log"),
        ("restored", backup, "restored or repaired since"),
        ("repaired", backup, "restored or repaired since"),
        ("copy", folder / "longer", "the record before log position 31 is another one here"),
    ):
        with eventlog.open(folder / name) as one, pytest.raises(eventlog.BackupMismatch, match=why):
            one.backup(target, incremental=True)
    assert {file.name: file.read_bytes() for file in backup.iterdir()} == before
    with eventlog.open(folder / "copy") as copy:  # it has gone its own way, but not before the end of this one
        assert copy.backup(backup, incremental=True).since == 30


def test_a_log_that_is_shorter_than_its_backup_is_not_added(tmp_path: Path) -> None:
    """Somebody has put an older copy in its place."""
    with eventlog.open(tmp_path / "log") as log:
        log.topic("orders", value=int).append(1)
        log.compact(tmp_path / "copy")
        log.topic("orders").append(2)
        log.backup(tmp_path / "backup")
    with eventlog.open(tmp_path / "copy") as log, pytest.raises(eventlog.BackupMismatch, match="ends at 1"):
        log.backup(tmp_path / "backup", incremental=True)


def test_directories_that_hold_something_else_are_left_alone(backed_up: tuple[eventlog.EventLog, Path]) -> None:
    """A backup goes into a new directory, or with `incremental` to others of its log; a restore into a new one."""
    log, backup = backed_up
    other = backup.parent / "notes"
    other.mkdir()
    (other / "notes.txt").write_text("tea")
    with pytest.raises(ValueError, match=r"holds something else \(notes\.txt\)"):
        log.backup(other, incremental=True)
    with pytest.raises(ValueError, match="incremental=True"):
        log.backup(backup)
    with pytest.raises(ValueError, match="exists and is not empty"):
        eventlog.restore(backup, other)
    with pytest.raises(eventlog.NotALog, match="no backup"):
        eventlog.restore(other, backup.parent / "new")
    with pytest.raises(ValueError, match="the backup ends at 30"):
        eventlog.restore(backup, backup.parent / "new", position=31)
    with pytest.raises(ValueError, match="not both"):
        eventlog.restore(backup, backup.parent / "new", position=1, time=datetime.now(UTC))
    assert [file.name for file in other.iterdir()] == ["notes.txt"]


def test_two_backups_at_once_into_one_directory(backed_up: tuple[eventlog.EventLog, Path]) -> None:
    """The second is refused, and may be tried again."""
    log, backup = backed_up
    log.topic("orders").append(1)
    caught: list[BaseException] = []

    def again(_done: int, _total: int) -> None:
        try:
            log.backup(backup, incremental=True)
        except eventlog.LogInUse as error:
            caught.append(error)

    log.backup(backup, incremental=True, progress=again)
    assert caught
    assert caught[0].retriable  # type: ignore[attr-defined]


def test_a_newer_backup_is_too_new_and_not_damaged(backed_up: tuple[eventlog.EventLog, Path]) -> None:
    """The version is looked at first."""
    _, backup = backed_up
    fields = json.loads((backup / "manifest.json").read_text())
    (backup / "manifest.json").write_text(json.dumps({**fields, "eventlog backup": 2}))
    with pytest.raises(eventlog.FormatTooNew, match="version 2"):
        eventlog.check_backup(backup)


def test_a_damaged_log_is_not_backed_up(tmp_path: Path) -> None:
    """Damage that is copied looks like a backup until somebody needs it."""
    with eventlog.open(tmp_path / "log") as log:
        log.topic("orders", value=bytes).append(b"tea" * 1000)
    data = bytearray((tmp_path / "log" / "data.mdb").read_bytes())
    place = data.rindex(b"teatea")
    data[place] ^= 1
    (tmp_path / "log" / "data.mdb").write_bytes(data)
    with eventlog.open(tmp_path / "log") as log, pytest.raises(eventlog.CorruptBatch):
        log.backup(tmp_path / "backup")
    assert not list((tmp_path / "backup").iterdir()) if (tmp_path / "backup").exists() else True


def test_a_log_of_format_3_is_backed_up_and_restored_as_one_of_today(tmp_path: Path) -> None:
    """Its rows get their checksums then."""
    shutil.copytree(Path(__file__).parents[1] / "golden" / "log-v3", tmp_path / "log")
    with eventlog.open(tmp_path / "log", read_only=True) as log:
        log.backup(tmp_path / "backup")
        expected = [(position, record.topic, record.offset) for position, record in log.read_all()]
        topics = log.topics()
    report = eventlog.restore(tmp_path / "backup", tmp_path / "new")
    assert report.problems == ()
    with eventlog.open(tmp_path / "new") as log:
        assert log.topics() == topics
        assert [(position, record.topic, record.offset) for position, record in log.read_all()] == expected


# --- merged batches -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["compaction", "repacking"])
def test_batches_that_are_merged_between_two_backups_come_once(tmp_path: Path, kind: str) -> None:
    """A merged batch has records of the backups before, and runs of positions; each record is taken once."""
    is_compacted = kind == "compaction"
    options: dict[str, Any] = {"repack_after": 0.0}
    if is_compacted:
        options = {"compaction": "key", "compaction_lag": 0.0, "min_dirty_ratio": 0.0}
    stored: dict[int, tuple[int, int, str, int, int | None]] = {}
    with eventlog.open(tmp_path / "log", cleaner=False) as log:
        orders = log.topic("orders", key=str, value=int, index="key", partitions=2, **options)
        other = log.topic("other", value=int)
        number = 0
        for _ in range(4):
            for _ in range(60):
                meta = orders.append(number, key=f"k{number % 5}")
                assert meta.log_position is not None
                stored[meta.log_position] = (meta.partition, meta.offset, f"k{number % 5}", number, meta.version)
                if number % 4 == 0:
                    other.append(number)
                number += 1
            log.clean()
            log.backup(tmp_path / "backup", incremental=True)
        assert log.verify().problems == ()
        end = log.end_log_position()
    for position in (end, end - 1, end * 3 // 4, end // 2, end // 3, 7):
        new = tmp_path / f"new-{position}"
        report = eventlog.restore(tmp_path / "backup", new, position=position)
        assert report.problems == (), position
        with eventlog.open(new, cleaner=False) as log:
            found = {
                place: (record.partition, record.offset, record.key, record.value)
                for place, record in log.read_all()
                if record.topic == "orders"
            }
            assert all(stored[place][:4] == one for place, one in found.items())
            if not is_compacted:
                assert set(found) == {place for place in stored if place < position}
            elif position == end:
                assert {one[2] for one in found.values()} == {f"k{one}" for one in range(5)}
            for key in {one[2] for one in found.values()}:
                versions = {event.version: event.value for event in log.topic("orders").history(key)}
                true = {one[4]: one[3] for place, one in stored.items() if place in found and one[2] == key}
                assert versions == true
            assert log.clean().is_finished
            assert log.verify().problems == ()


def test_a_loop_backs_up_as_well(tmp_path: Path) -> None:
    """In a thread of its own; the loop goes on, and `progress` is called."""
    told: list[tuple[int, int]] = []

    async def main() -> None:
        async with eventlog.aio.open(tmp_path / "log") as log:
            orders = await log.topic("orders", value=int)
            await orders.append_many(range(10))
            report = await log.backup(tmp_path / "backup", progress=lambda done, total: told.append((done, total)))
            assert (report.since, report.end) == (0, 10)
            with pytest.raises(ValueError, match="incremental=True"):
                await log.backup(tmp_path / "backup")
        async with eventlog.aio.open(tmp_path / "log", read_only=True) as log:
            assert (await log.backup(tmp_path / "backup", incremental=True)).number == 2

    asyncio.run(main())
    assert told[-1] == (10, 10)
    assert eventlog.restore(tmp_path / "backup", tmp_path / "new").is_exact


@pytest.mark.parametrize("step", [1, 2, 3])
def test_an_interrupted_backup_has_added_nothing(tmp_path: Path, step: int) -> None:
    """Ctrl-C in its middle: the files that it wrote are gone, and the next one is whole."""
    with eventlog.open(tmp_path / "log") as log:
        orders = log.topic("orders", value=bytes)
        for _ in range(30):
            orders.append(bytes(200_000))
        log.backup(tmp_path / "backup", incremental=True)
        orders.append_many([bytes(200_000)] * 30)
        before = {file.name for file in (tmp_path / "backup").iterdir()}
        count = 0

        def interrupt(_done: int, _total: int) -> None:
            nonlocal count
            count += 1
            if count == step:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            log.backup(tmp_path / "backup", incremental=True, progress=interrupt)
        assert {file.name for file in (tmp_path / "backup").iterdir()} == before
        assert log.backup(tmp_path / "backup", incremental=True).since == 30
    assert eventlog.restore(tmp_path / "backup", tmp_path / "new").is_exact


def test_a_full_volume_is_told_and_the_backups_before_are_whole(tmp_path: Path) -> None:
    """Nothing is left of the backup that had no room, and with room the next one goes on."""
    with small_volume(tmp_path / "volume", 4 << 20) as volume, eventlog.open(tmp_path / "log") as log:
        orders = log.topic("orders", value=bytes)
        orders.append(b"tea")
        log.backup(volume / "backup", incremental=True)
        ballast = volume / "ballast"
        ballast.write_bytes(bytes(3 << 20))
        for _ in range(12):
            orders.append(bytes(200_000))
        with pytest.raises(eventlog.DiskFull, match="cannot back up into"):
            log.backup(volume / "backup", incremental=True)
        assert eventlog.check_backup(volume / "backup").end == 1
        assert len(list((volume / "backup").iterdir())) == 4
        ballast.unlink()
        assert log.backup(volume / "backup", incremental=True).end == 13
        (volume / "ballast").write_bytes(bytes(1 << 20))
        with pytest.raises(eventlog.DiskFull):
            eventlog.restore(volume / "backup", volume / "new")
        assert {file.name for file in volume.iterdir()} <= {"backup", "ballast", "lost+found"}
