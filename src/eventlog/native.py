"""
The compiled twins of the hottest functions, where this installation has them.

Each has the same effect as the Python code beside which it stands, and leaves to that code whatever is unusual
(docs/decisions/0018-compiled-twins.md). Without a C compiler at the installation there are none, and with
`EVENTLOG_PURE_PYTHON=1` in the environment none is used: the library is slower then, and does the same.
"""

from __future__ import annotations

import importlib
import os
import warnings
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import ModuleType

PURE_PYTHON: Final = "EVENTLOG_PURE_PYTHON"
"""The environment variable that has no twin used, when it is neither empty nor 0."""

_MODULE = "eventlog._native"
_REVISION = 1
"""The one of src/native/module.c: what was compiled before a change of the twins is not used after it."""


def _load() -> ModuleType | None:
    if os.environ.get(PURE_PYTHON, "0") not in {"", "0"}:
        return None
    try:
        module = importlib.import_module(_MODULE)
        revision = getattr(module, "REVISION", None)
        if revision != _REVISION:
            raise ImportError(f"it was compiled of another source, of revision {revision} and not {_REVISION}")
        return module
    except ModuleNotFoundError:
        return None
    except ImportError as error:  # made for another system, broken or old: slower is better than not at all
        warnings.warn(
            f"{_MODULE} is here and cannot be loaded: {error}. eventlog goes on in pure Python, which does the same "
            f"and is slower. Install it anew, or set {PURE_PYTHON}=1.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


compiled = _load()
"""The module of the twins, or None."""


def is_compiled() -> bool:
    """
    Whether the compiled part of the library is in use, or pure Python alone, which does the same and is slower.

    It is in use where the installation found a C compiler, unless the environment variable `EVENTLOG_PURE_PYTHON` was
    set, and not to 0, when this process imported eventlog. `eventlog --version` says it, too.

    Example:
        >>> how = "compiled" if eventlog.is_compiled() else "pure Python"
    """
    return compiled is not None
