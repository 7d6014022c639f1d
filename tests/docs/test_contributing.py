"""The map of CONTRIBUTING.md leads to files and folders that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAP = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("\n## To change X")[2].partition("\n## ")[0]
PATHS = sorted(set(re.findall(r"`((?:[\w.-]+/)+(?:[\w.-]+)?|[\w-]+\.(?:py|in))`", MAP)))


@pytest.mark.parametrize("path", PATHS)
def test_every_path_of_the_map_exists(path: str) -> None:
    """From the root, or in `src/eventlog/`."""
    assert any((folder / path).exists() for folder in (ROOT, ROOT / "src" / "eventlog")), path


def test_the_map_is_read() -> None:
    """It has a row for each part of the house."""
    assert len(PATHS) > 80
