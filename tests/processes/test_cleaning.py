"""Several processes append to a topic that keeps little, and clean it; they are killed in the middle of it."""

from __future__ import annotations

from pathlib import Path
from random import Random

import eventlog
from tests.processes.child import Child
from tests.processes.cleaning_scenes import (
    MOST_BYTES,
    TOPIC,
    append_and_clean,
    append_keys_and_compact,
    clean_when_told,
    compact_when_told,
)


def check(log: eventlog.EventLog, stored: int) -> None:
    """What is left is the newest part of the log, without a gap, and holds all that was acknowledged last."""
    positions = [log_position for log_position, _ in log.read_all()]
    assert positions == list(range(positions[0], positions[0] + len(positions)))
    assert positions[-1] >= stored
    assert log.verify().problems == ()


def test_killed_cleaners_leave_whole_slices_and_another_goes_on(path: Path, rng: Random) -> None:
    """The turn goes to another process when its holder is killed, and no newer batch goes before an older one."""
    stored = -1
    for _ in range(3):
        with Child(append_and_clean, str(path), "a") as one, Child(append_and_clean, str(path), "b") as other:
            for child in (one, other):
                child.hear("ready")
            for _ in range(rng.randrange(3, 9)):
                stored = max(stored, *(int(child.hear().split()[-1]) for child in (one, other)))
            for child in rng.sample([one, other], 2):
                child.kill()
        with eventlog.open(path, cleaner=False) as log:
            check(log, stored)
            log.clean()
            check(log, stored)
            assert log.verify().stored_bytes <= MOST_BYTES


def test_a_pass_that_is_killed_at_any_slice_loses_nothing_that_is_kept(path: Path, rng: Random) -> None:
    """A slice is a commit: it is there, or it is not."""
    with eventlog.open(path, cleaner=False) as log:
        topic = log.topic(TOPIC, partitions=3, retention_bytes=20_000)
        stored = -1
        for _ in range(4):
            for number in range(300):
                stored = topic.append(bytes(200), partition=number % 3).log_position
            with Child(clean_when_told, str(path)) as child:
                child.hear("ready")
                child.say()
                for _ in range(rng.randrange(1, 6)):
                    child.hear()
                child.kill()
            check(log, stored)
        assert log.clean().is_finished
        check(log, stored)


def test_the_turn_to_clean_is_one_processs(path: Path) -> None:
    """While one cleans, another waits for its budget, and says that it is not finished."""
    with eventlog.open(path, cleaner=False) as log:
        log.topic(TOPIC, retention_bytes=0).append_many([bytes(300)] * 100)
        from eventlog.store.folder import Folder
        from eventlog.store.lmdb.file_lock import FileLock

        folder = Folder(str(path / "cleaning"), 0o600)
        folder.make()
        lock = FileLock(lambda: folder.create("cleaner"))
        assert lock.try_acquire()
        report = log.clean(budget=0.1)
        assert (report.batch_count, report.is_finished) == (0, False)
        lock.close()
        assert log.clean(budget=0.1).is_finished


def test_killed_compactors_lose_nothing_that_is_newest(path: Path, rng: Random) -> None:
    """Two processes append and compact; the newest record of each key is what was stored last, or came after it."""
    least: dict[str, int] = {}
    with eventlog.open(path, cleaner=False) as log:
        topic = log.topic("users", key=str, value=int, partitions=2, compaction="key", min_dirty_ratio=0)
        for _ in range(3):
            with (
                Child(append_keys_and_compact, str(path), "a") as one,
                Child(append_keys_and_compact, str(path), "b") as other,
            ):
                children = {"a": one, "b": other}
                for child in children.values():
                    child.hear("ready")
                for _ in range(rng.randrange(3, 9)):
                    for name, child in children.items():
                        stored = int(child.hear().split()[-1])
                        least.update({f"{name}-{number % 5}": number for number in range(stored - 5, stored)})
                for child in rng.sample([one, other], 2):
                    child.kill()
            log.topic("others").append(b"x")  # the next commit shows what a killed process has committed at last
            newest = {record.key: record.value for record in topic.read()}
            assert all(newest[key] >= number for key, number in least.items())
            assert log.verify().problems == ()
            least = newest_of(log)
            log.clean()
            assert newest_of(log) == least
            assert log.stats().topics[-1].record_count == 10
            least.clear()  # the next ones begin with 0 again


def newest_of(log: eventlog.EventLog) -> dict[str, int]:
    """The newest value of each key, as a reader of everything sees it."""
    return {record.key: record.value for _, record in log.read_all(topics=["users"])}


def test_a_round_that_is_killed_at_any_slice_changes_nothing_that_is_newest(path: Path, rng: Random) -> None:
    """What is there after each kill was there before, and the newest of each key is among it."""
    with eventlog.open(path, cleaner=False) as log:
        topic = log.topic("users", key=str, index="key", partitions=2, compaction="key", min_dirty_ratio=0)
        for turn in range(4):
            for number in range(400):
                topic.append(rng.randbytes(rng.randrange(3000)), key=f"k{rng.randrange(60)}", partition=number % 2)
            if turn % 2:
                topic.append_many([None] * 10, keys=[f"k{number}" for number in range(10)])
            before = dict(log.read_all())
            newest = {(record.partition, record.key): position for position, record in before.items()}
            with Child(compact_when_told, str(path)) as child:
                child.hear("ready")
                child.say()
                for _ in range(rng.randrange(1, 8)):
                    child.hear()
                child.kill()
            after = dict(log.read_all())
            assert all(before[position] == record for position, record in after.items())
            assert set(newest.values()) <= set(after)
            assert log.verify().problems == ()
        log.clean()
        assert set(dict(log.read_all())) == set(newest.values())
        assert log.verify().problems == ()


def test_readers_and_a_verification_run_beside_a_compaction(path: Path) -> None:
    """They see the newest record of each key, in order, whatever is merged meanwhile."""
    with eventlog.open(path, cleaner=False) as log:
        topic = log.topic("users", key=str, value=int, partitions=2, compaction="key", min_dirty_ratio=0)
        with Child(append_keys_and_compact, str(path), "a") as child:
            child.hear("ready")
            seen: dict[str, int] = {}
            with log.consumer("users", start="earliest") as consumer, log.follow(timeout=1.0) as follower:
                for _ in range(10):
                    stored = int(child.hear().split()[-1])
                    assert log.verify().problems == ()
                    positions = [position for position, _ in log.read_all()]
                    assert positions == sorted(set(positions))
                    while True:
                        records = consumer.poll(timeout=5)
                        for record in records:
                            assert record.value > seen.get(record.key, -1)
                            seen[record.key] = record.value
                        if min(seen.get(f"a-{one}", -1) for one in range(5)) >= stored - 5:
                            break
                        assert records, "nothing came, although it is stored"
                last = -1
                for position, _ in follower:
                    assert position > last
                    last = position
                    if last >= 200:
                        break
            child.kill()
        assert topic.compaction == "key"
