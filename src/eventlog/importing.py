"""
The import of our modules where no more files can be opened: an error of ours that says so.

Most features are imported with their first use (docs/decisions/0025), and that may come when a process has used up its
descriptors. Python raises a bare `OSError` then, out of any public call. The finder of our own directories knows; no
other import passes through it. What Python's library or an extra has failed to open counts as well, if a module of
ours imports it.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
    SourcelessFileLoader,
)
from types import ModuleType

from eventlog.errors import StorageError
from eventlog.interruptions import unless_interrupted

_NUMBERS = (errno.EMFILE, errno.ENFILE)


class _Loader(SourceFileLoader):
    """A loader of our modules."""

    def exec_module(self, module: ModuleType) -> None:
        """Import a module, and let those below it be imported in the same way."""
        try:
            super().exec_module(module)
        except unless_interrupted(OSError, ImportError) as error:
            _raise_if_scarce(module.__name__, error)
            raise
        if hasattr(module, "__path__"):
            _watch(module.__path__)


class _Finder(FileFinder):
    """A finder of our modules in one directory, which has to be read first."""

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find a module of ours."""
        try:
            return super().find_spec(fullname, target)
        except unless_interrupted(OSError) as error:
            _raise_if_scarce(fullname, error)
            raise


def watch_imports() -> None:
    """Have the modules below those packages of ours that are imported already found by our finder."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "eventlog" and hasattr(module, "__path__"):
            if module.__spec__ is not None and isinstance(module.__spec__.loader, SourceFileLoader):
                _watch(module.__path__)


def _watch(path: Sequence[str]) -> None:
    for directory in path:
        if type(sys.path_importer_cache.get(directory)) in (FileFinder, type(None)):
            sys.path_importer_cache[directory] = _Finder(
                directory,
                (ExtensionFileLoader, EXTENSION_SUFFIXES),
                (_Loader, SOURCE_SUFFIXES),
                (SourcelessFileLoader, BYTECODE_SUFFIXES),
            )


def _raise_if_scarce(name: str, error: Exception) -> None:
    number = error.errno if isinstance(error, OSError) else None
    if number in _NUMBERS or (number is None and any(os.strerror(one) in str(error) for one in _NUMBERS)):
        raise StorageError(
            f"cannot import {name}, which this call needs: {error}.",
            stored="Nothing was changed.",
            advice="Raise the limit of open files (`ulimit -n`), or close some, and try again.",
        ) from error
