"""
What must be true when a call has failed.

A story (`story.py`) is run once without a fault, which tells what the log looks like after each step. Then it is run
with one, and judged:

* the step raises one of our errors, whose message says what is stored and what to do, or nothing was wrong;
* reading goes on, and shows the log as it was before the step or as it would be after it, and nothing between;
* where a write failed, every further write is refused until the log is opened again, but not for want of room;
* after that all that was acknowledged is there, the log is sound, and is written as if nothing had been;
* each delivery is stored or failed, and none is silent; no file stays open.

Knows nothing of processes: a worker calls it.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import attrs

import eventlog
from tests.faults import plans
from tests.faults.plans import Plan
from tests.faults.story import PROBE, Picture, Story, picture, steps_of
from tests.faults.witness import Reader, Witness, digest

DATA = "data.mdb"
NO_ROOM = ("ENOSPC", "EDQUOT", "EFBIG")
"""The errors of calls that mean a full disk, or one that this user may not fill further."""
FULL = ("DiskFull", "DeliveryError")
"""What a full disk raises: the second is what a producer says, and has the first as its cause."""
DELETIONS = ("delete_records", "delete_state", "remake_topic")
"""The steps that delete, for which there is a reserve of room."""
_STATES = (
    r"Nothing",
    "unchanged",
    "left as",
    "not stored",
    r"was not (taken|acknowledged)",
    r"is (still )?(there|stored)",
)
_STATE_OF_THINGS = re.compile("|".join(_STATES))
_ADVICES = (
    *("Close", "Open", "Make room", "Let this", "Use", "Choose", "try again", "open it again", "poll again", "Call"),
    *("close some", "use a local disk", "Mend", "raise the limit"),
)
_ADVICE = re.compile(rf"\b({'|'.join(_ADVICES)})\b")


@attrs.define
class Verdict:
    """The outcome of one run: the step that failed and its error, if any, and the complaints."""

    step: str = ""
    error: str = ""
    message: str = ""
    failed_call: str = ""
    failed_count: int = 0
    problems: list[str] = attrs.Factory(list)


def calls_of(directory: Path, seed: int, suffix: str = "", *, durability: str = "commit") -> dict[str, int]:
    """How many calls of each kind a run without a fault makes."""
    directory.mkdir()
    story = Story(directory / "log", seed, durability=durability)
    with plans.armed(Plan("pwrite", suffix=suffix), directory):
        for name in steps_of(seed):
            story.step(name)
    counts = plans.counts()
    shutil.rmtree(directory)
    return counts


def clean_run(directory: Path, seed: int, *, durability: str = "commit") -> list[Picture]:
    """Runs a story in which nothing fails: what the log shows before and after each step."""
    directory.mkdir()
    path = directory / "log"
    story = Story(path, seed, durability=durability)
    pictures: list[Picture] = [{"topics": {}, "order": [], "offsets": {}, "states": {}, "projections": {}}]
    for name in steps_of(seed):
        story.step(name)
        if name != "close":
            assert story.log is not None
            pictures.append(picture(story.log))
    with eventlog.open(path) as log:
        pictures.append(picture(log))
    for delivery, topic, value in story.deliveries:
        meta = delivery.result(timeout=0.0)
        story.acknowledged.append((topic, meta.partition, meta.offset, value))
    assert story.acknowledged
    assert _missing(story, pictures[-1]) == []
    shutil.rmtree(directory)
    return pictures


class Fault(Protocol):
    """A fault of a run."""

    def begin(self) -> None:
        """Lets it go wrong from now on."""

    def end(self) -> None:
        """Lets all go well again; may be called twice."""

    def has_failed(self) -> bool:
        """Whether it is known that something failed by now."""

    def judge(self, trial: Trial) -> None:
        """Notes what failed, whether a write did, and complains if the wrong error was raised."""


def trial_of(
    fault: Fault,
    pictures: list[Picture],
    directory: Path,
    seed: int,
    *,
    durability: str = "commit",
    witness: Witness | None = None,
) -> Verdict:
    """Runs a story in which something fails; the directory is removed unless something is wrong."""
    directory.mkdir()
    descriptors = _open_descriptors()
    trial = Trial(fault, pictures, Story(directory / "log", seed, durability=durability), seed, Verdict(), witness)
    fault.begin()
    try:
        trial.run()
        fault.judge(trial)
        trial.look_at_what_is_left()
    finally:
        fault.end()
    trial.open_again()
    trial.dismiss_witness()
    if left := _open_descriptors() - descriptors:
        trial.complain(f"files are still open: {sorted(left)}")
    if not trial.verdict.problems:
        shutil.rmtree(directory)
    return trial.verdict


@attrs.frozen
class FailingCall:
    """A fault of one plan."""

    plan: Plan
    directory: Path

    def begin(self) -> None:
        """Arms the plan."""
        plans.arm(self.plan, self.directory)

    def end(self) -> None:
        """Lets all calls pass."""
        plans.disarm()

    def has_failed(self) -> bool:
        """Whether a call has failed by now."""
        return plans.failed_count() > 0

    def judge(self, trial: Trial) -> None:
        """What failed is known; where it was a write to the log, that has to be told."""
        verdict = trial.verdict
        verdict.failed_count = plans.failed_count()
        kind, path = plans.first_failure()
        verdict.failed_call = f"{kind} {path}".strip()
        log = trial.story.log
        is_refusing = log is None or log.is_closed or log._store.environment.has_failed
        is_room_missing = self.plan.error in NO_ROOM
        is_tried_again = is_room_missing and not verdict.step and trial.failed_in in DELETIONS  # decision 0030
        is_refused = is_room_missing and verdict.error in FULL and not is_refusing  # only a root is not tried again
        trial.has_write_failed = kind in plans.DISK and path.endswith(f"/log/{DATA}")
        if trial.has_write_failed and (is_tried_again or is_refused):
            trial.has_write_failed = False
            return
        if kind in plans.SYNCS and not verdict.step:
            trial.complain(f"nothing was raised, though {kind} of {path} failed")
        if not trial.has_write_failed:
            return
        if not verdict.step:
            trial.complain(f"nothing was raised, though {kind} of {DATA} failed")
        is_told = verdict.error in FULL or self.plan.form == "short"
        if self.plan.error in NO_ROOM and not is_told:
            trial.complain(f"a full disk is a {verdict.error}")


@attrs.frozen
class Scarcity:
    """A fault of a system that has too little of something: what makes it scarce, and plentiful again."""

    make_scarce: Callable[[], object]
    make_plentiful: Callable[[], object]
    errors: tuple[str, ...]

    def begin(self) -> None:
        """Makes it scarce."""
        self.make_scarce()

    def end(self) -> None:
        """Makes it plentiful again."""
        self.make_plentiful()

    def has_failed(self) -> bool:
        """Whether a call has failed by now: nobody counts them."""
        return False

    def judge(self, trial: Trial) -> None:
        """Whether a write failed is what the log says of itself; the error has to name what is scarce."""
        verdict, log = trial.verdict, trial.story.log
        verdict.failed_count = int(bool(verdict.step))
        verdict.failed_call = "something"
        trial.has_write_failed = log is not None and log._store.environment.has_failed
        if verdict.step and verdict.error not in self.errors:
            trial.complain(f"{verdict.step}: {verdict.error}, not one of {self.errors}: {verdict.message}")


def _open_descriptors() -> set[str]:
    """The files that this process has open."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists them
            found.add(f"{link.name} {link.readlink()}")
    return {one for one in found if "/proc/" not in one}


