"""A full disk, small files, few open files, little address space, all slots of readers taken: for real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import eventlog
from eventlog.store.lmdb.lock_file import LOCK_FILE
from tests.faults.scarce_scenes import (
    every_slot,
    fork_without_files,
    grow_without_room,
    read_beside_full_slots,
    read_on_a_full_disk,
    read_when_told,
    run_on_a_full_disk,
    run_with_few_files,
    run_with_small_files,
    wait_without_files,
)
from tests.processes.child import Child
from tests.volumes import small_volume

_KILOBYTE = 1024
_LONG_SECONDS = 600.0


@pytest.fixture(params=["tmpfs", "ext4"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for some megabytes."""
    with small_volume(tmp_path / "disk", 6 << 20, kind=request.param) as directory:
        yield directory


def _run(child: Child, *, least: int, seconds: float = 60.0) -> None:
    """Hears what a scene found."""
    failed_count = int(child.hear(seconds=seconds))
    problems = []
    while (line := child.hear()) != "done":
        problems.append(line)
    assert not problems, "\n".join(problems)
    assert failed_count >= least, f"only {failed_count} runs had too little"


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    """With too little room a run fails with `DiskFull`, reads on, and goes on once there is room."""
    with Child(run_on_a_full_disk, str(small_disk), [0, 150 * _KILOBYTE, 400 * _KILOBYTE]) as child:
        _run(child, least=3)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_disk_with_any_room_loses_nothing(small_disk: Path) -> None:
    """With every amount of room, page by page."""
    rooms = [number * 4 * _KILOBYTE for number in range(200)]
    with Child(run_on_a_full_disk, str(small_disk), rooms) as child:
        _run(child, least=60, seconds=_LONG_SECONDS)


def test_a_full_disk_kills_no_reader(small_disk: Path) -> None:
    """LMDB's lock file has room for all readers from the beginning; a new log is refused, and nobody gets SIGBUS."""
    with Child(read_on_a_full_disk, str(small_disk)) as child:
        assert child.hear() == "DiskFull"
        child.hear("done")
        assert child.end() == 0


def test_the_lock_file_has_no_holes(path: Path) -> None:
    """A write through a map to a hole of a full disk would kill the process."""
    eventlog.open(path).close()
    status = (path / LOCK_FILE).stat()
    assert status.st_size > 100_000
    assert status.st_blocks * 512 >= status.st_size


def test_small_files_lose_nothing(tmp_path: Path) -> None:
    """A file that may not grow is as good as a full disk."""
    with Child(run_with_small_files, str(tmp_path), [64 * _KILOBYTE, 180 * _KILOBYTE, 300 * _KILOBYTE]) as child:
        _run(child, least=3)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_files_of_any_size_lose_nothing(tmp_path: Path) -> None:
    """With every limit, page by page, and between pages."""
    sizes = [number * 4 * _KILOBYTE + number % 3 * 100 for number in range(2, 150)]
    with Child(run_with_small_files, str(tmp_path), sizes) as child:
        _run(child, least=60, seconds=_LONG_SECONDS)


def test_too_few_open_files_harm_nothing(tmp_path: Path) -> None:
    """With few files to open, a run says what is missing, and goes on when there are more."""
    with Child(run_with_few_files, str(tmp_path), [0, 1, 2, 3, 4, 6, 8, 10, 13]) as child:
        _run(child, least=5)


def test_a_consumer_waits_without_open_files(path: Path) -> None:
    """It gets no bell then, and looks by itself."""
    with eventlog.open(path) as log:
        log.topic("orders")
    with Child(wait_without_files, str(path)) as child:
        child.hear("done")
        assert child.end() == 0


def test_a_fork_without_open_files_is_told(path: Path) -> None:
    """The child cannot open the log, says so, and can once the limit is raised; the parent is not touched."""
    with Child(fork_without_files, str(path)) as child:
        child.hear("done")
        assert child.end() == 0


def test_a_map_that_can_not_grow_is_an_error_and_no_more(path: Path) -> None:
    """The append is refused, reading goes on, and with more room so does writing."""
    with Child(grow_without_room, str(path)) as child:
        child.hear("done")
        assert child.end() == 0


def test_too_many_readers_are_told_and_the_dead_make_room(path: Path) -> None:
    """Who reads when all slots are taken is told; writing goes on; the slots of a killed process are free at once."""
    with Child(read_beside_full_slots, str(path)) as child:
        child.hear("ready")
        with Child(every_slot, str(path)) as holder:
            holder.hear()
            child.say()
            child.hear("1")
            holder.kill()
        child.say()
        child.hear("done")


def test_reading_makes_room_of_the_dead_by_itself(path: Path) -> None:
    """A log that nobody writes to does not stay full of readers that were killed."""
    with eventlog.open(path) as log:
        log.topic("orders").append(b"tea")
    with Child(read_when_told, str(path)) as reader:
        reader.hear("ready")
        with Child(every_slot, str(path)) as holder:
            holder.hear()
        reader.say()
        reader.hear("1")
