"""
The compiled part of eventlog, `eventlog._native`, and where it is built; all else is in pyproject.toml.

Without a C compiler or Python's headers the installation goes on without it: docs/decisions/0018-compiled-twins.md.
Here and not in pyproject.toml, because there setuptools calls extension modules experimental, at every installation.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

NAME = "eventlog._native"
SOURCES = Path("src/native")


class BuildElsewhere(build):
    """
    Builds in a new directory, and takes it away at the end.

    setuptools builds in `build/` and never cleans it: a module that was deleted or renamed would be installed from
    there for ever, and two installations at once would write over each other's files.
    """

    def finalize_options(self) -> None:
        """Replaces the default alone: who names a directory gets it."""
        if self.build_base == "build":
            self.build_base = tempfile.mkdtemp(prefix="eventlog-build-")
            atexit.register(shutil.rmtree, self.build_base, ignore_errors=True)
        super().finalize_options()


class CompileOrGoOn(build_ext):
    """Compiles where that is possible, and says so where it is not; then no older compiled module stays behind."""

    def run(self) -> None:
        """Looks for what an optional extension leaves when it could be compiled."""
        super().run()
        module = self.get_ext_filename(NAME)
        if Path(self.build_lib, module).exists():
            return
        self.warn(f"{NAME} could not be compiled; eventlog works the same without it, and is slower: see README.md")
        if self.inplace or self.editable_mode:
            Path("src", module).unlink(missing_ok=True)


setup(
    cmdclass={"build": BuildElsewhere, "build_ext": CompileOrGoOn},
    ext_modules=[
        Extension(
            NAME,
            sources=sorted(path.as_posix() for path in SOURCES.glob("*.c")),
            depends=sorted(path.as_posix() for path in SOURCES.glob("*.h")),
            extra_compile_args=["-O3"],
            optional=True,
        )
    ],
)
