"""Small file systems of their own, to be filled."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_volume(directory: Path, size_bytes: int, *, kind: str = "tmpfs") -> Iterator[Path]:
    """
    A volume of some megabytes at a new directory, which everybody may write to.

    Skips the test where mounting is not allowed. An ext4 is a little larger, because it takes room for itself.
    """
    mounting = _mounting()
    if mounting is None:
        pytest.skip("mounting a small file system takes the right to (CAP_SYS_ADMIN), on Linux")
    directory.mkdir()
    if kind == "tmpfs":
        options = ["-t", "tmpfs", "-o", f"size={size_bytes}", "none"]
    else:
        if shutil.which("mkfs.ext4") is None or not Path("/dev/loop-control").exists():
            pytest.skip("an ext4 in a file takes mkfs.ext4 (Debian, Ubuntu: apt install e2fsprogs) and loop devices")
        image = directory.with_suffix(".image")
        with image.open("wb") as file:
            file.truncate(size_bytes + (2 << 20))
        _do("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", str(image))
        options = ["-o", "loop", str(image)]
    _do(*mounting, "mount", *options, str(directory))
    try:
        _do(*mounting, "chmod", "777", str(directory))
        yield directory
    finally:
        _do(*mounting, "umount", "-l", str(directory))


def _mounting() -> list[str] | None:
    """How to begin a command that mounts: not every root may, in containers, and in CI there may be sudo."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    rights = next(int(line.split()[1], 16) for line in status.read_text().splitlines() if line.startswith("CapEff"))
    if rights >> 21 & 1:
        return []
    if os.environ.get("CI") and shutil.which("sudo"):
        sudo = ["sudo", "--non-interactive"]
        return sudo if subprocess.run([*sudo, "true"], capture_output=True, check=False).returncode == 0 else None
    return None


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


@contextmanager
def read_only_view(directory: Path, at: Path) -> Iterator[Path]:
    """
    A directory once more at a new place, where nobody may write to it; whoever comes by the old place may.

    Skips the test where mounting is not allowed.
    """
    mounting = _mounting()
    if mounting is None:
        pytest.skip("a read-only view of a directory takes the right to mount (CAP_SYS_ADMIN), on Linux")
    at.mkdir()
    _do(*mounting, "mount", "--bind", str(directory), str(at))
    try:
        _do(*mounting, "mount", "-o", "remount,ro,bind", str(at))
        yield at
    finally:
        _do(*mounting, "umount", "-l", str(at))
