"""One run of workers under kills and pauses, and what is wrong with its history."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from eventlog.options import Durability
from tests.history.checker import violations
from tests.history.lists import Violation
from tests.history.nemesis import Harm, Nemesis
from tests.history.operations import FAILED, OK, UNKNOWN, Operation

_SECONDS = 6.0
_SHOWN = 8


def trial(seed: int, directory: Path) -> Counter[str]:
    """One trial of about 10 s; raises AssertionError with what was found and how to repeat it."""
    return run(seed, directory, seconds=_SECONDS)


def run(seed: int, directory: Path, *, seconds: float, harm: Harm | None = None, most: int = 4) -> Counter[str]:
    """Lets workers work for so long, checks what they wrote down, and says how much that was."""
    durability: Durability = "ordered" if seed % 4 == 3 else "commit"
    with Nemesis(directory, str(seed), durability=durability) as nemesis:
        nemesis.disturb(seconds, harm or Harm(most=most))
        history = nemesis.history()
    began_s = time.monotonic()
    found = violations(history)
    counts = nemesis.counts + summary(history)
    counts["milliseconds of checking"] = round((time.monotonic() - began_s) * 1000)
    if found:
        raise AssertionError(
            f"{story(found)}\nthe history is in {nemesis.folder}; repeat it with seed {seed}\n{counts}"
        )
    return counts


def summary(history: list[Operation]) -> Counter[str]:
    """How many operations there were, of what outcome."""
    outcomes = Counter(one.outcome for one in history)
    return Counter(
        {
            "operations": len(history),
            "acknowledged": outcomes[OK],
            "refused": outcomes[FAILED],
            "unknown": outcomes[UNKNOWN],
            "forks": len({one.name.rpartition(".")[0] for one in history if "-fork" in one.name}),
            "attempts refused": sum(len(one.refused) for one in history),
        }
    )


def story(found: list[Violation]) -> str:
    """How often each rule was broken, and the first of each with the operations concerned."""
    rules = Counter(violation.rule for violation in found)
    firsts = {violation.rule: violation for violation in reversed(found)}
    rest = [violation for violation in found if firsts[violation.rule] is not violation]
    shown = [*sorted(firsts.values(), key=lambda one: len(one.operations)), *rest][:_SHOWN]
    return "\n".join([str(dict(rules)), *map(str, shown)])
