"""Who may have a log open beside us, and the ids by which LMDB tells our readers from theirs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import eventlog
from eventlog.store.lmdb import reader_ids
from eventlog.store.lmdb.lasting_locks import HAS_LASTING_LOCKS, lock_shared
from eventlog.store.lmdb.sharing import Surroundings, check_others, show
from eventlog.store.store import Store

OURS = Surroundings(kernel=20_000, machine=3, library=1, clock=0, pid_namespace=4_026_531_836, has_pids=0)
LEAST_ID = 1 << 22

needs_lasting_locks = pytest.mark.skipif(not HAS_LASTING_LOCKS, reason="locks that last are Linux's")
needs_ids = pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="there is no /proc/self/mem")


@pytest.fixture
def lock_files(tmp_path: Path) -> Iterator[list[int]]:
    """A file, open three times, as three processes would have it."""
    descriptors = [os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(3)]
    yield descriptors
    for descriptor in descriptors:
        os.close(descriptor)


def readers(log: eventlog.EventLog) -> list[int]:
    """The numbers in LMDB's table while we read."""
    environment = store_of(log).environment
    with environment.reading():
        lines = [line.split() for line in environment._usable_handle().readers().splitlines()[1:]]
        return [int(number) for number, *_, seen in lines if seen != "-"]  # else a place that is kept


def store_of(log: eventlog.EventLog) -> Store:
    """The store behind a log."""
    store = log._store  # type: ignore[attr-defined]
    assert isinstance(store, Store)
    return store


# --- surroundings -----------------------------------------------------------------------------------------------------


def test_a_place_spells_the_surroundings() -> None:
    """All of them, to the last bit; and a file offset has room for it."""
    most = Surroundings(2**15 - 1, 2**4 - 1, 2**2 - 1, 2**6 - 1, 2**32 - 1, 1)
    for one in (OURS, most, Surroundings(0, 0, 0, 0, 0, 0), Surroundings.ours()):
        assert Surroundings.at(one.place) == one
        assert 1 << 60 <= one.place < 1 << 61


def test_we_run_where_we_run() -> None:
    """Twice the same, and no two fields are left out on Linux."""
    assert Surroundings.ours() == Surroundings.ours()
    if Path("/proc/self/ns/pid").exists():
        assert Surroundings.ours().pid_namespace == Path("/proc/self/ns/pid").stat().st_ino


@pytest.mark.parametrize(
    "theirs",
    [
        OURS,
        OURS._replace(pid_namespace=7),
        OURS._replace(has_pids=1),
        OURS._replace(kernel=0, pid_namespace=0, has_pids=1),  # it has no /proc
    ],
)
def test_a_log_is_shared_with_containers_of_the_same_kind(theirs: Surroundings) -> None:
    """In another pid namespace if both have ids; by pids in the same one; and where a process cannot tell."""
    assert OURS.objection(theirs) is None
    assert theirs.objection(OURS) is None


@pytest.mark.parametrize(
    ("theirs", "word", "advice"),
    [
        (OURS._replace(kernel=1), "kernel", "one machine"),
        (OURS._replace(machine=1), "processor", "images"),
        (OURS._replace(library=2), "musl", "Alpine"),
        (OURS._replace(library=3), "another C library", "images"),
        (OURS._replace(clock=1), "monotonic clock", "time namespaces"),
        (OURS._replace(pid_namespace=7, has_pids=1), "pid namespace 7", "pid: host"),
    ],
)
def test_what_cannot_be_shared_is_named(theirs: Surroundings, word: str, advice: str) -> None:
    """With what to do about it; and both sides see it."""
    found = OURS.objection(theirs)
    assert found is not None
    assert word in found.what
    assert advice in found.advice
    assert theirs.objection(OURS) is not None


