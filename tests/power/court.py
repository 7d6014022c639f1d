"""
The court: has a workload done, cuts its power again and again, and has every image judged.

Judges are processes of their own, because an image may kill who opens it. Knows nothing of what a log holds.
"""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

from tests import preload
from tests.power.images import Choice, image_of
from tests.power.journal import ACKNOWLEDGED, FILE, Disk, append_frame, frames_of
from tests.power.work import Plant, Work

Durability = Literal["commit", "ordered"]
_ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_name("journal.c")
_MEMORY = Path("/dev/shm")
_PREFIX = "eventlog-power-"
_SYNC_US = 100
_LONGEST_WORK_S = 60.0
_LONGEST_JUDGEMENT_S = 60.0
_MOST_FINDINGS = 5


class Case(NamedTuple):
    """One image to be judged."""

    cut: int
    choice: Choice


class Finding(NamedTuple):
    """One image with what is wrong with it."""

    case: Case
    problems: list[str]


class Outcome:
    """The findings of the judges about the images of one journal."""

    def __init__(self, journal: Path, durability: Durability, seed: int) -> None:
        self.journal = journal
        self.durability = durability
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self.findings: list[Finding] = []
        self._digests: set[str] = set()

    def add(self, case: Case, verdict: list[Any]) -> None:
        """Takes a judge's answer."""
        problems, claim_count, lost_commits, digest = verdict
        self.counts["images"] += 1
        self.counts["claims compared"] += claim_count
        self.counts["images without the last commit"] += lost_commits == 1
        if digest not in self._digests:
            self.counts["different images"] += 1
            self._digests.add(digest)
        if problems:
            self.findings.append(Finding(case, problems))

    def check(self) -> Counter[str]:
        """Raises `AssertionError` with the findings and how to repeat them; else what was done."""
        if not self.findings:
            return self.counts
        lines = [f"{len(self.findings)} of {self.counts['images']} images are wrong (seed {self.seed}):"]
        for place, (case, problems) in enumerate(self.findings[:_MOST_FINDINGS]):
            directory = self.journal.with_name(f"{self.journal.name}-image-{place}")
            _keep_image(self.journal, case, directory)
            lines += [f"  power cut before frame {case.cut}, {case.choice}; the image is kept in {directory}"]
            lines += [f"    {problem}" for problem in problems[:_MOST_FINDINGS]]
            again = f"{self.journal} {self.durability} {case.cut} {case.choice} {directory}"
            lines += [f"    again: python -m tests.power.judge {again}"]
        raise AssertionError("\n".join(lines))


def _keep_image(journal: Path, case: Case, directory: Path) -> None:
    disk = Disk()
    for frame in frames_of(journal)[: case.cut]:
        disk.play(frame)
    directory.mkdir(exist_ok=True)
    (directory / "data.mdb").write_bytes(image_of(disk, case.choice))


@contextmanager
def scratch() -> Iterator[Path]:
    """A place for logs that are made and thrown away by the thousand: in memory, where that is possible."""
    where = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where, prefix=_PREFIX) as directory:
        yield Path(directory)


def work(
    library: Path,
    journal: Path,
    *,
    seed: int,
    durability: Durability,
    rounds: int,
    plant: Plant = "",
    processes: int = 1,
    generation: int = 0,
    image: bytes = b"",
) -> None:
    """
    Has processes do the workload of a seed on one log, and writes the journal of it.

    The journal's model of the disk is compared with the file at the end, so that no write can be missed.

    Args:
        image: what the log holds at first; nothing means that there is none.
    """
    with scratch() as directory:
        data = directory / "log" / "data.mdb"
        if image:
            data.parent.mkdir()
            data.write_bytes(image)
        watching = {
            "EVENTLOG_JOURNAL": os.fspath(journal),
            "EVENTLOG_JOURNAL_OF": os.fspath(data),
            "EVENTLOG_JOURNAL_SYNC_US": str(_SYNC_US),
            "EVENTLOG_JOURNAL_PLANT": plant,
        }
        environment = preload.environment_with(library) | watching
        tasks = [
            Work(os.fspath(data.parent), os.fspath(journal), seed, number, durability, rounds, plant)
            for number in range(generation * processes, (generation + 1) * processes)
        ]
        running = [_started(task, environment) for task in tasks]
        try:
            for process in running:
                _, said = process.communicate(timeout=_LONGEST_WORK_S)
                assert process.returncode == 0, f"the workload failed (seed {seed}, {durability}):\n{said}"
        finally:
            for process in running:
                process.kill()
                process.communicate()
        disk = Disk()
        for frame in frames_of(journal):
            disk.play(frame)
        assert bytes(disk.seen[: disk.seen_bytes]) == data.read_bytes(), "the journal missed a write"


