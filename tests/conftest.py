"""
What every test may ask for: an empty log in memory or on disk, and randomness that can be repeated.

The seed of a run stands in the header of its report. `EVENTLOG_SEED=<number> make test` runs with it again.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

import eventlog

_TESTS = Path(__file__).parent
_PROOF = {"crash", "faults", "groups", "history", "model", "power", "processes", "simulation"}
_ALONE = {"test_containers.py", "test_group_members.py", "test_wakeup.py"}
"""Files of the proof that measure how soon somebody is woken: they have the machine to themselves."""
_SEED = int(os.environ.get("EVENTLOG_SEED") or random.SystemRandom().randrange(2**32))
os.environ["EVENTLOG_SEED"] = str(_SEED)  # for the workers of pytest-xdist

hypothesis.settings.register_profile("default", deadline=None, print_blob=True, max_examples=30)
hypothesis.settings.register_profile(
    "ci", parent=hypothesis.settings.get_profile("default"), database=None, max_examples=100
)
hypothesis.settings.register_profile("nightly", parent=hypothesis.settings.get_profile("ci"), max_examples=10_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Gives Hypothesis the seed of the run, unless the command line names one, and Ctrl-C its meaning."""
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(_SEED)
    # What a shell script starts with `&`, as runners of CI do, ignores SIGINT, and children inherit that: those of our
    # tests would never hear the Ctrl-C that we send them.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what proves a promise the hard way, known by its folder, and what of it runs alone."""
    for item in items:
        if item.path.relative_to(_TESTS).parts[0] in _PROOF:
            item.add_marker("proof")
            if item.path.name in _ALONE:
                item.add_marker("alone")


def pytest_report_header(config: pytest.Config) -> str:
    """Prints the seeds."""
    return f"seed: EVENTLOG_SEED={_SEED}, --hypothesis-seed={config.option.hypothesis_seed}"


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Randomness of this test alone: the seed of the run and the test's name decide it, not the order of tests."""
    return random.Random(f"{_SEED}:{request.node.nodeid}")


@pytest.fixture
def log() -> Iterator[eventlog.EventLog]:
    """An empty log in memory."""
    with eventlog.open(":memory:") as log:
        yield log


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a log may be made; nothing is there yet."""
    return tmp_path / "log"


@pytest.fixture
def disk_log(path: Path) -> Iterator[eventlog.EventLog]:
    """An empty log on disk, in the default durability."""
    with eventlog.open(path) as log:
        yield log
