"""Notifications: a reader that comes late is found at once, and so is what somebody removed."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog.store.folder import Folder
from eventlog.store.wakeup.notifier import _MOST_TRUSTED_COUNT, Notifier
from eventlog.store.wakeup.waiter import Waiter


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The directory of the FIFOs."""
    path = tmp_path / "waiters"
    path.mkdir()
    return path


@pytest.fixture
def notifier(directory: Path) -> Iterator[Notifier]:
    """A writer that has rung before anybody waited."""
    made = Notifier(Folder(str(directory), 0o600))
    made.find_waiting()
    yield made
    made.close()


@pytest.fixture
def waiter(directory: Path) -> Iterator[Waiter]:
    """A reader that is about to sleep."""
    made = Waiter(Folder(str(directory), 0o600))
    made.subscribe()
    yield made
    made.close()


def notify(notifier: Notifier, *subjects: int) -> None:
    """What a writer does after a commit that concerns some subjects."""
    if notifier.find_waiting():
        notifier.notify(subjects)


def test_a_reader_that_came_after_a_notification_gets_the_next(notifier: Notifier, waiter: Waiter) -> None:
    """However little time is between: no clock tells the writer that somebody came."""
    assert not waiter.wait(0.0)
    notify(notifier)
    assert waiter.wait(0.0)
    notify(notifier)
    assert waiter.wait(0.0)


def test_of_readers_that_come_one_by_one_each_is_heard_of(notifier: Notifier, directory: Path) -> None:
    """The bytes that tell of them are others each time."""
    waiters = []
    for _ in range(20):
        waiters.append(Waiter(Folder(str(directory), 0o600)))
        waiters[-1].subscribe()
        notify(notifier)
        assert all(waiter.wait(0.0) for waiter in waiters)
    for waiter in waiters:
        waiter.close()
    notify(notifier)
    assert not notifier.find_waiting()


def test_a_directory_that_was_removed_is_found_again(notifier: Notifier, directory: Path) -> None:
    """The writer looks once in a while, though the bytes that it knows say nothing any more."""
    shutil.rmtree(directory)
    waiter = Waiter(Folder(str(directory), 0o600))
    waiter.subscribe()
    for _ in range(_MOST_TRUSTED_COUNT + 1):
        notify(notifier)
    assert waiter.wait(0.0)
    waiter.close()


def test_without_a_directory_a_notification_does_nothing(notifier: Notifier, directory: Path) -> None:
    """It never fails, before and after it was closed."""
    notifier.forget()
    shutil.rmtree(directory)
    notify(notifier)
    assert not directory.exists()


def test_a_child_notifies_by_descriptors_of_its_own(notifier: Notifier, waiter: Waiter) -> None:
    """After a fork it closes its copies, and opens the FIFOs anew."""
    notify(notifier)
    assert waiter.wait(0.0)
    before = notifier._fifos
    notifier.forget()
    assert [fifo.descriptor for fifo in before.values()] == [-1]
    notify(notifier)
    assert waiter.wait(0.0)


# -- what a reader hears of ----------------------------------------------------------------------------------------


def waiting(directory: Path, subjects: frozenset[int] | None) -> Waiter:
    """A reader that hears of some subjects."""
    waiter = Waiter(Folder(str(directory), 0o600))
    waiter.subscribe(subjects)
    return waiter


def heard(waiters: dict[str, Waiter]) -> set[str]:
    """Who was rung since it was asked last."""
    return {name for name, waiter in waiters.items() if waiter.wait(0.0)}


@pytest.fixture
def crowd(directory: Path) -> Iterator[dict[str, Waiter]]:
    """Readers of this and that."""
    wishes = {"1": frozenset({1}), "2": frozenset({2}), "1, 2, -7": frozenset({1, 2, -7}), "nothing": frozenset()}
    waiters = {name: waiting(directory, wish) for name, wish in wishes.items()}
    waiters["all"] = waiting(directory, None)
    waiters["too many for a name"] = waiting(directory, frozenset(range(1000, 2000)))
    yield waiters
    for waiter in waiters.values():
        waiter.close()


ALWAYS = {"all", "too many for a name"}


@pytest.mark.parametrize(
    ("subjects", "hear"),
    [((1,), {"1", "1, 2, -7"}), ((2, 1), {"1", "2", "1, 2, -7"}), ((-7,), {"1, 2, -7"}), ((3,), set()), ((), set())],
)
def test_who_hears_of_a_commit_is_in_the_name(
    notifier: Notifier, crowd: dict[str, Waiter], subjects: tuple[int, ...], hear: set[str]
) -> None:
    """The others sleep on."""
    notify(notifier, *subjects)
    assert heard(crowd) == hear | ALWAYS


