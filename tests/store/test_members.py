"""What can be seen of a member from outside, in every state that it or its process can be in."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path

import attrs
import pytest

from eventlog.clock import SystemClock
from eventlog.groups.lease import Terms
from eventlog.groups.state import Life
from eventlog.store.folder import Folder
from eventlog.store.groups.liveness import FailureDetector, LivenessFile, Members

TERMS = Terms(session_timeout=10.0, max_poll_interval=300.0)


@attrs.define
class Time:
    """A clock that moves when it is told to."""

    now_s: float = 1000.0
    later_ms: int = 0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now_s

    def now_ms(self) -> int:
        """The time of day, some time after that of the file system."""
        return SystemClock().now_ms() + self.later_ms


@pytest.fixture
def time() -> Time:
    """A clock that stands still."""
    return Time()


@pytest.fixture
def members(tmp_path: Path, time: Time) -> Members:
    """Members of a directory that is not there yet."""
    return Members(Folder(str(tmp_path / "members"), 0o600), time)


def descriptor_count() -> int:
    """How many files this process has open."""
    return sum(1 for _ in Path("/dev/fd").iterdir())


def life(members: Members, file: LivenessFile) -> Life:
    """What is seen of one member."""
    return members.look([file.id])[file.id]


def names(members: Members) -> list[str]:
    """The files that are there."""
    return sorted(path.name for path in Path(members._folder.path).iterdir())


# --- lives ----------------------------------------------------------------------------------------------------------


def test_a_new_member_is_alive_at_once(members: Members) -> None:
    """Its file has its name only when all is true of it."""
    file = members.make("one", TERMS)
    assert life(members, file) is Life.ALIVE
    assert names(members) == ["one"]


def test_a_member_without_a_trace_is_dead(members: Members) -> None:
    """Also when nobody was ever there."""
    assert members.look(["one", "two"]) == {"one": Life.DEAD, "two": Life.DEAD}


def test_a_lease_ends(members: Members, time: Time) -> None:
    """To the moment, whether or not the process lives."""
    file = members.make("one", TERMS)
    time.now_s = 1009.9
    assert life(members, file) is Life.ALIVE
    time.now_s = 1010.0
    assert life(members, file) is Life.DEAD


def test_a_member_stops_before_others_see_its_lease_end(members: Members, time: Time) -> None:
    """By a margin."""
    file = members.make("one", TERMS)
    time.now_s = 1009.6
    assert not file.is_usable(time.now_s)
    assert life(members, file) is Life.ALIVE


def test_a_beat_prolongs_a_lease(members: Members, time: Time) -> None:
    """As long as it is not over; after that only `confirm` does."""
    file = members.make("one", TERMS)
    time.now_s = 1008.0
    file.beat()
    time.now_s = 1017.0
    assert life(members, file) is Life.ALIVE
    assert file.is_usable(time.now_s)
    time.now_s = 1018.5
    file.beat()
    assert life(members, file) is Life.DEAD
    assert not file.is_usable(time.now_s)
    file.confirm()
    assert life(members, file) is Life.ALIVE
    assert file.is_usable(time.now_s)


def test_beats_do_not_help_who_does_not_poll(members: Members, time: Time) -> None:
    """The lease ends `max_poll_interval` after the last poll."""
    file = members.make("one", Terms(session_timeout=10.0, max_poll_interval=20.0))
    file.note_poll(1005.0)
    while time.now_s < 1024.0:
        time.now_s += 1.0
        file.beat()
        assert life(members, file) is Life.ALIVE
    time.now_s = 1025.0
    file.beat()
    assert life(members, file) is Life.DEAD


def test_a_process_that_died_is_away_until_its_lease_ends(members: Members, time: Time) -> None:
    """Its lock is gone, its lease runs on."""
    file = members.make("one", TERMS)
    file.abandon()
    assert life(members, file) is Life.AWAY
    time.now_s = 1010.0
    assert life(members, file) is Life.DEAD


def test_a_dropped_member_is_away(members: Members) -> None:
    """The garbage collector closes its file."""
    members.make("one", TERMS)
    gc.collect()
    assert members.look(["one"]) == {"one": Life.AWAY}


def test_who_steps_aside_is_away_for_a_whole_session(members: Members, time: Time) -> None:
    """From then on, whatever was left of its lease."""
    file = members.make("one", TERMS)
    time.now_s = 1009.0
    file.step_aside()
    time.now_s = 1018.9
    assert life(members, file) is Life.AWAY
    time.now_s = 1019.0
    assert life(members, file) is Life.DEAD


def test_who_leaves_is_dead_at_once(members: Members) -> None:
    """And leaves nothing behind; doing anything after that does nothing."""
    file = members.make("one", TERMS)
    file.leave()
    assert life(members, file) is Life.DEAD
    assert names(members) == []
    file.beat()
    file.confirm()
    file.step_aside()
    file.leave()
    assert names(members) == []


@pytest.mark.parametrize("how", ["removed", "renamed", "replaced", "with the directory"])
def test_who_loses_its_file_hands_out_nothing_before_it_has_asked(members: Members, time: Time, how: str) -> None:
    """Others took it for dead, and may have its partitions. It makes the file again with its next beat."""
    file = members.make("one", TERMS)
    path = Path(members._folder.path) / "one"
    if how == "renamed":
        path.rename(path.with_name("two"))
    elif how == "with the directory":
        shutil.rmtree(path.parent)
    else:
        path.unlink()
    if how == "replaced":
        path.touch()
    time.now_s = 1001.0
    file.beat()
    assert life(members, file) is Life.ALIVE
    assert not file.is_usable(time.now_s)
    assert file.permit[0] < time.now_s
    file.beat()
    assert not file.is_usable(time.now_s), "only a transaction tells whether it is a member"
    file.confirm()
    file.allow()
    assert file.is_usable(time.now_s)
    assert file.permit[0] > time.now_s
    time.now_s = 1009.0
    file.beat()
    time.now_s = 1018.0
    assert life(members, file) is Life.ALIVE
    file.leave()
    assert life(members, file) is Life.DEAD
    assert not path.exists()


def test_a_confirmation_makes_a_lost_file_again(members: Members) -> None:
    """It may come before the next beat."""
    file = members.make("one", TERMS)
    members.discard(["one"])
    file.confirm()
    assert life(members, file) is Life.ALIVE


def test_who_lost_its_file_looks_alive_to_those_who_watch_it(members: Members, time: Time) -> None:
    """They have the old file open, whose lease goes on; it is closed with the new one, however often that happened."""
    file, watch = members.make("one", TERMS), FailureDetector(members)
    watch.choose(["one"])
    before = descriptor_count()
    for _ in range(5):
        members.discard(["one"])
        file.beat()
        file.confirm()
    assert descriptor_count() <= before + 2
    assert names(members) == ["one"]
    members.discard(["one"])
    file.confirm()
    time.now_s = 1009.0
    file.beat()
    assert life(members, file) is Life.ALIVE
    watch.choose(["one"])
    file.leave()
    watch.close()
    assert descriptor_count() == before - 2


def test_a_lease_that_is_over_is_not_begun_again_by_a_lost_file(members: Members, time: Time) -> None:
    """A member that was silent too long was removed, and its file with it."""
    file = members.make("one", TERMS)
    time.now_s = 1011.0
    members.discard(["one"])
    file.beat()
    assert names(members) == []


def test_a_lease_of_an_earlier_boot_is_over(members: Members, time: Time) -> None:
    """The clock began anew, so its end is farther away than any session: without a lock it is dead."""
    file = members.make("one", TERMS)
    file.abandon()
    time.now_s = 3.0
    assert life(members, file) is Life.DEAD


def test_a_lock_speaks_for_itself_whatever_the_clock(members: Members, time: Time) -> None:
    """Who holds it runs now."""
    file = members.make("one", TERMS)
    time.now_s = 3.0
    assert life(members, file) is Life.ALIVE


def test_a_forked_childs_copy_neither_frees_the_lock_nor_keeps_it(members: Members) -> None:
    """Closing it frees nothing; and who goes frees the lock, whatever copies there are."""
    file = members.make("one", TERMS)
    first, second = os.dup(file._open[-1]), os.dup(file._open[-1])
    os.close(first)
    assert life(members, file) is Life.ALIVE
    file.abandon()
    assert life(members, file) is Life.AWAY
    os.close(second)
    assert life(members, file) is Life.AWAY


def test_a_system_without_locks_goes_by_leases(members: Members, time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead process is noticed when its lease ends."""
    monkeypatch.setattr("eventlog.store.groups.liveness.fcntl", None)
    file = members.make("one", TERMS)
    file.abandon()
    assert life(members, file) is Life.ALIVE
    time.now_s = 1010.0
    assert life(members, file) is Life.DEAD


