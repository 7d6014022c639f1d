"""Libraries for LD_PRELOAD are built once, stand between a child and the C library, and are missed visibly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import preload
from tests.preload import Builder, built

__all__ = ["built"]

_SOURCE = """
#include <unistd.h>

int getpagesize(void) { return 12345; }
"""
_ASK = "import ctypes; print(ctypes.CDLL(None).getpagesize())"


def test_a_library_stands_before_the_c_library(built: Builder, tmp_path: Path) -> None:
    """A child that loads it calls ours; the same text is not built twice."""
    source = tmp_path / "pages.c"
    source.write_text(_SOURCE)
    library = built(source)
    environment = preload.environment_with(library)
    said = subprocess.run([sys.executable, "-c", _ASK], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["12345"]
    made = library.stat().st_mtime_ns
    assert built(source) == library
    assert library.stat().st_mtime_ns == made


def test_a_c_file_with_a_mistake_fails_with_the_words_of_the_compiler(built: Builder, tmp_path: Path) -> None:
    """A mistake in the C code is a failure, never a skip."""
    source = tmp_path / "broken.c"
    source.write_text("int broken(void) { return missing; }")
    with pytest.raises(AssertionError, match="missing"):
        built(source)


def test_without_a_compiler_the_reason_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where nothing can be built, `build()` says why, and the fixture skips with those words."""
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(preload.CannotBuild, match="cc"):
        preload.build(tmp_path / "any.c", tmp_path)


def test_without_a_compiler_tests_are_skipped_and_fail_in_ci(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without a compiler skips with the reason; CI does not get away with it."""
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="cc"):
        preload.skip_unless_possible()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="cc"):
        preload.skip_unless_possible()
