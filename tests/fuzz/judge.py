"""
The judgement of a spoiled log: each visit in a child process of its own, which may die where LMDB aborts.

A child is forked from a process that has everything imported and no log open, so a case takes some milliseconds. What
must hold for every case:

* A call returns, or raises an error of ours. It takes neither more memory nor more time than such a small log deserves.
* What some call finds damaged, `verify` tells.
* What `verify` calls sound has every record, every entry of the index and every message id that was written; and every
  other table has as many rows.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import os
import pickle
import pkgutil
import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import lmdb

import eventlog
from eventlog import EventLogError
from tests.fuzz.sample import Row, rows
from tests.fuzz.visits import Outcome, place_of

MOST_BYTES = 1 << 29
MOST_SECONDS = 30
_DAMAGE = {"CorruptBatch", "StorageError", "NotALog"}


class Death(NamedTuple):
    """The end of a child by a signal; `text` is what it wrote about it."""

    signal: str
    text: str


@attrs.define
class Verdict:
    """What became of one case: wrongs are bugs of ours, deaths are counted."""

    wrongs: list[str] = attrs.field(factory=list)
    deaths: dict[str, Death] = attrs.field(factory=dict)
    is_sound: bool | None = None
    errors: Counter[str] = attrs.field(factory=Counter)


def import_everything() -> None:
    """
    Import what calls import at their first use, once and not in every child.

    A child that did it itself would spend most of its time there.
    """
    for module in pkgutil.walk_packages(eventlog.__path__, "eventlog."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page


def in_child(work: Callable[[], Iterator[Any]], scratch: Path) -> tuple[list[Any], Death | None]:
    """Return what a child yields, and how it died if it did."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _be_child(work, writing, scratch)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        found = list(_unpickled(pipe))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    text = scratch.read_text(errors="replace") if scratch.exists() else ""
    if code < 0:
        return found, Death(signal.Signals(-code).name, text)
    assert code == 0, text
    return found, None


def _be_child(work: Callable[[], Iterator[Any]], writing: int, scratch: Path) -> None:
    try:
        faulthandler.disable()
        os.dup2(os.open(scratch, os.O_CREAT | os.O_TRUNC | os.O_WRONLY), 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        most_bytes = _data_bytes() + MOST_BYTES
        resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, most_bytes))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(MOST_SECONDS)
        with os.fdopen(writing, "wb") as pipe:
            for one in work():
                pickle.dump(one, pipe)
                pipe.flush()
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    os._exit(code)


def _data_bytes() -> int:
    """What this process has already: a worker that has run thousands of tests leaves a child no room otherwise."""
    return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()


def _unpickled(pipe: Any) -> Iterator[Any]:
    while True:
        try:
            yield pickle.load(pipe)
        except (EOFError, pickle.UnpicklingError):
            return


def judge(
    path: Path,
    visits: dict[str, Callable[[], Iterator[Outcome]]],
    verify: Callable[[], Iterator[tuple[str, ...]]],
    allowed: Callable[[list[Row]], str | None],
) -> Verdict:
    """
    Verify a spoiled log, visit it, and judge what became of the calls.

    Args:
        path: of the log; the visits are of copies that they make themselves.
        allowed: what is wrong with a log that is called sound and has these rows, if anything is.
    """
    verdict = Verdict()
    scratch = path.with_name("stderr")
    _judge_verification(verdict, verify, scratch)
    if verdict.is_sound:
        found, death = in_child(lambda: iter([_complaint(path, allowed)]), scratch)
        if death is not None:
            _note_death(verdict, "dump", death)
        elif found[0] is not None:
            verdict.wrongs.append(f"verify says sound, but {found[0]}")
    for name, visit in visits.items():
        outcomes, death = in_child(visit, scratch)
        if death is not None and death.signal == "SIGALRM" and not verdict.is_sound:
            outcomes, death = _again(visit, scratch, outcomes, death)
        if death is not None:
            _note_death(verdict, f"{name} after {outcomes[-1].call if outcomes else 'the beginning'}", death)
        for outcome in outcomes:
            _judge_outcome(verdict, name, outcome)
    return verdict


def _again(
    visit: Callable[[], Iterator[Outcome]], scratch: Path, outcomes: list[Outcome], death: Death
) -> tuple[list[Outcome], Death]:
    """
    Make a visit again that did not end, and return how it dies then; the same if it does not.

    A damaged page may have LMDB write over the memory of its process, which mostly aborts and at times hangs. What
    never ends for a reason of ours does not end the next time either.
    """
    for _ in range(5):
        others, another = in_child(visit, scratch)
        if another is not None and another.signal in {"SIGABRT", "SIGSEGV", "SIGBUS"}:
            return others, another
    return outcomes, death


def _judge_verification(verdict: Verdict, verify: Callable[[], Iterator[tuple[str, ...]]], scratch: Path) -> None:
    verified, death = in_child(lambda: _guarded(verify), scratch)
    if death is not None:
        _note_death(verdict, "verify", death)
    has_problems = False
    for outcome in verified:
        has_problems = has_problems or bool(outcome)
        if isinstance(outcome, Outcome):
            _judge_outcome(verdict, "verify", outcome)
    verdict.is_sound = not has_problems and death is None


def _judge_outcome(verdict: Verdict, visit: str, outcome: Outcome) -> None:
    verdict.errors[outcome.error or "fine"] += 1
    if not outcome.is_ours:
        verdict.wrongs.append(f"{visit}, {outcome.call}: {outcome.text}")
    elif outcome.error in _DAMAGE and verdict.is_sound:
        verdict.wrongs.append(f"verify says sound, but {outcome.call} of {visit}: {outcome.error}: {outcome.text}")


def _guarded(verify: Callable[[], Iterator[tuple[str, ...]]]) -> Iterator[tuple[str, ...] | Outcome]:
    try:
        yield from verify()
    except EventLogError as error:
        yield Outcome("verify", type(error).__name__, str(error))
    except BaseException as error:
        yield Outcome("verify", type(error).__name__, place_of(error), is_ours=False)


def _complaint(path: Path, allowed: Callable[[list[Row]], str | None]) -> str | None:
    try:
        found = rows(path)
    except lmdb.Error as error:
        return f"LMDB cannot read it: {error}"
    return allowed(found)


def _note_death(verdict: Verdict, where: str, death: Death) -> None:
    verdict.deaths[where] = death
    if death.signal in {"SIGALRM", "SIGKILL"}:
        verdict.wrongs.append(f"{where}: it never ended ({death.signal})")


def lost(found: list[Row], *wanted: list[Row]) -> str | None:
    """What a log has lost, all of which a checksum tells; None when it has all of one of the wanted contents."""
    complaints = [_lost(found, one) for one in wanted]
    return None if None in complaints else complaints[0]


def _lost(found: list[Row], wanted: list[Row]) -> str | None:
    counts = [Counter(table for table, _, _ in rows_of) for rows_of in (found, wanted)]
    if counts[0] != counts[1]:
        return f"the tables have other numbers of rows: {counts[0]}, not {counts[1]}"
    gone = [*(Counter(wanted) - Counter(found))]
    return f"it has lost {gone[:2]}" if gone else None
