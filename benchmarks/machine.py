"""
Where the figures were taken: the machine, the disk, the versions, the commit.

A rate without its machine is a rumour. Knows Linux best; elsewhere some facts are "unknown".
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path

import eventlog
from benchmarks.measure import percentile

PACKAGES = ("eventlog", "lmdb", "msgpack", "attrs", "google-crc32c", "confluent-kafka", "eventsourcing")
MEMORY_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs"})


def facts(directory: Path) -> dict[str, object]:
    """What a reader needs to judge the figures; `directory` is where the logs of the run are."""
    return {
        "cpu": cpu_model(),
        "cores": core_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "file_system": file_system(directory),
        "fdatasync_p50_us": round(fdatasync_p50_us(directory), 1),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {name: package_version(name) for name in PACKAGES} | {"sqlite": sqlite3.sqlite_version},
        "commit": commit(),
    }


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The name of the processor, or what the platform says when there is no such file."""
    try:
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def core_count() -> int:
    """The cores this process may use, which is not always what the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The type of the file system that holds `path`, "unknown" when the system does not tell."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return "unknown"
    found, longest = "unknown", -1
    for line in lines:
        _, mount_point, kind, *_ = line.split(" ")
        if len(mount_point) >= longest and path.resolve().is_relative_to(mount_point):
            found, longest = kind, len(mount_point)
    return found


def disk_directory() -> Path:
    """A place for temporary logs that is on a disk: the first of the usual ones that is not in memory."""
    candidates = (Path(tempfile.gettempdir()), Path("/var/tmp"), Path.cwd())
    for candidate in candidates:
        if candidate.is_dir() and file_system(candidate) not in MEMORY_FILE_SYSTEMS:
            return candidate
    return candidates[-1]


def memory_directory(path: Path = Path("/dev/shm")) -> Path | None:
    """A directory in memory, for rows that leave the disk out; None where there is none."""
    if path.is_dir() and os.access(path, os.W_OK) and file_system(path) in MEMORY_FILE_SYSTEMS:
        return path
    return None


def fdatasync_p50_us(directory: Path, *, count: int = 50) -> float:
    """What one flush of 4 KiB costs here: the floor of every durable append."""
    sync = getattr(os, "fdatasync", os.fsync)
    durations: list[int] = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(count):
            file.write(b"\0" * 4096)
            started = time.perf_counter_ns()
            sync(file.fileno())
            durations.append(time.perf_counter_ns() - started)
    return percentile(durations, 50) / 1e3


def package_version(name: str) -> str:
    """The installed version, or "not installed"."""
    try:
        if name == "eventlog":
            return f"{eventlog.__version__} ({'compiled' if eventlog.is_compiled() else 'pure Python'})"
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def commit() -> str:
    """The commit of this checkout, with a plus sign when files differ from it; "unknown" outside of one."""
    root = Path(__file__).resolve().parent.parent
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
