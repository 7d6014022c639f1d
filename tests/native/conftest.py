"""Every test here is of the accelerators: without them it is skipped, in CI it fails."""

from __future__ import annotations

import pytest

from tests.compiled import skip_unless_compiled


@pytest.fixture(autouse=True)
def _accelerators() -> None:
    skip_unless_compiled()