def test_a_reader_that_hears_of_others_from_now_on_is_found(notifier: Notifier, directory: Path) -> None:
    """Under one name, which `close` removes."""
    waiter = waiting(directory, frozenset({1}))
    notify(notifier, 1)
    assert waiter.wait(0.0)
    waiter.subscribe(frozenset({2}))
    notify(notifier, 1)
    assert not waiter.wait(0.0)
    notify(notifier, 2)
    assert waiter.wait(0.0)
    waiter.subscribe(None)
    notify(notifier, 3)
    assert waiter.wait(0.0)
    waiter.subscribe(None)
    assert len(list(directory.glob("*.fifo"))) == 1
    waiter.close()
    assert list(directory.glob("*.fifo")) == []


@pytest.mark.parametrize("is_renamed", [False, True])
def test_a_reader_interrupted_while_it_gets_another_name_gets_the_next(
    notifier: Notifier, directory: Path, monkeypatch: pytest.MonkeyPatch, is_renamed: bool
) -> None:
    """Ctrl-C comes before the FIFO is renamed, or after, and before anybody notes it."""
    waiter = waiting(directory, frozenset({1}))
    rename = os.rename

    def interrupted(path: str, target: str, **places: int) -> None:
        if is_renamed:
            rename(path, target, **places)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        waiter.subscribe(frozenset({2}))
    monkeypatch.undo()
    waiter.subscribe(frozenset({3}))
    notify(notifier, 3)
    assert waiter.wait(0.0)
    waiter.close()
    assert list(directory.glob("*.fifo")) == []


def test_a_name_that_tells_nothing_we_understand_hears_of_everything(notifier: Notifier, directory: Path) -> None:
    """As the name of a reader of another version may be."""
    for name in ("1-0-1.fifo", "1-0-1.topics-1.fifo"):
        path = directory / name
        os.mkfifo(path)
        end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        notifier.forget()
        notify(notifier, 1)
        assert os.read(end, 8) == b"\0"
        os.close(end)
        path.unlink()


# -- several at once -----------------------------------------------------------------------------------------------


