"""What the tests of power cuts share: the library that writes journals, and the judges."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.power.court import SOURCE, Court
from tests.preload import Builder, built

__all__ = ["built"]


@pytest.fixture(scope="session")
def library(built: Builder) -> Path:
    """The library that writes journals; without a C compiler the test is skipped."""
    return built(SOURCE)


@pytest.fixture(scope="module")
def judges() -> Iterator[Court]:
    """Judges of images."""
    with Court() as judges:
        yield judges
