"""Every file of a log is removed, renamed and exchanged at every moment, by the harness of `harmed_files.py`."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

import eventlog
from eventlog.store.lmdb.file_pair import FilePair
from tests.processes.child import Child
from tests.processes.harmed_files import DEEDS, FAILED, STEPS, Trial, append_until_told


def _trial(path: Path, place: int, deed: str, rng: random.Random, name: str | None = None) -> Trial:
    def choose(files: list[Path]) -> Path:
        named = [file for file in files if name is None or file.name == name]
        return rng.choice(named or files)

    path.parent.mkdir()
    trial = Trial(path, place, deed, choose)
    trial.run()
    return trial


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("name", ["data.mdb", "lock.mdb", "log", None])
def test_nothing_acknowledged_is_lost_in_silence(tmp_path: Path, rng: random.Random, deed: str, name: str) -> None:
    """And whatever fails says so by an error of ours."""
    for place in range(len(STEPS)):
        trial = _trial(tmp_path / str(place) / "log", place, deed, rng, name)
        assert not trial.complaints, (trial.name, trial.complaints)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_nothing_acknowledged_is_lost_in_a_thousand_trials(tmp_path: Path, rng: random.Random) -> None:
    """The same with any file."""
    for number in range(1000):
        deed, place = rng.choice(list(DEEDS)), rng.randrange(len(STEPS))
        trial = _trial(tmp_path / str(number) / "log", place, deed, rng)
        assert not trial.complaints, (trial.name, trial.complaints)


def _acknowledged_later(child: Child, harmed_s: float) -> list[str]:
    """The records whose appends began after the deed, once the child has tried for a while, and is done."""
    later: list[str] = []
    while (line := child.hear()) != "done":
        began_s, value = line.split()
        if float(began_s) > harmed_s:
            later.append(value)
            if len(later) == 20:
                child.say("end")
    return [value for value in later if value != FAILED]


@pytest.mark.parametrize("name", ["data.mdb", "lock.mdb", "log", "waiters"])
@pytest.mark.parametrize("deed", DEEDS)
def test_two_processes_write_over_nothing(path: Path, deed: str, name: str) -> None:
    """What either acknowledged after the deed is in the log that the path leads to in the end."""
    with Child(append_until_told, str(path), "a") as one, Child(append_until_told, str(path), "b") as two:
        for child in (one, two):
            child.hear("ready")
            child.hear()
        DEEDS[deed](path if name == "log" else path / name)
        harmed_s = time.monotonic()
        later = _acknowledged_later(one, harmed_s) + _acknowledged_later(two, harmed_s)
    try:
        with eventlog.open(path, create=False) as log:
            stored = [record.value for record in log.topic("orders", value=str).read()]
            assert log.verify().problems == ()
    except eventlog.EventLogError:
        stored = []
    assert [value for value in later if stored.count(value) != 1] == []
    if name == "waiters":
        assert later


@pytest.mark.parametrize("deed", DEEDS)
def test_harness_finds_writes_into_files_that_are_gone(
    tmp_path: Path, rng: random.Random, monkeypatch: pytest.MonkeyPatch, deed: str
) -> None:
    """Without the looks the library acknowledges what nobody will see again."""
    monkeypatch.setattr(FilePair, "check", lambda _: None)
    monkeypatch.setattr(FilePair, "check_last_commit", lambda *_: None)
    trial = _trial(tmp_path / "around" / "log", 0, deed, rng, "data.mdb")
    assert any("acknowledged after the deed" in one for one in trial.complaints), trial.complaints
