"""Several processes append to a topic that keeps little, and clean it; they are killed in the middle of it."""

from __future__ import annotations

from pathlib import Path
from random import Random

import eventlog
from tests.processes.child import Child
from tests.processes.cleaning_scenes import MOST_BYTES, TOPIC, append_and_clean, clean_when_told


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
