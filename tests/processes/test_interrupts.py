"""Ctrl-C ends what waits, loses nothing that was acknowledged, and leaves a log that goes on."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import eventlog
from tests.processes import interrupt_scenes
from tests.processes.child import Child
from tests.processes.reader_scenes import (
    append_through_interrupts,
    wait_for_the_write_lock_until_interrupted,
    wait_until_interrupted,
)
from tests.processes.writers import hold_the_write_lock

_PROMPT_SECONDS = 5.0


@pytest.mark.parametrize("way", ["poll", "loop"])
def test_ctrl_c_ends_a_waiting_consumer(path: Path, way: str) -> None:
    """KeyboardInterrupt comes out of the wait at once, and log and consumer can be used afterwards."""
    with Child(wait_until_interrupted, str(path), way) as child:
        child.hear("ready")
        assert child.is_silent(0.2)  # by now it waits
        child.send(signal.SIGINT)
        child.hear("interrupted", seconds=_PROMPT_SECONDS)
        child.hear("done")
        assert child.end() == 0


def test_ctrl_c_ends_the_wait_for_another_process(path: Path) -> None:
    """An append that waits for a writer of another process can be given up; later appends are stored."""
    with eventlog.open(path) as log:
        log.topic("orders")
    with Child(wait_for_the_write_lock_until_interrupted, str(path)) as child:
        child.hear("ready")
        with Child(hold_the_write_lock, str(path)) as holder:
            holder.hear("ready")
            child.say()
            assert child.is_silent(0.2)
            child.send(signal.SIGINT)
            child.hear("interrupted", seconds=_PROMPT_SECONDS)
            holder.say()
            holder.hear("done")
        child.say()
        assert child.hear() in {"milk", "tea milk"}  # an append that was not acknowledged may be stored
        assert child.end() == 0


def test_a_storm_of_ctrl_c_loses_no_acknowledged_append(path: Path) -> None:
    """After each of many interruptions the loop goes on; what was acknowledged is stored, and nothing twice."""
    with Child(append_through_interrupts, str(path), 200) as child:
        child.hear("ready")
        deadline_s = time.monotonic() + 60.0
        while child.is_silent(0.001):
            child.send(signal.SIGINT)
            assert time.monotonic() < deadline_s, "the loop does not go on"
        child.hear("enough")
        assert child.hear().startswith("done ")
        assert child.end() == 0


@pytest.mark.parametrize("error", interrupt_scenes.ERRORS)
@pytest.mark.parametrize(
    "scene",
    [
        interrupt_scenes.appends,
        interrupt_scenes.appends_beside_a_thread,
        interrupt_scenes.reads,
        interrupt_scenes.sends,
        interrupt_scenes.folds,
        interrupt_scenes.closes,
    ],
    ids=lambda scene: scene.__name__,
)
def test_an_interruption_at_any_place_does_no_harm(path: Path, scene: Callable[[str], None], error: str) -> None:
    """
    Wherever a handler raises in a call, its error arrives, and the log goes on.

    Nothing is stored twice, and what was acknowledged is there.
    """
    with Child(interrupt_scenes.raising, error, scene.__module__, scene.__name__, str(path)) as child:
        words = child.hear(seconds=60.0).split()
        assert words[0] == "done"
        assert int(words[1]) > 20, "it was hardly ever interrupted"
        assert child.end() == 0


@pytest.mark.parametrize(
    ("scene", "error"),
    [
        (interrupt_scenes.closings, "KeyboardInterrupt"),
        (interrupt_scenes.closings, "OutOfTime"),
        (interrupt_scenes.openings, "KeyboardInterrupt"),
        (interrupt_scenes.openings, "OutOfTime"),  # no `OSError`: the `lmdb` package swallows those at some places
    ],
)
def test_an_interrupted_opening_or_closing_leaves_nothing_open(
    path: Path, scene: Callable[[str], None], error: str
) -> None:
    """Wherever a handler raises: `close()` again does the rest, and nobody waits for what was half open."""
    first = 1 if error == "OutOfTime" else 2
    with Child(interrupt_scenes.raising, error, scene.__module__, scene.__name__, str(path), first) as child:
        words = child.hear(seconds=60.0).split()
        assert words[0] == "done"
        assert int(words[1]) > 500, "it was hardly ever interrupted"
        assert child.end() == 0


@pytest.mark.parametrize("scene", [interrupt_scenes.reserves, interrupt_scenes.turns], ids=lambda scene: scene.__name__)
def test_an_interruption_keeps_no_file_open(path: Path, scene: Callable[[str], None]) -> None:
    """Not while its error is there either: the handler's program may keep that for as long as it likes."""
    with Child(interrupt_scenes.raising, "TimeoutError", scene.__module__, scene.__name__, str(path)) as child:
        words = child.hear(seconds=60.0).split()
        assert words[0] == "done"
        assert int(words[1]) > 20, "it was hardly ever interrupted"
        assert child.end() == 0
