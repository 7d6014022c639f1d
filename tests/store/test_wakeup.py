"""Bells: who comes late is heard of at once, and what somebody removed is found again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog.store.wakeup import _MOST_TRUSTED_COUNT, Bells, Waiter


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The directory of the FIFOs."""
    path = tmp_path / "waiters"
    path.mkdir()
    return path


@pytest.fixture
def bells(directory: Path) -> Iterator[Bells]:
    """A writer that has rung before anybody waited."""
    made = Bells(directory)
    made.ring()
    yield made
    made.close()


@pytest.fixture
def waiter(directory: Path) -> Iterator[Waiter]:
    """A reader that is about to sleep."""
    made = Waiter(directory)
    made.arm()
    yield made
    made.close()


def test_a_reader_that_came_after_a_ring_hears_the_next(bells: Bells, waiter: Waiter) -> None:
    """However little time is between: no clock tells the writer that somebody came."""
    assert not waiter.wait(0.0)
    bells.ring()
    assert waiter.wait(0.0)
    bells.ring()
    assert waiter.wait(0.0)


def test_of_readers_that_come_one_by_one_each_is_heard_of(bells: Bells, directory: Path) -> None:
    """The bytes that tell of them are others each time."""
    waiters = []
    for _ in range(20):
        waiters.append(Waiter(directory))
        waiters[-1].arm()
        bells.ring()
        assert all(waiter.wait(0.0) for waiter in waiters)
    for waiter in waiters:
        waiter.close()
    bells.ring()
    assert bells._pipes == {}


def test_a_directory_that_was_removed_is_found_again(bells: Bells, directory: Path) -> None:
    """The writer looks once in a while, though the bytes that it knows say nothing any more."""
    shutil.rmtree(directory)
    waiter = Waiter(directory)
    waiter.arm()
    for _ in range(_MOST_TRUSTED_COUNT + 1):
        bells.ring()
    assert waiter.wait(0.0)
    waiter.close()


def test_without_a_directory_a_ring_does_nothing(bells: Bells, directory: Path) -> None:
    """It never fails, before and after it was closed."""
    bells.close()
    shutil.rmtree(directory)
    bells.ring()
    assert not directory.exists()


def test_after_a_close_bells_ring_anew(bells: Bells, waiter: Waiter) -> None:
    """As in a child after a fork."""
    bells.close()
    bells.ring()
    assert waiter.wait(0.0)
