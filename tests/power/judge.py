"""
The judge: rebuilds an image from a journal, opens it, and says what is wrong with it.

`python -m tests.power.judge JOURNAL DURABILITY CUT CHOICE DIRECTORY` judges one image and leaves it in the directory:
that repeats a finding. Without arguments it is a worker of `court.py`: a process that may be killed by an image, which
is a finding too.

The engine counts its commits, and writes the number of each to the root of the file: so we know of every image which
commit it shows, and compare all of its rows with those of the file as it was right after that commit.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import lmdb
import lmdb.verify

import eventlog
from tests.power.actors import CROWD, PLAIN, PLAIN_PARTITIONS
from tests.power.checks import problems_of
from tests.power.claims import INTENTS, MARKS, Claim, telling
from tests.power.images import Choice, image_of
from tests.power.journal import ACKNOWLEDGED, FILE, WRITE, WRITTEN, Disk, Frame, frames_of

_ROOT_PLACES, _ROOT_BYTES = (32, 4128), 120
"""Where the engine writes its root at a commit, and how many bytes; the number of the commit is the last of them."""
_NUMBER = struct.Struct("=Q")
_ENGINE = 0
_COMMITS_KEPT = 4
_SECOND_OPINIONS = 8
"""One image in so many is checked by the engine's own verification, and opened beside files that another one left."""
_LOCK_BYTES = 131_200
_TAKEN_OVER = 4
"""In one image of so many a group is taken over from the members that died."""


class Verdict(NamedTuple):
    """The findings about one image."""

    problems: list[str]
    claim_count: int
    lost_commits: int
    digest: str


class Trial:
    """
    One journal, played up to a cut.

    `cut` is the number of frames that were played: the power goes before the next one.
    """

    def __init__(self, journal: Path, durability: str) -> None:
        self.frames = frames_of(journal)
        self.durability = durability
        self._claims = [
            (place, Claim.parse(frame.data)) for place, frame in enumerate(self.frames) if frame.kind == ACKNOWLEDGED
        ]
        self._rewind()

    def _rewind(self) -> None:
        self.cut = 0
        self.disk = Disk()
        self.begun = self.ended = 0
        self._root_at = 0
        self._numbers: dict[int, int] = {}
        self._commits: dict[int, bytes] = {}
        self._digests: dict[int, str] = {}

    def go_to(self, cut: int) -> None:
        """Plays the journal up to a cut."""
        if cut < self.cut:
            self._rewind()
        while self.cut < cut:
            frame = self.frames[self.cut]
            self.disk.play(frame)
            self._note_commit(frame)
            self.cut += 1

    def _note_commit(self, frame: Frame) -> None:
        if frame.kind == FILE:
            self.begun = self.ended = _newest_commit(frame.data)
            self._commits[self.begun] = frame.data
        elif frame.kind == WRITE and len(frame.data) == _ROOT_BYTES and frame.place in _ROOT_PLACES:
            [self.begun] = _NUMBER.unpack_from(frame.data, _ROOT_BYTES - _NUMBER.size)
            self._numbers[frame.number] = self.cut
            self._commits[self.begun] = bytes(self.disk.seen)
            for old in [number for number in self._commits if number <= self.begun - _COMMITS_KEPT]:
                del self._commits[old]
        elif frame.kind == WRITTEN and frame.number in self._numbers:
            self._root_at = self._numbers.pop(frame.number)
            self.ended = self.begun

    def least_commit(self) -> int:
        """The oldest commit that an image may show."""
        return self.ended if self.durability == "commit" else max(self.ended - 1, 0)

    def claims(self) -> list[Claim]:
        """
        What an image must have.

        With "ordered" that is what was claimed before the root of the last commit was written, and what was claimed
        before a call of `sync()` that has returned.
        """
        end = self.cut if self.durability == "commit" else max(self._root_at, self._synced_up_to())
        return [claim for place, claim in self._claims if place < end and claim.kind not in INTENTS | MARKS]

    def intents(self) -> list[Claim]:
        """The deletions that were begun."""
        return [claim for place, claim in self._claims if place < self.cut and claim.kind in INTENTS]

    def _synced_up_to(self) -> int:
        begun: dict[int, int] = {}
        end = 0
        for place, claim in self._claims:
            if place >= self.cut:
                break
            if claim.kind == "syncing":
                begun[claim.fields[0]] = place
            elif claim.kind == "sync":
                end = max(end, begun[claim.fields[0]])
        return end

    def digest_of(self, commit: int, scratch: Path) -> str | None:
        """The digest of all rows as they were right after a commit; None when that is too long ago."""
        if commit not in self._digests and commit in self._commits:
            _make(scratch, self._commits[commit])
            self._digests[commit] = _digest(scratch)[1]
        return self._digests.get(commit)


def judge(trial: Trial, choice: Choice, directory: Path) -> Verdict:
    """What is wrong with one image of the trial's cut."""
    image = image_of(trial.disk, choice)
    chance = random.Random(str(choice))
    has_second_opinion = chance.randrange(_SECOND_OPINIONS) == 0
    if not has_second_opinion:
        shutil.rmtree(directory, ignore_errors=True)
    _make(directory, image)
    problems: list[str] = []
    shown = 0
    if trial.least_commit() > 0:
        shown, digest = _digest(directory)
        problems += _check_commit(trial, shown, digest, directory.with_name(directory.name + "-before"))
        if has_second_opinion:
            problems += _engines_opinion(directory)
    if has_second_opinion:
        (directory / "lock.mdb").write_bytes(chance.randbytes(_LOCK_BYTES))
    claims = trial.claims()
    problems += _open_and_check(directory, trial, claims, is_taken_over=chance.randrange(_TAKEN_OVER) == 0)
    if has_second_opinion:
        problems += [f"after more work: {line}" for line in _engines_opinion(directory)]
    lost = trial.ended - shown if 0 < shown < trial.ended else 0
    return Verdict(problems, len(claims), lost, hashlib.blake2b(image, digest_size=8).hexdigest())


