"""
The cases of the harness of damage, by number: what is spoiled, and the judgement.

`python -m tests.fuzz.cases files 0 2000` judges the first two thousand damaged files and counts; `rows` does the same
for crafted rows. A case is the same whenever and wherever it runs: its number and the seed decide it. It prints each
wrong with the line that runs its case alone.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.fuzz.judge import Verdict, import_everything, judge, lost
from tests.fuzz.sample import Row, Sample, change_rows, make_sample, put_file
from tests.fuzz.spoiling import crafted_rows, damaged_file
from tests.fuzz.visits import Outcome, command_it, read_all_of_it, verify_it, write_to_it


class Cases:
    """The cases of one sample."""

    def __init__(self, directory: Path, seed: str) -> None:
        self._directory = directory
        self._seed = seed
        self.sample: Sample = make_sample(directory / "sample")
        import_everything()

    def judge(self, kind: str, number: int) -> tuple[str, Verdict]:
        """Judge a case: what it spoils, and what became of it."""
        return self.files(number) if kind == "files" else self.rows(number)

    def files(self, number: int) -> tuple[str, Verdict]:
        """Judge a damaged file; a third of them has the free pages and the commits of before."""
        rng = random.Random(f"{self._seed}:files:{number}")
        is_grown = rng.random() < 0.3
        kind, data = damaged_file(rng, self.sample.grown if is_grown else self.sample.compact)
        wanted = [self.sample.rows, *([self.sample.earlier_rows] if is_grown else [])]
        return kind, self._judged(rng, data, lambda found: lost(found, *wanted))

    def rows(self, number: int) -> tuple[str, Verdict]:
        """Judge a log with crafted rows, which a log is allowed to have or not."""
        rng = random.Random(f"{self._seed}:rows:{number}")
        changes = crafted_rows(rng, self.sample.rows)
        path = put_file(self._directory / "crafted", self.sample.compact)
        change_rows(path, changes)
        kind = " and ".join(sorted({table.decode() for table, _, _ in changes}))
        return kind, self._judged(rng, (path / "data.mdb").read_bytes(), _nothing_wanted)

    def _judged(self, rng: random.Random, data: bytes, allowed: Callable[[list[Row]], str | None]) -> Verdict:
        path = put_file(self._directory / "case" / "log", data)

        def of_a_copy(visit: Callable[[Path], Iterator[Outcome]]) -> Iterator[Outcome]:
            shutil.rmtree(self._directory / "case" / "visited", ignore_errors=True)
            for left in (self._directory / "case").glob("log-*"):
                shutil.rmtree(left)
            yield from visit(put_file(self._directory / "case" / "visited" / "log", data))

        visits = {"reading": read_all_of_it, "writing": write_to_it, "a command": partial(command_it, rng=rng)}
        return judge(
            path, {name: partial(of_a_copy, visit) for name, visit in visits.items()}, partial(verify_it, path), allowed
        )


def _nothing_wanted(_: list[Row]) -> None:
    """Whoever crafts rows may leave rows out."""


class Tally:
    """The counts of some cases."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.sound: Counter[str] = Counter()
        self.deaths: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.wrongs: list[str] = []

    def add(self, name: str, kind: str, verdict: Verdict) -> None:
        """Count one."""
        self.kinds[kind] += 1
        self.sound[{True: "sound", False: "damaged"}[bool(verdict.is_sound)]] += 1
        self.errors += verdict.errors
        for where, death in verdict.deaths.items():
            self.deaths[f"{where.split()[0]}: {death.signal}"] += 1
        self.wrongs += [f"{name} ({kind}): {wrong}" for wrong in verdict.wrongs]


def run(kind: str, numbers: range, *, seed: str, directory: Path, until: float = float("inf")) -> Tally:
    """Judge some cases, until it is time to stop."""
    cases, tally = Cases(directory, seed), Tally()
    for number in numbers:
        if time.monotonic() > until:
            break
        tally.add(f"{kind} {number}", *cases.judge(kind, number))
    return tally


def main(kind: str, first: str, count: str, seed: str = "eventlog", *_: str) -> int:
    """Judge cases from the command line; 1 if any is wrong."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=_memory()) as directory:
        numbers = range(int(first), int(first) + int(count))
        tally = run(kind, numbers, seed=seed, directory=Path(directory))
    for wrong in tally.wrongs:
        print(wrong)
    print(f"{sum(tally.kinds.values())} {kind} in {time.monotonic() - began:.0f} s: {dict(tally.sound)}")
    print(f"deaths: {dict(tally.deaths)}\noutcomes: {dict(tally.errors)}\n{len(tally.wrongs)} wrongs")
    return 1 if tally.wrongs else 0


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