def _missing(story: Story, found: Picture) -> list[str]:
    """What was acknowledged and is not there, unless it was deleted."""
    topics = found["topics"]
    missing = []
    for topic, partition, offset, value in story.acknowledged:
        stored = topics.get(topic)
        if stored is None or partition not in stored["bounds"]:
            missing.append(f"{topic}[{partition}]")
        elif offset >= stored["bounds"][partition][0]:
            values = {at: one for at, _, one in stored["records"][partition]}
            if values.get(offset) != value:
                missing.append(f"{topic}[{partition}] at {offset}: {value[:20]!r} is {values.get(offset, b'')[:20]!r}")
    return missing


@attrs.define
class Trial:
    """One run, while it is judged."""

    fault: Fault
    pictures: list[Picture]
    story: Story
    seed: int
    verdict: Verdict
    witness: Witness | None = None
    has_write_failed: bool = False
    failed_in: str = ""
    """The step that went on although something failed in it."""
    has_witness_opened: bool = False
    reader: Reader | None = None
    before: int = 0
    probe_count: int = 0

    def complain(self, problem: str) -> None:
        """Notes what is wrong."""
        self.verdict.problems.append(problem)

    @contextlib.contextmanager
    def _ours_alone(self, doing: str) -> Iterator[None]:
        """Complains about whatever is raised that is no error of ours."""
        try:
            yield
        except eventlog.EventLogError as error:
            self._check_message(doing, error)
        except BaseException as error:
            self.complain(f"{doing}: {type(error).__name__} is no error of ours: {error}")

    def _check_message(self, doing: str, error: BaseException) -> None:
        words = str(error)
        if isinstance(error, eventlog.DeliveryError) and not isinstance(error.__cause__, eventlog.StorageError):
            self.complain(f"{doing}: a DeliveryError of {error.__cause__!r}")
        if not _STATE_OF_THINGS.search(words):
            self.complain(f"{doing}: {type(error).__name__} does not say what is stored: {words}")
        if not _ADVICE.search(words):
            self.complain(f"{doing}: {type(error).__name__} does not say what to do: {words}")

    def run(self) -> None:
        """Runs the story up to the step that fails."""
        for name in steps_of(self.seed):
            if name == "close":
                self._end_reader()
            try:
                self.story.step(name)
            except eventlog.EventLogError as error:
                self._note_error(name, error)
                if not isinstance(error, eventlog.StorageError | eventlog.DeliveryError):
                    self.complain(f"{name}: a disk that fails raises {type(error).__name__}: {error}")
                self._check_message(name, error)
                break
            except BaseException as error:
                self._note_error(name, error)
                self.complain(f"{name}: {type(error).__name__} is no error of ours: {error}")
                break
            self.before += 1
            if not self.failed_in and self.fault.has_failed():
                self.failed_in = name
            if name == "open":
                self._call_witness()
            if name.startswith("send") and name != "send_at_last":
                self._note_deliveries(name)

    def _call_witness(self) -> None:
        if self.witness is not None:
            self._witnessed("opening", self.witness.open(self.story.path))
            self.has_witness_opened = True
            assert self.story.log is not None
            self.reader = Reader(self.story.log)

    def _end_reader(self) -> None:
        if self.reader is not None:
            self.reader.end()
            for problem in self.reader.problems:
                self.complain(f"a thread that reads: {problem}")
            self.reader = None

    def _witnessed(self, doing: str, problem: str) -> None:
        if problem:
            self.complain(f"{doing} in another process: {problem}")

    def _ask_witness(self) -> None:
        """Another process sees the same, and goes on writing: its log has not failed."""
        if self.witness is None or not self.has_witness_opened:
            return
        if self.witness.look() not in map(digest, self._expected):
            self.complain("another process sees neither what was before nor after")
        if not self.verdict.step or self.has_write_failed:
            self._witnessed("appending", self.witness.append())
            self.probe_count += 1

    def dismiss_witness(self) -> None:
        """Has the other process look once more, and close the log."""
        if self.witness is None or not self.has_witness_opened:
            return
        if self.witness.look() not in map(digest, self._expected):
            self.complain("at the end another process sees neither what was before nor after")
        self._witnessed("closing", self.witness.close())

    @property
    def _expected(self) -> list[Picture]:
        """What the log may look like: as before the step that failed, or as after it."""
        return self.pictures[self.before : self.before + 2]

    def _note_error(self, name: str, error: BaseException) -> None:
        self.verdict.step, self.verdict.error, self.verdict.message = name, type(error).__name__, str(error)

    def _note_deliveries(self, doing: str) -> None:
        """What was flushed without an error is stored; complains about what is not."""
        for delivery, topic, value in self.story.deliveries:
            if not delivery.done() or delivery.exception() is not None:
                self.complain(f"{doing}: a flush was silent about {delivery!r}")
                continue
            meta = delivery.result()
            self.story.acknowledged.append((topic, meta.partition, meta.offset, value))
        self.story.deliveries.clear()

    def look_at_what_is_left(self) -> None:
        """Reads what is there while the log is open, tries to write, and closes it."""
        self._ask_witness()
        log = self.story.log
        if log is None:
            return
        if self.verdict.step and not log.is_closed:
            self._look(log)
            if self.has_write_failed:
                try:
                    self._check_refusals(log)
                except BaseException as error:
                    self.complain(f"looking for what to write: {type(error).__name__}: {error}")
            else:
                self.fault.end()
                self._probe(log)
        self._end_reader()
        with self._ours_alone("close"):
            log.close()
        for delivery, topic, value in self.story.deliveries:
            if not delivery.done():
                self.complain(f"after close() nothing is known of {delivery!r}")
            elif delivery.exception() is None:
                meta = delivery.result()
                self.story.acknowledged.append((topic, meta.partition, meta.offset, value))

    def _look(self, log: eventlog.EventLog) -> None:
        try:
            self._compare("reading on", picture(log))
        except BaseException as error:
            self.complain(f"reading on: {type(error).__name__}: {error}")

    def _compare(self, doing: str, found: Picture) -> None:
        expected = self._expected
        if found not in expected:
            self.complain(
                f"{doing}: what is there is neither what was before nor after: {_difference(found, expected)}"
            )
        if missing := _missing(self.story, found):
            self.complain(f"{doing}: {len(missing)} acknowledged records are missing: {missing[:3]}")

    def _check_refusals(self, log: eventlog.EventLog) -> None:
        """Tries to write in every way there is."""
        writes: dict[str, Callable[[], object]] = {
            "topic": lambda: log.topic("another"),
            "transaction": lambda: log.transact(lambda tx: tx.state("another", key=str, value=int)),
            "named producer": lambda: log.producer(name="another"),
        }
        writes["sync"] = log.sync
        if self.before > 1:
            orders = log.topic("orders")
            writes |= {
                "append": lambda: orders.append(b"refused", key="alice"),
                "append_many": lambda: orders.append_many([b"refused"] * 3, key="alice"),
                "send": lambda: log.producer().send(orders, b"refused", key="alice").result(timeout=20.0),
                "delete_records": lambda: orders.delete_records({0: orders.bounds()[0][1]}),
                "create_partitions": lambda: orders.create_partitions(10),
                "delete_topic": lambda: log.delete_topic("orders"),
                "join": lambda: log.consumer("orders", group="another").poll(timeout=0.0),
            }
        for name, write in writes.items():
            try:
                write()
            except eventlog.StorageError as error:
                if "open it again" not in str(error) and "try again" not in str(error):  # a member makes a file first
                    self.complain(f"{name} does not say that the log has to be opened again: {error}")
            except BaseException as error:
                self.complain(f"{name} of a log that failed: {type(error).__name__}: {error}")
            else:
                self.complain(f"{name} of a log that failed is taken")

    def _probe(self, log: eventlog.EventLog) -> None:
        """Writes, now that the call would pass; a log may want to be opened again first."""
        try:
            log.topic(PROBE).append(b"probe")
            self.probe_count += 1
        except eventlog.StorageError as error:
            if "open it again" not in str(error):
                self.complain(f"a log that does not write does not say what to do: {error}")
        except BaseException as error:
            self.complain(f"probe: {type(error).__name__}: {error}")

    def open_again(self) -> None:
        """Opens the log anew, now that all calls pass."""
        try:
            with eventlog.open(self.story.path) as log:
                self._check_opened(log)
            with eventlog.open(self.story.path) as log:
                if [record.value for record in log.topic(PROBE).read()] != [b"probe"] * self.probe_count:
                    self.complain("what was appended after opening again is not there")
        except BaseException as error:
            self.complain(f"opening again: {type(error).__name__}: {error}")

    def _check_opened(self, log: eventlog.EventLog) -> None:
        self._compare("opened again", picture(log))
        report = log.verify()
        if not report.is_sound:
            self.complain(f"opened again: the log is not sound: {report.problems[:3]}")
        probes = log.topic(PROBE)
        if (end := probes.bounds()[0][1]) != self.probe_count:
            self.complain(f"opened again: {end} of {self.probe_count} probes are stored")
        probes.append(b"probe")
        self.probe_count += 1
        with log.consumer("probe", group="after", auto_commit=False) as consumer:
            if len(consumer.poll(timeout=1.0)) != self.probe_count:
                self.complain("opened again: a new group does not get what is there")
            consumer.commit()
        with log.producer() as producer:
            producer.send(PROBE, b"probe").result(timeout=20.0)
            self.probe_count += 1
        if not log.verify().is_sound:
            self.complain("opened again and written to, the log is not sound")


def _difference(found: Picture, expected: list[Picture]) -> str:
    """The parts in which a picture is none of those that were expected, in few words."""
    lines = []
    for name, part in found.items():
        others = [picture[name] for picture in expected]
        if part not in others:
            lines.append(f"{name}: {str(part)[:300]}, expected {' or '.join(str(one)[:300] for one in others)}")
    return "; ".join(lines) or "a mixture of the two"
