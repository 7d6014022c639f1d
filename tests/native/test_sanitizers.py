"""
The accelerators under the compiler's sanitizers: no access beyond an end, none after freeing, nothing undefined.

They are built anew into a copy of the package, and a child runs the other tests of this folder on it, with memory of
the system's own for each object. Bugs that are planted in the C code are found, so that the harness is known to work.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import eventlog

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["-shared", "-fPIC", "-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined"]
STOP = "-fno-sanitize-recover=all"
SECONDS = 500


def _library() -> str | None:
    """The sanitizer's library, for LD_PRELOAD; None when there is none."""
    if not sys.platform.startswith("linux") or shutil.which("cc") is None:
        return None
    said = subprocess.run(["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    path = Path(said.stdout.strip())
    return os.fspath(path) if path.is_absolute() and path.exists() else None


@pytest.fixture(scope="module")
def library() -> str:
    """The sanitizer's library; without it the tests are skipped, in CI they fail."""
    found = _library()
    if found is None:
        reason = "there is no compiler `cc` with the library libasan, on Linux (Debian, Ubuntu: apt install gcc)"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return found


def build(directory: Path, planted: tuple[str, str, str] | None = None) -> None:
    """A copy of the package with its own C code, which may have a bug: a file, a text of it, and another."""
    sources, package = directory / "native", directory / "eventlog"
    shutil.copytree(ROOT / "src" / "native", sources)
    shutil.copytree(
        Path(eventlog.__file__).parent, package, ignore=shutil.ignore_patterns("_native*.so", "__pycache__")
    )
    if planted is not None:
        name, old, new = planted
        text = (sources / name).read_text("utf-8")
        assert text.count(old) == 1, f"what is planted has no place in {name}"
        (sources / name).write_text(text.replace(old, new), "utf-8")
    include = sysconfig.get_path("include")
    target = package / f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"
    files = sorted(map(os.fspath, sources.glob("*.c")))
    command = ["cc", *FLAGS, STOP, f"-I{include}", "-o", os.fspath(target), *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def run(directory: Path, library: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs other tests of this folder in a child that loads the copy."""
    check = f"import eventlog._native as native; assert native.__file__.startswith({os.fspath(directory)!r})"
    call = f"{check}; import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
    command = ["-c", call, "-q", "-x", "--capture=sys", "-p", "no:cacheprovider"]
    environment = os.environ | {
        "PYTHONPATH": os.fspath(directory),
        "LD_PRELOAD": library,
        "PYTHONMALLOC": "malloc",
        "HYPOTHESIS_PROFILE": "default",
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:handle_segv=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    return subprocess.run(
        [sys.executable, *command, *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS,
    )  # fmt: skip


def test_the_accelerators_are_sound(library: str, tmp_path: Path) -> None:
    """All that they are tested with runs under the sanitizers without a word of theirs."""
    build(tmp_path)
    done = run(tmp_path, library, "tests/native", "-m", "not proof and not long")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-8000:]
    assert "runtime error" not in done.stderr
    assert " passed" in done.stdout


PLANTED = {
    "an item beyond the end": (
        ("reading.h", "if (size < 0 || input->end - input->at < size) {", "if (size < 0) {"),
        "tests/native/test_columns.py::test_spoiled_bodies_are_read_as_msgpack_reads_them_or_left_to_it",
        "heap-buffer-overflow",
    ),
    "a field of a record beyond the end": (
        ("kafka.c", "*size < -1 || *size > input->end - input->at", "*size < -1"),
        "tests/native/test_kafka.py::test_spoiled_records_are_read_as_python_reads_them",
        "heap-buffer-overflow",
    ),
    "a list that became shorter": (
        ("native.h", "if (index >= PySequence_Fast_GET_SIZE(column)) {", "if (index < 0) {"),
        "tests/native/test_keys.py::test_columns_that_a_finalizer_changes_crash_nobody",
        "AddressSanitizer",
    ),
    "an iterator that is freed while it runs": (
        ("stream.c", "Py_INCREF(records); /*", "/*"),
        "tests/native/test_stream.py::test_records_that_close_their_own_stream_harm_nobody",
        "heap-use-after-free",
    ),
    "a number that overflows": (
        ("records.c", " && *first <= LLONG_MAX - count", ""),
        "tests/native/test_records.py::test_it_makes_what_python_makes",
        "signed integer overflow",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(library: str, tmp_path: Path, name: str) -> None:
    """By the tests that look there, in the words of the sanitizers."""
    planted, tests, words = PLANTED[name]
    build(tmp_path, planted)
    done = run(tmp_path, library, tests, "-m", "not proof and not long")
    assert done.returncode != 0
    assert words in done.stderr + done.stdout
