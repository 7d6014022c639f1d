"""The benchmark of queues: its tables, and the figures of the queues that need nothing but Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.queues.__main__ import main
from benchmarks.queues.catalogue import PEERS
from benchmarks.queues.table import Cell, tables
from benchmarks.queues.work import figures


def test_ratios_say_how_many_times_better_ours_is() -> None:
    """More jobs and less CPU are better; a figure that fails is named."""
    cells = [
        Cell("work", "eventlog", 1000.0, 100.0),
        Cell("work", "other", 500.0, 50.0),
        Cell("work", "broken", reason="it fell over", is_failure=True),
    ]
    text = tables(cells)
    assert "| other | 500 (2.0x) |" in text
    assert "| other | 50 (0.5x) |" in text
    assert text.endswith("* broken: work: it fell over.")


def test_no_lack_of_a_queue_is_misspelt() -> None:
    """What a queue lacks are words of some figure."""
    names = list(figures(10_000_000))
    assert all(any(words in name for name in names) for peer in PEERS for words in peer.lacks)


def test_ours_and_sqlite_do_the_same_jobs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A short run of some figures writes rates and ratios, and the JSON has them."""
    target = tmp_path / "run.json"
    words = ["--only", "add 100", "8 threads"]
    size = ["--seconds", "0.02", "--directory", str(tmp_path), "--json", str(target)]
    assert main([*words, "--peers", "SQLite by hand", *size]) == 0
    cells = json.loads(target.read_text())["cells"]
    assert len(cells) == 4
    assert [cell["reason"] for cell in cells if cell["rate"] is None] == ["a connection for each thread: as processes"]
    assert "x)" in capsys.readouterr().out


def test_without_a_figure_nothing_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """A word that no figure has is said, with the status 1."""
    assert main(["--only", "nonsense"]) == 1
    assert "no figure" in capsys.readouterr().err
