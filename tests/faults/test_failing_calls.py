"""
The N-th call fails, for all N of a run: typed errors, true reads, no writes until reopened, nothing acknowledged lost.

The quick form takes every so many N, beginning with one that the seed of the run decides; the long form takes all.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.campaign import Campaign, Outcome, every
from tests.faults.plans import DISK, KINDS, OTHERS, Plan
from tests.faults.trial import trial

_ALL_OF_THE_DISK = "+".join(DISK)
_ERRORS = {
    **dict.fromkeys(DISK, ("EIO", "ENOSPC")),
    "open": ("EMFILE", "ENOSPC"),
    "mmap": ("ENOMEM",),
    "mkdir": ("ENOSPC", "EIO"),
    "mkfifo": ("ENOSPC",),
    "rename": ("ENOSPC", "EIO"),
    "flock": ("ENOLCK",),
    "lock": ("ENOLCK",),
    "utime": ("EIO",),
}


@pytest.fixture
def campaign(library: Path, tmp_path: Path) -> Iterator[Campaign]:
    """Runs of all steps, with one process for all plans."""
    with Campaign(library, tmp_path) as campaign:
        yield campaign
    shutil.rmtree(tmp_path, ignore_errors=True)


def _check(outcome: Outcome, *, least: int) -> None:
    print(dict(outcome.runs), dict(outcome.raised))
    outcome.check()
    assert outcome.runs["with a failed call"] >= least, f"the plans hardly fail any call: {outcome.runs}"


# --- quick ------------------------------------------------------------------------------------------------------


def test_a_disk_that_fails_a_call_loses_nothing(campaign: Campaign, rng: random.Random) -> None:
    """Every so many of all writes, syncs and truncations of a run fail with EIO, alone."""
    count = sum(campaign.counts()[kind] for kind in DISK)
    step = count // 14
    outcome = campaign.run(every(_ALL_OF_THE_DISK, count, step=step, first=rng.randrange(1, step + 1)))
    _check(outcome, least=13)


@pytest.mark.parametrize("form", ["short", "late"])
def test_a_full_disk_from_some_call_on_loses_nothing(campaign: Campaign, rng: random.Random, form: str) -> None:
    """From a call on, all writes, syncs and truncations fail with ENOSPC; the first does half of its work, or all."""
    count = sum(campaign.counts()[kind] for kind in DISK)
    step = count // 6
    options = {"error": "ENOSPC", "form": form, "persists": True}
    outcome = campaign.run(every(_ALL_OF_THE_DISK, count, step=step, first=rng.randrange(1, step + 1), **options))
    _check(outcome, least=5)


def test_others_see_the_same_and_go_on(library: Path, tmp_path: Path, rng: random.Random) -> None:
    """While calls fail in one thread, another reads on, and another process sees whole commits and writes on."""
    with Campaign(library, tmp_path, is_watched=True) as campaign:
        count = sum(campaign.counts()[kind] for kind in DISK)
        step = count // 6
        first = rng.randrange(1, step + 1)
        outcome = campaign.run(every(_ALL_OF_THE_DISK, count, step=step, first=first, form="late", persists=True))
    _check(outcome, least=3)  # readers keep pages from being used again, so that there are fewer writes


def test_what_the_system_does_not_give_harms_nothing(campaign: Campaign, rng: random.Random) -> None:
    """Calls for files, directories, maps and locks fail: no raw error, and all goes on afterwards."""
    counts = campaign.counts()
    chosen = [(kind, rng.randrange(1, counts[kind] + 1)) for kind in OTHERS for _ in range(2)]
    outcome = campaign.run(Plan(kind, nth, _ERRORS[kind][0]) for kind, nth in chosen)
    _check(outcome, least=len(OTHERS))


def test_a_run_makes_all_calls_but_one(campaign: Campaign) -> None:
    """LMDB writes with pwrite and writev, and never through its map."""
    counts = campaign.counts()
    assert {kind for kind in KINDS if counts[kind] == 0} == {"msync"}
    assert counts["fdatasync"] > 20
    assert counts["pwrite"] > 40


@pytest.mark.parametrize(
    ("bug", "call", "numbers", "words"),
    [
        ("goes on writing", "fdatasync", (6, 9), "of a log that failed is taken"),
        ("acknowledges what failed", "fdatasync", (6, 9), "acknowledged records are missing"),
        ("raises what the engine raises", "writev", (6, 9), "is no error of ours"),
        ("says nothing to do", "fdatasync", (6,), "does not say what to do"),
        ("stops reading", "pwrite", range(12, 20), "reading on"),
        ("flushes in silence", "fdatasync", range(10, 14), "a flush was silent"),
        ("stores columns in two commits", "fdatasync", range(6, 11), "neither what was before nor after"),
        ("leaves a file open", "fdatasync", (6,), "files are still open"),
    ],
)
def test_harness_finds_a_planted_bug(
    library: Path, tmp_path: Path, bug: str, call: str, numbers: range | tuple[int, ...], words: str
) -> None:
    """Each bug is found by failing a few calls, and for its own reason."""
    with Campaign(library, tmp_path, bug=bug) as campaign:
        outcome = campaign.run(Plan(call, number) for number in numbers)
    assert outcome.failures, f"{bug!r} was not found: {outcome}"
    assert any(words in failure for failure in outcome.failures), outcome.failures


# --- long -------------------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("persists", [False, True], ids=["alone", "from then on"])
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("form", ["before", "short", "late"])
@pytest.mark.parametrize("kind", ["pwrite", "writev", "write", "fdatasync", "fsync", "fallocate"])
def test_every_call_of_a_run_to_the_disk_fails(
    campaign: Campaign, kind: str, form: str, error: str, persists: bool
) -> None:
    """The N-th call of one kind fails, for all N."""
    count = campaign.counts()[kind]
    outcome = campaign.run(every(kind, count, error=error, form=form, persists=persists))
    _check(outcome, least=count - 2)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("is_watched", [False, True], ids=["alone", "with others"])
@pytest.mark.parametrize("durability", ["commit", "ordered"])
@pytest.mark.parametrize("form", ["before", "short", "late"])
def test_a_disk_dies_at_every_call_of_a_run(
    library: Path, tmp_path: Path, form: str, durability: str, is_watched: bool
) -> None:
    """From the N-th call on all of them fail, whatever their kind, for all N."""
    with Campaign(library, tmp_path, durability=durability, is_watched=is_watched) as campaign:
        count = sum(campaign.counts()[kind] for kind in DISK)
        outcome = campaign.run(every(_ALL_OF_THE_DISK, count, form=form, persists=True))
    _check(outcome, least=count // 2 if is_watched else count - 2)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("persists", [False, True], ids=["alone", "from then on"])
@pytest.mark.parametrize("kind", OTHERS)
def test_every_call_of_a_run_to_the_system_fails(campaign: Campaign, kind: str, persists: bool) -> None:
    """The N-th call for a file, a directory, a map or a lock fails, for all N."""
    count = campaign.counts()[kind]
    for error in _ERRORS[kind]:
        outcome = campaign.run(every(kind, count, error=error, persists=persists))
        _check(outcome, least=count // 2)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_stories_of_any_order_lose_nothing(library: Path, tmp_path: Path, rng: random.Random) -> None:
    """Random steps in a random order, with random calls failing at random places."""
    total = sum((trial(rng.randrange(2**32), tmp_path / str(number)) for number in range(10)), start=Counter())
    print(dict(total))
    assert total["with a failed call"] > 50
