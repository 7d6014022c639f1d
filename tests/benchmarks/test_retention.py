"""The benchmark of retention runs, at a small size, and its plot is drawn from the figures alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import retention
from benchmarks.retention import Shape, main, measure

SMALL = Shape("small", 200, 2, 64 << 10, 3)


def test_the_file_is_watched_through_all_windows(tmp_path: Path) -> None:
    """With the cleaner and without it."""
    for cleans in (True, False):
        figures = measure(SMALL, tmp_path, cleans=cleans)
        windows = [window for window, _ in figures.growth]
        assert windows == sorted(windows)
        assert figures.largest_file_bytes > SMALL.window_bytes
        assert 0 < figures.p50_us <= figures.p99_us
    assert list(tmp_path.iterdir()) == []


def test_a_plot_is_drawn_from_the_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes each time."""
    pytest.importorskip("matplotlib", reason="plots need what benchmarks/compare/requirements.txt names")
    from benchmarks.retention_plot import draw

    monkeypatch.setattr(retention, "SHAPES", (SMALL,))
    written, plot = tmp_path / "rows.json", tmp_path / "plot.svg"
    assert main(["--directory", str(tmp_path), "--json", str(written), "--plot", str(plot)]) == 0
    again = draw(json.loads(written.read_text()), tmp_path / "again.svg")
    assert again.read_bytes() == plot.read_bytes()
    assert "windows of retention" in plot.read_text()
