"""
The one command: `python -m tests.soak --minutes 10`, or `make soak MINUTES=10`.

Runs the harnesses in turn, each trial with a seed that follows from the seed of the run, says on the way what was
done, and sums up at the end. The first finding ends it, unless `--keep-going` is given; what the trial left on the disk
is kept, and the command that repeats it is printed. Ctrl-C ends it early, with the sums so far.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import attrs

from tests.soak.harnesses import HARNESSES, Command

_LONGEST_TRIAL_S = 300.0
_PASSED = re.compile(r"(\d+) passed")


class Outcome(NamedTuple):
    """What came of one trial."""

    counts: Counter[str]
    is_right: bool
    output: str


@attrs.define
class Soak:
    """One run: whose turn it is, and what was done so far."""

    seed: int
    names: Sequence[str]
    directory: Path
    is_going_on: bool
    sums: dict[str, Counter[str]] = attrs.Factory(dict)
    findings: list[str] = attrs.Factory(list)

    def run(self, *, seconds: float, most_trials: int | None) -> None:
        """Until the time is over, all trials are done, or there is a finding."""
        started = time.monotonic()
        number = 0
        while number != most_trials:
            for name in self.names:
                spent_s = time.monotonic() - started
                if (spent_s >= seconds and number) or (self.findings and not self.is_going_on):
                    return
                self._try(name, number, spent_s)
            number += 1

    def _try(self, name: str, number: int, spent_s: float) -> None:
        seed = random.Random(f"{self.seed}:{name}:{number}").randrange(2**32)
        place = self.directory / f"{name}-{number}"
        command = HARNESSES[name].command(seed, place)
        print(f"{spent_s:6.0f} s  {name:<10} seed {seed:<10} ", end="", flush=True)
        outcome = run_trial(command)
        did = self.sums.setdefault(name, Counter())
        did["trials"] += 1
        did.update(outcome.counts)
        if outcome.is_right:
            shutil.rmtree(place, ignore_errors=True)
            print(_shown(outcome.counts), flush=True)
            return
        self.findings.append(name)
        print(f"FOUND SOMETHING\n{outcome.output}\nleft on the disk: {place}\nagain: {command.again}", flush=True)

    def summary(self) -> str:
        """What was done, a line each."""
        lines = [f"{name:<10} {_shown(counts)}" for name, counts in self.sums.items()]
        verdict = f"{len(self.findings)} findings: {', '.join(self.findings)}" if self.findings else "no finding"
        return "\n".join([*lines, f"{sum(one['trials'] for one in self.sums.values())} trials, {verdict}"])


def run_trial(command: Command) -> Outcome:
    """Starts it and waits; one that hangs is a finding, with the stacks that it printed."""
    with subprocess.Popen(
        command.arguments,
        env=command.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as child:
        try:
            output, _ = child.communicate(timeout=_LONGEST_TRIAL_S)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGABRT)  # faulthandler prints the stacks
            output = f"{child.communicate()[0]}\nnot done after {_LONGEST_TRIAL_S:.0f} s"
            return Outcome(Counter(), is_right=False, output=output)
        finally:
            _kill_all(child.pid)
    return Outcome(_counts(output), is_right=child.returncode == 0, output=output)


def _kill_all(group: int) -> None:
    """Nothing that a trial started outlives it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _counts(output: str) -> Counter[str]:
    """Those of the last line: JSON of a trial, or the last words of pytest."""
    last = (output.strip().splitlines() or [""])[-1]
    if last.startswith("{"):
        return Counter(json.loads(last))
    passed = _PASSED.search(last)
    return Counter({"tests": int(passed[1])}) if passed else Counter()


def _shown(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; 1 when something was found, 130 after Ctrl-C, else 0."""
    options = _parse(arguments)
    directory = Path(tempfile.mkdtemp(prefix="eventlog-soak-", dir=options.directory))
    soak = Soak(options.seed, options.only, directory, options.keep_going)
    limit = f"{options.trials} trials each" if options.trials else f"{options.minutes:g} minutes"
    print(f"seed {options.seed}, {limit}, in {directory}")
    is_interrupted = False
    try:
        soak.run(seconds=float("inf") if options.trials else options.minutes * 60.0, most_trials=options.trials)
    except KeyboardInterrupt:
        is_interrupted = True
        print("stopped by Ctrl-C")
    print(f"\n{soak.summary()}")
    if not soak.findings:
        shutil.rmtree(directory, ignore_errors=True)
    return 1 if soak.findings else 130 if is_interrupted else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    known = "\n".join(f"  {name:<10} {harness.says}" for name, harness in HARNESSES.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description="Runs the proof again and again, each time with other seeds.",
        epilog=f"harnesses:\n{known}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--minutes", type=float, default=10.0, metavar="N", help="how long; what has begun is finished (default 10)")
    add("--trials", type=int, metavar="N", help="N trials of each harness instead, however long they take")
    add("--seed", type=int, default=random.SystemRandom().randrange(2**32), metavar="N", help="repeats a run's trials")
    add("--only", nargs="+", choices=HARNESSES, default=list(HARNESSES), metavar="NAME", help="these harnesses alone")
    add("--keep-going", action="store_true", help="goes on after a finding")
    add("--directory", type=Path, help="where the logs go (default: the system's temporary directory)")
    options = parser.parse_args(arguments)
    if options.minutes <= 0 or (options.trials is not None and options.trials < 1):
        parser.error("--minutes and --trials must be above zero")
    return options


if __name__ == "__main__":
    sys.exit(main())
