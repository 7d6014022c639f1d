"""The library that makes calls fail, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.plans import SOURCE
from tests.preload import Builder, built

__all__ = ["built", "library"]  # fixtures


@pytest.fixture
def library(built: Builder) -> Path:
    """What `failing.c` was built into."""
    return built(SOURCE)
