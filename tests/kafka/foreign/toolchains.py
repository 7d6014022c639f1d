"""
The programs of other languages: how each is built, once, into a folder outside of the repository.

`make foreign` builds those of Java, and `make test-foreign` those of all languages; tests build nothing, and so never
download anything. The folder is EVENTLOG_FOREIGN, or eventlog/foreign in the user's cache. A program is built
again when its files here have changed.

    python -m tests.kafka.foreign.toolchains java node go rust confluent-javascript
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent
CACHE = Path(
    os.environ.get("EVENTLOG_FOREIGN")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "eventlog", "foreign")
)


class Toolchain(NamedTuple):
    """A language: the programs that it takes to build in it, and how."""

    folder: str
    needs: tuple[str, ...]
    build: Callable[[Path], None]


def _run(*command: str, cwd: Path, **environment: str) -> None:
    subprocess.run(command, cwd=cwd, check=True, env={**os.environ, **environment}, stdin=subprocess.DEVNULL)


def _java(at: Path) -> None:
    """Fetch the jars of the Java client and of its console tools, and compile."""
    _run("mvn", "-B", "-q", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=libs", cwd=at)
    _run("javac", "-nowarn", "-cp", "libs/*", "-d", "classes", "Client.java", "Tools.java", "Shares.java", cwd=at)


def _node(at: Path) -> None:
    """Fetch the packages. None of their own scripts may run."""
    _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", cwd=at)


def _confluent_javascript(at: Path) -> None:
    """Fetch the package, and compile it with the librdkafka that it carries: some minutes."""
    _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", cwd=at)
    package = at / "node_modules" / "@confluentinc" / "kafka-javascript"
    _run("npx", "--yes", "node-gyp", "rebuild", "--silent", cwd=package, CKJS_LINKING="dynamic")


def _go(at: Path) -> None:
    _run("go", "build", "-o", "client", ".", cwd=at)


def _rust(at: Path) -> None:
    """Compile without optimization, which takes half the time."""
    _run("cargo", "build", "--quiet", "--locked", cwd=at)


TOOLCHAINS = {
    "java": Toolchain("java", ("javac", "java", "mvn"), _java),
    "node": Toolchain("node", ("node", "npm"), _node),
    "confluent-javascript": Toolchain("confluent_javascript", ("node", "npm", "g++", "make"), _confluent_javascript),
    "go": Toolchain("go", ("go",), _go),
    "rust": Toolchain("rust", ("cargo",), _rust),
}


def place(name: str) -> Path:
    """The folder where a program is built. The content of its files stands in the name."""
    digest = hashlib.sha256()
    folder = HERE / TOOLCHAINS[name].folder
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return CACHE / f"{name}-{digest.hexdigest()[:16]}"


def missing(name: str) -> list[str]:
    """The programs that are needed to build, and are not installed."""
    return [program for program in TOOLCHAINS[name].needs if shutil.which(program) is None]


def build(name: str) -> None:
    """Build what is not built yet."""
    at = place(name)
    if (at / "built").exists():
        return
    if lacking := missing(name):
        print(f"{name}: not built, as there is no {' and no '.join(lacking)}")
        return
    print(f"{name}: building {at}", flush=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:  # another process may build the same
        building = Path(folder, name)
        shutil.copytree(HERE / TOOLCHAINS[name].folder, building)
        TOOLCHAINS[name].build(building)
        (building / "built").touch()
        shutil.rmtree(at, ignore_errors=True)
        building.rename(at)


def program(name: str) -> Path:
    """The folder of a built program. A test that has none is skipped, or fails in CI if it is Java's."""
    at = place(name)
    if (at / "built").exists():
        return at
    lacking = missing(name)
    command = "make foreign" if name == "java" else "make test-foreign"
    reason = f"there is no {' and no '.join(lacking)}" if lacking else f"it is not built: `{command}` does that"
    if os.environ.get("CI") and name == "java":
        pytest.fail(f"the Java client cannot run: {reason}")
    pytest.skip(f"{name}: {reason}")


def main() -> None:
    """Build the programs named by the arguments, and say which could not be built."""
    failed = []
    for name in sys.argv[1:]:
        try:
            build(name)
        except (OSError, subprocess.CalledProcessError) as error:
            failed.append(f"{name}: {error}")
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
