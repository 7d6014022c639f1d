"""
Each hot path costs what `figures.py` says: LMDB calls, commits and syncs exactly, calls of Python functions at most.

Counts do not depend on the machine. A cost that a benchmark loses in noise shows here.
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
from eventlog import accelerators
from eventlog.clients.topic_handle import TopicHandle
from tests import preload
from tests.compiled import skip_unless_compiled
from tests.counts.counter import CallCounter, Cost, Meter
from tests.counts.figures import COMPILED, FIGURES
from tests.counts.paths import PATHS

_ROOT = Path(__file__).resolve().parents[2]
_SYNCS = Path(__file__).with_name("syncs.c")


_KINDS = {"compiled": FIGURES | COMPILED, "pure": FIGURES}
"""What is pinned with the accelerators, and without them."""
_RULES = {"python": "the ceiling", "lmdb": "pinned", "commits": "pinned", "syncs": "pinned"}


@pytest.fixture(scope="module", params=_KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Whether the accelerators are used."""
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
    environment[accelerators.PURE_PYTHON] = str(int(kind == "pure"))
    command = [sys.executable, "-m", "tests.counts.child", os.fspath(directory)]
    done = subprocess.run(command, env=environment, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name: Cost(*row) for name, row in json.loads(done.stdout).items()}


def complaint(name: str, found: Cost, pinned: Cost | None) -> str | None:
    """The message about a path that costs something else than is pinned, with the row to paste; None if it is fine."""
    if pinned is None:
        reasons = ["not pinned yet"]
    else:
        reasons = [
            f"{kind} {was:,} -> {is_now:,}, {'more' if is_now > was else 'fewer'} than {_RULES[kind]}"
            for kind, is_now, was in zip(Cost._fields, found, pinned, strict=True)
            if is_now is not None and was is not None and (is_now > was or (is_now < was and kind != "python"))
        ]
        if not reasons:
            return None
    row = ", ".join(f"{kind}={count:_}" for kind, count in found._asdict().items() if count is not None)
    return (
        f"{name}: {'; '.join(reasons)}.\n"
        "If the change is meant, paste this row into tests/counts/figures.py, and say in the commit what made it so:\n"
        f'    "{name}": Cost({row}),\n'
        f"Which functions are called: python -m tests.counts.child DIRECTORY {name!r}"
    )


@pytest.mark.parametrize("name", PATHS)
def test_a_path_costs_what_is_pinned(name: str, kind: str, costs: dict[str, Cost]) -> None:
    """As many LMDB calls, commits and syncs as pinned, and no more calls of Python functions."""
    found, pinned = costs[name], _KINDS[kind].get(name)
    if pinned is not None and found.syncs is None:
        pinned = pinned._replace(syncs=None)
    message = complaint(name, found, pinned)
    assert message is None, message


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
    assert "more than the ceiling" in (complaint("append", after, before) or "")


def test_only_calls_of_python_functions_may_become_fewer() -> None:
    """A change pays no tax for being cheaper; fewer commits or LMDB calls mean that something else happens."""
    pinned = Cost(10, 4, 2, 4)
    assert complaint("append", Cost(9, 4, 2, 4), pinned) is None
    assert complaint("append", pinned, pinned) is None
    assert "python 10 -> 11, more than the ceiling" in (complaint("append", Cost(11, 4, 2, 4), pinned) or "")
    assert "lmdb 4 -> 3, fewer than pinned" in (complaint("append", Cost(9, 3, 2, 4), pinned) or "")
    assert "commits 2 -> 1, fewer than pinned" in (complaint("append", Cost(9, 4, 1, 4), pinned) or "")
    assert "syncs 4 -> 5, more than pinned" in (complaint("append", Cost(9, 4, 2, 5), pinned) or "")


def test_the_message_has_the_row_to_paste() -> None:
    """With every figure, and what changed in words; where syncs cannot be counted they are left out."""
    message = complaint("append", Cost(9, 4, 3, 6), Cost(10, 4, 2, 4))
    assert message is not None
    assert "commits 2 -> 3, more than pinned" in message
    assert '"append": Cost(python=9, lmdb=4, commits=3, syncs=6),' in message
    assert "lmdb 4" not in message
    assert "python 10" not in message
    assert complaint("append", Cost(9, 4, 3, None), Cost(9, 4, 3, None)) is None
    assert "not pinned yet" in (complaint("append", Cost(9, 4, 3, 6), None) or "")
