"""
Runs stories in which calls fail, one plan after the other, in one process for all.

A worker that dies is a finding, and another takes its place. Knows nothing of what is right or wrong: `judge.py` does.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import attrs

from tests import preload
from tests.faults.plans import UNSYNCED, Plan

_ROOT = Path(__file__).resolve().parents[2]
_LONGEST_SECONDS = 60.0
_KNOWN_FILES = {"changes", "waiters", "members", "projections", "log", "log-copy"}


class WorkerDied(Exception):
    """Says that a worker ended, or stopped answering."""


class Worker:
    """A process that was started with the library that makes calls fail."""

    def __init__(self, library: Path, directory: Path, *, bug: str = "") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - a full pipe that nobody reads would stop the worker
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.worker", os.fspath(directory), bug],
            cwd=_ROOT,
            env=preload.environment_with(library) | UNSYNCED,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """The answer to one request."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], _LONGEST_SECONDS)[0]:
            self._process.send_signal(signal.SIGUSR1)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
            self._process.kill()
            raise WorkerDied(f"no answer in {_LONGEST_SECONDS} s; it stands here:\n{self._story()}")
        line = self._process.stdout.readline()
        if not line:
            self._process.wait(_LONGEST_SECONDS)
            raise WorkerDied(f"it ended with {self._process.returncode}:\n{self._story()}")
        answer: dict[str, Any] = json.loads(line)
        assert "broken" not in answer, answer["broken"]
        return answer

    def _story(self) -> str:
        errors = self._errors.fileno()
        return os.pread(errors, os.fstat(errors).st_size, 0).decode()

    def close(self) -> None:
        """Kills the process."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self._process.wait(_LONGEST_SECONDS)


@attrs.define
class Outcome:
    """The outcome of some plans: the runs, the errors raised and where, and the complaints."""

    runs: Counter[str] = attrs.Factory(Counter)
    raised: Counter[str] = attrs.Factory(Counter)
    failures: list[str] = attrs.Factory(list)

    def note(self, plan: Plan, verdict: dict[str, Any], options: dict[str, Any]) -> None:
        """Counts one run."""
        self.runs["runs"] += 1
        if verdict["failed_count"]:
            kind, _, path = verdict["failed_call"].partition(" ")
            self.runs["with a failed call"] += 1
            self.raised[f"{kind} {_subject(Path(path))}: {verdict['error'] or 'nothing raised'}"] += 1
        if verdict["problems"]:
            where = f"at {verdict['step'] or 'no step'}, {verdict['failed_call']}"
            self.failures.append("\n  ".join([f"{plan!r}, {options}, {where}", *verdict["problems"]]))

    def check(self) -> None:
        """Raises `AssertionError` if anything was wrong, with the first ten findings."""
        assert not self.failures, f"{len(self.failures)} runs went wrong:\n" + "\n\n".join(self.failures[:10])


def _subject(path: Path) -> str:
    """What a file is for: its name, or the directory that it is in, as some names are random."""
    return path.name if path.suffix == ".mdb" or path.name in _KNOWN_FILES else f"{path.parent.name}/"


class Campaign:
    """
    Tries plans, one after the other; watched, another thread and another process use each log meanwhile.

    A context manager: leaving it ends the worker.
    """

    def __init__(
        self,
        library: Path,
        directory: Path,
        *,
        seed: int = 0,
        durability: str = "commit",
        is_watched: bool = False,
        bug: str = "",
    ) -> None:
        self._library = library
        self._directory = directory
        self._options = {"seed": seed, "durability": durability, "is_watched": is_watched}
        self._bug = bug
        self._number = 0
        self._worker: Worker | None = None

    def counts(self, suffix: str = "") -> dict[str, int]:
        """How many calls of each kind a run without a fault makes."""
        return self._living().ask(do="count", suffix=suffix, **self._options)

    def run(self, plans: Iterable[Plan]) -> Outcome:
        """Tries all of them."""
        outcome = Outcome()
        for plan in plans:
            outcome.note(plan, self._tried(plan), self._options)
        return outcome

    def _tried(self, plan: Plan) -> dict[str, Any]:
        try:
            return self._living().ask(do="fail", plan=list(plan), **self._options)
        except WorkerDied as error:
            self.close()
            return {"problems": [str(error)], "step": "", "error": "", "failed_count": 1, "failed_call": "unknown"}

    def _living(self) -> Worker:
        if self._worker is None:
            self._number += 1
            self._worker = Worker(self._library, self._directory / str(self._number), bug=self._bug)
        return self._worker

    def close(self) -> None:
        """Ends the worker."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def every(call: str, count: int, *, step: int = 1, first: int = 1, **options: Any) -> Iterator[Plan]:
    """A plan for each N, or for each `step`-th of them."""
    return (Plan(call, number, **options) for number in range(first, count + 1, step))
