"""
The compiled twins of the hottest functions, where this installation has them.

Each has the same effect as the Python code beside which it stands, and leaves to that code whatever is unusual
(docs/decisions/0018-compiled-twins.md). Without a C compiler at the installation there are none, and with
`EVENTLOG_PURE_PYTHON=1` in the environment none is used: the library is slower then, and does the same.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

PURE_PYTHON = "EVENTLOG_PURE_PYTHON"
"""The environment variable that has no twin used, when it is neither empty nor 0."""


def _load() -> ModuleType | None:
    if os.environ.get(PURE_PYTHON, "0") not in {"", "0"}:
        return None
    try:
        return importlib.import_module("eventlog._native")
    except ImportError:
        return None


compiled = _load()
"""The module of the twins, or None."""