def test_a_pipe_is_not_closed_while_somebody_may_write_into_it(
    notifier: Notifier, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by a look, and not by the end of the log: another file may get its number. Who is done last closes it."""
    notifier.find_waiting()
    [fifo] = notifier._fifos.values()
    write, met = os.write, []

    def met_on_the_way(descriptor: int, data: bytes) -> int:
        if not met:
            waiter.close()
            notifier._seen = None
            assert not notifier.find_waiting()
            met.append(fifo.descriptor)
            notifier.notify((1,))
            notifier.close()
            met.append(fifo.descriptor)
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", met_on_the_way)
    notifier.notify((1,))
    assert len(met) == 2
    assert -1 not in met
    assert fifo.descriptor == -1
    assert not notifier.find_waiting()


def test_a_child_that_was_forked_while_it_rang_writes_nowhere(
    notifier: Notifier, waiter: Waiter, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler may fork between two notifier: the rest of them are the parent's."""
    notifier.find_waiting()
    write, descriptors = os.write, []

    def forked(descriptor: int, data: bytes) -> int:
        notifier.forget()
        [fifo] = before.values()
        descriptors.append(fifo.descriptor)
        return write(fifo.descriptor, data)

    before = notifier._fifos
    monkeypatch.setattr(os, "write", forked)
    notifier.notify((1,))
    assert descriptors == [-1]
    assert not waiter.wait(0.0)
    assert (directory / waiter._names[0]).exists()


def test_a_living_reader_that_can_not_be_opened_keeps_its_fifo(
    notifier: Notifier, waiter: Waiter, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files may have run out on our side: a later look opens it."""
    monkeypatch.setattr(
        os, "open", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EMFILE, "Too many open files"))
    )
    monkeypatch.setattr("eventlog.store.wakeup.notifier.map_changes", lambda _: b"12345678")
    notify(notifier)
    monkeypatch.undo()
    assert (directory / waiter._names[0]).exists()
    for _ in range(_MOST_TRUSTED_COUNT + 1):
        notify(notifier)
    assert waiter.wait(0.0)


@pytest.mark.timeout(20)
def test_a_wait_whose_time_is_over_ends_at_once(waiter: Waiter) -> None:
    """A thread may lose the processor between "20 ms are left" and the wait: then less than nothing is left."""
    waiter.subscribe(None)
    waiter.drain()
    assert not waiter.wait(-0.02)
    waiter.wait_until(time.monotonic() - 0.02, None)


@pytest.mark.timeout(20)
def test_a_wait_without_fifos_whose_time_is_over_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where the system has no FIFOs."""
    monkeypatch.delattr(os, "mkfifo")
    waiter = Waiter(Folder(str(tmp_path / "waiters"), 0o600))
    waiter.subscribe(None)
    assert not waiter.wait(-1.0)
    waiter.close()


# -- files that may be open ----------------------------------------------------------------------------------------


def descriptor_count() -> int:
    """How many files this process has open."""
    return sum(1 for _ in Path("/dev/fd").iterdir())


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """How many FIFOs a writer keeps open: three."""
    monkeypatch.setattr("eventlog.store.wakeup.notifier._MOST_KEPT_COUNT", 3)
    return 3


def test_a_writer_keeps_few_of_many_fifos_open_and_rings_all(few: int, directory: Path) -> None:
    """However many readers wait, they do not take every file that the writer's process may have open."""
    notifier = Notifier(Folder(str(directory), 0o600))
    waiters = [waiting(directory, frozenset({1})) for _ in range(4 * few)]
    notify(notifier, 2)
    before = descriptor_count()
    for _ in range(3):
        notify(notifier, 1)
        assert all(waiter.wait(0.0) for waiter in waiters)
    assert descriptor_count() == before
    assert sum(fifo.descriptor >= 0 for fifo in notifier._fifos.values()) == few
    for waiter in waiters:
        waiter.close()
    notify(notifier, 1)
    assert not notifier.find_waiting()
    assert descriptor_count() == before - few - 2 * len(waiters)
    notifier.close()


def test_a_reader_takes_the_place_of_a_dead_one(few: int, directory: Path) -> None:
    """Of the few that a writer keeps open."""
    notifier = Notifier(Folder(str(directory), 0o600))
    waiters = [waiting(directory, None) for _ in range(2 * few)]
    notify(notifier, 1)
    kept = [waiter for waiter in waiters if notifier._fifos[waiter._names[0]].is_kept]
    for waiter in kept:
        waiter._close_ends()  # as if its process had died
    rest = [waiter for waiter in waiters if waiter not in kept]
    for _ in range(3):
        notify(notifier, 1)
        assert all(waiter.wait(0.0) for waiter in rest)
    assert {name for name, fifo in notifier._fifos.items() if fifo.is_kept} == {waiter._names[0] for waiter in rest}
    for waiter in rest:
        waiter.close()
    notifier.close()


def test_the_fifos_of_dead_readers_are_closed_when_no_file_may_be_opened(
    notifier: Notifier, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a process that has run out of files would keep those of no use."""
    waiters = [waiting(directory, None) for _ in range(5)]
    notify(notifier, 1)
    for waiter in waiters:
        waiter._close_ends()
    before = descriptor_count()
    with monkeypatch.context() as context:
        context.setattr(os, "open", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EMFILE, "none left")))
        notify(notifier, 1)
        assert not notifier.find_waiting()
    assert descriptor_count() == before - len(waiters)


def test_a_reader_that_could_not_be_opened_is_rung_as_soon_as_it_can(
    notifier: Notifier, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is known, and a notification tries once more."""
    open_fifo = Folder.open_fifo
    with monkeypatch.context() as context:
        context.setattr(Folder, "open_fifo", lambda *_: (_ for _ in ()).throw(OSError(errno.EMFILE, "none left")))
        notify(notifier, 1)
        assert not waiter.wait(0.0)
    assert Folder.open_fifo is open_fifo
    notify(notifier, 1)
    assert waiter.wait(0.0)


def test_a_reader_that_may_open_one_file_more_leaves_nothing_behind(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs two, and polls without them."""
    before = descriptor_count()
    monkeypatch.setattr(Folder, "open_fifo", lambda *_: (_ for _ in ()).throw(OSError(errno.EMFILE, "none left")))
    waiter = waiting(directory, None)
    assert not waiter.wait(0.0)
    assert waiter.fileno() is None
    assert list(directory.iterdir()) == []
    assert descriptor_count() == before
