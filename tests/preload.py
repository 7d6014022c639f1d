"""
Libraries for LD_PRELOAD, built from one C file each with the system's C compiler.

Such a library stands between a child process and the C library: it sees, and may change, every call that goes through
the dynamic linker, as those of LMDB do. It works on Linux alone. Start the child as a new process with
`environment_with(library)`: a fork of a running one has loaded its libraries already.

Knows nothing of what the libraries do.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Builder = Callable[[Path], Path]
"""Takes a C file, and returns the library made of it."""

_FLAGS = ("-shared", "-fPIC", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pthread")


class CannotBuild(Exception):
    """Says that this machine builds no such library, and why."""


def why_not() -> str | None:
    """Why no library can be built here; None when it can."""
    if not sys.platform.startswith("linux"):
        return f"LD_PRELOAD is tried on Linux alone, and this is {sys.platform}"
    if shutil.which("cc") is None:
        return "there is no C compiler `cc` on the PATH (Debian, Ubuntu: apt install gcc libc6-dev)"
    return None


def build(source: Path, directory: Path) -> Path:
    """
    The library of a C file, built in a directory unless this very text was built there before.

    Processes may build the same at once.

    Raises:
        CannotBuild: without Linux or without a C compiler.
        AssertionError: when the compiler does not take the file; with what it said.
    """
    reason = why_not()
    if reason is not None:
        raise CannotBuild(reason)
    text = source.read_bytes()
    library = directory / f"{source.stem}-{hashlib.sha256(text).hexdigest()[:16]}.so"
    if library.exists():
        return library
    unfinished = library.with_suffix(f".{os.getpid()}")
    command = ["cc", *_FLAGS, "-o", os.fspath(unfinished), os.fspath(source), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}"
    unfinished.replace(library)
    return library


def environment_with(*libraries: Path) -> dict[str, str]:
    """The environment of this process, with libraries to load before all others."""
    names = [os.fspath(library) for library in libraries]
    return os.environ | {"LD_PRELOAD": ":".join(names)}


def skip_unless_possible() -> None:
    """Skips the test that runs where no library can be built, and says why; in CI, fails it."""
    reason = why_not()
    if reason is None:
        return
    if os.environ.get("CI"):
        pytest.fail(f"in CI nothing is skipped: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """Builds libraries, each once in a session of tests; skips or fails its tests where none can be built."""
    skip_unless_possible()
    directory = tmp_path_factory.mktemp("preload")
    return lambda source: build(source, directory)
