"""
One trial: the workload of a seed, its power cut again and again; then the work goes on with one of the images.

Knows nothing of pytest, so that other programs can run it.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from tests.power import court
from tests.power.court import Court, Durability
from tests.power.images import Choice, image_of
from tests.power.judge import Trial

_ROUNDS = 30
_IMAGES = 100


def trial(seed: int, directory: Path) -> Counter[str]:
    """One trial; raises `AssertionError` with what was found and how to repeat it, else says what was done."""
    durability: Durability = "commit" if seed % 3 else "ordered"
    with Court() as judges:
        return cut_power(judges, directory, seed=seed, durability=durability, images=_IMAGES, rounds=_ROUNDS)


def cut_power(
    judges: Court, directory: Path, *, seed: int, durability: Durability, images: int, rounds: int = _ROUNDS
) -> Counter[str]:
    """Two generations of work, each with so many images; the second begins with an image of the first."""
    library = court.library_in(directory)
    chance = random.Random(f"power {seed}")
    first = directory / f"journal-{durability}-{seed}-0"
    processes = chance.choice((1, 1, 2))
    court.work(library, first, seed=seed, durability=durability, rounds=rounds, processes=processes)
    counts = judged(judges, first, seed=seed, durability=durability, images=images)
    second = first.with_name(f"journal-{durability}-{seed}-1")
    image = _go_on_with(first, second, durability, chance)
    court.work(
        library, second, seed=seed, durability=durability, rounds=rounds, processes=processes, generation=1, image=image
    )
    counts += judged(judges, second, seed=seed, durability=durability, images=images)
    first.unlink()
    second.unlink()
    return counts + Counter({"journals": 2})


def judged(judges: Court, journal: Path, *, seed: int, durability: Durability, images: int) -> Counter[str]:
    """Judges so many images of a journal; the journal is kept when one of them is wrong."""
    cases = court.draw_cases(journal, images, seed)
    return judges.judge(journal, cases, durability=durability, seed=seed).check()


def _go_on_with(journal: Path, following: Path, durability: Durability, chance: random.Random) -> bytes:
    """Begins another journal with an image of the later half of one; that image."""
    played = Trial(journal, durability)
    played.go_to(chance.randrange(len(played.frames) // 2, len(played.frames)))
    image = image_of(played.disk, Choice.drawn(chance))
    court.begin_with(following, image, [claim.data for claim in (*played.claims(), *played.intents())])
    return image