def test_a_system_without_fifos_makes_plain_files(members: Members, monkeypatch: pytest.MonkeyPatch) -> None:
    """They tell the same, but nobody is told of a death by the kernel."""
    monkeypatch.delattr(os, "mkfifo")
    file = members.make("one", TERMS)
    assert (Path(members._folder.path) / "one").is_file()
    assert life(members, file) is Life.ALIVE
    file.abandon()
    assert life(members, file) is Life.AWAY


# --- watching -------------------------------------------------------------------------------------------------------


def test_a_watch_is_told_of_a_death(members: Members) -> None:
    """Once, and it sees the same as a look."""
    one, two = members.make("one", TERMS), members.make("two", TERMS)
    watch = FailureDetector(members)
    watch.choose(["one", "two", "nobody"])
    assert len(watch.descriptors) == 2
    assert not watch.died()
    one.abandon()
    assert watch.died()
    assert not watch.died()
    assert watch.look(["one", "two", "nobody"]) == {"one": Life.AWAY, "two": Life.ALIVE, "nobody": Life.DEAD}
    two.leave()
    assert watch.died()
    watch.close()
    assert watch.descriptors == set()


def test_a_watch_that_chooses_anew_closes_what_it_watched(members: Members) -> None:
    """However often that is."""
    files = [members.make(f"member-{number}", TERMS) for number in range(4)]
    watch = FailureDetector(members)
    before = descriptor_count()
    for number in range(20):
        watch.choose([files[number % 4].id, files[(number + 1) % 4].id])
        assert len(watch.descriptors) == 2
        assert descriptor_count() == before + 2
    watch.close()
    assert descriptor_count() == before


