"""
Frameworks on a log: brokers, result backends and task backends for libraries that know nothing of eventlog.

One folder each, with an extra of its own. A folder knows its framework and the front door, `import eventlog`, and
nothing of the core knows a folder: what is here could be a package of its own.
"""

from __future__ import annotations

from typing import Final

from eventlog.errors import MissingLibrary

_INSTALL: Final = 'pip install "eventlog[{extra}]"'


def missing_framework(framework: str, extra: str, error: ImportError) -> MissingLibrary:
    """The error for a framework that is not installed: it names the extra that brings it."""
    return MissingLibrary(
        f"cannot use eventlog with {framework}: it is not installed ({error}).",
        stored="Nothing was changed.",
        advice=f"Install it: {_INSTALL.format(extra=extra)}.",
        extra=extra,
    )
