"""
The power goes at any moment: nothing acknowledged is lost, or the last commit at most, and the log is sound.

Each image is one state in which a disk may be left; see `journal.py` for which those are, and `judge.py` for what must
be true of them.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import eventlog
from tests import preload
from tests.power import court
from tests.power.court import Case, Court, Durability
from tests.power.images import Choice
from tests.power.journal import ACKNOWLEDGED, ENTERED, SYNCED, Disk, frames_of
from tests.power.trial import cut_power, judged
from tests.power.work import Plant

_ROUNDS = 12
_TRIES = 5


def worked(library: Path, directory: Path, seed: int, durability: Durability = "commit", plant: Plant = "") -> Path:
    """The journal of a workload."""
    journal = directory / f"journal-{durability}-{seed}"
    court.work(library, journal, seed=seed, durability=durability, rounds=_ROUNDS, plant=plant)
    return journal


@pytest.mark.parametrize("durability", ["commit", "ordered"])
def test_a_power_cut_takes_no_more_than_is_promised(
    library: Path, judges: Court, tmp_path: Path, rng: random.Random, durability: Durability
) -> None:
    """With "commit" nothing acknowledged, with "ordered" the last commit at most; and the log is sound."""
    seed = rng.randrange(2**32)
    journal = worked(library, tmp_path, seed, durability)
    counts = judged(judges, journal, seed=seed, durability=durability, images=120)
    assert counts["images"] == 120
    assert counts["different images"] > 60
    assert bool(counts["images without the last commit"]) == (durability == "ordered")


def test_a_power_cut_while_a_log_is_made_leaves_one_that_opens(
    library: Path, judges: Court, tmp_path: Path, rng: random.Random
) -> None:
    """At every moment of the first opening, whatever became of the writes."""
    seed = rng.randrange(2**32)
    journal = tmp_path / "journal"
    court.work(library, journal, seed=seed, durability="commit", rounds=0)
    frames = [frame.kind for frame in frames_of(journal)]
    cuts = range(frames.index(ACKNOWLEDGED) + 1)
    cases = [Case(cut, Choice.drawn(rng)) for cut in cuts for _ in range(3)]
    cases += [Case(cut, Choice.drawn(rng)) for cut in range(1, 4) for _ in range(15)]
    assert frames.index(ENTERED) < frames.index(ACKNOWLEDGED), "the name of the file was not synced"
    assert SYNCED in frames[: frames.index(ACKNOWLEDGED)]
    judges.judge(journal, sorted(cases), durability="commit", seed=seed).check()


def found(library: Path, judges: Court, directory: Path, rng: random.Random, plant: Plant) -> court.Outcome:
    """What the judges find of a planted bug; a workload in which it did not happen between two cuts is done again."""
    for _ in range(_TRIES):
        seed = rng.randrange(2**32)
        journal = worked(library, directory, seed, plant=plant)
        cases = court.draw_cases(journal, 400, seed)
        rng.shuffle(cases)
        outcome = judges.judge(journal, cases, durability="commit", seed=seed, is_one_finding_enough=True)
        if outcome.findings:
            break
    return outcome


_COPY = """
import sys
import eventlog
with eventlog.open(sys.argv[1]) as log:
    log.topic("orders").append_many([b"tea"] * 10_000)
    log.compact(sys.argv[2])
