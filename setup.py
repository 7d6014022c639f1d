"""
Builds the compiled part of eventlog, `eventlog._native`; everything else is in pyproject.toml.

Without a C compiler or Python's headers the installation goes on without it: docs/decisions/0018-compiled-twins.md.
It is here because setuptools calls extension modules in pyproject.toml experimental, at every installation.
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
    A build in a new directory, which is removed at the end.

    setuptools builds in `build/` and never cleans it: a deleted or renamed module would be installed from there
    forever, and two installations at once would overwrite each other's files.
    """

    def finalize_options(self) -> None:
        """Replace only the default: a directory that the user names is used."""
        if self.build_base == "build":
            self.build_base = tempfile.mkdtemp(prefix="eventlog-build-")
            atexit.register(shutil.rmtree, self.build_base, ignore_errors=True)
        super().finalize_options()


class CompileOrGoOn(build_ext):
    """A build that goes on without a compiler, says so, and leaves no older compiled module behind."""

    def run(self) -> None:
        """Compile, and look whether the optional extension is there."""
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
