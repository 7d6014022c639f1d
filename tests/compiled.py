"""Skips tests that need the accelerators, or fails them in CI."""

from __future__ import annotations

import os

import pytest

from eventlog import accelerators


def skip_unless_compiled() -> None:
    """Skip a test of the accelerators where there are none; in CI that is a failure."""
    if accelerators.compiled is not None:
        return
    if os.environ.get(accelerators.PURE_PYTHON, "0") not in {"", "0"}:
        pytest.skip(f"{accelerators.PURE_PYTHON} is set: no accelerators are used")
    reason = "the installation has no accelerators: it needs a C compiler and Python's headers"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
