"""
One trial for a long soak: a story of random steps, in which calls fail at random.

Knows nothing of how the soak is run.
"""

from __future__ import annotations

import errno
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests import preload
from tests.faults.campaign import Campaign
from tests.faults.plans import DISK, OTHERS, SOURCE, Plan

_LONGEST_SECONDS = 10.0
_MOST_RUNS = 30
_ERRORS = ["EIO", "ENOSPC", "EDQUOT", "EFBIG", "EROFS"]
_OTHER_ERRORS = ["EMFILE", "ENFILE", "ENOMEM", "ENOSPC", "EIO", "ENOLCK"]


def trial(seed: int, directory: Path) -> Counter[str]:
    """
    One trial, at most about 20 s; raises `AssertionError` with what was found and how to repeat it.

    Returns what it did: runs, and those in which a call failed.
    """
    chance = random.Random(seed)
    directory.mkdir(parents=True, exist_ok=True)
    library = preload.build(SOURCE, directory)
    story, durability = chance.randrange(1, 2**32), chance.choice(["commit", "commit", "ordered"])
    end_s = time.monotonic() + _LONGEST_SECONDS
    is_watched = chance.random() < 0.3
    options: dict[str, Any] = {"seed": story, "durability": durability, "is_watched": is_watched}
    with Campaign(library, directory / "logs", **options) as campaign:
        counts = campaign.counts()
        done: Counter[str] = Counter()
        for _ in range(_MOST_RUNS):
            outcome = campaign.run([_plan(chance, counts)])
            assert not outcome.failures, f"trial({seed}) found:\n{outcome.failures[0]}"
            done += outcome.runs
            if time.monotonic() > end_s:
                break
    return done


def _plan(chance: random.Random, counts: dict[str, int]) -> Plan:
    """Some call of some kinds, in some form."""
    kinds, errors = [kind for kind in DISK if counts[kind]], _ERRORS
    if chance.random() < 0.3:
        kinds, errors = [chance.choice([kind for kind in OTHERS if counts[kind]])], _OTHER_ERRORS
    chosen = chance.sample(kinds, chance.randrange(1, len(kinds) + 1))
    count = sum(counts[kind] for kind in chosen)
    error = chance.choice(errors)
    assert hasattr(errno, error)
    form = chance.choice(["before", "short", "late"])
    return Plan("+".join(chosen), chance.randrange(1, count + 1), error, form, persists=chance.random() < 0.5)
