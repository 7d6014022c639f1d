"""
The power goes in the middle of such a history: what an image of the disk holds goes on with what was known until then.

The lines of the history stand in the journal of the disk, between its writes and syncs. So a cut tells what had been
called and what had returned; the rest of the history is what the next producers and readers find in the image.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

import eventlog
from tests import preload
from tests.fuzz.sample import put_file
from tests.history.checker import violations
from tests.history.kafka.recording import put_lines
from tests.history.kafka.stage import Stage, history_of
from tests.history.operations import KAFKA, OK
from tests.history.trial import story
from tests.power import court
from tests.power.images import image_of
from tests.power.journal import Disk, frames_of

_IMAGES = 12
_SYNC_US = 100


def rules_broken(library: Path, directory: Path, rng: random.Random, images: int, plant: str = "") -> set[str]:
    """The rules that histories broke that end with a power cut; `journal.c` knows the plant."""
    journal, broken, committed = directory / "journal", set[str](), 0
    with court.scratch() as place:
        watching = {
            "EVENTLOG_JOURNAL": os.fspath(journal),
            "EVENTLOG_JOURNAL_OF": os.fspath(place / "log" / "data.mdb"),
            "EVENTLOG_JOURNAL_SYNC_US": str(_SYNC_US),
            "EVENTLOG_JOURNAL_PLANT": plant,
        }
        with Stage(place, rng, environment=preload.environment_with(library) | watching) as stage:
            stage.disturb(1.5)
        frames, disk, at = frames_of(journal), Disk(), 0
        for cut, choice in court.draw_cases(journal, images, rng.randrange(2**32)):
            for frame in frames[at:cut]:
                disk.play(frame)
            at, folder = cut, place / "left" / "history"
            shutil.rmtree(place / "left", ignore_errors=True)
            folder.mkdir(parents=True)
            put_lines(frames[:cut], folder)
            history = history_of(put_file(place / "left" / "log", image_of(disk, choice)), folder)
            found = violations(history)
            committed = max(committed, sum(one.kind == KAFKA and one.outcome == OK for one in history))
            if found:
                print(f"cut at {cut}, {choice}: {story(found)}")
                broken |= {one.rule for one in found}
            if found and plant:
                break
    assert committed, "no transaction was committed before the power went"
    return broken


def test_a_power_cut_leaves_a_right_history(library: Path, tmp_path: Path, rng: random.Random) -> None:
    """Whatever became of the writes that were not synced: what was committed is whole, and nothing else is seen."""
    assert rules_broken(library, tmp_path, rng, _IMAGES) == set()


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_power_cut_leaves_a_right_history_at_many_moments(library: Path, tmp_path: Path, rng: random.Random) -> None:
    """The same with more images, of several runs."""
    for number in range(4):
        (tmp_path / str(number)).mkdir()
        assert rules_broken(library, tmp_path / str(number), rng, 150) == set()


@pytest.mark.long
def test_harness_finds_a_disk_that_does_not_sync(library: Path, tmp_path: Path, rng: random.Random) -> None:
    """Transactions are acknowledged then that the image does not have, or it is damaged."""
    try:
        assert rules_broken(library, tmp_path, rng, 100, plant="deaf") & {"lost", "offsets", "real time", "agree"}
    except eventlog.EventLogError as damage:
        print(damage)
