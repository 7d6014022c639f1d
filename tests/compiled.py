"""Whether the compiled twins are here, and what to do without them."""

from __future__ import annotations

import os

import pytest

from eventlog import native


def skip_unless_compiled() -> None:
    """Skips a test of the twins where there are none; where programs are tested for good, that is a failure."""
    if native.compiled is not None:
        return
    if os.environ.get(native.PURE_PYTHON, "0") not in {"", "0"}:
        pytest.skip(f"{native.PURE_PYTHON} is set: no compiled twins are used")
    reason = "the installation has no compiled twins: it needs a C compiler and Python's headers"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