@needs_lasting_locks
def test_each_of_several_others_is_looked_at(lock_files: list[int]) -> None:
    """The kernel tells one lock at a time."""
    one, two, mine = lock_files
    show(mine, OURS)
    for number in range(1, 6):
        show(one, OURS._replace(pid_namespace=number))
    check_others(mine, "log", OURS)
    show(two, OURS._replace(pid_namespace=3, has_pids=1))
    with pytest.raises(eventlog.UnsupportedSharing, match="pid namespace 3"):
        check_others(mine, "log", OURS)
    check_others(two, "log", OURS)


@needs_lasting_locks
def test_locks_of_another_meaning_say_nothing(lock_files: list[int]) -> None:
    """Those of LMDB are near the beginning of the file."""
    one, mine, _ = lock_files
    for place in (0, os.getpid(), 1 << 22, 1 << 31, 1 << 61, 1 << 62):
        assert lock_shared(one, place)
    check_others(mine, "log", OURS)


def test_a_log_is_refused_beside_a_process_of_another_kernel(path: Path) -> None:
    """At the opening, before anything is touched; and opened when that one is gone."""
    with eventlog.open(path) as log:
        log.topic("a")
    other = os.open(path / "lock.mdb", os.O_RDWR)
    show(other, Surroundings.ours()._replace(kernel=Surroundings.ours().kernel ^ 1))
    with pytest.raises(eventlog.UnsupportedSharing, match="another kernel"):
        eventlog.open(path)
    os.close(other)
    with eventlog.open(path) as log:
        assert log.topics() == ["a"]


# --- ids of readers ---------------------------------------------------------------------------------------------------


@needs_ids
def test_readers_have_an_id_that_is_no_pid(path: Path) -> None:
    """The installed py-lmdb is one whose environment we know; a failure here means that containers are refused."""
    with eventlog.open(path) as log:
        [first] = readers(log)
        assert first == store_of(log).environment._files.reader_number  # type: ignore[union-attr]
    with eventlog.open(path) as log:
        [second] = readers(log)
    assert first != second
    assert min(first, second) >= LEAST_ID


@needs_ids
def test_a_forked_child_has_an_id_of_its_own(path: Path) -> None:
    """And reads with it while the parent reads."""
    with eventlog.open(path) as log:
        before = readers(log)
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.write(writing, b"%d" % readers(log)[0])
            os._exit(0)
        os.wait()
        theirs = int(os.read(reading, 20))
        assert theirs != before[0]
        assert theirs >= LEAST_ID
        assert readers(log) == before


@pytest.mark.parametrize("failing", ["memory", "signature", "numbers", "use"])
def test_without_an_id_the_pid_does(path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """A system without /proc, another LMDB, no free number, a number that LMDB does not take: all work on."""
    if failing == "memory":
        monkeypatch.setattr(reader_ids, "_MEMORY", "/nothing/there")
    if failing == "signature":
        monkeypatch.setattr(reader_ids, "_find", lambda *_: None)
    if failing == "numbers":
        monkeypatch.setattr(reader_ids, "_locked_number", lambda _: None)
    if failing == "use":
        monkeypatch.setattr(reader_ids, "_is_used", lambda *_: False)
    with eventlog.open(path) as log:
        topic = log.topic("a", value=int)
        topic.append(1)
        assert readers(log) == [os.getpid()]
        assert [record.value for record in topic.read()] == [1]
    monkeypatch.undo()
    with eventlog.open(path) as log:
        assert log.verify().is_sound


@needs_ids
def test_closing_leaves_the_slots_of_others_alone(path: Path) -> None:
    """LMDB frees those with our pid, and another container may be opening the log as the same pid."""
    with eventlog.open(path):
        pass
    file = os.open(path / "lock.mdb", os.O_RDWR)
    with eventlog.open(path) as log:
        readers(log)
        slots = [place + 8 for place in (128, 192)]  # the two that were used; nobody uses the one with pid 0
        free = next(slot for slot in slots if os.pread(file, 4, slot) == bytes(4))
        os.pwrite(file, os.getpid().to_bytes(4, "little"), free)
    assert os.pread(file, 4, free) == os.getpid().to_bytes(4, "little")
    os.close(file)
