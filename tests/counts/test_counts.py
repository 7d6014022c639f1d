"""
No hot path calls more functions, commits or syncs more often than is pinned in `figures.py`.

Counts do not depend on the machine, so a change that costs something shows here, and in noise nowhere else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog import native
from eventlog.clients.topic_handle import TopicHandle
from tests import preload
from tests.compiled import skip_unless_compiled
from tests.counts.counter import CallCounter, Cost, Meter
from tests.counts.figures import COMPILED, FIGURES
from tests.counts.paths import PATHS

_ROOT = Path(__file__).resolve().parents[2]
_SYNCS = Path(__file__).with_name("syncs.c")


_KINDS = {"compiled": FIGURES | COMPILED, "pure": FIGURES}
"""What is pinned with the compiled twins, and without them."""


@pytest.fixture(scope="module", params=_KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Whether the compiled twins are used."""
    if request.param == "compiled":
        skip_unless_compiled()
    return str(request.param)


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory, kind: str) -> dict[str, Cost]:
    """What every path costs, measured by a process of its own; no syncs where they cannot be counted."""
    directory = tmp_path_factory.mktemp("counts")
    environment = dict(os.environ)
    if preload.why_not() is None:
        environment = preload.environment_with(preload.build(_SYNCS, directory))
    environment[native.PURE_PYTHON] = str(int(kind == "pure"))
    command = [sys.executable, "-m", "tests.counts.child", os.fspath(directory)]
    done = subprocess.run(command, env=environment, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name: Cost(*row) for name, row in json.loads(done.stdout).items()}


def complaint(name: str, found: Cost, pinned: Cost | None) -> str | None:
    """What is to be said of a path whose cost is not the pinned one, with the row to paste; None when it is."""
    if found == pinned:
        return None
    verdicts = [
        f"{kind} {was:,} -> {is_now:,}, {'worse' if is_now > was else 'better: pin it'}"
        for kind, is_now, was in zip(Cost._fields, found, pinned or found, strict=True)
        if is_now is not None and was is not None and is_now != was
    ]
    row = ", ".join(f"{kind}={count:_}" for kind, count in found._asdict().items() if count is not None)
    return (
        f"{name}: {'; '.join(verdicts) or 'not pinned yet'}. The row for tests/counts/figures.py:\n"
        f'    "{name}": Cost({row}),\n'
        f"Which functions: python -m tests.counts.child DIRECTORY {name!r}"
    )


@pytest.mark.parametrize("name", PATHS)
def test_a_path_costs_what_is_pinned(name: str, kind: str, costs: dict[str, Cost]) -> None:
    """As many calls and commits, and neither more nor fewer."""
    found, pinned = costs[name], _KINDS[kind].get(name)
    if pinned is not None and found.syncs is None:
        pinned = pinned._replace(syncs=None)
    assert (said := complaint(name, found, pinned)) is None, said


def test_every_commit_waits_for_the_disk_twice(costs: dict[str, Cost]) -> None:
    """Once for the pages, once for the page that makes them valid; without a C compiler nobody counts."""
    preload.skip_unless_possible()
    assert {name: cost.syncs for name, cost in costs.items()} == {
        name: 2 * cost.commits for name, cost in costs.items()
    }


def test_what_is_pinned_is_measured() -> None:
    """A figure whose path is gone guards nothing, nor does one that says the same twice."""
    assert list(FIGURES) == list(PATHS)
    assert [name for name, cost in COMPILED.items() if FIGURES.get(name, cost) == cost] == []


def _appends(count: int) -> Cost:
    """What some appends cost, measured in this process."""
    counter = CallCounter()
    try:
        with eventlog.open(":memory:") as log:
            topic = log.topic("orders")
            topic.append(b"tea")
            return Meter(counter, log).measure(lambda: [topic.append(b"tea") for _ in range(count)])
    finally:
        counter.close()


def test_one_more_call_for_each_record_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: a function that is called once more for each record."""
    before = _appends(10)
    assert _appends(10) == before
    check_size = TopicHandle.check_size
    source = "def check_size(*arguments): return wrapped(*arguments)"
    names: dict[str, Any] = {"wrapped": check_size}
    exec(compile(source, f"{eventlog.__path__[0]}/route.py", "exec"), names)  # a function of this file is not counted
    monkeypatch.setattr(TopicHandle, "check_size", names["check_size"])
    after = _appends(10)
    assert after == before._replace(python=before.python + 10)
    assert "worse" in (complaint("append", after, before) or "")


def test_a_call_less_and_a_commit_more_are_said_in_words() -> None:
    """The row to paste stands in the message, and which figure went which way."""
    said = complaint("append", Cost(9, 4, 3, 6), Cost(10, 4, 2, 4))
    assert said is not None
    assert "python 10 -> 9, better" in said
    assert "commits 2 -> 3, worse" in said
    assert '"append": Cost(python=9, lmdb=4, commits=3, syncs=6),' in said
    assert "lmdb 4" not in said
    assert complaint("append", Cost(9, 4, 3, None), Cost(9, 4, 3, None)) is None
    assert "not pinned" in (complaint("append", Cost(9, 4, 3, 6), None) or "")
