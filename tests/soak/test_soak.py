"""The soak runs its harnesses, tells what they did, and notices what they find."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.soak import __main__ as soak
from tests.soak.harnesses import HARNESSES, Command, Trial

_RIGHT = "print('working'); print('{\"images\": 3}')"


def _command(program: str) -> Command:
    return Command([sys.executable, "-c", program], {}, "again")


def test_a_trial_that_passes_is_counted() -> None:
    """By the JSON of its last line."""
    outcome = soak.run_trial(_command(_RIGHT))
    assert outcome.is_right
    assert outcome.counts == {"images": 3}


@pytest.mark.parametrize("program", ["raise SystemExit('lost')", "import os; print('lost', flush=True); os.abort()"])
def test_a_trial_that_fails_is_a_finding(program: str) -> None:
    """Whether it says so or its process dies."""
    outcome = soak.run_trial(_command(program))
    assert not outcome.is_right
    assert "lost" in outcome.output


def test_a_trial_that_hangs_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the stacks of its threads."""
    monkeypatch.setattr(soak, "_LONGEST_TRIAL_S", 0.5)
    outcome = soak.run_trial(_command("import faulthandler, signal; faulthandler.enable(); signal.pause()"))
    assert not outcome.is_right
    assert "not done after" in outcome.output


def test_a_finding_ends_the_run_and_keeps_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the command that repeats it."""
    monkeypatch.setitem(HARNESSES, "power", Trial("tests.soak.finder", ""))
    assert soak.main(["--only", "power", "--trials", "3", "--seed", "7", "--directory", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "FOUND SOMETHING" in said
    assert "python -m tests.soak.trial tests.soak.finder" in said
    assert "1 trials, 1 findings: power" in said
    assert list(tmp_path.iterdir())


def test_a_seed_repeats_the_seeds_of_its_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So a whole run can be made again."""
    monkeypatch.setitem(HARNESSES, "power", Trial("tests.soak.finder", ""))
    command = ["--only", "power", "--trials", "2", "--keep-going", "--directory", str(tmp_path), "--seed"]

    def seeds(seed: str) -> list[str]:
        soak.main([*command, seed])
        return [line.split("seed ")[1].split()[0] for line in capsys.readouterr().out.splitlines() if " power " in line]

    assert seeds("7") == seeds("7") != seeds("8")


@pytest.mark.parametrize("name", HARNESSES)
def test_every_harness_is_there(name: str) -> None:
    """Its module has a trial, or its tests exist."""
    harness = HARNESSES[name]
    nodes = (f"{harness.module.replace('.', '/')}.py::trial",) if isinstance(harness, Trial) else harness.nodes
    for node in nodes:
        file, _, function = node.partition("::")
        assert f"def {function or 'test_'}" in (Path(__file__).parents[2] / file).read_text()
