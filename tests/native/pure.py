"""The library's modules without accelerators, beside those that have them, in one process."""

from __future__ import annotations

import importlib.util
from functools import cache
from types import ModuleType
from unittest import mock

from eventlog import accelerators


@cache
def pure(name: str) -> ModuleType:
    """A second copy of a module, made while there are no accelerators."""
    specification = importlib.util.find_spec(name)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    with mock.patch.object(accelerators, "compiled", None):
        specification.loader.exec_module(module)
    return module
