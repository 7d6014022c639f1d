"""
Damaged files and crafted rows: no call of ours dies, hangs or raises a foreign error, and `verify` tells.

`python -m tests.fuzz.cases files 0 1000` runs some of the long form, and counts what LMDB itself does to a process.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventlog.store.lmdb.environment import TABLES
from eventlog.store.rows import tables
from eventlog.store.verify import verify
from tests.fuzz import judge
from tests.fuzz.cases import Cases, Tally

QUICK = {"files": 10, "rows": 12}
LONG_COUNT = 10_000
SLICE_COUNT = 500
DEADLY = {"SIGABRT", "SIGBUS", "SIGSEGV", "SIGFPE"}
"""What LMDB itself may do to a process that meets a damaged page."""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the logs are."""
    return tmp_path_factory.mktemp("damage")


@pytest.fixture
def cases(directory: Path, request: pytest.FixtureRequest) -> Iterator[Cases]:
    """Cases with the seed of this run."""
    place = directory / request.node.name
    place.mkdir()
    return Cases(place, os.environ["EVENTLOG_SEED"])


def run(cases: Cases, kind: str, numbers: range) -> Tally:
    """Judge some cases."""
    tally = Tally()
    for number in numbers:
        tally.add(f"{kind} {number}", *cases.judge(kind, number))
    return tally


def first_wrong(cases: Cases, kind: str) -> str:
    """Judge cases until one is wrong."""
    for number in range(200):
        wrongs = run(cases, kind, range(number, number + 1)).wrongs
        if wrongs:
            return wrongs[0]
    pytest.fail("the harness finds nothing")


@pytest.mark.parametrize("kind", ["files", "rows"])
def test_spoiled_logs_are_refused_or_read(kind: str, cases: Cases) -> None:
    """Whatever is stored."""
    tally = run(cases, kind, range(QUICK[kind]))
    assert tally.wrongs == []
    assert {name.split(": ")[1] for name in tally.deaths} <= DEADLY


def test_a_copied_page_makes_no_reader_wait_for_an_end_that_others_see(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A found case: a cursor saw the partition end on its page, `lag()` saw more, and `run_to_end()` never ended."""
    monkeypatch.setattr(judge, "MOST_SECONDS", 10)
    (directory / "copied").mkdir()
    kind, verdict = Cases(directory / "copied", "l15").judge("files", 5067)
    assert (kind, verdict.wrongs) == ("copied", [])


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("first", range(0, LONG_COUNT, SLICE_COUNT))
@pytest.mark.parametrize("kind", ["files", "rows"])
def test_thousands_of_spoiled_logs_are_refused_or_read(kind: str, first: int, cases: Cases) -> None:
    """The same, for long."""
    tally = run(cases, kind, range(first, first + SLICE_COUNT))
    assert tally.wrongs == []
    assert {name.split(": ")[1] for name in tally.deaths} <= DEADLY


def test_rows_of_every_table_are_crafted(cases: Cases) -> None:
    """A new table is met without a change here: the sample has to have a row in it."""
    assert {table for table, _, _ in cases.sample.rows} == set(TABLES)


# --- the harness ------------------------------------------------------------------------------------------------------


def test_harness_finds_a_foreign_error(cases: Cases, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that lets one through."""
    monkeypatch.setattr(tables, "NOT_A_ROW", (ZeroDivisionError,))
    assert re.search(r": \w+: .* at \w+\.py:\d+ ", first_wrong(cases, "rows"), re.DOTALL)


def test_harness_finds_a_loop_without_end(cases: Cases, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is still running when a small log deserves no more time."""
    monkeypatch.setattr(judge, "MOST_SECONDS", 1)
    monkeypatch.setattr(verify, "walk", _loop)
    assert "it never ended (SIGALRM)" in first_wrong(cases, "rows")


def _loop(*_: Any, **__: Any) -> None:
    while True:
        pass


def test_harness_finds_damage_that_is_called_sound(cases: Cases, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verification that looks at no page and at no batch."""
    monkeypatch.setattr(verify, "check_pages", lambda *_: True)
    monkeypatch.setattr(verify.BatchCheck, "row", lambda *_: None)
    monkeypatch.setattr(verify.OrderCheck, "row", lambda *_: None)
    assert "verify says sound, but" in first_wrong(cases, "files")


def test_cases_are_the_same_for_the_same_number(cases: Cases) -> None:
    """A failing one can be run again."""
    assert cases.judge("files", 3)[0] == cases.judge("files", 3)[0]
    assert cases.judge("rows", 3)[0] == cases.judge("rows", 3)[0]