def _started(task: Work, environment: dict[str, str]) -> subprocess.Popen[str]:
    command = _command("work", json.dumps(task))
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=_ROOT, env=environment, stdin=subprocess.DEVNULL, stderr=pipe, text=True)


def begin_with(journal: Path, image: bytes, claims: Sequence[bytes]) -> None:
    """Begins a journal with a file that is there, and with what was claimed of it."""
    descriptor = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    append_frame(descriptor, FILE, image)
    for data in claims:
        append_frame(descriptor, ACKNOWLEDGED, data)
    os.close(descriptor)


def draw_cases(journal: Path, count: int, seed: int) -> list[Case]:
    """Places where the power goes, most of them where the disk has a choice, and how it chooses."""
    frames = frames_of(journal)
    begin = next(place for place, frame in enumerate(frames) if frame.kind not in (FILE, ACKNOWLEDGED))
    disk = Disk()
    open_cuts: list[int] = []
    closed_cuts: list[int] = []
    for cut, frame in enumerate(frames, start=1):
        disk.play(frame)
        if cut > begin:
            (open_cuts if disk.pending else closed_cuts).append(cut)
    chance = random.Random(seed)
    cuts = [chance.choice(open_cuts if chance.random() < 0.9 or not closed_cuts else closed_cuts) for _ in range(count)]
    return [Case(cut, Choice.drawn(chance)) for cut in sorted(cuts)]


class Court:
    """Holds judges, and gives each its share of the images. Closing it ends them."""

    def __init__(self, judges: int | None = None) -> None:
        self._count = judges or min(4, os.cpu_count() or 1)
        self._directory = Path(tempfile.mkdtemp(dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None, prefix=_PREFIX))
        self._judges = [_Judge(self._directory / str(number)) for number in range(self._count)]

    def judge(
        self,
        journal: Path,
        cases: Sequence[Case],
        *,
        durability: Durability,
        seed: int,
        is_one_finding_enough: bool = False,
    ) -> Outcome:
        """Has all images judged, or those up to the first that is wrong."""
        outcome = Outcome(journal, durability, seed)
        queue = deque(cases)
        busy: dict[_Judge, Case] = {}

        def hand_out(judge: _Judge) -> None:
            if queue and not (is_one_finding_enough and outcome.findings):
                busy[judge] = queue.popleft()
                judge.ask(journal, durability, busy[judge])

        for judge in self._judges:
            hand_out(judge)
        while busy:
            ready, _, _ = select.select(list(busy), [], [], _LONGEST_JUDGEMENT_S)
            for judge in ready or list(busy):
                case = busy.pop(judge)
                outcome.add(case, judge.answer() if ready else judge.end("it does not come to an end"))
                hand_out(judge)
        return outcome

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for judge in self._judges:
            judge.end("")
        shutil.rmtree(self._directory, ignore_errors=True)


class _Judge:
    """One judging process; it is started again when an image has killed it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory.mkdir()
            self._process = subprocess.Popen(
                _command("judge"),
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
            )
        return self._process

    def fileno(self) -> int:
        """Of the pipe that answers come from."""
        pipe = self._started().stdout
        assert pipe is not None
        return pipe.fileno()

    def ask(self, journal: Path, durability: Durability, case: Case) -> None:
        """Gives it an image to judge."""
        pipe = self._started().stdin
        assert pipe is not None
        request = [os.fspath(journal), durability, case.cut, str(case.choice), os.fspath(self._directory / "log")]
        pipe.write(json.dumps(request).encode() + b"\n")

    def answer(self) -> list[Any]:
        """What it says; that it died is an answer, too."""
        process = self._started()
        assert process.stdout is not None
        line = process.stdout.readline()
        if line.endswith(b"\n"):
            verdict: list[Any] = json.loads(line)
            return verdict
        return self.end("")

    def end(self, reason: str) -> list[Any]:
        """Kills it; an answer that says how it ended."""
        process, self._process = self._process, None
        if process is None:
            return []
        if reason:
            process.kill()
        process.communicate()
        return [[reason or f"who opened it died with status {process.returncode}"], 0, 0, ""]


def _command(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"tests.power.{module}", *arguments]


def library_in(directory: Path) -> Path:
    """The library that writes journals."""
    return preload.build(SOURCE, directory)