def _engines_opinion(directory: Path) -> list[str]:
    verify: Any = lmdb.verify.verify
    try:
        return [f"lmdb verify: {line}" for line in verify(str(directory))]
    except lmdb.verify.VerifyError as error:
        return [f"lmdb verify: {error}"]


def _make(directory: Path, image: bytes) -> Path:
    directory.mkdir(exist_ok=True)
    shutil.rmtree(directory / "waiters", ignore_errors=True)  # it shows that a log was whole once
    data = directory / "data.mdb"
    data.write_bytes(image)
    return data


def _check_commit(trial: Trial, shown: int, digest: str, scratch: Path) -> Iterable[str]:
    least = trial.least_commit()
    if not least <= shown <= trial.begun:
        yield f"it shows commit {shown}; {trial.ended} were done and {trial.begun} begun, so {least} at least"
    expected = trial.digest_of(shown, scratch)
    if expected is not None and expected != digest:
        yield f"its rows are not those of commit {shown}, which it shows"


def _digest(directory: Path) -> tuple[int, str]:
    """The number of the newest commit of a file, and a digest of all rows of all tables."""
    total = hashlib.blake2b(digest_size=16)
    options: dict[str, Any] = {"readonly": True, "lock": False, "max_dbs": 64, "lib_version": _ENGINE}
    with lmdb.open(str(directory), **options) as environment:
        with environment.begin() as transaction:
            names = list(transaction.cursor().iternext(values=False))
        tables = [(name, environment.open_db(name, create=False)) for name in names]
        with environment.begin(buffers=True) as transaction:
            for name, table in tables:
                total.update(b"table %d " % len(name) + name)
                for key, value in transaction.cursor(db=table):
                    total.update(b"row %d %d " % (len(key), len(value)))
                    total.update(key)
                    total.update(value)
        return environment.info()["last_txnid"], total.hexdigest()


def _newest_commit(data: bytes) -> int:
    ends = [place + _ROOT_BYTES for place in _ROOT_PLACES]
    return max(int(_NUMBER.unpack_from(data, end - _NUMBER.size)[0]) for end in ends)


def _open_and_check(directory: Path, trial: Trial, claims: list[Claim], *, is_taken_over: bool) -> list[str]:
    try:
        with eventlog.open(directory, durability="commit") as log:
            problems = [f"verify: {line}" for line in log.verify().problems]
            problems += problems_of(log, telling(claims), telling(trial.intents()))
            _work_on(log)
            if is_taken_over and CROWD in log.groups.list():
                _take_over(log)
            problems += [f"after more work, verify: {line}" for line in log.verify().problems]
    except Exception as error:
        return [f"it raises {type(error).__name__}: {error}"]
    return problems


def _work_on(log: eventlog.EventLog) -> None:
    """Appends, and commits a transaction, as the programs would that go on after the power is back."""
    topic = log.topic("afterwards", key=str, index="key")
    with log.transaction() as tx:
        tx.send(topic, b"x" * 3000, key="a")
        tx.state("afterwards")["a"] = 1
    ranges = topic.append_many([b"tea"] * 50, key="a", expected_version=1)
    with log.consumer(topic, group="afterwards") as consumer:
        assert len(consumer.poll()) == 51, "what was appended afterwards cannot be read"
        consumer.commit()
    assert ranges[0].end == topic.bounds()[0][1], "what was appended afterwards is not at the end"


def _take_over(log: eventlog.EventLog) -> None:
    """Joins a group whose members died with the power: its partitions are handed over where the group stands."""
    with log.consumer(PLAIN, group=CROWD, auto_commit=False) as consumer:
        consumer.poll()
        for place in consumer.assignment():
            committed = consumer.committed(place)
            assert committed is None or consumer.position(place) >= committed, (
                f"{place} is read from before {committed}"
            )
        statics = [member for member in log.groups.describe(CROWD).members if member.instance_id is not None]
        assert statics or len(consumer.assignment()) == PLAIN_PARTITIONS, "dead members keep their partitions"


def _serve() -> None:
    """Judges what is asked for, a line each, and answers a line each."""
    trial: tuple[str, Trial] | None = None
    for line in sys.stdin:
        journal, durability, cut, choice, directory = json.loads(line)
        if trial is None or trial[0] != journal:
            trial = journal, Trial(Path(journal), durability)
        trial[1].go_to(cut)
        verdict = judge(trial[1], Choice.parse(choice), Path(directory))
        sys.stdout.write(json.dumps(verdict) + "\n")
        sys.stdout.flush()


def _repeat(journal: str, durability: str, cut: str, choice: str, directory: str) -> None:
    trial = Trial(Path(journal), durability)
    trial.go_to(int(cut))
    _make(Path(directory), image_of(trial.disk, Choice.parse(choice)))
    with_work = Path(directory).with_name(Path(directory).name + "-judged")
    for problem in judge(trial, Choice.parse(choice), with_work).problems:
        print(problem)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _repeat(*sys.argv[1:])
    else:
        _serve()