def test_nobody_who_is_watched_can_hang_before_the_first_lease_ends(members: Members, time: Time) -> None:
    """Until then there is nothing to look for; who prolongs its lease moves that on."""
    watch = FailureDetector(members)
    assert watch.quiet_until_s() == float("inf")
    one, two = members.make("one", TERMS), members.make("two", Terms(session_timeout=20.0, max_poll_interval=300.0))
    watch.choose(["one", "two"])
    assert watch.quiet_until_s() == 1010.0
    time.now_s = 1005.0
    one.beat()
    assert watch.quiet_until_s() == 1015.0
    watch.choose(["two"])
    assert watch.quiet_until_s() == 1020.0
    two.leave()
    watch.close()


def test_a_watch_that_is_not_told_of_every_death_is_never_quiet(
    members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has left no file, or a plain one."""
    watch, file = FailureDetector(members), members.make("one", TERMS)
    watch.choose(["one", "nobody"])
    assert watch.quiet_until_s() < 0
    monkeypatch.delattr(os, "mkfifo")
    plain = members.make("plain", TERMS)
    watch.choose(["one", "plain"])
    assert watch.quiet_until_s() < 0
    watch.close()
    for one in (file, plain):
        one.leave()


# --- turns and leftovers --------------------------------------------------------------------------------------------


def whose(*, is_ours: bool) -> bool:
    """Whether the turn is ours."""
    return is_ours


def test_one_has_the_turn(members: Members) -> None:
    """Until its block ends, by an error too; another group has its own."""
    members.make("one", TERMS)

    def others(*, is_ours: bool) -> tuple[bool, ...]:
        return is_ours, members.in_turn("g", whose), members.in_turn("other", whose)

    def fail(*, is_ours: bool) -> None:
        raise RuntimeError(is_ours)

    assert members.in_turn("g", others) == (True, False, True)
    with pytest.raises(RuntimeError):
        members.in_turn("g", fail)
    assert members.in_turn("g", whose)


def test_turns_have_short_names(members: Members) -> None:
    """Whatever the group is called."""
    members.make("one", TERMS)
    for group in ("x" * 249, "a/b", "..", "gr\xfc\xdfe"):
        assert members.in_turn(group, whose)


def test_files_of_removed_members_are_removed(members: Members) -> None:
    """And those that are gone already are no error."""
    members.make("one", TERMS)
    members.discard(["one", "nobody"])
    assert names(members) == []


def test_old_leftovers_of_dead_processes_are_removed(members: Members, time: Time) -> None:
    """A file without a lock whose lease is over; living members, members away, and what is young stay."""
    members.discard_abandoned()
    alive = members.make("alive", Terms(1e6, 1e6))
    for name, session in (("away", 1e6), ("over", 10.0), (".half", 10.0)):
        members.make(name, Terms(session, 1e6)).abandon()
    time.now_s += 100.0
    members.discard_abandoned()
    assert names(members) == [".half", "alive", "away", "over"], "all are young"
    time.later_ms = 61_000
    members.discard_abandoned()
    assert names(members) == ["alive", "away"]
    assert life(members, alive) is Life.ALIVE


def test_old_leftovers_are_no_turns(members: Members, time: Time) -> None:
    """A turn that somebody has is neither removed nor given to another."""
    members.make("one", TERMS)
    time.later_ms = 10**9

    def discard(*, is_ours: bool) -> tuple[bool, bool]:
        members.discard_abandoned()
        return is_ours, members.in_turn("g", whose)

    assert members.in_turn("g", discard) == (True, False)


def test_a_directory_that_can_not_be_listed_keeps_nobody_out(
    members: Members, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left behind there stays for the next."""
    members.make("one", TERMS).abandon()

    def fails(_: object) -> list[str]:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as context:
        context.setattr("eventlog.store.groups.liveness.os.listdir", fails)
        members.discard_abandoned()
    assert life(members, members.make("two", TERMS)) is Life.ALIVE


def test_a_watch_that_was_interrupted_can_be_closed(members: Members) -> None:
    """Whatever of it came to an end: a death that was half told is told no more."""
    file = members.make("one", TERMS)
    watch = FailureDetector(members)
    watch.choose(["one"])
    assert watch._alarm is not None
    watch._alarm.unregister(next(iter(watch.descriptors)))
    watch.choose([])
    assert watch.descriptors == set()
    watch.choose(["one"])
    file.leave()
    assert watch.died()
    assert watch.descriptors == set()
    watch.close()
