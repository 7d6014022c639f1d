"""The thread that keeps leases: it runs while there are members, holds nobody alive, and stops for nothing."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog.clock import SystemClock
from eventlog.groups.lease import Terms
from eventlog.groups.state import Life
from eventlog.store.folder import Folder
from eventlog.store.groups.heartbeat import HeartbeatThread
from eventlog.store.groups.liveness import LivenessFile, Members

PATIENCE_SECONDS = 20.0
SHORT = Terms(session_timeout=0.1, max_poll_interval=300.0)


@pytest.fixture
def members(tmp_path: Path) -> Members:
    """Members by the real clock."""
    return Members(Folder(str(tmp_path / "members"), 0o600), SystemClock())


@pytest.fixture
def heart() -> Iterator[HeartbeatThread]:
    """A heart that is stopped in the end."""
    heart = HeartbeatThread()
    yield heart
    heart.stop()


def threads() -> list[threading.Thread]:
    """The hearts' threads of this process."""
    return [thread for thread in threading.enumerate() if thread.name == "eventlog-heartbeat"]


def counted(file: LivenessFile, count: int) -> threading.Event:
    """An event that is set when a member's heart has beaten so often."""
    beat, enough = file.beat, threading.Event()
    left = [count]

    def noted() -> None:
        beat()
        left[0] -= 1
        if left[0] <= 0:
            enough.set()

    file.beat = noted  # type: ignore[method-assign]
    return enough


def test_a_heart_without_members_has_no_thread(heart: HeartbeatThread) -> None:
    """It costs nothing to open a log."""
    assert heart._thread is None


def test_a_heart_beats_for_all_its_members_in_one_thread(heart: HeartbeatThread, members: Members) -> None:
    """Each as often as the shortest session needs."""
    before = len(threads())
    files = [members.make(f"member-{number}", SHORT) for number in range(3)]
    beats = [counted(file, 3) for file in files]
    for file in files:
        heart.add(file)
    assert all(beat.wait(PATIENCE_SECONDS) for beat in beats)
    assert len(threads()) == before + 1


def test_a_heart_ends_with_its_last_member_and_begins_again(heart: HeartbeatThread, members: Members) -> None:
    """By itself."""
    for name in ("one", "two"):
        file = members.make(name, SHORT)
        beats = counted(file, 1)
        heart.add(file)
        thread = heart._thread
        assert thread is not None
        assert beats.wait(PATIENCE_SECONDS)
        heart.remove(file)
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()
        assert heart._thread is None


def test_a_heart_keeps_no_dropped_member_alive(heart: HeartbeatThread, members: Members) -> None:
    """Who forgets a consumer loses its lock, while the heart beats for others."""
    kept = members.make("kept", SHORT)
    heart.add(kept)
    dropped = members.make("dropped", SHORT)
    heart.add(dropped)
    ended = threading.Event()
    weakref.finalize(dropped, ended.set)
    del dropped
    gc.collect()
    assert ended.wait(PATIENCE_SECONDS), "at the latest when the beat that ran is over"
    assert members.look(["dropped"])["dropped"] is not Life.ALIVE
    assert counted(kept, 1).wait(PATIENCE_SECONDS)


def test_a_heart_survives_a_failing_disk(heart: HeartbeatThread, members: Members) -> None:
    """One member's file cannot be dated; the others' are, and so is that one later."""
    bad, good = members.make("bad", SHORT), members.make("good", SHORT)
    publish, failures, recovered = bad._publish, [], threading.Event()

    def failing(end_s: float) -> None:
        if len(failures) < 3:
            failures.append(end_s)
            raise OSError(5, "Input/output error")
        publish(end_s)
        recovered.set()

    bad.lease.end_s += 1e6  # a lease that ends meanwhile would be no error of the disk
    bad._publish = failing  # type: ignore[method-assign]
    heart.add(bad)
    heart.add(good)
    assert recovered.wait(PATIENCE_SECONDS)
    assert counted(good, 2).wait(PATIENCE_SECONDS)


def test_a_stopped_heart_leaves_its_members_to_the_others(members: Members) -> None:
    """Its thread is gone, and who did not leave looks dead: its lock is free."""
    heart = HeartbeatThread()
    file = members.make("one", SHORT)
    heart.add(file)
    thread = heart._thread
    heart.stop()
    assert thread is not None
    assert not thread.is_alive()
    assert members.look(["one"])["one"] is not Life.ALIVE
    heart.stop()


def test_a_heart_in_a_child_beats_for_nobody(heart: HeartbeatThread, members: Members) -> None:
    """The parent's members stay the parent's; the child can have some of its own."""
    file = members.make("one", SHORT)
    heart.add(file)
    copy = HeartbeatThread()
    copy._files.add(file)
    copy.after_fork()
    assert list(copy._files) == []
    assert copy._thread is None
    mine = members.make("two", SHORT)
    beats = counted(mine, 1)
    copy.add(mine)
    assert beats.wait(PATIENCE_SECONDS)
    copy.stop()