"""


def test_a_copy_is_on_the_disk_when_compact_returns(library: Path, tmp_path: Path) -> None:
    """So the log may be deleted then, and the copy put in its place."""
    destination, journal = tmp_path / "copy", tmp_path / "journal"
    watching = {"EVENTLOG_JOURNAL": str(journal), "EVENTLOG_JOURNAL_OF": str(destination / "data.mdb.partial")}
    command = [sys.executable, "-c", _COPY, str(tmp_path / "log"), str(destination)]
    subprocess.run(command, env=preload.environment_with(library) | watching, check=True)
    disk = Disk()
    for frame in frames_of(journal):
        disk.play(frame)
    assert disk.is_entered
    assert bytes(disk.durable[: disk.durable_bytes]) == (destination / "data.mdb").read_bytes()


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        ("early", "is not there|stands at|it is at|it is None|it has"),
        ("unsynced", "raises|died|shows commit|its rows"),
        ("deaf", "raises|died|shows commit|its rows"),
        ("loose", "shows commit"),
        ("halves", r"call \d+ of writer \d+: \d+ records of \d+|count=\d+\) comes after"),
    ],
)
def test_a_planted_bug_is_found(
    library: Path, judges: Court, tmp_path: Path, rng: random.Random, plant: Plant, words: str
) -> None:
    """Acknowledged early; no sync, one that does nothing, none of the root; a transaction in two commits."""
    outcome = found(library, judges, tmp_path, rng, plant)
    with pytest.raises(AssertionError, match=words) as failure:
        outcome.check()
    assert f"seed {outcome.seed}" in str(failure.value)
    kept = re.search(r"the image is kept in (.*)", str(failure.value))
    assert kept is not None
    assert (Path(kept[1]) / "data.mdb").exists()


def test_a_finding_is_repeated_by_the_command_that_it_prints(
    library: Path, judges: Court, tmp_path: Path, rng: random.Random
) -> None:
    """The journal is kept, and the place of the cut and the choice of the disk say the rest."""
    outcome = found(library, judges, tmp_path, rng, "halves")
    with pytest.raises(AssertionError) as failure:
        outcome.check()
    again = re.search(r"again: python (.*)", str(failure.value))
    assert again is not None
    said = subprocess.run([sys.executable, *again[1].split()], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == outcome.findings[0].problems


def test_work_goes_on_after_a_power_cut_and_is_cut_again(
    library: Path, judges: Court, tmp_path: Path, rng: random.Random
) -> None:
    """A trial in small: the second generation of processes begins with an image that the first has left."""
    seed = rng.randrange(2**32)
    counts = cut_power(judges, tmp_path, seed=seed, durability="ordered", images=20, rounds=6)
    assert counts["images"] == 40
    assert counts["journals"] == 2


def test_an_image_that_kills_who_opens_it_is_a_finding(judges: Court, tmp_path: Path) -> None:
    """The judge of an image whose pages are missing dies, and another goes on with the next image."""
    with eventlog.open(tmp_path / "log") as log:
        log.topic("orders").append_many([b"x" * 1000] * 100)
    journal = tmp_path / "journal"
    court.begin_with(journal, (tmp_path / "log" / "data.mdb").read_bytes()[:16_384], [])
    nothing = Choice("none", "natural", 0)
    outcome = judges.judge(journal, [Case(1, nothing), Case(0, nothing)], durability="commit", seed=0)
    assert outcome.counts["images"] == 2
    assert [finding.case.cut for finding in outcome.findings] == [1]
    with pytest.raises(AssertionError, match="died with status -"):
        outcome.check()


def long_run(judges: Court, directory: Path, seed: int, durability: Durability, images: int) -> Counter[str]:
    """Trials until there are so many images."""
    counts: Counter[str] = Counter()
    while counts["images"] < images:
        place = directory / str(seed)
        place.mkdir()
        counts += cut_power(judges, place, seed=seed, durability=durability, images=150)
        shutil.rmtree(place)
        seed += 1
    return counts


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("durability", "images"), [("commit", 5_000), ("ordered", 2_000)])
def test_thousands_of_power_cuts(
    library: Path,
    judges: Court,
    tmp_path: Path,
    rng: random.Random,
    capsys: pytest.CaptureFixture[str],
    durability: Durability,
    images: int,
) -> None:
    """The same for many seeds, for work that goes on after a power cut, and for several processes."""
    seed = rng.randrange(2**31)
    counts = long_run(judges, tmp_path, seed, durability, images)
    with capsys.disabled():
        print(f"\n{durability}, from seed {seed}:", ", ".join(f"{count:,} {name}" for name, count in counts.items()))
    assert counts["images"] >= images
    assert bool(counts["images without the last commit"]) == (durability == "ordered")
